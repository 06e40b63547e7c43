//! What policies are told of the deployments before: `input.context.history`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slipway_domain::access::Reach;
use slipway_domain::fault::Fault;
use slipway_domain::page::PageRequest;
use slipway_domain::state::DeploymentState;
use slipway_store::Tx;
use slipway_store::deployment::{Filter, Record};

/// Deployments that are told of.
const LAST: u32 = 20;

/// The deployments of the stack before this one, newest first: what each was and what became of it,
/// how many ended how, and how many in a row have failed since one succeeded. It has no texts that
/// others wrote, so that no rule can be talked to.
pub(crate) async fn history(tx: &mut Tx, of: &Record) -> Result<Value, Fault> {
    let d = &of.deployment;
    let filter = Filter { stack_id: Some(d.stack_id), ..Filter::default() };
    let page = PageRequest { limit: LAST, after: Some(d.id.0) };
    let mut before = tx.deployments(&filter, &Reach::Everywhere, page).await?;
    before.truncate(LAST as usize);
    let before: Vec<_> = before.iter().map(|record| &record.deployment).collect();
    let mut counts: BTreeMap<&'static str, u32> = BTreeMap::new();
    for one in &before {
        *counts.entry(one.state.as_str()).or_default() += 1;
    }
    let good = |state| matches!(state, DeploymentState::Succeeded | DeploymentState::NoChanges);
    let failures_in_a_row = before
        .iter()
        .take_while(|one| !good(one.state))
        .filter(|one| one.state == DeploymentState::Failed)
        .count();
    let last: Vec<Value> = before
        .iter()
        .map(|one| {
            json!({
                "deployment_id": one.id,
                "operation": one.operation,
                "state": one.state,
                "failed_during": one.failure.as_ref().map(|failure| failure.during),
                "submitted_by": {"id": one.submitted_by.id, "kind": one.submitted_by.kind},
                "created_at": one.created_at,
                "ended_at": one.ended_at,
            })
        })
        .collect();
    Ok(json!({"last": last, "counts": counts, "failures_in_a_row": failures_in_a_row}))
}
