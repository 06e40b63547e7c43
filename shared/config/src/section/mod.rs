//! The sections of the configuration, one file each: keys, units, defaults, and the rules that
//! concern one section only. Rules across sections are in `validate`.

mod api;
mod artifact;
mod database;
mod jobs;
mod key;
mod queue;
mod retention;
mod source;
mod telemetry;
mod template;
mod terraform;
mod worker;

pub use api::Api;
pub use artifact::Artifacts;
pub use database::Database;
pub(crate) use database::SQLITE_SCHEME;
pub use jobs::{JobKindLimits, Jobs};
pub use key::{KeyProvider, Keys, Vault};
pub use queue::{Queue, TransportKind};
pub use retention::Retention;
pub use source::Source;
pub use telemetry::{LogFormat, Telemetry};
pub use template::Templates;
pub use terraform::Terraform;
pub use worker::Worker;

use serde::Serializer;
use slipway_domain::Secret;
use slipway_domain::secret::MASK;

/// Writes a secret as `***`, and one that is not set as nothing, so that a reader can tell.
fn masked<S: Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.reveal().is_empty() { "" } else { MASK })
}
