//! Queues as operators see and set them. What a queue is, is in [`crate::job`].

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::job::Queue;

/// A queue that an operator stopped. Its running jobs go on; nothing new is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Pause {
    /// Who stopped it.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
    /// Why, for the next operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an operator set for a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Which queue.
    pub name: Queue,
    /// Whether it is stopped.
    pub paused: Option<Pause>,
    /// Jobs of it that may run at a time over the whole installation; no limit when absent.
    pub cap: Option<u32>,
}

/// How much there is in a queue, and how much could run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct QueueStats {
    /// Queued and due.
    pub waiting: i64,
    /// Held by a worker.
    pub running: i64,
    /// Queued for later.
    pub scheduled: i64,
    /// Attempts used up, or lost in the middle of an apply: an operator has to look.
    pub dead: i64,
    /// How long the oldest due one has waited, in seconds.
    pub oldest_wait_s: f64,
    /// Slots that there should be for it: what runs, and what could run at once if there were a
    /// slot. Jobs that wait for their stack count once a stack; a paused queue wants no more than
    /// it has, a capped one not more than its cap. For autoscalers.
    pub desired: i64,
    /// Slots of the workers that are alive and not draining.
    pub capacity: i64,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct QueueStatus {
    /// Which.
    pub name: Queue,
    /// Who stopped it, when it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Jobs of it that may run at a time over the whole installation; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    /// How much there is in it.
    #[serde(flatten)]
    pub stats: QueueStats,
}
