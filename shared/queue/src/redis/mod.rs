//! The transport on Redis, built on `apalis-redis`: every doorbell is a task of an apalis queue,
//! pushed, registered, kept alive, fetched and re-queued by the library.
//!
//! What the library's own worker does not do is done here, by driving its backend by hand:
//! - A bell is fetched only while somebody waits for it with a free slot, never ahead. (A paused
//!   apalis worker keeps a fetch that is under way, and sends no heartbeats meanwhile.)
//! - A wake-up follows every push. (In 1.0 each push goes to the queue's `scheduled` set, for which
//!   nothing is published, and the wake-ups of `RedisStorageFactory` get lost when one comes
//!   together with the answer of a fetch.) A slow poll stands behind it.
//! - A worker that ended, for whatever reason, is replaced; what it left behind goes back.
//! - A message that cannot be read is put aside instead of ending the worker.
//! - What was answered is deleted, so nothing grows. (The library keeps every task it ever saw.)
//!
//! It wants Redis 6 or later (RESP3), or what speaks like it; not a cluster, whose slots the
//! library's keys do not respect.
//!
//! Nothing here knows of jobs, leases or rows: a bell says "look", no more.

mod backoff;
mod buckets;
mod consume;
mod keys;
mod link;
mod scripts;
mod send;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use slipway_domain::Secret;
use slipway_domain::id::{Mint as _, RandomMint};
use slipway_domain::job::{Doorbell, Queue};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use self::buckets::RedisBuckets;
use self::keys::Keys;
use self::link::Link;
use self::send::{Announcer, Outgoing, Ringer};
use crate::{Bells, Signal, Transport, TransportError};

/// Bells that may wait for the broker at a time; more are refused.
const BELLS_WAITING: usize = 10_000;
/// Signals that may wait for the broker at a time. What is too much is made up for by one
/// [`Signal::Missed`].
const SIGNALS_WAITING: usize = 10_000;
/// Signals that a slow receiver may be behind before it is told to read the rows instead.
const SIGNAL_BACKLOG: usize = 4096;
/// Each part of closing takes no longer.
const CLOSING: Duration = Duration::from_secs(1);

/// How to reach Redis, and under which names.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://`, `rediss://` (TLS) or `redis+unix://`, with user and password if there are any.
    pub url: Secret<String>,
    /// What all names begin with; one per installation that shares a Redis.
    pub prefix: String,
    /// The name of this process; no other process has the same.
    pub instance: String,
}

impl RedisOptions {
    /// The usual prefix, and a process name that nobody else has.
    pub fn new(url: impl Into<Secret<String>>) -> Self {
        Self {
            url: url.into(),
            prefix: "slipway".to_owned(),
            instance: RandomMint.uuid().simple().to_string(),
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

fn failed(detail: impl Into<String>) -> TransportError {
    TransportError { transport: "redis", detail: detail.into() }
}

/// What all parts of a transport share.
#[derive(Debug)]
struct Shared {
    keys: Keys,
    instance: String,
    signals: broadcast::Sender<Signal>,
    quarantined: AtomicU64,
    closed: AtomicBool,
    bells: mpsc::Sender<Outgoing>,
    announcements: mpsc::Sender<Signal>,
    /// A signal was dropped for lack of room.
    overflowed: AtomicBool,
}

impl Shared {
    fn ring(&self, bell: Doorbell) -> Result<(), TransportError> {
        self.bells.try_send(Outgoing::new(bell)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                failed(format!("{BELLS_WAITING} doorbells wait for the broker already"))
            }
            mpsc::error::TrySendError::Closed(_) => failed("it is closed"),
        })
    }

    fn put_aside(&self, messages: u64) {
        self.quarantined.fetch_add(messages, Ordering::Relaxed);
    }
}

/// The transport on Redis. Everything that talks to the broker runs in tasks of its own, which end
/// when this is dropped.
pub struct Redis {
    shared: Arc<Shared>,
    link: Arc<Link>,
    listeners: Part,
    senders: Part,
    connection: Part,
}

/// Some tasks, and what ends them.
struct Part {
    tasks: TaskTracker,
    end: CancellationToken,
    _guard: DropGuard,
}

impl Part {
    fn new() -> Self {
        let end = CancellationToken::new();
        Self { tasks: TaskTracker::new(), _guard: end.clone().drop_guard(), end }
    }

