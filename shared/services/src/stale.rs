//! Plans that nobody applies (`plan_only`): how they end, and that they are out of date once the state
//! of their stack has moved on.

use slipway_domain::access::Principal;
use slipway_domain::deployment::Stale;
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Fault, Kind};
use slipway_domain::gate::GateVerdict;
use slipway_domain::id::DeploymentId;
use slipway_domain::job::Doorbell;
use slipway_domain::plan::Plan;
use slipway_domain::state::Move;
use slipway_store::Tx;
use slipway_store::drift::OutOfDate;

use crate::Ctx;
use crate::change::{Change, audit, lock};
use crate::planned::denied;

/// Plans that are looked at in one go.
const AT_ONCE: i64 = 100;

/// Ends a deployment that only plans: the gates have judged its plan.
pub(crate) async fn conclude(
    change: &mut Change<'_>,
    tx: &mut Tx,
    plan: &Plan,
    verdict: GateVerdict,
) -> Result<Option<Doorbell>, Fault> {
    let said = match verdict {
        GateVerdict::Deny => denied(plan),
        GateVerdict::NeedsApproval => "it would need an approval".to_owned(),
        _ => "no gate asks for an approval".to_owned(),
    };
    let detail = serde_json::json!({"plan_digest": plan.digest, "verdict": verdict});
    change.go(tx, Move::Conclude, Some(format!("only planned: {said}")), detail).await?;
    tx.watch_state(change.record.deployment.id, &plan.state).await?;
    Ok(None)
}

/// Marks plans that nobody applies and whose state has moved on. Returns them.
pub(crate) async fn mark(cx: &Ctx) -> Result<Vec<DeploymentId>, Fault> {
    let mut tx = cx.store.read().await?;
    let found = tx.out_of_date(AT_ONCE).await?;
    drop(tx);
    let mut marked = Vec::new();
    for one in found {
        match mark_one(cx, &one).await {
            Ok(true) => marked.push(one.deployment_id),
            Ok(false) => {}
            Err(fault) if fault.kind() == Kind::Unavailable => return Err(fault),
            Err(fault) => {
                tracing::error!(deployment_id = %one.deployment_id, %fault,
                    cause = fault.causes(), "a plan that is out of date cannot be marked");
            }
        }
    }
    Ok(marked)
}

async fn mark_one(cx: &Ctx, one: &OutOfDate) -> Result<bool, Fault> {
    let (id, now) = (one.deployment_id, cx.now());
    let who = Principal::system("upkeep");
    let mut tx = cx.store.begin().await?;
    lock(&mut tx, id).await?;
    let stale = Stale { since: now, planned_serial: one.then.serial, serial: one.now.serial };
    if !tx.set_stale(id, &stale).await? {
        // Another process was faster.
        return Ok(false);
    }
    let detail = serde_json::json!({"planned_at": one.then, "now": one.now});
    audit(cx, &mut tx, &who, "deployment.plan_stale", id.to_string(), detail).await?;
    tx.append_events(id, &[EventBody::PlanStale { stale }], now).await?;
    tx.commit().await?;
    cx.tell(id).await;
    Ok(true)
}
