//! Jobs: claims, leases, heartbeats, and what becomes of a job whose worker is gone.
//!
//! All scheduling compares the database's clock with itself; no process clock takes part.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use slipway_domain::id::{DeploymentId, JobId, StackId, WorkerId};
use slipway_domain::job::{Doorbell, Job, JobKind, JobState, Lease, NewJob, Queue};
use sqlx::AssertSqlSafe;

use crate::db::{Conn, Tx, sql};
use crate::dialect::{fill, filled, without_nul};
use crate::error::{Error, Result};
use crate::rows::insert_rows;

#[derive(sqlx::FromRow)]
struct Row {
    id: JobId,
    kind: String,
    queue: String,
    state: String,
    deployment_id: DeploymentId,
    stack_id: StackId,
    attempt: i32,
    max_attempts: i32,
    run_at_ms: i64,
    concurrency_key: Option<String>,
    epoch: i64,
    cancel_requested: bool,
    soft_limit_s: i32,
    hard_limit_s: i32,
    traceparent: Option<String>,
    last_error: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Job {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        fn word<T>(column: &str, parsed: Option<T>, text: &str) -> Result<T> {
            parsed.ok_or_else(|| Error::corrupt("jobs", format!("{column} {text:?}")))
        }
        Ok(Self {
            id: row.id,
            kind: word("kind", JobKind::parse(&row.kind), &row.kind)?,
            queue: word("queue", Queue::parse(&row.queue), &row.queue)?,
            state: word("state", JobState::parse(&row.state), &row.state)?,
            deployment_id: row.deployment_id,
            stack_id: row.stack_id,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            run_at: DateTime::from_timestamp_millis(row.run_at_ms).unwrap_or_default(),
            concurrency_key: row.concurrency_key,
            epoch: row.epoch,
            cancel_requested: row.cancel_requested,
            soft_limit_s: row.soft_limit_s,
            hard_limit_s: row.hard_limit_s,
            traceparent: row.traceparent,
            last_error: row.last_error,
            created_at: row.created_at,
            started_at: row.started_at,
        })
    }
}

macro_rules! columns {
    () => {
        "id, kind, queue, state, deployment_id, stack_id, attempt, max_attempts, run_at_ms, \
         concurrency_key, epoch, cancel_requested, soft_limit_s, hard_limit_s, traceparent, \
         last_error, created_at, started_at"
    };
}

mod claim;

pub use claim::Claimed;

type JobIdRow = (JobId,);
type OwedRow = (JobId, bool);
type TurnRow = (i64, i64);
type BeatRow = (JobId, i64, bool, bool);
type BellRow = (JobId, String, Option<String>);
type ExpiredRow = (JobId, DeploymentId);
type PlaceRow = (JobId, String, i32, i64, Option<String>);

/// What a heartbeat learned of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// The job.
    pub job_id: JobId,
    /// The epoch that was extended.
    pub epoch: i64,
    /// Whether somebody asked to stop it.
    pub cancel_requested: bool,
    /// Whether somebody asked to kill it.
    pub cancel_forced: bool,
}

/// Places are not counted further than this: whoever is behind so many knows enough, and asking
/// must not cost more the longer the queue is.
pub const MAX_PLACE: i64 = 1000;

/// Why a job that is queued does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlace {
    /// The job.
    pub job_id: JobId,
    /// Its queue.
    pub queue: Queue,
    /// Jobs of the queue that come first, plus one; [`MAX_PLACE`] at most.
    pub position: i64,
    /// The deployment whose running job holds the same concurrency key, or whose apply was lost
    /// and waits for a person.
    pub held_by: Option<DeploymentId>,
    /// Queued jobs with the same concurrency key that come first, plus one; [`MAX_PLACE`] at most.
    pub key_position: i64,
}

/// Fills `{known_kinds}`: the kinds of job (of the table `j`), and their versions, that this
/// process knows. Others are left to those who know them.
fn known_kinds(text: AssertSqlSafe<String>) -> AssertSqlSafe<String> {
    let known: Vec<_> = JobKind::ALL
        .iter()
        .map(|kind| format!("(j.kind = '{kind}' and j.version <= {})", kind.version()))
        .collect();
    AssertSqlSafe(text.0.replace("{known_kinds}", &format!("({})", known.join(" or "))))
}

