//! What is other in the world than the state of a stack says, and a deployment that puts it right.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use rmcp::model::ToolAnnotations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::Scope;
use slipway_domain::drift::{DriftGroup, DriftStatus, StackDrift};
use slipway_domain::id::StackId;
use slipway_services::drift as verb;

use super::deployment::{Moved, moved};
use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, answer, fenced, line};

/// Resources at most in one answer.
const MAX_RESOURCES: usize = 40;
/// Attributes at most of one resource.
const MAX_ATTRIBUTES: usize = 8;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetArguments {
    /// The stack's id.
    stack_id: StackId,
}

#[derive(Serialize, JsonSchema)]
struct Answer {
    untrusted: bool,
    status: DriftStatus,
    summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checked_at: Option<DateTime<Utc>>,
    checking: bool,
    out_of_date: bool,
    drifted: Vec<String>,
}

pub(super) fn get() -> Entry {
    entry::<GetArguments, Answer>(
        "get_drift",
        "Get a stack's drift",
        "Tells what was changed or removed outside since a stack was deployed, by cause, and since \
         when that is known.",
        reads(),
        Scope::StacksRead,
        |call| get_drift(call).boxed(),
    )
}

async fn get_drift(call: Call<'_>) -> Outcome {
    let GetArguments { stack_id } = call.arguments()?;
    let known = verb::get(call.cx, call.who, stack_id).await?;
    let groups = known.report.iter().flat_map(|report| &report.groups);
    let drifted: Vec<_> = groups.flat_map(rows).take(MAX_RESOURCES).collect();
    let seen = Answer {
        untrusted: true,
        status: known.status,
        summary: line(&summary(&known), 500),
        since: known.since,
        checked_at: known.checked_at,
        checking: known.job_id.is_some(),
        out_of_date: known.out_of_date,
        drifted,
    };
    let mut page = seen.summary.clone();
    for row in &seen.drifted {
        let _ = write!(page, "\n- {row}");
    }
    let old = if seen.out_of_date { " The stack was deployed since." } else { "" };
    let text = fenced(call.cx, "the drift", &page);
    answer(&seen, format!("{}: {}.{old} {text}", known.stack, known.status))
}

fn summary(known: &StackDrift) -> String {
    let report = known.report.as_ref().map(|report| report.summary.as_str());
    match (&known.failure, &known.put_off) {
        (Some(failure), _) => failure.summary.clone(),
        (None, Some(why)) if report.is_none() => why.clone(),
        _ => report.unwrap_or("it was not looked at yet").to_owned(),
    }
}

/// What has one cause, a resource or an output a line.
fn rows(group: &DriftGroup) -> Vec<String> {
    let cause = group.cause.as_str();
    let resources = group.resources.iter().map(|resource| {
        let mut text = format!("{cause} {}", resource.address);
        for at in resource.attributes.iter().take(MAX_ATTRIBUTES) {
            let _ = write!(text, " {}: {} -> {};", at.path, at.before, at.after);
        }
        line(&text, 400)
    });
    let outputs = group.outputs.iter().map(|output| {
        line(&format!("{cause} {}: {} -> {}", output.name, output.before, output.after), 400)
    });
    resources.chain(outputs).collect()
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReconcileArguments {
    /// The stack's id.
    stack_id: StackId,
    /// The same key gives the same deployment, so that a call can be repeated safely.
    #[serde(default)]
    idempotency_key: Option<String>,
}

pub(super) fn reconcile() -> Entry {
    entry::<ReconcileArguments, Moved>(
        "reconcile_drift",
        "Put a stack right",
        "Submits what a stack runs once more, to undo what was changed outside. It only makes a \
         plan: gates and approvals hold as for any deployment.",
        ToolAnnotations::new()
            .read_only(false)
            .destructive(true)
            .idempotent(false)
            .open_world(true),
        Scope::DeploymentsWrite,
        |call| reconcile_drift(call).boxed(),
    )
}

async fn reconcile_drift(call: Call<'_>) -> Outcome {
    let given: ReconcileArguments = call.arguments()?;
    let key = given.idempotency_key.as_deref();
    let accepted = verb::reconcile(call.cx, call.who, given.stack_id, key).await?;
    moved(&call, &accepted.deployment)
}
