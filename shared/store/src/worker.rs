//! Worker processes that are, or were lately, alive.

use chrono::{DateTime, Utc};
use slipway_domain::id::WorkerId;
use slipway_domain::worker::{Worker, parse_slots};

use crate::db::{Tx, sql};
use crate::dialect::fill;
use crate::error::Result;

/// A worker process as it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorker {
    /// Its id, new with every start.
    pub id: WorkerId,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: i64,
    /// Slipway's version.
    pub version: String,
    /// Queues and slots, as `plan=4,apply=2`.
    pub queues: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
}

type WorkerRow = (WorkerId, String, i64, String, String, bool, DateTime<Utc>, i64, i64);

impl Tx {
    /// Records a worker process.
    pub async fn insert_worker(&mut self, worker: &NewWorker) -> Result<()> {
        let text = fill(self,
            "insert into workers (id, host, pid, version, queues, draining, started_at, heartbeat_ms)
             values ($1, $2, $3, $4, $5, $6, $7, {now_ms})");
        sql!(execute self, text, worker.id, worker.host.as_str(), worker.pid,
            worker.version.as_str(), worker.queues.as_str(), false, worker.started_at)?;
        Ok(())
    }

    /// Says that a worker is alive, and whether it is draining.
    pub async fn beat_worker(&mut self, id: WorkerId, draining: bool) -> Result<()> {
        let text =
            fill(self, "update workers set heartbeat_ms = {now_ms}, draining = $2 where id = $1");
        sql!(execute self, text, id, draining)?;
        Ok(())
    }

    /// Every worker process that is known, oldest first, without its jobs.
    pub async fn workers(&mut self) -> Result<Vec<Worker>> {
        let text = fill(
            self,
            "select id, host, pid, version, queues, draining, started_at, heartbeat_ms,
                 {now_ms} - heartbeat_ms
             from workers order by started_at, id",
        );
        let rows = sql!(all WorkerRow, self, text)?;
        Ok(rows
            .into_iter()
            .map(|(id, host, pid, version, queues, draining, started_at, heartbeat_ms, silent)| {
                Worker {
                    id,
                    host,
                    pid,
                    version,
                    queues: parse_slots(&queues),
                    jobs: Vec::new(),
                    draining,
                    started_at,
                    last_heartbeat_at: DateTime::from_timestamp_millis(heartbeat_ms)
                        .unwrap_or_default(),
                    #[expect(clippy::cast_precision_loss, reason = "milliseconds of years fit")]
                    silent_s: silent.max(0) as f64 / 1000.0,
                }
            })
            .collect())
    }

    /// Forgets a worker that ended in order, and those not heard of for `silent_ms`.
    pub async fn remove_workers(&mut self, ended: Option<WorkerId>, silent_ms: i64) -> Result<u64> {
        let text = fill(
            self,
            "delete from workers where ($1 and id = $2) or heartbeat_ms < {now_ms} - $3",
        );
        let id = ended.map(|w| w.0).unwrap_or_default();
        sql!(execute self, text, ended.is_some(), id, silent_ms)
    }
}
