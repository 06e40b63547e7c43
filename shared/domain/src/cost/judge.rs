//! Limits of cost, and what follows when a plan is over one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::settings::is_currency;
use super::{Amount, CostReport, ResourceCost};
use crate::fault::FieldError;
use crate::finding::{Finding, Severity, State, Verdict};
use crate::gate::GateVerdict;

/// What follows when a plan is over a limit.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CostConsequence {
    /// Say it and go on.
    Warn,
    /// A person must say yes.
    NeedsApproval,
    /// No.
    Deny,
}

/// What follows when something has no price.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    ToSchema,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CostTolerance {
    /// The report lists it; the gate does not look.
    Ignore,
    /// Say it and go on.
    #[default]
    Warn,
    /// A person must say yes.
    NeedsApproval,
    /// No.
    Deny,
}

impl CostTolerance {
    const fn consequence(self) -> Option<CostConsequence> {
        match self {
            Self::Ignore => None,
            Self::Warn => Some(CostConsequence::Warn),
            Self::NeedsApproval => Some(CostConsequence::NeedsApproval),
            Self::Deny => Some(CostConsequence::Deny),
        }
    }
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostLimit {
    /// How much is still allowed; money in the limits' currency, or percent.
    pub max: Amount,
    /// What follows above it.
    pub then: CostConsequence,
    /// Whose yes it needs, if it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// Limits of what a plan may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CostLimits {
    /// The currency of the limits; the report must be in the same one.
    pub currency: String,
    /// A month after the apply. A plan that does not raise the cost is at most warned of, else it
    /// could not be lowered any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_monthly_total: Option<CostLimit>,
    /// By how much a month may become dearer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_monthly_increase: Option<CostLimit>,
    /// By how many percent a month may become dearer. Does not hold when nothing was paid before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_increase_percent: Option<CostLimit>,
    /// What follows when there are resources of types that the book does not know.
    pub on_unsupported: CostTolerance,
    /// What follows when a part of a known type has no price: known after apply, no price in the
    /// region, no rate.
    pub on_unpriced: CostTolerance,
}

impl Default for CostLimits {
    fn default() -> Self {
        Self {
            currency: "USD".to_owned(),
            max_monthly_total: None,
            max_monthly_increase: None,
            max_increase_percent: None,
            on_unsupported: CostTolerance::Warn,
            on_unpriced: CostTolerance::Warn,
        }
    }
}

impl CostLimits {
    fn each(&self) -> [(&'static str, Option<&CostLimit>); 3] {
        [
            ("max_monthly_total", self.max_monthly_total.as_ref()),
            ("max_monthly_increase", self.max_monthly_increase.as_ref()),
            ("max_increase_percent", self.max_increase_percent.as_ref()),
        ]
    }

    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        if !is_currency(&self.currency) {
            problems.push(FieldError::at("/currency", "must be a currency's code, e.g. USD"));
        }
        for (name, limit) in self.each() {
            let Some(limit) = limit else { continue };
            if limit.max.is_negative() {
                problems.push(FieldError::at(format!("/{name}/max"), "must not be negative"));
            }
            if limit.role.is_some() && limit.then != CostConsequence::NeedsApproval {
                problems.push(FieldError::at(
                    format!("/{name}/role"),
                    "goes only with `then: needs_approval`",
                ));
            }
        }
        problems
    }
}

/// What the limits say about a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What the gate says.
    pub verdict: GateVerdict,
    /// What is over a limit or has no price.
    pub findings: Vec<Finding>,
    /// Why, in a sentence.
    pub detail: String,
}

/// The rule of a finding that says that the cost could not be reckoned.
pub const COST_ERROR: &str = "cost_error";

/// The cost could not be reckoned: no.
pub fn cost_error(message: impl Into<String>) -> Finding {
    finding(
        COST_ERROR,
        "The cost could not be reckoned",
        CostConsequence::Deny,
        message.into(),
        "Correct what the message names; a plan whose cost cannot be judged is not applied.",
    )
}

