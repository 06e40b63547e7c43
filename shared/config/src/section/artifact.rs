//! `[artifacts]`: where plan files, archives, states and logs are kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where plan files, archives, states and logs are kept. They are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Artifacts {
    /// Directory of the larger ones; `artifacts` in the data directory when nothing is said.
    pub dir: PathBuf,
    /// Those up to this many bytes are kept in the database.
    #[schemars(range(min = 0, max = 16_777_216))]
    pub inline_max_bytes: usize,
}

impl Default for Artifacts {
    fn default() -> Self {
        Self { dir: PathBuf::new(), inline_max_bytes: 256 << 10 }
    }
}
