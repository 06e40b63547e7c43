//! The rig of one run: a database, a broker and the processes of an installation, all of its own,
//! with their logs in a directory that stays when the test fails.

use std::path::{Path, PathBuf};

use slipway_app::client::http::Client;
use slipway_domain::source::Source;
use tokio::sync::Mutex;

use super::broker::{Broker, Transport};
use super::fleet::Fleet;
use crate::harness::{Postgres, command, upload};

/// How long a lease lasts, in seconds.
pub(crate) const LEASE_S: u64 = 4;

/// Everything. Dropping it ends everything.
pub(crate) struct Rig {
    pub(crate) fleet: Fleet,
    pub(crate) postgres: Mutex<Postgres>,
    pub(crate) broker: Mutex<Broker>,
    /// The database, reached directly.
    pub(crate) url: String,
    /// What every deployment's apply appends to.
    pub(crate) ledger: PathBuf,
    logs: Option<tempfile::TempDir>,
    _dir: tempfile::TempDir,
}

impl Rig {
    /// A rig without any process of ours yet.
    pub(crate) async fn new(transport: Transport) -> Self {
        Self::with(transport, &[]).await
    }

    /// The same, with more environment for all its processes.
    pub(crate) async fn with(transport: Transport, more: &[(&str, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prefix = format!("slipway-chaos-{}-", transport.as_str());
        let logs = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        let postgres = Postgres::start_new(&logs.path().join("postgres.log")).await;
        let broker = Broker::start_new(transport).await;
        let url = postgres.url();
        let ring = command().args(["keys", "generate"]).output().unwrap();
        assert!(ring.status.success());
        let ring = String::from_utf8(ring.stdout).unwrap().trim().to_owned();
        let artifacts = dir.path().join("artifacts").display().to_string();
        let mut env = broker.env();
        env.extend(
            [
                ("SLIPWAY_DATABASE_URL", url.clone()),
                ("SLIPWAY_KEYS_RING", ring),
                ("SLIPWAY_ARTIFACTS_DIR", artifacts),
                ("SLIPWAY_TELEMETRY_LOG_FORMAT", "json".to_owned()),
                ("SLIPWAY_WORKER_LEASE_S", LEASE_S.to_string()),
                ("SLIPWAY_WORKER_HEARTBEAT_S", "1".to_owned()),
                ("SLIPWAY_WORKER_POLL_S", "1".to_owned()),
                ("SLIPWAY_WORKER_DRAIN_GRACE_S", "3".to_owned()),
                ("SLIPWAY_WORKER_RECOVERY_GRACE_S", "5".to_owned()),
                // A plan is made as often as its workers are killed.
                ("SLIPWAY_JOBS_PLAN_MAX_ATTEMPTS", "20".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let fleet = Fleet::new(dir.path(), logs.path(), env);
        Self {
            fleet,
            postgres: Mutex::new(postgres),
            broker: Mutex::new(broker),
            url,
            ledger: logs.path().join("ledger"),
            logs: Some(logs),
            _dir: dir,
        }
    }

    /// Where all logs are, and the ledger.
    pub(crate) fn logs(&self) -> &Path {
        self.logs.as_ref().unwrap().path()
    }

    /// Uploads the stack whose applies write down what they do.
    pub(crate) async fn source(client: &Client) -> Source {
        upload(client, "ledger").await
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.fleet.end();
        if std::thread::panicking()
            && let Some(logs) = self.logs.take()
        {
            println!("logs are kept in {}", logs.keep().display());
        }
    }
}