impl Tx {
    /// Enqueues jobs; returns how many: one whose idempotency key was enqueued before is left out.
    /// A row is its own outbox entry. One that is due at once counts as rung: the caller rings as
    /// soon as it has committed, and should it die before that, the relay rings a little later.
    ///
    /// A job's turn comes after the project's other queued jobs, and not before what is next in
    /// the queue: projects alternate however much one of them enqueues at once (start-time fair
    /// queueing, with every job taken for equally long).
    pub async fn insert_jobs(&mut self, jobs: &[NewJob], now: DateTime<Utc>) -> Result<u64> {
        let mut next: BTreeMap<(Queue, &str, i32), i64> = BTreeMap::new();
        let mut rows = Vec::with_capacity(jobs.len());
        let mut now_ms = 0;
        for job in jobs {
            let whose = (job.kind.queue(), job.project.as_str(), job.priority.rank());
            let turn = if let Some(turn) = next.get(&whose) {
                *turn
            } else {
                let (turn, asked_ms) = self.next_turn(whose).await?;
                now_ms = asked_ms;
                turn
            };
            next.insert(whose, turn + 1);
            rows.push((job, turn));
        }
        Ok(insert_rows!(self,
            "jobs (id, kind, version, queue, state, deployment_id, stack_id, project, priority,
                 turn, attempt, max_attempts, run_at_ms, rung_at_ms, concurrency_key,
                 idempotency_key, epoch, cancel_requested, soft_limit_s, hard_limit_s, traceparent, created_at)",
            "on conflict (idempotency_key) do nothing",
            rows.as_slice(), |row|
            "uuid": row.0.id.0, "text": row.0.kind.as_str(), "integer": row.0.kind.version(),
            "text": row.0.kind.queue().as_str(), "text": JobState::Queued.as_str(),
            "uuid": row.0.deployment_id.0, "uuid": row.0.stack_id.0,
            "text": row.0.project.as_str(), "integer": row.0.priority.rank(), "bigint": row.1,
            "integer": 0_i32, "integer": row.0.limits.max_attempts,
            "bigint": now_ms + i64::from(row.0.delay_s) * 1000,
            "bigint": (row.0.delay_s == 0).then_some(now_ms),
            "text": row.0.concurrency_key.as_deref(), "text": row.0.idempotency_key.as_str(),
            "bigint": 0_i64, "boolean": false, "integer": row.0.limits.soft_limit_s,
            "integer": row.0.limits.hard_limit_s, "text": row.0.traceparent.as_deref(),
            "timestamptz": now))
    }

    /// The turn of a project's next job in a queue, and the database's time in milliseconds.
    async fn next_turn(
        &mut self,
        (queue, project, rank): (Queue, &str, i32),
    ) -> Result<(i64, i64)> {
        let text = fill(
            self,
            // The first of an index each; an aggregate over a condition reads the whole queue.
            "select coalesce(max(t.next), 0), {now_ms} from (
                 select * from (select turn + 1 as next from jobs where state = 'queued'
                     and queue = $1 and project = $2 and priority = $3
                     order by jobs.turn desc limit 1) mine
                 union all
                 select * from (select turn from jobs where state = 'queued'
                     and queue = $1 and priority = $3 and run_at_ms <= {now_ms}
                     order by turn, id limit 1) first) t",
        );
        sql!(maybe TurnRow, self, text, queue.as_str(), project, rank)?
            .ok_or_else(|| Error::corrupt("jobs", "an aggregate gave no row"))
    }

    /// A job.
    pub async fn job(&mut self, id: JobId) -> Result<Option<Job>> {
        sql!(maybe Row, self, concat!("select ", columns!(), " from jobs where id = $1"), id)?
            .map(Job::try_from)
            .transpose()
    }

    /// Jobs of a deployment, oldest first.
    pub async fn jobs_of(&mut self, deployment: DeploymentId) -> Result<Vec<Job>> {
        sql!(all Row, self,
            concat!("select ", columns!(), " from jobs where deployment_id = $1 order by id"),
            deployment)?
        .into_iter()
        .map(Job::try_from)
        .collect()
    }

    /// Extends the leases that `worker` still holds on `running`, the jobs that it really runs: a
    /// job that it claimed and let fall must run out, or nobody would ever close it. A job that is
    /// missing from the answer, or there with another epoch, is lost.
    pub async fn beat_jobs(
        &mut self,
        worker: WorkerId,
        lease_ms: i64,
        running: &[JobId],
    ) -> Result<Vec<Beat>> {
        if running.is_empty() {
            return Ok(Vec::new());
        }
        let text = filled(self, "update jobs set lease_until_ms = {now_ms} + ");
        let alive = filled(
            self,
            "
             where state = 'running' and lease_until_ms > {now_ms} and worker_id = ",
        );
        macro_rules! beat {
            ($conn:expr) => {{
                let mut query = sqlx::QueryBuilder::new(text);
                query.push_bind(lease_ms).push(alive).push_bind(worker).push(" and id in (");
                let mut ids = query.separated(", ");
                for id in running {
                    ids.push_bind(*id);
                }
                query.push(") returning id, epoch, cancel_requested, cancel_forced");
                query.build_query_as::<BeatRow>().fetch_all($conn).await?
            }};
        }
        let rows = match self.conn() {
            Conn::Sqlite(conn) => beat!(conn),
            Conn::Postgres(conn) => beat!(conn),
        };
        Ok(rows
            .into_iter()
            .map(|(job_id, epoch, cancel_requested, cancel_forced)| Beat {
                job_id,
                epoch,
                cancel_requested,
                cancel_forced,
            })
            .collect())
    }

    /// Refuses ([`Error::LeaseLost`]) a writer whose lease is not the current, living one; and
    /// keeps the job's row locked, so that it stays so until the unit of work ends.
    pub async fn fence(&mut self, lease: &Lease) -> Result<()> {
        let text = fill(
            self,
            "select epoch from jobs where id = $1 and worker_id = $2 and epoch = $3
               and state = 'running' and lease_until_ms > {now_ms} {for_update}",
        );
        match sql!(scalar_maybe i64, self, text, lease.job_id, lease.worker_id, lease.epoch)? {
            Some(_) => Ok(()),
            None => Err(Error::LeaseLost),
        }
    }

    /// Ends a running job. Call [`Tx::fence`] first in the same unit of work.
    pub async fn end_job(
        &mut self,
        id: JobId,
        state: JobState,
        error: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        sql!(execute self,
            "update jobs set state = $2, last_error = $3, ended_at = $4, lease_until_ms = null
             where id = $1", id, state.as_str(), error.map(without_nul), now)?;
        Ok(())
    }

    /// Puts a running job back into its queue, to run `delay_ms` from now. `count_attempt` is off
    /// for a job that is handed back untouched.
    pub async fn requeue_job(
        &mut self,
        id: JobId,
        delay_ms: i64,
        count_attempt: bool,
        error: Option<&str>,
    ) -> Result<()> {
        let text = fill(
            self,
            "update jobs set state = 'queued', run_at_ms = {now_ms} + $2, rung_at_ms = null,
                 lease_until_ms = null, worker_id = null, attempt = attempt - $3, last_error = $4
             where id = $1",
        );
        let error = error.map(without_nul);
        sql!(execute self, text, id, delay_ms, i32::from(!count_attempt), error)?;
        Ok(())
    }

    // Of the jobs of one deployment it is asked `state || ''`: for `state` alone PostgreSQL may read an
    // index of all that is in it, of which it expects hardly any.

    /// Asks the jobs of a deployment to stop: queued ones end as `cancelled` at once, running ones
    /// learn of it with their next heartbeat. Returns how many are running.
    pub async fn cancel_jobs(&mut self, of: DeploymentId, now: DateTime<Utc>) -> Result<u64> {
        sql!(execute self,
            "update jobs set state = 'cancelled', ended_at = $2
             where deployment_id = $1 and state || '' = 'queued'", of, now)?;
        sql!(execute self,
            "update jobs set cancel_requested = $2
             where deployment_id = $1 and state || '' = 'running'",
            of, true)
    }

    /// Ends the apply of a deployment that has not begun to apply anything. A worker that has taken
    /// it loses its lease with that, and finds nothing to do. Returns how many were ended.
    pub async fn withdraw_apply(
        &mut self,
        of: DeploymentId,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<u64> {
        sql!(execute self,
            "update jobs set state = 'cancelled', last_error = $2, ended_at = $3,
                 lease_until_ms = null
             where deployment_id = $1 and kind = 'apply' and state || '' in ('queued', 'running')",
            of, why, now)
    }

    /// Makes the queued apply of a deployment due now, whatever it waited for.
    pub async fn hasten_apply(&mut self, of: DeploymentId) -> Result<Option<Doorbell>> {
        let text = fill(
            self,
            "update jobs set run_at_ms = {now_ms}, rung_at_ms = {now_ms}
             where deployment_id = $1 and kind = 'apply' and state || '' = 'queued'
               and run_at_ms > {now_ms}
             returning id, queue, traceparent",
        );
        let row = sql!(maybe BellRow, self, text, of)?;
        Ok(row.and_then(|(job_id, queue, traceparent)| {
            Some(Doorbell::new(job_id, Queue::parse(&queue)?, traceparent))
        }))
    }

    /// Has the running jobs of a deployment killed: they learn of it with their next heartbeat.
    pub async fn force_jobs(&mut self, of: DeploymentId) -> Result<()> {
        sql!(execute self,
            "update jobs set cancel_forced = $2
             where deployment_id = $1 and state || '' = 'running'",
            of, true)?;
        Ok(())
    }

    /// Whether somebody asked this job to stop.
    pub async fn cancel_requested(&mut self, id: JobId) -> Result<bool> {
        let asked =
            sql!(scalar_maybe bool, self, "select cancel_requested from jobs where id = $1", id)?;
        Ok(asked.unwrap_or_default())
    }

    /// Jobs whose lease has run out, and their deployments; longest ago first, at most `limit`.
    /// Those that this version does not know are left to those who know them.
    pub async fn expired_jobs(&mut self, limit: i64) -> Result<Vec<(JobId, DeploymentId)>> {
        let text = known_kinds(fill(
            self,
            "select j.id, j.deployment_id from jobs j
             where j.state = 'running' and j.lease_until_ms <= {now_ms} and {known_kinds}
             order by j.lease_until_ms, j.id limit $1",
        ));
        sql!(all ExpiredRow, self, text, limit)
    }

    /// A job whose lease has run out, locked; the caller decides what becomes of it. `None` when
    /// its lease is alive, when it has ended, or when somebody else has it locked right now.
    pub async fn lock_expired_job(&mut self, id: JobId) -> Result<Option<Job>> {
        let text = fill(
            self,
            concat!(
                "select ",
                columns!(),
                " from jobs
             where id = $1 and state = 'running' and lease_until_ms <= {now_ms} {skip_locked}"
            ),
        );
        sql!(maybe Row, self, text, id)?.map(Job::try_from).transpose()
    }

    /// The bell of the first queued job with this concurrency key.
    pub async fn waiting_for_key(&mut self, key: &str) -> Result<Option<Doorbell>> {
        let row = sql!(
            maybe BellRow,
            self,
            "select id, queue, traceparent from jobs
             where concurrency_key = $1 and state = 'queued' order by priority desc, turn, id limit 1",
            key
        )?;
        Ok(row.and_then(|(job_id, queue, traceparent)| {
            Some(Doorbell::new(job_id, Queue::parse(&queue)?, traceparent))
        }))
    }

    /// Doorbells that are owed: due jobs not rung for `again_after_ms`, and marks them as rung.
    /// Only the first `limit` of every queue are looked at: whoever is further back has enough
    /// before it to keep workers awake, and its turn comes.
    pub async fn take_doorbells(
        &mut self,
        again_after_ms: i64,
        limit: i64,
    ) -> Result<Vec<Doorbell>> {
        let mut owed = Vec::new();
        for queue in Queue::ALL {
            let text = fill(
                self,
                "select id, rung_at_ms is null or rung_at_ms <= {now_ms} - $3 from jobs
                 where queue = $1 and state = 'queued' and run_at_ms <= {now_ms}
                 order by priority desc, turn, id limit $2",
            );
            let first = sql!(all OwedRow, self, text, queue.as_str(), limit, again_after_ms)?;
            owed.extend(first.into_iter().filter(|(_, owed)| *owed).map(|(id, _)| id));
        }
        if owed.is_empty() {
            return Ok(Vec::new());
        }
        let mark = filled(
            self,
            // Not `state = 'queued'`, for which PostgreSQL may read an index of all that is.
            "update jobs set rung_at_ms = {now_ms} where id {in}(
                 select id from jobs where state || '' = 'queued' and id in (",
        );
        let rest = filled(self, ") {skip_locked}){/in} returning id, queue, traceparent");
        macro_rules! mark {
            ($conn:expr) => {{
                let mut query = sqlx::QueryBuilder::new(mark);
                let mut ids = query.separated(", ");
                for id in &owed {
                    ids.push_bind(*id);
                }
                query.push(rest);
                query.build_query_as::<BellRow>().persistent(false).fetch_all($conn).await?
            }};
        }
        let rows = match self.conn() {
            Conn::Sqlite(conn) => mark!(conn),
            Conn::Postgres(conn) => mark!(conn),
        };
        Ok(rows
            .into_iter()
            .filter_map(|(job_id, queue, traceparent)| {
                Some(Doorbell::new(job_id, Queue::parse(&queue)?, traceparent))
            })
            .collect())
    }

    /// When the next queued job is due, in milliseconds from now (0 when one is due already);
    /// `None` when none is queued.
    pub async fn next_due_ms(&mut self) -> Result<Option<i64>> {
        let text = fill(self, "select min(run_at_ms) - {now_ms} from jobs where state = 'queued'");
        let due = sql!(scalar Option<i64>, self, text)?;
        Ok(due.map(|ms| ms.max(0)))
    }

    /// The queued jobs of deployments, in no order; those that are beside their way (tests, checks for
    /// drift) are left out.
    pub async fn queued_jobs(&mut self, of: &[DeploymentId]) -> Result<Vec<(DeploymentId, JobId)>> {
        // A deployment has few jobs, so all of them are read: with a state in the text, PostgreSQL
        // may think that an index of everything that is queued is the better way in.
        let rows: Vec<(DeploymentId, JobId, String, String)> = match self.conn() {
            Conn::Sqlite(conn) => {
                let mut query = sqlx::QueryBuilder::new(
                    "select deployment_id, id, state, kind from jobs where deployment_id in (",
                );
                let mut list = query.separated(", ");
                for id in of {
                    list.push_bind(*id);
                }
                query.push(")");
                query.build_query_as().persistent(false).fetch_all(conn).await?
            }
            Conn::Postgres(conn) => {
                let of: Vec<_> = of.iter().map(|id| id.0).collect();
                sqlx::query_as(
                    "select deployment_id, id, state, kind from jobs
                     where deployment_id = any($1)",
                )
                .bind(of)
                .fetch_all(conn)
                .await?
            }
        };
        let queued = |(of, id, state, kind): (_, _, String, String)| {
            (state == JobState::Queued.as_str()
                && !JobKind::parse(&kind).is_some_and(JobKind::is_beside))
            .then_some((of, id))
        };
        Ok(rows.into_iter().filter_map(queued).collect())
    }

    /// The queued jobs of a queue in the order in which they will be claimed, the first `limit` of
    /// them.
    pub async fn line(&mut self, queue: Queue, limit: i64) -> Result<Vec<JobId>> {
        let rows = sql!(all JobIdRow, self,
            "select id from jobs where queue = $1 and state = 'queued'
             order by priority desc, turn, id limit $2", queue.as_str(), limit)?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Where the queued job of a deployment stands; `None` when it has none. Tests and
    /// checks for drift are beside its way.
    pub async fn queue_place(&mut self, of: DeploymentId) -> Result<Option<QueuePlace>> {
        let job = sql!(
            maybe PlaceRow,
            self,
            "select id, queue, priority, turn, concurrency_key from jobs
             where deployment_id = $1 and state || '' = 'queued' and kind not in ('test', 'drift')
             order by id limit 1",
            of
        )?;
        let Some((job_id, queue, priority, turn, key)) = job else { return Ok(None) };
        let position: i64 = sql!(scalar i64, self,
            // Each part is a stretch of an index; with `or` all that comes later would be read, too.
            "select cast(count(*) as bigint) from (
                 select * from (select 1 from jobs where queue = $1 and state = 'queued'
                     and priority > $2 limit $5) higher
                 union all
                 select * from (select 1 from jobs where queue = $1 and state = 'queued'
                     and priority = $2 and (turn, id) <= ($3, $4) limit $5) before) first",
            queue.as_str(), priority, turn, job_id, MAX_PLACE)?;
        let position = position.min(MAX_PLACE);
        let mut held_by = sql!(scalar_maybe DeploymentId, self,
            "select deployment_id from jobs where state = 'running' and concurrency_key = $1",
            key.as_deref())?;
        if held_by.is_none() && key.is_some() {
            held_by = sql!(scalar_maybe DeploymentId, self,
                "select d.id from deployments d join deployments me on me.stack_id = d.stack_id
                 where me.id = $1 and d.id <> $1
                   and d.state in ('interrupted', 'recovering', 'needs_attention')
                 order by d.id limit 1", of)?;
        }
        let key_position: i64 = match key.as_deref() {
            None => 1,
            Some(key) => sql!(scalar i64, self,
                "select cast(count(*) as bigint) from (
                     select 1 from jobs where state = 'queued' and concurrency_key = $1
                       and (priority > $2
                            or (priority = $2 and (turn < $3 or (turn = $3 and id <= $4))))
                     limit $5) first",
                key, priority, turn, job_id, MAX_PLACE)?,
        };
        let queue = Queue::parse(&queue)
            .ok_or_else(|| Error::corrupt("jobs", format!("queue {queue:?}")))?;
        Ok(Some(QueuePlace { job_id, queue, position, held_by, key_position }))
    }
}
