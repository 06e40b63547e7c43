//! A check for drift as a job: what it is made of, and what becomes of it. What it found counts only
//! if the stack is still what it was when it was looked at.

use slipway_domain::deployment::Deployment;
use slipway_domain::drift::{DriftFailure, DriftFound, DriftReport, DriftStatus, DriftTurn};
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::job::{Doorbell, Job, JobState, Lease};
use slipway_domain::plan::{StateMark, ToolChoice};
use slipway_domain::port::driver::DriftInput;
use slipway_store::Tx;
use slipway_store::deployment::Record;
use slipway_store::drift::{Next, Record as DriftRecord};
use slipway_store::stack::Record as StackRecord;

use super::{obstacle, settings_of, soon};
use crate::change::audit;
use crate::ending::{Ending, MAX_DELAY_MS};
use crate::execution::{Begun, lock_stack, locked, state_of, system};
use crate::setting::usage;
use crate::{Ctx, source};

/// Gathers what the driver needs to look. A stack that is being changed is not looked at.
pub(crate) async fn begin(cx: &Ctx, job: &Job, lease: &Lease) -> Result<Begun, Fault> {
    let mut tx = cx.store.begin().await?;
    let stack = lock_stack(&mut tx, job).await?;
    let record = locked(&mut tx, job, lease).await?;
    let why = not_now(&mut tx, job, &stack, None).await?;
    let (None, Some(artifact)) = (&why, record.source_artifact) else {
        let why = why.unwrap_or_else(|| "the source is not kept".to_owned());
        let row = tx.lock_drift(job.stack_id).await?;
        throw_away(cx, &mut tx, job, row, why).await?;
        tx.commit().await?;
        return Ok(Begun::Nothing);
    };
    let d = &record.deployment;
    let filled = match usage::fill_current(&mut tx, d).await {
        Ok(filled) => filled,
        // A setting that it was deployed with is not kept any more.
        Err(fault) if fault.code == Code::InvalidInput => {
            let row = tx.lock_drift(job.stack_id).await?;
            throw_away(cx, &mut tx, job, row, fault.to_string()).await?;
            tx.commit().await?;
            return Ok(Begun::Nothing);
        }
        Err(fault) => return Err(fault),
    };
    tx.commit().await?;
    let redactor = filled.redactor(d);
    let input = DriftInput {
        deployment_id: d.id,
        stack_id: d.stack_id,
        stack: d.stack.clone(),
        source: source::kept(cx, artifact).await?,
        root: record.source_root.clone(),
        variables: filled.variables,
        tool: d.options.tool.as_deref().and_then(ToolChoice::parse),
        state: state_of(cx, &record).await?,
    };
    Ok(Begun::Drift { input: Box::new(input), redactor })
}

/// Why what a check of a stack finds, or has found of the state `seen`, says nothing. The caller has
/// locked the stack.
async fn not_now(
    tx: &mut Tx,
    job: &Job,
    stack: &StackRecord,
    seen: Option<&StateMark>,
) -> Result<Option<String>, Fault> {
    let now = stack.state_mark();
    if let Some(seen) = seen.filter(|seen| !seen.lineage.is_empty() && **seen != now) {
        return Ok(Some(format!(
            "The state moved from serial {} to {} while it was looked at.",
            seen.serial, now.serial
        )));
    }
    if stack.stack.current_deployment != Some(job.deployment_id) {
        return Ok(Some("The stack was deployed meanwhile.".to_owned()));
    }
    Ok(obstacle(tx, stack).await?.map(|obstacle| obstacle.why))
}

/// Ends a check whose result would say nothing; another one comes soon.
async fn throw_away(
    cx: &Ctx,
    tx: &mut Tx,
    job: &Job,
    mut row: DriftRecord,
    why: String,
) -> Result<(), Fault> {
    tx.end_job(job.id, JobState::Cancelled, Some(&why), cx.now()).await?;
    row.put_off = Some(why);
    let next = soon(cx, &settings_of(cx, &row));
    tx.save_drift(&row, None, next).await?;
    Ok(())
}

