//! A PostgreSQL server of a test's own, which it may stop and start.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection as _;

use super::port::quiet_port;

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Connections are closed, and what is in memory is written.
    Fast,
    /// As in a crash: it has to recover from its log when it starts again.
    Immediate,
}

/// The server. Durability is left at its defaults.
pub(crate) struct Postgres {
    bin: PathBuf,
    port: u16,
    dir: tempfile::TempDir,
    log: File,
    child: Option<Child>,
}

/// Runs a program as the user of the database when we are root, and ends it when we are gone.
fn as_its_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if rustix::process::getuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.args(["--pdeathsig=QUIT", "--"]).arg(program).stdin(Stdio::null());
    command.env_remove("PGDATA").env_remove("PGPORT").env_remove("PGHOST");
    command
}

impl Postgres {
    /// Makes one, which logs to `log`, and starts it.
    pub(crate) async fn start_new(log: &Path) -> Self {
        let bin = PathBuf::from(
            std::env::var_os("SLIPWAY_TEST_POSTGRES_BIN")
                .expect("SLIPWAY_TEST_POSTGRES_BIN is not set; `./test chaos` sets it"),
        );
        let dir = tempfile::tempdir().unwrap();
        if rustix::process::getuid().is_root() {
            let chown = Command::new("chown").arg("postgres").arg(dir.path()).status().unwrap();
            assert!(chown.success());
        }
        let log = File::create(log).unwrap();
        let made = as_its_user(&bin.join("initdb"))
            .arg("--pgdata")
            .arg(dir.path().join("data"))
            .args(["--username=slipway", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
            .arg("--no-sync")
            .current_dir(dir.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log.try_clone().unwrap())
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let mut server = Self { bin, port: quiet_port(), dir, log, child: None };
        server.start().await;
        server
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its database, as seen through `port`.
    pub(crate) fn url_at(port: u16) -> String {
        format!("postgres://slipway@127.0.0.1:{port}/postgres")
    }

    /// The URL of its database.
    pub(crate) fn url(&self) -> String {
        Self::url_at(self.port)
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) async fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let child = as_its_user(&self.bin.join("postgres"))
            .arg("-D")
            .arg(self.dir.path().join("data"))
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300"])
            .args(["-c", &format!("port={}", self.port), "-c", "log_timezone=UTC"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", self.dir.path().display()))
            .current_dir(self.dir.path())
            .stdout(self.log.try_clone().unwrap())
            .stderr(self.log.try_clone().unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let end = tokio::time::Instant::now() + super::PATIENCE;
        while sqlx::PgConnection::connect(&self.url()).await.is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "PostgreSQL does not start: {ended:?}; see its log");
            assert!(tokio::time::Instant::now() < end, "PostgreSQL does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            let _ = kill_process(pid, signal);
        }
    }

    /// Stops it, and waits until it has ended.
    pub(crate) async fn stop(&mut self, how: Stop) {
        self.signal(match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        });
        let end = tokio::time::Instant::now() + super::PATIENCE;
        while self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none()) {
            assert!(tokio::time::Instant::now() < end, "PostgreSQL does not stop");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.child = None;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.signal(Signal::QUIT);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}
