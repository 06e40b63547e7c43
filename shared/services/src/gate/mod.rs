//! The gates: what a plan must pass before it is applied.
//!
//! They are asked as soon as a plan is made and before it is kept, so that what they say
//! is there together with the plan. Each sees the normalised plan and the driver's own document,
//! whatever the driver is. A gate that cannot answer denies.

mod cost;
mod report;
mod scan;
mod settings;
mod test;

use std::sync::Arc;

use bytes::Bytes;
use slipway_domain::approval::{self, Demand, PlanFacts};
use slipway_domain::exemption::{self, Exemption, UsedExemption};
use slipway_domain::fault::Fault;
use slipway_domain::finding::Finding;
use slipway_domain::gate::{GateKind, GateResult, GateVerdict};
use slipway_domain::gate_settings::ResolvedSettings;
use slipway_domain::job::Job;
use slipway_domain::plan::ResourceChange;
use slipway_domain::port::driver::Planned;
use slipway_domain::port::estimator::Estimated;
use slipway_domain::redact::Redactor;
use slipway_domain::report::{Judgement, Skipped};
use slipway_domain::scan::{ScanOutcome, dedupe};
use slipway_domain::setting::SettingUse;
use slipway_domain::test_report::TestReport;
use slipway_policy::Context;
use slipway_store::deployment::Record;

pub use cost::wanted as wanted_estimate;
pub use report::{reconsider, report};
pub use scan::wanted as wanted_scans;
pub(crate) use settings::resolved_in;
pub use settings::{Precondition, all, forget, get, resolved, set};
pub(crate) use test::{arrived, ask as ask_tests};

use crate::policy::Subject;
use crate::{Ctx, policy, price};

/// What the gates are told of a plan beside itself.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Knows the secrets of the run: what gates quote goes through it.
    pub redactor: Redactor,
    /// What scanners said of the source.
    pub scans: Vec<ScanOutcome>,
    /// The items of the central configuration that the plan was made with.
    pub settings: Vec<SettingUse>,
    /// What became of asking infracost what it costs; `None` when nobody did.
    pub estimate: Option<Estimated>,
}

/// What one gate says, with its evidence.
struct Answer {
    result: GateResult,
    findings: Vec<Finding>,
}

/// Everything about a deployment that gates look at, read in one go.
struct Known {
    record: Record,
    settings: ResolvedSettings,
    exemptions: Vec<Exemption>,
    tested: Option<TestReport>,
    history: serde_json::Value,
}

/// Gets ready what the first plan would otherwise wait for: the shipped policies, compiled, and the
/// price book. Whatever goes wrong here is told by the gate that needs it.
pub async fn warm(cx: &Ctx) {
    let book = price::book(cx).await;
    if let Err(fault) = cx.gathered.policies.warm().await {
        tracing::warn!(%fault, cause = fault.causes(), "the shipped policies could not be compiled");
    }
    match book {
        Ok(Ok(_)) => {}
        Ok(Err(why)) => tracing::warn!(why, "the price book could not be read"),
        Err(fault) => {
            tracing::warn!(%fault, cause = fault.causes(), "the price book could not be read");
        }
    }
}

/// Asks the gates about a plan that has just been made. A plan without changes is asked nothing.
pub(crate) async fn judge(
    cx: &Ctx,
    job: &Job,
    planned: &Planned,
    seen: &Seen,
) -> Result<Judgement, Fault> {
    let now = cx.now();
    let mut judgement = Judgement::empty(now);
    if planned.no_changes {
        return Ok(judgement);
    }
    let Known { record, settings, exemptions, tested, history } = know(cx, job).await?;
    let d = &record.deployment;
    let changes = Arc::new(planned.changes.clone());
    let exempt = |findings: &mut Vec<Finding>| {
        let stack = &d.stack;
        exemption::apply(findings, &exemptions, &stack.project, &stack.environment, now)
    };

    let skipped = &mut judgement.skipped;
    let (mut costs, cost_report) =
        cost::ask(cx, &settings.cost, &planned.document, seen, skipped).await?;
    let of_cost = exempt(&mut costs.findings);
    cost::settle(&mut costs, skipped);

    let subject =
        subject(&record, changes.clone(), &planned.document, cost_report.as_ref(), history);
    let policies = policy::gate(cx, &settings.policy, subject).await?;

    let mut scans = scan::ask(&settings.scan, &seen.scans, &mut judgement.skipped);
    let of_scans = exempt(&mut scans.findings);
    scan::settle(&settings.scan, &mut scans, &judgement.skipped);

    // A failed test is mended, not exempted from.
    let tests = settings.test.as_ref().map(|asked| test::answer(asked, tested.as_ref()));

    judgement.gates.push(scans.result);
    judgement.gates.push(policies.result);
    judgement.gates.push(costs.result);
    let mut findings = dedupe(policies.findings, scans.findings);
    findings.extend(costs.findings);
    if let Some(tests) = tests {
        judgement.gates.push(tests.result);
        findings.extend(tests.findings);
        judgement.tests.clone_from(&settings.test);
    }
    judgement.findings = findings;
    let need = need(&settings, &changes, &record, &judgement);
    judgement.gates.push(need.gate());
    judgement.approval = Some(need);
    judgement.policies = policies.packs.iter().map(|(pack, digest)| named(pack, digest)).collect();
    judgement.exemptions = joined([policies.exemptions, of_cost, of_scans]);
    judgement.holds_until = exemption::earliest_expiry(&judgement.exemptions);
    judgement.cost = cost_report;
    judgement.bound();
    tidy(&mut judgement, &seen.redactor);
    Ok(judgement)
}

