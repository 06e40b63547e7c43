//! The document as it is written, of which only what is needed is read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Document {
    pub(super) format_version: Option<String>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Variable>,
    pub(super) resource_changes: Option<Vec<RawChange>>,
    pub(super) planned_values: Option<Values>,
    pub(super) prior_state: Option<State>,
    pub(super) configuration: Option<Configuration>,
}

#[derive(Deserialize)]
pub(super) struct Variable {
    #[serde(default)]
    pub(super) value: Value,
}

#[derive(Deserialize)]
pub(super) struct RawChange {
    pub(super) address: String,
    #[serde(default)]
    pub(super) mode: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) deposed: Option<String>,
    pub(super) change: Change,
}

#[derive(Deserialize)]
pub(super) struct Change {
    #[serde(default)]
    pub(super) actions: Vec<String>,
    #[serde(default)]
    pub(super) before: Value,
    #[serde(default)]
    pub(super) after: Value,
    #[serde(default)]
    pub(super) after_unknown: Value,
    #[serde(default)]
    pub(super) before_sensitive: Value,
    #[serde(default)]
    pub(super) after_sensitive: Value,
}

#[derive(Deserialize)]
pub(super) struct State {
    pub(super) values: Option<Values>,
}

#[derive(Deserialize)]
pub(super) struct Values {
    pub(super) root_module: Option<Module>,
}

#[derive(Deserialize)]
pub(super) struct Module {
    #[serde(default)]
    pub(super) resources: Vec<Stated>,
    #[serde(default)]
    pub(super) child_modules: Vec<Module>,
}

#[derive(Deserialize)]
pub(super) struct Stated {
    pub(super) address: String,
    #[serde(default)]
    pub(super) mode: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) values: Value,
    #[serde(default)]
    pub(super) sensitive_values: Value,
}

#[derive(Deserialize, Default)]
pub(super) struct Configuration {
    #[serde(default)]
    pub(super) provider_config: BTreeMap<String, ProviderConfig>,
    #[serde(default)]
    pub(super) root_module: ConfigModule,
}

#[derive(Deserialize)]
pub(super) struct ProviderConfig {
    #[serde(default)]
    pub(super) module_address: String,
    #[serde(default)]
    pub(super) expressions: Value,
}

#[derive(Deserialize, Default)]
pub(super) struct ConfigModule {
    #[serde(default)]
    pub(super) resources: Vec<ConfigResource>,
    #[serde(default)]
    pub(super) module_calls: BTreeMap<String, ModuleCall>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Declared>,
}

#[derive(Deserialize)]
pub(super) struct Declared {
    #[serde(default)]
    pub(super) default: Value,
}

#[derive(Deserialize)]
pub(super) struct ConfigResource {
    #[serde(default)]
    pub(super) mode: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) provider_config_key: String,
    #[serde(default)]
    pub(super) expressions: Value,
}

#[derive(Deserialize)]
pub(super) struct ModuleCall {
    #[serde(default)]
    pub(super) expressions: Value,
    #[serde(default)]
    pub(super) module: ConfigModule,
}

impl Module {
    /// Hands over every managed resource, of child modules too.
    pub(super) fn each(self, take: &mut impl FnMut(Stated)) {
        for resource in self.resources {
            if resource.mode != "data" {
                take(resource);
            }
        }
        for child in self.child_modules {
            child.each(take);
        }
    }
}
