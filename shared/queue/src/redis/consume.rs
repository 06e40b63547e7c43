//! A listener: takes bells of one queue from Redis while somebody waits for one.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use apalis::prelude::{Backend, WorkerContext};
use apalis_redis::{RedisStorage, queries};
use async_trait::async_trait;
use futures::FutureExt as _;
use slipway_domain::id::{Mint as _, RandomMint};
use slipway_domain::job::{Doorbell, Queue};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::backoff::Backoff;
use super::link::{Link, Live};
use super::{Shared, failed, scripts};
use crate::{Bells, TransportError};

/// Without a wake-up, Redis is asked this often: one may have been lost.
const POLL: Duration = Duration::from_secs(1);
/// How often a queue is looked over.
const TIDY: Duration = Duration::from_mins(1);
/// A listener that served this long was a good one.
const GOOD: Duration = Duration::from_secs(5);
/// Giving back takes no longer.
const LEAVING: Duration = Duration::from_millis(500);
/// Listeners that are gone and whose bells could not be given back yet. With more of them, the
/// library's heartbeats do it, later.
const GONE: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// Somebody waits.
    Bell,
    /// Nobody waits now; who did will come back.
    Later,
    /// There is no free slot.
    Nothing,
}

#[derive(Debug)]
struct Desk {
    want: Want,
    held: Option<Doorbell>,
}

/// Where the listener and who waits for it meet.
#[derive(Debug)]
struct Counter {
    desk: Mutex<Desk>,
    /// For the listener: look at the desk.
    asked: Notify,
    /// For who waits: look at the desk.
    rung: Notify,
    shared: Arc<Shared>,
}

impl Counter {
    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_wanted(&self) -> bool {
        let desk = self.desk();
        desk.want == Want::Bell && desk.held.is_none()
    }

    /// Hands a bell over, or gives it back if nobody may take it.
    fn deliver(&self, bell: Doorbell) {
        let mut desk = self.desk();
        if desk.want == Want::Nothing {
            drop(desk);
            self.give_back(bell);
        } else {
            desk.held = Some(bell);
            drop(desk);
            self.rung.notify_one();
        }
    }

    fn give_back(&self, bell: Doorbell) {
        if let Err(error) = self.shared.ring(bell) {
            tracing::debug!(%error, "a doorbell was not given back; the relay will ring again");
        }
    }

    fn rest(&self) {
        let mut desk = self.desk();
        desk.want = Want::Nothing;
        let held = desk.held.take();
        drop(desk);
        if let Some(bell) = held {
            self.give_back(bell);
        }
    }
}

/// The side of who waits.
pub(super) struct RedisBells {
    counter: Arc<Counter>,
    end: CancellationToken,
    _guard: DropGuard,
}

/// Somebody waits, as long as this is there.
struct Waiting<'a>(&'a Counter);

impl<'a> Waiting<'a> {
    fn begin(counter: &'a Counter) -> Self {
        counter.desk().want = Want::Bell;
        counter.asked.notify_one();
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.desk().want = Want::Later;
    }
}

#[async_trait]
impl Bells for RedisBells {
    async fn wait(&mut self) -> Result<Option<Doorbell>, TransportError> {
        let waiting = Waiting::begin(&self.counter);
        loop {
            if let Some(bell) = waiting.0.desk().held.take() {
                return Ok(Some(bell));
            }
            tokio::select! {
                () = waiting.0.rung.notified() => {}
                () = self.end.cancelled() => return Err(failed("it is closed")),
            }
        }
    }

    async fn rest(&mut self) {
        self.counter.rest();
    }
}

impl Drop for RedisBells {
    fn drop(&mut self) {
        self.counter.rest();
    }
}

/// The side of Redis.
pub(super) struct Listener {
    counter: Arc<Counter>,
    shared: Arc<Shared>,
    link: Arc<Link>,
    queue: Queue,
    end: CancellationToken,
    gone: VecDeque<String>,
}

/// A listener and who waits for it. It ends with `end`, or when who waits is dropped.
pub(super) fn listener(
    shared: Arc<Shared>,
    link: Arc<Link>,
    queue: Queue,
    end: CancellationToken,
) -> (RedisBells, Listener) {
    let counter = Arc::new(Counter {
        desk: Mutex::new(Desk { want: Want::Later, held: None }),
        asked: Notify::new(),
        rung: Notify::new(),
        shared: shared.clone(),
    });
    let bells =
        RedisBells { counter: counter.clone(), end: end.clone(), _guard: end.clone().drop_guard() };
    (bells, Listener { counter, shared, link, queue, end, gone: VecDeque::new() })
}

