//! Recovery of lost applies: an apply whose worker is gone is never repeated. What it did is found
//! out from its journal, its state and what its worker left on its machine; what is left of it goes
//! on under the same approval where that is proved to be inside what was approved, and waits for a
//! person where it is not.

mod collect;

use serde::{Deserialize, Serialize};
use slipway_domain::access::{Principal, Scope};
use slipway_domain::artifact::digest;
use slipway_domain::cancel::CancelPhase;
use slipway_domain::deployment::Deployment;
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::id::DeploymentId;
use slipway_domain::job::{Doorbell, Job, JobKind, JobState, Lease};
use slipway_domain::port::driver::{AfterRecovery, Planned, RecoverInput, Recovered};
use slipway_domain::recovery::{
    Recovery, RecoveryReport, RecoveryVerdict, Resolution, check_resolutions,
};
use slipway_domain::state::{DeploymentState, Move};
use slipway_store::Tx;
use slipway_store::deployment::Record;

pub use self::collect::{Collected, collect};
use crate::access::{lock_deployment, read_deployment};
use crate::change::Change;
use crate::ending::Ending;
use crate::execution::{Begun, lock_stack, locked, open, state_of, system, wait_for_state_lock};
use crate::gate::Seen;
use crate::planned::{Judged, present, variables_digest};
use crate::setting::usage;
use crate::{Ctx, approval, cancel, source};

/// Recoveries that begin by themselves in one deployment. One that is lost again and again is
/// looked at by a person.
const MAX_RECOVERIES: usize = 5;
/// How often it is looked whether everything was collected.
const LOOK_AGAIN_MS: i64 = 1_000;
/// Addresses that a sentence names; the rest is counted.
const NAMED: usize = 5;

/// What a person can do about a deployment that needs attention.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryChoice {
    /// Say what became of resources, and have it looked at again.
    Resolve,
    /// Give up: the deployment ends, and the stack is free for others. What exists and is not in
    /// the state stays where it is.
    Cancel,
}

/// The recoveries of a deployment.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
pub struct Recoveries {
    /// Newest first.
    pub recoveries: Vec<Recovery>,
    /// What can be done about it now.
    pub choices: Vec<RecoveryChoice>,
}

/// What was found out about a lost apply of a deployment, newest first.
pub async fn list(cx: &Ctx, who: &Principal, id: DeploymentId) -> Result<Recoveries, Fault> {
    let mut tx = cx.store.read().await?;
    let record = read_deployment(&mut tx, who, id, Scope::DeploymentsRead).await?;
    let recoveries = tx.recoveries(id).await?;
    let choices = if record.deployment.state == DeploymentState::NeedsAttention {
        vec![RecoveryChoice::Resolve, RecoveryChoice::Cancel]
    } else {
        Vec::new()
    };
    Ok(Recoveries { recoveries, choices })
}

/// Takes what a person says about resources in doubt, and has the recovery done again with that.
/// What was said before still holds, unless it is said anew. Without any resolution it is just done
/// again.
pub async fn resolve(
    cx: &Ctx,
    who: &Principal,
    id: DeploymentId,
    resolutions: Vec<Resolution>,
) -> Result<Deployment, Fault> {
    check_resolutions(&resolutions)?;
    let mut tx = cx.store.begin().await?;
    // It decides what is made, and what is taken for done.
    let mut record = lock_deployment(&mut tx, who, id, Scope::DeploymentsApprove).await?;
    record.deployment.state.next(Move::StartRecovery)?;
    let recoveries = tx.recoveries(id).await?;
    let last = recoveries.first().ok_or_else(|| {
        Fault::new(Code::IllegalTransition, "No apply of this deployment was lost.")
    })?;
    let report = last.report.clone().unwrap_or_default();
    let known = |address: &str| {
        report.in_doubt.iter().any(|doubt| doubt.address == address)
            || report.lost.iter().any(|lost| lost.address == address)
            || last.resolutions.iter().any(|said| said.address == address)
    };
    let strange: Vec<_> = resolutions
        .iter()
        .enumerate()
        .filter(|(_, said)| !known(&said.address))
        .map(|(i, _)| {
            FieldError::at(
                format!("/resolutions/{i}/address"),
                "This resource is neither lost nor in doubt; see the recovery's report.".to_owned(),
            )
        })
        .collect();
    if !strange.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, strange));
    }
    let mut all = last.resolutions.clone();
    all.retain(|said| !resolutions.iter().any(|new| new.address == said.address));
    all.extend(resolutions);
    tx.insert_recovery(id, last.lost_job_id, &all, Some(&who.actor), cx.now()).await?;
    let detail = serde_json::json!({"resolutions": all});
    let mut change = Change::by(cx, who, &mut record);
    change.go(&mut tx, Move::StartRecovery, None, detail).await?;
    let bell = change.enqueue(&mut tx, JobKind::Recover).await?;
    tx.commit().await?;
    cx.ring(&bell).await;
    cx.tell(id).await;
    Ok(record.deployment)
}

