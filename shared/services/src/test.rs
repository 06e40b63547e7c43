//! Tests of deployments: asking for them, running them as jobs beside a deployment's way, and keeping
//! their reports. A test job moves no deployment; what a gate makes of its report is decided where
//! gates are.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::{Actor, Principal, Scope};
use slipway_domain::deployment::Deployment;
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{DeploymentId, TestRunId};
use slipway_domain::job::{Doorbell, Job, JobKind, JobLimits, JobState, Lease, NewJob};
use slipway_domain::plan::{Diagnostic, ToolChoice};
use slipway_domain::port::driver::TestInput;
use slipway_domain::test_report::{TestReport, TestRun, TestRunState, TestSettings, Tested};
use slipway_store::Tx;
use slipway_store::deployment::Record;
use utoipa::ToSchema;

use crate::access::{self, lock_deployment, read_deployment};
use crate::change::{Change, audit, bell_of, next_job};
use crate::ending::{Ending, MAX_DELAY_MS};
use crate::execution::{Begun, locked, system};
use crate::queue::micros;
use crate::setting::usage;
use crate::{Ctx, gate, source};

/// Reports that are kept of each deployment.
const KEPT: i64 = 20;

/// The tests of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct TestRuns {
    /// Newest first; the newest 20 are kept.
    pub items: Vec<TestRun>,
}

/// Has a deployment's configuration tested. The deployment goes on meanwhile as it would. Asking for
/// what is under way already gives just that.
pub async fn request_tests(
    cx: &Ctx,
    who: &Principal,
    id: DeploymentId,
    settings: TestSettings,
) -> Result<TestRun, Fault> {
    settings.check("")?;
    let mut tx = cx.store.begin().await?;
    let record = lock_deployment(&mut tx, who, id, Scope::DeploymentsWrite).await?;
    if settings.allow_apply {
        // It makes real things.
        access::project(who, &record.deployment.stack.project, Scope::DeploymentsApply)?;
    }
    let under_way = tx.test_runs(id).await?.into_iter().find(|run| run.state.is_under_way());
    if let Some(run) = under_way {
        return if run.settings == settings {
            Ok(run)
        } else {
            Err(Fault::new(
                Code::Conflict,
                "Other tests of this deployment are under way. Wait until they have ended.",
            ))
        };
    }
    let (run, bell) = enqueue(cx, &mut tx, &record, settings, &who.actor).await?;
    let detail = serde_json::json!({"test_run_id": run.id, "allow_apply": run.settings.allow_apply,
        "checks": run.settings.checks.iter().map(|check| &check.name).collect::<Vec<_>>()});
    audit(cx, &mut tx, who, "deployment.test", id.to_string(), detail).await?;
    tx.commit().await?;
    cx.ring(&bell).await;
    cx.tell(id).await;
    Ok(run)
}

/// The tests of a deployment, with their reports, newest first.
pub async fn list(cx: &Ctx, who: &Principal, id: DeploymentId) -> Result<TestRuns, Fault> {
    let mut tx = cx.store.read().await?;
    read_deployment(&mut tx, who, id, Scope::DeploymentsRead).await?;
    Ok(TestRuns { items: tx.test_runs(id).await? })
}

/// Enqueues tests of a deployment, which the caller has locked; returns the bell to ring after the
/// commit.
pub(crate) async fn enqueue(
    cx: &Ctx,
    tx: &mut Tx,
    record: &Record,
    settings: TestSettings,
    by: &Actor,
) -> Result<(TestRun, Doorbell), Fault> {
    let d = &record.deployment;
    if d.state.is_terminal() {
        return Err(Fault::new(
            Code::IllegalTransition,
            format!("The deployment is {}, so it is not tested any more.", d.state),
        ));
    }
    if record.source_artifact.is_none() {
        return Err(Fault::new(
            Code::NotReady,
            "The deployment's source is not fetched yet. It is there when its plan is.",
        ));
    }
    let id = TestRunId::new(&*cx.mint);
    let job = NewJob {
        idempotency_key: format!("{}/test/{id}", d.id),
        limits: limits(cx.settings.test_limits, settings.time_limit_s),
        ..next_job(cx, record, JobKind::Test)
    };
    let run = TestRun {
        id,
        deployment_id: d.id,
        plan_id: d.plan.as_ref().map(|plan| plan.id),
        job_id: job.id,
        state: TestRunState::Queued,
        settings,
        requested_by: by.clone(),
        created_at: micros(cx.now()),
        ended_at: None,
        report: None,
    };
    tx.insert_jobs(std::slice::from_ref(&job), cx.now()).await?;
    tx.insert_test_run(&run, KEPT).await?;
    Ok((run, bell_of(&job)))
}

