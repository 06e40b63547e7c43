//! The cost gate: what a plan costs, by infracost where settings ask it and it answers, else by the
//! price book, and whether that is within the limits. infracost is run by the worker, after the plan.

use bytes::Bytes;
use slipway_cost::{BookError, Limits, infracost};
use slipway_domain::cost::{self, CostReport, InfracostSettings};
use slipway_domain::fault::Fault;
use slipway_domain::finding::Finding;
use slipway_domain::gate::{GateKind, GateVerdict};
use slipway_domain::gate_settings::CostRules;
use slipway_domain::id::DeploymentId;
use slipway_domain::port::estimator::{EstimateStatus, Estimated};
use slipway_domain::redact::Redactor;
use slipway_domain::report::Skipped;

use super::{Answer, Seen, resolved_in, result, strictest};
use crate::{Ctx, price};

/// What a skip of it is named by.
const INFRACOST: &str = "infracost";
const NO_DOCUMENT: &str = "the driver gives no document that a cost could be reckoned from";

/// How a deployment's plan is to be priced.
pub async fn wanted(cx: &Ctx, id: DeploymentId) -> Result<CostRules, Fault> {
    let mut tx = cx.store.read().await?;
    let record = tx.deployment(id).await?.ok_or_else(|| Fault::not_found("deployment", id))?;
    Ok(resolved_in(cx, &mut tx, &record.deployment.stack).await?.cost)
}

/// Why infracost's word does not count, and what to do.
struct Silence {
    why: String,
    remedy: &'static str,
}

impl Silence {
    fn new(why: impl Into<String>, remedy: &'static str) -> Self {
        Self { why: why.into(), remedy }
    }
}

/// Asks what a plan costs. Without a document of the tool there is nothing to reckon with.
pub(super) async fn ask(
    cx: &Ctx,
    rules: &CostRules,
    document: &Bytes,
    seen: &Seen,
    skipped: &mut Vec<Skipped>,
) -> Result<(Answer, Option<CostReport>), Fault> {
    let Some(asked) = &rules.infracost else { return by_book(cx, rules, document).await };
    let silence = match heard(rules, document, seen).await {
        Ok(report) => return Ok((judged(&report, rules), Some(report))),
        Err(silence) => silence,
    };
    let (mut answer, report) = by_book(cx, rules, document).await?;
    not_heard(asked, silence, &mut answer, skipped);
    Ok((answer, report))
}

/// Has the limits judge a report.
fn judged(report: &CostReport, rules: &CostRules) -> Answer {
    let cost::Judgement { verdict, findings, detail } = cost::judge(report, &rules.limits);
    Answer { result: result(GateKind::Cost, verdict, detail), findings }
}

/// Enters that infracost did not say what it was asked: it denies where it is required, and is never
/// a pass.
fn not_heard(
    asked: &InfracostSettings,
    silence: Silence,
    answer: &mut Answer,
    skipped: &mut Vec<Skipped>,
) {
    let Silence { why, remedy } = silence;
    let weight = if asked.required { "which denies" } else { "recorded as skipped" };
    let detail = &mut answer.result.detail;
    *detail = format!("{detail}; {INFRACOST}: {why} ({weight})");
    if asked.required {
        let message = format!("{INFRACOST} was to say what it costs, and did not: {why}.");
        let remedy = format!(
            "{remedy} Or have it no longer required (`infracost.required` in the gate's settings \
             for `cost`): then the price book judges."
        );
        answer.findings.push(Finding { remedy, ..cost::cost_error(message) });
    }
    let tool = INFRACOST.to_owned();
    skipped.push(Skipped { gate: GateKind::Cost, tool, why, denies: asked.required });
}