/// Keeps what a check found, tells when the drift is another one than was known, and ends the job.
/// What was found of a state that has moved on meanwhile is thrown away.
pub async fn drift_finished(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    found: DriftFound,
) -> Result<Deployment, Fault> {
    let now = cx.now();
    let mut tx = cx.store.begin().await?;
    let stack = lock_stack(&mut tx, job).await?;
    let record = locked(&mut tx, job, lease).await?;
    let mut row = tx.lock_drift(job.stack_id).await?;
    if let Some(why) = not_now(&mut tx, job, &stack, Some(&found.state)).await? {
        tracing::info!(stack_id = %job.stack_id, why, "what a check found is thrown away");
        throw_away(cx, &mut tx, job, row, why).await?;
        tx.commit().await?;
        return Ok(record.deployment);
    }
    let report = DriftReport::of(found, now);
    let fingerprint = report.drifted.then(|| report.fingerprint());
    let turn = DriftTurn::of(row.fingerprint.as_deref(), fingerprint.as_deref());
    row.status = if report.drifted { DriftStatus::Drifted } else { DriftStatus::InSync };
    row.since = if report.drifted { row.since.or(Some(now)) } else { None };
    row.fingerprint = fingerprint;
    row.checked_at = Some(now);
    row.deployment_id = Some(job.deployment_id);
    row.failure = None;
    row.put_off = None;
    if let Some(turn) = turn {
        tell(cx, &mut tx, job, turn, &report, row.since).await?;
    }
    row.report = Some(report);
    tx.save_drift(&row, None, Next::Kept).await?;
    tx.end_job(job.id, JobState::Succeeded, None, now).await?;
    tx.commit().await?;
    if turn.is_some() {
        cx.tell(job.deployment_id).await;
    }
    Ok(record.deployment)
}

/// Tells of a drift that began, changed or ended, after the end of the deployment that the stack
/// runs, which the caller has locked.
async fn tell(
    cx: &Ctx,
    tx: &mut Tx,
    job: &Job,
    turn: DriftTurn,
    report: &DriftReport,
    since: Option<chrono::DateTime<chrono::Utc>>,
) -> Result<(), Fault> {
    let summary = report.summary.clone();
    tracing::info!(stack_id = %job.stack_id, turn = turn.as_str(), summary, "drift");
    let detail = serde_json::json!({"deployment_id": job.deployment_id, "summary": summary});
    let action = format!("drift.{}", turn.as_str());
    audit(cx, tx, &system(), &action, job.stack_id.to_string(), detail).await?;
    let event = EventBody::Drift { turn, summary, since };
    tx.append_events(job.deployment_id, &[event], cx.now()).await?;
    Ok(())
}

/// Settles a check that did not end well. It has no effects, so it is tried again as long as it may
/// be; then the stack shows why it could not be made.
pub(crate) async fn settle(
    cx: &Ctx,
    tx: &mut Tx,
    job: &Job,
    record: Record,
    ending: Ending,
) -> Result<(Record, Option<Doorbell>), Fault> {
    let now = cx.now();
    let may_repeat = job.attempt < job.max_attempts;
    let (summary, diagnostics) = match ending {
        Ending::HandBack => {
            tx.requeue_job(job.id, 0, false, None).await?;
            let bell = Doorbell::of(job);
            return Ok((record, Some(bell)));
        }
        Ending::Retry { error, delay_ms } if may_repeat => {
            let delay_ms = delay_ms.clamp(0, MAX_DELAY_MS);
            tx.requeue_job(job.id, delay_ms, true, Some(&error)).await?;
            return Ok((record, None));
        }
        Ending::Lost { summary } | Ending::Stale { summary } if may_repeat => {
            tx.requeue_job(job.id, 0, true, Some(&summary)).await?;
            return Ok((record, None));
        }
        Ending::Cancelled => {
            let row = tx.lock_drift(job.stack_id).await?;
            throw_away(cx, tx, job, row, "It was stopped on request.".to_owned()).await?;
            return Ok((record, None));
        }
        Ending::Failed { summary, diagnostics } => (summary, diagnostics),
        Ending::Retry { error: summary, .. }
        | Ending::Lost { summary }
        | Ending::Stale { summary } => {
            let tries = format!("{summary} (attempt {} of {})", job.attempt, job.max_attempts);
            (tries, Vec::new())
        }
        Ending::Stopped { summary } => (summary, Vec::new()),
    };
    tx.end_job(job.id, JobState::Failed, Some(&summary), now).await?;
    let mut row = tx.lock_drift(job.stack_id).await?;
    row.status = DriftStatus::Failed;
    // What the stack runs now was tried: it is no reason to try it again at once.
    row.deployment_id = Some(job.deployment_id);
    row.failure = Some(DriftFailure::new(now, summary, diagnostics));
    row.put_off = None;
    tx.save_drift(&row, None, Next::Kept).await?;
    Ok((record, None))
}
