//! `[source]`: what a submitted configuration may come from and hold.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a submitted configuration may come from and hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Whether `file://` repositories are allowed: whoever may submit can then read repositories
    /// on the worker's disk.
    pub git_allow_file: bool,
    /// Whether `http://` repositories are allowed: what they deliver can be changed on the way.
    pub git_allow_http: bool,
    /// Root under which directories on this machine may be deployed. Used by `slipway dev` and
    /// `slipway demo` only; not set, directories are refused.
    pub directory_root: Option<PathBuf>,
    /// Bytes of all files of a source together, unpacked.
    #[schemars(range(min = 1024, max = 17_179_869_184_u64))]
    pub max_unpacked_bytes: u64,
    /// Files and links of a source.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_entries: usize,
    /// How long fetching a repository may take, in seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub git_timeout_s: u64,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            git_allow_file: false,
            git_allow_http: false,
            directory_root: None,
            max_unpacked_bytes: 64 << 20,
            max_entries: 10_000,
            git_timeout_s: 120,
        }
    }
}
