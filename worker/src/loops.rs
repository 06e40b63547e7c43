//! What every process does for the house: relay doorbells, reap what nobody holds, expire what
//! waited too long, sweep what is past its time. A lease in the database lets one process at a
//! time do each; when it dies, another takes over.

use std::time::Duration;

use slipway_domain::fault::{Fault, Kind};
use slipway_domain::id::WorkerId;
use slipway_services::{Ctx, upkeep};
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
}

impl Default for Loops {
    fn default() -> Self {
        Self {
            relay: Duration::from_secs(1),
            reap: Duration::from_secs(1),
            expire: Duration::from_secs(10),
            drift: Duration::from_secs(10),
            stale: Duration::from_secs(5),
            sweep: Duration::from_mins(10),
        }
    }
}

impl Loops {
    /// Runs them until `end`.
    pub async fn run(self, cx: Ctx, end: CancellationToken) {
        let id = WorkerId::new(&*cx.mint);
        let each = |name, period| Turn { cx: cx.clone(), id, name, period, end: end.clone() };
        tokio::join!(
            each("relay", self.relay).take(async |cx| upkeep::relay(cx).await.map(|_| ())),
            each("reap", self.reap).take(async |cx| {
                while upkeep::reap(cx).await?.is_some() {}
                Ok(())
            }),
            each("expire", self.expire).take(async |cx| upkeep::expire(cx).await.map(|_| ())),
            each("drift", self.drift).take(async |cx| upkeep::check_drift(cx).await.map(|_| ())),
            each("stale", self.stale).take(async |cx| upkeep::mark_stale(cx).await.map(|_| ())),
            each("sweep", self.sweep).take(async |cx| {
                let swept = upkeep::sweep(cx).await?;
                if swept != upkeep::Swept::default() {
                    tracing::info!(?swept, "swept");
                }
                Ok(())
            }),
        );
    }
}

struct Turn {
    cx: Ctx,
    id: WorkerId,
    name: &'static str,
    period: Duration,
    end: CancellationToken,
}

impl Turn {
    async fn take(self, work: impl AsyncFn(&Ctx) -> Result<(), Fault>) {
        let mut tick = tokio::time::interval(self.period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.end.cancelled() => break,
                _ = tick.tick() => {}
            }
            let done = async { if self.holds().await? { work(&self.cx).await } else { Ok(()) } };
            if let Err(fault) = done.await {
                if fault.kind() == Kind::Unavailable {
                    tracing::warn!(name = self.name, %fault, "a loop waits for the database");
                } else {
                    tracing::error!(name = self.name, %fault, cause = fault.causes(),
                        "a loop failed; it goes on");
                }
            }
        }
        if let Ok(mut tx) = self.cx.store.begin().await {
            let _ = tx.drop_loop_lease(self.name, self.id).await;
            let _ = tx.commit().await;
        }
    }

    /// Takes or keeps the loop's lease.
    async fn holds(&self) -> Result<bool, Fault> {
        let lease = (self.period * LEASE_PERIODS).max(Duration::from_secs(3));
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let mut tx = self.cx.store.begin().await?;
        let mine = tx.take_loop_lease(self.name, self.id, lease_ms).await?;
        tx.commit().await?;
        Ok(mine)
    }
}
