//! `[retention]`: how long things are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Events, in days.
    #[schemars(range(min = 1, max = 3650))]
    pub events_days: u32,
    /// Logs of deployments that ended, in days.
    #[schemars(range(min = 1, max = 3650))]
    pub logs_days: u32,
    /// Answers kept under an `Idempotency-Key`, in hours.
    #[schemars(range(min = 1, max = 720))]
    pub idempotency_hours: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { events_days: 90, logs_days: 90, idempotency_hours: 24 }
    }
}
