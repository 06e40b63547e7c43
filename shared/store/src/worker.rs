//! Worker processes that are, or were lately, alive.

use chrono::{DateTime, Utc};
use slipway_domain::id::WorkerId;

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
