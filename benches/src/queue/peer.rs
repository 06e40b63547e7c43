//! The peer: `benches/peers/fastapi_celery` on a new database and a Redis database of its own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http_body_util::Empty;
use hyper::body::Bytes;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::process::{Process, bound};
use super::{Ended, LEASE_S};
use crate::load::Connection;
use crate::server::Database;
use crate::settings::Settings;

/// A process that is not ready after this long never will be.
const PATIENCE: Duration = Duration::from_secs(30);

/// The peer, without processes.
pub(super) struct Peer {
    python: PathBuf,
    code: PathBuf,
    redis: String,
    database: Database,
    dir: tempfile::TempDir,
}

/// When a job of the peer did what, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The API's commit was done.
    pub(super) committed: f64,
    /// First line of the task.
    pub(super) started: f64,
    /// The row says `running`; from here on a task would work.
    pub(super) running: f64,
}

impl Peer {
    /// With the Redis database `number`, which is emptied.
    pub(super) async fn new(settings: &Settings, redis: &str, number: u8) -> anyhow::Result<Self> {
        empty(redis, number)?;
        Ok(Self {
            python: PathBuf::from(Settings::needed("SLIPWAY_BENCH_PEER_PYTHON")?),
            code: Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/fastapi_celery"),
            redis: format!("{redis}/{number}"),
            database: Database::postgres(settings.postgres()?).await?,
            dir: tempfile::Builder::new().prefix("slipway-bench.").tempdir()?,
        })
    }

    pub(super) fn url(&self) -> anyhow::Result<&str> {
        self.database.url().context("it is on PostgreSQL")
    }

    fn start(&self, name: &str, args: &[&str]) -> anyhow::Result<Process> {
        let mut command = bound(&self.python, &self.code);
        command
            .arg("-m")
            .args(args)
            .env("PEER_DATABASE_URL", self.url()?)
            .env("PEER_REDIS_URL", &self.redis)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1");
        if name != super::WORKER {
            // Its lease, as far as it has one: nothing extends it while a task runs.
            command
                .env("PEER_VISIBILITY_TIMEOUT_S", LEASE_S.to_string())
                .env("PEER_RESTORE_INTERVAL_S", "1");
        }
        Process::start(command, self.dir.path().join(format!("said-{name}")))
    }

    /// Its API, ready.
    pub(super) async fn api(&self) -> anyhow::Result<(Process, SocketAddr)> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let text = port.to_string();
        let mut process = self.start(
            "api",
            &[
                "uvicorn",
                "main:app",
                "--host",
                "127.0.0.1",
                "--port",
                &text,
                "--loop",
                "uvloop",
                "--http",
                "httptools",
                "--no-access-log",
                "--log-level",
                "warning",
            ],
        )?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let end = Instant::now() + PATIENCE;
        while !is_ready(address).await {
            process.runs()?;
            if Instant::now() > end {
                bail!("the peer's API is not ready: {}", process.last_words());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok((process, address))
    }

    /// Its worker: a pool of processes, one task each.
    pub(super) fn worker(&self, name: &str, processes: u16) -> anyhow::Result<Process> {
        let (host, processes) = (format!("{name}@bench"), processes.to_string());
        self.start(
            name,
            &[
                "celery",
                "-A",
                "tasks",
                "worker",
                "--pool",
                "prefork",
                "--concurrency",
                &processes,
                "--hostname",
                &host,
                "--without-gossip",
                "--without-mingle",
                "--loglevel",
                "WARNING",
            ],
        )
    }

    /// What the tasks of a project have come to.
    pub(super) async fn ended(&self, project: &str) -> anyhow::Result<Ended> {
        let mut db = PgConnection::connect(self.url()?).await?;
        let row = sqlx::query(
            "select count(*), min(ended_at), max(ended_at) from deployments
             where project = $1 and state = 'succeeded'",
        )
        .bind(project)
        .fetch_one(&mut db)
        .await?;
        db.close().await?;
        Ok(Ended { count: row.try_get(0)?, first: row.try_get(1)?, last: row.try_get(2)? })
    }

    /// When what happened to the tasks of a project that have begun.
    pub(super) async fn times(&self, project: &str) -> anyhow::Result<Vec<Times>> {
        let mut db = PgConnection::connect(self.url()?).await?;
        let rows = sqlx::query(
            "select committed_at, started_at, coalesce(running_at, 0) from deployments
             where project = $1 and started_at is not null order by stack",
        )
        .bind(project)
        .fetch_all(&mut db)
        .await?;
        db.close().await?;
        rows.iter()
            .map(|row| {
                Ok(Times {
                    committed: row.try_get(0)?,
                    started: row.try_get(1)?,
                    running: row.try_get(2)?,
                })
            })
            .collect()
    }

    /// Removes the database. No process may run any more.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.database.drop().await
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::<Empty<Bytes>>::open(address).await else { return false };
    let Ok(request) = connection.request("GET", "/readyz").body(Empty::new()) else { return false };
    connection.send(request).await.is_ok_and(|answer| answer.status == hyper::StatusCode::OK)
}

/// Takes everything out of a Redis database.
fn empty(url: &str, number: u8) -> anyhow::Result<()> {
    let place = url.strip_prefix("redis://").context("the URL of Redis")?;
    let mut redis = TcpStream::connect(place)?;
    redis.set_read_timeout(Some(Duration::from_secs(5)))?;
    redis.write_all(format!("SELECT {number}\r\nFLUSHDB\r\n").as_bytes())?;
    let mut answers = [0; b"+OK\r\n+OK\r\n".len()];
    redis.read_exact(&mut answers)?;
    if answers != *b"+OK\r\n+OK\r\n" {
        bail!("Redis refuses to be emptied");
    }
    Ok(())
}