/// Begins to recover a deployment that was interrupted, in the unit of work that says so. Returns
/// the bell to ring after the commit; `None` when a person must look first.
pub(crate) async fn start(
    change: &mut Change<'_>,
    tx: &mut Tx,
    lost: &Job,
    summary: String,
) -> Result<Option<Doorbell>, Fault> {
    let id = change.record.deployment.id;
    let before = tx.recoveries(id).await?;
    // A person who has looked at it starts the count anew.
    let in_a_row = before.iter().take_while(|recovery| recovery.resolved_by.is_none()).count();
    let said = before.first().map(|last| last.resolutions.clone()).unwrap_or_default();
    let number = tx.insert_recovery(id, lost.id, &said, None, change.now).await?;
    let none = serde_json::json!({"lost_job_id": lost.id});
    change.step(Move::StartRecovery, Some(summary.clone()), none.clone())?;
    if in_a_row >= MAX_RECOVERIES {
        let detail = format!(
            "{summary}. It was lost {} times in a row, so it is not tried again by itself: look at \
             its log and its workers, then resolve or cancel it.",
            in_a_row + 1
        );
        let verdict = RecoveryVerdict::NeedsAttention;
        tx.end_recovery(id, number, verdict, &detail, None, change.now).await?;
        change.go(tx, Move::AskAttention, Some(detail), none).await?;
        return Ok(None);
    }
    change.save(tx).await?;
    change.enqueue(tx, JobKind::Recover).await.map(Some)
}

/// Gathers what the driver needs to recover a lost apply. While it may still be collected what the
/// dead worker left, the job goes back to its queue for a moment.
pub(crate) async fn begin(cx: &Ctx, job: &Job, lease: &Lease) -> Result<Begun, Fault> {
    let mut tx = cx.store.begin().await?;
    let record = locked(&mut tx, job, lease).await?;
    let id = job.deployment_id;
    let recoveries = tx.recoveries(id).await?;
    let current = recoveries.first().filter(|recovery| recovery.verdict.is_none());
    let (DeploymentState::Recovering, Some(current)) = (record.deployment.state, current) else {
        tx.end_job(job.id, JobState::Cancelled, Some("the deployment has moved on"), cx.now())
            .await?;
        tx.commit().await?;
        return Ok(Begun::Nothing);
    };
    let gone = |what: &str| Fault::internal(format!("the {what} of {id} is gone"));
    let lost = tx.job(current.lost_job_id).await?.ok_or_else(|| gone("lost job"))?;
    let collected = tx.is_collected(lost.id, lost.epoch).await?;
    let age_ms = tx.recovery_age_ms(id, current.number).await?;
    if !collected && age_ms < cx.settings.recovery_grace.num_milliseconds() {
        let why = "what the lost worker left on its machine is not collected yet";
        tx.requeue_job(job.id, LOOK_AGAIN_MS, false, Some(why)).await?;
        tx.commit().await?;
        return Ok(Begun::Nothing);
    }
    if wait_for_state_lock(&mut tx, job).await? {
        tx.commit().await?;
        return Ok(Begun::Nothing);
    }
    let approval = record.deployment.approval.clone().ok_or_else(|| gone("approval"))?;
    let plan = tx.plan_by_digest(id, approval.seen()).await?.ok_or_else(|| gone("plan"))?;
    let told = tx.plan_event(id, approval.seen()).await?.ok_or_else(|| gone("plan's event"))?;
    let journal = tx.journal(id, told).await?;
    let resolutions = still_true(&mut tx, &recoveries, current).await?;
    let given = tx.variables(id).await?;
    let filled = usage::fill_planned(&mut tx, &plan.plan.settings, given).await?;
    tx.commit().await?;

    let variables_digest = variables_digest(cx, &plan.binding, &filled)?;
    let (_, plan_file) = open(cx, plan.plan_file).await?;
    if digest(&plan_file) != plan.binding.plan_file {
        return Err(Fault::internal(format!("the plan file of {id} has another digest")));
    }
    let (_, context) = open(cx, plan.context).await?;
    let artifact = record.source_artifact.ok_or_else(|| gone("source"))?;
    let state = state_of(cx, &record).await?;
    let redactor = filled.redactor(&record.deployment);
    let d = record.deployment;
    let input = RecoverInput {
        deployment_id: id,
        stack_id: d.stack_id,
        stack: d.stack,
        operation: d.operation,
        source: source::kept(cx, artifact).await?,
        root: record.source_root,
        variables: filled.variables,
        settings: filled.uses,
        variables_digest,
        approved: plan.binding,
        plan_file,
        context,
        journal,
        collected,
        carries: approval.carries,
        state,
        resolutions,
        key: cx.store.house().derived("recovery", id.to_string().as_bytes()),
    };
    Ok(Begun::Recover { input: Box::new(input), redactor })
}

