//! One run of one job, from its claim to its end.

use std::sync::Arc;
use std::time::Duration;

use slipway_domain::fault::{Code, Fault, Kind};
use slipway_domain::job::{Job, JobKind, Lease};
use slipway_domain::port::driver::{
    AfterRecovery, Applied, ApplyInput, DriftInput, Driver, DriverError, Health, PlanInput,
    Planned, RecoverInput, Run as _, Stop, TestInput,
};
use slipway_domain::redact::Redactor;
use slipway_domain::setting::SettingUse;
use slipway_services::execution::{self, Begun, Ending};
use slipway_services::gate::Seen;
use slipway_services::recovery::{self, AfterRecord};
use slipway_services::{Ctx, cancel, drift as drifts, run_history, test as tests};
use slipway_store::deployment::Record;
use slipway_telemetry::carrier;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::Shared;
use crate::estimate::estimated;
use crate::held::{Brake, Holding, Reason};
use crate::run::JobRun;
use crate::scan::Scans;
use crate::slot::Slot;
use crate::verdict;

/// Runs a claimed job and records how it ended.
pub(crate) async fn run(shared: &Shared, job: Job, lease: Lease, claimed: Instant, slot: Slot) {
    let span = tracing::info_span!("job", job_id = %job.id, deployment_id = %job.deployment_id,
        kind = %job.kind, queue = %job.queue, attempt = job.attempt, epoch = lease.epoch);
    carrier::set_parent(&span, job.traceparent.as_deref());
    let waited = shared.cx.now() - job.run_at;
    let queue = job.queue;
    shared.metrics.job_started(queue.as_str(), waited.to_std().unwrap_or_default());
    let began = Instant::now();
    let ended = job.clone();
    // It is large: boxed, those that hold it are not.
    let running = Box::pin(run_in_span(shared, job, lease, claimed, slot));
    let outcome = running.instrument(span).await;
    execution::ring_waiting(&shared.cx, &ended).await;
    shared.metrics.job_ended(queue.as_str(), outcome, began.elapsed());
}

/// How a run is counted.
type Outcome = &'static str;

/// A run of a job.
struct Turn<'a> {
    shared: &'a Shared,
    job: &'a Job,
    lease: &'a Lease,
    holding: Holding<'a>,
    slot: Slot,
}

impl Turn<'_> {
    fn brake(&self) -> &Brake {
        &self.holding.brake
    }

    /// Records the end of it. Nothing is left to do but that.
    async fn record<T, F>(&self, work: impl FnMut() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        self.slot.worked();
        persist(self.brake(), work).await
    }
}

async fn run_in_span(
    shared: &Shared,
    job: Job,
    lease: Lease,
    claimed: Instant,
    slot: Slot,
) -> Outcome {
    let holding = shared.held.hold(&job, lease, shared.options.lease, claimed);
    let brake = holding.brake.clone();
    let turn = Turn { shared, job: &job, lease: &lease, holding, slot };
    tracing::info!("job started");
    let begun = persist(&brake, || execution::begin(&shared.cx, &job, &lease)).await;
    let (work, redactor) = match begun {
        Ok(Begun::Plan { input, redactor, record }) => (Work::Plan(input, record), redactor),
        Ok(Begun::Apply { input, redactor }) => (Work::Apply(input), redactor),
        Ok(Begun::Recover { input, redactor }) => (Work::Recover(input), redactor),
        Ok(Begun::Test { input, redactor }) => (Work::Test(input), redactor),
        Ok(Begun::Drift { input, redactor }) => (Work::Drift(input), redactor),
        Ok(Begun::Nothing) => {
            tracing::info!("nothing to do, any more or yet");
            return "skipped";
        }
        Err(fault) => {
            return end(&turn, could_not_begin(&job, &fault)).await;
        }
    };
    let soft_limit_s = run_history::soft_limit_s(&shared.cx, &job).await;
    let limits = tokio::spawn(watch_limits(brake.clone(), soft_limit_s, job.hard_limit_s));
    let cancels =
        tokio::spawn(tell_of_cancel(shared.cx.clone(), brake.clone(), job.clone(), lease));
    let driven = drive(&turn, work, redactor);
    // Large, and there for as long as the job.
    let outcome = Box::pin(driven).await;
    limits.abort();
    cancels.abort();
    outcome
}

enum Work {
    Plan(Box<PlanInput>, Box<Record>),
    Apply(Box<ApplyInput>),
    Recover(Box<RecoverInput>),
    Test(Box<TestInput>),
    Drift(Box<DriftInput>),
}