/// What infracost says, if it was asked, answered, and can be understood.
async fn heard(rules: &CostRules, document: &Bytes, seen: &Seen) -> Result<CostReport, Silence> {
    if document.is_empty() {
        return Err(Silence::new(NO_DOCUMENT, "It goes with a driver that has such a document."));
    }
    let again = "Have the plan made again.";
    let Some(Estimated { status, .. }) = &seen.estimate else {
        return Err(Silence::new("it was not asked", again));
    };
    let said = match status {
        EstimateStatus::Done { document } => document.clone(),
        EstimateStatus::Missing { why } => {
            let remedy = "Install infracost on the workers that plan, or name its program in their \
                configuration (`cost.infracost`).";
            return Err(Silence::new(why, remedy));
        }
        EstimateStatus::TimedOut { after_s } => {
            let why = format!("it was killed at its limit of {after_s} s");
            let remedy = "See whether its pricing API can be reached from the workers, or give it \
                more time (`infracost.time_limit_s`).";
            return Err(Silence::new(why, remedy));
        }
        EstimateStatus::Failed { why } => {
            let remedy = "Mend what it names (the deployment's log has the rest), and have the plan \
                made again.";
            return Err(Silence::new(why, remedy));
        }
    };
    let reading = tokio::task::spawn_blocking(move || infracost::read(&said, Limits::default()));
    let read = reading.await.unwrap_or_else(|panic| {
        tracing::error!(%panic, "the report of infracost could not be read");
        Err(BookError::Unreadable("in an unexpected way".to_owned()))
    });
    let mut report = read.map_err(|error| {
        let why = match error {
            BookError::Form { why, .. } | BookError::Unreadable(why) => why,
            BookError::TooLarge { limit } => format!("it is larger than {limit} bytes"),
            BookError::TooMany { limit } => format!("it has more than {limit} resources"),
            other => other.to_string(),
        };
        let why = format!("its report cannot be used: {}", shown(&seen.redactor, &why));
        Silence::new(why, "Mend what it names, and have the plan made again.")
    })?;
    let wanted = &rules.estimate.currency;
    if report.currency != *wanted {
        let why = format!("its report is in {}, and {wanted} was asked for", report.currency);
        let remedy = "Set `estimate.currency` to a currency that its pricing API has.";
        return Err(Silence::new(why, remedy));
    }
    tidy(&mut report, &seen.redactor);
    Ok(report)
}

/// Longest reason of a tool that is shown, in characters.
const MAX_WHY: usize = 300;

/// What a tool says, without secrets and in one line that is not too long.
fn shown(redactor: &Redactor, why: &str) -> String {
    // Secrets first: cut or put on one line they would not be known again.
    let why = redactor.text(why);
    let words: Vec<&str> = why.split_whitespace().collect();
    words.join(" ").chars().take(MAX_WHY).collect()
}

/// Takes secrets out of what infracost quotes of the plan: it reads sensitive values too.
fn tidy(report: &mut CostReport, redactor: &Redactor) {
    let tidy = |text: &mut String| *text = redactor.text(text);
    for resource in &mut report.resources {
        tidy(&mut resource.address);
        let lines = resource.components.iter_mut().chain(&mut resource.components_before);
        lines.for_each(|line| tidy(&mut line.name));
    }
    for gap in &mut report.unpriced {
        tidy(&mut gap.address);
        tidy(&mut gap.component);
    }
    for line in &mut report.usage_based {
        tidy(&mut line.address);
        tidy(&mut line.component);
    }
}

/// What the price book says.
async fn by_book(
    cx: &Ctx,
    rules: &CostRules,
    document: &Bytes,
) -> Result<(Answer, Option<CostReport>), Fault> {
    if document.is_empty() {
        let limits = &rules.limits;
        let limited = limits.max_monthly_total.is_some()
            || limits.max_monthly_increase.is_some()
            || limits.max_increase_percent.is_some();
        let findings = if limited { vec![cost::cost_error(NO_DOCUMENT)] } else { Vec::new() };
        let verdict = strictest(&findings);
        let answer = Answer { result: result(GateKind::Cost, verdict, NO_DOCUMENT), findings };
        return Ok((answer, None));
    }
    let document = document.clone();
    let book = match price::book(cx).await? {
        Ok(book) => book,
        Err(why) => return Ok((failed(&why), None)),
    };
    let (settings, today) = (rules.estimate.clone(), cx.now().date_naive());
    let reckoned = tokio::task::spawn_blocking(move || {
        book.estimate(&document, &settings, today, Limits::default())
            .map_err(|error| error.to_string())
    })
    .await;
    let report = match reckoned {
        Ok(Ok(report)) => report,
        Ok(Err(why)) => return Ok((failed(&why), None)),
        Err(panic) => {
            tracing::error!(%panic, "the cost of a plan could not be reckoned");
            return Ok((failed("the price book failed in an unexpected way"), None));
        }
    };
    Ok((judged(&report, rules), Some(report)))
}

fn failed(why: &str) -> Answer {
    let finding = cost::cost_error(why);
    let verdict = strictest(std::slice::from_ref(&finding));
    Answer {
        result: result(GateKind::Cost, verdict, format!("the cost could not be reckoned: {why}")),
        findings: vec![finding],
    }
}

/// Says anew what follows, after exemptions were entered. What could not be reckoned is never
/// exempted, and what was skipped is never a pass.
pub(super) fn settle(answer: &mut Answer, skipped: &[Skipped]) {
    for finding in &mut answer.findings {
        if finding.rule == cost::COST_ERROR {
            finding.exemption = None;
        }
    }
    let verdict = strictest(&answer.findings);
    let skips = skipped.iter().any(|skipped| skipped.gate == GateKind::Cost);
    answer.result.verdict =
        if skips && verdict == GateVerdict::Pass { GateVerdict::Warn } else { verdict };
}
