//! What differs between two Terraform states, by resource and attribute, for people to read.
//!
//! Values that are marked sensitive, that have the name of a secret, or that hold a secret which is
//! known from elsewhere are masked: that they differ is said, what they are is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::fault::{Code, Fault};
use crate::redact::Redactor;
use crate::secret::MASK;

/// Resources in one answer at most.
pub const MAX_RESOURCES: usize = 1000;
/// Attributes of one resource in one answer at most.
pub const MAX_ATTRIBUTES: usize = 200;
/// Characters of one text that are shown.
const MAX_TEXT_CHARS: usize = 1000;
/// Parts of names that secrets have. Providers do not always mark theirs.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "private_key",
    "privatekey",
    "api_key",
    "apikey",
    "access_key",
    "credential",
    "connection_string",
    "kubeconfig",
    "kube_config",
    "kube_admin_config",
];

/// In which of the two states something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// In the newer one only.
    Added,
    /// In the older one only.
    Removed,
    /// In both, and not the same.
    Changed,
}

/// How many resource instances differ.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema,
)]
pub struct DiffCounts {
    /// In the newer state only.
    pub added: u32,
    /// In the older state only.
    pub removed: u32,
    /// In both, and not the same.
    pub changed: u32,
}

/// What differs between two versions of a state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct StateDiff {
    /// The older version's number; 0 stands for no state at all.
    pub from: i64,
    /// The newer version's number.
    pub to: i64,
    /// How many resource instances differ.
    pub counts: DiffCounts,
    /// Which, by address.
    pub resources: Vec<ResourceDiff>,
    /// Which outputs, by name.
    pub outputs: Vec<AttributeDiff>,
    /// Whether more resources differ than are listed.
    pub truncated: bool,
}

/// A resource instance that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct ResourceDiff {
    /// Its address, e.g. `module.net.aws_subnet.a["x"]`.
    pub address: String,
    /// In which state it is.
    pub difference: Difference,
    /// Whether the newer state says that it is to be replaced; absent when that did not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tainted: Option<bool>,
    /// Its attributes that differ; empty for one that is in one state only.
    pub attributes: Vec<AttributeDiff>,
    /// Whether more attributes differ than are listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// An attribute or an output that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct AttributeDiff {
    /// JSON pointer into the attributes, or the name of the output.
    pub path: String,
    /// In which state it has a value.
    pub difference: Difference,
    /// The value in the older state; `***` when it is sensitive.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before: Value,
    /// The value in the newer state; `***` when it is sensitive.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub after: Value,
    /// Whether the values are masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    outputs: BTreeMap<String, Output>,
    #[serde(default)]
    encrypted_data: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    module: Option<String>,
    #[serde(default)]
    mode: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    #[serde(default)]
    index_key: Option<Value>,
    #[serde(default)]
    deposed: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    attributes: Value,
    #[serde(default)]
    attributes_flat: Value,
    #[serde(default)]
    sensitive_attributes: Value,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    value: Value,
    #[serde(default)]
    sensitive: bool,
}

/// A value without parts, or one whose parts are nobody's business.
struct Leaf<'v> {
    value: &'v Value,
    sensitive: bool,
}

/// Attributes by their place.
type Leaves<'v> = BTreeMap<String, Leaf<'v>>;

/// Compares two versions of a state. `secrets` are values to be masked wherever they appear; an
/// older version 0 with no content stands for no state at all.
pub fn between(
    (from, older): (i64, &[u8]),
    (to, newer): (i64, &[u8]),
    secrets: &[String],
) -> Result<StateDiff, Fault> {
    let (older, newer) = (file(from, older)?, file(to, newer)?);
    let (old, new) = (instances(&older), instances(&newer));
    // What is marked in one of them is hidden in both.
    let hidden = |address: &str| {
        let both = [old.get(address), new.get(address)].into_iter().flatten();
        both.flat_map(|instance| hidden_paths(&instance.sensitive_attributes)).collect()
    };
    let (old, new) = (with_leaves(&old, hidden), with_leaves(&new, hidden));
    let mut known: BTreeSet<String> = secrets.iter().cloned().collect();
    for (_, leaves) in old.values().chain(new.values()) {
        for leaf in leaves.values().filter(|leaf| leaf.sensitive) {
            collect(leaf.value, &mut known);
        }
    }
    for output in older.outputs.values().chain(newer.outputs.values()).filter(|o| o.sensitive) {
        collect(&output.value, &mut known);
    }
    let redactor = Redactor::new(&known);
    let mut diff = StateDiff {
        from,
        to,
        counts: DiffCounts::default(),
        resources: Vec::new(),
        outputs: outputs(&older, &newer, &redactor),
        truncated: false,
    };
    for address in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let Some(resource) = resource(address, old.get(address), new.get(address), &redactor)
        else {
            continue;
        };
        match resource.difference {
            Difference::Added => diff.counts.added += 1,
            Difference::Removed => diff.counts.removed += 1,
            Difference::Changed => diff.counts.changed += 1,
        }
        if diff.resources.len() < MAX_RESOURCES {
            diff.resources.push(resource);
        } else {
            diff.truncated = true;
        }
    }
    Ok(diff)
}

