//! What the gates found in a plan: why it is blocked, and what to do.

use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::Scope;
use slipway_domain::finding::Finding;
use slipway_domain::gate::GateVerdict;
use slipway_domain::id::DeploymentId;
use slipway_services::gate as verb;

use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, answer, fenced, line};

/// Findings at most in one answer.
const MAX_FINDINGS: usize = 40;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetArguments {
    /// The deployment's id.
    deployment_id: DeploymentId,
}

#[derive(Serialize, JsonSchema)]
struct Answer {
    untrusted: bool,
    verdict: GateVerdict,
    plan_digest: String,
    summary: String,
    gates: Vec<String>,
    findings_total: usize,
    findings: Vec<String>,
    next_steps: Vec<String>,
}

pub(super) fn get() -> Entry {
    entry::<GetArguments, Answer>(
        "get_report",
        "Get the report of a plan",
        "Tells what the gates (scan, policy, cost, test, approval) said of a deployment's plan: \
         findings with remedies, why it is blocked, and what to do next.",
        reads(),
        Scope::DeploymentsRead,
        |call| get_report(call).boxed(),
    )
}

async fn get_report(call: Call<'_>) -> Outcome {
    let GetArguments { deployment_id } = call.arguments()?;
    let report = verb::report(call.cx, call.who, deployment_id).await?;
    let findings = &report.judgement.findings;
    let gates = report.judgement.gates.iter();
    let seen = Answer {
        untrusted: true,
        verdict: report.verdict,
        summary: line(&report.summary, 500),
        gates: gates
            .map(|g| line(&format!("{}: {}. {}", g.gate, g.verdict, g.detail), 300))
            .collect(),
        findings_total: findings.len(),
        findings: findings.iter().take(MAX_FINDINGS).map(row).collect(),
        next_steps: report.next_steps.iter().map(|step| line(step, 400)).collect(),
        plan_digest: report.plan_digest.clone(),
    };
    let page = fenced(call.cx, "the report", &report.to_page());
    answer(&seen, format!("plan_digest {}. {page}", seen.plan_digest))
}

/// A finding in a line.
fn row(finding: &Finding) -> String {
    let covered = if finding.exemption.is_some() { " (exempted)" } else { "" };
    let text = format!(
        "{} {} {}: {} Remedy: {}{covered}",
        finding.severity, finding.rule, finding.address, finding.message, finding.remedy
    );
    line(&text, 600)
}
