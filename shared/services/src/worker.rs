//! Worker processes.

use slipway_domain::access::{Principal, Scope};
use slipway_domain::fault::Fault;
use slipway_domain::worker::Worker;

use crate::{Ctx, access};

/// A worker that was not heard of for this long does not count as capacity, in seconds.
const SILENT_S: f64 = 60.0;

/// Every worker process that is, or was lately, alive, oldest first, with the jobs it holds of the
/// projects that the caller may look into.
pub async fn list(cx: &Ctx, who: &Principal) -> Result<Vec<Worker>, Fault> {
    let reach = access::reach(who, Scope::QueuesRead)?;
    let mut tx = cx.store.read().await?;
    let mut workers = tx.workers().await?;
    for (holder, job) in tx.running_jobs(&reach).await? {
        if let Some(worker) = workers.iter_mut().find(|worker| worker.id == holder) {
            worker.jobs.push(job);
        }
    }
    Ok(workers)
}

/// Whether a worker is alive and takes jobs.
pub(crate) fn takes_jobs(worker: &Worker) -> bool {
    !worker.draining && worker.silent_s < SILENT_S
}
