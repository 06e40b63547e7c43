//! Brokers to test with: the one that `./test` started, or one of a test's own.

use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use slipway_domain::id::{JobId, Mint as _, RandomMint};
use slipway_domain::job::{Doorbell, Queue};
use slipway_queue::{Bells, Embedded, SharedTransport};

/// Nothing takes longer, on a busy machine either.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How long nothing must happen until it is believed that nothing does.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// Which transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    Redis,
    RabbitMq,
}

/// A broker, and the processes that use it.
#[async_trait]
pub(crate) trait Broker: Send + Sync {
    /// The transport of one more process. The embedded one has only one process.
    async fn process(&self) -> SharedTransport;

    /// Stops the broker hard, as a crash does. Only one of the test's own.
    async fn stop(&mut self);

    /// Starts it again on the same address; it takes connections when this returns.
    async fn start(&mut self);

    /// Takes everything out of it that can be taken out.
    async fn empty(&self);

    /// Puts something where the doorbells of `queue` are, as a stranger would.
    async fn throw(&self, queue: Queue, message: &[u8]);

    /// A word of the URL that nobody may see.
    fn password(&self) -> String {
        String::new()
    }
}

/// The broker that `./test` started, with names of the test's own in it.
pub(crate) async fn shared(kind: Kind) -> Box<dyn Broker> {
    match kind {
        Kind::Embedded => Box::new(Alone(Arc::new(Embedded::default()))),
        Kind::Redis => Box::new(crate::redis::RedisBroker::shared()),
        Kind::RabbitMq => Box::new(crate::rabbitmq::RabbitBroker::shared()),
    }
}

/// A broker of the test's own, which runs.
pub(crate) async fn own(kind: Kind) -> Box<dyn Broker> {
    match kind {
        Kind::Embedded => panic!("the embedded transport has no broker"),
        Kind::Redis => Box::new(crate::redis::RedisBroker::own().await),
        Kind::RabbitMq => Box::new(crate::rabbitmq::RabbitBroker::own().await),
    }
}

/// A broker that may be emptied, and is not stopped. RabbitMQ takes seconds to start, and can be
/// emptied of one test's names.
pub(crate) async fn emptied(kind: Kind) -> Box<dyn Broker> {
    match kind {
        Kind::RabbitMq => shared(kind).await,
        _ => own(kind).await,
    }
}

struct Alone(SharedTransport);

#[async_trait]
impl Broker for Alone {
    async fn process(&self) -> SharedTransport {
        self.0.clone()
    }
    async fn stop(&mut self) {
        panic!("there is no broker to stop");
    }
    async fn start(&mut self) {
        panic!("there is no broker to start");
    }
    async fn empty(&self) {
        panic!("there is no broker to empty");
    }
    async fn throw(&self, _: Queue, _: &[u8]) {
        panic!("there is no broker to throw something into");
    }
}

/// A process that ends with the test.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on just now.
pub(crate) fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// A name that no other test has.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}-{}", RandomMint.uuid().simple())
}

/// What is set in the environment by `./test queue`.
pub(crate) fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `./test queue`"))
}

/// A doorbell of a new job.
pub(crate) fn bell(queue: Queue) -> Doorbell {
    Doorbell::new(JobId::new(&RandomMint), queue, None)
}

/// Waits until it rings.
pub(crate) async fn rings(bells: &mut Box<dyn Bells>) {
    tokio::time::timeout(PATIENCE, bells.wait()).await.expect("it does not ring").unwrap();
}

/// Waits to see whether it rings although it should not.
pub(crate) async fn is_silent(bells: &mut Box<dyn Bells>) -> bool {
    tokio::time::timeout(SILENCE, bells.wait()).await.is_err()
}

/// Waits until a check succeeds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !check().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
