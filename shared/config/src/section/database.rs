//! `[database]`: where rows are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;

use super::masked;
use crate::problem::Problem;

pub(crate) const SQLITE_SCHEME: &str = "sqlite://";
const POSTGRES_SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Where rows are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host:port/name`, or `sqlite://path`. Empty means SQLite in
    /// `slipway.db` in the data directory.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "String", extend("x-kind" = "secret"))]
    pub url: Secret<String>,
    /// Connections at most (PostgreSQL), or readers (SQLite).
    #[schemars(range(min = 1, max = 1000))]
    pub max_connections: u32,
    /// How long to wait for a connection, in seconds.
    #[schemars(range(min = 1, max = 300))]
    pub connect_timeout_s: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: Secret::default(), max_connections: 16, connect_timeout_s: 5 }
    }
}

impl Database {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        let url = self.url.reveal();
        let what = if url.is_empty() {
            return;
        } else if let Some(path) = url.strip_prefix(SQLITE_SCHEME) {
            if path.is_empty() {
                "it names no file; write sqlite://path/to/file.db"
            } else if path.contains('?') {
                "parameters after `?` are not taken for SQLite"
            } else {
                return;
            }
        } else if let Some(rest) = POSTGRES_SCHEMES.iter().find_map(|s| url.strip_prefix(s)) {
            if rest.trim_matches('/').is_empty() {
                "it names no server; write postgres://user:password@host:port/name"
            } else {
                return;
            }
        } else {
            "it must begin with postgres:// or sqlite://, or be empty for SQLite in the data directory"
        };
        // The value is not shown: it may hold a password.
        problems.push(Problem::at("database.url", what));
    }
}