fn finding(
    rule: &str,
    title: &str,
    then: CostConsequence,
    message: String,
    remedy: &str,
) -> Finding {
    let (severity, verdict) = match then {
        CostConsequence::Warn => (Severity::Low, Verdict::Warn),
        CostConsequence::NeedsApproval => (Severity::Medium, Verdict::RequireRole),
        CostConsequence::Deny => (Severity::High, Verdict::Deny),
    };
    Finding {
        tool: "cost".to_owned(),
        rule: rule.to_owned(),
        title: title.to_owned(),
        severity,
        address: String::new(),
        message,
        remedy: remedy.to_owned(),
        aliases: Vec::new(),
        state: State::Fail,
        verdict,
        role: None,
        file: None,
        line: None,
        exemption: None,
        also_found_by: Vec::new(),
        suppressed: None,
    }
}

/// Parts without a price that have a finding each.
const ONE_BY_ONE: usize = 100;

/// Those that matter most, by what `of` says, at most three.
fn largest(report: &CostReport, of: impl Fn(&ResourceCost) -> Amount) -> Vec<&ResourceCost> {
    let mut all: Vec<_> = report.resources.iter().filter(|r| of(r) > Amount::ZERO).collect();
    all.sort_by(|a, b| of(b).cmp(&of(a)).then_with(|| a.address.cmp(&b.address)));
    all.truncate(3);
    all
}

fn named(of: &[&ResourceCost], amount: impl Fn(&ResourceCost) -> String) -> String {
    if of.is_empty() {
        return String::new();
    }
    let names: Vec<_> = of.iter().map(|r| format!("{} ({})", r.address, amount(r))).collect();
    format!(" Most of it: {}.", names.join(", "))
}

/// By how many percent it becomes dearer; none when nothing was paid before.
fn percent(report: &CostReport) -> Option<Amount> {
    if report.monthly_before <= Amount::ZERO {
        return None;
    }
    report.monthly_delta.times(Amount::whole(100))?.by(report.monthly_before)
}

/// Says whether a report is within the limits.
pub fn judge(report: &CostReport, limits: &CostLimits) -> Judgement {
    let mut findings = Vec::new();
    let mut notes = Vec::new();
    let limited = limits.each().iter().any(|(_, limit)| limit.is_some());
    if limited && report.currency != limits.currency {
        findings.push(cost_error(format!(
            "The limits are in {} and the report is in {}: they cannot be compared.",
            limits.currency, report.currency
        )));
    } else {
        over_total(report, limits, &mut findings);
        over_increase(report, limits, &mut findings, &mut notes);
    }
    missing(report, limits, &mut findings);

    let verdict = findings.iter().map(|f| f.verdict).max();
    let verdict = match verdict {
        None | Some(Verdict::Pass) => GateVerdict::Pass,
        Some(Verdict::Warn | Verdict::Unknown) => GateVerdict::Warn,
        Some(Verdict::RequireRole) => GateVerdict::NeedsApproval,
        Some(Verdict::Deny) => GateVerdict::Deny,
    };
    findings.sort_by(Finding::order);
    let mut detail = report.line();
    for first in findings.iter().take(3) {
        detail.push_str("; ");
        detail.push_str(&first.title.to_lowercase());
    }
    for note in notes {
        detail.push_str("; ");
        detail.push_str(&note);
    }
    Judgement { verdict, findings, detail }
}

fn over_total(report: &CostReport, limits: &CostLimits, findings: &mut Vec<Finding>) {
    let Some(limit) = &limits.max_monthly_total else { return };
    if report.monthly_after <= limit.max {
        return;
    }
    // Where all is known and nothing is raised, a no would only keep the cost as high as it is.
    let raised = report.monthly_delta > Amount::ZERO || !report.complete;
    let then = if raised { limit.then } else { CostConsequence::Warn };
    let who = largest(report, |r| r.monthly_after);
    let mut message = format!(
        "A month would cost {} {}, {} over the limit of {}.",
        report.monthly_after.shown(),
        report.currency,
        report.monthly_after.minus(limit.max).shown(),
        limit.max.shown()
    );
    if !raised {
        message.push_str(" The plan does not raise it.");
    }
    message.push_str(&named(&who, |r| r.monthly_after.shown()));
    let mut found = finding(
        "cost_monthly_total",
        "Over the limit of monthly cost",
        then,
        message,
        "Make the largest resources smaller or fewer, or have the limit max_monthly_total raised.",
    );
    found.role = limit.role.clone().filter(|_| then == CostConsequence::NeedsApproval);
    found.address = who.first().map(|r| r.address.clone()).unwrap_or_default();
    findings.push(found);
}

