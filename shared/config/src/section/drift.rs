//! `[drift]`: how stacks are checked for drift where nothing else was said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::drift::schedule::Schedule;

/// How stacks are checked for drift where nothing else was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drift {
    /// Whether stacks are checked by themselves. A check reads the world with the credentials of a worker of the queue `plan`, and changes nothing. A stack may say otherwise.
    pub enabled: bool,
    /// How often, in seconds. A stack may say otherwise.
    #[schemars(range(min = 300, max = 2_592_000))]
    pub interval_s: u32,
    /// How much of the time between two checks is left to chance, in percent. The first check of a stack may be at any moment of its first interval.
    #[schemars(range(min = 0, max = 100))]
    pub jitter_percent: u8,
    /// Checks that are begun in one round at most; there is a round every ten seconds.
    #[schemars(range(min = 1, max = 1000))]
    pub per_round: u32,
}

impl Default for Drift {
    fn default() -> Self {
        let Schedule { enabled, interval_s, jitter_percent, per_round } = Schedule::default();
        Self { enabled, interval_s, jitter_percent, per_round }
    }
}