/// Tests may take what they ask for, and no more than the operator gives; what the operator gives for
/// stopping in order stays.
fn limits(most: JobLimits, asked_s: u32) -> JobLimits {
    let asked_s = i32::try_from(asked_s).unwrap_or(i32::MAX);
    let soft_limit_s = asked_s.min(most.soft_limit_s).max(1);
    let hard_limit_s = soft_limit_s.saturating_add(most.hard_limit_s - most.soft_limit_s);
    JobLimits { soft_limit_s, hard_limit_s, ..most }
}

/// Gathers what the driver needs to test. Tests of a deployment that has ended are dropped.
pub(crate) async fn begin(cx: &Ctx, job: &Job, lease: &Lease) -> Result<Begun, Fault> {
    let mut tx = cx.store.begin().await?;
    let record = locked(&mut tx, job, lease).await?;
    let d = &record.deployment;
    let run = tx.test_run_of(job.id).await?.filter(|run| run.report.is_none());
    let (false, Some(run), Some(artifact)) = (d.state.is_terminal(), run, record.source_artifact)
    else {
        let why = "there is nothing to test any more";
        tx.end_job(job.id, JobState::Cancelled, Some(why), cx.now()).await?;
        tx.commit().await?;
        return Ok(Begun::Nothing);
    };
    let filled = usage::fill_current(&mut tx, d).await?;
    tx.commit().await?;
    let redactor = filled.redactor(d);
    let input = TestInput {
        deployment_id: d.id,
        stack_id: d.stack_id,
        stack: d.stack.clone(),
        source: source::kept(cx, artifact).await?,
        root: record.source_root.clone(),
        variables: filled.variables,
        tool: d.options.tool.as_deref().and_then(ToolChoice::parse),
        settings: run.settings,
    };
    Ok(Begun::Test { input: Box::new(input), redactor })
}

/// Keeps what the tests found, and ends their job.
pub async fn tests_finished(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    tested: Tested,
) -> Result<Deployment, Fault> {
    let now = cx.now();
    let mut tx = cx.store.begin().await?;
    let record = locked(&mut tx, job, lease).await?;
    let report = TestReport::new(tested, job.started_at.unwrap_or(now), now);
    let (record, bell) = conclude(cx, &mut tx, job, record, report).await?;
    tx.end_job(job.id, JobState::Succeeded, None, now).await?;
    tx.commit().await?;
    if let Some(bell) = bell {
        cx.ring(&bell).await;
    }
    cx.tell(job.deployment_id).await;
    Ok(record.deployment)
}

