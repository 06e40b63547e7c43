//! `[gates]`: what the gates look for where nothing else was said.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the gates look for where nothing else was said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// A JSON file with settings of the gates for every project and environment, in the form of
    /// `PUT /api/v1/gates/settings`. What is said there, over the API, outweighs it.
    pub settings_file: Option<PathBuf>,
}
