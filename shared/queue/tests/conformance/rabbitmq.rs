//! A RabbitMQ to test with, and what only the RabbitMQ transport has to show.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use slipway_domain::id::{DeploymentId, RandomMint};
use slipway_domain::job::Queue;
use slipway_queue::{Bells, RabbitMq, RabbitMqOptions, SharedTransport, Signal, Transport};

use crate::rig::{Broker, PATIENCE, Running, bell, env, is_silent, rings, unique, until};
use crate::wire::Wire;

/// A broker starts a whole Erlang machine.
const START: Duration = Duration::from_secs(90);

/// A broker of the test's own.
struct Server {
    dir: tempfile::TempDir,
    running: Option<Running>,
}

pub(crate) struct RabbitBroker {
    url: String,
    prefix: String,
    password: String,
    server: Option<Server>,
    /// Whether the queues are there. They are made once an installation.
    made: tokio::sync::OnceCell<()>,
}

impl RabbitBroker {
    /// The one that `./test` started, with names of the test's own in it.
    pub(crate) fn shared() -> Self {
        Self {
            url: env("SLIPWAY_TEST_RABBITMQ_URL"),
            prefix: unique("test"),
            password: "guest".to_owned(),
            server: None,
            made: tokio::sync::OnceCell::new(),
        }
    }

    /// One that may be stopped. It takes seconds to start.
    pub(crate) async fn own() -> Self {
        let (dir, password) = (tempfile::tempdir().unwrap(), unique("secret"));
        std::fs::write(dir.path().join("password"), &password).unwrap();
        let mut broker = Self {
            url: String::new(),
            prefix: "slipway".to_owned(),
            password,
            server: Some(Server { dir, running: None }),
            made: tokio::sync::OnceCell::new(),
        };
        broker.start().await;
        broker
    }

    fn options(&self) -> RabbitMqOptions {
        RabbitMqOptions {
            prefix: self.prefix.clone(),
            connection_name: "test".to_owned(),
            ..RabbitMqOptions::new(self.url.clone())
        }
    }

    fn rabbit(&self) -> RabbitMq {
        RabbitMq::connect(&self.options()).unwrap()
    }

    async fn well(&self) -> RabbitMq {
        let transport = self.rabbit();
        until("it is connected", || async { transport.health().await.is_ok() }).await;
        transport
    }

