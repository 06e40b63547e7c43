//! The cost gate: what the price book says of a plan, and whether that is within the limits.

use bytes::Bytes;
use slipway_cost::Limits;
use slipway_domain::cost::{self, CostReport};
use slipway_domain::fault::Fault;
use slipway_domain::gate::GateKind;
use slipway_domain::gate_settings::CostRules;

use super::{Answer, result, strictest};
use crate::{Ctx, price};

/// Asks what a plan costs. Without a document of the tool there is nothing to reckon with.
pub(super) async fn ask(
    cx: &Ctx,
    rules: &CostRules,
    document: &Bytes,
) -> Result<(Answer, Option<CostReport>), Fault> {
    if document.is_empty() {
        let limits = &rules.limits;
        let limited = limits.max_monthly_total.is_some()
            || limits.max_monthly_increase.is_some()
            || limits.max_increase_percent.is_some();
        let text = "the driver gives no document that a cost could be reckoned from";
        let findings = if limited { vec![cost::cost_error(text)] } else { Vec::new() };
        let verdict = strictest(&findings);
        return Ok((Answer { result: result(GateKind::Cost, verdict, text), findings }, None));
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
    let cost::Judgement { verdict, findings, detail } = cost::judge(&report, &rules.limits);
    Ok((Answer { result: result(GateKind::Cost, verdict, detail), findings }, Some(report)))
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
/// exempted.
pub(super) fn settle(answer: &mut Answer) {
    for finding in &mut answer.findings {
        if finding.rule == cost::COST_ERROR {
            finding.exemption = None;
        }
    }
    answer.result.verdict = strictest(&answer.findings);
}
