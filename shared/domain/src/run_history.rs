//! What past runs of a stack took, and what the next one is likely to take.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{JobId, StackId};
use crate::job::JobKind;

/// What one run of a tool took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// From its start to its end, in milliseconds.
    pub wall_ms: i64,
    /// The most memory that the tool and all that it started had at one time; `None` where it
    /// cannot be measured.
    pub peak_rss_bytes: Option<i64>,
}

/// A run that finished its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastRun {
    /// The job it was of.
    pub job_id: JobId,
    /// The stack.
    pub stack_id: StackId,
    /// What it did.
    pub kind: JobKind,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// What it took.
    pub measure: Measure,
    /// How many resource instances the stack's state recorded then, if Slipway keeps it.
    pub resources: Option<i64>,
}

/// What a run is likely to take, by the past ones that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Estimate {
    /// How many past runs it is made of, 20 at most.
    pub runs: u32,
    /// Half of them took at most this many seconds.
    pub p50_s: f64,
    /// Of twenty of them, nineteen took at most this many seconds.
    pub p95_s: f64,
    /// The most memory that one of them took, in MiB; absent when it was never measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_mb: Option<i64>,
}

/// What the runs of a stack are likely to take. Nothing is said of a kind that has never finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Estimates {
    /// Plans.
    pub plan: Option<Estimate>,
    /// Applies.
    pub apply: Option<Estimate>,
}