    /// A stranger's channel.
    async fn channel(&self) -> (Connection, Channel) {
        let connection =
            Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    fn name(&self, what: &str) -> ShortString {
        format!("{}.{what}", self.prefix).into()
    }

    /// What a queue holds that is not on its way to a consumer, and its consumers.
    async fn counts(&self, what: &str) -> (u32, u32) {
        let (_connection, channel) = self.channel().await;
        let look = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue =
            channel.queue_declare(self.name(what), look, FieldTable::default()).await.unwrap();
        (queue.message_count(), queue.consumer_count())
    }
}

impl Drop for RabbitBroker {
    fn drop(&mut self) {
        if self.server.is_some() || std::thread::panicking() {
            return;
        }
        // The shared broker is left as it was, in a runtime that can wait here.
        let (url, prefix) = (std::mem::take(&mut self.url), self.prefix.clone());
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let made = tokio::sync::OnceCell::new();
                let broker = Self { url, prefix, password: String::new(), server: None, made };
                broker.empty().await;
                std::mem::forget(broker);
            });
        });
        let _ = clean.join();
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn process(&self) -> SharedTransport {
        let runs = self.server.as_ref().is_none_or(|server| server.running.is_some());
        if runs {
            self.made.get_or_init(async || self.well().await.close().await).await;
        }
        Arc::new(self.rabbit())
    }

    async fn stop(&mut self) {
        self.server.as_mut().expect("a broker of the test's own").running = None;
    }

    async fn start(&mut self) {
        let server = self.server.as_mut().expect("a broker of the test's own");
        let dir = server.dir.path().to_owned();
        let log = std::fs::File::create(dir.join("log.txt")).unwrap();
        let child = Command::new(env("SLIPWAY_TEST_RABBITMQ_RUN"))
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        server.running = Some(Running::new(child));
        let began = Instant::now();
        let file = dir.join("url");
        until("it has a URL", || async { file.exists() }).await;
        std::fs::read_to_string(&file).unwrap().trim().clone_into(&mut self.url);
        let url = &self.url;
        // lapin sometimes waits for ever for a connection that was refused.
        let up = async || {
            let connected = Connection::connect(url, ConnectionProperties::default());
            let connected = tokio::time::timeout(Duration::from_secs(5), connected).await;
            connected.is_ok_and(|connected| connected.is_ok())
        };
        while !up().await {
            assert!(began.elapsed() < START, "RabbitMQ does not start: {}", dir.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("a broker started in {:?}", began.elapsed());
    }

    async fn empty(&self) {
        let (_connection, channel) = self.channel().await;
        let bells = Queue::ALL.iter().flat_map(|queue| [queue.to_string(), format!("{queue}.now")]);
        for queue in bells.chain(["quarantine".to_owned()]) {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(self.name(&queue), options).await.unwrap();
        }
        for exchange in ["quarantine", "signals"] {
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(self.name(exchange), options).await.unwrap();
        }
    }

    async fn throw(&self, queue: Queue, message: &[u8]) {
        let (_connection, channel) = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let thrown = channel.basic_publish(
            ShortString::default(),
            self.name(queue.as_str()),
            BasicPublishOptions { mandatory: true, ..Default::default() },
            message,
            BasicProperties::default(),
        );
        let taken = thrown.await.unwrap().await.unwrap();
        assert!(taken.is_ack() && taken.take_message().is_none());
    }

    fn password(&self) -> String {
        self.password.clone()
    }
}

/// Whether it rings, and how long that took.
async fn rings_within(bells: &mut Box<dyn Bells>, limit: Duration) -> bool {
    tokio::time::timeout(limit, bells.wait()).await.is_ok_and(|rung| rung.is_ok())
}

/// Rings again and again, as the relay does, until the listener wakes.
async fn ring_until_woken(transport: &RabbitMq, bells: &mut Box<dyn Bells>, queue: Queue) {
    let woken = async {
        loop {
            let _ = transport.ring(&bell(queue)).await;
            if rings_within(bells, Duration::from_millis(300)).await {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, woken).await.expect("it never rings again");
}

#[tokio::test]
async fn whoever_looks_keeps_one_more_bell_at_most_from_whoever_is_free() {
    let broker = RabbitBroker::shared();
    let (one, two) = (broker.well().await, broker.well().await);
    let mut busy = one.listen(Queue::Plan).await.unwrap();
    let mut idle = two.listen(Queue::Plan).await.unwrap();
    one.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut busy).await;
    // The first has been told, looks at the database, and has asked for nothing more.
    for _ in 0..10 {
        one.ring(&bell(Queue::Plan)).await.unwrap();
    }
    for _ in 0..9 {
        rings(&mut idle).await;
    }
    busy.rest().await;
    rings(&mut idle).await;
    // Whoever is gone before it asked again has answered all the same.
    drop(busy);
    assert!(is_silent(&mut idle).await, "a bell rang twice");
}

#[tokio::test]
async fn a_bell_that_nobody_waits_for_is_kept_by_a_quorum() {
    let broker = RabbitBroker::shared();
    let transport = broker.well().await;
    let rung = bell(Queue::Plan);
    transport.ring(&rung).await.unwrap();
    until("it waits", || async { broker.counts("plan").await.0 == 1 }).await;
    assert_eq!(broker.counts("plan.now").await.0, 0);
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    assert_eq!(bells.wait().await.unwrap(), Some(rung));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_of_a_process_that_died_rings_elsewhere() {
    let mut broker = RabbitBroker::shared();
    let staying = broker.well().await;
    let wire = Wire::to(&broker.url).await;
    broker.url.clone_from(&wire.url);
    let dying = broker.well().await;
    broker.url.clone_from(&wire.to);
    let mut dead = dying.listen(Queue::Plan).await.unwrap();
    for _ in 0..5 {
        // It is told, and dies before it asked again.
        let rung = bell(Queue::Plan);
        let told = async {
            loop {
                let heard = dead.wait().await.unwrap();
                if heard.as_ref() == Some(&rung) {
                    return;
                }
            }
        };
        let ring = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            staying.ring(&rung).await.unwrap();
        };
        tokio::time::timeout(PATIENCE, async { tokio::join!(told, ring) }).await.unwrap();
        wire.cut();
        let mut living = staying.listen(Queue::Plan).await.unwrap();
        let heard = tokio::time::timeout(PATIENCE, living.wait()).await.unwrap().unwrap();
        assert_eq!(heard, Some(rung));
        living.rest().await;
    }
}

#[tokio::test]
async fn processes_that_all_make_the_queues_at_once_come_up() {
    let broker = RabbitBroker::shared();
    let processes: Vec<RabbitMq> = (0..6).map(|_| broker.rabbit()).collect();
    for process in &processes {
        until("it is connected", || async { process.health().await.is_ok() }).await;
        let mut bells = process.listen(Queue::Plan).await.unwrap();
        processes[0].ring(&bell(Queue::Plan)).await.unwrap();
        rings(&mut bells).await;
        bells.rest().await;
    }
    assert_eq!(processes[0].unconfirmed(), 0);
}

#[tokio::test]
async fn waits_that_are_given_up_leave_no_consumer_behind() {
    let broker = RabbitBroker::shared();
    let transport = broker.well().await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    for micros in (0..8000).step_by(50) {
        let _ = tokio::time::timeout(Duration::from_micros(micros), bells.wait()).await;
        bells.rest().await;
    }
    until("there is no consumer", || async { broker.counts("plan").await == (0, 0) }).await;
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
}

#[tokio::test]
async fn a_purged_queue_rings_again() {
    let broker = RabbitBroker::shared();
    let transport = broker.well().await;
    for _ in 0..5 {
        transport.ring(&bell(Queue::Plan)).await.unwrap();
    }
    until("they are there", || async { broker.counts("plan").await.0 == 5 }).await;
    let (_connection, channel) = broker.channel().await;
    channel.queue_purge(broker.name("plan"), QueuePurgeOptions::default()).await.unwrap();
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    assert!(is_silent(&mut bells).await);
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
}

#[tokio::test]
async fn a_bell_for_a_queue_that_was_deleted_is_counted_and_the_queue_made_again() {
    let broker = RabbitBroker::shared();
    let transport = broker.well().await;
    assert_eq!(transport.unconfirmed(), 0);
    broker.empty().await;
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    until("it came back", || async { transport.unconfirmed() == 1 }).await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    ring_until_woken(&transport, &mut bells, Queue::Plan).await;
    // Under a consumer, too.
    broker.empty().await;
    ring_until_woken(&transport, &mut bells, Queue::Plan).await;
    until("it is well again", || async { transport.health().await.is_ok() }).await;
}

#[tokio::test]
async fn a_broker_killed_right_after_it_made_the_queues_rings_again() {
    let mut broker = RabbitBroker::own().await;
    // The first connection makes them; what keeps a queue is on disk only seconds later.
    let transport = broker.well().await;
    let mut bells = transport.listen(Queue::Apply).await.unwrap();
    broker.stop().await;
    broker.start().await;
    let up = Instant::now();
    ring_until_woken(&transport, &mut bells, Queue::Apply).await;
    println!("it rang {:?} after the restart", up.elapsed());
    until("it is well again", || async { transport.health().await.is_ok() }).await;
}

#[tokio::test]
async fn a_channel_that_the_broker_closes_is_opened_again() {
    let broker = RabbitBroker::shared();
    let (one, two) = (broker.well().await, broker.well().await);
    let mut signals = two.signals();
    let (_connection, channel) = broker.channel().await;
    // The next publication is an error, which costs the channel; and whoever hears is not told.
    channel
        .exchange_delete(broker.name("signals"), ExchangeDeleteOptions::default())
        .await
        .unwrap();
    let heard = async {
        loop {
            let said = Signal::Cancel(DeploymentId::new(&RandomMint));
            one.publish(said).await.unwrap();
            let hears = async { while signals.recv().await.unwrap() != said {} };
            if tokio::time::timeout(Duration::from_millis(300), hears).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("signals do not come through again");
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_said_and_used() {
    let broker = RabbitBroker::shared();
    let (_connection, channel) = broker.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(broker.name("plan"), durable, FieldTable::default()).await.unwrap();
    let transport = broker.rabbit();
    until("it is said", || async {
        let said =
            transport.health().await.map_or_else(|error| error.to_string(), |()| String::new());
        said.contains(&format!("the queue {}.plan exists with other arguments", broker.prefix))
            && said.contains("inequivalent arg")
            && said.contains("Delete it")
    })
    .await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    // The other queues are not held up.
    let mut apply = transport.listen(Queue::Apply).await.unwrap();
    transport.ring(&bell(Queue::Apply)).await.unwrap();
    rings(&mut apply).await;
    // As it says itself.
    channel.queue_delete(broker.name("plan"), QueueDeleteOptions::default()).await.unwrap();
    ring_until_woken(&transport, &mut bells, Queue::Plan).await;
    until("it is well", || async { transport.health().await.is_ok() }).await;
}

#[tokio::test]
async fn who_listens_to_nothing_sees_that_a_queue_with_other_arguments_is_gone() {
    let broker = RabbitBroker::shared();
    let (_connection, channel) = broker.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(broker.name("plan"), durable, FieldTable::default()).await.unwrap();
    let transport = broker.rabbit();
    until("it is said", || async {
        let said =
            transport.health().await.map_or_else(|error| error.to_string(), |()| String::new());
        said.contains("exists with other arguments")
    })
    .await;
    channel.queue_delete(broker.name("plan"), QueueDeleteOptions::default()).await.unwrap();
    until("it is well", || async { transport.health().await.is_ok() }).await;
    // It is there again, and keeps what nobody waits for.
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    until("it is kept", || async { broker.counts("plan").await.0 == 1 }).await;
}

#[tokio::test]
async fn only_what_cannot_be_read_goes_to_the_quarantine() {
    let broker = RabbitBroker::shared();
    let transport = broker.well().await;
    // More than it keeps, some of it for a moment only.
    let (_connection, channel) = broker.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let body = serde_json::to_vec(&bell(Queue::Apply)).unwrap();
    for n in 0..10_100 {
        let properties = BasicProperties::default();
        let properties =
            if n >= 10_000 { properties.with_expiration("1".into()) } else { properties };
        let options = BasicPublishOptions::default();
        let name = broker.name("apply");
        let sent = channel.basic_publish(ShortString::default(), name, options, &body, properties);
        drop(sent.await.unwrap());
    }
    channel.wait_for_confirms().await.unwrap();
    until("the oldest are gone", || async { broker.counts("apply").await.0 <= 10_000 }).await;
    broker.throw(Queue::Plan, b"garbage").await;
    let misplaced = serde_json::to_vec(&bell(Queue::Apply)).unwrap();
    broker.throw(Queue::Plan, &misplaced).await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    until("both are put aside", || async { broker.counts("quarantine").await.0 == 2 }).await;
    assert_eq!(transport.quarantined(), 2);
    // With where they were, and why they are here.
    let first = channel
        .basic_get(broker.name("quarantine"), BasicGetOptions { no_ack: true })
        .await
        .unwrap()
        .expect("a message");
    assert_eq!(first.data, b"garbage");
    let headers = first.properties.headers().clone().unwrap();
    let header = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(header("x-first-death-reason"), "rejected");
    assert_eq!(header("x-first-death-queue"), broker.name("plan").to_string());
    // What expires at the head of its queue does not come here either.
    let mut apply = transport.listen(Queue::Apply).await.unwrap();
    rings(&mut apply).await;
    assert_eq!(broker.counts("quarantine").await.0, 1);
}

#[tokio::test]
async fn a_wrong_password_or_host_is_said_without_the_password() {
    let broker = RabbitBroker::shared();
    let port = broker.url.rsplit_once(':').unwrap().1;
    for (url, wanted) in [
        (format!("amqp://guest:hunter2@127.0.0.1:{port}"), "ACCESS_REFUSED"),
        ("amqp://guest:hunter2@127.0.0.1:1/%2f".to_owned(), "refused"),
        ("amqp://guest:hunter2@no-such-host.invalid:1/%2f".to_owned(), "no-such-host.invalid:1"),
        // Where no TLS is spoken.
        (format!("amqps://guest:hunter2@127.0.0.1:{port}"), "127.0.0.1"),
    ] {
        let options = RabbitMqOptions::new(url);
        let transport = RabbitMq::connect(&options).unwrap();
        until("it is said", || async {
            let error = transport.health().await.unwrap_err();
            let shown = format!("{error} {error:?} {transport:?} {options:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            shown.contains(wanted)
        })
        .await;
    }
    for url in ["", "redis://guest:hunter2@host", "amqp://guest:hunter2@host:no/", "hunter2"] {
        let error = RabbitMq::connect(&RabbitMqOptions::new(url.to_owned())).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

/// The threads that lapin has in this process.
fn lapin_threads() -> usize {
    let tasks = std::fs::read_dir(PathBuf::from("/proc/self/task")).unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .filter(|name| name.starts_with("lapin"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_reset_are_made_again_and_leave_nothing_behind() {
    let mut broker = RabbitBroker::shared();
    let wire = Wire::to(&broker.url).await;
    broker.url.clone_from(&wire.url);
    let transport = broker.well().await;
    let mut signals = transport.signals();
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    ring_until_woken(&transport, &mut bells, Queue::Plan).await;
    let mut took = Vec::new();
    for _ in 0..8 {
        wire.cut();
        let cut = Instant::now();
        ring_until_woken(&transport, &mut bells, Queue::Plan).await;
        took.push(cut.elapsed());
        let missed = async { while signals.recv().await.unwrap() != Signal::Missed {} };
        tokio::time::timeout(PATIENCE, missed).await.expect("nobody says that signals were missed");
    }
    println!("after a reset it rang again within {took:?}");
    until("it is well", || async { transport.health().await.is_ok() }).await;
    until("the old threads are gone", || async { lapin_threads() <= 2 }).await;
    drop(bells);
    transport.close().await;
    until("all threads are gone", || async { lapin_threads() == 0 }).await;
    broker.url.clone_from(&wire.to);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_falls_silent_is_noticed_and_ringing_does_not_wait_for_it() {
    let mut broker = RabbitBroker::shared();
    let wire = Wire::to(&broker.url).await;
    broker.url = format!("{}?heartbeat=1", wire.url);
    let transport = broker.well().await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    ring_until_woken(&transport, &mut bells, Queue::Plan).await;
    wire.freeze(true);
    let frozen = Instant::now();
    let error = transport.health().await.unwrap_err();
    println!("health after {:?}: {error}", frozen.elapsed());
    assert!(frozen.elapsed() < Duration::from_secs(2), "{:?}", frozen.elapsed());
    let mut longest = Duration::ZERO;
    for _ in 0..1000 {
        let rung = Instant::now();
        let _ = transport.ring(&bell(Queue::Plan)).await;
        longest = longest.max(rung.elapsed());
    }
    assert!(longest < Duration::from_millis(50), "{longest:?}");
    let resting = Instant::now();
    bells.rest().await;
    assert!(resting.elapsed() < Duration::from_secs(8), "{:?}", resting.elapsed());
    // Two heartbeats without a word: given up, and tried again, in vain as long as it is silent.
    until("it is given up", || async { wire.connections() > 2 }).await;
    wire.freeze(false);
    ring_until_woken(&transport, &mut bells, Queue::Plan).await;
    until("it is well", || async { transport.health().await.is_ok() }).await;
    until("the old threads are gone", || async { lapin_threads() <= 2 }).await;
    transport.close().await;
    broker.url.clone_from(&wire.to);
}
