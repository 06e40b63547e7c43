//! The report of a deployment's current plan, and judging it anew.

use slipway_domain::access::{Principal, Scope};
use slipway_domain::deployment::Deployment;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::DeploymentId;
use slipway_domain::job::JobKind;
use slipway_domain::report::Report;
use slipway_domain::state::Move;

use crate::Ctx;
use crate::access::{lock_deployment, read_deployment};
use crate::change::Change;
use crate::deployment::{checked_text, get_after};

/// What the gates said and found about the current plan, and what to do.
pub async fn report(cx: &Ctx, who: &Principal, of: DeploymentId) -> Result<Report, Fault> {
    let mut tx = cx.store.read().await?;
    let record = read_deployment(&mut tx, who, of, Scope::DeploymentsRead).await?;
    let not_yet = || {
        Fault::new(
            Code::NotReady,
            format!("The deployment is {} and no gate has judged it.", record.deployment.state),
        )
    };
    let found = tx.latest_plan(of).await?.ok_or_else(not_yet)?;
    let judgement = found.judgement.ok_or_else(not_yet)?;
    Ok(Report::of(&record.deployment, &found.plan, judgement))
}

/// Has a plan that is blocked or waits made and judged anew, because something outside of it is
/// another now: an exemption, a setting of the gates, a policy.
pub async fn reconsider(
    cx: &Ctx,
    who: &Principal,
    id: DeploymentId,
    reason: Option<String>,
) -> Result<Deployment, Fault> {
    let reason = checked_text("reason", reason)?;
    let mut tx = cx.store.begin().await?;
    let mut record = lock_deployment(&mut tx, who, id, Scope::DeploymentsWrite).await?;
    let running = tx.jobs_of(id).await?.into_iter().find(|job| job.state.is_active());
    if let Some(job) = running {
        return Err(Fault::new(
            Code::IllegalTransition,
            format!("Its {} is {}; wait for it, or cancel the deployment.", job.kind, job.state),
        ));
    }
    let mut change = Change::by(cx, who, &mut record);
    let detail = serde_json::json!({"plan_digest":
        change.record.deployment.plan.as_ref().map(|plan| &plan.digest), "reason": reason});
    let said = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let why = format!("{} asked for it to be judged anew{said}", who.actor.id);
    change.go(&mut tx, Move::Replan, Some(why), detail).await?;
    let bell = change.enqueue(&mut tx, JobKind::Plan).await?;
    tx.commit().await?;
    cx.ring(&bell).await;
    cx.tell(id).await;
    Ok(get_after(cx, record).await)
}
