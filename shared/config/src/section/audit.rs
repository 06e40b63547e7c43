//! `[audit]`: the audit log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// How long records are kept, in days; 0 keeps them for ever. What is let go leaves a place that
    /// the rest of the chain goes on from.
    #[schemars(range(min = 0, max = 36_500))]
    pub retention_days: u32,
    /// How often a signed checkpoint of the chain is kept and written to the log, in seconds.
    #[schemars(range(min = 5, max = 86_400))]
    pub checkpoint_interval_s: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self { retention_days: 0, checkpoint_interval_s: 300 }
    }
}
