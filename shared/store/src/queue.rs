//! Queues: what operators set for them, and how much is in them.

use chrono::{DateTime, Utc};
use slipway_domain::access::{Actor, Reach};
use slipway_domain::job::Queue;
use slipway_domain::queue::{Pause, QueueSettings};

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::{fill, reached, within};
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    paused_by: Option<String>,
    paused_at: Option<DateTime<Utc>>,
    pause_reason: Option<String>,
    cap: Option<i32>,
}

impl Row {
    /// `None` for a queue of a newer version.
    fn read(self) -> Result<Option<QueueSettings>> {
        let Some(name) = Queue::parse(&self.name) else { return Ok(None) };
        let paused = match (self.paused_by, self.paused_at) {
            (Some(by), Some(at)) => {
                let by: Actor = serde_json::from_str(&by)
                    .map_err(|error| Error::corrupt("queues", format!("paused_by: {error}")))?;
                Some(Pause { by, at, reason: self.pause_reason })
            }
            _ => None,
        };
        Ok(Some(QueueSettings { name, paused, cap: self.cap.and_then(|c| u32::try_from(c).ok()) }))
    }
}

type TotalsRow = (String, i64, i64, i64, i64, i64, i64);

/// Totals of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueTotals {
    /// Which queue.
    pub queue: String,
    /// Queued and due.
    pub waiting: i64,
    /// Running.
    pub running: i64,
    /// Queued for later.
    pub scheduled: i64,
    /// Dead or lost.
    pub dead: i64,
    /// How long the oldest waiting one has waited, in milliseconds.
    pub oldest_wait_ms: i64,
    /// Queued, due, and not waiting for another job with the same concurrency key; of several with
    /// one key, one counts.
    pub runnable: i64,
}

impl Tx {
    /// What operators set, for every queue.
    pub async fn queue_settings(&mut self) -> Result<Vec<QueueSettings>> {
        let rows = sql!(
            all Row,
            self,
            "select name, paused_by, paused_at, pause_reason, cap from queues order by name"
        )?;
        rows.into_iter().filter_map(|row| row.read().transpose()).collect()
    }

    /// Stops a queue, or lets it go on.
    pub async fn set_pause(&mut self, queue: Queue, pause: Option<&Pause>) -> Result<()> {
        let by = pause.map(|pause| to_json(&pause.by)).transpose()?;
        let changed = sql!(execute self,
            "update queues set paused_by = $2, paused_at = $3, pause_reason = $4 where name = $1",
            queue.as_str(), by, pause.map(|pause| pause.at),
            pause.and_then(|pause| pause.reason.as_deref()))?;
        if changed == 1 { Ok(()) } else { Err(missing(queue)) }
    }

    /// Lets the relay ring for every queued job of a queue again, whoever was told of it before.
    pub async fn forget_bells(&mut self, queue: Queue) -> Result<()> {
        sql!(execute self,
            "update jobs set rung_at_ms = null where queue = $1 and state = 'queued'",
            queue.as_str())?;
        Ok(())
    }

    /// How many jobs of a queue may run at a time; `None` for no limit.
    pub async fn set_cap(&mut self, queue: Queue, cap: Option<i32>) -> Result<()> {
        let changed = sql!(execute self,
            "update queues set cap = $2 where name = $1", queue.as_str(), cap)?;
        if changed == 1 { Ok(()) } else { Err(missing(queue)) }
    }

    /// Whether the queue has a cap, and may give something out within it: it is not paused.
    pub(crate) async fn goes_by_a_cap(&mut self, queue: Queue) -> Result<bool> {
        let goes = sql!(scalar_maybe bool, self,
            "select cap is not null and paused_at is null from queues where name = $1",
            queue.as_str())?;
        goes.ok_or_else(|| missing(queue))
    }

    /// How many more jobs of a queue with a cap may be started. Its row is locked, so that of two
    /// who would take the last place one waits and sees that it is taken.
    pub(crate) async fn room(&mut self, queue: Queue) -> Result<i64> {
        // The cap may have been taken away meanwhile.
        let text =
            fill(self, "select coalesce(cap, 2147483647) from queues where name = $1 {for_update}");
        let cap = sql!(scalar_maybe i32, self, text, queue.as_str())?;
        let cap = cap.ok_or_else(|| missing(queue))?;
        let running = sql!(scalar i64, self,
            "select cast(count(*) as bigint) from jobs where state = 'running' and queue = $1",
            queue.as_str())?;
        Ok(i64::from(cap) - running)
    }

    /// Totals of every queue that has jobs within `reach`, of those.
    pub async fn queue_totals(&mut self, reach: &Reach) -> Result<Vec<QueueTotals>> {
        let text = fill(
            self,
            "select j.queue,
                 cast(sum(case when j.state = 'queued' and j.run_at_ms <= {now_ms}
                     then 1 else 0 end) as bigint),
                 cast(sum(case when j.state = 'running' then 1 else 0 end) as bigint),
                 cast(sum(case when j.state = 'queued' and j.run_at_ms > {now_ms}
                     then 1 else 0 end) as bigint),
                 cast(sum(case when j.state in ('dead', 'lost') then 1 else 0 end) as bigint),
                 cast(coalesce(max(case when j.state = 'queued' and j.run_at_ms <= {now_ms}
                     then {now_ms} - j.run_at_ms else 0 end), 0) as bigint),
                 cast(sum(case when j.state = 'queued' and j.run_at_ms <= {now_ms}
                     and j.concurrency_key is null then 1 else 0 end)
                   + count(distinct case when j.state = 'queued' and j.run_at_ms <= {now_ms}
                     and not exists (select 1 from jobs r where r.state = 'running'
                                     and r.concurrency_key = j.concurrency_key)
                     then j.concurrency_key end) as bigint)
             from jobs j where j.state in ('queued', 'running', 'dead', 'lost')
               and {within j.project $1}
             group by j.queue order by j.queue",
        );
        let text = within(self, text, reach);
        let rows = sql!(all TotalsRow, self, text, reached(reach))?;
        Ok(rows
            .into_iter()
            .map(|(queue, waiting, running, scheduled, dead, oldest_wait_ms, runnable)| {
                QueueTotals { queue, waiting, running, scheduled, dead, oldest_wait_ms, runnable }
            })
            .collect())
    }
}

fn missing(queue: Queue) -> Error {
    Error::corrupt("queues", format!("there is no row for {queue:?}"))
}
