//! Turns `show -json` of a plan into Slipway's own form. Sensitive values are masked here, before
//! anything leaves the driver. Pure: JSON in, values out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use slipway_domain::deployment::Output;
use slipway_domain::drift::FoundResource;
use slipway_domain::drift::compare::differences;
use slipway_domain::plan::{Action, OutputChange, ResourceChange};
use slipway_domain::redact::Redactor;
use slipway_domain::secret::MASK;

use crate::recovery::Address;

/// What a plan says, in Slipway's words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    /// Resources that change.
    pub(crate) changes: Vec<ResourceChange>,
    /// Outputs that change.
    pub(crate) outputs: Vec<OutputChange>,
    /// What changed outside.
    pub(crate) drift: Vec<ResourceChange>,
    /// Outputs as they will be, in clear, as far as they are known.
    pub(crate) planned_outputs: Vec<Output>,
    /// Variables that the configuration marks as sensitive.
    pub(crate) sensitive_variables: BTreeSet<String>,
    /// Strings that the plan marks as sensitive somewhere.
    pub(crate) marked: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    resource_changes: Vec<RawResource>,
    #[serde(default)]
    resource_drift: Vec<RawResource>,
    #[serde(default)]
    output_changes: BTreeMap<String, RawChange>,
    #[serde(default)]
    planned_values: Planned,
    #[serde(default)]
    configuration: Configured,
}

#[derive(Deserialize, Default)]
struct Planned {
    #[serde(default)]
    outputs: BTreeMap<String, RawOutput>,
}

#[derive(Deserialize)]
struct RawOutput {
    #[serde(default)]
    sensitive: bool,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default, rename = "type")]
    kind: Value,
}

#[derive(Deserialize, Default)]
struct Configured {
    #[serde(default)]
    root_module: ConfiguredModule,
}

#[derive(Deserialize, Default)]
struct ConfiguredModule {
    #[serde(default)]
    variables: BTreeMap<String, ConfiguredVariable>,
    #[serde(default)]
    resources: Vec<ConfiguredResource>,
    #[serde(default)]
    module_calls: BTreeMap<String, ConfiguredCall>,
}

#[derive(Deserialize)]
struct ConfiguredResource {
    #[serde(default)]
    address: String,
    #[serde(default)]
    expressions: Attributes,
}

/// The names of what is set; how it is set is not looked at.
#[derive(Default)]
struct Attributes(BTreeSet<String>);

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> serde::de::Visitor<'de> for Names {
            type Value = Attributes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("expressions by name")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Attributes, A::Error> {
                let mut names = BTreeSet::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    names.insert(name);
                }
                Ok(Attributes(names))
            }
        }
        from.deserialize_map(Names)
    }
}

#[derive(Deserialize)]
struct ConfiguredCall {
    #[serde(default)]
    module: ConfiguredModule,
}

#[derive(Deserialize)]
struct ConfiguredVariable {
    #[serde(default)]
    sensitive: bool,
}

#[derive(Deserialize)]
struct RawResource {
    address: String,
    #[serde(default)]
    previous_address: Option<String>,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    provider_name: String,
    #[serde(default)]
    deposed: Option<String>,
    #[serde(default)]
    action_reason: Option<String>,
    change: RawChange,
}

#[derive(Deserialize)]
struct RawChange {
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
    #[serde(default)]
    after_unknown: Value,
    #[serde(default)]
    before_sensitive: Value,
    #[serde(default)]
    after_sensitive: Value,
    #[serde(default)]
    replace_paths: Vec<Vec<Value>>,
    #[serde(default)]
    importing: Option<Importing>,
}

#[derive(Deserialize)]
struct Importing {
    #[serde(default)]
    id: Option<String>,
}

