//! What the gates found in a plan, and the report of it: one document, and one page that a person
//! reads in a minute.

mod html;

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::approval::ApprovalNeed;
use crate::cost::CostReport;
use crate::deployment::{Deployment, Operation, Stale};
use crate::exemption::UsedExemption;
use crate::fault::Fault;
use crate::finding::{Finding, Verdict};
use crate::gate::{GateKind, GateResult, GateVerdict, conclude};
use crate::id::{DeploymentId, PlanId};
use crate::plan::{Action, Counts, Plan};
use crate::scan::sarif;
use crate::stack::StackKey;
use crate::state::DeploymentState;
use crate::test_report::TestSettings;

/// A check that was asked for and could not be made. Never a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Skipped {
    /// The gate that asked for it.
    pub gate: GateKind,
    /// The tool that was to make it, e.g. `checkov`.
    pub tool: String,
    /// Why it could not.
    pub why: String,
    /// Whether the gate denies because of it; otherwise it warns.
    #[serde(default)]
    pub denies: bool,
}

/// What the gates said about one plan, with what they found. It holds no secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Judgement {
    /// When they were asked.
    pub at: DateTime<Utc>,
    /// What each said, in the order in which they are asked.
    pub gates: Vec<GateResult>,
    /// What they found, the worst first; what an exemption covers last.
    pub findings: Vec<Finding>,
    /// How many findings did not fit. They count in the verdicts all the same.
    pub findings_left_off: u32,
    /// Checks that could not be made.
    pub skipped: Vec<Skipped>,
    /// The packs of policies that judged it, with their versions.
    pub policies: Vec<String>,
    /// The exemptions that it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exemptions: Vec<UsedExemption>,
    /// What it costs, when that could be reckoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostReport>,
    /// The tests that are waited for, or whose report was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestSettings>,
    /// Whose yes it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalNeed>,
    /// Until when it holds, where it rests on something that ends, such as an exemption. After that
    /// the plan is made and judged anew before it is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_until: Option<DateTime<Utc>>,
}

impl Judgement {
    /// Most findings that are kept.
    pub const MAX_FINDINGS: usize = 1_000;

    /// What was said when nobody was asked yet.
    pub const fn empty(at: DateTime<Utc>) -> Self {
        Self {
            at,
            gates: Vec::new(),
            findings: Vec::new(),
            findings_left_off: 0,
            skipped: Vec::new(),
            policies: Vec::new(),
            exemptions: Vec::new(),
            cost: None,
            tests: None,
            approval: None,
            holds_until: None,
        }
    }

    /// The answer of all gates together.
    pub fn verdict(&self) -> GateVerdict {
        conclude(&self.gates)
    }

    /// Puts findings in their order and keeps the worst.
    pub fn bound(&mut self) {
        self.findings.sort_by(Finding::order);
        let surplus = self.findings.len().saturating_sub(Self::MAX_FINDINGS);
        self.findings.truncate(Self::MAX_FINDINGS);
        let more = u32::try_from(surplus).unwrap_or(u32::MAX);
        self.findings_left_off = self.findings_left_off.saturating_add(more);
    }
}

/// A resource that a plan changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[schema(as = ReportedChange)]
#[schemars(rename = "ReportedChange")]
pub struct Changed {
    /// What happens to it.
    pub action: Action,
    /// Its address.
    pub address: String,
}

/// The report of a deployment's current plan: what changes, what is wrong, who must say yes, why it
/// is blocked, and what to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Report {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// What names its stack.
    pub stack: StackKey,
    /// What it is for.
    pub operation: Operation,
    /// Where the deployment is.
    pub state: DeploymentState,
    /// The plan.
    pub plan_id: PlanId,
    /// What an approval must name.
    pub plan_digest: String,
    /// All gates together.
    pub verdict: GateVerdict,
    /// The whole in one sentence.
    pub summary: String,
    /// What changes, in numbers.
    pub counts: Counts,
    /// What changes; the plan has the values, and the rest where these are many.
    pub changes: Vec<Changed>,
    /// What the gates said and found.
    pub judgement: Judgement,
    /// That the plan, which nobody applies, is out of date, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Stale>,
    /// What to do next, the most urgent first.
    pub next_steps: Vec<String>,
}

/// Most resources that a report names.
const MAX_CHANGES: usize = 200;
/// Most steps that a report names.
const MAX_STEPS: usize = 8;
/// Most findings on the page.
const MAX_ON_PAGE: usize = 20;
/// Most resources on the page.
const MAX_CHANGES_ON_PAGE: usize = 15;

