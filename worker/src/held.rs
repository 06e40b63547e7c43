//! The jobs that this process runs right now, and the heartbeat that keeps their leases.
//!
//! A process that cannot renew a lease stops its subprocess before the lease ends, gently first and
//! then hard, judged by its own monotonic clock and for each job by itself: a job that was claimed after the database came
//! back has a whole lease before it. A process that slept past the end (SIGSTOP, a suspended
//! machine) finds its jobs missing from the first heartbeat after it woke up, and stops them at
//! once. Only jobs that are here are renewed, so one that was let fall runs out and is closed by
//! the reaper. Each renewal is passed on to the runs, whose tools' guards do the same in its place
//! when this process is frozen or dead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::job::{Job, Lease};
use slipway_domain::port::driver::{LeaseEnd, Stop};
use slipway_queue::Signal;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Shared;

/// Why a run was asked to stop. The strongest reason wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The lease could not be renewed for long. It may yet be.
    LeaseFading,
    /// The worker shuts down.
    Shutdown,
    /// A person asked for it.
    Cancel,
    /// The soft limit was reached.
    SoftLimit,
    /// A person asked to kill it.
    CancelNow,
    /// The hard limit was reached.
    HardLimit,
    /// The lease is gone, or is about to be.
    LeaseLost,
}

impl Reason {
    /// How hard this reason stops a run.
    pub(crate) const fn stop(self) -> Stop {
        match self {
            Self::LeaseFading | Self::Shutdown | Self::Cancel | Self::SoftLimit => Stop::Gently,
            Self::CancelNow | Self::HardLimit | Self::LeaseLost => Stop::Now,
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
    /// Asks for a stop; says whether that is news. A weaker reason than the present one changes
    /// nothing.
    pub(crate) fn pull(&self, reason: Reason) -> bool {
        self.0.send_if_modified(|present| {
            let stronger = present.is_none_or(|p| p < reason);
            if stronger {
                *present = Some(reason);
            }
            stronger
        })
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
    deployment_id: DeploymentId,
    brake: Brake,
    /// When the claim or heartbeat was sent that gave the lease its present length: the lease ends
    /// no earlier than a lease's length after this.
    good: watch::Sender<Instant>,
}

/// When a run under a lease is stopped that is not renewed.
#[derive(Debug, Clone)]
pub(crate) struct Fuse {
    good: watch::Receiver<Instant>,
    lease: Duration,
}

impl Fuse {
    /// By the last renewal.
    pub(crate) fn end(&self) -> LeaseEnd {
        let good = *self.good.borrow();
        LeaseEnd {
            // The worker itself, if it can, asks a little earlier.
            interrupt_at: (good + self.lease * 4 / 5).into_std(),
            kill_at: (good + hard_span(self.lease)).into_std(),
        }
    }

    /// Waits for a renewal.
    pub(crate) async fn renewed(&self, known: LeaseEnd) -> LeaseEnd {
        let mut good = self.good.clone();
        loop {
            good.borrow_and_update();
            let end = self.end();
            if end != known {
                return end;
            }
            // The run has ended: there will be no other.
            if good.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[derive(Default)]
struct Runs {
    /// By job and epoch: a job that was lost, closed and claimed again by this very process runs
    /// beside what is left of its former run.
    entries: BTreeMap<(JobId, i64), Entry>,
    /// Whether runs are asked to stop, also those that are noted from now on.
    stopping: bool,
}

/// Every run of this process.
#[derive(Default)]
pub(crate) struct Held(Mutex<Runs>);

impl Held {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a run whose claim, for a lease of `length`, was sent at `claimed`; it counts until the
    /// answer is dropped.
    pub(crate) fn hold<'a>(
        &'a self,
        job: &Job,
        lease: Lease,
        length: Duration,
        claimed: Instant,
    ) -> Holding<'a> {
        let brake = Brake::default();
        if job.cancel_requested {
            brake.pull(Reason::Cancel);
        }
        let good = watch::Sender::new(claimed);
        let fuse = Fuse { good: good.subscribe(), lease: length };
        let entry = Entry { deployment_id: job.deployment_id, brake: brake.clone(), good };
        let key = (job.id, lease.epoch);
        let mut runs = self.runs();
        if runs.stopping {
            brake.pull(Reason::Shutdown);
        }
        runs.entries.insert(key, entry);
        Holding { held: self, key, brake, fuse }
    }

    /// Whether a run under this very lease is noted.
    pub(crate) fn holds(&self, lease: &Lease) -> bool {
        self.runs().entries.contains_key(&(lease.job_id, lease.epoch))
    }

    pub(crate) fn len(&self) -> usize {
        self.runs().entries.len()
    }

    /// Asks every run to stop: those that are noted, and those that still will be.
    pub(crate) fn stop_all(&self) {
        let mut runs = self.runs();
        runs.stopping = true;
        for entry in runs.entries.values() {
            entry.brake.pull(Reason::Shutdown);
        }
    }

    /// Stops every run whose lease was not renewed for long, gently or hard; says when to look
    /// again.
    fn lose_overdue(&self, now: Instant, lease: Duration) -> Option<Instant> {
        let mut next = None;
        for ((job_id, epoch), entry) in &self.runs().entries {
            if entry.brake.reason() == Some(Reason::LeaseLost) {
                continue;
            }
            let good = *entry.good.borrow();
            let mut until = good + gentle_span(lease);
            if until <= now {
                if entry.brake.pull(Reason::LeaseFading) {
                    tracing::warn!(%job_id, epoch, "heartbeats do not get through: asking the job to stop");
                }
                until = good + hard_span(lease);
            }
            if until <= now {
                tracing::error!(%job_id, epoch, "no heartbeat got through in time: stopping the job");
                entry.brake.pull(Reason::LeaseLost);
            } else {
                next = Some(next.map_or(until, |next: Instant| next.min(until)));
            }
        }
        next
    }

    fn runs_of(&self, deployment: DeploymentId) -> bool {
        self.runs().entries.values().any(|entry| entry.deployment_id == deployment)
    }
}

/// A run that is noted.
pub(crate) struct Holding<'a> {
    held: &'a Held,
    key: (JobId, i64),
    pub(crate) brake: Brake,
    pub(crate) fuse: Fuse,
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.held.runs().entries.remove(&self.key);
    }
}

/// After how long without a heartbeat a run is asked to stop.
fn gentle_span(lease: Duration) -> Duration {
    lease * 3 / 4
}

/// How long a run may go on without a heartbeat: less than a lease, because killing a process group
/// and noticing it takes a moment.
fn hard_span(lease: Duration) -> Duration {
    lease * 9 / 10
}

/// Extends leases until `end`; also brings requests to stop.
pub(crate) async fn beat(shared: Arc<Shared>, end: CancellationToken) {
    let heartbeat = shared.options.heartbeat;
    let mut tick = tokio::time::interval(heartbeat);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            _ = tick.tick() => {}
        }
        // One that hangs (a connection that nobody answers) must not keep the next from trying.
        match tokio::time::timeout(heartbeat, renew(&shared)).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => tracing::warn!(%error, "a heartbeat failed"),
            Err(_) => tracing::warn!("a heartbeat did not get through in time"),
        }
        // Try again soon: there may be little time left.
        tick.reset_after(heartbeat / 5);
    }
}

