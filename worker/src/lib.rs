//! Runs jobs: takes them from the queues it serves, holds their leases, runs their drivers, and
//! says how they ended. And the loops that every process runs for the house.
//!
//! It holds no rule about deployments: what a job does to one is in `services::execution`. It
//! knows drivers only by their port.

mod backoff;
mod collect;
mod consume;
mod estimate;
mod held;
mod job;
mod loops;
mod run;
mod scan;
mod slot;
mod verdict;
mod workspace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slipway_domain::id::WorkerId;
use slipway_domain::job::Queue;
use slipway_domain::port::driver::Driver;
use slipway_domain::port::estimator::Estimate;
use slipway_domain::port::scanner::Scan;
use slipway_domain::worker::format_slots;
use slipway_services::Ctx;
use slipway_store::worker::NewWorker;
use slipway_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use loops::Loops;

use crate::held::Held;
use crate::workspace::Workspaces;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Queues it serves, and how many jobs of each at a time.
    pub queues: BTreeMap<Queue, u16>,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// How often leases are extended.
    pub heartbeat: Duration,
    /// How long running jobs may go on after a shutdown was asked for.
    pub drain_grace: Duration,
    /// How often the database is asked for due jobs even when no doorbell rings.
    pub poll: Duration,
    /// Where jobs get their directories.
    pub work_dir: PathBuf,
    /// Name of this host, for operators.
    pub host: String,
    /// Slipway's version.
    pub version: String,
    /// How long any scan may take.
    pub scan_time_limit: Duration,
}

/// What a worker works with.
#[derive(Clone)]
pub struct Tools {
    /// Plans, applies, recovers and tests.
    pub driver: Arc<dyn Driver>,
    /// Look at sources.
    pub scanners: Option<Arc<dyn Scan>>,
    /// Says what plans cost, where gates do not leave that to the price book.
    pub estimator: Option<Arc<dyn Estimate>>,
}

/// How a worker is asked to end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take no more jobs; let running ones finish within the grace period.
    pub drain: CancellationToken,
    /// Ask running jobs to stop now, and record what they did.
    pub stop: CancellationToken,
}

/// What every part of a worker shares.
pub(crate) struct Shared {
    pub(crate) id: WorkerId,
    pub(crate) cx: Ctx,
    pub(crate) tools: Tools,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    pub(crate) held: Held,
    pub(crate) workspaces: Workspaces,
    pub(crate) shutdown: Shutdown,
    pub(crate) jobs: TaskTracker,
}

/// Serves the queues until `shutdown.drain` is cancelled and every job has ended, then returns.
///
/// Nothing is left running: jobs that do not finish within the grace period are asked to stop,
/// and what they did is recorded by their kind's rule.
pub async fn work(
    cx: Ctx,
    tools: Tools,
    options: Options,
    metrics: Metrics,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let id = WorkerId::new(&*cx.mint);
    let workspaces = Workspaces::open(&options.work_dir, id)?;
    let shared = Arc::new(Shared {
        id,
        held: Held::default(),
        jobs: TaskTracker::new(),
        workspaces,
        cx,
        tools,
        options,
        metrics,
        shutdown,
    });
    introduce(&shared).await;
    let cx = shared.cx.clone();
    tokio::spawn(async move { slipway_services::gate::warm(&cx).await });
    let beating = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(held::beat(shared.clone(), beating.clone()));
    tasks.spawn(held::watch_leases(shared.clone(), beating.clone()));
    tasks.spawn(held::hear_cancels(shared.clone(), beating.clone()));
    tasks.spawn(collect::collect(shared.clone(), beating.clone()));
    let mut consumers = tokio::task::JoinSet::new();
    for (queue, slots) in shared.options.queues.clone() {
        shared.metrics.serving(queue.as_str(), slots);
        consumers.spawn(consume::serve(shared.clone(), queue, slots));
    }
    tracing::info!(worker_id = %id, queues = ?shared.options.queues, "worker started");
    shared.shutdown.drain.cancelled().await;
    while consumers.join_next().await.is_some() {}
    drain(&shared).await;
    for queue in shared.options.queues.keys() {
        shared.metrics.serving(queue.as_str(), 0);
    }
    beating.cancel();
    while tasks.join_next().await.is_some() {}
    if let Ok(mut tx) = shared.cx.store.begin().await {
        let _ = tx.remove_workers(Some(id), 3_600_000).await;
        let _ = tx.commit().await;
    }
    tracing::info!(worker_id = %id, "worker stopped");
    Ok(())
}

/// Lets running jobs finish, then asks them to stop, and waits for that.
async fn drain(shared: &Shared) {
    shared.jobs.close();
    let running = shared.held.len();
    if running > 0 {
        tracing::info!(
            running,
            grace_s = shared.options.drain_grace.as_secs(),
            "draining: waiting for running jobs"
        );
    }
    tokio::select! {
        () = shared.jobs.wait() => return,
        () = tokio::time::sleep(shared.options.drain_grace) => {}
        () = shared.shutdown.stop.cancelled() => {}
    }
    tracing::info!(running = shared.held.len(), "asking running jobs to stop");
    shared.held.stop_all();
    shared.jobs.wait().await;
}

async fn introduce(shared: &Shared) {
    let worker = NewWorker {
        id: shared.id,
        host: shared.options.host.clone(),
        pid: i64::from(std::process::id()),
        version: shared.options.version.clone(),
        queues: format_slots(&shared.options.queues),
        started_at: shared.cx.now(),
    };
    let done = async {
        let mut tx = shared.cx.store.begin().await?;
        tx.insert_worker(&worker).await?;
        tx.commit().await
    };
    if let Err(error) = done.await {
        // Operators do not see it in the list until it beats again; work is not concerned.
        tracing::warn!(%error, "the worker could not introduce itself");
    }
}