fn over_increase(
    report: &CostReport,
    limits: &CostLimits,
    findings: &mut Vec<Finding>,
    notes: &mut Vec<String>,
) {
    let mut say = |rule: &str, title: &str, limit: &CostLimit, how: String, setting: &str| {
        let who = largest(report, |r| r.monthly_delta);
        let message = format!("{how}{}", named(&who, |r| r.monthly_delta.shown_signed()));
        let remedy = format!(
            "Make what is added smaller, split the change, or have the limit {setting} raised."
        );
        let mut found = finding(rule, title, limit.then, message, &remedy);
        found.role = limit.role.clone().filter(|_| limit.then == CostConsequence::NeedsApproval);
        found.address = who.first().map(|r| r.address.clone()).unwrap_or_default();
        findings.push(found);
    };
    if let Some(limit) = &limits.max_monthly_increase
        && report.monthly_delta > limit.max
    {
        let how = format!(
            "A month would cost {} {} more, {} over the limit of {}.",
            report.monthly_delta.shown(),
            report.currency,
            report.monthly_delta.minus(limit.max).shown(),
            limit.max.shown()
        );
        say(
            "cost_monthly_increase",
            "Over the limit of monthly increase",
            limit,
            how,
            "max_monthly_increase",
        );
    }
    if let Some(limit) = &limits.max_increase_percent {
        match percent(report) {
            None => notes.push(
                "the limit in percent does not hold, because nothing was paid before".to_owned(),
            ),
            Some(percent) if percent > limit.max => {
                let how = format!(
                    "A month would become {} % dearer (from {} to {} {}); the limit is {} %.",
                    percent.shown(),
                    report.monthly_before.shown(),
                    report.monthly_after.shown(),
                    report.currency,
                    limit.max
                );
                say(
                    "cost_increase_percent",
                    "Over the limit of increase in percent",
                    limit,
                    how,
                    "max_increase_percent",
                );
            }
            Some(_) => {}
        }
    }
}

fn missing(report: &CostReport, limits: &CostLimits, findings: &mut Vec<Finding>) {
    if let Some(then) = limits.on_unsupported.consequence() {
        for unsupported in &report.unsupported {
            let first: Vec<_> = unsupported.addresses.iter().take(3).cloned().collect();
            let mut found = finding(
                "cost_unsupported",
                "No price is known for a type",
                then,
                format!(
                    "{} resources of type {} are not in the totals{}{}{}.",
                    unsupported.count,
                    unsupported.kind,
                    // Not every tool names them.
                    if first.is_empty() { "" } else { ": " },
                    first.join(", "),
                    if !first.is_empty() && unsupported.count > 3 { ", …" } else { "" }
                ),
                "Reckon it by hand and let on_unsupported say what follows, or have infracost \
                 asked.",
            );
            found.address = first.first().cloned().unwrap_or_default();
            findings.push(found);
        }
    }
    if let Some(then) = limits.on_unpriced.consequence() {
        for gap in report.unpriced.iter().take(ONE_BY_ONE) {
            let part = if gap.component.is_empty() {
                "It".to_owned()
            } else {
                format!("Its part `{}`", gap.component)
            };
            let mut found = finding(
                "cost_unpriced",
                "A part has no price",
                then,
                format!("{part} is not in the totals: {}", gap.detail),
                "Give the missing value, price or rate, or let on_unpriced say what follows.",
            );
            found.address.clone_from(&gap.address);
            if gap.reason == super::CostGapReason::KnownAfterApply {
                found.state = State::Unknown;
            }
            findings.push(found);
        }
        if let Some(more) = report.unpriced.len().checked_sub(ONE_BY_ONE).filter(|n| *n > 0) {
            findings.push(finding(
                "cost_unpriced",
                "A part has no price",
                then,
                format!("{more} more parts are not in the totals; the report lists them all."),
                "Give the missing values, prices or rates, or let on_unpriced say what follows.",
            ));
        }
    }
}

#[cfg(test)]
mod tests;
