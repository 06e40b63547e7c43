//! `[cost]`: what a worker has to say what a plan costs, beside the price book. Whether a gate asks
//! for it is said per project and environment.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a worker has to say what a plan costs, beside the price book.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cost {
    /// The program infracost; not set, `infracost` is looked for on `PATH`. It runs only where gates
    /// ask for it. The key of its pricing API is the variable `INFRACOST_API_KEY` of the worker.
    pub infracost: Option<PathBuf>,
}
