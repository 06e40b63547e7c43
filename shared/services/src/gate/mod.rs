//! The gates: what a plan must pass before it is applied.
//!
//! They are asked as soon as a plan is made and before it is kept, so that what they say is there
//! together with the plan. Each sees the normalised plan and the driver's own document,
//! whatever the driver is. A gate that cannot answer denies.

mod report;

use slipway_domain::fault::Fault;
use slipway_domain::gate::{GateKind, GateResult, GateVerdict};
use slipway_domain::job::Job;
use slipway_domain::plan::{Action, ResourceChange};
use slipway_domain::port::driver::Planned;
use slipway_domain::redact::Redactor;
use slipway_domain::report::Judgement;

use crate::Ctx;
pub use report::{reconsider, report};

/// What the gates are told of a plan beside itself.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Knows the secrets of the run: what gates quote goes through it.
    pub redactor: Redactor,
}

/// Asks the gates about a plan that has just been made. A plan without changes is asked nothing.
pub(crate) async fn judge(
    cx: &Ctx,
    _job: &Job,
    planned: &Planned,
    seen: &Seen,
) -> Result<Judgement, Fault> {
    let mut judgement = Judgement {
        at: cx.now(),
        gates: Vec::new(),
        findings: Vec::new(),
        findings_left_off: 0,
        skipped: Vec::new(),
        policies: Vec::new(),
        holds_until: None,
    };
    if planned.no_changes {
        return Ok(judgement);
    }
    judgement.gates.push(approval(&planned.changes));
    judgement.bound();
    tidy(&mut judgement, &seen.redactor);
    Ok(judgement)
}

/// Takes secrets out of what the gates quote.
fn tidy(judgement: &mut Judgement, redactor: &Redactor) {
    let tidy = |text: &mut String| *text = redactor.text(text);
    judgement.gates.iter_mut().for_each(|gate| tidy(&mut gate.detail));
    for finding in &mut judgement.findings {
        tidy(&mut finding.message);
        tidy(&mut finding.remedy);
        tidy(&mut finding.address);
    }
    judgement.skipped.iter_mut().for_each(|skipped| tidy(&mut skipped.why));
}

/// Every change needs a person.
fn approval(changes: &[ResourceChange]) -> GateResult {
    let deletes = changes
        .iter()
        .filter(|c| {
            matches!(c.action, Action::Delete | Action::DeleteThenCreate | Action::CreateThenDelete)
        })
        .count();
    let detail = match deletes {
        0 => "every change needs one approval".to_owned(),
        n => format!("every change needs one approval; this one deletes or replaces {n}"),
    };
    GateResult { gate: GateKind::Approval, verdict: GateVerdict::NeedsApproval, detail }
}
