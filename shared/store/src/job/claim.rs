//! Claims: workers take jobs from queues.

use chrono::{DateTime, Utc};
use slipway_domain::id::WorkerId;
use slipway_domain::job::{Job, Lease, Queue};
use tokio::time::Instant;

use super::{Row, known_kinds};
use crate::db::{Store, Tx, sql};
use crate::dialect::{fill, lazily};
use crate::error::{Error, Result};

/// Jobs that were claimed.
#[derive(Debug)]
pub struct Claimed {
    /// The jobs, each with the right to it.
    pub jobs: Vec<(Job, Lease)>,
    /// Their leases began no earlier: a process that measures with its own clock counts from here.
    pub asked: Instant,
}

impl Store {
    /// Gives the first due jobs of a queue to a worker, `most` of them, for `lease_ms` of database
    /// time. Jobs whose concurrency key is held, and those that this version does not know, are
    /// passed over; so are applies of a stack of which nobody knows what a lost apply left behind.
    /// Empty when nothing is to be had, the queue is paused, or as many run as its cap allows;
    /// [`Error::Changed`] when another worker was faster with the same key: ask again, there may be
    /// other jobs.
    ///
    /// Of a queue whose jobs have concurrency keys, take one at a time: two with the same key
    /// cannot be given together.
    ///
    /// When PostgreSQL dies right afterwards, claims of plans may be forgotten, and the same job
    /// is then given with the same epoch once more, perhaps to the same worker.
    ///
    /// Somebody waits for the job, so there is one round trip: a claim is one statement, which
    /// needs no unit of work around it. Only where the queue has a cap there is more to do.
    pub async fn claim_jobs(
        &self,
        queue: Queue,
        worker: WorkerId,
        lease_ms: i64,
        most: i64,
        now: DateTime<Utc>,
    ) -> Result<Claimed> {
        let mut one = self.single().await?;
        // Not before: while the database was away, the wait for a connection was no part of the
        // lease.
        let asked = Instant::now();
        let jobs = one.claim(queue, worker, lease_ms, most, false, now).await?;
        let look_further = jobs.is_empty() && one.goes_by_a_cap(queue).await?;
        one.commit().await?;
        if !look_further {
            return Ok(Claimed { jobs, asked });
        }
        let mut tx = self.begin().await?;
        let asked = Instant::now();
        let most = most.min(tx.room(queue).await?);
        let jobs = tx.claim(queue, worker, lease_ms, most, true, now).await?;
        // Not by dropping it: whoever claims next would wait for the lock of the cap.
        tx.commit().await?;
        Ok(Claimed { jobs, asked })
    }

    /// One job of [`Store::claim_jobs`].
    pub async fn claim_job(
        &self,
        queue: Queue,
        worker: WorkerId,
        lease_ms: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<(Job, Lease)>> {
        Ok(self.claim_jobs(queue, worker, lease_ms, 1, now).await?.jobs.pop())
    }
}

impl Tx {
    /// Claims from a queue without a cap, or `within` the cap that was looked at, which is locked.
    async fn claim(
        &mut self,
        queue: Queue,
        worker: WorkerId,
        lease_ms: i64,
        most: i64,
        within: bool,
        now: DateTime<Utc>,
    ) -> Result<Vec<(Job, Lease)>> {
        if most <= 0 {
            return Ok(Vec::new());
        }
        // Nothing is done for a plan before the unit of work that begins it is durable, and the log
        // of the database is written in order, so that is never there without the claim. Whoever
        // waits for the plan need not wait for a disk twice. (A check for drift changes nothing: one
        // that is forgotten is made again.)
        let without_disk = queue == Queue::Plan;
        let text = known_kinds(fill(
            self,
            concat!(
                // Materialized: a plan that looks at the jobs again for every row would lock more
                // than it takes. What is locked there is queued, so nobody asks for that again.
                "with {lazily}first as materialized (
                 select j.id from jobs j
                 where $7 is not null{looked}
                   and j.queue = $1 and j.state = 'queued' and j.run_at_ms <= {now_ms}
                   and exists (select 1 from queues q where q.name = $1
                               and q.paused_at is null and ($6 or q.cap is null))
                   and {known_kinds}
                   and not exists (select 1 from jobs r where r.state = 'running'
                                   and r.concurrency_key = j.concurrency_key)
                   and (j.kind <> 'apply' or not exists (
                       select 1 from deployments d where d.stack_id = j.stack_id
                       and d.state in ('interrupted', 'recovering', 'needs_attention')
                       and d.id <> j.deployment_id))
                 order by j.priority desc, j.turn, j.id
                 limit $5 {skip_locked})
             update jobs set state = 'running', worker_id = $2, epoch = epoch + 1,
                 attempt = attempt + 1, lease_until_ms = {now_ms} + $3, started_at = $4,
                 ended_at = null
             where id {in}(select id from first){/in}
             returning ",
                columns!()
            ),
        ));
        // It names `$7` itself too: SQLite wants every value that is bound to be asked for.
        let text = lazily(text, self.is_postgres(), " where $7");
        let claimed = sql!(all Row, self, text,
            queue.as_str(), worker, lease_ms, now, most, within, without_disk);
        match claimed {
            Ok(rows) => rows
                .into_iter()
                .map(|row| {
                    let job = Job::try_from(row)?;
                    let lease = Lease { job_id: job.id, worker_id: worker, epoch: job.epoch };
                    Ok((job, lease))
                })
                .collect(),
            // Two workers reached for two jobs with one key at the same moment: the index decided.
            Err(error) if error.is_duplicate() => Err(Error::Changed),
            Err(error) => Err(error),
        }
    }
}
