//! Tests of deployments: what was asked for, and the reports. Reports are masked before they come
//! here.

use chrono::{DateTime, Utc};
use slipway_domain::id::{DeploymentId, JobId, PlanId, TestRunId};
use slipway_domain::job::JobState;
use slipway_domain::test_report::{TestReport, TestRun, TestRunState};

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    id: TestRunId,
    deployment_id: DeploymentId,
    plan_id: Option<PlanId>,
    job_id: JobId,
    settings: String,
    requested_by: String,
    content: Option<String>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    job_state: Option<String>,
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::corrupt("test_reports", e))
}

impl TryFrom<Row> for TestRun {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let report: Option<TestReport> = row.content.as_deref().map(read).transpose()?;
        let state = match (&report, row.job_state.as_deref().and_then(JobState::parse)) {
            (Some(_), _) => TestRunState::Finished,
            (None, Some(JobState::Queued)) => TestRunState::Queued,
            (None, Some(JobState::Running)) => TestRunState::Running,
            (None, _) => TestRunState::Dropped,
        };
        Ok(Self {
            id: row.id,
            deployment_id: row.deployment_id,
            plan_id: row.plan_id,
            job_id: row.job_id,
            state,
            settings: read(&row.settings)?,
            requested_by: read(&row.requested_by)?,
            created_at: row.created_at,
            ended_at: row.ended_at,
            report,
        })
    }
}

macro_rules! selected {
    ($rest:literal) => {
        concat!(
            "select t.id, t.deployment_id, t.plan_id, t.job_id, t.settings, t.requested_by,
                 t.content, t.created_at, t.ended_at, j.state as job_state
             from test_reports t left join jobs j on j.id = t.job_id ",
            $rest
        )
    };
}

impl Tx {
    /// Notes tests that were asked for, and lets go of what is older than the newest `keep` of that
    /// deployment. What `run` says of its state is not looked at: the job knows.
    pub async fn insert_test_run(&mut self, run: &TestRun, keep: i64) -> Result<()> {
        let content = run.report.as_ref().map(to_json).transpose()?;
        sql!(execute self,
            "insert into test_reports (id, deployment_id, plan_id, job_id, settings, requested_by,
                 content, created_at, ended_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            run.id, run.deployment_id, run.plan_id, run.job_id, to_json(&run.settings)?,
            to_json(&run.requested_by)?, content.as_deref(), run.created_at,
            run.ended_at)?;
        sql!(execute self,
            "delete from test_reports where deployment_id = $1 and id not in (
                 select id from test_reports where deployment_id = $1 order by id desc limit $2)",
            run.deployment_id, keep)?;
        Ok(())
    }

    /// Tests of a deployment, newest first.
    pub async fn test_runs(&mut self, of: DeploymentId) -> Result<Vec<TestRun>> {
        sql!(all Row, self, selected!("where t.deployment_id = $1 order by t.id desc"), of)?
            .into_iter()
            .map(TestRun::try_from)
            .collect()
    }

    /// The tests that a job runs.
    pub async fn test_run_of(&mut self, job: JobId) -> Result<Option<TestRun>> {
        sql!(maybe Row, self, selected!("where t.job_id = $1"), job)?
            .map(TestRun::try_from)
            .transpose()
    }

    /// Keeps the report of tests, once; says whether it is the first. Call [`Tx::fence`] first in the
    /// same unit of work.
    pub async fn end_test_run(
        &mut self,
        id: TestRunId,
        report: &TestReport,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let content = to_json(report)?;
        let ended = sql!(execute self,
            "update test_reports set content = $2, ended_at = $3
             where id = $1 and content is null", id, content.as_str(), now)?;
        Ok(ended == 1)
    }
}
