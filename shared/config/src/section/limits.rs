//! `[limits]`: how many requests a caller may send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests that a caller may send in a minute, by kind of route; 0 for any number. Counted for each
/// token and, times `per_address`, for each address. Shared by all processes through Redis when that
/// is the transport, else counted by each process for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Whether requests from this machine are limited, too.
    pub loopback: bool,
    /// How many times as much as one token all callers of one address may send together. Of logins an
    /// address may send as many as a token.
    #[schemars(range(min = 1, max = 10_000))]
    pub per_address: u32,
    /// Logins and everything else that shows a password or a token to get another one.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub login: u32,
    /// Webhooks.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub webhook: u32,
    /// Calls of the MCP endpoint.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub mcp: u32,
    /// Requests that read.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub read: u32,
    /// Requests that change something.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub write: u32,
    /// Uploads of archives, templates and policies.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub upload: u32,
    /// Requests of the Terraform state backend.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub state: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            loopback: false,
            per_address: 5,
            login: 10,
            webhook: 600,
            mcp: 600,
            read: 3_000,
            write: 600,
            upload: 120,
            state: 1_200,
        }
    }
}
