//! The broker of an installation, whichever it is, as something that can be stopped and emptied.

use lapin::options::QueuePurgeOptions;
use lapin::{Connection, ConnectionProperties};
use slipway_domain::job::Queue;

use crate::harness::{Broker as _, Rabbit, Redis};

/// What carries doorbells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// None between processes: workers ask the database.
    Embedded,
    Redis,
    RabbitMq,
}

impl Transport {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
        }
    }
}

/// A running or stopped broker of a test's own.
pub(crate) enum Broker {
    None,
    Redis(Redis),
    RabbitMq(Rabbit),
}

impl Broker {
    /// Starts one.
    pub(crate) async fn start_new(transport: Transport) -> Self {
        let mut broker = match transport {
            Transport::Embedded => Self::None,
            Transport::Redis => Self::Redis(Redis::stopped()),
            Transport::RabbitMq => Self::RabbitMq(Rabbit::stopped().await),
        };
        broker.start().await;
        broker
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        match self {
            Self::None => {}
            Self::Redis(redis) => redis.stop(),
            Self::RabbitMq(rabbit) => rabbit.stop(),
        }
    }

    /// Starts it again. Redis comes back empty, RabbitMQ with what it held.
    pub(crate) async fn start(&mut self) {
        match self {
            Self::None => {}
            Self::Redis(redis) => redis.start().await,
            Self::RabbitMq(rabbit) => rabbit.start().await,
        }
    }

    /// Takes every doorbell out of it; `all`: RabbitMQ's queues too, not only what is in them.
    pub(crate) async fn empty(&self, all: bool) {
        match self {
            Self::None => {}
            Self::Redis(redis) => redis.empty().await,
            Self::RabbitMq(rabbit) if all => rabbit.empty().await,
            Self::RabbitMq(_) => purge(&self.value("SLIPWAY_QUEUE_URL").unwrap()).await,
        }
    }

    /// What tells a process to use it.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        match self {
            Self::None => Vec::new(),
            Self::Redis(redis) => redis.env(),
            Self::RabbitMq(rabbit) => rabbit.env(),
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        self.env().into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> Option<u16> {
        let url = self.value("SLIPWAY_QUEUE_URL")?;
        let (_, rest) = url.rsplit_once(':')?;
        rest.split('/').next()?.parse().ok()
    }

    /// What tells a process to use it through another port.
    pub(crate) fn env_at(&self, port: u16) -> Vec<(String, String)> {
        let Some(own) = self.port() else { return Vec::new() };
        let other = |value: String| {
            value.replace(&format!("127.0.0.1:{own}"), &format!("127.0.0.1:{port}"))
        };
        self.env().into_iter().map(|(name, value)| (name, other(value))).collect()
    }
}

async fn purge(url: &str) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    for queue in Queue::ALL {
        // One that is not there closes the channel, so each has one of its own.
        let channel = connection.create_channel().await.unwrap();
        let name = format!("slipway.{queue}");
        let _ = channel.queue_purge(name.into(), QueuePurgeOptions::default()).await;
    }
    let _ = connection.close(200, "done".into()).await;
}
