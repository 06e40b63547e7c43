//! An installation as operators run it: API and workers as processes of their own, on PostgreSQL
//! and a broker.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use slipway_app::client::http::Client;

use super::server::{Database, command};

/// A broker that an installation uses.
pub(crate) trait Broker {
    /// What the configuration calls it.
    const KIND: &'static str;
    /// What a process says that has reached it.
    const CONNECTED: &'static str;
    /// What a process says that has not.
    const AWAY: &'static str;

    /// Starts it, and waits until it takes connections.
    async fn start(&mut self);

    /// Kills it.
    fn stop(&mut self);

    /// Takes everything out of it.
    async fn empty(&self);

    /// What tells a process to use it.
    fn env(&self) -> Vec<(String, String)>;
}

/// A Redis of a test's own, which it may stop, start and empty.
pub(crate) struct Redis {
    port: u16,
    child: Option<Child>,
    dir: tempfile::TempDir,
}

impl Redis {
    /// One that does not run yet.
    pub(crate) fn stopped() -> Self {
        Self { port: super::port::quiet_port(), child: None, dir: tempfile::tempdir().unwrap() }
    }

    /// Everything that anybody asks of it from now on, as it tells it.
    pub(crate) fn watch(&self) -> Arc<Mutex<Vec<u8>>> {
        use std::io::{Read as _, Write as _};
        let mut connection = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.write_all(b"MONITOR\r\n").unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = heard.clone();
        std::thread::spawn(move || {
            let mut part = [0; 16 << 10];
            while let Ok(read @ 1..) = connection.read(&mut part) {
                all.lock().unwrap().extend_from_slice(&part[..read]);
            }
        });
        heard
    }

    /// What it holds, as it writes it down.
    pub(crate) fn dump(&self) -> Vec<u8> {
        self.ask("SAVE").unwrap();
        std::fs::read(self.dir.path().join("dump.rdb")).unwrap()
    }

    fn ask(&self, what: &str) -> std::io::Result<()> {
        use std::io::{Read as _, Write as _};
        let mut connection = std::net::TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        connection.write_all(format!("{what}\r\n").as_bytes())?;
        let mut answer = [0];
        connection.read_exact(&mut answer)?;
        if answer == *b"+" { Ok(()) } else { Err(std::io::Error::other("it refuses")) }
    }
}

impl Broker for Redis {
    const KIND: &'static str = "redis";
    const CONNECTED: &'static str = "connected to Redis";
    const AWAY: &'static str = "Redis cannot be reached";

    async fn start(&mut self) {
        let program = std::env::var_os("SLIPWAY_TEST_REDIS_BIN")
            .expect("SLIPWAY_TEST_REDIS_BIN is not set; run `./test journeys`");
        let child = Command::new(program)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            // So that a dump can be searched.
            .args(["--rdbcompression", "no"])
            .args(["--port", &self.port.to_string()])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let end = tokio::time::Instant::now() + super::PATIENCE;
        while self.ask("PING").is_err() {
            assert!(tokio::time::Instant::now() < end, "Redis does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    async fn empty(&self) {
        self.ask("FLUSHALL").unwrap();
    }

    fn env(&self) -> Vec<(String, String)> {
        let url = format!("redis://127.0.0.1:{}", self.port);
        [("SLIPWAY_QUEUE_TRANSPORT", Self::KIND.to_owned()), ("SLIPWAY_QUEUE_URL", url)]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What all processes of an installation have in common.
pub(crate) struct Installation {
    env: Vec<(String, String)>,
    dir: tempfile::TempDir,
}

impl Installation {
    /// On an empty PostgreSQL database, with more environment (the transport's).
    pub(crate) async fn new(env: Vec<(String, String)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let Database::Postgres(url) = Database::postgres().await else { unreachable!() };
        let ring = command().args(["keys", "generate"]).output().unwrap();
        assert!(ring.status.success());
        let ring = String::from_utf8(ring.stdout).unwrap().trim().to_owned();
        let artifacts = dir.path().join("artifacts").display().to_string();
        let mut all = env;
        all.extend(
            [
                ("SLIPWAY_DATABASE_URL", url),
                ("SLIPWAY_KEYS_RING", ring),
                ("SLIPWAY_ARTIFACTS_DIR", artifacts),
                ("SLIPWAY_TELEMETRY_LOG_FORMAT", "text".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        Self { env: all, dir }
    }

    fn spawn(&self, args: &[&str]) -> Process {
        let data = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let mut child = command()
            .args(args)
            .arg("--data-dir")
            .arg(data)
            .current_dir(self.dir.path())
            .envs(self.env.iter().cloned())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let heard = said.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut said = heard.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Process { child, said }
    }

    /// One more API process.
    pub(crate) async fn api(&self) -> (Process, Client) {
        let process = self.spawn(&["api", "--listen", "127.0.0.1:0"]);
        let line = process.says("listening").await;
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("address="))
            .unwrap_or_else(|| panic!("no address in {line}"));
        let client = Client::new(&format!("http://{address}")).unwrap();
        (process, client)
    }

    /// One more worker process.
    pub(crate) fn worker(&self, queues: &str) -> Process {
        self.spawn(&["worker", "--queue", queues])
    }
}

/// A process of an installation.
pub(crate) struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    /// Waits until the log has a line with `word`, and returns it.
    pub(crate) async fn says(&self, word: &str) -> String {
        let end = tokio::time::Instant::now() + super::PATIENCE;
        loop {
            let said = self.said();
            if let Some(line) = said.lines().find(|line| line.contains(word)) {
                return line.to_owned();
            }
            assert!(tokio::time::Instant::now() < end, "it does not say {word:?}:\n{said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its whole log.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Asks it to end, and says whether it did so well.
    pub(crate) async fn ends(mut self) -> bool {
        self.signal(Signal::TERM);
        let end = tokio::time::Instant::now() + super::PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(tokio::time::Instant::now() < end, "it does not end:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What it had to say is half of what there is to know about a failure.
        if std::thread::panicking() {
            eprintln!("--- log of process {}:\n{}", self.child.id(), self.said());
        }
        // Gently first, so that a running Terraform is not left behind.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(Signal::TERM);
            self.signal(Signal::TERM);
            for _ in 0..500 {
                if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