/// Reads the output of `show -json`.
pub(crate) fn read(json: &[u8], redactor: &Redactor) -> Result<Shown, serde_json::Error> {
    let document: Document = serde_json::from_slice(json)?;
    let marked: Vec<String> = marked_values(&document).into_iter().map(str::to_owned).collect();
    let told = Redactor::new(&marked);
    let redactors = Redactors { known: redactor, told: &told };
    let redactor = &redactors;
    let resources = |raw: Vec<RawResource>| {
        raw.into_iter().filter_map(|resource| self::resource(resource, redactor)).collect()
    };
    let outputs = document.output_changes.into_iter();
    let variables = document.configuration.root_module.variables.into_iter();
    Ok(Shown {
        changes: resources(document.resource_changes),
        drift: resources(document.resource_drift),
        outputs: outputs.filter_map(|(name, change)| output(name, change, redactor)).collect(),
        planned_outputs: document
            .planned_values
            .outputs
            .into_iter()
            .filter_map(|(name, raw)| {
                let RawOutput { sensitive, value, kind } = raw;
                Some(Output { name, value: value?, sensitive, kind })
            })
            .collect(),
        sensitive_variables: variables.filter(|(_, v)| v.sensitive).map(|(name, _)| name).collect(),
        marked,
    })
}

/// What a refresh-only plan says, in Slipway's words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DriftShown {
    /// Resources that are other than the state says.
    pub(crate) resources: Vec<FoundResource>,
    /// Outputs that would be.
    pub(crate) outputs: Vec<OutputChange>,
    /// Strings that the plan marks as sensitive somewhere.
    pub(crate) marked: Vec<String>,
}

/// Reads the output of `show -json` of a refresh-only plan.
pub(crate) fn drift(json: &[u8], redactor: &Redactor) -> Result<DriftShown, serde_json::Error> {
    let document: Document = serde_json::from_slice(json)?;
    let marked: Vec<String> = marked_values(&document).into_iter().map(str::to_owned).collect();
    let told = Redactor::new(&marked);
    let redactors = Redactors { known: redactor, told: &told };
    let mut configured = BTreeMap::new();
    note_configured(&document.configuration.root_module, "", &mut configured);
    let found = |raw: RawResource| {
        // By the values in clear: two that are masked look the same.
        let differences = differences(&raw.change.before, &raw.change.after);
        let configured = place_of(&raw.address).and_then(|place| configured.get(&place).cloned());
        let change = resource(raw, &redactors)?;
        Some(FoundResource { change, differences, configured })
    };
    let outputs = document.output_changes.into_iter();
    Ok(DriftShown {
        resources: document.resource_drift.into_iter().filter_map(found).collect(),
        outputs: outputs.filter_map(|(name, change)| output(name, change, &redactors)).collect(),
        marked,
    })
}

/// Notes which attributes the configuration sets, by the place of the resource in it.
fn note_configured(
    module: &ConfiguredModule,
    path: &str,
    into: &mut BTreeMap<String, BTreeSet<String>>,
) {
    for resource in &module.resources {
        let set = resource.expressions.0.clone();
        into.insert(format!("{path}{}", resource.address), set);
    }
    for (name, call) in &module.module_calls {
        note_configured(&call.module, &format!("{path}module.{name}."), into);
    }
}

/// Where in the configuration a resource instance comes from: its address without keys.
fn place_of(address: &str) -> Option<String> {
    let mut address = Address::parse(address)?;
    address.key = None;
    for (_, key) in &mut address.modules {
        *key = None;
    }
    Some(address.to_string())
}

/// What must not be shown: what the house knows, and what this document itself marks.
struct Redactors<'a> {
    known: &'a Redactor,
    told: &'a Redactor,
}

impl Redactors<'_> {
    fn json(&self, value: &mut Value) {
        self.known.json(value);
        self.told.json(value);
    }
}

/// Shorter values that Terraform marks in one place are not looked for in others: a marked `dev`
/// would hide half of the plan.
pub(crate) const MIN_MARKED_BYTES: usize = 8;

