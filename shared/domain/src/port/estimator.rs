//! The estimator port: how a tool of another maker says what a plan costs.
//!
//! It gets the plan's document and gives one of its own, which the cost gate reads. It never fails
//! as such: how it ended is part of the outcome, because an estimate that was asked for and not made
//! is something the gate must know.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::driver::Run;

/// What is estimated.
#[derive(Clone)]
pub struct EstimateInput {
    /// The plan as JSON. It may hold secrets.
    pub document: Bytes,
    /// The currency that amounts are asked for in (ISO 4217).
    pub currency: String,
    /// How long it may take.
    pub time_limit: Duration,
}

impl fmt::Debug for EstimateInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EstimateInput")
            .field("document", &self.document.len())
            .field("currency", &self.currency)
            .field("time_limit", &self.time_limit)
            .finish()
    }
}

/// How an estimate ended.
#[derive(Clone, PartialEq, Eq)]
pub enum EstimateStatus {
    /// It answered. Whether that can be read is for the gate to say.
    Done {
        /// Its report, in its own form.
        document: Bytes,
    },
    /// It is not installed here, or not set up.
    Missing {
        /// What is missing.
        why: String,
    },
    /// It was killed at its limit.
    TimedOut {
        /// The limit, in seconds.
        after_s: u32,
    },
    /// It did not work.
    Failed {
        /// Why.
        why: String,
    },
}

impl fmt::Debug for EstimateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { document } => {
                f.debug_struct("Done").field("document", &document.len()).finish()
            }
            Self::Missing { why } => f.debug_struct("Missing").field("why", why).finish(),
            Self::TimedOut { after_s } => {
                f.debug_struct("TimedOut").field("after_s", after_s).finish()
            }
            Self::Failed { why } => f.debug_struct("Failed").field("why", why).finish(),
        }
    }
}

/// What became of one estimate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimated {
    /// The tool's version, as far as it tells one.
    pub version: Option<String>,
    /// How it ended.
    pub status: EstimateStatus,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
}

impl Estimated {
    /// None, because nobody was there who could be asked.
    pub fn missing(why: impl Into<String>) -> Self {
        let status = EstimateStatus::Missing { why: why.into() };
        Self { version: None, status, duration_ms: 0 }
    }
}

/// The estimator of a worker.
#[async_trait]
pub trait Estimate: Send + Sync {
    /// Asks what a plan costs, in the run's directory, and ends when the run is stopped. It does not
    /// fail: what did not work is in the outcome. Dropping the future kills what runs.
    async fn estimate(&self, run: &dyn Run, input: &EstimateInput) -> Estimated;
}
