//! Jobs as operators see them, and what operators do to them. How jobs are run is in
//! [`crate::job`].

use chrono::{DateTime, Utc};
use slipway_domain::id::{DeploymentId, JobId, StackId, WorkerId};
use slipway_domain::job::{JobInfo, JobState};
use slipway_domain::page::PageRequest;

use crate::db::{Tx, sql};
use crate::dialect::fill;
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

impl TryFrom<Row> for JobInfo {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id,
            state: JobState::parse(&row.state)
                .ok_or_else(|| Error::corrupt("jobs", format!("state {:?}", row.state)))?,
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
    /// Jobs, newest first; one more than asked for tells that there are more.
    pub async fn job_infos(&mut self, filter: &Filter, page: PageRequest) -> Result<Vec<JobInfo>> {
        sql!(all Row, self,
            select!("where (cast($1 as text) is null or queue = $1)
               and (cast($2 as text) is null or kind = $2)
               and (cast($3 as text) is null or state = $3)
               and (cast($4 as text) is null or project = $4)
               and ($5 or deployment_id = $6)
               and ($7 or id < $8)
             order by id desc limit $9"),
            filter.queue.as_deref(), filter.kind.as_deref(), filter.state.map(JobState::as_str),
            filter.project.as_deref(), filter.deployment_id.is_none(),
            filter.deployment_id.map(|id| id.0).unwrap_or_default(),
            page.after.is_none(), page.after.unwrap_or_default(), i64::from(page.limit) + 1)?
        .into_iter()
        .map(JobInfo::try_from)
        .collect()
    }

    /// One job.
    pub async fn job_info(&mut self, id: JobId) -> Result<Option<JobInfo>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(JobInfo::try_from).transpose()
    }

    /// One job, locked.
    pub async fn lock_job_info(&mut self, id: JobId) -> Result<Option<JobInfo>> {
        let text = fill(self, select!("where id = $1 {for_update}"));
        sql!(maybe Row, self, text, id)?.map(JobInfo::try_from).transpose()
    }

    /// Which jobs each worker holds.
    pub async fn running_jobs(&mut self) -> Result<Vec<(WorkerId, JobId)>> {
        sql!(
            all RunRow,
            self,
            "select worker_id, id from jobs where state = 'running' and worker_id is not null
             order by id"
        )
    }

    /// Puts a dead job back into its queue, with all its attempts. `false` when it is not dead.
    pub async fn revive_job(&mut self, id: JobId) -> Result<bool> {
        let text = fill(
            self,
            "update jobs set state = 'queued', attempt = 0, run_at_ms = {now_ms},
                 rung_at_ms = null, lease_until_ms = null, worker_id = null,
                 cancel_requested = $2, started_at = null, ended_at = null
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
