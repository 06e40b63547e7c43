//! How a run of a job ends, other than well: what becomes of the job and of its deployment. It works
//! from every state, so that no job is left running.

use slipway_domain::cancel::CancelPhase;
use slipway_domain::deployment::{Deployment, Failure};
use slipway_domain::event::EventBody;
use slipway_domain::fault::Fault;
use slipway_domain::job::{Doorbell, Job, JobKind, JobState, Lease};
use slipway_domain::plan::Diagnostic;
use slipway_domain::state::{DeploymentState, Move};
use slipway_store::Tx;
use slipway_store::deployment::Record;

use crate::change::{Change, lock};
use crate::execution::{locked, system};
use crate::{Ctx, cancel, drift, recovery, test};

/// How a run of a job ended, other than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It will not work: the deployment fails.
    Failed {
        /// One sentence.
        summary: String,
        /// What the tool said.
        diagnostics: Vec<Diagnostic>,
    },
    /// A passing fault. A job that may repeat and has attempts left goes back to its queue after
    /// `delay_ms`; otherwise the deployment fails and the job is dead.
    Retry {
        /// One sentence.
        error: String,
        /// How long to wait.
        delay_ms: i64,
    },
    /// Given back untouched, because the worker is shutting down.
    HandBack,
    /// Stopped because a person asked for it.
    Cancelled,
    /// Stopped by the house (limit reached, shutdown) after it had begun to change the world; what
    /// was done is recorded.
    Stopped {
        /// One sentence.
        summary: String,
    },
    /// It may have had effects that nobody recorded.
    Lost {
        /// One sentence.
        summary: String,
    },
    /// The plan no longer fits the state.
    Stale {
        /// One sentence.
        summary: String,
    },
}

/// Ends a run of a job that did not end well.
pub async fn ended(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    ending: Ending,
) -> Result<Deployment, Fault> {
    let mut tx = cx.store.begin().await?;
    locked(&mut tx, job, lease).await?;
    let (record, bell) = settle(cx, &mut tx, job, ending).await?;
    tx.commit().await?;
    if let Some(bell) = bell {
        cx.ring(&bell).await;
    }
    cx.tell(job.deployment_id).await;
    Ok(record.deployment)
}

/// Rings for the job that waits for the concurrency key of `job`, which has just ended: nobody rang
/// for it when it was passed over.
pub async fn ring_waiting(cx: &Ctx, job: &Job) {
    let Some(key) = &job.concurrency_key else { return };
    let bell = async { cx.store.read().await?.waiting_for_key(key).await };
    match bell.await {
        Ok(Some(bell)) => cx.ring(&bell).await,
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(job_id = %job.id, %error,
                "who waits for the stack is not known; the relay will ring");
        }
    }
}

/// The longest wait before another try: whatever the other side asks for, a job is seen again.
pub(crate) const MAX_DELAY_MS: i64 = 24 * 3_600_000;

/// Whether a deployment in this state is in the hands of a job of this kind.
fn in_hands_of(kind: JobKind, state: DeploymentState) -> bool {
    use DeploymentState as S;
    match kind {
        JobKind::Plan => matches!(state, S::Submitted | S::Planning),
        JobKind::Apply => matches!(state, S::Approved | S::Applying | S::Verifying),
        // What is left to do is done when there is nothing to apply.
        JobKind::Recover => matches!(state, S::Recovering | S::Verifying),
        // They are beside its way, until it ends.
        JobKind::Test => !state.is_terminal(),
        // It is about the stack; the deployment that runs has ended long ago.
        JobKind::Drift => true,
    }
}

/// What an ending comes to, given what kind of job it was, where its deployment is, and whether
/// somebody asked to stop it. The rest of [`settle`] relies on this: every ending that it lets
/// through has its moves in the state table.
fn fitting(kind: JobKind, state: DeploymentState, cancelled: bool, ending: Ending) -> Ending {
    use DeploymentState as S;
    const APPLIED: &str = "everything was applied, but its health was not looked at";
    match (kind, ending) {
        // Everything is made; it cannot be handed back, made anew or stopped any more.
        (_, Ending::HandBack | Ending::Cancelled) if state == S::Verifying => {
            Ending::Stopped { summary: APPLIED.to_owned() }
        }
        (_, Ending::Retry { error: summary, .. } | Ending::Stale { summary })
            if state == S::Verifying =>
        {
            Ending::Stopped { summary: format!("{APPLIED}: {summary}") }
        }
        (
            JobKind::Plan | JobKind::Apply,
            Ending::HandBack | Ending::Retry { .. } | Ending::Stale { .. },
        ) if cancelled => Ending::Cancelled,
        // A plan has no effects to lose, and there is none yet to be stale.
        (JobKind::Plan, Ending::Lost { summary } | Ending::Stale { summary }) if !cancelled => {
            Ending::Retry { error: summary, delay_ms: 0 }
        }
        (JobKind::Plan, Ending::Lost { .. }) => Ending::Cancelled,
        // It was never begun, so nothing was touched.
        (JobKind::Apply, Ending::Lost { .. }) if state == S::Approved && cancelled => {
            Ending::Cancelled
        }
        (JobKind::Apply, Ending::Lost { .. }) if state == S::Approved => Ending::HandBack,
        (JobKind::Recover, Ending::Lost { summary }) if state == S::Verifying => {
            Ending::Stopped { summary: format!("{APPLIED}: {summary}") }
        }
        // It changes nothing, so there is nothing to lose.
        (JobKind::Recover, Ending::Lost { summary } | Ending::Stale { summary }) => {
            Ending::Retry { error: summary, delay_ms: 1000 }
        }
        (_, other) => other,
    }
}

