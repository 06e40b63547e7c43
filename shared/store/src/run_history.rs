//! What past runs of stacks took: the newest ones of each stack and kind.

use chrono::{DateTime, Utc};
use slipway_domain::id::{JobId, StackId};
use slipway_domain::job::{Job, JobKind};
use slipway_domain::run_history::{Measure, PastRun};

use crate::db::{Tx, sql};
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    job_id: JobId,
    stack_id: StackId,
    kind: String,
    at: DateTime<Utc>,
    wall_ms: i64,
    peak_rss_bytes: Option<i64>,
    resources: Option<i64>,
}

impl TryFrom<Row> for PastRun {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            job_id: row.job_id,
            stack_id: row.stack_id,
            kind: JobKind::parse(&row.kind)
                .ok_or_else(|| Error::corrupt("run_history", format!("kind {:?}", row.kind)))?,
            at: row.at,
            measure: Measure { wall_ms: row.wall_ms, peak_rss_bytes: row.peak_rss_bytes },
            resources: row.resources,
        })
    }
}

impl Tx {
    /// Keeps what the run of a job took, once, and lets go of what is older than the newest `keep`
    /// of that stack and kind.
    pub async fn add_past_run(
        &mut self,
        job: &Job,
        measure: Measure,
        keep: i64,
        now: DateTime<Utc>,
    ) -> Result<()> {
        sql!(execute self,
            "insert into run_history
                 (job_id, stack_id, kind, at, wall_ms, peak_rss_bytes, resources)
             values ($1, $2, $3, $4, $5, $6, (select state_resources from stacks where id = $2))
             on conflict (job_id) do nothing",
            job.id, job.stack_id, job.kind.as_str(), now, measure.wall_ms,
            measure.peak_rss_bytes)?;
        sql!(execute self,
            "delete from run_history where stack_id = $1 and kind = $2 and job_id not in (
                 select job_id from run_history where stack_id = $1 and kind = $2
                 order by at desc, job_id desc limit $3)",
            job.stack_id, job.kind.as_str(), keep)?;
        Ok(())
    }

    /// The runs of a stack that are kept, newest first.
    pub async fn past_runs(&mut self, of: StackId) -> Result<Vec<PastRun>> {
        sql!(all Row, self,
            "select job_id, stack_id, kind, at, wall_ms, peak_rss_bytes, resources
             from run_history where stack_id = $1 order by at desc, job_id desc", of)?
        .into_iter()
        .map(PastRun::try_from)
        .collect()
    }
}