async fn know(cx: &Ctx, job: &Job) -> Result<Known, Fault> {
    let id = job.deployment_id;
    let mut tx = cx.store.read().await?;
    let record = tx.deployment(id).await?.ok_or_else(|| Fault::not_found("deployment", id))?;
    let stack = &record.deployment.stack;
    let settings = resolved_in(cx, &mut tx, stack).await?;
    let exemptions = tx.active_exemptions(&stack.project, &stack.environment, cx.now()).await?;
    let tested = match &settings.test {
        Some(asked) => test::report_of(&mut tx, id, asked).await?,
        None => None,
    };
    let history = policy::history(&mut tx, &record).await?;
    Ok(Known { record, settings, exemptions, tested, history })
}

/// What policies are asked about.
fn subject(
    record: &Record,
    changes: Arc<Vec<ResourceChange>>,
    document: &Bytes,
    cost: Option<&slipway_domain::cost::CostReport>,
    history: serde_json::Value,
) -> Subject {
    let d = &record.deployment;
    let context = Context {
        project: d.stack.project.clone(),
        environment: d.stack.environment.clone(),
        actor: serde_json::json!({"id": d.submitted_by.id, "kind": d.submitted_by.kind}),
        cost: cost.map_or(serde_json::Value::Null, |cost| {
            serde_json::json!({"currency": cost.currency, "monthly_before": cost.monthly_before,
                "monthly_after": cost.monthly_after, "monthly_delta": cost.monthly_delta})
        }),
        history,
        settings: serde_json::Value::Null,
    };
    let terraform = (!document.is_empty()).then(|| document.clone());
    Subject { changes, terraform, context }
}

/// Whose yes a plan needs, given what the other gates say.
fn need(
    settings: &ResolvedSettings,
    changes: &[ResourceChange],
    record: &Record,
    judgement: &Judgement,
) -> approval::ApprovalNeed {
    let mut demands = Demand::of_findings(&judgement.findings);
    demands.extend(Demand::of_gates(&judgement.gates));
    let author = &record.deployment.submitted_by;
    let facts = PlanFacts::of(changes);
    approval::need(&settings.approval, &facts, author, &demands, judgement.at)
}

fn named(pack: &slipway_domain::policy::PackUse, digest: &str) -> String {
    let version = pack.version.map(|version| format!(" version {version}")).unwrap_or_default();
    format!("{}{version} {digest}", pack.name)
}

/// Each exemption once, with everything that it covers.
fn joined<const N: usize>(used: [Vec<UsedExemption>; N]) -> Vec<UsedExemption> {
    let mut all: Vec<UsedExemption> = Vec::new();
    for one in used.into_iter().flatten() {
        match all.iter_mut().find(|other| other.id == one.id) {
            Some(same) => same.findings = same.findings.saturating_add(one.findings),
            None => all.push(one),
        }
    }
    all
}

/// Takes secrets out of what the gates quote.
fn tidy(judgement: &mut Judgement, redactor: &Redactor) {
    let tidy = |text: &mut String| *text = redactor.text(text);
    judgement.gates.iter_mut().for_each(|gate| tidy(&mut gate.detail));
    for finding in &mut judgement.findings {
        tidy(&mut finding.message);
        tidy(&mut finding.remedy);
        tidy(&mut finding.title);
    }
    judgement.skipped.iter_mut().for_each(|Skipped { why, .. }| tidy(why));
}

/// The strictest of what findings say that no exemption covers.
fn strictest(findings: &[Finding]) -> GateVerdict {
    use slipway_domain::finding::Verdict;
    let live = findings.iter().filter(|finding| finding.exemption.is_none());
    match live.map(|finding| finding.verdict).max() {
        None | Some(Verdict::Pass) => GateVerdict::Pass,
        Some(Verdict::Warn | Verdict::Unknown) => GateVerdict::Warn,
        Some(Verdict::RequireRole) => GateVerdict::NeedsApproval,
        Some(Verdict::Deny) => GateVerdict::Deny,
    }
}

fn result(gate: GateKind, verdict: GateVerdict, detail: impl Into<String>) -> GateResult {
    GateResult { gate, verdict, detail: detail.into() }
}