impl Listener {
    /// Serves until the end. Whatever goes wrong, it begins anew under a new name.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let end = self.end.clone();
        while !end.is_cancelled() {
            let live = tokio::select! {
                () = end.cancelled() => break,
                live = self.link.up() => live,
            };
            let name = format!("{}-{}", self.shared.instance, RandomMint.uuid().simple());
            let since = Instant::now();
            let why = tokio::select! {
                () = end.cancelled() => None,
                () = live.lost.cancelled() => None,
                why = AssertUnwindSafe(self.serve(&live, &name)).catch_unwind() => {
                    Some(why.unwrap_or_else(|_| "it panicked".to_owned()))
                }
            };
            self.gone.push_back(name);
            if self.gone.len() > GONE {
                self.gone.pop_front();
            }
            if let Some(why) = why
                && !live.is_lost().await
            {
                tracing::warn!(queue = %self.queue, error = why,
                    "a listener of doorbells ended; another takes its place");
            }
            if !live.lost.is_cancelled() {
                let leaving = tokio::time::timeout(LEAVING, self.give_back(&live));
                if let Ok(Err(error)) = leaving.await {
                    tracing::debug!(error, "doorbells were not given back; they will be");
                }
            }
            if since.elapsed() > GOOD {
                backoff.reset();
            }
            tokio::select! {
                () = end.cancelled() => {}
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
        self.counter.rest();
    }

    /// Gives back what listeners of this one's had taken that are gone.
    async fn give_back(&mut self, live: &Live) -> Result<(), String> {
        let mut connection = live.connection.clone();
        while let Some(name) = self.gone.front() {
            let keys = &self.shared.keys;
            let aside = scripts::tidy(keys, self.queue, name, &mut connection)
                .await
                .map_err(|error| self.link.say(error))?;
            self.note(aside);
            self.gone.pop_front();
        }
        Ok(())
    }

    fn note(&self, aside: u64) {
        if aside > 0 {
            self.shared.put_aside(aside);
            tracing::warn!(queue = %self.queue, messages = aside,
                quarantine = self.shared.keys.quarantine(self.queue),
                "messages that are no doorbells were put aside");
        }
    }

    /// Registers as a worker and serves; returns why it ended.
    async fn serve(&mut self, live: &Live, name: &str) -> String {
        match self.try_serve(live, name).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn try_serve(
        &mut self,
        live: &Live,
        name: &str,
    ) -> Result<std::convert::Infallible, String> {
        self.give_back(live).await?;
        let keys = self.shared.keys.clone();
        let mut connection = live.connection.clone();
        // Subscribed before anything is asked for, so nothing falls in between.
        connection
            .subscribe(keys.available(self.queue))
            .await
            .map_err(|error| self.link.say(error))?;
        let worker = WorkerContext::new(name);
        let mut storage = RedisStorage::<Doorbell, _>::new(connection.clone())
            .with_config(keys.config(self.queue));
        std::future::poll_fn(|cx| Backend::poll_ready(&mut storage, cx, &worker))
            .await
            .map_err(|error| self.link.say(error))?;
        scripts::keep_metadata(&keys, self.queue, name, &mut connection)
            .await
            .map_err(|error| self.link.say(error))?;
        tracing::debug!(queue = %self.queue, listener = name, "listening for doorbells");
        // The library's heartbeats, which also queue again what dead listeners had taken.
        let alive =
            std::future::poll_fn(|cx| match Backend::poll_ready(&mut storage, cx, &worker) {
                Poll::Ready(Err(error)) => Poll::Ready(error),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            });
        tokio::select! {
            error = alive => Err(self.link.say(error)),
            served = self.take_bells(&worker, live) => served,
        }
    }

    async fn take_bells(
        &self,
        worker: &WorkerContext,
        live: &Live,
    ) -> Result<std::convert::Infallible, String> {
        let keys = &self.shared.keys;
        let config = keys.config(self.queue);
        let mut connection = live.connection.clone();
        let mut available = self.link.available(self.queue);
        let mut tidy_at = Instant::now() + TIDY;
        loop {
            if Instant::now() >= tidy_at {
                let aside = scripts::tidy(keys, self.queue, "", &mut connection)
                    .await
                    .map_err(|error| self.link.say(error))?;
                self.note(aside);
                scripts::keep_metadata(keys, self.queue, worker.name(), &mut connection)
                    .await
                    .map_err(|error| self.link.say(error))?;
                tidy_at = Instant::now() + TIDY;
            }
            if !self.counter.is_wanted() {
                tokio::select! {
                    () = self.counter.asked.notified() => {}
                    () = tokio::time::sleep_until(tidy_at) => {}
                }
                continue;
            }
            // What is rung from here on makes it look again.
            available.borrow_and_update();
            let tasks = queries::fetch_next(&mut connection, worker, &config)
                .await
                .map_err(|error| self.link.say(error))?;
            if tasks.is_empty() {
                tokio::select! {
                    _ = available.changed() => {}
                    () = self.counter.asked.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
                continue;
            }
            for task in tasks {
                let id = task.task_id().map(ToString::to_string).unwrap_or_default();
                let read = serde_json::from_slice::<Doorbell>(&task.args);
                let why = read.as_ref().err().map(ToString::to_string);
                if let Ok(bell) = read {
                    self.counter.deliver(bell);
                }
                let aside = why.as_deref().map(|why| (task.args.as_slice(), why));
                self.note(u64::from(aside.is_some()));
                scripts::forget(keys, self.queue, worker.name(), &id, aside, &mut connection)
                    .await
                    .map_err(|error| self.link.say(error))?;
            }
        }
    }
}