/// A job that could not even begin: the fault is ours, so it may pass.
fn could_not_begin(job: &Job, fault: &Fault) -> Option<Ending> {
    if fault.code == Code::LeaseLost {
        return None;
    }
    if fault.kind() == Kind::Invalid {
        // Something that it needs is not there, and will not come by waiting.
        tracing::warn!(%fault, "the job could not begin");
        let summary = format!("the {} could not begin: {}", job.kind, public(fault));
        return Some(Ending::Failed { summary, diagnostics: Vec::new() });
    }
    tracing::error!(%fault, cause = fault.causes(), "the job could not begin");
    let error = format!("the {} could not begin: {}", job.kind, public(fault));
    // Nothing was touched: the retry's rule for applies (dead, not repeated) is right as well.
    Some(Ending::Retry { error, delay_ms: 1000 })
}

/// What of a fault may be shown.
fn public(fault: &Fault) -> &str {
    if fault.detail.is_empty() { fault.code.title() } else { &fault.detail }
}

async fn watch_limits(brake: Brake, soft_s: i32, hard_s: i32) {
    let seconds = |s: i32| Duration::from_secs(u64::try_from(s).unwrap_or(0));
    let start = Instant::now();
    tokio::time::sleep_until(start + seconds(soft_s)).await;
    tracing::warn!(soft_limit_s = soft_s, "soft limit reached: asking the job to stop");
    brake.pull(Reason::SoftLimit);
    tokio::time::sleep_until(start + seconds(hard_s)).await;
    tracing::error!(hard_limit_s = hard_s, "hard limit reached: killing the job");
    brake.pull(Reason::HardLimit);
}

/// Says that a request to stop has come here, so that people see it.
async fn tell_of_cancel(cx: Ctx, brake: Brake, job: Job, lease: Lease) {
    let reason = brake.pulled(Stop::Gently).await;
    if !matches!(reason, Reason::Cancel | Reason::CancelNow) {
        return;
    }
    if let Err(fault) = persist(&brake, || cancel::draining(&cx, &job, &lease)).await {
        tracing::warn!(%fault, "that the job is being stopped could not be recorded");
    }
}

async fn drive(turn: &Turn<'_>, work: Work, redactor: Redactor) -> Outcome {
    let Turn { shared, job, lease, holding, .. } = turn;
    let brake = turn.brake();
    if let Some(reason) = brake.reason() {
        // Asked to stop before the driver was: nothing was touched, and an apply too may go back.
        tracing::info!(?reason, "stopped before it began");
        return end(turn, verdict::untouched(job, reason)).await;
    }
    let workspace = match shared.workspaces.make(lease) {
        Ok(workspace) => workspace,
        Err(error) => {
            let error = format!("no workspace could be made on this worker: {error}");
            let ending = Ending::Retry { error, delay_ms: 1000 };
            return end(turn, Some(ending)).await;
        }
    };
    let run = Arc::new(JobRun::new(
        shared.cx.clone(),
        (*job).clone(),
        **lease,
        workspace,
        redactor,
        brake.clone(),
        holding.fuse.clone(),
    ));
    let outcome = match work {
        Work::Plan(input, record) => plan(turn, &run, *input, &record).await,
        Work::Apply(input) => apply(turn, &run, *input).await,
        Work::Recover(input) => recover(turn, &run, *input).await,
        Work::Test(input) => test(turn, &run, *input).await,
        Work::Drift(input) => drift(turn, &run, *input).await,
    };
    if !run.wiped_if_empty() {
        // It is wiped off the async threads.
        let _ = tokio::task::spawn_blocking(move || drop(run)).await;
    }
    outcome
}

/// Runs a driver's future beside the writing of its log, and turns a panic into an error.
async fn guarded<T: Send + 'static>(
    run: &Arc<JobRun>,
    work: impl Future<Output = Result<T, DriverError>> + Send + 'static,
) -> Result<T, DriverError> {
    let done = run.flushing_beside(tokio::spawn(work.in_current_span())).await;
    done.unwrap_or_else(|panic| {
        tracing::error!(%panic, "the driver panicked");
        Err(DriverError::Lost { summary: "the driver failed in an unexpected way".to_owned() })
    })
}

/// What the gates are told of a plan beside itself, when everybody who is asked has answered.
async fn seen(
    shared: &Shared,
    run: &Arc<JobRun>,
    planned: &Planned,
    scans: Scans,
    settings: Vec<SettingUse>,
) -> Result<Seen, DriverError> {
    // Scans go on meanwhile.
    let estimate = estimated(shared, run, planned).await?;
    // A plan without changes goes before no gate.
    let scans = if planned.no_changes { Vec::new() } else { scans.ended(run).await? };
    Ok(Seen { redactor: run.redactor(), scans, settings, estimate })
}

