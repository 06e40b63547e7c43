//! The scan gate: what scanners said of the source. They are run by the worker, beside the plan.

use slipway_domain::fault::Fault;
use slipway_domain::finding::Finding;
use slipway_domain::gate::GateKind;
use slipway_domain::id::DeploymentId;
use slipway_domain::report::Skipped;
use slipway_domain::scan::{self, NotScanned, ScanOutcome, ScanSettings};

use super::{Answer, resolved_in, result};
use crate::Ctx;

/// Which scanners a deployment's source is to be shown to.
pub async fn wanted(cx: &Ctx, id: DeploymentId) -> Result<ScanSettings, Fault> {
    let mut tx = cx.store.read().await?;
    let record = tx.deployment(id).await?.ok_or_else(|| Fault::not_found("deployment", id))?;
    Ok(resolved_in(cx, &mut tx, &record.deployment.stack).await?.scan)
}

pub(super) fn ask(
    settings: &ScanSettings,
    outcomes: &[ScanOutcome],
    skipped: &mut Vec<Skipped>,
) -> Answer {
    let said = scan::judge(settings, outcomes);
    skipped.extend(said.not_scanned.into_iter().map(|silent| Skipped {
        gate: GateKind::Scan,
        tool: silent.tool,
        why: silent.why,
        denies: silent.denies,
    }));
    Answer { result: result(GateKind::Scan, said.verdict, said.detail), findings: said.findings }
}

/// Says anew what follows, after exemptions were entered.
pub(super) fn settle(settings: &ScanSettings, answer: &mut Answer, skipped: &[Skipped]) {
    let silent: Vec<NotScanned> = skipped
        .iter()
        .filter(|skipped| skipped.gate == GateKind::Scan)
        .map(|s| NotScanned { tool: s.tool.clone(), why: s.why.clone(), denies: s.denies })
        .collect();
    let findings: &[Finding] = &answer.findings;
    let (verdict, detail) = scan::conclude(settings, findings, &silent);
    answer.result = result(GateKind::Scan, verdict, detail);
}
