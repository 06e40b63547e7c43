//! A Redis to test with, and what only the Redis transport has to show.

use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use slipway_domain::id::{Mint as _, RandomMint};
use slipway_domain::job::Queue;
use slipway_queue::{Redis, RedisOptions, SharedTransport};

use crate::rig::{
    Broker, PATIENCE, Running, bell, env, free_port, is_silent, rings, unique, until,
};

/// A Redis of the test's own.
struct Server {
    port: u16,
    dir: tempfile::TempDir,
    running: Option<Running>,
}

pub(crate) struct RedisBroker {
    url: String,
    prefix: String,
    password: String,
    server: Option<Server>,
}

impl RedisBroker {
    pub(crate) fn shared() -> Self {
        Self {
            url: env("SLIPWAY_TEST_REDIS_URL"),
            prefix: unique("test"),
            password: String::new(),
            server: None,
        }
    }

    pub(crate) async fn own() -> Self {
        let (port, password) = (free_port(), unique("secret"));
        let mut broker = Self {
            url: format!("redis://:{password}@127.0.0.1:{port}/0"),
            prefix: "slipway".to_owned(),
            password,
            server: Some(Server { port, dir: tempfile::tempdir().unwrap(), running: None }),
        };
        broker.start().await;
        broker
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// A key of apalis' for a queue.
    fn key(&self, queue: Queue, what: &str) -> String {
        format!("{}:{queue}:{what}", self.prefix)
    }

    fn redis(&self) -> Redis {
        let mut options = RedisOptions::new(self.url.clone());
        options.prefix.clone_from(&self.prefix);
        Redis::connect(options).unwrap()
    }

    /// Sends a signal to the server.
    fn signal(&self, name: &str) {
        let running = self.server.as_ref().and_then(|server| server.running.as_ref()).unwrap();
        let sent = Command::new("kill").args(["-s", name, &running.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// How many listeners of the queue are registered.
    async fn listeners(&self, queue: Queue) -> usize {
        let workers: Vec<String> =
            self.connection().await.zrange(self.key(queue, "workers"), 0, -1).await.unwrap();
        workers.len()
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn process(&self) -> SharedTransport {
        Arc::new(self.redis())
    }

    async fn stop(&mut self) {
        let server = self.server.as_mut().expect("a broker of the test's own");
        server.running = None;
    }

    async fn start(&mut self) {
        let server = self.server.as_mut().expect("a broker of the test's own");
        let child = Command::new(env("SLIPWAY_TEST_REDIS_BIN"))
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &server.port.to_string(), "--requirepass", &self.password])
            .current_dir(server.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        server.running = Some(Running::new(child));
        let client = redis::Client::open(self.url.as_str()).unwrap();
        until("Redis takes connections", || async {
            client.get_multiplexed_async_connection().await.is_ok()
        })
        .await;
    }

    async fn empty(&self) {
        redis::cmd("FLUSHALL").query_async::<()>(&mut self.connection().await).await.unwrap();
    }

    async fn throw(&self, queue: Queue, message: &[u8]) {
        let mut connection = self.connection().await;
        let id = RandomMint.uuid().simple().to_string();
        let fields = [("attempts", "0"), ("max_attempts", "1"), ("status", "Pending")];
        let metadata = format!("{}:{id}", self.key(queue, "meta"));
        let () = connection.hset_multiple(metadata, &fields).await.unwrap();
        let () = connection.hset(self.key(queue, "data"), &id, message).await.unwrap();
        let () = connection.rpush(self.key(queue, "active"), &id).await.unwrap();
    }

    fn password(&self) -> String {
        self.password.clone()
    }
}

#[tokio::test]
async fn what_is_no_task_at_all_is_put_aside() {
    let broker = RedisBroker::own().await;
    let transport = broker.redis();
    let transport: &dyn slipway_queue::Transport = &transport;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    bells.rest().await;
    let mut connection = broker.connection().await;
    let (active, data) = (broker.key(Queue::Plan, "active"), broker.key(Queue::Plan, "data"));
    let meta = broker.key(Queue::Plan, "meta");
    // Ids of nothing, of no text, without metadata, with metadata of another kind, and of none.
    let () = connection.rpush(&active, "junk").await.unwrap();
    let () = connection.rpush(&active, &b"\xff\x00"[..]).await.unwrap();
    let () = connection.rpush(&active, "").await.unwrap();
    let () = connection.rpush(&active, "half").await.unwrap();
    let () = connection.hset(&data, "half", "{}").await.unwrap();
    let () = connection.rpush(&active, "odd").await.unwrap();
    let () = connection.set(format!("{meta}:odd"), "text").await.unwrap();
    let () = connection.rpush(&active, "poor").await.unwrap();
    let () = connection.hset(&data, "poor", "{}").await.unwrap();
    let () = connection.hset(format!("{meta}:poor"), "attempts", "many").await.unwrap();
    for _ in 0..3 {
        transport.ring(&bell(Queue::Plan)).await.unwrap();
        rings(&mut bells).await;
    }
    until("all are put aside", || async { transport.quarantined() == 6 }).await;
    let kept: Vec<String> = connection.lrange("slipway:quarantine:plan", 0, -1).await.unwrap();
    assert_eq!(kept.len(), 6, "{kept:#?}");
    for word in ["junk", "a task without metadata", "metadata that are none", "without attempts"] {
        assert!(kept.iter().any(|entry| entry.contains(word)), "{word}: {kept:#?}");
    }
}

#[tokio::test]
async fn a_name_of_ours_that_is_used_for_something_else_is_freed() {
    let broker = RedisBroker::own().await;
    let mut connection = broker.connection().await;
    for name in ["active", "data", "scheduled", "workers"] {
        let () = connection.set(broker.key(Queue::Apply, name), "mine").await.unwrap();
    }
    let transport = broker.process().await;
    let mut bells = transport.listen(Queue::Apply).await.unwrap();
    let woken = async {
        loop {
            transport.ring(&bell(Queue::Apply)).await.unwrap();
            let wait = tokio::time::timeout(std::time::Duration::from_millis(300), bells.wait());
            if wait.await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, woken).await.expect("the queue is not freed");
    assert_eq!(transport.quarantined(), 4);
}

#[tokio::test]
async fn quarantine_keeps_the_last_thousand() {
    let broker = RedisBroker::own().await;
    let mut connection = broker.connection().await;
    let mut pipe = redis::pipe();
    let active = broker.key(Queue::Plan, "active");
    for n in 0..1200 {
        pipe.cmd("RPUSH").arg(&active).arg(format!("junk-{n}")).ignore();
    }
    let () = pipe.query_async(&mut connection).await.unwrap();
    let transport = broker.process().await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    let waiting = tokio::spawn(async move { bells.wait().await });
    until("all are counted", || async { transport.quarantined() == 1200 }).await;
    let kept: usize = connection.llen("slipway:quarantine:plan").await.unwrap();
    assert_eq!(kept, 1000);
    let left: usize = connection.llen(&active).await.unwrap();
    assert_eq!(left, 0);
    waiting.abort();
}

/// Keys of apalis' and ours, and what they hold.
async fn size(connection: &mut MultiplexedConnection) -> (usize, usize) {
    let keys: usize = redis::cmd("DBSIZE").query_async(connection).await.unwrap();
    let info: String = redis::cmd("INFO").arg("memory").query_async(connection).await.unwrap();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:")).unwrap();
    (keys, used.trim().parse().unwrap())
}

#[tokio::test]
async fn five_thousand_rings_leave_nothing_behind() {
    let broker = RedisBroker::own().await;
    let transport = broker.process().await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    let mut connection = broker.connection().await;
    // With everything set up once.
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    let before = size(&mut connection).await;
    for _ in 0..25 {
        for _ in 0..200 {
            transport.ring(&bell(Queue::Plan)).await.unwrap();
        }
        for _ in 0..200 {
            rings(&mut bells).await;
        }
    }
    assert!(is_silent(&mut bells).await);
    let after = size(&mut connection).await;
    println!("keys and bytes of data before {before:?}, after 5000 bells {after:?}");
    assert!(after.0 <= before.0 + 2, "{before:?} -> {after:?}");
    assert!(after.1 < before.1 + 300_000, "{before:?} -> {after:?}");
}

#[tokio::test]
async fn bells_that_nobody_hears_do_not_pile_up() {
    let broker = RedisBroker::own().await;
    let transport = broker.process().await;
    let mut connection = broker.connection().await;
    let active = broker.key(Queue::Apply, "active");
    let (mut longest, mut most) = (0_usize, 0);
    for _ in 0..25 {
        for _ in 0..200 {
            transport.ring(&bell(Queue::Apply)).await.unwrap();
        }
        let length: usize = connection.llen(&active).await.unwrap();
        longest = longest.max(length);
        most = most.max(size(&mut connection).await.0);
    }
    // A key for the metadata of each bell, the bells that are being sent, and the queue's own keys.
    assert!(longest <= 256, "{longest}");
    assert!(most <= 256 + 256 + 10, "{most} keys");
    until("all are sent", || async {
        let mut connection = broker.connection().await;
        let scheduled: usize =
            connection.zcard(broker.key(Queue::Apply, "scheduled")).await.unwrap();
        let length: usize = connection.llen(&active).await.unwrap();
        length == 256 && scheduled == 0 && size(&mut connection).await.0 <= 256 + 10
    })
    .await;
    let data: usize = connection.hlen(broker.key(Queue::Apply, "data")).await.unwrap();
    assert!(data <= 256, "{data}");
    // Whoever comes is woken by what is left.
    let mut bells = transport.listen(Queue::Apply).await.unwrap();
    rings(&mut bells).await;
}

#[tokio::test]
async fn listeners_that_come_and_go_leave_nothing_behind() {
    let broker = RedisBroker::own().await;
    let mut connection = broker.connection().await;
    let mut sizes = Vec::new();
    for _ in 0..5 {
        let transport = broker.process().await;
        let mut bells = transport.listen(Queue::Plan).await.unwrap();
        transport.ring(&bell(Queue::Plan)).await.unwrap();
        rings(&mut bells).await;
        assert_eq!(broker.listeners(Queue::Plan).await, 1);
        transport.close().await;
        assert_eq!(broker.listeners(Queue::Plan).await, 0);
        sizes.push(size(&mut connection).await.0);
    }
    assert_eq!(sizes[0], sizes[4], "{sizes:?}");
}

#[tokio::test]
async fn a_bell_taken_by_a_process_that_died_rings_elsewhere() {
    let broker = RedisBroker::own().await;
    let mut connection = broker.connection().await;
    let transport = broker.process().await;
    // As a listener leaves it that was killed after it had fetched: the bell is in its set, and
    // its last heartbeat was long ago.
    broker.throw(Queue::Plan, serde_json::to_string(&bell(Queue::Plan)).unwrap().as_bytes()).await;
    let (active, workers) = (broker.key(Queue::Plan, "active"), broker.key(Queue::Plan, "workers"));
    let id: String = connection.lpop(&active, None).await.unwrap();
    let () = connection.sadd(broker.key(Queue::Plan, "inflight:dead"), &id).await.unwrap();
    let () = connection.zadd(&workers, "dead", 1).await.unwrap();
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    // At the next heartbeat.
    rings(&mut bells).await;
    until("only the living are registered", || async { broker.listeners(Queue::Plan).await == 1 })
        .await;
}

#[tokio::test]
async fn a_connection_that_was_cut_is_made_again() {
    let broker = RedisBroker::own().await;
    let (sender, receiver) = (broker.process().await, broker.process().await);
    let mut bells = receiver.listen(Queue::Plan).await.unwrap();
    let mut connection = broker.connection().await;
    for _ in 0..5 {
        sender.ring(&bell(Queue::Plan)).await.unwrap();
        rings(&mut bells).await;
        let () = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "pubsub", "SKIPME", "yes"])
            .query_async(&mut connection)
            .await
            .unwrap();
    }
    // None of the listeners before is left in the register, and no bell with them.
    until("the register is clean", || async { broker.listeners(Queue::Plan).await == 1 }).await;
}

#[tokio::test]
async fn a_broker_that_is_frozen_is_seen_and_waited_for() {
    let broker = RedisBroker::own().await;
    let transport = broker.process().await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    broker.signal("STOP");
    let asked = std::time::Instant::now();
    assert!(transport.health().await.is_err());
    assert!(asked.elapsed() < std::time::Duration::from_secs(2), "{:?}", asked.elapsed());
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    // Long enough for commands to time out.
    let frozen = tokio::time::timeout(std::time::Duration::from_secs(5), bells.wait()).await;
    assert!(frozen.is_err(), "it rang without a broker");
    broker.signal("CONT");
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    until("it is well again", || async { transport.health().await.is_ok() }).await;
}

#[tokio::test]
async fn a_broker_that_takes_nothing_is_not_well() {
    let broker = RedisBroker::own().await;
    let transport = broker.process().await;
    until("it is connected", || async { transport.health().await.is_ok() }).await;
    let mut connection = broker.connection().await;
    let limit = |bytes: &'static str| {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("maxmemory").arg(bytes);
        command
    };
    let () = limit("1").query_async(&mut connection).await.unwrap();
    until("it is seen", || async {
        let _ = transport.ring(&bell(Queue::Plan)).await;
        transport.health().await.is_err_and(|error| error.detail.contains("OOM"))
    })
    .await;
    let () = limit("0").query_async(&mut connection).await.unwrap();
    until("it is well again", || async {
        let _ = transport.ring(&bell(Queue::Plan)).await;
        transport.health().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn an_url_that_is_none_is_refused_without_being_shown() {
    for url in ["", "http://user:hidden@host", "redis://:hidden@host:notaport/0", "hidden"] {
        let error = Redis::connect(RedisOptions::new(url.to_owned())).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
    }
    let options = RedisOptions::new("redis://:hidden@127.0.0.1:1/0".to_owned());
    assert!(!format!("{options:?}").contains("hidden"));
}

#[tokio::test]
async fn a_wrong_password_is_said_without_any() {
    let broker = RedisBroker::own().await;
    let wrong = broker.url.replace(&broker.password, "wrong-hidden");
    let transport = Redis::connect(RedisOptions::new(wrong)).unwrap();
    let transport: &dyn slipway_queue::Transport = &transport;
    until("it is refused", || async {
        let error = transport.health().await.unwrap_err().to_string();
        assert!(!error.contains("hidden"), "{error}");
        error.contains("WRONGPASS") || error.contains("uthentication")
    })
    .await;
}

#[tokio::test]
async fn processes_count_requests_together_and_say_so_when_they_cannot() {
    use slipway_domain::limit::Quota;
    use slipway_domain::port::buckets::Buckets as _;
    let mut broker = RedisBroker::own().await;
    let (one, other) = (broker.redis(), broker.redis());
    let (one, other) = (one.buckets(), other.buckets());
    let quota = Quota { requests: 5, window_s: 600 };
    until("both are connected", async || {
        one.take("warm", quota).await.is_ok() && other.take("warm", quota).await.is_ok()
    })
    .await;
    let mut allowed = 0;
    for _ in 0..5 {
        for buckets in [&one, &other] {
            let taken = buckets.take("a", quota).await.unwrap();
            allowed += u32::from(taken.allowed);
            assert_eq!(taken.allowed, taken.retry_after_s == 0, "{taken:?}");
        }
    }
    assert_eq!(allowed, 5, "of ten requests to two processes");
    assert_eq!(one.take("b", quota).await.unwrap().remaining, 4, "others have their own");
    let ttl: i64 = broker.connection().await.pttl("slipway:limit:a").await.unwrap();
    assert!((1..=602_000).contains(&ttl), "it is forgotten by itself: {ttl}");
    broker.stop().await;
    assert!(one.take("a", quota).await.is_err(), "the caller counts for itself then");
}