async fn plan(turn: &Turn<'_>, run: &Arc<JobRun>, input: PlanInput, begun: &Record) -> Outcome {
    let Turn { shared, job, lease, .. } = turn;
    let driver: Arc<dyn Driver> = shared.tools.driver.clone();
    let its_run = run.clone();
    let scans = Scans::beside(shared, run);
    let settings = input.settings.clone();
    let planned = guarded(run, async move { driver.plan(&*its_run, input).await }).await;
    let planned = match planned {
        Ok(planned) => verdict::planned(&run.redactor(), planned),
        Err(error) => return failed(turn, run, error).await,
    };
    let seen = match seen(shared, run, &planned, scans, settings).await {
        Ok(seen) => seen,
        Err(error) => return failed(turn, run, error).await,
    };
    let keep =
        || execution::plan_finished_from(&shared.cx, begun, job, lease, planned.clone(), &seen);
    let kept = turn.record(keep).await;
    match kept {
        Ok(deployment) => {
            tracing::info!(state = %deployment.state, "plan finished");
            remember(shared, job, run).await;
            count_end(shared, &deployment);
            "succeeded"
        }
        Err(fault) => end(turn, could_not_record(job, &fault)).await,
    }
}

async fn apply(turn: &Turn<'_>, run: &Arc<JobRun>, input: ApplyInput) -> Outcome {
    let Turn { shared, job, lease, .. } = turn;
    let driver: Arc<dyn Driver> = shared.tools.driver.clone();
    let its_run = run.clone();
    let applied = guarded(run, async move { driver.apply(&*its_run, input).await }).await;
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => {
            // Whoever recovers it reads what the tool left.
            let lost = matches!(error, DriverError::Lost { .. } | DriverError::Fenced)
                || turn.brake().reason() == Some(Reason::LeaseLost);
            if lost {
                run.leave();
            }
            return failed(turn, run, error).await;
        }
    };
    let kept =
        persist(turn.brake(), || execution::apply_finished(&shared.cx, job, lease, &applied)).await;
    if let Err(fault) = kept {
        run.leave();
        return end(turn, could_not_record(job, &fault)).await;
    }
    remember(shared, job, run).await;
    verify(turn, run, applied).await
}

/// Keeps what the run took, for estimates. The job is not worse for it when that fails.
async fn remember(shared: &Shared, job: &Job, run: &JobRun) {
    let Some(measure) = run.measure() else { return };
    if let Err(fault) = run_history::record(&shared.cx, job, measure).await {
        tracing::warn!(%fault, "what the run took could not be recorded");
    }
}

/// Finds out what a lost apply did.
async fn recover(turn: &Turn<'_>, run: &Arc<JobRun>, input: RecoverInput) -> Outcome {
    let Turn { shared, job, lease, .. } = turn;
    let driver: Arc<dyn Driver> = shared.tools.driver.clone();
    let its_run = run.clone();
    let scans = Scans::beside(shared, run);
    let settings = input.settings.clone();
    let found = guarded(run, async move { driver.recover(&*its_run, input).await }).await;
    let found = match found {
        Ok(found) => verdict::recovered(&run.redactor(), found),
        Err(error) => return failed(turn, run, error).await,
    };
    let seen = match &found.next {
        AfterRecovery::Propose(planned) | AfterRecovery::Continue(planned) => {
            seen(shared, run, planned, scans, settings).await
        }
        AfterRecovery::Finished(_) | AfterRecovery::Ask => {
            Ok(Seen { redactor: run.redactor(), settings, ..Seen::default() })
        }
    };
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return failed(turn, run, error).await,
    };
    let keep = || recovery::recovered(&shared.cx, job, lease, found.clone(), &seen);
    // There may be something to look at yet.
    let kept = persist(turn.brake(), keep).await;
    match kept {
        Ok(AfterRecord::Verify(applied)) => verify(turn, run, applied).await,
        Ok(AfterRecord::Done(deployment)) => {
            tracing::info!(state = %deployment.state, "recovery finished");
            count_end(shared, &deployment);
            "succeeded"
        }
        Err(fault) => end(turn, could_not_record(job, &fault)).await,
    }
}

/// Runs tests. Those that do not hold are no failure of the job.
async fn test(turn: &Turn<'_>, run: &Arc<JobRun>, input: TestInput) -> Outcome {
    let Turn { shared, job, lease, .. } = turn;
    let driver: Arc<dyn Driver> = shared.tools.driver.clone();
    let its_run = run.clone();
    let found = guarded(run, async move { driver.test(&*its_run, input).await }).await;
    let found = match found {
        Ok(found) => verdict::tested(&run.redactor(), found),
        Err(error) => return failed(turn, run, error).await,
    };
    let kept = turn.record(|| tests::tests_finished(&shared.cx, job, lease, found.clone())).await;
    match kept {
        Ok(_) => {
            tracing::info!("tests finished");
            "succeeded"
        }
        Err(fault) => end(turn, could_not_record(job, &fault)).await,
    }
}

