//! `[templates]`: the library of templates.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The library of templates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Templates {
    /// Directory of further templates, one directory each, beside those that come with Slipway.
    pub dir: Option<PathBuf>,
}