fn file(version: i64, content: &[u8]) -> Result<File, Fault> {
    if content.is_empty() {
        return Ok(File::default());
    }
    let cannot = |why: &str| {
        Fault::new(Code::StateRefused, format!("Version {version} cannot be compared: {why}."))
    };
    // The error would quote the state.
    let file: File = serde_json::from_slice(content).map_err(|_| {
        cannot("it has not the form of a state that Terraform 0.12 or later writes")
    })?;
    if file.encrypted_data.is_some() {
        return Err(cannot("the tool that wrote it has encrypted it"));
    }
    Ok(file)
}

/// Every instance by its address.
fn instances(file: &File) -> BTreeMap<String, &Instance> {
    let mut all = BTreeMap::new();
    for resource in &file.resources {
        let module = resource.module.as_deref().map(|module| format!("{module}."));
        let data = if resource.mode == "data" { "data." } else { "" };
        let base =
            format!("{}{data}{}.{}", module.unwrap_or_default(), resource.kind, resource.name);
        for instance in &resource.instances {
            let mut address = base.clone();
            if let Some(key) = &instance.index_key {
                // A JSON text is written as Terraform writes it, and so is a number.
                let _ = write!(address, "[{key}]");
            }
            if let Some(deposed) = &instance.deposed {
                let _ = write!(address, " (deposed {deposed})");
            }
            all.insert(address, instance);
        }
    }
    all
}

fn with_leaves<'v>(
    instances: &BTreeMap<String, &'v Instance>,
    hidden: impl Fn(&str) -> BTreeSet<Vec<String>>,
) -> BTreeMap<String, (&'v Instance, Leaves<'v>)> {
    let leaves = |address: &str, instance: &'v Instance| {
        let attributes = if instance.attributes.is_null() {
            &instance.attributes_flat
        } else {
            &instance.attributes
        };
        let mut leaves = Leaves::new();
        flatten(attributes, &mut Vec::new(), &hidden(address), &mut leaves);
        leaves
    };
    let all = instances.iter();
    all.map(|(address, one)| (address.clone(), (*one, leaves(address, one)))).collect()
}

/// The paths that Terraform marked. Where one cannot be read, everything below the part that can
/// be is hidden.
fn hidden_paths(marks: &Value) -> BTreeSet<Vec<String>> {
    let paths = match marks {
        Value::Null => return BTreeSet::new(),
        Value::Array(paths) => paths,
        _ => return BTreeSet::from([Vec::new()]),
    };
    let path = |path: &Value| -> Vec<String> {
        let steps = path.as_array().into_iter().flatten();
        steps.map_while(step).collect()
    };
    paths.iter().map(path).collect()
}

