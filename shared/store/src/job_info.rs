//! Jobs as operators see them, and what operators do to them. How jobs are run is in
//! [`crate::job`].

use chrono::{DateTime, Utc};
use slipway_domain::access::Reach;
use slipway_domain::id::{DeploymentId, JobId, StackId, WorkerId};
use slipway_domain::job::{JobInfo, JobState};
use slipway_domain::page::PageRequest;

use crate::db::{Tx, sql};
use crate::dialect::{fill, only, reached, within};
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    id: JobId,
    kind: String,
    queue: String,
    state: String,
    deployment_id: DeploymentId,
    stack_id: StackId,
    project: String,
    attempt: i32,
    max_attempts: i32,
    run_at_ms: i64,
    concurrency_key: Option<String>,
    worker_id: Option<WorkerId>,
    epoch: i64,
    lease_until_ms: Option<i64>,
    cancel_requested: bool,
    soft_limit_s: i32,
    hard_limit_s: i32,
    last_error: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

fn known_state(text: &str) -> Result<JobState> {
    JobState::parse(text).ok_or_else(|| Error::corrupt("jobs", format!("state {text:?}")))
}

impl TryFrom<Row> for JobInfo {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id,
            state: known_state(&row.state)?,
            kind: row.kind,
            queue: row.queue,
            deployment_id: row.deployment_id,
            stack_id: row.stack_id,
            project: row.project,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            run_at: DateTime::from_timestamp_millis(row.run_at_ms).unwrap_or_default(),
            concurrency_key: row.concurrency_key,
            worker_id: row.worker_id,
            epoch: row.epoch,
            lease_until: row.lease_until_ms.and_then(DateTime::from_timestamp_millis),
            cancel_requested: row.cancel_requested,
            soft_limit_s: row.soft_limit_s,
            hard_limit_s: row.hard_limit_s,
            last_error: row.last_error,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, kind, queue, state, deployment_id, stack_id, project, attempt, ",
            "max_attempts, run_at_ms, concurrency_key, worker_id, epoch, lease_until_ms, ",
            "cancel_requested, soft_limit_s, hard_limit_s, last_error, created_at, started_at, ",
            "ended_at from jobs ",
            $rest
        )
    };
}

/// Which jobs; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only for this deployment.
    pub deployment_id: Option<DeploymentId>,
    /// Only for stacks of this project.
    pub project: Option<String>,
}

type RunRow = (WorkerId, JobId);

impl Tx {
    /// Jobs within `reach`, newest first; one more than asked for tells that there are more.
    pub async fn job_infos(
        &mut self,
        filter: &Filter,
        reach: &Reach,
        page: PageRequest,
    ) -> Result<Vec<JobInfo>> {
        let text = only(
            select!(
                "where {queue = $1} and {kind = $2} and {state = $3} and {project = $4}
               and {deployment_id = $5} and {id < $6} and {within project $7}
               order by id desc limit $8"
            ),
            &[
                ("queue = $1", filter.queue.is_some()),
                ("kind = $2", filter.kind.is_some()),
                ("state = $3", filter.state.is_some()),
                ("project = $4", filter.project.is_some()),
                ("deployment_id = $5", filter.deployment_id.is_some()),
                ("id < $6", page.after.is_some()),
            ],
        );
        let text = within(self, text, reach);
        sql!(all Row, self, text,
            filter.queue.as_deref(), filter.kind.as_deref(), filter.state.map(JobState::as_str),
            filter.project.as_deref(), filter.deployment_id.map(|id| id.0).unwrap_or_default(),
            page.after.unwrap_or_default(), reached(reach), i64::from(page.limit) + 1)?
        .into_iter()
        .map(JobInfo::try_from)
        .collect()
    }

    /// One job.
    pub async fn job_info(&mut self, id: JobId) -> Result<Option<JobInfo>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(JobInfo::try_from).transpose()
    }

    /// Where a job is; `None` when it is not there, or not yet.
    pub async fn job_state(&mut self, id: JobId) -> Result<Option<JobState>> {
        let state: Option<String> =
            sql!(scalar_maybe String, self, "select state from jobs where id = $1", id)?;
        state.as_deref().map(known_state).transpose()
    }

    /// One job, locked.
    pub async fn lock_job_info(&mut self, id: JobId) -> Result<Option<JobInfo>> {
        let text = fill(self, select!("where id = $1 {for_update}"));
        sql!(maybe Row, self, text, id)?.map(JobInfo::try_from).transpose()
    }

    /// Which jobs within `reach` each worker holds.
    pub async fn running_jobs(&mut self, reach: &Reach) -> Result<Vec<(WorkerId, JobId)>> {
        let text = fill(
            self,
            "select worker_id, id from jobs
             where state = 'running' and worker_id is not null and {within project $1} order by id",
        );
        let text = within(self, text, reach);
        sql!(all RunRow, self, text, reached(reach))
    }

    /// Puts a dead job back into its queue, with all its attempts. `false` when it is not dead.
    pub async fn revive_job(&mut self, id: JobId) -> Result<bool> {
        let text = fill(
            self,
            "update jobs set state = 'queued', attempt = 0, run_at_ms = {now_ms},
                 rung_at_ms = null, lease_until_ms = null, worker_id = null,
                 cancel_requested = $2, cancel_forced = $2, started_at = null, ended_at = null
             where id = $1 and state = 'dead'",
        );
        Ok(sql!(execute self, text, id, false)? == 1)
    }

    /// Removes a job that has ended. `false` when it has not, or is not there.
    pub async fn delete_job(&mut self, id: JobId) -> Result<bool> {
        let deleted = sql!(execute self,
            "delete from jobs where id = $1 and state not in ('queued', 'running')", id)?;
        Ok(deleted == 1)
    }
}