impl Report {
    /// The report of a plan, as the deployment is now.
    pub fn of(deployment: &Deployment, plan: &Plan, judgement: Judgement) -> Self {
        let verdict = judgement.verdict();
        Self {
            deployment_id: deployment.id,
            stack: deployment.stack.clone(),
            operation: deployment.operation,
            state: deployment.state,
            plan_id: plan.id,
            plan_digest: plan.digest.clone(),
            verdict,
            summary: summary(deployment, plan, &judgement, verdict),
            stale: deployment.stale.clone(),
            counts: plan.counts,
            changes: plan
                .changes
                .iter()
                .take(MAX_CHANGES)
                .map(|c| Changed { action: c.action, address: c.address.clone() })
                .collect(),
            next_steps: next_steps(deployment, plan, &judgement),
            judgement,
        }
    }

    /// The page: Markdown, which also reads well as it is.
    pub fn to_page(&self) -> String {
        let mut page = String::new();
        let _ = writeln!(page, "# {}: {}\n", plain(&self.stack.to_string()), verdict_word(self));
        let _ = writeln!(page, "{}\n", plain(&self.summary));
        if let Some(stale) = &self.stale {
            let _ = writeln!(page, "**Out of date**: {}.\n", plain(&stale.to_string()));
        }
        let _ = writeln!(page, "Plan: {}.\n", self.counts);
        for change in self.changes.iter().take(MAX_CHANGES_ON_PAGE) {
            let _ = writeln!(page, "- `{}` {}", change.action.sign(), code(&change.address));
        }
        let all = self.counts.resources().max(self.changes.len());
        more(&mut page, all, MAX_CHANGES_ON_PAGE, "resources");
        if let Some(cost) = &self.judgement.cost {
            let _ = writeln!(page, "\nCost: {}", plain(&cost.line()));
        }
        page.push_str("\n## Gates\n\n");
        for gate in &self.judgement.gates {
            let _ =
                writeln!(page, "- **{}**: {}. {}", gate.gate, gate.verdict, plain(&gate.detail));
        }
        for skipped in &self.judgement.skipped {
            let (tool, why) = (plain(&skipped.tool), plain(&skipped.why));
            let _ = writeln!(page, "- **{}**: {tool} was skipped: {why}", skipped.gate);
        }
        self.findings_on(&mut page);
        if !self.next_steps.is_empty() {
            page.push_str("\n## What to do\n\n");
            for step in &self.next_steps {
                let _ = writeln!(page, "1. {}", plain(step));
            }
        }
        let _ = writeln!(page, "\nDeployment {}, plan {}", self.deployment_id, self.plan_digest);
        page
    }

    /// The same as HTML: one page that needs nothing else, for a browser or a file.
    pub fn to_html(&self) -> Result<String, Fault> {
        html::render(self).map_err(Fault::internal)
    }

    /// What was found, as one SARIF log with a run for each tool.
    pub fn to_sarif(&self) -> serde_json::Value {
        sarif::log(&self.stack.to_string(), &self.judgement.findings)
    }

    fn findings_on(&self, page: &mut String) {
        let findings = &self.judgement.findings;
        if findings.is_empty() {
            return;
        }
        page.push_str("\n## Findings\n\n");
        for finding in findings.iter().take(MAX_ON_PAGE) {
            let place = match (&finding.address, &finding.file) {
                (address, _) if !address.is_empty() => format!(" {}", code(address)),
                (_, Some(file)) => {
                    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
                    format!(" {}", code(&format!("{file}{line}")))
                }
                _ => String::new(),
            };
            let covered = match &finding.exemption {
                Some(id) => format!(" (covered by exemption {id})"),
                None => String::new(),
            };
            let _ = writeln!(
                page,
                "- **{}** {}{place}: {}{covered}",
                finding.severity,
                code(&finding.rule),
                plain(&finding.message)
            );
            if finding.exemption.is_none() && !finding.remedy.is_empty() {
                let _ = writeln!(page, "  Remedy: {}", plain(&finding.remedy));
            }
        }
        let left_off = usize::try_from(self.judgement.findings_left_off).unwrap_or(usize::MAX);
        more(page, findings.len().saturating_add(left_off), MAX_ON_PAGE, "findings");
    }
}

fn more(page: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = writeln!(page, "- … and {} more {what}", all - shown);
    }
}

fn verdict_word(report: &Report) -> &'static str {
    match (report.state, report.verdict) {
        (DeploymentState::Blocked, _) | (_, GateVerdict::Deny) => "blocked",
        (_, GateVerdict::NeedsApproval) => "needs approval",
        (_, GateVerdict::Pending) => "not judged yet",
        (_, GateVerdict::Warn) => "passes, with warnings",
        (_, GateVerdict::Pass) => "passes",
    }
}