/// Strings that the document marks as sensitive somewhere. Marks do not follow a value through a
/// provider (`terraform_data` gives its sensitive `input` back as an unmarked `output`), so what
/// is secret in one place is taken for secret in all.
fn marked_values(document: &Document) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let resources = document.resource_changes.iter().chain(&document.resource_drift);
    let changes = resources.map(|resource| &resource.change);
    for change in changes.chain(document.output_changes.values()) {
        collect(&change.before, &change.before_sensitive, &mut found);
        collect(&change.after, &change.after_sensitive, &mut found);
    }
    for output in document.planned_values.outputs.values() {
        if let (Some(value), true) = (&output.value, output.sensitive) {
            collect(value, &Value::Bool(true), &mut found);
        }
    }
    found
}

/// The strings in `value` where `marks`, which has its shape, says that they are sensitive.
pub(crate) fn collect<'v>(value: &'v Value, marks: &Value, found: &mut BTreeSet<&'v str>) {
    match (value, marks) {
        (Value::String(text), Value::Bool(true)) if text.len() >= MIN_MARKED_BYTES => {
            found.insert(text);
        }
        (Value::Array(items), Value::Bool(true)) => {
            for item in items {
                collect(item, marks, found);
            }
        }
        (Value::Object(fields), Value::Bool(true)) => {
            for field in fields.values() {
                collect(field, marks, found);
            }
        }
        (Value::Array(items), Value::Array(marks)) => {
            for (item, marks) in items.iter().zip(marks) {
                collect(item, marks, found);
            }
        }
        (Value::Object(fields), Value::Object(marks)) => {
            for (key, field) in fields {
                if let Some(marks) = marks.get(key) {
                    collect(field, marks, found);
                }
            }
        }
        _ => {}
    }
}

fn resource(raw: RawResource, redactor: &Redactors<'_>) -> Option<ResourceChange> {
    let change = raw.change;
    let previous_address = raw.previous_address.filter(|previous| *previous != raw.address);
    let importing_id = change.importing.map(|importing| importing.id.unwrap_or_default());
    let action = match words(&change.actions).as_slice() {
        ["create"] => Action::Create,
        ["read"] => Action::Read,
        ["update"] => Action::Update,
        ["delete", "create"] => Action::DeleteThenCreate,
        ["create", "delete"] => Action::CreateThenDelete,
        ["delete"] => Action::Delete,
        // A replacement whose old half is only forgotten.
        ["create", "forget"] | ["forget", "create"] => Action::CreateThenDelete,
        ["forget"] => Action::Forget,
        ["no-op"] | [] if importing_id.is_some() => Action::Import,
        ["no-op"] | [] if previous_address.is_some() => Action::Move,
        _ => return None,
    };
    // What was secret stays masked, even where the new configuration no longer says so.
    let marks = union(&change.before_sensitive, &change.after_sensitive);
    let (mut before, mut after) = (change.before, change.after);
    let mut sensitive = BTreeSet::new();
    mask(&mut before, &marks, "", &mut sensitive);
    mask(&mut after, &marks, "", &mut sensitive);
    redactor.json(&mut before);
    redactor.json(&mut after);
    let mut unknown = Vec::new();
    holes(&change.after_unknown, "", &mut unknown);
    Some(ResourceChange {
        address: raw.address,
        kind: raw.kind,
        name: raw.name,
        provider: raw.provider_name,
        action,
        reason: raw.action_reason,
        before,
        after,
        unknown,
        sensitive: sensitive.into_iter().collect(),
        replace_paths: change.replace_paths.iter().map(|path| pointer_of(path)).collect(),
        previous_address,
        deposed: raw.deposed,
        importing_id,
    })
}