fn step(step: &Value) -> Option<String> {
    let value = match step["type"].as_str()? {
        "get_attr" => &step["value"],
        "index" => &step["value"]["value"],
        _ => return None,
    };
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Splits a value into its leaves. `null` is no value; what is hidden is one leaf, because also
/// its keys and its length tell something.
fn flatten<'v>(
    value: &'v Value,
    at: &mut Vec<String>,
    hidden: &BTreeSet<Vec<String>>,
    leaves: &mut Leaves<'v>,
) {
    let sensitive = hidden.contains(at) || at.last().is_some_and(|name| looks_secret(name));
    let parts: Vec<(String, &Value)> = match value {
        Value::Null => return,
        Value::Object(fields) if !sensitive => {
            fields.iter().map(|(name, value)| (name.clone(), value)).collect()
        }
        Value::Array(items) if !sensitive => {
            items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    if parts.is_empty() {
        leaves.insert(pointer(at), Leaf { value, sensitive });
    }
    for (name, part) in parts {
        at.push(name);
        flatten(part, at, hidden, leaves);
        at.pop();
    }
}

fn pointer(at: &[String]) -> String {
    at.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Every text and number in a secret value, and its keys.
fn collect(value: &Value, known: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            known.insert(text.clone());
        }
        Value::Number(number) => {
            known.insert(number.to_string());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, known)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, known)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn resource(
    address: &str,
    old: Option<&(&Instance, Leaves<'_>)>,
    new: Option<&(&Instance, Leaves<'_>)>,
    redactor: &Redactor,
) -> Option<ResourceDiff> {
    let is_tainted = |instance: &Instance| instance.status.as_deref() == Some("tainted");
    let mut diff = ResourceDiff {
        address: redactor.text(address),
        difference: Difference::Changed,
        tainted: None,
        attributes: Vec::new(),
        truncated: false,
    };
    let ((old, old_leaves), (new, new_leaves)) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (None, Some((new, _))) => {
            let tainted = is_tainted(new).then_some(true);
            return Some(ResourceDiff { difference: Difference::Added, tainted, ..diff });
        }
        (Some(_), None) => return Some(ResourceDiff { difference: Difference::Removed, ..diff }),
        (None, None) => return None,
    };
    diff.tainted = (is_tainted(old) != is_tainted(new)).then(|| is_tainted(new));
    for path in old_leaves.keys().chain(new_leaves.keys()).collect::<BTreeSet<_>>() {
        let Some(attribute) = attribute(path, old_leaves.get(path), new_leaves.get(path), redactor)
        else {
            continue;
        };
        if diff.attributes.len() == MAX_ATTRIBUTES {
            diff.truncated = true;
            break;
        }
        diff.attributes.push(attribute);
    }
    (diff.tainted.is_some() || !diff.attributes.is_empty()).then_some(diff)
}

fn attribute(
    path: &str,
    old: Option<&Leaf<'_>>,
    new: Option<&Leaf<'_>>,
    redactor: &Redactor,
) -> Option<AttributeDiff> {
    let difference = match (old, new) {
        (Some(old), Some(new)) if old.value == new.value => return None,
        (Some(_), Some(_)) => Difference::Changed,
        (None, Some(_)) => Difference::Added,
        (Some(_), None) => Difference::Removed,
        (None, None) => return None,
    };
    // What was a secret once is still one when the mark is gone.
    let marked = [old, new].into_iter().flatten().any(|leaf| leaf.sensitive);
    let mut sensitive = marked;
    let mut shown = |leaf: Option<&Leaf<'_>>| match leaf {
        None => Value::Null,
        Some(_) if marked => Value::from(MASK),
        Some(leaf) => {
            let mut value = leaf.value.clone();
            redactor.json(&mut value);
            sensitive |= value != *leaf.value;
            cut(&mut value);
            value
        }
    };
    let (before, after) = (shown(old), shown(new));
    Some(AttributeDiff { path: redactor.text(path), difference, before, after, sensitive })
}

fn outputs(older: &File, newer: &File, redactor: &Redactor) -> Vec<AttributeDiff> {
    let leaf = |name: &str, output: &'_ Output| output.sensitive || looks_secret(name);
    let names: BTreeSet<_> = older.outputs.keys().chain(newer.outputs.keys()).collect();
    let diff = names.into_iter().filter_map(|name| {
        let [old, new] = [&older.outputs, &newer.outputs].map(|outputs| {
            let output = outputs.get(name)?;
            Some(Leaf { value: &output.value, sensitive: leaf(name, output) })
        });
        attribute(name, old.as_ref(), new.as_ref(), redactor)
    });
    diff.take(MAX_RESOURCES).collect()
}

/// Shortens long texts, also those inside.
fn cut(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().nth(MAX_TEXT_CHARS).is_some() => {
            *text = text.chars().take(MAX_TEXT_CHARS).chain(['…']).collect();
        }
        Value::Array(items) => items.iter_mut().for_each(cut),
        Value::Object(fields) => fields.values_mut().for_each(cut),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(resources: Value, outputs: Value) -> Vec<u8> {
        json!({"version": 4, "lineage": "l", "serial": 1, "resources": resources,
            "outputs": outputs})
        .to_string()
        .into_bytes()
    }

    fn one(instance: Value) -> Vec<u8> {
        state(
            json!([{"mode": "managed", "type": "t", "name": "n", "instances": [instance]}]),
            json!({}),
        )
    }

    fn compare(old: &[u8], new: &[u8]) -> StateDiff {
        between((1, old), (2, new), &[]).unwrap()
    }

    #[test]
    fn resources_are_found_by_their_addresses() {
        let keyed = |key: Value| json!({"index_key": key, "attributes": {"id": "1"}});
        let old = state(
            json!([
                {"mode": "managed", "type": "t", "name": "gone", "instances": [{"attributes": {}}]},
                {"mode": "managed", "module": "module.m[\"x\"]", "type": "t", "name": "n",
                 "instances": [keyed(json!(0)), keyed(json!("a\"b"))]},
            ]),
            json!({}),
        );
        let new = state(
            json!([
                {"mode": "managed", "module": "module.m[\"x\"]", "type": "t", "name": "n",
                 "instances": [{"index_key": 0, "attributes": {"id": "2"}}, keyed(json!("a\"b")),
                    {"index_key": 0, "deposed": "ab12", "attributes": {"id": "1"}}]},
                {"mode": "data", "type": "d", "name": "x", "instances": [{"attributes": {}}]},
            ]),
            json!({}),
        );
        let diff = compare(&old, &new);
        let found: Vec<_> =
            diff.resources.iter().map(|r| (r.address.as_str(), r.difference)).collect();
        assert_eq!(
            found,
            [
                ("data.d.x", Difference::Added),
                ("module.m[\"x\"].t.n[0]", Difference::Changed),
                ("module.m[\"x\"].t.n[0] (deposed ab12)", Difference::Added),
                ("t.gone", Difference::Removed),
            ]
        );
        assert_eq!(diff.counts, DiffCounts { added: 2, removed: 1, changed: 1 });
        let changed = &diff.resources[1].attributes;
        assert_eq!((changed.len(), changed[0].path.as_str()), (1, "/id"));
        assert_eq!((&changed[0].before, &changed[0].after), (&json!("1"), &json!("2")));
        assert_eq!(compare(&new, &new).resources, []);
        let whole = between((0, b""), (1, &old), &[]).unwrap();
        assert_eq!((whole.counts.added, whole.from), (3, 0));
    }

    #[test]
    fn attributes_differ_by_their_leaves() {
        let old = one(json!({"attributes": {"a": {"b/c": [1, 2]}, "same": "x", "gone": true,
            "null": null}}));
        let new = one(json!({"status": "tainted",
            "attributes": {"a": {"b/c": [1, 3, 4]}, "same": "x", "gone": null, "null": {}}}));
        let diff = compare(&old, &new);
        let resource = &diff.resources[0];
        assert_eq!(resource.tainted, Some(true));
        let shown: Vec<_> = resource
            .attributes
            .iter()
            .map(|a| format!("{} {:?} {} {}", a.path, a.difference, a.before, a.after))
            .collect();
        assert_eq!(
            shown,
            [
                "/a/b~1c/1 Changed 2 3",
                "/a/b~1c/2 Added null 4",
                "/gone Removed true null",
                "/null Added null {}",
            ]
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let marks = json!([
            [{"type": "get_attr", "value": "marked"}],
            [{"type": "get_attr", "value": "list"},
             {"type": "index", "value": {"value": 1, "type": "number"}}],
            [{"type": "get_attr", "value": "map"},
             {"type": "index", "value": {"value": "k", "type": "string"}}],
            [{"type": "get_attr", "value": "set"},
             {"type": "index", "value": {"value": {"o": 1}, "type": ["object", {}]}}],
        ]);
        let of = |n: u32, marks: Value| {
            one(json!({"sensitive_attributes": marks, "attributes": {
                "marked": {format!("secret-key-{n}"): [format!("s3cret-a{n}")]},
                "list": ["open", format!("s3cret-b{n}")],
                "map": {"k": format!("s3cret-c{n}")},
                "set": [{"o": format!("s3cret-d{n}")}],
                "db_password": format!("s3cret-e{n}"),
                "auth_token": {"value": format!("s3cret-f{n}")},
                "url": format!("https://u:s3cret-b{n}@h/"),
                "note": format!("s3cret-v{n} and s3cret-o{n}"),
            }, "private": format!("s3cret-p{n}")}))
        };
        let with_outputs = |n: u32, marks: Value| {
            let mut whole: Value = serde_json::from_slice(&of(n, marks)).unwrap();
            whole["outputs"] = json!({
                "out": {"value": {"x": format!("s3cret-o{n}")}, "sensitive": true, "type": "string"},
                "plain": {"value": format!("n{n}"), "type": "string"},
                "leak": {"value": format!("is s3cret-c{n}"), "type": "string"},
            });
            whole.to_string().into_bytes()
        };
        let secrets = ["s3cret-v1".to_owned(), "s3cret-v2".to_owned()];
        // The marks may have been lost on the way.
        for (before, after) in
            [(marks.clone(), marks.clone()), (marks.clone(), json!([])), (json!([]), marks)]
        {
            let (old, new) = (with_outputs(1, before), with_outputs(2, after));
            let diff = between((1, &old), (2, &new), &secrets).unwrap();
            let text = serde_json::to_string(&diff).unwrap();
            assert!(!text.contains("s3cret") && !text.contains("secret-key"), "{text}");
            let by_path = |path: &str| {
                let mut all = diff.resources[0].attributes.iter().chain(&diff.outputs);
                all.find(|a| a.path == path).cloned().unwrap_or_else(|| panic!("{path}: {text}"))
            };
            assert!(by_path("/db_password").sensitive && by_path("out").sensitive);
            assert_eq!(by_path("/db_password").after, json!(MASK));
            assert_eq!(by_path("plain").after, json!("n2"));
            assert!(!by_path("plain").sensitive);
            assert_eq!(by_path("/url").after, json!("https://u:***@h/"));
        }
    }

    #[test]
    fn marks_that_cannot_be_read_hide_everything() {
        let of = |n: u32| {
            one(json!({"sensitive_attributes": "?", "attributes": {"a": format!("v{n}x")}}))
        };
        let diff = compare(&of(1), &of(2));
        assert!(diff.resources[0].attributes.iter().all(|a| a.sensitive), "{diff:?}");
        assert!(!serde_json::to_string(&diff).unwrap().contains("v1x"));
    }

    #[test]
    fn what_cannot_be_compared_is_said_without_its_content() {
        for content in
            ["{\"resources\": \"hunter2\"}", "hunter2", "{\"encrypted_data\": \"hunter2\"}"]
        {
            let fault = between((1, content.as_bytes()), (2, b"{}"), &[]).unwrap_err();
            assert_eq!(fault.code, Code::StateRefused);
            assert!(fault.detail.contains("Version 1") && !fault.detail.contains("hunter2"));
        }
    }

    #[test]
    fn answers_are_bounded() {
        let many = |text: &str| {
            let instances: Vec<_> = (0..MAX_RESOURCES + 5)
                .map(|i| json!({"index_key": i, "attributes": {"v": text}}))
                .collect();
            state(
                json!([{"mode": "managed", "type": "t", "name": "n", "instances": instances}]),
                json!({}),
            )
        };
        let diff = compare(&many("a"), &many(&"b".repeat(5000)));
        assert_eq!((diff.resources.len(), diff.truncated), (MAX_RESOURCES, true));
        assert_eq!(diff.counts.changed as usize, MAX_RESOURCES + 5);
        let shown = diff.resources[0].attributes[0].after.as_str().unwrap().chars().count();
        assert_eq!(shown, MAX_TEXT_CHARS + 1);
        let wide: serde_json::Map<_, _> = (0..300).map(|i| (format!("k{i}"), json!(i))).collect();
        let diff = compare(&one(json!({"attributes": {}})), &one(json!({"attributes": wide})));
        let resource = &diff.resources[0];
        assert_eq!((resource.attributes.len(), resource.truncated), (MAX_ATTRIBUTES, true));
    }
}
