//! What the house does by itself, one step at a time: close what nobody holds, ring for what is
//! due, end what waited too long, let go of what is past its time. Any process may call these; a
//! loop lease makes sure that one of them does.

use slipway_domain::access::Principal;
use slipway_domain::fault::Fault;
use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::state::Move;
pub use slipway_store::retention::Swept;

use crate::Ctx;
use crate::change::{Change, lock};
use crate::execution::{Ending, settle};

/// A doorbell that was not answered for this long is rung again.
const RING_AGAIN_MS: i64 = 5_000;
/// Doorbells in one go.
const BELLS: i64 = 500;

/// Closes one job whose lease has run out; `None` when there is none. A plan goes back to its
/// queue; an apply may have had effects and is never repeated.
pub async fn reap(cx: &Ctx) -> Result<Option<JobId>, Fault> {
    let mut tx = cx.store.begin().await?;
    let Some(job) = tx.lock_expired_job().await? else { return Ok(None) };
    let error = format!("the worker of attempt {} was lost", job.attempt);
    let begun = tx.deployment(job.deployment_id).await?.is_some_and(|record| {
        use slipway_domain::state::DeploymentState as S;
        matches!(record.deployment.state, S::Applying | S::Verifying | S::Recovering)
    });
    let ending = if job.kind.may_repeat() {
        Ending::Retry { error: error.clone(), delay_ms: 0 }
    } else if begun {
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
    Ok(Some(job.id))
}

/// Rings for due jobs that nobody has been told of, or not for a while. Returns how many.
pub async fn relay(cx: &Ctx) -> Result<usize, Fault> {
    let mut tx = cx.store.begin().await?;
    let bells = tx.take_doorbells(RING_AGAIN_MS, BELLS).await?;
    tx.commit().await?;
    for bell in &bells {
        cx.ring(bell).await;
    }
    Ok(bells.len())
}

/// Ends deployments whose plan has waited too long. Returns them.
pub async fn expire(cx: &Ctx) -> Result<Vec<DeploymentId>, Fault> {
    let who = Principal::system("expiry");
    let mut tx = cx.store.read().await?;
    let due = tx.expired_deployments(cx.now(), 100).await?;
    drop(tx);
    let mut ended = Vec::new();
    for id in due {
        let mut tx = cx.store.begin().await?;
        let mut record = lock(&mut tx, id).await?;
        let still_due = record.deployment.expires_at.is_some_and(|at| at <= cx.now());
        if !still_due || record.deployment.state.next(Move::Expire).is_err() {
            continue;
        }
        let reason = Some("the plan waited longer than `expires_in_s`".to_owned());
        tx.cancel_jobs(id, cx.now()).await?;
        Change::by(cx, &who, &mut record)
            .go(&mut tx, Move::Expire, reason, serde_json::json!({}))
            .await?;
        tx.commit().await?;
        cx.tell(id).await;
        ended.push(id);
    }
    Ok(ended)
}

/// Lets go of what is past its time.
pub async fn sweep(cx: &Ctx) -> Result<Swept, Fault> {
    let now = cx.now();
    let logs_before = now - cx.settings.log_retention;
    Ok(cx.store.sweep(now, logs_before, now - chrono::Duration::hours(24)).await?)
}
