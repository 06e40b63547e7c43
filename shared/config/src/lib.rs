//! What an operator chose: flags over `SLIPWAY_*` variables over one TOML file over defaults.
//!
//! [`Loader::load`] reads the sources it is given, finds every problem at once, and remembers
//! where each value came from; [`Loaded::render`] prints the result with secrets masked. One file
//! under `section/` holds each section: its keys, their units, their defaults and their rules.
//!
//! Nothing here opens a database, listens or looks for programs. Other crates do not read this
//! one's types: `app` translates them into their options.

mod load;
mod problem;
mod provenance;
mod render;
mod schema;
pub mod section;
mod suggest;
mod toml_file;
mod validate;
mod value;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;

pub use load::{
    CONFIG_VARIABLE, DEFAULT_FILE, Loaded, Loader, TOKEN_VARIABLE, URL_VARIABLE, client_token,
    read_environment, user_dir,
};
pub use problem::{ConfigError, Problem};
pub use provenance::{Provenance, Provenances};
pub use schema::{Key, json_schema, keys};

use section::{
    Api, Artifacts, Audit, Auth, Cost, Database, Drift, Gates, Jobs, Keys, Limits, Outbound, Queue,
    Retention, Scan, Source, Telemetry, Templates, Terraform, Worker,
};

/// Everything that can be configured. Paths are relative to the working directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Slipway configuration")]
pub struct Config {
    /// Directory of everything that this installation keeps: the SQLite database, artifacts, keys
    /// and caches, where nothing else is said.
    pub data_dir: PathBuf,
    /// The HTTP listener.
    pub api: Api,
    /// How people and machines sign in.
    pub auth: Auth,
    /// How many requests a caller may send.
    pub limits: Limits,
    /// Where requests may go that a user named.
    pub outbound: Outbound,
    /// The audit log.
    pub audit: Audit,
    /// Where rows are kept.
    pub database: Database,
    /// What wakes workers.
    pub queue: Queue,
    /// How a worker process works.
    pub worker: Worker,
    /// Limits of jobs, by kind.
    pub jobs: Jobs,
    /// How Terraform or `OpenTofu` is run.
    pub terraform: Terraform,
    /// What the gates look for where nothing else was said.
    pub gates: Gates,
    /// How stacks are checked for drift where nothing else was said.
    pub drift: Drift,
    /// The scanners that a worker has, and how they are run.
    pub scan: Scan,
    /// What a worker has to say what a plan costs, beside the price book.
    pub cost: Cost,
    /// What a submitted configuration may come from and hold.
    pub source: Source,
    /// The library of templates.
    pub templates: Templates,
    /// Where plan files, archives, states and logs are kept.
    pub artifacts: Artifacts,
    /// Keys that seal secrets at rest.
    pub keys: Keys,
    /// How long things are kept.
    pub retention: Retention,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self {
            data_dir: PathBuf::from(".slipway"),
            api: Api::default(),
            auth: Auth::default(),
            limits: Limits::default(),
            outbound: Outbound::default(),
            audit: Audit::default(),
            database: Database::default(),
            queue: Queue::default(),
            worker: Worker::default(),
            jobs: Jobs::default(),
            terraform: Terraform::default(),
            gates: Gates::default(),
            drift: Drift::default(),
            scan: Scan::default(),
            cost: Cost::default(),
            source: Source::default(),
            templates: Templates::default(),
            artifacts: Artifacts::default(),
            keys: Keys::default(),
            retention: Retention::default(),
            telemetry: Telemetry::default(),
        };
        config.fill_below_data_dir(|_| false);
        config
    }
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseLocation {
    /// A file of the embedded SQLite.
    Sqlite(PathBuf),
    /// The URL of a PostgreSQL server. It may hold a password.
    Postgres(Secret<String>),
}

impl Config {
    /// Every problem that the values have, alone or together; empty when all is well.
    pub fn validate(&self) -> Vec<Problem> {
        validate::problems(self)
    }

    /// Where the database is: `database.url`, or `slipway.db` in the data directory.
    pub fn database_location(&self) -> DatabaseLocation {
        let url = self.database.url.reveal();
        if url.is_empty() {
            DatabaseLocation::Sqlite(self.data_dir.join("slipway.db"))
        } else if let Some(path) = url.strip_prefix(section::SQLITE_SCHEME) {
            DatabaseLocation::Sqlite(PathBuf::from(path))
        } else {
            DatabaseLocation::Postgres(self.database.url.clone())
        }
    }

    /// Puts the paths that nobody chose below the data directory.
    fn fill_below_data_dir(&mut self, chosen: impl Fn(&str) -> bool) {
        let below = |name: &str| self.data_dir.join(name);
        let paths = [
            ("artifacts.dir", below("artifacts")),
            ("keys.file", below("keyring")),
            ("terraform.cache_dir", below("cache")),
        ];
        let [artifacts, keys, cache] = paths.map(|(key, path)| (!chosen(key)).then_some(path));
        if let Some(path) = artifacts {
            self.artifacts.dir = path;
        }
        if let Some(path) = keys {
            self.keys.file = path;
        }
        if let Some(path) = cache {
            self.terraform.cache_dir = path;
        }
    }
}
