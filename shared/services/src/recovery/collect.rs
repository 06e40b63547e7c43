//! Taking in what a dead run left on its machine.

use slipway_domain::artifact::ArtifactKind;
use slipway_domain::event::EventBody;
use slipway_domain::fault::Fault;
use slipway_domain::id::{ArtifactId, JobId, OrphanId};
use slipway_domain::job::{Job, JobKind, JobState};
use slipway_domain::log::bounded;
use slipway_domain::port::driver::{Salvage, StateBlob};
use slipway_domain::recovery::{Recovery, without_repeats};
use slipway_domain::state::{DeploymentState, Move};
use slipway_domain::state_version::{OrphanState, StateOrigin, StateRefusal};
use slipway_store::Tx;
use slipway_store::artifact::Sealed;
use slipway_store::state::{NewOrphan, NewStateVersion};

use crate::change::{Change, lock};
use crate::execution::{lock_stack, system};
use crate::setting::usage;
use crate::{Ctx, state};

/// What became of something that was collected on the machine of a dead worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collected {
    /// It is on record now, or there was nothing new in it.
    Kept,
    /// The house has gone on without it.
    TooLate,
}

/// Takes in what a dead run left on its machine: the rest of its journal, and its last state. The
/// caller knows that nothing of that run is alive any more, and that nobody else collects it.
///
/// This is the one write that needs no living lease: it is the evidence of a lease that is over, and
/// is taken only as long as nobody has gone on without it.
pub async fn collect(cx: &Ctx, of: JobId, epoch: i64, found: Salvage) -> Result<Collected, Fault> {
    let mut tx = cx.store.read().await?;
    let job = tx.job(of).await?;
    drop(tx);
    let Some(job) = job.filter(|job| job.epoch == epoch && job.kind == JobKind::Apply) else {
        return Ok(Collected::TooLate);
    };
    let sealed = match &found.state {
        Some(blob) => {
            let artifact = ArtifactId::new(&*cx.mint);
            let kind = ArtifactKind::State;
            Some(cx.store.seal_artifact(artifact, kind, &blob.content, cx.now()).await?)
        }
        None => None,
    };
    let mut tx = cx.store.begin().await?;
    let stack = lock_stack(&mut tx, &job).await?;
    let mut record = lock(&mut tx, job.deployment_id).await?;
    let job = tx.job(of).await?.filter(|job| job.epoch == epoch);
    let Some(job) = job else { return Ok(Collected::TooLate) };
    if tx.is_collected(of, epoch).await? {
        return Ok(Collected::Kept);
    }
    let waits = match record.deployment.state {
        // Not settled yet.
        DeploymentState::Applying | DeploymentState::Verifying => job.state == JobState::Running,
        DeploymentState::Interrupted
        | DeploymentState::Recovering
        | DeploymentState::NeedsAttention => {
            let recoveries = tx.recoveries(job.deployment_id).await?;
            recoveries.first().is_none_or(|last| last.lost_job_id == of)
        }
        _ => false,
    };
    if !waits {
        if let (Some(blob), Some(sealed)) = (found.state, sealed) {
            set_aside(cx, tx, &job, &blob, sealed).await?;
        }
        return Ok(Collected::TooLate);
    }
    if let Some(journal) = found.journal {
        let redactor = {
            let filled = usage::fill_current(&mut tx, &record.deployment).await?;
            filled.redactor(&record.deployment)
        };
        let began = tx.apply_event(job.deployment_id).await?;
        let known = tx.journal(job.deployment_id, began).await?.len();
        let tidy = |text: String| bounded(redactor.text(&text));
        let rest: Vec<_> = without_repeats(journal)
            .into_iter()
            .skip(known)
            .map(|entry| EventBody::Resource {
                address: tidy(entry.address),
                action: entry.action,
                status: entry.status,
                elapsed_s: None,
                resource_id: entry.resource_id.map(tidy),
                id_key: entry.id_key,
            })
            .collect();
        tx.append_events(job.deployment_id, &rest, cx.now()).await?;
    }
    if let (Some(blob), Some(sealed)) = (found.state, sealed) {
        let current = stack.state_mark();
        let follows = current.lineage.is_empty() || current.lineage == blob.mark.lineage;
        if follows && blob.mark.serial > current.serial {
            tx.insert_artifact(&sealed).await?;
            let version = NewStateVersion {
                stack_id: job.stack_id,
                mark: blob.mark,
                resource_count: blob.resource_count,
                artifact: sealed.artifact.id,
                origin: StateOrigin::Run,
                deployment_id: Some(job.deployment_id),
                epoch: Some(epoch),
                written_by: None,
                restored_from: None,
            };
            tx.add_state_version(&version, cx.now()).await?;
        } else if !follows {
            let orphan = orphan_of(cx, &job, &blob, &sealed, StateRefusal::OtherLineage);
            tx.insert_artifact(&sealed).await?;
            tx.keep_orphan(&orphan, state::MAX_ORPHANS).await?;
        }
    }
    tx.set_collected(of, epoch).await?;
    // Somebody was asked before this was known.
    let mut bell = None;
    if record.deployment.state == DeploymentState::NeedsAttention {
        let recoveries = tx.recoveries(job.deployment_id).await?;
        let partly = |last: &&Recovery| last.report.as_ref().is_none_or(|known| !known.collected);
        if let Some(last) = recoveries.first().filter(partly) {
            let who = system();
            let said = last.resolutions.clone();
            let by = last.resolved_by.clone();
            let (lost, now) = (last.lost_job_id, cx.now());
            tx.insert_recovery(job.deployment_id, lost, &said, by.as_ref(), now).await?;
            let mut change = Change::by(cx, &who, &mut record);
            let why = "what the lost worker left on its machine was found".to_owned();
            change.go(&mut tx, Move::StartRecovery, Some(why), serde_json::json!({})).await?;
            bell = Some(change.enqueue(&mut tx, JobKind::Recover).await?);
        }
    }
    tx.commit().await?;
    if let Some(bell) = bell {
        cx.ring(&bell).await;
    }
    cx.tell(job.deployment_id).await;
    Ok(Collected::Kept)
}

/// Keeps a state that came too late beside the others: it may be the only record of something.
async fn set_aside(
    cx: &Ctx,
    mut tx: Tx,
    job: &Job,
    blob: &StateBlob,
    sealed: Sealed,
) -> Result<(), Fault> {
    let stack = lock_stack(&mut tx, job).await?;
    let current = stack.state_mark();
    let known = current.lineage == blob.mark.lineage && current.serial >= blob.mark.serial;
    if !known {
        let orphan = orphan_of(cx, job, blob, &sealed, StateRefusal::LeaseLost);
        tx.insert_artifact(&sealed).await?;
        if tx.keep_orphan(&orphan, state::MAX_ORPHANS).await? {
            tx.commit().await?;
            return Ok(());
        }
    }
    tx.rollback().await?;
    cx.store.discard_artifact(sealed).await;
    Ok(())
}

fn orphan_of(
    cx: &Ctx,
    job: &Job,
    blob: &StateBlob,
    sealed: &Sealed,
    reason: StateRefusal,
) -> NewOrphan {
    NewOrphan {
        orphan: OrphanState {
            id: OrphanId::new(&*cx.mint),
            stack_id: job.stack_id,
            mark: blob.mark.clone(),
            resource_count: blob.resource_count,
            digest: sealed.artifact.digest.clone(),
            reason,
            written_by: system().actor,
            created_at: cx.now(),
        },
        artifact: sealed.artifact.id,
        lock_id: None,
        lease: None,
    }
}