/// Stops runs whose leases are not renewed in time, until `end`. Apart from the heartbeat, which
/// may be the very thing that hangs.
pub(crate) async fn watch_leases(shared: Arc<Shared>, end: CancellationToken) {
    let lease = shared.options.lease;
    loop {
        let now = Instant::now();
        let next = shared.held.lose_overdue(now, lease);
        // A run that is noted meanwhile has nearly all of its lease before it.
        let look = now + lease / 5;
        tokio::select! {
            () = end.cancelled() => return,
            () = tokio::time::sleep_until(next.map_or(look, |next| next.min(look))) => {}
        }
    }
}

/// One heartbeat.
async fn renew(shared: &Shared) -> slipway_store::Result<()> {
    let lease_ms = i64::try_from(shared.options.lease.as_millis()).unwrap_or(i64::MAX);
    let mut tx = shared.cx.store.begin().await?;
    // Not before: the wait for a connection is no part of what a heartbeat adds.
    let sent = Instant::now();
    // Whoever is not in this list was not running when the question was asked.
    let asked: Vec<(JobId, i64)> = shared.held.runs().entries.keys().copied().collect();
    let jobs: Vec<JobId> = asked.iter().map(|(job_id, _)| *job_id).collect();
    let beats = tx.beat_jobs(shared.id, lease_ms, &jobs).await?;
    tx.beat_worker(shared.id, shared.shutdown.drain.is_cancelled()).await?;
    tx.commit().await?;
    let mut runs = shared.held.runs();
    for (job_id, epoch) in asked {
        let Some(entry) = runs.entries.get_mut(&(job_id, epoch)) else { continue };
        let beat = beats.iter().find(|b| b.job_id == job_id && b.epoch == epoch);
        if let Some(beat) = beat {
            entry.good.send_if_modified(|good| {
                let later = *good < sent;
                *good = sent.max(*good);
                later
            });
            if beat.cancel_forced {
                entry.brake.pull(Reason::CancelNow);
            } else if beat.cancel_requested {
                entry.brake.pull(Reason::Cancel);
            }
        } else {
            // Also when the run has just ended and is about to leave: then nobody listens.
            tracing::warn!(%job_id, epoch, "the lease is not held any more");
            entry.brake.pull(Reason::LeaseLost);
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
            Ok(Signal::Changed(_) | Signal::Settings) => false,
            Ok(Signal::Missed) => true,
            Err(broadcast::error::RecvError::Lagged(_)) => true,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if look {
            match tokio::time::timeout(shared.options.heartbeat, renew(&shared)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a request to stop could not be read; the heartbeat will");
                }
                Err(_) => {
                    tracing::warn!("a request to stop was not read in time; the heartbeat will");
                }
            }
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

    const LEASE: Duration = Duration::from_secs(10);

    fn lease(job: &Job, epoch: i64) -> Lease {
        let worker_id = slipway_domain::id::WorkerId::new(&slipway_domain::id::RandomMint);
        Lease { job_id: job.id, worker_id, epoch }
    }

    fn hold<'a>(held: &'a Held, job: &Job, epoch: i64) -> Holding<'a> {
        held.hold(job, lease(job, epoch), LEASE, Instant::now())
    }

    #[tokio::test]
    async fn a_run_is_known_by_its_lease_as_long_as_it_lasts() {
        let (held, job) = (Held::default(), crate::verdict::tests::job());
        let run = hold(&held, &job, 2);
        assert!(held.holds(&lease(&job, 2)));
        assert!(!held.holds(&lease(&job, 1)) && !held.holds(&lease(&job, 3)));
        drop(run);
        assert!(!held.holds(&lease(&job, 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_run_is_judged_by_its_own_lease() {
        let held = Held::default();
        let (early, late) = (crate::verdict::tests::job(), crate::verdict::tests::job());
        let first = hold(&held, &early, 1);
        tokio::time::advance(Duration::from_secs(7)).await;
        let second = hold(&held, &late, 1);
        assert!(held.lose_overdue(Instant::now(), LEASE).is_some());
        assert_eq!((first.brake.reason(), second.brake.reason()), (None, None));
        tokio::time::advance(Duration::from_millis(500)).await;
        let next = held.lose_overdue(Instant::now(), LEASE).unwrap();
        assert_eq!(first.brake.reason(), Some(Reason::LeaseFading), "a quarter before its end");
        assert_eq!(next, Instant::now() + Duration::from_millis(1500));
        tokio::time::advance(Duration::from_millis(1500)).await;
        let next = held.lose_overdue(Instant::now(), LEASE).unwrap();
        assert_eq!(first.brake.reason(), Some(Reason::LeaseLost), "a second before its end");
        assert_eq!(second.brake.reason(), None, "it has eight seconds left");
        assert_eq!(next, Instant::now() + Duration::from_millis(5500));
        drop(second);
        assert!(held.lose_overdue(Instant::now(), LEASE).is_none(), "one is lost once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_is_told_to_who_waits_for_it() {
        let held = Held::default();
        let job = crate::verdict::tests::job();
        let holding = hold(&held, &job, 1);
        let first = holding.fuse.end();
        assert_eq!(first.kill_at - first.interrupt_at, LEASE / 10);
        let waiting = holding.fuse.renewed(first);
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_secs(5), &mut waiting).await;
        assert!(early.is_err());
        held.runs().entries[&(job.id, 1)].good.send_replace(Instant::now());
        let second = waiting.await;
        assert_eq!(second.kill_at - first.kill_at, Duration::from_secs(5));
        assert_eq!(holding.fuse.end(), second);
    }

    #[tokio::test]
    async fn the_end_of_a_former_run_leaves_the_present_one() {
        let held = Held::default();
        let job = crate::verdict::tests::job();
        let former = hold(&held, &job, 1);
        let present = hold(&held, &job, 2);
        drop(former);
        assert_eq!(held.len(), 1);
        held.stop_all();
        assert_eq!(present.brake.reason(), Some(Reason::Shutdown));
    }

    #[tokio::test]
    async fn a_run_that_is_noted_after_the_order_to_stop_hears_it() {
        let held = Held::default();
        held.stop_all();
        let job = crate::verdict::tests::job();
        let late = hold(&held, &job, 1);
        assert_eq!(late.brake.reason(), Some(Reason::Shutdown));
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
