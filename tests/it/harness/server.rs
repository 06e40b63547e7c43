//! A server of a test's own: the real binary in a directory of its own, on a free port.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use slipway_app::client::http::Client;
use slipway_domain::id::{Mint as _, RandomMint};
use sqlx::{Connection as _, Executor as _};

/// Which database a server works on.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite,
    /// URL of a database made for the test.
    Postgres(String),
}

impl Database {
    /// A new, empty PostgreSQL database on the server that `./test` starts.
    pub(crate) async fn postgres() -> Self {
        let url = std::env::var("SLIPWAY_TEST_POSTGRES_URL").expect(
            "SLIPWAY_TEST_POSTGRES_URL is not set; `./test journeys` starts a PostgreSQL for it",
        );
        let name = format!("j_{}", RandomMint.uuid().simple());
        let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
        admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let (base, _) = url.rsplit_once('/').unwrap();
        Self::Postgres(format!("{base}/{name}"))
    }
}

/// The binary under test.
fn binary() -> PathBuf {
    std::env::var_os("SLIPWAY_TEST_BIN").map_or_else(
        || {
            let built = super::repository().join("target/debug/slipway");
            assert!(built.exists(), "{} is not built: cargo build --workspace", built.display());
            built
        },
        |path| std::path::absolute(path).unwrap(),
    )
}

/// The binary with an environment of the test's own.
pub(crate) fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars() {
        if name.starts_with("SLIPWAY_") {
            command.env_remove(name);
        }
    }
    // Who calls is what the tests of identity are about; the others listen on loopback.
    command.env("SLIPWAY_AUTH_MODE", "none");
    // The stacks of the tests write down outside of the product what they did; what a gate says of
    // such programs has a test of its own.
    command.env("SLIPWAY_GATES_SETTINGS_FILE", super::repository().join("tests/rig/gates.json"));
    // Checks that begin by themselves would be in the way of what is measured and counted.
    command.env("SLIPWAY_DRIFT_ENABLED", "false");
    command.stdin(Stdio::null());
    command
}

/// A running `slipway dev`.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) client: Client,
    /// Everything of the test; `data` in it is the server's.
    pub(crate) dir: Arc<tempfile::TempDir>,
    /// What it said on standard error.
    pub(crate) said: Arc<Mutex<String>>,
    database: Database,
    env: Vec<(String, String)>,
}

impl Server {
    /// Starts a server with an empty data directory on SQLite.
    pub(crate) async fn start() -> Self {
        Self::start_with(Database::Sqlite, &[]).await
    }

    /// Starts a server with more environment.
    pub(crate) async fn start_with(database: Database, env: &[(&str, &str)]) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self::spawn(database, env, dir).await
    }

    /// Starts a server on what another one left.
    pub(crate) async fn start_in(
        dir: Arc<tempfile::TempDir>,
        database: Database,
        env: &[(&str, &str)],
    ) -> Self {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self::spawn(database, env, dir).await
    }

    /// Starts a server with the provider mirror.
    pub(crate) async fn start_with_providers(database: Database) -> Self {
        let mirror = super::provider_mirror();
        let mirror = mirror.to_str().unwrap();
        Self::start_with(database, &[("SLIPWAY_TERRAFORM_PROVIDER_MIRROR", mirror)]).await
    }

    async fn spawn(
        database: Database,
        env: Vec<(String, String)>,
        dir: Arc<tempfile::TempDir>,
    ) -> Self {
        let mut command = command();
        command
            .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .current_dir(dir.path())
            .envs(env.iter().cloned())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Database::Postgres(url) = &database {
            command.env("SLIPWAY_DATABASE_URL", url);
            // A shared database wants a key ring of its own; the test's directory keeps it.
            let ring = dir.path().join("ring");
            if !ring.exists() {
                let made = self::command().args(["keys", "generate"]).output().unwrap();
                assert!(made.status.success());
                std::fs::write(&ring, made.stdout).unwrap();
                private(&ring);
            }
            command.env("SLIPWAY_KEYS_RING_FILE", ring);
        }
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (found, url) = tokio::sync::oneshot::channel();
        let heard = said.clone();
        std::thread::spawn(move || {
            let mut found = Some(found);
            while let Some(Ok(line)) = lines.next() {
                let url = line.split_whitespace().find(|w| w.starts_with("http://127.0.0.1:"));
                if line.contains("listens on")
                    && let (Some(url), Some(found)) = (url, found.take())
                {
                    let _ = found.send(url.to_owned());
                }
                let mut said = heard.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        let url = tokio::time::timeout(super::PATIENCE, url).await.expect("it did not start");
        let url = url.unwrap_or_else(|_| panic!("it ended: {}", said.lock().unwrap()));
        let client = Client::new(&url).unwrap();
        Self { child, url, client, dir, said, database, env }
    }

    /// Sends a signal to the server's process.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the process to end and says whether it ended well.
    pub(crate) async fn ended(&mut self) -> bool {
        let end = tokio::time::Instant::now() + super::PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(tokio::time::Instant::now() < end, "the server does not end");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Kills the server with `-9`, and starts it again on the same data.
    pub(crate) async fn crash_and_restart(mut self) -> Self {
        self.signal(Signal::KILL);
        self.ended().await;
        let (database, env, dir) = (self.database.clone(), self.env.clone(), self.dir.clone());
        drop(self);
        Self::spawn(database, env, dir).await
    }

    /// Starts it again on the same data after it has ended.
    pub(crate) async fn restart(mut self) -> Self {
        self.ended().await;
        let (database, env, dir) = (self.database.clone(), self.env.clone(), self.dir.clone());
        drop(self);
        Self::spawn(database, env, dir).await
    }

    /// Path of something in the test's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Resident memory of the process, in KiB.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gently first, so that a running Terraform is not left behind.
        if self.child.try_wait().is_ok_and(|s| s.is_none()) {
            self.signal(Signal::TERM);
            self.signal(Signal::TERM);
            for _ in 0..500 {
                if self.child.try_wait().is_ok_and(|s| s.is_some()) {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