/// What a person has said and that still holds. What was said about an earlier loss does not, of
/// what has been begun again since.
async fn still_true(
    tx: &mut Tx,
    all: &[Recovery],
    current: &Recovery,
) -> Result<Vec<Resolution>, Fault> {
    let of_this_loss = |recovery: &&Recovery| recovery.lost_job_id == current.lost_job_id;
    let first = all.iter().rfind(of_this_loss).unwrap_or(current);
    let began = tx.apply_event(current.deployment_id).await?;
    let again = tx.journal(current.deployment_id, began).await?;
    let holds = |said: &&Resolution| {
        !first.resolutions.contains(said) || again.iter().all(|entry| entry.address != said.address)
    };
    Ok(current.resolutions.iter().filter(holds).cloned().collect())
}

/// What the driver's answer comes to.
#[derive(Debug)]
pub enum AfterRecord {
    /// There is nothing left to apply; its health is looked at next, with what was applied.
    Verify(slipway_domain::port::driver::Applied),
    /// The job is done.
    Done(Box<Deployment>),
}

/// Records what was found out about a lost apply, and goes on.
pub async fn recovered(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    found: Recovered,
    seen: &Seen,
) -> Result<AfterRecord, Fault> {
    let files = match &found.next {
        AfterRecovery::Continue(planned) | AfterRecovery::Propose(planned) => {
            Some(Judged::by_gates(cx, job, planned, seen).await?)
        }
        AfterRecovery::Finished(_) | AfterRecovery::Ask => None,
    };
    let id = job.deployment_id;
    let now = cx.now();
    let mut tx = cx.store.begin().await?;
    let stack = lock_stack(&mut tx, job).await?;
    let mut record = locked(&mut tx, job, lease).await?;
    if record.deployment.state == DeploymentState::Verifying
        && let AfterRecovery::Finished(applied) = found.next
    {
        // Its commit went through and the answer was lost.
        return Ok(AfterRecord::Verify(applied));
    }
    record.deployment.state.next(Move::Resume)?;
    let recoveries = tx.recoveries(id).await?;
    let current = recoveries.first().filter(|recovery| recovery.verdict.is_none());
    let current = current.ok_or_else(|| Fault::internal(format!("no recovery of {id} runs")))?;
    if is_outdated(&mut tx, current, &found, &stack.state_mark()).await? {
        // The machine of the lost worker came back meanwhile, or somebody wrote the state.
        let why = "there is news of the lost apply; it is looked at again";
        tx.requeue_job(job.id, 0, false, Some(why)).await?;
        tx.commit().await?;
        return Ok(AfterRecord::Done(Box::new(record.deployment)));
    }
    let Recovered { report, next } = found;
    let verdict = match &next {
        AfterRecovery::Finished(_) => RecoveryVerdict::Finished,
        AfterRecovery::Continue(_) => RecoveryVerdict::Continued,
        AfterRecovery::Propose(_) => RecoveryVerdict::Proposed,
        AfterRecovery::Ask => RecoveryVerdict::NeedsAttention,
    };
    let summary = sentence(verdict, &report);
    let who = system();
    let mut change = Change::by(cx, &who, &mut record);
    change.event(EventBody::Recovery {
        verdict,
        summary: summary.clone(),
        done: report.done.len(),
        lost: report.lost.len(),
        in_doubt: report.in_doubt.len(),
    });
    let detail = serde_json::json!({"recovery": current.number, "verdict": verdict,
        "collected": report.collected, "done": report.done.len(), "lost": report.lost.len(),
        "in_doubt": report.in_doubt.len()});
    tx.end_recovery(id, current.number, verdict, &summary, Some(&report), now).await?;
    let mut bell = None;
    match (next, files) {
        (AfterRecovery::Finished(applied), _) => {
            tx.set_outputs(id, &applied.outputs).await?;
            let names = applied.outputs.iter().map(|output| output.name.clone()).collect();
            change.event(EventBody::Outputs { names });
            change.go(&mut tx, Move::FinishApply, Some(summary), detail).await?;
            tx.commit().await?;
            cx.tell(id).await;
            return Ok(AfterRecord::Verify(applied));
        }
        // Everything is known and recorded, and somebody asked to stop: what is left is left.
        (AfterRecovery::Continue(_) | AfterRecovery::Propose(_), _)
            if change.record.deployment.cancel_requested_at.is_some()
                && report.lost.is_empty()
                && report.in_doubt.is_empty() =>
        {
            let phase = CancelPhase::Stopped;
            cancel::enter(&mut change, &mut tx, phase, Some(&report.done)).await?;
            let why = format!(
                "stopped on request; what had been done is recorded: {} done, {} left",
                report.done.len(),
                change.record.deployment.cancel.as_ref().map_or(0, |cancel| cancel.left)
            );
            change.go(&mut tx, Move::Cancel, Some(why), detail).await?;
        }
        (AfterRecovery::Continue(planned), Some(judged)) => {
            bell = carry_on(cx, &mut tx, &mut change, judged, *planned, summary, detail).await?;
        }
        (AfterRecovery::Propose(planned), Some(judged)) => {
            let variables = tx.variables(id).await?;
            let record = &*change.record;
            let difference = report.refusals.clone();
            let plan = judged.keep(cx, &mut tx, record, &variables, *planned, difference).await?;
            bell = present(cx, &mut change, &mut tx, Move::Propose, &plan, None).await?;
        }
        (AfterRecovery::Ask | AfterRecovery::Continue(_) | AfterRecovery::Propose(_), _) => {
            change.go(&mut tx, Move::AskAttention, Some(summary), detail).await?;
        }
    }
    tx.end_job(job.id, JobState::Succeeded, None, now).await?;
    tx.commit().await?;
    if let Some(bell) = bell {
        cx.ring(&bell).await;
    }
    cx.tell(id).await;
    Ok(AfterRecord::Done(Box::new(record.deployment)))
}

