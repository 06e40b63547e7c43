//! Templates: ready-made configurations with typed inputs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One typed input of a configuration: a Terraform `variable` block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its type constraint as it is written, e.g. `list(string)`; `any` when there is none.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether a value must be given.
    pub required: bool,
    /// The value when none is given; absent when it is not a plain literal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    pub default: Option<serde_json::Value>,
    /// Whether its value is masked everywhere.
    pub sensitive: bool,
    /// Whether `null` is a value.
    pub nullable: bool,
}

/// A template of the library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// One line about it.
    pub title: String,
    /// What it makes and when to use it.
    pub description: String,
    /// Its inputs.
    pub inputs: Vec<InputSpec>,
    /// Digest of its source tree.
    pub digest: String,
}
