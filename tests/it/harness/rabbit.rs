//! A RabbitMQ for an installation: the one that `./test` started, or one of a test's own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use slipway_domain::id::{Mint as _, RandomMint};

use super::pool::Broker;

/// A broker starts a whole Erlang machine.
const START: Duration = Duration::from_secs(90);

/// A RabbitMQ.
pub(crate) struct Rabbit {
    url: String,
    prefix: String,
    own: Option<Own>,
}

/// One that may be stopped.
struct Own {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Rabbit {
    /// The one that `./test` started; the names in it are this test's own.
    pub(crate) fn shared() -> Self {
        let url = std::env::var("SLIPWAY_TEST_RABBITMQ_URL")
            .expect("SLIPWAY_TEST_RABBITMQ_URL is not set; run `./test journeys`");
        Self { url, prefix: format!("journey-{}", RandomMint.uuid().simple()), own: None }
    }

    /// One of the test's own that does not run yet.
    pub(crate) async fn stopped() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut own = Own { dir, child: None };
        own.spawn();
        let file = own.dir.path().join("url");
        super::soon("RabbitMQ has a URL", START, async || file.exists()).await;
        let url = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        own.stop();
        Self { url, prefix: "slipway".to_owned(), own: Some(own) }
    }
}

impl Own {
    fn spawn(&mut self) {
        let program = std::env::var_os("SLIPWAY_TEST_RABBITMQ_RUN")
            .map(PathBuf::from)
            .expect("SLIPWAY_TEST_RABBITMQ_RUN is not set; run `./test journeys`");
        let log = std::fs::File::create(self.dir.path().join("log.txt")).unwrap();
        let child = Command::new(program)
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log.txt")).unwrap_or_default();
            eprintln!("--- log of RabbitMQ since its last start:\n{log}");
        }
    }
}

impl Broker for Rabbit {
    const KIND: &'static str = "rabbitmq";
    const CONNECTED: &'static str = "connected to RabbitMQ";
    const AWAY: &'static str = "a part does not work";

    async fn start(&mut self) {
        if let Some(own) = &mut self.own {
            own.spawn();
        }
        super::soon("RabbitMQ takes connections", START, async || {
            // lapin sometimes waits for ever for a connection that was refused.
            let connected = Connection::connect(&self.url, ConnectionProperties::default());
            let connected = tokio::time::timeout(Duration::from_secs(5), connected).await;
            connected.is_ok_and(|connected| connected.is_ok())
        })
        .await;
    }

    fn stop(&mut self) {
        self.own.as_mut().expect("a broker of the test's own").stop();
    }

    async fn empty(&self) {
        let connection =
            Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        for queue in ["plan", "apply", "quarantine"] {
            let name = format!("{}.{queue}", self.prefix);
            channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
        }
        for exchange in ["signals", "quarantine"] {
            let name = format!("{}.{exchange}", self.prefix);
            channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.unwrap();
        }
    }

    fn env(&self) -> Vec<(String, String)> {
        [
            ("SLIPWAY_QUEUE_TRANSPORT", Self::KIND),
            ("SLIPWAY_QUEUE_URL", &self.url),
            ("SLIPWAY_QUEUE_PREFIX", &self.prefix),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}
