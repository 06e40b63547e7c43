//! Transports: what tells workers that there is something to do, and every process that there is
//! something new to see.
//!
//! A transport is a doorbell. It may lose, repeat or delay what it carries: the database decides
//! who runs what, the relay rings again for what is due, and readers of events read rows. So no
//! message is an instruction, and nothing here is needed for correctness, only for speed.

mod embedded;
mod rabbitmq;
mod redis;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use slipway_domain::id::DeploymentId;
use slipway_domain::job::{Doorbell, Queue};
use tokio::sync::broadcast;

pub use embedded::Embedded;
pub use rabbitmq::{RabbitMq, RabbitMqOptions};
pub use redis::{Redis, RedisBuckets, RedisOptions};

/// What every process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "deployment_id", rename_all = "snake_case")]
pub enum Signal {
    /// There are new events or log lines of this deployment.
    Changed(DeploymentId),
    /// The running job of this deployment should stop; look at its row.
    Cancel(DeploymentId),
    /// Something of the central configuration was changed: what is remembered of it is old.
    Settings,
    /// Somebody was without the broker for a while, so any of the above may have been missed: look
    /// at the rows. A transport says it to its own process when it is connected again, and to all
    /// of them when it could not send what it should have.
    Missed,
}

/// A failure of a transport. Work goes on without it, slower.
#[derive(Debug, thiserror::Error)]
#[error("the {transport} transport failed: {detail}")]
pub struct TransportError {
    /// Which transport.
    pub transport: &'static str,
    /// What happened.
    pub detail: String,
}

/// Carries doorbells from whoever enqueues to whoever works, and signals to everybody.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// `embedded`, `redis` or `rabbitmq`.
    fn name(&self) -> &'static str;

    /// Tells one worker of the bell's queue to look. Call it after the commit; or just before it,
    /// for a job that it adds, where [`Transport::names_the_job`]. Never waits for a
    /// broker: the bell is handed to the transport, which delivers it when it can; one that cannot
    /// be handed over (too many wait already) is refused, and the relay rings again later.
    async fn ring(&self, bell: &Doorbell) -> Result<(), TransportError>;

    /// Whether [`Bells::wait`] says for which job a bell rings, so that who hears it before that job
    /// is committed knows that there is something to wait for.
    fn names_the_job(&self) -> bool {
        true
    }

    /// Listens for doorbells of one queue.
    async fn listen(&self, queue: Queue) -> Result<Box<dyn Bells>, TransportError>;

    /// Tells every process. Like [`Transport::ring`], never waits for a broker.
    async fn publish(&self, signal: Signal) -> Result<(), TransportError>;

    /// What every process is told, from now on. A receiver that lags learns that it does and must
    /// read the rows. After a time without its broker, a transport gives [`Signal::Missed`] to its
    /// receivers: the same news.
    fn signals(&self) -> broadcast::Receiver<Signal>;

    /// Whether the transport works right now.
    async fn health(&self) -> Result<(), TransportError>;

    /// Messages so far that could not be read and were put aside. Whoever writes to the broker and
    /// is not Slipway (or is a newer one) makes them.
    fn quarantined(&self) -> u64 {
        0
    }

    /// Delivers what was handed over, as far as that is possible at once, and lets go of the
    /// broker. Nothing may be sent afterwards.
    async fn close(&self) {}
}

/// Doorbells of one queue.
#[async_trait]
pub trait Bells: Send {
    /// Returns when there may be work, with the bell that rings where that is known. May
    /// return for nothing, and before the job is committed. Call it only with a free slot:
    /// what is taken from a broker here is not offered to another worker again. Safe to drop:
    /// a bell that was taken and not yet answered is answered by the next call.
    async fn wait(&mut self) -> Result<Option<Doorbell>, TransportError>;

    /// There is no free slot any more: gives back what is on its way here, and takes nothing until
    /// the next [`Bells::wait`].
    async fn rest(&mut self) {}
}

/// A transport to share.
pub type SharedTransport = Arc<dyn Transport>;