/// One line, with nothing in it that Markdown would read as more than text: plans quote what
/// others wrote.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => {}
            '<' | '>' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '\\' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// A name, set as code.
fn code(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control() && *c != '`').collect();
    format!("`{clean}`")
}

fn summary(
    deployment: &Deployment,
    plan: &Plan,
    judgement: &Judgement,
    verdict: GateVerdict,
) -> String {
    let live = || judgement.findings.iter().filter(|f| f.exemption.is_none());
    let against = |verdict| live().filter(|f| f.verdict == verdict).count();
    let gates = |verdict: GateVerdict| {
        let names = judgement.gates.iter().filter(|g| g.verdict == verdict);
        names.map(|g| g.gate.as_str()).collect::<Vec<_>>().join(", ")
    };
    let what = plan.counts.to_string();
    match verdict {
        GateVerdict::Deny => {
            let findings = match against(Verdict::Deny) {
                0 => String::new(),
                1 => ", for 1 finding".to_owned(),
                n => format!(", for {n} findings"),
            };
            format!("Blocked by {}{findings}: {what}.", gates(GateVerdict::Deny))
        }
        GateVerdict::NeedsApproval => {
            let waits = if deployment.options.plan_only { "Would wait" } else { "Waits" };
            format!("{waits} for approval ({}): {what}.", gates(GateVerdict::NeedsApproval))
        }
        GateVerdict::Pending => format!("Waits for {}: {what}.", gates(GateVerdict::Pending)),
        GateVerdict::Warn => format!("Passes with {} warnings: {what}.", live().count()),
        GateVerdict::Pass => format!("Every gate passes: {what}."),
    }
}

