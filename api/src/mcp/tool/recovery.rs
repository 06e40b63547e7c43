//! What became of a lost apply. Only looking: what a resource in doubt became is for a person to say,
//! who has looked at it.

use std::fmt::Write as _;

use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::Scope;
use slipway_domain::id::DeploymentId;
use slipway_domain::recovery::RecoveryVerdict;
use slipway_services::recovery as verb;

use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, answer, fenced, line};

/// Resources of one kind at most in one answer.
const MAX_RESOURCES: usize = 100;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetArguments {
    /// The deployment's id.
    deployment_id: DeploymentId,
}

#[derive(Serialize, JsonSchema)]
struct Answer {
    untrusted: bool,
    total: usize,
    verdict: Option<RecoveryVerdict>,
    summary: String,
    collected: Option<bool>,
    done: usize,
    untouched: usize,
    in_doubt: Vec<String>,
    lost: Vec<String>,
    refusals: Vec<String>,
}

pub(super) fn get() -> Entry {
    entry::<GetArguments, Answer>(
        "get_recovery",
        "Get what became of a lost apply",
        "Tells what a lost apply did and what is in doubt; for a deployment that needs attention.",
        reads(),
        Scope::DeploymentsRead,
        |call| get_recovery(call).boxed(),
    )
}

async fn get_recovery(call: Call<'_>) -> Outcome {
    let GetArguments { deployment_id } = call.arguments()?;
    let found = verb::list(call.cx, call.who, deployment_id).await?;
    let total = found.recoveries.len();
    let last = found.recoveries.into_iter().next();
    let (verdict, summary, report) = match last {
        Some(last) => (last.verdict, last.summary, last.report),
        None => (None, String::new(), None),
    };
    let collected = report.as_ref().map(|report| report.collected);
    let report = report.unwrap_or_default();
    let bounded = |items: Vec<String>| -> Vec<String> {
        items.iter().take(MAX_RESOURCES).map(|item| line(item, 300)).collect()
    };
    let doubts = report.in_doubt.iter().map(|d| format!("{}: {}", d.address, d.detail)).collect();
    let lost = report.lost.iter().map(|lost| lost.address.clone()).collect();
    let seen = Answer {
        untrusted: true,
        total,
        verdict,
        summary: line(&summary, 1000),
        collected,
        done: report.done.len(),
        untouched: report.untouched.len(),
        in_doubt: bounded(doubts),
        lost: bounded(lost),
        refusals: bounded(report.refusals),
    };
    let text = if total == 0 {
        "No apply of it was lost.".to_owned()
    } else {
        let mut said = String::new();
        let _ = writeln!(said, "{}", seen.summary);
        for doubt in seen.in_doubt.iter().chain(&seen.refusals) {
            let _ = writeln!(said, "{doubt}");
        }
        let next = match seen.verdict {
            None => "It is being found out.",
            Some(RecoveryVerdict::NeedsAttention) => {
                "A person has to look at each resource in doubt and say what became of it: `slipway \
                 recovery`."
            }
            Some(RecoveryVerdict::Proposed) => "The new plan waits for an approval.",
            Some(_) => "It went on by itself.",
        };
        format!("{next} {}", fenced(call.cx, "what was found out", &said))
    };
    answer(&seen, text)
}