    async fn close(&self) {
        self.end.cancel();
        self.tasks.close();
        if tokio::time::timeout(CLOSING, self.tasks.wait()).await.is_err() {
            tracing::debug!("a part of the Redis transport was left to end by itself");
        }
    }
}

impl Redis {
    /// Starts a transport. The broker need not be there: it is connected to in the background,
    /// again and again. Call it inside a tokio runtime.
    ///
    /// Fails only on an URL that is none; the error does not show it.
    pub fn connect(options: RedisOptions) -> Result<Self, TransportError> {
        let keys = Keys::new(&options.prefix);
        let signals = broadcast::channel(SIGNAL_BACKLOG).0;
        let (bells, ringing) = mpsc::channel(BELLS_WAITING);
        let (announcements, announcing) = mpsc::channel(SIGNALS_WAITING);
        let shared = Arc::new(Shared {
            keys,
            instance: options.instance,
            signals,
            quarantined: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            bells,
            announcements,
            overflowed: AtomicBool::new(false),
        });
        let link = Arc::new(Link::new(&options.url, shared.clone())?);
        let (listeners, senders, connection) = (Part::new(), Part::new(), Part::new());
        connection.tasks.spawn(link.clone().keep_up(connection.end.clone()));
        let ringer = Ringer::new(shared.clone(), link.clone(), ringing);
        senders.tasks.spawn(ringer.run(senders.end.clone()));
        let announcer = Announcer::new(shared.clone(), link.clone(), announcing);
        senders.tasks.spawn(announcer.run(senders.end.clone()));
        Ok(Self { shared, link, listeners, senders, connection })
    }

    /// Counts requests over the same connection.
    pub fn buckets(&self) -> RedisBuckets {
        RedisBuckets::new(self.link.clone(), self.shared.keys.prefix())
    }

    fn open(&self) -> Result<(), TransportError> {
        if self.shared.closed.load(Ordering::Relaxed) {
            return Err(failed("it is closed"));
        }
        Ok(())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("address", &self.link.address())
            .field("prefix", &self.shared.keys.prefix())
            .field("instance", &self.shared.instance)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn ring(&self, bell: &Doorbell) -> Result<(), TransportError> {
        self.open()?;
        self.shared.ring(bell.clone())
    }

    async fn listen(&self, queue: Queue) -> Result<Box<dyn Bells>, TransportError> {
        self.open()?;
        let (bells, listener) = consume::listener(
            self.shared.clone(),
            self.link.clone(),
            queue,
            self.listeners.end.child_token(),
        );
        self.listeners.tasks.spawn(listener.run());
        Ok(Box::new(bells))
    }

    async fn publish(&self, signal: Signal) -> Result<(), TransportError> {
        self.open()?;
        // This process hears itself without the broker. No receiver is no fault.
        let _ = self.shared.signals.send(signal);
        if self.shared.announcements.try_send(signal).is_err() {
            self.shared.overflowed.store(true, Ordering::Relaxed);
            return Err(failed(format!("{SIGNALS_WAITING} signals wait for the broker already")));
        }
        Ok(())
    }

    fn signals(&self) -> broadcast::Receiver<Signal> {
        self.shared.signals.subscribe()
    }

    async fn health(&self) -> Result<(), TransportError> {
        self.open()?;
        self.link.check().await.map_err(failed)
    }

    fn quarantined(&self) -> u64 {
        self.shared.quarantined.load(Ordering::Relaxed)
    }

    async fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // Who listens gives bells back, so it ends before those who send.
        self.listeners.close().await;
        self.senders.close().await;
        self.connection.close().await;
    }
}
