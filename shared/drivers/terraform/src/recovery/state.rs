//! The instances that a state file records, as far as recovery looks at them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::address::{Address, InstanceKey};

/// Why a state cannot be compared with a journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableState {
    /// It is not a whole state file of a version that is known.
    #[error("the state is not a whole state file of version 4")]
    Malformed,
    /// The tool encrypted it.
    #[error("the state is encrypted by the tool, and cannot be compared with the journal")]
    Encrypted,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    version: Option<u32>,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    encrypted_data: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    module: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    instances: Vec<RawInstance>,
}

#[derive(Deserialize)]
struct RawInstance {
    #[serde(default)]
    index_key: Option<Value>,
    #[serde(default)]
    deposed: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    attributes: Value,
}

/// One object that is recorded.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) tainted: bool,
    attributes: Value,
}

impl Instance {
    /// An attribute as the journal would write it.
    pub(super) fn text(&self, attribute: &str) -> Option<String> {
        match self.attributes.get(attribute)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// What is recorded of one address.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) current: Option<Instance>,
    /// Older objects that are still to be removed.
    pub(super) deposed: Vec<Instance>,
}

/// Reads a state file; no file records nothing.
pub(super) fn read(content: Option<&[u8]>) -> Result<BTreeMap<Address, Recorded>, UnreadableState> {
    let mut found = BTreeMap::new();
    let Some(content) = content else { return Ok(found) };
    let file: File = serde_json::from_slice(content).map_err(|_| UnreadableState::Malformed)?;
    if file.encrypted_data.is_some() {
        return Err(UnreadableState::Encrypted);
    }
    if file.version != Some(4) {
        return Err(UnreadableState::Malformed);
    }
    for resource in file.resources.into_iter().filter(|r| r.mode == "managed") {
        let modules = Address::modules_of(&resource.module).ok_or(UnreadableState::Malformed)?;
        for raw in resource.instances {
            let key = match raw.index_key {
                None | Some(Value::Null) => None,
                Some(Value::String(name)) => Some(InstanceKey::Name(name)),
                Some(other) => {
                    Some(InstanceKey::Index(other.as_i64().ok_or(UnreadableState::Malformed)?))
                }
            };
            let address = Address {
                modules: modules.clone(),
                data: false,
                kind: resource.kind.clone(),
                name: resource.name.clone(),
                key,
            };
            let tainted = raw.status.as_deref() == Some("tainted");
            let instance = Instance { tainted, attributes: raw.attributes };
            let recorded: &mut Recorded = found.entry(address).or_default();
            if raw.deposed.is_some_and(|key| !key.is_empty()) {
                recorded.deposed.push(instance);
            } else {
                recorded.current = Some(instance);
            }
        }
    }
    Ok(found)
}
