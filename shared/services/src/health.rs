//! How the dependencies are.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Ctx;

/// A dependency that does not answer for this long is down.
const PATIENCE: Duration = Duration::from_secs(2);

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Work goes on, slower.
    Degraded,
    /// Nothing can be accepted.
    Down,
}

/// One dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Dependency {
    /// Which, e.g. `database`.
    pub name: String,
    /// What kind, e.g. `sqlite`.
    pub kind: String,
    /// How it is.
    pub status: Status,
    /// Why, when it is not well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Health {
    /// The worst of what matters: the database down is down, the transport down is degraded.
    pub status: Status,
    /// Slipway's version.
    pub version: String,
    /// Each dependency.
    pub dependencies: Vec<Dependency>,
}

/// Looks at every dependency.
pub async fn check(cx: &Ctx) -> Health {
    let database = match tokio::time::timeout(PATIENCE, cx.store.ping()).await {
        Ok(Ok(())) => (Status::Ok, None),
        Ok(Err(error)) => (Status::Down, Some(error.to_string())),
        Err(_) => (Status::Down, Some("it does not answer".to_owned())),
    };
    let transport = match tokio::time::timeout(PATIENCE, cx.transport.health()).await {
        Ok(Ok(())) => (Status::Ok, None),
        Ok(Err(error)) => (Status::Degraded, Some(error.to_string())),
        Err(_) => (Status::Degraded, Some("it does not answer".to_owned())),
    };
    let status = match (database.0, transport.0) {
        (Status::Down, _) => Status::Down,
        (_, Status::Ok) => Status::Ok,
        _ => Status::Degraded,
    };
    let dependency = |name: &str, kind: &str, (status, detail): (Status, Option<String>)| {
        Dependency { name: name.to_owned(), kind: kind.to_owned(), status, detail }
    };
    Health {
        status,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        dependencies: vec![
            dependency("database", cx.store.engine(), database),
            dependency("transport", cx.transport.name(), transport),
        ],
    }
}
