//! The transport over RabbitMQ, for several processes.
//!
//! Two connections a process: one sends (a broker short of memory or disk stops reading from
//! whoever publishes), one hears. Each is kept up by a [`keeper`], for ever. lapin's own recovery
//! is off: it gives up after a number of attempts, replays what it remembers of channels, and can
//! only be waited for. A connection that is lost is thrown away here, and every part (doorbells
//! out, signals out, signals in, each [`bells`]) sets itself up again on the next one, so there is
//! one way to begin and no state that is half recovered.
//!
//! Doorbells that have to wait do so in one quorum queue a work queue, signals go through a fanout exchange to a queue
//! of each process. [`topology`] has them all.

mod address;
mod backoff;
mod bells;
mod keeper;
mod link;
mod mute;
mod ringer;
mod signals;
mod topology;
mod ward;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use slipway_domain::Secret;
use slipway_domain::id::{Mint as _, RandomMint};
use slipway_domain::job::{Doorbell, Queue};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::{Bells, Signal, Transport, TransportError};

use address::Address;
use bells::RabbitBells;
use keeper::Keeper;
use mute::Mute;
use ringer::Rung;
use topology::Topology;
use ward::Ward;

const NAME: &str = "rabbitmq";

/// Doorbells that may wait for the broker. One more is refused; the relay rings again.
const BELLS_WAITING: usize = 8192;

/// Signals that may wait for the broker. What is too much is made up for by one
/// [`Signal::Missed`] to everybody.
const SIGNALS_WAITING: usize = 4096;

/// Signals that a slow receiver may be behind before it is told to read the rows instead.
const SIGNAL_BACKLOG: usize = 4096;

/// How long [`Transport::close`] waits for what was handed over to be delivered.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How the broker is reached.
#[derive(Debug, Clone)]
pub struct RabbitMqOptions {
    /// `amqp://user:password@host:port/vhost`, or `amqps://…` for TLS (checked against the
    /// system's certificates; `SSL_CERT_FILE` names others).
    pub url: Secret<String>,
    /// Begins the name of every queue and exchange, so that several installations can share a
    /// virtual host. Letters, digits, `.`, `_` and `-`; at most 100 of them.
    pub prefix: String,
    /// What the connections are called in the broker's own listings.
    pub connection_name: String,
}

impl RabbitMqOptions {
    /// The defaults, for the broker at `url`.
    pub fn new(url: impl Into<Secret<String>>) -> Self {
        Self { url: url.into(), prefix: "slipway".into(), connection_name: "slipway".into() }
    }
}

fn trouble(detail: impl Into<String>) -> TransportError {
    TransportError { transport: NAME, detail: detail.into() }
}

fn closed() -> TransportError {
    trouble("it was closed")
}

/// What every part of the transport knows.
struct House {
    topology: Topology,
    /// Every part is in it until it works for the first time.
    ward: Ward,
    /// Held by whoever declares queues.
    declaring: tokio::sync::Mutex<()>,
    /// Queues that do not answer although the broker does.
    mute: Mute,
    quarantined: AtomicU64,
    unconfirmed: AtomicU64,
    /// Names this process among those that say signals.
    instance: String,
    signals: broadcast::Sender<Signal>,
    /// A signal was not sent, or perhaps not: everybody has to look.
    signals_lost: AtomicBool,
}

/// Doorbells over quorum queues, and past them to who waits; signals over a fanout exchange.
pub struct RabbitMq {
    address: Address,
    house: Arc<House>,
    bells_out: Mutex<Option<mpsc::Sender<Rung>>>,
    signals_out: Mutex<Option<mpsc::Sender<Signal>>>,
    /// Turned to true by [`Transport::close`]: what cannot be sent now will not be.
    closing: watch::Sender<bool>,
    senders: Mutex<Vec<JoinHandle<()>>>,
    hearer: JoinHandle<()>,
    sending: Keeper,
    hearing: Keeper,
}

