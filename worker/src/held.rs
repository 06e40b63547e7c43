//! The jobs that this process runs right now, and the heartbeat that keeps their leases.
//!
//! A process that cannot renew stops its subprocesses before the leases end, judged by its own
//! monotonic clock; one that slept past the end (SIGSTOP, a suspended machine) finds its jobs
//! missing from the first heartbeat after it woke up, and stops them at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::job::{Job, Lease};
use slipway_domain::port::driver::Stop;
use slipway_queue::Signal;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Shared;

/// Why a run was asked to stop. The strongest reason wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The worker shuts down.
    Shutdown,
    /// A person asked for it.
    Cancel,
    /// The soft limit was reached.
    SoftLimit,
    /// The hard limit was reached.
    HardLimit,
    /// The lease is gone, or is about to be.
    LeaseLost,
}

impl Reason {
    /// How hard this reason stops a run.
    pub(crate) const fn stop(self) -> Stop {
        match self {
            Self::Shutdown | Self::Cancel | Self::SoftLimit => Stop::Gently,
            Self::HardLimit | Self::LeaseLost => Stop::Now,
        }
    }
}

/// How a run is asked to stop, from any place.
#[derive(Debug, Clone)]
pub(crate) struct Brake(watch::Sender<Option<Reason>>);

impl Default for Brake {
    fn default() -> Self {
        Self(watch::channel(None).0)
    }
}

impl Brake {
    /// Asks for a stop. A weaker reason than the present one changes nothing.
    pub(crate) fn pull(&self, reason: Reason) {
        self.0.send_if_modified(|present| {
            let stronger = present.is_none_or(|p| p < reason);
            if stronger {
                *present = Some(reason);
            }
            stronger
        });
    }

    /// The strongest reason so far.
    pub(crate) fn reason(&self) -> Option<Reason> {
        *self.0.borrow()
    }

    /// Waits for a reason that stops at least as hard as `at_least`.
    pub(crate) async fn pulled(&self, at_least: Stop) -> Reason {
        let mut changes = self.0.subscribe();
        loop {
            if let Some(reason) = *changes.borrow_and_update()
                && reason.stop() >= at_least
            {
                return reason;
            }
            // The sender lives as long as `self`, so this cannot fail while we wait.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

struct Entry {
    lease: Lease,
    deployment_id: DeploymentId,
    brake: Brake,
}

/// Every run of this process.
#[derive(Default)]
pub(crate) struct Held(Mutex<BTreeMap<JobId, Entry>>);

impl Held {
    fn map(&self) -> MutexGuard<'_, BTreeMap<JobId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a run; it counts until the answer is dropped.
    pub(crate) fn hold<'a>(&'a self, job: &Job, lease: Lease) -> Holding<'a> {
        let brake = Brake::default();
        if job.cancel_requested {
            brake.pull(Reason::Cancel);
        }
        let entry = Entry { lease, deployment_id: job.deployment_id, brake: brake.clone() };
        self.map().insert(job.id, entry);
        Holding { held: self, job_id: job.id, brake }
    }

    pub(crate) fn len(&self) -> usize {
        self.map().len()
    }

    pub(crate) fn stop_all(&self) {
        for entry in self.map().values() {
            entry.brake.pull(Reason::Shutdown);
        }
    }

    fn lose_all(&self) {
        for entry in self.map().values() {
            entry.brake.pull(Reason::LeaseLost);
        }
    }

    fn runs_of(&self, deployment: DeploymentId) -> bool {
        self.map().values().any(|entry| entry.deployment_id == deployment)
    }
}

/// A run that is noted.
pub(crate) struct Holding<'a> {
    held: &'a Held,
    job_id: JobId,
    pub(crate) brake: Brake,
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.held.map().remove(&self.job_id);
    }
}

/// Extends leases until `end`; also brings requests to stop.
pub(crate) async fn beat(shared: Arc<Shared>, end: CancellationToken) {
    let options = &shared.options;
    // Stop before the lease ends: killing a process group and noticing it takes a moment.
    let margin = options.lease / 5;
    let mut good = Instant::now();
    let mut tick = tokio::time::interval(options.heartbeat);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            _ = tick.tick() => {}
        }
        let asked = Instant::now();
        let patience = (good + options.lease).saturating_duration_since(asked + margin);
        match tokio::time::timeout(patience.max(Duration::from_millis(1)), renew(&shared)).await {
            Ok(Ok(())) => good = asked,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a heartbeat failed");
                if asked + margin >= good + options.lease {
                    shared.held.lose_all();
                } else {
                    // Try again soon: there is little time left.
                    tick.reset_after(options.heartbeat / 5);
                }
            }
            Err(_) => {
                tracing::error!("no heartbeat got through in time: stopping all running jobs");
                shared.held.lose_all();
            }
        }
    }
}

/// One heartbeat.
async fn renew(shared: &Shared) -> slipway_store::Result<()> {
    let lease_ms = i64::try_from(shared.options.lease.as_millis()).unwrap_or(i64::MAX);
    // Whoever is not in this list was not running when the question was asked.
    let asked: Vec<(JobId, Lease)> =
        shared.held.map().iter().map(|(id, entry)| (*id, entry.lease)).collect();
    let mut tx = shared.cx.store.begin().await?;
    let beats = tx.beat_jobs(shared.id, lease_ms).await?;
    tx.beat_worker(shared.id, shared.shutdown.drain.is_cancelled()).await?;
    tx.commit().await?;
    let map = shared.held.map();
    for (job_id, lease) in asked {
        let Some(entry) = map.get(&job_id) else { continue };
        match beats.iter().find(|b| b.job_id == job_id && b.epoch == lease.epoch) {
            Some(beat) if beat.cancel_requested => entry.brake.pull(Reason::Cancel),
            Some(_) => {}
            None => {
                tracing::error!(%job_id, epoch = lease.epoch, "the lease is lost: stopping the job");
                entry.brake.pull(Reason::LeaseLost);
            }
        }
    }
    Ok(())
}

/// Hastens requests to stop: a signal makes the process look at once.
pub(crate) async fn hear_cancels(shared: Arc<Shared>, end: CancellationToken) {
    let mut signals = shared.cx.transport.signals();
    loop {
        let signal = tokio::select! {
            () = end.cancelled() => return,
            signal = signals.recv() => signal,
        };
        let look = match signal {
            Ok(Signal::Cancel(of)) => shared.held.runs_of(of),
            Ok(Signal::Changed(_)) => false,
            Err(broadcast::error::RecvError::Lagged(_)) => true,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if look && let Err(error) = renew(&shared).await {
            tracing::warn!(%error, "a request to stop could not be read; the heartbeat will");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_weaker_reason_does_not_hide_a_stronger_one() {
        let brake = Brake::default();
        brake.pull(Reason::HardLimit);
        brake.pull(Reason::Cancel);
        assert_eq!(brake.reason(), Some(Reason::HardLimit));
        assert_eq!(brake.pulled(Stop::Now).await, Reason::HardLimit);
    }

    #[tokio::test]
    async fn a_gentle_reason_does_not_wake_who_waits_for_the_hard_one() {
        let brake = Brake::default();
        brake.pull(Reason::Shutdown);
        assert_eq!(brake.pulled(Stop::Gently).await, Reason::Shutdown);
        let hard = brake.pulled(Stop::Now);
        tokio::pin!(hard);
        let early = tokio::time::timeout(Duration::from_millis(20), &mut hard).await;
        assert!(early.is_err());
        brake.pull(Reason::LeaseLost);
        assert_eq!(hard.await, Reason::LeaseLost);
    }
}
