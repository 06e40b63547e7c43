//! Takes jobs from their queues for a worker, several at a time, and begins plans along with the
//! claim.

use slipway_domain::deployment::Variables;
use slipway_domain::fault::Fault;
use slipway_domain::id::{DeploymentId, WorkerId};
use slipway_domain::job::{Job, JobKind, Lease, Queue};
use slipway_domain::state::Move;
use slipway_store::deployment::Record;
use slipway_store::{Error, Tx};
use tokio::time::Instant;

use crate::Ctx;
use crate::change::Change;
use crate::execution::{Begun, begun_plan, system};

/// A job that was taken from its queue.
#[derive(Debug)]
pub struct Taken {
    /// The job.
    pub job: Job,
    /// The worker's right to it.
    pub lease: Lease,
    /// Its deployment, if that was moved into its running state along with the claim. If not,
    /// [`crate::execution::begin`] does it.
    pub started: Option<Started>,
}

/// A deployment that has just been moved into its running state.
pub struct Started {
    record: Record,
    variables: Variables,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The variables are in clear.
        write!(f, "Started({})", self.record.deployment.id)
    }
}

/// Takes up to `most` due jobs of a queue for a worker, and begins plans at once. Gives them with
/// the moment from which their leases count at the earliest.
///
/// Here a job is locked before its deployment, against the order of everybody else; so deployments
/// are only tried for, and one that somebody else has is begun later.
pub async fn take(
    cx: &Ctx,
    queue: Queue,
    worker: WorkerId,
    lease_ms: i64,
    most: i64,
) -> Result<(Instant, Vec<Taken>), Error> {
    match take_and_start(cx, queue, worker, lease_ms, most, true).await {
        // One deployment that cannot be read must not keep the others from their workers: they are
        // begun one by one, and that one fails alone.
        Err(error) if !matches!(error, Error::Unavailable(_) | Error::Changed) => {
            tracing::warn!(%queue, %error, "jobs cannot be begun together");
            take_and_start(cx, queue, worker, lease_ms, most, false).await
        }
        done => done,
    }
}

async fn take_and_start(
    cx: &Ctx,
    queue: Queue,
    worker: WorkerId,
    lease_ms: i64,
    most: i64,
    start: bool,
) -> Result<(Instant, Vec<Taken>), Error> {
    let mut tx = cx.store.begin().await?;
    // Not before: while the database was away, the wait for a connection was no part of the lease.
    let asked = Instant::now();
    let claimed = tx.claim_jobs(queue, worker, lease_ms, most, cx.now()).await?;
    let mut taken: Vec<_> =
        claimed.into_iter().map(|(job, lease)| Taken { job, lease, started: None }).collect();
    let plans: Vec<_> = taken
        .iter()
        .filter(|taken| start && taken.job.kind == JobKind::Plan)
        .map(|taken| taken.job.deployment_id)
        .collect();
    let started = match start_plans(cx, &mut tx, &taken, &plans).await {
        Ok(started) => started,
        Err(error) => {
            // Now, not some time later: whoever claims next would pass over what is locked.
            tx.rollback().await?;
            return Err(error);
        }
    };
    tx.commit().await?;
    for (record, variables) in started {
        let id = record.deployment.id;
        cx.tell(id).await;
        if let Some(taken) = taken.iter_mut().find(|taken| taken.job.deployment_id == id) {
            taken.started = Some(Started { record, variables });
        }
    }
    Ok((asked, taken))
}

/// Moves those of the deployments that wait for their plan, and that nobody else has in hand, into
/// `planning`; gives them.
async fn start_plans(
    cx: &Ctx,
    tx: &mut Tx,
    taken: &[Taken],
    plans: &[DeploymentId],
) -> Result<Vec<(Record, Variables)>, Error> {
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let who = system();
    let mut deployments = tx.try_lock_deployments(plans).await?;
    deployments.retain(|(record, _)| record.deployment.state.next(Move::StartPlanning).is_ok());
    let mut changes = Vec::with_capacity(deployments.len());
    for (record, _) in &mut deployments {
        let of = record.deployment.id;
        let Some(Taken { job, lease, .. }) = taken.iter().find(|t| t.job.deployment_id == of)
        else {
            continue;
        };
        let mut change = Change::by(cx, &who, record);
        change
            .step(Move::StartPlanning, None, start_detail(job, lease))
            .map_err(|_| Error::Changed)?;
        changes.push(change);
    }
    Change::save_all(tx, &mut changes).await?;
    drop(changes);
    Ok(deployments)
}

pub(crate) fn start_detail(job: &Job, lease: &Lease) -> serde_json::Value {
    serde_json::json!({"job_id": job.id, "attempt": job.attempt, "epoch": lease.epoch})
}

/// Gathers what the driver needs for a job whose deployment was started when it was taken. When the
/// database goes away meanwhile, [`crate::execution::begin`] does the same.
pub async fn ready(cx: &Ctx, started: Started) -> Result<Begun, Fault> {
    let Started { record, variables } = started;
    begun_plan(cx, &record, variables).await
}
