//! The test gate: it asks for tests where settings want them, and waits for their report.

use slipway_domain::access::Actor;
use slipway_domain::fault::Fault;
use slipway_domain::gate::{GateKind, GateVerdict};
use slipway_domain::id::DeploymentId;
use slipway_domain::job::Doorbell;
use slipway_domain::report::Judgement;
use slipway_domain::state::DeploymentState;
use slipway_domain::test_report::{self, TestReport, TestSettings};
use slipway_store::Tx;

use super::{Answer, result};
use crate::change::Change;
use crate::{Ctx, planned};

pub(super) fn answer(settings: &TestSettings, report: Option<&TestReport>) -> Answer {
    let (verdict, findings, detail) = test_report::judge(settings, report);
    Answer { result: result(GateKind::Test, verdict, detail), findings }
}

/// The newest report of just these tests. What somebody had run with other settings, e.g. less of
/// them, says nothing to the gate.
pub(super) async fn report_of(
    tx: &mut Tx,
    id: DeploymentId,
    settings: &TestSettings,
) -> Result<Option<TestReport>, Fault> {
    let runs = tx.test_runs(id).await?.into_iter();
    Ok(runs.filter(|run| run.settings == *settings).find_map(|run| run.report))
}

/// Asks for the tests that a judgement waits for, if nobody did yet. Returns the bell to ring after
/// the commit.
pub(crate) async fn ask(
    cx: &Ctx,
    tx: &mut Tx,
    record: &slipway_store::deployment::Record,
    judgement: &Judgement,
) -> Result<Option<Doorbell>, Fault> {
    let Some(settings) = &judgement.tests else { return Ok(None) };
    let waits = judgement
        .gates
        .iter()
        .any(|gate| gate.gate == GateKind::Test && gate.verdict == GateVerdict::Pending);
    if !waits || judgement.verdict() == GateVerdict::Deny {
        return Ok(None);
    }
    let runs = tx.test_runs(record.deployment.id).await?;
    if runs.iter().any(|run| run.state.is_under_way() && run.settings == *settings) {
        return Ok(None);
    }
    let by = Actor::system("gates");
    let (_, bell) = crate::test::enqueue(cx, tx, record, settings.clone(), &by).await?;
    Ok(Some(bell))
}

/// Has a report count for a plan that waits for it. Returns the bell to ring after the commit.
pub(crate) async fn arrived(
    change: &mut Change<'_>,
    tx: &mut Tx,
    asked: &TestSettings,
    report: &TestReport,
) -> Result<Option<Doorbell>, Fault> {
    if change.record.deployment.state != DeploymentState::Planned {
        return Ok(None);
    }
    let Some(found) = tx.latest_plan(change.record.deployment.id).await? else { return Ok(None) };
    let (mut plan, Some(mut judgement)) = (found.plan, found.judgement) else { return Ok(None) };
    if judgement.tests.as_ref() != Some(asked) {
        // Somebody had other tests run.
        return Ok(None);
    }
    let Answer { result, findings } = answer(asked, Some(report));
    let Some(waiting) = judgement.gates.iter_mut().find(|gate| gate.gate == GateKind::Test) else {
        return Ok(None);
    };
    if waiting.verdict != GateVerdict::Pending {
        return Ok(None);
    }
    *waiting = result;
    // A failed test denies or warns; it never asks for somebody's yes.
    judgement.findings.extend(findings);
    judgement.bound();
    plan.gates.clone_from(&judgement.gates);
    tx.set_judgement(&plan, &judgement).await?;
    planned::proceed(change, tx, &plan, None).await
}
