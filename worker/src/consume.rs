//! Takes jobs of one queue, as many at a time as there are slots.

use std::sync::Arc;
use std::time::Duration;

use slipway_domain::job::{Doorbell, Job, Lease, Queue};
use slipway_queue::Bells;
use slipway_services::execution;
use slipway_store::job::Claimed;

use crate::slot::{Slot, Slots};
use crate::{Shared, job};

/// Serves `queue` until draining begins. Jobs that run then go on in `shared.jobs`.
pub(crate) async fn serve(shared: Arc<Shared>, queue: Queue, slots: u16) {
    let free = Slots::new(slots);
    let mut bells: Option<Box<dyn Bells>> = None;
    let mut rung = Rung::default();
    let drain = shared.shutdown.drain.clone();
    loop {
        // A slot first: nothing is taken that cannot be run at once.
        let slot = tokio::select! {
            biased;
            () = drain.cancelled() => break,
            slot = take_slot(&shared, queue, &free, &mut bells, &mut rung) => slot,
        };
        let mut slots = vec![slot];
        // Jobs that were recorded together give their slots back together.
        tokio::task::yield_now().await;
        // One apply a stack: of jobs with one key, only one may be taken, so they come one by one.
        while queue != Queue::Apply
            && let Some(slot) = free.try_take()
        {
            slots.push(slot);
        }
        match take(&shared, queue, slots.len()).await {
            Ok(Claimed { jobs, asked }) if !jobs.is_empty() => {
                rung.taken(&jobs);
                for ((job, lease), slot) in jobs.into_iter().zip(slots) {
                    if shared.held.holds(&lease) {
                        // PostgreSQL died and forgot the claim: the run that is there has its lease
                        // again.
                        tracing::warn!(job_id = %job.id, epoch = lease.epoch,
                            "a job was given once more under the lease that it runs under");
                        continue;
                    }
                    let shared_for_job = shared.clone();
                    shared.jobs.spawn(async move {
                        job::run(&shared_for_job, job, lease, asked, slot).await;
                    });
                }
            }
            // Another worker took a job with the same key; there may be others.
            Err(slipway_store::Error::Changed) => drop(slots),
            Ok(_) => {
                drop(slots);
                tokio::select! {
                    biased;
                    () = drain.cancelled() => break,
                    again = rung.again(&shared) => if again { continue },
                }
                rung = tokio::select! {
                    biased;
                    () = drain.cancelled() => break,
                    rung = bell(&shared, queue, &mut bells) => rung,
                    () = tokio::time::sleep(shared.options.poll) => Rung::default(),
                }
            }
            Err(error) => {
                drop(slots);
                tracing::warn!(%queue, %error, "jobs cannot be claimed right now");
                tokio::select! {
                    biased;
                    () = drain.cancelled() => break,
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
        }
    }
    rung.pass_on(&shared, queue).await;
    if let Some(bells) = &mut bells {
        bells.rest().await;
    }
}

/// Waits for a free slot; while there is none, this worker takes nothing from the broker.
async fn take_slot(
    shared: &Shared,
    queue: Queue,
    free: &Slots,
    bells: &mut Option<Box<dyn Bells>>,
    rung: &mut Rung,
) -> Slot {
    if let Some(slot) = free.try_take() {
        return slot;
    }
    rung.pass_on(shared, queue).await;
    if let Some(bells) = bells {
        bells.rest().await;
    }
    free.take().await
}

/// Takes jobs.
async fn take(shared: &Shared, queue: Queue, most: usize) -> slipway_store::Result<Claimed> {
    let lease_ms = i64::try_from(shared.options.lease.as_millis()).unwrap_or(i64::MAX);
    let most = i64::try_from(most).unwrap_or(1);
    execution::take(&shared.cx, queue, shared.id, lease_ms, most).await
}

/// Until it is looked again for a job whose doorbell came before its commit. Together they are more
/// than a commit may take that is not rung for once more.
const PAUSES_MS: [u64; 11] = [0, 1, 1, 2, 2, 3, 4, 6, 8, 12, 24];

/// What the doorbell rang for.
#[derive(Default)]
struct Rung {
    /// The bell, and for how many it rings that were not taken since.
    bell: Option<Doorbell>,
    /// Whether the job that it names is not known to be there.
    awaited: bool,
    looked: usize,
}

impl Rung {
    fn by(bell: Option<Doorbell>) -> Self {
        Self { awaited: bell.is_some(), bell, looked: 0 }
    }

    /// Jobs were taken, perhaps others than it rang for: whoever enqueued those rang for them, too.
    fn taken(&mut self, jobs: &[(Job, Lease)]) {
        let Some(bell) = &mut self.bell else { return };
        let named = jobs.iter().any(|(job, _)| job.id == bell.job_id);
        let others = jobs.len() - usize::from(named);
        bell.others = bell.others.saturating_sub(u32::try_from(others).unwrap_or(u32::MAX));
        self.awaited &= !named;
        if !self.awaited && bell.others == 0 {
            self.bell = None;
        }
    }

    /// Nothing was to be had. Whether to look again, for a job that was not there yet, when the
    /// time for that has come.
    async fn again(&mut self, shared: &Shared) -> bool {
        let (Some(bell), true) = (&self.bell, self.awaited) else { return false };
        let Some(pause) = PAUSES_MS.get(self.looked) else { return false };
        self.looked += 1;
        match execution::expected(&shared.cx, bell.job_id).await {
            Ok(None) => {
                tokio::time::sleep(Duration::from_millis(*pause)).await;
                true
            }
            Ok(Some(waits)) => {
                // It came in between, with the others. If they are passed over now, there is a
                // reason for that.
                self.awaited = false;
                waits || bell.others > 0
            }
            // The next claim says so.
            Err(_) => false,
        }
    }

    /// Rings for somebody else when this worker cannot take what it rang for: there is no slot left
    /// for the others, or for a job that may have been committed only since.
    async fn pass_on(&mut self, shared: &Shared, queue: Queue) {
        let Some(bell) = std::mem::take(self).bell else { return };
        let job_id = bell.job_id;
        let waits = bell.others > 0
            || matches!(execution::expected(&shared.cx, job_id).await, Ok(None | Some(true)));
        if waits && let Err(error) = shared.cx.transport.ring(&bell).await {
            tracing::debug!(%job_id, %queue, %error,
                "a doorbell was not passed on; the relay rings again");
        }
    }
}

/// Waits for the doorbell. One that does not work is set up again; the poll goes on meanwhile.
async fn bell(shared: &Shared, queue: Queue, bells: &mut Option<Box<dyn Bells>>) -> Rung {
    let rung = match bells {
        Some(bells) => bells.wait().await,
        None => match shared.cx.transport.listen(queue).await {
            Ok(fresh) => bells.insert(fresh).wait().await,
            Err(error) => Err(error),
        },
    };
    match rung {
        Ok(bell) => Rung::by(bell),
        Err(error) => {
            tracing::warn!(%queue, %error, "the doorbell does not work; the database is polled");
            *bells = None;
            std::future::pending().await
        }
    }
}
