//! Our side: an installation of its own, on a new database and under its own names in the broker.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::DateTime;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use super::process::{Process, bound};
use super::shape::unique;
use super::{Ended, LEASE_S};
use crate::server::{Database, Server, Start};
use crate::settings::Settings;

/// A broker.
#[derive(Debug, Clone)]
pub(super) struct Broker {
    /// Its word in the names of figures, and of the transport in the configuration.
    pub(super) name: &'static str,
    /// Where it is.
    pub(super) url: String,
}

/// An installation.
pub(super) struct Ours {
    slipway: PathBuf,
    pub(super) broker: Broker,
    database: Database,
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl Ours {
    /// One without processes.
    pub(super) async fn new(settings: &Settings, broker: &Broker) -> anyhow::Result<Self> {
        let database = Database::postgres(settings.postgres()?).await?;
        let dir = tempfile::Builder::new().prefix("slipway-bench.").tempdir()?;
        let artifacts = dir.path().join("artifacts").display().to_string();
        let env = vec![
            ("SLIPWAY_QUEUE_TRANSPORT", broker.name.to_owned()),
            ("SLIPWAY_QUEUE_URL", broker.url.clone()),
            ("SLIPWAY_QUEUE_PREFIX", format!("bench-{}", unique())),
            ("SLIPWAY_ARTIFACTS_DIR", artifacts),
            // No line a request, as on the peer's side.
            ("SLIPWAY_TELEMETRY_LOG_LEVEL", "info,slipway_api::middleware=warn".to_owned()),
        ];
        let slipway = settings.slipway.clone();
        Ok(Self { slipway, broker: broker.clone(), database, dir, env })
    }

    /// `slipway api`, ready.
    pub(super) async fn api(&self) -> anyhow::Result<Server> {
        let env: Vec<_> = self.env.iter().map(|(name, value)| (*name, Path::new(value))).collect();
        let start = Start {
            slipway: &self.slipway,
            role: "api",
            dir: self.dir.path(),
            database: &self.database,
            env: &env,
        };
        Ok(start.start().await?.0)
    }

    /// Our worker with `slots` slots for plans. What it starts is noted in a file of its name.
    pub(super) fn worker(&self, name: &str, slots: u16) -> anyhow::Result<Process> {
        let dir = self.dir.path();
        let mut command = bound(&std::env::current_exe()?, dir);
        command
            .arg("--worker")
            .arg(self.starts_file(name))
            .envs(self.env.iter().map(|(name, value)| (*name, value)))
            .env("SLIPWAY_DATABASE_URL", self.url()?)
            .env("SLIPWAY_KEYS_RING_FILE", dir.join("ring"))
            .env("SLIPWAY_DATA_DIR", dir.join(format!("data-{name}")))
            .env("SLIPWAY_WORKER_QUEUES", format!("plan={slots}"));
        if name != super::WORKER {
            command
                .env("SLIPWAY_WORKER_LEASE_S", LEASE_S.to_string())
                .env("SLIPWAY_WORKER_HEARTBEAT_S", (LEASE_S / 3).to_string());
        }
        Process::start(command, dir.join(format!("said-{name}")))
    }

    fn starts_file(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("starts-{name}"))
    }

    pub(super) fn url(&self) -> anyhow::Result<&str> {
        self.database.url().context("it is on PostgreSQL")
    }

    /// What the jobs of a project have come to.
    pub(super) async fn ended(&self, project: &str) -> anyhow::Result<Ended> {
        let mut db = PgConnection::connect(self.url()?).await?;
        let row = sqlx::query(
            "select count(*) filter (where state = 'succeeded'),
                 count(*) filter (where state not in ('queued', 'running', 'succeeded')),
                 cast(extract(epoch from min(ended_at)) as float8),
                 cast(extract(epoch from max(ended_at)) as float8)
             from jobs where project = $1",
        )
        .bind(project)
        .fetch_one(&mut db)
        .await?;
        db.close().await?;
        let (succeeded, otherwise): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        if otherwise > 0 {
            bail!("{otherwise} jobs of {project} did not succeed");
        }
        Ok(Ended { count: succeeded, first: row.try_get(2)?, last: row.try_get(3)? })
    }

    /// When the worker `name` started jobs, by the ids of their deployments: microseconds since
    /// 1970.
    pub(super) fn starts(&self, name: &str) -> anyhow::Result<HashMap<String, i64>> {
        let text = std::fs::read_to_string(self.starts_file(name)).unwrap_or_default();
        let mut starts = HashMap::new();
        for line in text.lines() {
            let (id, at) = line.split_once(' ').context("a line of starts")?;
            starts.insert(id.to_owned(), at.parse()?);
        }
        Ok(starts)
    }

    /// When the API had committed deployments, by their ids, in microseconds since 1970: its log
    /// says so as the first thing after the commit and before the doorbell.
    pub(super) fn commits(&self) -> anyhow::Result<HashMap<String, i64>> {
        self.told("said", "deployment accepted")
    }

    /// When the worker `name` had taken jobs, by the ids of their deployments, in microseconds since
    /// 1970: the lease is committed, and the job begins.
    pub(super) fn taken(&self, name: &str) -> anyhow::Result<HashMap<String, i64>> {
        self.told(&format!("said-{name}"), "job started")
    }

    /// When a log told something of deployments.
    fn told(&self, log: &str, what: &str) -> anyhow::Result<HashMap<String, i64>> {
        let text = std::fs::read_to_string(self.dir.path().join(log))?;
        let mut moments = HashMap::new();
        for line in text.lines().filter(|line| line.contains(what)) {
            let line: serde_json::Value = serde_json::from_str(line)?;
            let id = line["deployment_id"].as_str().context("no id in a line of the log")?;
            let at = line["timestamp"].as_str().context("no time in a line of the log")?;
            let at = DateTime::parse_from_rfc3339(at)?.timestamp_micros();
            moments.insert(id.to_owned(), at);
        }
        Ok(moments)
    }

    /// Removes the database. No process may run any more.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        // Killed workers had no time to say good-bye.
        let mut db = PgConnection::connect(self.url()?).await?;
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await?;
        db.close().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.database.drop().await
    }
}