/// The proved rest becomes the current plan, under the approval of the one that was seen.
async fn carry_on(
    cx: &Ctx,
    tx: &mut Tx,
    change: &mut Change<'_>,
    judged: Judged,
    planned: Planned,
    summary: String,
    detail: serde_json::Value,
) -> Result<Option<Doorbell>, Fault> {
    let id = change.record.deployment.id;
    let variables = tx.variables(id).await?;
    let plan = judged.keep(cx, tx, change.record, &variables, planned, Vec::new()).await?.plan;
    let approval = change.record.deployment.approval.as_ref();
    let carried = approval
        .map(|approval| approval.carried_to(&plan.digest))
        .ok_or_else(|| Fault::internal(format!("the approval of {id} is gone")))?;
    let mut detail = detail;
    if let Some(detail) = detail.as_object_mut() {
        detail.insert("plan_digest".to_owned(), plan.digest.clone().into());
        detail.insert("approved_plan_digest".to_owned(), carried.seen().into());
    }
    if let Some(before) = &change.record.deployment.plan {
        // Whoever approved the whole has approved the rest.
        approval::carry(cx, tx, id, before.id, &plan.summary()).await?;
    }
    change.event(EventBody::PlanReady { plan: plan.summary() });
    change.record.deployment.plan = Some(plan.summary());
    change.record.deployment.approval = Some(carried);
    change.go(tx, Move::Resume, Some(summary), detail).await?;
    change.enqueue(tx, JobKind::Apply).await.map(Some)
}

/// Whether what was found out was found out of less than is known now.
async fn is_outdated(
    tx: &mut Tx,
    current: &Recovery,
    found: &Recovered,
    now: &slipway_domain::plan::StateMark,
) -> Result<bool, Fault> {
    if let AfterRecovery::Continue(planned) | AfterRecovery::Propose(planned) = &found.next
        && !planned.state.lineage.is_empty()
        && planned.state != *now
    {
        return Ok(true);
    }
    if found.report.collected {
        return Ok(false);
    }
    let lost = tx.job(current.lost_job_id).await?;
    Ok(match lost {
        Some(lost) => tx.is_collected(lost.id, lost.epoch).await?,
        None => false,
    })
}