/// Settles job and deployment in one unit of work. The caller has made sure that it may, by a
/// fence or because the lease has run out, and has locked both. It works from every state: a job
/// that could not be settled would be one that never ends.
pub(crate) async fn settle(
    cx: &Ctx,
    tx: &mut Tx,
    job: &Job,
    ending: Ending,
) -> Result<(Record, Option<Doorbell>), Fault> {
    let who = system();
    let now = cx.now();
    let mut record = lock(tx, job.deployment_id).await?;
    let state = record.deployment.state;
    if !in_hands_of(job.kind, state) {
        // Superseded, expired or cancelled while it ran: the deployment has its end already.
        let why = if state.is_terminal() { "has ended" } else { "has moved on" };
        let why = format!("the deployment {why}");
        tx.end_job(job.id, JobState::Cancelled, Some(&why), now).await?;
        return Ok((record, None));
    }
    if job.kind == JobKind::Test {
        // Boxed: it is rare, and every other end would be as large.
        return Box::pin(test::settle(cx, tx, job, record, ending)).await;
    }
    if job.kind == JobKind::Drift {
        return Box::pin(drift::check::settle(cx, tx, job, record, ending)).await;
    }
    let cancelled = record.deployment.cancel_requested_at.is_some();
    let ending = fitting(job.kind, state, cancelled, ending);
    if state == DeploymentState::Recovering {
        return recovery::settle(cx, tx, job, record, ending).await;
    }
    let mut change = Change::by(cx, &who, &mut record);
    if cancelled {
        let phase = match &ending {
            Ending::Lost { .. } => CancelPhase::Killed,
            _ => CancelPhase::Stopped,
        };
        cancel::enter(&mut change, tx, phase, None).await?;
    }
    let none = serde_json::json!({});
    match ending {
        Ending::Failed { summary, diagnostics } => {
            fail(&mut change, tx, summary.clone(), diagnostics).await?;
            tx.end_job(job.id, JobState::Failed, Some(&summary), now).await?;
        }
        Ending::Retry { error, delay_ms } => {
            // An apply that had not begun touched nothing.
            let again = job.kind.may_repeat()
                || change.record.deployment.state == DeploymentState::Approved;
            if again && job.attempt < job.max_attempts {
                let delay_ms = delay_ms.clamp(0, MAX_DELAY_MS);
                let run_at = now + chrono::Duration::milliseconds(delay_ms);
                change.event(EventBody::JobRetried {
                    attempt: job.attempt,
                    error: error.clone(),
                    run_at,
                });
                hand_back(&mut change, tx, job, Some(error.clone())).await?;
                tx.requeue_job(job.id, delay_ms, true, Some(&error)).await?;
            } else {
                let summary = format!("{error} (attempt {} of {})", job.attempt, job.max_attempts);
                fail(&mut change, tx, summary.clone(), Vec::new()).await?;
                tx.end_job(job.id, JobState::Dead, Some(&summary), now).await?;
            }
        }
        Ending::HandBack => {
            hand_back(&mut change, tx, job, Some("handed back by its worker".to_owned())).await?;
            tx.requeue_job(job.id, 0, false, None).await?;
            let bell = Doorbell::of(job);
            return Ok((record, Some(bell)));
        }
        Ending::Cancelled => {
            let reason = change.record.deployment.reason.clone();
            let reason = reason
                .as_deref()
                .and_then(|r| r.strip_prefix("stopping: "))
                .map_or_else(|| "stopped on request".to_owned(), str::to_owned);
            change.go(tx, Move::Cancel, Some(reason), none).await?;
            tx.end_job(job.id, JobState::Cancelled, None, now).await?;
        }
        Ending::Stopped { summary } => {
            fail(&mut change, tx, summary.clone(), Vec::new()).await?;
            tx.end_job(job.id, JobState::Failed, Some(&summary), now).await?;
        }
        Ending::Lost { summary } => {
            change.step(Move::Interrupt, Some(summary.clone()), none.clone())?;
            tx.end_job(job.id, JobState::Lost, Some(&summary), now).await?;
            let bell = recovery::start(&mut change, tx, job, summary).await?;
            return Ok((record, bell));
        }
        Ending::Stale { summary } => {
            // Nothing was applied: back to before it began, then a new plan.
            if state == DeploymentState::Applying {
                change.step(Move::HandBack, None, none.clone())?;
            }
            change.go(tx, Move::Replan, Some(summary.clone()), none).await?;
            let bell = change.enqueue(tx, JobKind::Plan).await?;
            tx.end_job(job.id, JobState::Succeeded, Some(&summary), now).await?;
            return Ok((record, Some(bell)));
        }
    }
    Ok((record, None))
}

/// Back to where the deployment was before the job began, if it had begun.
async fn hand_back(
    change: &mut Change<'_>,
    tx: &mut Tx,
    job: &Job,
    reason: Option<String>,
) -> Result<(), Fault> {
    let running = match job.kind {
        JobKind::Plan => DeploymentState::Planning,
        JobKind::Apply | JobKind::Recover => DeploymentState::Applying,
        // They have moved nothing.
        JobKind::Test | JobKind::Drift => return change.save(tx).await,
    };
    if change.record.deployment.state == running {
        change.go(tx, Move::HandBack, reason, serde_json::json!({})).await
    } else {
        change.save(tx).await
    }
}

/// Fails a deployment in whatever it is doing.
pub(crate) async fn fail(
    change: &mut Change<'_>,
    tx: &mut Tx,
    summary: String,
    diagnostics: Vec<Diagnostic>,
) -> Result<(), Fault> {
    let during = change.record.deployment.state;
    change.record.deployment.failure =
        Some(Failure { during, summary: summary.clone(), diagnostics });
    change.go(tx, Move::Fail, Some(summary), serde_json::json!({})).await
}
