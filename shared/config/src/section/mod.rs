//! The sections of the configuration, one file each: keys, units, defaults, and the rules that
//! concern one section only. Rules across sections are in `validate`.

mod api;
mod artifact;
mod audit;
mod auth;
mod cost;
mod database;
mod drift;
mod gates;
mod jobs;
mod key;
mod limits;
mod outbound;
mod queue;
mod retention;
mod scan;
mod source;
mod telemetry;
mod template;
mod terraform;
mod worker;

pub use api::{Api, ForwardedHeader, Tls};
pub use artifact::Artifacts;
pub use audit::Audit;
pub use auth::{Auth, AuthMode, Github, Google, Oidc};
pub use cost::Cost;
pub use database::Database;
pub(crate) use database::SQLITE_SCHEME;
pub use drift::Drift;
pub use gates::Gates;
pub use jobs::{JobKindLimits, Jobs};
pub use key::{KeyProvider, Keys, Vault};
pub use limits::Limits;
pub use outbound::Outbound;
pub use queue::{Queue, TransportKind};
pub use retention::Retention;
pub use scan::Scan;
pub use source::Source;
pub use telemetry::{LogFormat, Telemetry};
pub use template::Templates;
pub use terraform::Terraform;
pub use worker::Worker;

use serde::Serializer;
use slipway_domain::Secret;
use slipway_domain::secret::MASK;

use crate::problem::Problem;

/// Writes a secret as `***`, and one that is not set as nothing, so that a reader can tell.
fn masked<S: Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.reveal().is_empty() { "" } else { MASK })
}

/// Checks a list of variables that the tools of a worker may see.
fn check_env_names(key: &str, names: &[String], problems: &mut Vec<Problem>) {
    for name in names {
        let shaped = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        let what = if !shaped {
            // A value that was written along may be a secret.
            let shown = name.split('=').next().unwrap_or_default();
            format!("{shown:?} is not the name of a variable; write names alone, without values")
        } else if name.starts_with("SLIPWAY_") {
            format!(
                "{name}: Slipway's own variables hold its secrets; configurations may not see them"
            )
        } else {
            continue;
        };
        problems.push(Problem::at(key, what));
    }
}