fn next_steps(deployment: &Deployment, plan: &Plan, judgement: &Judgement) -> Vec<String> {
    let mut steps = Vec::new();
    let id = deployment.id;
    if let Some(stale) = &deployment.stale {
        steps.push(format!("Submit it again for a plan that holds now: {stale}."));
    }
    match deployment.state {
        DeploymentState::Blocked => {
            let denies = |f: &&Finding| f.exemption.is_none() && f.verdict == Verdict::Deny;
            for finding in judgement.findings.iter().filter(denies) {
                let place = if finding.address.is_empty() { "the plan" } else { &finding.address };
                let remedy = match finding.remedy.as_str() {
                    "" => finding.message.as_str(),
                    remedy => remedy,
                };
                let step = format!("{place} ({}): {remedy}", finding.rule);
                if steps.len() < MAX_STEPS && !steps.contains(&step) {
                    steps.push(step);
                }
            }
            for gate in judgement.gates.iter().filter(|g| g.verdict == GateVerdict::Deny) {
                if steps.is_empty() {
                    steps.push(format!("{}: {}", gate.gate, gate.detail));
                }
            }
            steps.push(format!(
                "Submit a corrected configuration; or, where somebody may decide so, add an \
                 exemption or change the gate's settings and let it be judged anew: slipway \
                 reconsider {id}"
            ));
        }
        DeploymentState::AwaitingApproval => steps.push(format!(
            "Read the plan, then approve or reject it by its digest: slipway approve {id} --digest \
             {}",
            plan.digest
        )),
        DeploymentState::Approved if !deployment.options.auto_apply => {
            steps.push(format!("Start the apply: slipway apply {id}"));
        }
        DeploymentState::NeedsAttention => {
            steps.push(format!("See what is in doubt: slipway recovery {id}"));
        }
        _ => {}
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Severity, State};
    use crate::gate::GateResult;
    use crate::id::ExemptionId;

    fn judgement() -> Judgement {
        let gate = |gate, verdict| GateResult { gate, verdict, detail: "it says so".to_owned() };
        Judgement {
            gates: vec![
                gate(GateKind::Policy, GateVerdict::Deny),
                gate(GateKind::Approval, GateVerdict::NeedsApproval),
            ],
            ..Judgement::empty(DateTime::UNIX_EPOCH)
        }
    }

    fn finding(rule: &str, severity: Severity) -> Finding {
        Finding {
            tool: Finding::POLICY.to_owned(),
            rule: rule.to_owned(),
            severity,
            address: "aws_s3_bucket.logs".to_owned(),
            message: "Anybody reads it.\n# Approved\n<b>[x](http://h)</b>".to_owned(),
            remedy: "Make it private.".to_owned(),
            state: State::Fail,
            ..Finding::policy_error("")
        }
    }

    fn report(judgement: Judgement) -> Report {
        let verdict = judgement.verdict();
        Report {
            deployment_id: "dep_0192f1c0111170008000000000000000".parse().unwrap(),
            stack: StackKey {
                project: "shop".to_owned(),
                name: "web".to_owned(),
                environment: "prod".to_owned(),
            },
            operation: Operation::Deploy,
            state: DeploymentState::Blocked,
            plan_id: "pln_0192f1c0111170008000000000000000".parse().unwrap(),
            plan_digest: "sha256:00".to_owned(),
            verdict,
            summary: "Blocked by policy.".to_owned(),
            counts: Counts { create: 30, ..Counts::default() },
            changes: (0..30)
                .map(|n| Changed { action: Action::Create, address: format!("a_b.c[{n}]") })
                .collect(),
            judgement,
            stale: None,
            next_steps: vec!["Make it private.".to_owned()],
        }
    }

    #[test]
    fn the_page_says_it_all_and_what_others_wrote_stays_text() {
        let mut judgement = judgement();
        judgement.findings =
            (0..30).map(|n| finding(&format!("r{n}"), Severity::Critical)).collect();
        judgement.findings[3].exemption =
            Some("exm_0192f1c0111170008000000000000000".parse::<ExemptionId>().unwrap());
        judgement.bound();
        let page = report(judgement).to_page();
        assert!(page.starts_with("# shop/web/prod: blocked\n"), "{page}");
        for part in ["`a_b.c[0]`", "and 15 more resources", "and 10 more findings", "Remedy: Make"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        let titles: Vec<_> = page.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(
            titles,
            ["# shop/web/prod: blocked", "## Gates", "## Findings", "## What to do"]
        );
        assert!(!page.contains("<b>") && !page.contains("[x](http"), "{page}");
    }

    #[test]
    fn the_page_of_html_says_it_all_and_nothing_in_it_is_live() {
        let mut judgement = judgement();
        judgement.findings = (0..30).map(|n| finding(&format!("r{n}"), Severity::High)).collect();
        judgement.findings[0].message = "<script>alert(1)</script>".to_owned();
        judgement.findings[1].rule = "\"><img src=x onerror=y>".to_owned();
        judgement.findings[2].remedy = "{{ 7 * 7 }} & <b>".to_owned();
        judgement.skipped = vec![Skipped {
            gate: GateKind::Scan,
            tool: "checkov".to_owned(),
            why: "</li><script>".to_owned(),
            denies: false,
        }];
        judgement.approval = Some(crate::approval::ApprovalNeed {
            verdict: GateVerdict::NeedsApproval,
            approvals: 2,
            requirements: vec![crate::approval::Requirement {
                approvals: 2,
                roles: [crate::access::Role::Admin].into(),
                reasons: vec!["it deletes <what> holds data".to_owned()],
            }],
            barred: Vec::new(),
            agents_may_approve: false,
            denied: Vec::new(),
            expires_in_s: None,
            frozen: None,
        });
        let mut report = report(judgement);
        report.stack.name = "<web>".to_owned();
        let page = report.to_html().unwrap();
        for part in [
            "<!doctype html>",
            "shop&#x2f;&lt;web&gt;&#x2f;prod",
            "Why it is blocked",
            "What to do",
            "Make it private.",
            "a_b.c[0]",
            "… and 5 more.",
            "&lt;script&gt;alert(1)",
            "{{ 7 * 7 }} &amp; &lt;b&gt;",
            "2 approvals by an admin.",
            "it deletes &lt;what&gt; holds data",
            "checkov was skipped",
            "sha256:00",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        for live in ["<script", "<img", "<b>", "<what>", "javascript:", "http://", "https://"] {
            assert!(!page.contains(live), "{live}: {page}");
        }
        let empty = Report {
            judgement: Judgement::empty(DateTime::UNIX_EPOCH),
            changes: Vec::new(),
            next_steps: Vec::new(),
            ..report
        };
        let page = empty.to_html().unwrap();
        assert!(page.contains("Nothing was found.") && !page.contains("Why it is"), "{page}");
    }

    #[test]
    fn the_worst_findings_stay_and_the_rest_is_counted() {
        let mut judgement = judgement();
        let low = std::iter::repeat_with(|| finding("low", Severity::Low));
        judgement.findings = low.take(Judgement::MAX_FINDINGS + 5).collect();
        judgement.findings.push(finding("worst", Severity::Critical));
        judgement.bound();
        assert_eq!(judgement.findings.len(), Judgement::MAX_FINDINGS);
        assert_eq!(judgement.findings_left_off, 6);
        assert_eq!(judgement.findings[0].rule, "worst");
    }
}
