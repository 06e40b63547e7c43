//! What the house does by itself, one step at a time: close what nobody holds, ring for what is
//! due, end what waited too long, let go of what is past its time. Any process may call these; a
//! loop lease makes sure that one of them does.

use slipway_domain::access::Principal;
use slipway_domain::fault::{Fault, Kind};
use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::job::JobKind;
use slipway_domain::state::Move;
pub use slipway_store::retention::Swept;

use crate::change::{Change, lock};
use crate::ending::{Ending, ring_waiting, settle};
use crate::{Ctx, drift, stale};

/// A doorbell that was not answered for this long is rung again.
const RING_AGAIN_MS: i64 = 5_000;
/// Jobs without a living lease that are looked at in one go.
const EXPIRED: i64 = 100;
/// A worker that has not been heard of for this long is forgotten.
const SILENT_MS: i64 = 3_600_000;
/// Jobs of a queue, from its front, that are looked at in one go.
const BELLS: i64 = 100;

/// Closes one job whose lease has run out; `None` when there is none. A plan goes back to its
/// queue; an apply may have had effects and is never repeated.
///
/// A job that cannot be closed does not keep the others from it: it is passed over, and its fault
/// is returned when no other is left.
pub async fn reap(cx: &Ctx) -> Result<Option<JobId>, Fault> {
    let mut tx = cx.store.read().await?;
    let expired = tx.expired_jobs(EXPIRED).await?;
    drop(tx);
    let mut trouble = None;
    for (id, of) in expired {
        match close(cx, id, of).await {
            Ok(true) => return Ok(Some(id)),
            Ok(false) => {}
            Err(fault) if fault.kind() == Kind::Unavailable => return Err(fault),
            Err(fault) => {
                tracing::error!(job_id = %id, deployment_id = %of, %fault, cause = fault.causes(),
                    "a job whose lease has run out cannot be closed");
                trouble = Some(fault);
            }
        }
    }
    trouble.map_or(Ok(None), Err)
}

/// Closes a job if its lease has run out; `false` when it has not, or when somebody else has the
/// deployment or the job in hand.
async fn close(cx: &Ctx, id: JobId, of: DeploymentId) -> Result<bool, Fault> {
    use slipway_domain::state::DeploymentState as S;
    let mut tx = cx.store.begin().await?;
    // The deployment before the job, like everybody.
    let Some(record) = tx.try_lock_deployment(of).await? else { return Ok(false) };
    let Some(job) = tx.lock_expired_job(id).await? else { return Ok(false) };
    let error = format!("the worker of attempt {} was lost", job.attempt);
    let ending = if job.kind == JobKind::Test {
        // Whether it may run again is for its settings to say.
        Ending::Lost { summary: error.clone() }
    } else if job.kind.may_repeat() {
        Ending::Retry { error: error.clone(), delay_ms: 0 }
    } else if matches!(record.deployment.state, S::Applying | S::Verifying | S::Recovering) {
        Ending::Lost { summary: error.clone() }
    } else {
        // It was claimed but never begun, so nothing was touched.
        Ending::HandBack
    };
    tracing::warn!(job_id = %job.id, deployment_id = %job.deployment_id, kind = %job.kind,
        epoch = job.epoch, ?ending, "a job's lease has run out");
    let (_, bell) = settle(cx, &mut tx, &job, ending).await?;
    tx.commit().await?;
    if let Some(bell) = bell {
        cx.ring(&bell).await;
    }
    cx.tell(job.deployment_id).await;
    ring_waiting(cx, &job).await;
    Ok(true)
}

/// Rings for due jobs that nobody has been told of, or not for a while. Returns how many.
pub async fn relay(cx: &Ctx) -> Result<usize, Fault> {
    let mut tx = cx.store.begin().await?;
    let bells = tx.take_doorbells(RING_AGAIN_MS, BELLS).await?;
    tx.commit().await?;
    cx.ring_all(&bells).await;
    Ok(bells.len())
}

/// Ends deployments whose plan has waited too long. Returns them.
pub async fn expire(cx: &Ctx) -> Result<Vec<DeploymentId>, Fault> {
    let who = Principal::system("expiry");
    let mut tx = cx.store.read().await?;
    let due = tx.expired_deployments(cx.now(), 100).await?;
    drop(tx);
    let mut ended = Vec::new();
    let mut trouble = None;
    for id in due {
        match expire_one(cx, &who, id).await {
            Ok(true) => ended.push(id),
            Ok(false) => {}
            Err(fault) if fault.kind() == Kind::Unavailable => return Err(fault),
            // One that cannot be ended does not keep the others from their end.
            Err(fault) => {
                tracing::error!(deployment_id = %id, %fault, cause = fault.causes(),
                    "a deployment that waited too long cannot be ended");
                trouble = Some(fault);
            }
        }
    }
    match trouble {
        Some(fault) if ended.is_empty() => Err(fault),
        _ => Ok(ended),
    }
}

async fn expire_one(cx: &Ctx, who: &Principal, id: DeploymentId) -> Result<bool, Fault> {
    let mut tx = cx.store.begin().await?;
    let mut record = lock(&mut tx, id).await?;
    let still_due = record.deployment.expires_at.is_some_and(|at| at <= cx.now());
    if !still_due || record.deployment.state.next(Move::Expire).is_err() {
        return Ok(false);
    }
    let reason = Some("the plan waited longer than `expires_in_s`".to_owned());
    tx.cancel_jobs(id, cx.now()).await?;
    Change::by(cx, who, &mut record)
        .go(&mut tx, Move::Expire, reason, serde_json::json!({}))
        .await?;
    tx.commit().await?;
    cx.tell(id).await;
    Ok(true)
}

/// Begins the checks for drift that are due, in one round that is bounded. Returns how many.
pub async fn check_drift(cx: &Ctx) -> Result<usize, Fault> {
    drift::schedule::begin_due(cx).await
}

/// Marks plans that nobody applies and whose state has moved on. Returns them.
pub async fn mark_stale(cx: &Ctx) -> Result<Vec<DeploymentId>, Fault> {
    stale::mark(cx).await
}

/// Lets go of what is past its time.
pub async fn sweep(cx: &Ctx) -> Result<Swept, Fault> {
    let now = cx.now();
    let logs_before = now - cx.settings.log_retention;
    // An answer that is given again names an upload that must still be there.
    let uploads = chrono::Duration::hours(24).max(cx.settings.idempotency_ttl);
    // Workers that ended without a word.
    let mut tx = cx.store.begin().await?;
    tx.remove_workers(None, SILENT_MS).await?;
    tx.sweep_auth(now).await?;
    tx.commit().await?;
    Ok(cx.store.sweep(now, logs_before, now - uploads).await?)
}
