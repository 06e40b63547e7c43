//! `[outbound]`: where requests may go that a user named.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where requests may go that a user named: git repositories, identity providers, webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Networks (`10.0.0.0/8`), addresses and host names that may be called although they are not on
    /// the public internet. A host name lets all of its addresses through.
    pub allow: Vec<String>,
}
