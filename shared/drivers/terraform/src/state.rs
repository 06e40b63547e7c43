//! Reads state files as far as Slipway needs to: which version, how much is in it, its outputs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use slipway_domain::deployment::Output;
use slipway_domain::plan::StateMark;
use slipway_domain::port::driver::StateBlob;

use crate::show::collect;

/// What a state file says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// Which version it is.
    pub(crate) mark: StateMark,
    /// How many resource instances it records; data sources are not counted.
    pub(crate) resource_count: i64,
    /// Its outputs, in clear.
    pub(crate) outputs: Vec<Output>,
    /// Source addresses of the providers that its resources belong to.
    pub(crate) providers: BTreeSet<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    version: Option<u32>,
    lineage: String,
    serial: i64,
    #[serde(default)]
    outputs: BTreeMap<String, FileOutput>,
    #[serde(default)]
    resources: Vec<FileResource>,
    /// OpenTofu's own encryption: the rest cannot be read here.
    #[serde(default)]
    encrypted_data: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct FileOutput {
    #[serde(default)]
    value: Value,
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    sensitive: bool,
}

#[derive(Deserialize)]
struct FileResource {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    provider: String,
    #[serde(default)]
    instances: Vec<serde::de::IgnoredAny>,
}

/// What a state holds in secret.
#[derive(Deserialize)]
struct Confidential {
    #[serde(default)]
    outputs: BTreeMap<String, FileOutput>,
    #[serde(default)]
    resources: Vec<ConfidentialResource>,
}

#[derive(Deserialize)]
struct ConfidentialResource {
    #[serde(default)]
    instances: Vec<ConfidentialInstance>,
}

#[derive(Deserialize)]
struct ConfidentialInstance {
    #[serde(default)]
    attributes: Value,
    #[serde(default)]
    sensitive_attributes: Vec<Vec<Step>>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    value: Value,
}

/// The strings that a state marks as sensitive: outputs, and attributes of resources. Empty when it
/// cannot be read.
pub(crate) fn secrets(content: &[u8]) -> Vec<String> {
    let Ok(state) = serde_json::from_slice::<Confidential>(content) else { return Vec::new() };
    let all = Value::Bool(true);
    let mut found = BTreeSet::new();
    for output in state.outputs.values().filter(|output| output.sensitive) {
        collect(&output.value, &all, &mut found);
    }
    for instance in state.resources.iter().flat_map(|resource| &resource.instances) {
        for path in &instance.sensitive_attributes {
            collect(follow(&instance.attributes, path), &all, &mut found);
        }
    }
    found.into_iter().map(str::to_owned).collect()
}

/// What a path leads to; where it cannot be followed, everything from there.
fn follow<'v>(mut at: &'v Value, path: &[Step]) -> &'v Value {
    for step in path {
        let next = |of: &'v Value| match &step.value {
            Value::String(name) => of.get(name),
            Value::Number(index) => {
                index.as_u64().and_then(|index| of.get(usize::try_from(index).ok()?))
            }
            // An index is a value with its type.
            Value::Object(index) => match index.get("value") {
                Some(Value::String(name)) => of.get(name),
                Some(Value::Number(n)) => n.as_u64().and_then(|n| of.get(usize::try_from(n).ok()?)),
                _ => None,
            },
            _ => None,
        };
        // An attribute of any type is kept as a value with its type, too.
        let Some(found) = next(at).or_else(|| at.get("value").and_then(next)) else { return at };
        at = found;
    }
    at
}

/// Reads a state file; `None` when it is empty, cut off, or not a state of a version that is known.
pub(crate) fn read(content: &[u8]) -> Option<State> {
    let file: File = serde_json::from_slice(content).ok()?;
    if file.lineage.is_empty() || (file.version != Some(4) && file.encrypted_data.is_none()) {
        return None;
    }
    let managed = file.resources.iter().filter(|r| r.mode == "managed");
    let resource_count: usize = managed.map(|r| r.instances.len()).sum();
    let outputs = file.outputs.into_iter().map(|(name, output)| Output {
        name,
        value: output.value,
        sensitive: output.sensitive,
        kind: output.kind,
    });
    Some(State {
        mark: StateMark { lineage: file.lineage, serial: file.serial },
        resource_count: i64::try_from(resource_count).unwrap_or(i64::MAX),
        outputs: outputs.collect(),
        providers: file.resources.iter().filter_map(|r| provider(&r.provider)).collect(),
    })
}

/// The blob to keep of a state file.
pub(crate) fn blob(content: Bytes) -> Option<(State, StateBlob)> {
    let state = read(&content)?;
    let (mark, resource_count) = (state.mark.clone(), state.resource_count);
    Some((state, StateBlob { mark, resource_count, content }))
}

/// The source address in `module.a.provider["registry.terraform.io/hashicorp/aws"].west`.
fn provider(text: &str) -> Option<String> {
    let rest = text.split_once("provider[\"")?.1;
    Some(rest.split_once("\"]")?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_state_marks_is_found_wherever_it_is() {
        let state = json!({
            "version": 4, "lineage": "l", "serial": 1,
            "outputs": {
                "open": {"value": "readable-value", "type": "string"},
                "url": {"value": ["secret-output"], "type": "string", "sensitive": true},
            },
            "resources": [{"mode": "managed", "instances": [{
                "attributes": {
                    "id": "readable-id",
                    "result": "secret-result",
                    "input": {"type": [], "value": {"region": "readable-region", "password": "secret-inner"}},
                    "list": ["readable-item", "secret-item"],
                    "lost": {"deep": "secret-below"},
                },
                "sensitive_attributes": [
                    [{"type": "get_attr", "value": "result"}],
                    [{"type": "get_attr", "value": "input"}, {"type": "get_attr", "value": "password"}],
                    [{"type": "get_attr", "value": "list"}, {"type": "index", "value": {"value": 1, "type": "number"}}],
                    [{"type": "get_attr", "value": "lost"}, {"type": "get_attr", "value": "gone"}],
                ],
            }]}],
        });
        let found = secrets(state.to_string().as_bytes());
        let expected =
            ["secret-below", "secret-inner", "secret-item", "secret-output", "secret-result"];
        assert_eq!(found, expected);
        assert!(secrets(b"{").is_empty());
    }

    #[test]
    fn a_state_file_is_counted_and_its_outputs_are_read() {
        let state = read(include_bytes!("../fixtures/state.json")).unwrap();
        assert_eq!(state.mark.serial, 4);
        assert_eq!(state.resource_count, 4);
        assert_eq!(state.providers, ["terraform.io/builtin/terraform".to_owned()].into());
        let secret = state.outputs.iter().find(|o| o.name == "s").unwrap();
        assert!(secret.sensitive);
        assert_eq!(secret.value, json!("hunter22"));
        assert_eq!(secret.kind, json!("string"));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_no_state() {
        let whole = include_bytes!("../fixtures/state.json");
        for cut in [0, 1, 100, whole.len() - 3] {
            assert_eq!(read(&whole[..cut]), None, "cut at {cut}");
        }
        assert_eq!(read(b"{}"), None);
        assert_eq!(read(br#"{"version": 3, "lineage": "x", "serial": 1}"#), None);
    }

    #[test]
    fn providers_of_modules_are_found() {
        assert_eq!(
            provider(r#"module.a.provider["registry.terraform.io/hashicorp/aws"].west"#).as_deref(),
            Some("registry.terraform.io/hashicorp/aws")
        );
    }
}
