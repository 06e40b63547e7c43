//! What every process does for the house: relay doorbells, reap what nobody holds, expire what
//! waited too long, sweep what is past its time. A lease in the database lets one process at a
//! time do each; when it dies, another takes over. Sealing the audit log has a lock of its own.

use std::time::Duration;

use slipway_domain::fault::{Fault, Kind};
use slipway_domain::id::WorkerId;
use slipway_services::{Ctx, audit, upkeep};
use tokio_util::sync::CancellationToken;

/// How long a loop's lease lasts, as a multiple of its period.
const LEASE_PERIODS: u32 = 3;

/// The loops of one process.
#[derive(Debug, Clone)]
pub struct Loops {
    /// How often due jobs are looked for that nobody was told of.
    pub relay: Duration,
    /// How often expired leases are looked for.
    pub reap: Duration,
    /// How often expired plans are looked for.
    pub expire: Duration,
    /// How often checks for drift are looked for that are due.
    pub drift: Duration,
    /// How often plans are looked for that nobody applies and that are out of date.
    pub stale: Duration,
    /// How often what is past its time is removed.
    pub sweep: Duration,
    /// How often records of the audit log get their place in the chain.
    pub seal: Duration,
    /// How often a signed checkpoint of the audit log is kept, and said in the log.
    pub checkpoint: Duration,
    /// How long records of the audit log are kept; for ever when absent.
    pub keep_audit: Option<Duration>,
}

/// How often a process tells of refused requests that it left out of the audit log.
const TELL_LEFT_OUT: Duration = Duration::from_mins(1);

impl Default for Loops {
    fn default() -> Self {
        Self {
            relay: Duration::from_secs(1),
            reap: Duration::from_secs(1),
            expire: Duration::from_secs(10),
            drift: Duration::from_secs(10),
            stale: Duration::from_secs(5),
            sweep: Duration::from_mins(10),
            seal: Duration::from_millis(500),
            checkpoint: Duration::from_mins(5),
            keep_audit: None,
        }
    }
}

impl Loops {
    /// Runs them until `end`.
    pub async fn run(self, cx: Ctx, end: CancellationToken) {
        let id = WorkerId::new(&*cx.mint);
        let keep_audit = self.keep_audit;
        let each = |name, period| Turn {
            cx: cx.clone(),
            id,
            name,
            period,
            leased: true,
            keep_audit,
            end: end.clone(),
        };
        // Every process does these.
        let own = |name, period| Turn { leased: false, ..each(name, period) };
        tokio::join!(
            each("relay", self.relay).take(async |turn| upkeep::relay(&turn.cx).await.map(|_| ())),
            each("reap", self.reap).take(async |turn| {
                while upkeep::reap(&turn.cx).await?.is_some() {}
                Ok(())
            }),
            each("expire", self.expire)
                .take(async |turn| upkeep::expire(&turn.cx).await.map(|_| ())),
            each("drift", self.drift)
                .take(async |turn| upkeep::check_drift(&turn.cx).await.map(|_| ())),
            each("stale", self.stale)
                .take(async |turn| upkeep::mark_stale(&turn.cx).await.map(|_| ())),
            each("sweep", self.sweep).take(async |turn| turn.sweep().await),
            each("audit-checkpoint", self.checkpoint)
                .take(async |turn| audit::keep_checkpoint(&turn.cx).await),
            own("audit-seal", self.seal).take(async |turn| audit::seal(&turn.cx).await.map(|_| ())),
            own("audit-left-out", TELL_LEFT_OUT)
                .take(async |turn| audit::tell_left_out(&turn.cx).await.map(|_| ())),
        );
    }
}

struct Turn {
    cx: Ctx,
    id: WorkerId,
    name: &'static str,
    period: Duration,
    /// Whether one process at a time does it.
    leased: bool,
    keep_audit: Option<Duration>,
    end: CancellationToken,
}

impl Turn {
    async fn take(self, work: impl AsyncFn(&Self) -> Result<(), Fault>) {
        let mut tick = tokio::time::interval(self.period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.end.cancelled() => break,
                _ = tick.tick() => {}
            }
            let done = async {
                if !self.leased || self.holds().await? { work(&self).await } else { Ok(()) }
            };
            if let Err(fault) = done.await {
                if fault.kind() == Kind::Unavailable {
                    tracing::warn!(name = self.name, %fault, "a loop waits for the database");
                } else {
                    tracing::error!(name = self.name, %fault, cause = fault.causes(),
                        "a loop failed; it goes on");
                }
            }
        }
        if !self.leased {
            // What has just ended leaves nothing to others.
            if let Err(fault) = work(&self).await {
                tracing::warn!(name = self.name, %fault, "the last turn of a loop failed");
            }
        } else if let Ok(mut tx) = self.cx.store.begin().await {
            let _ = tx.drop_loop_lease(self.name, self.id).await;
            let _ = tx.commit().await;
        }
    }

    /// Lets go of what is past its time.
    async fn sweep(&self) -> Result<(), Fault> {
        let swept = upkeep::sweep(&self.cx).await?;
        if swept != upkeep::Swept::default() {
            tracing::info!(?swept, "swept");
        }
        let Some(keep) = self.keep_audit else { return Ok(()) };
        let keep = chrono::Duration::from_std(keep).unwrap_or(chrono::Duration::MAX);
        let records = audit::prune(&self.cx, keep).await?;
        if records > 0 {
            tracing::info!(records, "audit records were let go");
        }
        Ok(())
    }

    /// Takes or keeps the loop's lease.
    async fn holds(&self) -> Result<bool, Fault> {
        let lease = (self.period * LEASE_PERIODS).max(Duration::from_secs(3));
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        Ok(self.cx.store.take_loop_lease(self.name, self.id, lease_ms).await?)
    }
}