/// Settles a test job that did not end well, of a deployment that has not ended. It is tried again
/// where that does no harm; otherwise it leaves a report. The deployment stays where it is.
pub(crate) async fn settle(
    cx: &Ctx,
    tx: &mut Tx,
    job: &Job,
    mut record: Record,
    ending: Ending,
) -> Result<(Record, Option<Doorbell>), Fault> {
    let now = cx.now();
    let Some(run) = tx.test_run_of(job.id).await?.filter(|run| run.report.is_none()) else {
        let why = "nobody waits for these tests any more";
        tx.end_job(job.id, JobState::Cancelled, Some(why), now).await?;
        return Ok((record, None));
    };
    let stops = record.deployment.cancel_requested_at.is_some();
    let may_repeat = job.attempt < job.max_attempts && !stops;
    let (summary, diagnostics) = match ending {
        Ending::HandBack if !stops => {
            tx.requeue_job(job.id, 0, false, None).await?;
            let bell = Doorbell::of(job);
            return Ok((record, Some(bell)));
        }
        Ending::Retry { error, delay_ms } if may_repeat => {
            again(cx, tx, job, &mut record, error, delay_ms).await?;
            return Ok((record, None));
        }
        Ending::Lost { summary } | Ending::Stale { summary }
            if may_repeat && !run.settings.allow_apply =>
        {
            again(cx, tx, job, &mut record, summary, 0).await?;
            return Ok((record, None));
        }
        Ending::Failed { summary, diagnostics } => (summary, diagnostics),
        Ending::Retry { error: summary, .. } if stops => (summary, Vec::new()),
        Ending::Retry { error, .. } => {
            (format!("{error} (attempt {} of {})", job.attempt, job.max_attempts), Vec::new())
        }
        Ending::Lost { summary } if run.settings.allow_apply => {
            let hint = "real things that they had made may still be there; no state knows them";
            (format!("{summary}; {hint}"), Vec::new())
        }
        Ending::Stopped { summary } | Ending::Lost { summary } | Ending::Stale { summary } => {
            (summary, Vec::new())
        }
        Ending::Cancelled | Ending::HandBack => ("stopped on request".to_owned(), Vec::new()),
    };
    let state = if stops { JobState::Cancelled } else { JobState::Failed };
    tx.end_job(job.id, state, Some(&summary), now).await?;
    let report = died(job, &summary, diagnostics, now);
    conclude(cx, tx, job, record, report).await
}

fn died(job: &Job, why: &str, said: Vec<Diagnostic>, now: DateTime<Utc>) -> TestReport {
    TestReport::died(why, said, job.started_at.unwrap_or(now), now)
}

/// Puts the job back into its queue.
async fn again(
    cx: &Ctx,
    tx: &mut Tx,
    job: &Job,
    record: &mut Record,
    error: String,
    delay_ms: i64,
) -> Result<(), Fault> {
    let delay_ms = delay_ms.clamp(0, MAX_DELAY_MS);
    tx.requeue_job(job.id, delay_ms, true, Some(&error)).await?;
    let who = system();
    let mut change = Change::by(cx, &who, record);
    let run_at = change.now + chrono::Duration::milliseconds(delay_ms);
    change.event(EventBody::JobRetried { attempt: job.attempt, error, run_at });
    change.save(tx).await
}

/// Keeps a report, tells of it and lets the deployment go on; returns the bell to ring after the
/// commit. A deployment that has ended is told nothing more.
async fn conclude(
    cx: &Ctx,
    tx: &mut Tx,
    job: &Job,
    mut record: Record,
    report: TestReport,
) -> Result<(Record, Option<Doorbell>), Fault> {
    let Some(run) = tx.test_run_of(job.id).await? else { return Ok((record, None)) };
    let first = tx.end_test_run(run.id, &report, cx.now()).await?;
    if !first || record.deployment.state.is_terminal() {
        return Ok((record, None));
    }
    let who = system();
    let mut change = Change::by(cx, &who, &mut record);
    let bell = after_tests(&mut change, tx, &run, &report).await?;
    drop(change);
    Ok((record, bell))
}

/// What follows from a report, in the unit of work that keeps it: the event, and what a gate that
/// waited for it makes of it. Returns the bell to ring
/// after the commit, of a job that follows.
pub(crate) async fn after_tests(
    change: &mut Change<'_>,
    tx: &mut Tx,
    run: &TestRun,
    report: &TestReport,
) -> Result<Option<Doorbell>, Fault> {
    change.event(EventBody::Tests {
        test_run_id: run.id,
        status: report.status,
        summary: report.summary.clone(),
        counts: report.counts,
    });
    change.save(tx).await?;
    gate::arrived(change, tx, &run.settings, report).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_take_what_they_ask_for_within_what_the_operator_gives() {
        let most = JobLimits { max_attempts: 2, soft_limit_s: 900, hard_limit_s: 1200 };
        let limited = |asked| {
            let JobLimits { soft_limit_s, hard_limit_s, .. } = limits(most, asked);
            (soft_limit_s, hard_limit_s)
        };
        assert_eq!(limited(60), (60, 360));
        assert_eq!(limited(7200), (900, 1200));
        assert_eq!(limited(u32::MAX), (900, 1200));
    }
}
