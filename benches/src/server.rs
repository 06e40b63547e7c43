//! A Slipway process of a benchmark's own: the real executable on a free port, with its own data.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http_body_util::Empty;
use hyper::body::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use slipway_domain::id::{Mint as _, RandomMint};
use sqlx::{Connection as _, Executor as _};

use crate::load::Connection;
use crate::machine;

/// A process that is not ready after this long never will be.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a process that is starting is tried, and one that is ending looked at.
const PAUSE: Duration = Duration::from_millis(1);

/// A database that was made for a benchmark.
pub(crate) struct Database {
    /// What is told to the executable; `None` for SQLite in the data directory.
    url: Option<String>,
    admin: Option<(String, String)>,
}

impl Database {
    /// SQLite in the data directory.
    pub(crate) const fn sqlite() -> Self {
        Self { url: None, admin: None }
    }

    /// A new, empty PostgreSQL database on the server at `url`.
    pub(crate) async fn postgres(url: &str) -> anyhow::Result<Self> {
        let name = format!("bench_{}", RandomMint.uuid().simple());
        let mut admin = sqlx::PgConnection::connect(url).await?;
        admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await?;
        admin.close().await?;
        let (base, _) = url.rsplit_once('/').context("the PostgreSQL URL names no database")?;
        Ok(Self { url: Some(format!("{base}/{name}")), admin: Some((url.to_owned(), name)) })
    }

    /// Removes it; nobody may be connected any more.
    pub(crate) async fn drop(self) -> anyhow::Result<()> {
        if let Some((url, name)) = self.admin {
            let mut admin = sqlx::PgConnection::connect(&url).await?;
            admin.execute(sqlx::AssertSqlSafe(format!("drop database {name}"))).await?;
            admin.close().await?;
        }
        Ok(())
    }

    /// Its URL; `None` for SQLite.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// The word for its engine, in the names of figures.
    pub(crate) const fn engine(&self) -> &'static str {
        if self.url.is_some() { "postgres" } else { "sqlite" }
    }
}

/// How a process is started.
pub(crate) struct Start<'a> {
    /// The executable.
    pub(crate) slipway: &'a Path,
    /// `dev` or `api`.
    pub(crate) role: &'static str,
    /// A directory of its own, which may hold the data of an earlier start.
    pub(crate) dir: &'a Path,
    /// Where rows are kept.
    pub(crate) database: &'a Database,
    /// More configuration.
    pub(crate) env: &'a [(&'a str, &'a Path)],
}

impl Start<'_> {
    /// Starts it and waits until it is ready. Says how long that took: from the start of the
    /// process to the first 200 of `/readyz`.
    pub(crate) async fn start(&self) -> anyhow::Result<(Server, Duration)> {
        let address = free_address()?;
        let said = self.dir.join("said");
        let mut command = machine::command(self.slipway, self.dir);
        command
            .args([self.role, "--listen", &address.to_string(), "--data-dir"])
            .arg(self.dir.join("data"))
            // What is measured is what is asked for.
            .env("SLIPWAY_DRIFT_ENABLED", "false")
            .envs(self.env.iter().copied())
            .stdout(Stdio::null())
            // A file, as a service manager would have it; nobody here spends time on reading it.
            .stderr(File::options().create(true).append(true).open(&said)?);
        if let Some(url) = &self.database.url {
            // A shared database wants a key ring from outside.
            command.env("SLIPWAY_DATABASE_URL", url).env("SLIPWAY_KEYS_RING_FILE", self.ring()?);
        }
        let started = Instant::now();
        let child = command.spawn().context("slipway does not start")?;
        let mut server = Server { child, address, said };
        loop {
            if is_ready(address).await {
                return Ok((server, started.elapsed()));
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("slipway {} ended ({status}): {}", self.role, server.last_words());
            }
            if started.elapsed() > PATIENCE {
                bail!("slipway {} is not ready: {}", self.role, server.last_words());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The key ring's file, made when it is missing.
    fn ring(&self) -> anyhow::Result<PathBuf> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let ring = self.dir.join("ring");
        if !ring.exists() {
            let made =
                machine::command(self.slipway, self.dir).args(["keys", "generate"]).output()?;
            if !made.status.success() {
                bail!("no keys: {}", String::from_utf8_lossy(&made.stderr).trim());
            }
            let mut file = File::options().create_new(true).write(true).mode(0o600).open(&ring)?;
            file.write_all(&made.stdout)?;
        }
        Ok(ring)
    }
}

/// A running process; it is ended when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    said: PathBuf,
}

impl Server {
    /// Its resident memory.
    pub(crate) fn memory(&self) -> anyhow::Result<machine::Memory> {
        machine::memory(self.child.id())
    }

    /// Its processor time so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        machine::cpu(self.child.id())
    }

    /// The end of what it said.
    fn last_words(&self) -> String {
        let said = std::fs::read(&self.said).unwrap_or_default();
        let tail = said.get(said.len().saturating_sub(2000)..).unwrap_or_default();
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // The second one asks running jobs to stop: no Terraform is left behind.
        self.signal(Signal::TERM);
        self.signal(Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback port that nobody listens on.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::<Empty<Bytes>>::open(address).await else { return false };
    let Ok(request) = connection.request("GET", "/readyz").body(Empty::new()) else { return false };
    connection.send(request).await.is_ok_and(|answer| answer.status == hyper::StatusCode::OK)
}
