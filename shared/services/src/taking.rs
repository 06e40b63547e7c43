//! Taking jobs from their queues for a worker; and plans that are taken at the same time are begun
//! together.

use async_trait::async_trait;
use slipway_domain::fault::{Fault, Kind};
use slipway_domain::id::{JobId, WorkerId};
use slipway_domain::job::{Job, JobState, Lease, Queue};
use slipway_domain::state::Move;
use slipway_store::Error;
use slipway_store::deployment::{HeldMove, ToBegin};
use slipway_store::job::Claimed;

use crate::Ctx;
use crate::change::Change;
use crate::execution::system;
use crate::gather::Together;

/// Takes up to `most` due jobs of a queue for a worker, for `lease_ms`. Their deployments have not
/// moved yet; [`crate::execution::begin`] does that.
pub async fn take(
    cx: &Ctx,
    queue: Queue,
    worker: WorkerId,
    lease_ms: i64,
    most: i64,
) -> Result<Claimed, Error> {
    cx.store.claim_jobs(queue, worker, lease_ms, most, cx.now()).await
}

/// Whether a job that a doorbell rang for is still to be had: `None` when it is not there, which it
/// may be in a moment (who adds jobs rings just before the commit), and else whether it waits in its
/// queue.
pub async fn expected(cx: &Ctx, job: JobId) -> Result<Option<bool>, Error> {
    let state = cx.store.read().await?.job_state(job).await?;
    Ok(state.map(|state| state == JobState::Queued))
}

/// A plan that was taken and is to be begun.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) job: Job,
    pub(crate) lease: Lease,
}

/// Moves deployments into `planning`. `None`: there is more to it, and it must be begun alone.
pub(crate) struct Starts;

#[async_trait]
impl Together for Starts {
    type House = Ctx;
    type Item = Wanted;
    type Done = Option<Box<ToBegin>>;
    // Whoever is taken while one is at the database begins at once.
    const ROUNDS: usize = 2;
    const MOST: usize = 50;

    fn fits(taken: &[Wanted], next: &Wanted) -> bool {
        // What is found is known by its deployment, and of two leases on it one is lost.
        taken.iter().all(|other| other.job.deployment_id != next.job.deployment_id)
    }

    async fn all(cx: Ctx, wanted: Vec<Wanted>) -> Vec<Result<Self::Done, Fault>> {
        let started = match start(&cx, &wanted).await {
            Ok(started) => started,
            Err(fault) if fault.kind() == Kind::Unavailable => {
                return wanted.iter().map(|_| Err(fault.echo())).collect();
            }
            // One of them may be at fault, and must not keep the others from their work; each finds
            // out for itself.
            Err(fault) => {
                tracing::warn!(%fault, cause = fault.causes(), "plans cannot be begun together");
                Vec::new()
            }
        };
        let mut done: Vec<_> = wanted.iter().map(|_| Ok(None)).collect();
        for started in started {
            let of = started.record.deployment.id;
            let at = wanted.iter().position(|wanted| wanted.job.deployment_id == of);
            if let Some(done) = at.and_then(|at| done.get_mut(at)) {
                *done = Ok(Some(Box::new(started)));
            }
        }
        done
    }
}

/// Moves those of the deployments that wait for their plan, and that nobody else has in hand, into
/// `planning`; gives them.
async fn start(cx: &Ctx, wanted: &[Wanted]) -> Result<Vec<ToBegin>, Fault> {
    let who = system();
    let ids: Vec<_> = wanted.iter().map(|one| one.job.deployment_id).collect();
    // Read without a lock: what is not as it was read is not moved.
    let mut started = cx.store.read().await?.deployments_to_begin(&ids).await?;
    let mut changes = Vec::with_capacity(started.len());
    for ToBegin { record, .. } in &mut started {
        let of = record.deployment.id;
        if record.deployment.state.next(Move::StartPlanning).is_err() {
            continue;
        }
        let Some(Wanted { job, lease }) = wanted.iter().find(|one| one.job.deployment_id == of)
        else {
            continue;
        };
        let mut change = Change::by(cx, &who, record);
        change.step(Move::StartPlanning, None, start_detail(job, lease))?;
        changes.push((change, *lease));
    }
    let mut moves: Vec<_> = changes
        .iter_mut()
        .map(|(change, lease)| HeldMove { changed: change.changed(), lease: *lease, end: None })
        .collect();
    let moved = cx.store.move_held(&mut moves).await?;
    drop(moves);
    drop(changes);
    started.retain(|one| moved.contains(&one.record.deployment.id));
    for id in moved {
        cx.tell(id).await;
    }
    Ok(started)
}

pub(crate) fn start_detail(job: &Job, lease: &Lease) -> serde_json::Value {
    serde_json::json!({"job_id": job.id, "attempt": job.attempt, "epoch": lease.epoch})
}