fn output(name: String, change: RawChange, redactor: &Redactors<'_>) -> Option<OutputChange> {
    let action = match words(&change.actions).as_slice() {
        ["no-op"] | [] => return None,
        ["create"] => Action::Create,
        ["delete"] => Action::Delete,
        _ => Action::Update,
    };
    let marks = union(&change.before_sensitive, &change.after_sensitive);
    let sensitive = marked(&marks);
    let (mut before, mut after) = (change.before, change.after);
    if sensitive {
        for value in [&mut before, &mut after] {
            if !value.is_null() {
                *value = Value::from(MASK);
            }
        }
    }
    redactor.json(&mut before);
    redactor.json(&mut after);
    Some(OutputChange {
        name,
        action,
        before,
        after,
        unknown: marked(&change.after_unknown),
        sensitive,
    })
}

fn words(actions: &[String]) -> Vec<&str> {
    actions.iter().map(String::as_str).collect()
}

/// Whether anything in a tree of marks is marked.
fn marked(marks: &Value) -> bool {
    match marks {
        Value::Bool(mark) => *mark,
        Value::Array(items) => items.iter().any(marked),
        Value::Object(fields) => fields.values().any(marked),
        Value::Null | Value::Number(_) | Value::String(_) => false,
    }
}

/// What is marked in either tree of marks.
fn union(a: &Value, b: &Value) -> Value {
    match (a, b) {
        (Value::Bool(true), _) | (_, Value::Bool(true)) => Value::Bool(true),
        (Value::Object(a), Value::Object(b)) => {
            let mut both = a.clone();
            for (key, b) in b {
                let merged = both.get(key).map_or_else(|| b.clone(), |a| union(a, b));
                both.insert(key.clone(), merged);
            }
            Value::Object(both)
        }
        (Value::Array(a), Value::Array(b)) => {
            let none = Value::Bool(false);
            let pairs = (0..a.len().max(b.len()))
                .map(|i| union(a.get(i).unwrap_or(&none), b.get(i).unwrap_or(&none)));
            Value::Array(pairs.collect())
        }
        // One side says nothing, or they have different shapes: the one with marks counts, and
        // when both have some, all of it is masked.
        (a, b) => match (marked(a), marked(b)) {
            (true, true) => Value::Bool(true),
            (true, false) => a.clone(),
            (false, true) => b.clone(),
            (false, false) => Value::Bool(false),
        },
    }
}

/// Masks what is marked. A mark on a node covers everything below it.
fn mask(value: &mut Value, marks: &Value, at: &str, masked: &mut BTreeSet<String>) {
    if value.is_null() {
        return;
    }
    match (&mut *value, marks) {
        (_, Value::Bool(true)) => {
            *value = Value::from(MASK);
            masked.insert(at.to_owned());
        }
        (Value::Object(fields), Value::Object(marks)) => {
            for (key, value) in fields {
                if let Some(marks) = marks.get(key) {
                    mask(value, marks, &join(at, key), masked);
                }
            }
        }
        (Value::Array(items), Value::Array(marks)) => {
            for (i, (value, marks)) in items.iter_mut().zip(marks).enumerate() {
                mask(value, marks, &format!("{at}/{i}"), masked);
            }
        }
        // The marks have another shape than the value: nothing can be told apart, so all goes.
        (_, Value::Object(_) | Value::Array(_)) if marked(marks) => {
            *value = Value::from(MASK);
            masked.insert(at.to_owned());
        }
        _ => {}
    }
}

/// Pointers to what is known only after the apply.
fn holes(unknown: &Value, at: &str, found: &mut Vec<String>) {
    match unknown {
        Value::Bool(true) => found.push(at.to_owned()),
        Value::Object(fields) => {
            for (key, inner) in fields {
                holes(inner, &join(at, key), found);
            }
        }
        Value::Array(items) => {
            for (i, inner) in items.iter().enumerate() {
                holes(inner, &format!("{at}/{i}"), found);
            }
        }
        Value::Bool(false) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

/// A path of names and indices as a JSON pointer.
fn pointer_of(path: &[Value]) -> String {
    path.iter().fold(String::new(), |at, step| match step {
        Value::String(key) => join(&at, key),
        other => format!("{at}/{other}"),
    })
}

fn join(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests;
