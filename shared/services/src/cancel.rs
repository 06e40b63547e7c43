//! Stopping what runs, in phases: asked, draining (its worker knows), and stopped or killed. What is
//! in flight, done and left is read from the plan and the journal.

use slipway_domain::access::{Principal, Scope};
use slipway_domain::cancel::{CancelPhase, CancelProgress, Progress};
use slipway_domain::deployment::Deployment;
use slipway_domain::event::EventBody;
use slipway_domain::fault::Fault;
use slipway_domain::id::DeploymentId;
use slipway_domain::job::{Job, Lease};
use slipway_domain::state::{DeploymentState, Move};
use slipway_queue::Signal;
use slipway_store::Tx;

use crate::Ctx;
use crate::access::lock_deployment;
use crate::change::{Change, audit};
use crate::deployment::{checked_comment, get_after};
use crate::execution::{locked, system};

/// Stops a deployment: one that waits ends as `cancelled` at once, a running one is asked to stop
/// and ends when its tool has stopped and recorded what it did. With `force`, or when it is asked
/// again while it drains, its tool is killed; what an apply did is then found out as after every lost
/// one. One whose lost apply is being found out ends after that, if nothing is in doubt.
pub async fn cancel(
    cx: &Ctx,
    who: &Principal,
    id: DeploymentId,
    reason: Option<String>,
    force: bool,
) -> Result<Deployment, Fault> {
    let reason = checked_comment(reason)?;
    let mut tx = cx.store.begin().await?;
    let mut record = lock_deployment(&mut tx, who, id, Scope::DeploymentsWrite).await?;
    let state = record.deployment.state;
    state.next(Move::Cancel)?;
    let now = cx.now();
    let why = match &reason {
        Some(reason) => format!("cancelled by {}: {reason}", who.actor.id),
        None => format!("cancelled by {}", who.actor.id),
    };
    let goes_on = match state {
        // What is being found out is found out: it changes nothing in the world.
        DeploymentState::Recovering => true,
        state => {
            let running = tx.cancel_jobs(id, now).await?;
            let runs = matches!(state, DeploymentState::Planning | DeploymentState::Applying);
            runs && running > 0
        }
    };
    let mut change = Change::by(cx, who, &mut record);
    if goes_on {
        let d = &mut change.record.deployment;
        let first = d.cancel.is_none();
        let cancel = d.cancel.get_or_insert_with(|| CancelProgress::asked(now));
        // A request that is repeated before anybody knows of it is the same request.
        let again = !first && cancel.phase == CancelPhase::Draining;
        let forced =
            cancel.forced_at.is_none() && (force || again) && state != DeploymentState::Recovering;
        if forced {
            cancel.forced_at = Some(now);
            tx.force_jobs(id).await?;
        }
        if first {
            d.cancel_requested_at = d.cancel_requested_at.or(Some(now));
            d.reason = Some(format!("stopping: {why}"));
        }
        if first || forced {
            change.event(EventBody::CancelRequested { by: who.actor.clone(), reason, forced });
            change.save(&mut tx).await?;
            let detail = serde_json::json!({"asked": true, "forced": forced});
            audit(cx, &mut tx, who, "deployment.cancel", id.to_string(), detail).await?;
        }
    } else {
        change.go(&mut tx, Move::Cancel, Some(why), serde_json::json!({})).await?;
    }
    tx.commit().await?;
    cx.signal(Signal::Cancel(id)).await;
    cx.tell(id).await;
    Ok(get_after(cx, record).await)
}

/// The worker of a job has learned that it is to stop. What is beside a deployment's way says nothing of
/// it when it stops.
pub async fn draining(cx: &Ctx, job: &Job, lease: &Lease) -> Result<(), Fault> {
    if job.kind.is_beside() {
        return Ok(());
    }
    let who = system();
    let mut tx = cx.store.begin().await?;
    let mut record = locked(&mut tx, job, lease).await?;
    let runs =
        matches!(record.deployment.state, DeploymentState::Planning | DeploymentState::Applying);
    let asked = |cancel: &CancelProgress| cancel.phase == CancelPhase::Asked;
    if !runs || !record.deployment.cancel.as_ref().is_some_and(asked) {
        return Ok(());
    }
    let mut change = Change::by(cx, &who, &mut record);
    enter(&mut change, &mut tx, CancelPhase::Draining, None).await?;
    change.save(&mut tx).await?;
    tx.commit().await?;
    cx.tell(job.deployment_id).await;
    Ok(())
}

/// Brings the stopping of a deployment, if it is being stopped, to a phase, with its event; the
/// caller writes it. `done` is what was found out to be done, where the journal does not say it.
pub(crate) async fn enter(
    change: &mut Change<'_>,
    tx: &mut Tx,
    phase: CancelPhase,
    done: Option<&[String]>,
) -> Result<(), Fault> {
    let id = change.record.deployment.id;
    if change.record.deployment.cancel.is_none() {
        return Ok(());
    }
    let mut now = progress(tx, id).await?;
    if let Some(done) = done {
        now = now.settled(done);
    }
    if let Some(cancel) = &mut change.record.deployment.cancel {
        // What was killed was killed.
        if cancel.phase != CancelPhase::Killed {
            cancel.phase = phase;
        }
        cancel.show(now);
        let cancel = cancel.clone();
        change.event(EventBody::CancelProgress { cancel });
    }
    Ok(())
}

/// Shows how far an apply is that is being stopped.
pub(crate) async fn look(cx: &Ctx, deployment: &mut Deployment) -> Result<(), Fault> {
    let applying = deployment.state == DeploymentState::Applying;
    if let Some(cancel) = deployment.cancel.as_mut().filter(|_| applying) {
        let mut tx = cx.store.read().await?;
        cancel.show(progress(&mut tx, deployment.id).await?);
    }
    Ok(())
}

/// How far the last apply of a deployment is; nothing when there was none.
async fn progress(tx: &mut Tx, id: DeploymentId) -> Result<Progress, Fault> {
    let began = tx.apply_event(id).await?;
    if began == 0 {
        return Ok(Progress::default());
    }
    let journal = tx.journal(id, began).await?;
    let plan = tx.latest_plan(id).await?;
    Ok(plan.map(|plan| Progress::of(&plan.plan.changes, &journal)).unwrap_or_default())
}