/// What a recovery comes to, in one sentence for a person.
fn sentence(verdict: RecoveryVerdict, report: &RecoveryReport) -> String {
    let known = format!("{} done, {} not begun", report.done.len(), report.untouched.len());
    match verdict {
        RecoveryVerdict::Finished => {
            format!("the lost apply had done everything ({} resources)", report.done.len())
        }
        RecoveryVerdict::Continued => {
            format!("the rest of the lost apply is inside what was approved: it goes on ({known})")
        }
        RecoveryVerdict::Proposed if report.imports.is_empty() => format!(
            "the rest of the lost apply is not provably inside what was approved ({known}): look at \
             the new plan"
        ),
        RecoveryVerdict::Proposed => format!(
            "the lost apply made resources that its state does not know; the new plan takes {} of \
             them into it ({known}): look at it",
            report.imports.len()
        ),
        RecoveryVerdict::NeedsAttention => {
            let doubts: Vec<_> =
                report.in_doubt.iter().map(|d| format!("{} {}", d.address, d.detail)).collect();
            let lost: Vec<_> = report
                .lost
                .iter()
                .filter(|lost| !report.imports.contains_key(&lost.address))
                .map(|lost| format!("{} exists and is not in the state", lost.address))
                .collect();
            let all: Vec<_> = lost.into_iter().chain(doubts).collect();
            let more = all.len().saturating_sub(NAMED);
            let mut text = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
            if more > 0 {
                text = format!("{text}; and {more} more");
            }
            format!(
                "after a lost apply nobody knows what became of {} resources ({known}): {text}. \
                 Look at them, then say what became of each (resolve), or cancel",
                all.len()
            )
        }
    }
}

/// Settles a run of a recovery that did not end well. The deployment stays in recovery, or asks for
/// a person; it never ends here.
pub(crate) async fn settle(
    cx: &Ctx,
    tx: &mut Tx,
    job: &Job,
    mut record: Record,
    ending: Ending,
) -> Result<(Record, Option<Doorbell>), Fault> {
    let who = system();
    let now = cx.now();
    let id = job.deployment_id;
    let summary = match ending {
        Ending::HandBack => {
            tx.requeue_job(job.id, 0, false, None).await?;
            let bell = Doorbell::of(job);
            return Ok((record, Some(bell)));
        }
        Ending::Retry { error, delay_ms } if job.attempt < job.max_attempts => {
            let delay_ms = delay_ms.clamp(0, crate::ending::MAX_DELAY_MS);
            let run_at = now + chrono::Duration::milliseconds(delay_ms);
            let mut change = Change::by(cx, &who, &mut record);
            change.event(EventBody::JobRetried {
                attempt: job.attempt,
                error: error.clone(),
                run_at,
            });
            change.save(tx).await?;
            tx.requeue_job(job.id, delay_ms, true, Some(&error)).await?;
            return Ok((record, None));
        }
        Ending::Retry { error, .. } => {
            format!("{error} (attempt {} of {})", job.attempt, job.max_attempts)
        }
        Ending::Failed { summary, .. }
        | Ending::Stopped { summary }
        | Ending::Lost { summary }
        | Ending::Stale { summary } => summary,
        Ending::Cancelled => "it was stopped on request".to_owned(),
    };
    let detail = format!(
        "what the lost apply did could not be found out: {summary}. Mend that, then have it looked \
         at again (resolve), or cancel"
    );
    let recoveries = tx.recoveries(id).await?;
    if let Some(current) = recoveries.first().filter(|recovery| recovery.verdict.is_none()) {
        let verdict = RecoveryVerdict::NeedsAttention;
        // What was found out before is not lost.
        let report = recoveries.iter().find_map(|recovery| recovery.report.as_ref());
        tx.end_recovery(id, current.number, verdict, &detail, report, now).await?;
    }
    let mut change = Change::by(cx, &who, &mut record);
    change.go(tx, Move::AskAttention, Some(detail), serde_json::json!({})).await?;
    tx.end_job(job.id, JobState::Failed, Some(&summary), now).await?;
    Ok((record, None))
}
