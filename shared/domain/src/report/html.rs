//! The report as one page of HTML: complete in itself, without scripts, and with nothing in it that
//! is not escaped. Plans quote what others wrote.

use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Value as Json, json};

use super::Report;
use crate::cost::CostReport;
use crate::finding::Finding;
use crate::gate::{GateResult, GateVerdict};

/// Its name ends in `.html`, which is what has everything escaped.
const NAME: &str = "report.html";
const TEMPLATE: &str = include_str!("page.html");

/// Most resources, findings and prices on the page.
const MOST: usize = 25;

pub(super) fn render(report: &Report) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template(NAME, TEMPLATE)?;
    environment.get_template(NAME)?.render(Value::from(Serde(view(report))))
}

fn view(report: &Report) -> Json {
    let judgement = &report.judgement;
    let all = report.counts.resources().max(report.changes.len());
    let changes: Vec<Json> = report
        .changes
        .iter()
        .take(MOST)
        .map(|c| json!({"sign": c.action.sign(), "address": c.address}))
        .collect();
    let left_off = usize::try_from(judgement.findings_left_off).unwrap_or(usize::MAX);
    let found = judgement.findings.len().saturating_add(left_off);
    let denies = |gate: &&GateResult| gate.verdict == GateVerdict::Deny;
    let (approval, reasons) = match &judgement.approval {
        Some(need) => {
            let reasons: Vec<&String> =
                need.requirements.iter().flat_map(|r| &r.reasons).chain(&need.denied).collect();
            (sentence(&need.to_text()), reasons)
        }
        None => ("Nobody was asked for.".to_owned(), Vec::new()),
    };
    json!({
        "stack": report.stack.to_string(),
        "word": super::verdict_word(report),
        "verdict": report.verdict,
        "summary": report.summary,
        "operation": report.operation,
        "state": report.state,
        "at": judgement.at.format("%Y-%m-%d %H:%M UTC").to_string(),
        "blocked": judgement.gates.iter().filter(denies).map(gate).collect::<Vec<_>>(),
        "steps": report.next_steps,
        "counts": report.counts.to_string(),
        "changes": changes,
        "more_changes": all.saturating_sub(MOST.min(report.changes.len())),
        "cost": judgement.cost.as_ref().map(cost),
        "findings": judgement.findings.iter().take(MOST).map(finding).collect::<Vec<_>>(),
        "more_findings": found.saturating_sub(MOST.min(judgement.findings.len())),
        "skipped": judgement.skipped,
        "approval": approval,
        "reasons": reasons,
        "gates": judgement.gates.iter().map(gate).collect::<Vec<_>>(),
        "id": report.deployment_id.to_string(),
        "digest": report.plan_digest,
    })
}

fn gate(gate: &GateResult) -> Json {
    json!({"gate": gate.gate, "verdict": gate.verdict, "word": gate.verdict.to_string(),
        "detail": gate.detail})
}

fn finding(finding: &Finding) -> Json {
    let place = match (&finding.address, &finding.file, finding.line) {
        (address, _, _) if !address.is_empty() => address.clone(),
        (_, Some(file), Some(line)) => format!("{file}:{line}"),
        (_, Some(file), None) => file.clone(),
        _ => String::new(),
    };
    json!({"severity": finding.severity, "rule": finding.rule, "tool": finding.tool,
        "place": place, "message": finding.message, "remedy": finding.remedy,
        "exemption": finding.exemption.map(|id| id.to_string())})
}

fn cost(cost: &CostReport) -> Json {
    let mut changed: Vec<_> =
        cost.resources.iter().filter(|one| !one.monthly_delta.is_zero()).collect();
    // The largest first, whichever way.
    let size = |one: &crate::cost::ResourceCost| one.monthly_before.max(one.monthly_after);
    changed.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.address.cmp(&b.address)));
    let rows: Vec<Json> = changed
        .iter()
        .take(MOST)
        .map(|one| {
            json!({"address": one.address, "before": one.monthly_before.shown(),
                "after": one.monthly_after.shown(), "delta": one.monthly_delta.shown_signed()})
        })
        .collect();
    json!({"line": cost.line(), "more": changed.len().saturating_sub(rows.len()),
        "resources": rows, "warnings": cost.warnings})
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}