impl RabbitMq {
    /// Begins to connect, in the background, and keeps connecting for ever: a broker that is down
    /// is no error here, and is seen in [`Transport::health`]. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// A URL that cannot be read, or a prefix that cannot begin a name.
    pub fn connect(options: &RabbitMqOptions) -> Result<Self, TransportError> {
        let address = Address::read(&options.url, &options.connection_name).map_err(trouble)?;
        let house = Arc::new(House {
            topology: Topology::new(&options.prefix).map_err(trouble)?,
            ward: Ward::default(),
            declaring: tokio::sync::Mutex::default(),
            mute: Mute::default(),
            quarantined: AtomicU64::new(0),
            unconfirmed: AtomicU64::new(0),
            instance: RandomMint.uuid().simple().to_string(),
            signals: broadcast::channel(SIGNAL_BACKLOG).0,
            signals_lost: AtomicBool::new(false),
        });
        for part in [ringer::PART, signals::OUT, signals::IN] {
            house.ward.waits(part);
        }
        let sending = Keeper::start(address.clone(), "sends", house.clone());
        let hearing = Keeper::start(address.clone(), "hears", house.clone());
        let (bells_out, bells) = mpsc::channel(BELLS_WAITING);
        let (signals_out, told) = mpsc::channel(SIGNALS_WAITING);
        let closing = watch::Sender::new(false);
        let ring = ringer::run(bells, sending.line(), closing.subscribe(), house.clone());
        let tell = signals::send(told, sending.line(), closing.subscribe(), house.clone());
        let hearer = tokio::spawn(signals::hear(hearing.line(), house.clone()));
        Ok(Self {
            address,
            house,
            bells_out: Mutex::new(Some(bells_out)),
            signals_out: Mutex::new(Some(signals_out)),
            closing,
            senders: Mutex::new(vec![tokio::spawn(ring), tokio::spawn(tell)]),
            hearer,
            sending,
            hearing,
        })
    }

    /// Doorbells so far that the broker did not take, or did not say that it took. The relay rang,
    /// or rings, again for each of them whose job is still due.
    pub fn unconfirmed(&self) -> u64 {
        self.house.unconfirmed.load(Ordering::Relaxed)
    }

    fn hand_over<T>(
        way: &Mutex<Option<mpsc::Sender<T>>>,
        what: T,
        name: &str,
    ) -> Result<(), TransportError> {
        let way = way.lock().unwrap_or_else(PoisonError::into_inner);
        match way.as_ref().ok_or_else(closed)?.try_send(what) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(trouble(format!("too many {name} wait for the broker already")))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq")
            .field("address", &self.address)
            .field("prefix", &self.house.topology.prefix())
            .finish_non_exhaustive()
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.hearer.abort();
        let senders = self.senders.get_mut().unwrap_or_else(PoisonError::into_inner);
        senders.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Transport for RabbitMq {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn ring(&self, bell: &Doorbell) -> Result<(), TransportError> {
        let rung = Rung { bell: bell.clone(), at: Instant::now() };
        Self::hand_over(&self.bells_out, rung, "doorbells")
    }

    async fn listen(&self, queue: Queue) -> Result<Box<dyn Bells>, TransportError> {
        Ok(Box::new(RabbitBells::new(queue, self.hearing.line(), self.house.clone())))
    }

    async fn publish(&self, signal: Signal) -> Result<(), TransportError> {
        let handed_over = Self::hand_over(&self.signals_out, signal, "signals");
        if !*self.closing.borrow() {
            // This process hears itself without the broker. No receiver is no fault.
            let _ = self.house.signals.send(signal);
            if handed_over.is_err() {
                self.house.signals_lost.store(true, Ordering::Relaxed);
            }
        }
        handed_over
    }

    fn signals(&self) -> broadcast::Receiver<Signal> {
        self.house.signals.subscribe()
    }

    async fn health(&self) -> Result<(), TransportError> {
        let (sending, hearing) = tokio::join!(self.sending.check(), self.hearing.check());
        sending.and(hearing).and_then(|()| self.house.ward.check()).map_err(trouble)
    }

    fn quarantined(&self) -> u64 {
        self.house.quarantined.load(Ordering::Relaxed)
    }

    async fn close(&self) {
        // Without senders the tasks end when they have sent what is there.
        self.bells_out.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.signals_out.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.closing.send_replace(true);
        let senders: Vec<_> =
            self.senders.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let ends: Vec<_> = senders.iter().map(JoinHandle::abort_handle).collect();
        if timeout(LAST_WORDS, futures::future::join_all(senders)).await.is_err() {
            tracing::warn!("the broker did not take the last doorbells; the relay rings again");
            ends.iter().for_each(tokio::task::AbortHandle::abort);
        }
        self.hearer.abort();
        tokio::join!(self.sending.close(), self.hearing.close());
    }
}