/// Looks for drift. That there is some is no failure of the job.
async fn drift(turn: &Turn<'_>, run: &Arc<JobRun>, input: DriftInput) -> Outcome {
    let Turn { shared, job, lease, .. } = turn;
    let driver: Arc<dyn Driver> = shared.tools.driver.clone();
    let its_run = run.clone();
    let found = guarded(run, async move { driver.drift(&*its_run, input).await }).await;
    let found = match found {
        Ok(found) => verdict::drifted(&run.redactor(), found),
        Err(error) => return failed(turn, run, error).await,
    };
    let keep = || drifts::drift_finished(&shared.cx, job, lease, found.clone());
    match turn.record(keep).await {
        Ok(_) => {
            tracing::info!("drift check finished");
            "succeeded"
        }
        Err(fault) => end(turn, could_not_record(job, &fault)).await,
    }
}

/// Looks at what was applied, and ends the deployment.
async fn verify(turn: &Turn<'_>, run: &Arc<JobRun>, applied: Applied) -> Outcome {
    let Turn { shared, job, lease, .. } = turn;
    let driver: Arc<dyn Driver> = shared.tools.driver.clone();
    let its_run = run.clone();
    let health = guarded(run, async move { driver.verify(&*its_run, &applied).await }).await;
    let health = match health {
        Ok(Health::Unhealthy(why)) => Health::Unhealthy(run.redactor().text(&why)),
        Ok(healthy) => healthy,
        Err(error) => return failed(turn, run, error).await,
    };
    let kept = turn.record(|| execution::verified(&shared.cx, job, lease, health.clone())).await;
    match kept {
        Ok(deployment) => {
            tracing::info!(state = %deployment.state, "apply finished");
            count_end(shared, &deployment);
            "succeeded"
        }
        Err(fault) => end(turn, could_not_record(job, &fault)).await,
    }
}

/// The driver did its work and the house could not record it.
fn could_not_record(job: &Job, fault: &Fault) -> Option<Ending> {
    if fault.code == Code::LeaseLost {
        return None;
    }
    tracing::error!(%fault, cause = fault.causes(), "the result could not be recorded");
    let summary = format!("the result of the {} could not be recorded", job.kind);
    Some(match job.kind {
        JobKind::Plan | JobKind::Recover | JobKind::Drift => {
            Ending::Retry { error: summary, delay_ms: 1000 }
        }
        JobKind::Apply | JobKind::Test => Ending::Lost { summary },
    })
}

async fn failed(turn: &Turn<'_>, run: &JobRun, error: DriverError) -> Outcome {
    let reason = turn.brake().reason();
    // What a tool says may quote what it was given.
    let error = verdict::redacted(&run.redactor(), error);
    tracing::info!(%error, asked = ?reason, "the driver did not finish");
    end(turn, verdict::ending(turn.job, error, reason)).await
}

async fn end(turn: &Turn<'_>, ending: Option<Ending>) -> Outcome {
    let Turn { shared, job, lease, .. } = turn;
    let Some(ending) = ending else {
        tracing::error!("the lease is gone; nothing is written");
        return "fenced";
    };
    let outcome = match &ending {
        Ending::Failed { .. } | Ending::Stopped { .. } => "failed",
        Ending::Retry { .. } => "retried",
        Ending::HandBack | Ending::Stale { .. } => "handed_back",
        Ending::Cancelled => "cancelled",
        Ending::Lost { .. } => "lost",
    };
    let kept = turn.record(|| execution::ended(&shared.cx, job, lease, ending.clone())).await;
    match kept {
        Ok(deployment) => {
            tracing::info!(state = %deployment.state, outcome, "job ended");
            // What is beside its way ends no deployment.
            if !job.kind.is_beside() {
                count_end(shared, &deployment);
            }
            outcome
        }
        Err(fault) => {
            // The reaper closes it when the lease has run out.
            tracing::error!(%fault, cause = fault.causes(), "the end could not be recorded");
            "fenced"
        }
    }
}

fn count_end(shared: &Shared, deployment: &slipway_domain::deployment::Deployment) {
    if deployment.state.is_terminal() {
        shared.metrics.deployment_ended(deployment.state.as_str());
    }
}

/// Repeats a unit of work while the database is away and the lease may still be ours.
async fn persist<T, F>(brake: &Brake, mut work: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let mut wait = Duration::from_millis(100);
    loop {
        match work().await {
            Err(fault) if fault.kind() == Kind::Unavailable => {
                tracing::warn!(%fault, "the database is away; trying again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    reason = brake.pulled(Stop::Now) => {
                        if reason == Reason::LeaseLost {
                            return Err(Fault::new(Code::LeaseLost, "The lease is no longer held."));
                        }
                        tokio::time::sleep(wait).await;
                    }
                }
                wait = (wait * 2).min(Duration::from_secs(5));
            }
            other => return other,
        }
    }
}
