//! What policies see: the plan in the form in which rules are easy to write and right.
//!
//! `input` is an object with
//!
//! - `resources`: every managed resource that is there after the apply, also those that do not
//!   change. Each has `address`, `type`, `name`, `index`, `module` (its address, empty for the
//!   root), `provider`, `action` (`create`, `update`, `replace`, `no-op`, …), `values` (attributes
//!   after), `before`, `links` and `open` (below), `provisioners` (their types) and
//!   `configured` (attributes that are literals in the source, which providers may show as hashes);
//! - `by_type`: the same, by type;
//! - `linked`: address → `TYPE.ATTRIBUTE` → positions in `resources` of those that refer to it, and
//!   `open_ends`: `TYPE.ATTRIBUTE` → positions of those that may refer to anything
//!   (`lib.linked` and `lib.maybe_linked` look there);
//! - `deleted`: every resource that the plan removes or replaces, with `values` as they were,
//!   `replaced` and `type`, `address`, …;
//! - `data`: data sources that the configuration reads;
//! - `modules` (`address`, `source`, `version`) and `providers` (`key`, `source`, `values`);
//! - `context`: project, environment, actor, cost, history and settings;
//! - `plan`: the normalised changes, and `terraform`: Terraform's own document, both only when the
//!   pack's text names them.
//!
//! **Unknown until apply.** An attribute whose value is not known stands in `values` as the text
//! [`UNKNOWN`], at any depth. Compared with a good value it is not equal, so a rule that asks for
//! good values does not pass by accident; `data.slipway.lib` has the three-valued helpers. An
//! attribute that the configuration does not set and that the provider will compute is absent, also
//! inside blocks. A policy that `aws_iam_policy_document` will put together while applying stands in
//! `values` as far as it is known.
//!
//! **Links.** Providers split one thing over several resources, which refer to each other by ids
//! that are not known yet. `links` maps an attribute to the addresses of the resources that it
//! refers to, read from the configuration (through variables and outputs of modules) or from equal
//! names; `open` lists the attributes whose references could not be followed.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value as Input;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use slipway_domain::plan::{Action, ResourceChange};

use crate::engine::Document;
use crate::limits::Limits;
use crate::links::{self, Configuration};
use crate::pack::Pack;
use crate::{documents, written};

/// Stands for a value that is known only after apply. A configuration that holds this very text
/// gains nothing by it: unknown is never a pass.
pub const UNKNOWN: &str = "__slipway_unknown__";

/// How many modules may be inside one another.
const MODULES: usize = 64;

/// For whom, where and at what cost a plan is judged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Context {
    /// The project.
    pub project: String,
    /// The environment, e.g. `production`.
    pub environment: String,
    /// Who asks: id, kind, roles.
    #[serde(default)]
    pub actor: Value,
    /// What the cost gate says.
    #[serde(default)]
    pub cost: Value,
    /// Earlier deployments of the stack, as far as rules may look at them.
    #[serde(default)]
    pub history: Value,
    /// What rules may be told: `required_tags`, `allowed_regions`, `allowed_instance_types`,
    /// `allowed_providers`, `allowed_module_sources`, `max_deletes`, `max_changes`.
    #[serde(default)]
    pub settings: Value,
}

/// Which of the large parts of the input a pack reads. Others are not built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wants {
    plan: bool,
    terraform: bool,
}

impl Wants {
    /// Looks for the word `input` in the text. What is not plainly `input.NAME` counts as all.
    pub(crate) fn of(pack: &Pack) -> Self {
        let mut wants = Self { plan: false, terraform: false };
        for module in pack.modules() {
            for (at, word) in module.text.match_indices("input") {
                let rest = &module.text[at + word.len()..];
                let name: Option<String> = rest.strip_prefix('.').map(|rest| {
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
                });
                wants.plan |= name.as_deref().is_none_or(|name| name == "plan");
                wants.terraform |= name.as_deref().is_none_or(|name| name == "terraform");
            }
        }
        wants
    }
}

/// Builds the input.
pub(crate) fn gather(
    document: &Document<'_>,
    wants: Wants,
    limits: &Limits,
) -> Result<Input, String> {
    let bytes = document.terraform.unwrap_or_default();
    if bytes.len() > limits.input_bytes {
        return Err(format!(
            "The plan has {} bytes; policies judge at most {}. Split the stack.",
            bytes.len(),
            limits.input_bytes
        ));
    }
    let mut raw = document
        .terraform
        .map(|bytes| parse(bytes, wants))
        .transpose()
        .map_err(|e| format!("The plan is not JSON: {e}."))?;
    let configuration = Configuration::read(raw.as_ref().unwrap_or(&Value::Null));
    let whole = raw.clone().filter(|_| wants.terraform);
    let changes = match &mut raw {
        Some(raw) => read_terraform(raw, &configuration)?,
        None => document.changes.iter().map(Change::of).collect(),
    };
    if changes.len() > limits.resources {
        return Err(format!(
            "The plan has {} resources; policies judge at most {}. Split the stack.",
            changes.len(),
            limits.resources
        ));
    }
    let mut input = split(changes, &configuration)?;
    let mut add = |name: &str, part: Input| drop(input.insert(name.into(), part));
    add("modules", convert(configuration.modules())?);
    add("providers", convert(configuration.providers())?);
    let context = serde_json::to_value(document.context).map_err(|e| e.to_string())?;
    add("context", convert(context)?);
    if wants.plan {
        let plan = serde_json::to_value(document.changes).map_err(|e| e.to_string())?;
        add("plan", convert(plan)?);
    }
    if let Some(whole) = whole {
        add("terraform", convert(whole)?);
    }
    Ok(input.into())
}

/// What the interpreter makes of a value. One that it cannot hold is an error, and not just absent.
fn convert(value: Value) -> Result<Input, String> {
    serde_json::from_value(value).map_err(|e| format!("The plan cannot be judged: {e}."))
}

/// What is read of Terraform's document. Half of it says the same again, and is passed over.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    format_version: Value,
    #[serde(default)]
    resource_changes: Value,
    #[serde(default)]
    configuration: Value,
}

fn parse(bytes: &[u8], wants: Wants) -> serde_json::Result<Value> {
    if wants.terraform {
        return serde_json::from_slice(bytes);
    }
    let Parts { format_version, resource_changes, configuration } = serde_json::from_slice(bytes)?;
    if resource_changes.is_null() {
        // Only then is what is planned looked at.
        return serde_json::from_slice(bytes);
    }
    let parts = [
        ("format_version", format_version),
        ("resource_changes", resource_changes),
        ("configuration", configuration),
    ];
    Ok(Value::Object(parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect()))
}

/// One change, from whichever document.
#[derive(Debug)]
struct Change {
    address: String,
    module: String,
    mode: String,
    kind: String,
    name: String,
    index: Value,
    provider: String,
    actions: Vec<String>,
    deposed: bool,
    before: Value,
    after: Value,
    unknown: Value,
}

/// The changes of Terraform's document. A document without them is no plan: better an error than
/// an empty plan that passes.
fn read_terraform(raw: &mut Value, configuration: &Configuration) -> Result<Vec<Change>, String> {
    match raw.get_mut("resource_changes").map_or(Value::Null, Value::take) {
        Value::Array(entries) => entries.into_iter().map(Change::read).collect(),
        // Terraform leaves it out when there is nothing; others cut it out and keep the values.
        Value::Null if raw["format_version"].is_string() => {
            let mut changes = Vec::new();
            read_planned(&raw["planned_values"]["root_module"], configuration, &mut changes, 0)?;
            Ok(changes)
        }
        _ => Err("The plan is not a document of `terraform show -json`.".to_owned()),
    }
}

/// The resources of `planned_values`, as if all were new. What refers to something and has no value
/// is not known yet.
fn read_planned(
    module: &Value,
    configuration: &Configuration,
    changes: &mut Vec<Change>,
    depth: usize,
) -> Result<(), String> {
    if depth > MODULES {
        return Err(format!("The plan has more than {MODULES} modules inside one another."));
    }
    for entry in module["resources"].as_array().into_iter().flatten() {
        let mut read = entry.clone();
        read["module_address"] = module["address"].clone();
        let address = entry["address"].as_str().unwrap_or_default();
        let unknown: Map<String, Value> = configuration
            .referring(address)
            .filter(|attribute| entry["values"].get(*attribute).is_none())
            .map(|attribute| (attribute.to_owned(), Value::Bool(true)))
            .collect();
        read["change"] =
            json!({"actions": ["create"], "after": entry["values"], "after_unknown": unknown});
        changes.push(Change::read(read)?);
    }
    for child in module["child_modules"].as_array().into_iter().flatten() {
        read_planned(child, configuration, changes, depth + 1)?;
    }
    Ok(())
}

impl Change {
    fn read(mut entry: Value) -> Result<Self, String> {
        let mut change = entry.get_mut("change").map_or(Value::Null, Value::take);
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let address = text("address");
        let actions: Option<Vec<String>> = change["actions"]
            .as_array()
            .map(|all| all.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect());
        let (Some(actions), false, Some(kind)) =
            (actions, address.is_empty(), entry["type"].as_str())
        else {
            return Err("A resource change of the plan lacks address, type or actions.".to_owned());
        };
        let mode = entry["mode"].as_str().unwrap_or("managed").to_owned();
        let mut part = |key: &str| change.get_mut(key).map_or(Value::Null, Value::take);
        Ok(Self {
            module: text("module_address"),
            mode,
            kind: kind.to_owned(),
            name: text("name"),
            index: entry["index"].clone(),
            provider: text("provider_name"),
            actions,
            deposed: entry["deposed"].is_string(),
            before: part("before"),
            after: part("after"),
            unknown: part("after_unknown"),
            address,
        })
    }

    /// A change of the normalised plan, for drivers whose tool prints no such document.
    fn of(change: &ResourceChange) -> Self {
        let actions: &[&str] = match change.action {
            Action::Create => &["create"],
            Action::Update => &["update"],
            Action::DeleteThenCreate => &["delete", "create"],
            Action::CreateThenDelete => &["create", "delete"],
            Action::Delete => &["delete"],
            Action::Forget => &["forget"],
            Action::Import | Action::Move => &["no-op"],
            Action::Read => &["read"],
        };
        let mut after = change.after.clone();
        for pointer in &change.unknown {
            mark(&mut after, pointer);
        }
        let module = change.address.rfind(&format!("{}.{}", change.kind, change.name));
        Self {
            address: change.address.clone(),
            module: module
                .map(|at| change.address[..at].trim_end_matches('.').to_owned())
                .unwrap_or_default(),
            mode: if change.action == Action::Read { "data" } else { "managed" }.to_owned(),
            kind: change.kind.clone(),
            name: change.name.clone(),
            index: Value::Null,
            provider: change.provider.clone(),
            actions: actions.iter().map(|a| (*a).to_owned()).collect(),
            deposed: change.deposed.is_some(),
            before: change.before.clone(),
            after,
            unknown: Value::Null,
        }
    }

    /// What it is called.
    fn names(&self) -> Map<String, Value> {
        let names = [
            ("address", &self.address),
            ("type", &self.kind),
            ("name", &self.name),
            ("module", &self.module),
        ];
        names.map(|(key, name)| (key.to_owned(), Value::from(name.as_str()))).into_iter().collect()
    }

    fn has(&self, action: &str) -> bool {
        self.actions.iter().any(|a| a == action)
    }

    /// One word for the actions.
    fn action(&self) -> &str {
        match (self.has("create"), self.has("delete")) {
            (true, true) => "replace",
            (true, false) => "create",
            (false, true) => "delete",
            (false, false) => self.actions.first().map_or("no-op", String::as_str),
        }
    }
}

/// Sets what `pointer` names to [`UNKNOWN`], making the objects on the way.
fn mark(value: &mut Value, pointer: &str) {
    let mut at = value;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if let Value::Array(items) = at {
            let Ok(index) = part.parse::<usize>() else { return };
            if index == items.len() {
                items.push(Value::Null);
            }
            let Some(item) = items.get_mut(index) else { return };
            at = item;
            continue;
        }
        if at.is_null() {
            *at = json!({});
        }
        let Value::Object(fields) = at else { return };
        at = fields.entry(part).or_insert(Value::Null);
    }
    *at = Value::from(UNKNOWN);
}

/// `after` with [`UNKNOWN`] where `unknown` says true.
fn merge(after: Value, unknown: &Value) -> Value {
    match unknown {
        Value::Bool(true) => Value::from(UNKNOWN),
        Value::Object(marks) => {
            let absent = after.is_null();
            let mut merged = match after {
                Value::Object(fields) => fields,
                Value::Null => Map::new(),
                other => return other,
            };
            for (key, mark) in marks {
                let one = merge(merged.get_mut(key).map_or(Value::Null, Value::take), mark);
                if !one.is_null() {
                    merged.insert(key.clone(), one);
                }
            }
            // An object that is not there and in which nothing is unknown stays absent.
            if absent && merged.is_empty() { Value::Null } else { Value::Object(merged) }
        }
        Value::Array(marks) => {
            if after.is_null() && marks.is_empty() {
                return Value::Null;
            }
            let mut items = match after {
                Value::Array(items) => items,
                _ => Vec::new(),
            };
            items.resize(items.len().max(marks.len()), Value::Null);
            let items = items.into_iter().enumerate();
            Value::Array(
                items
                    .map(|(at, item)| merge(item, marks.get(at).unwrap_or(&Value::Null)))
                    .collect(),
            )
        }
        _ => after,
    }
}

/// Puts every change where rules look for it.
fn split(
    changes: Vec<Change>,
    configuration: &Configuration,
) -> Result<BTreeMap<Input, Input>, String> {
    let planned: BTreeSet<&str> = changes.iter().map(|c| c.address.as_str()).collect();
    let read_before = configuration.data(&planned);
    let documents = documents(&changes);
    let mut deleted = Vec::new();
    let mut data = Vec::new();
    let mut resources = Vec::new();
    for change in changes {
        if change.mode == "data" {
            let mut one = change.names();
            one.insert("values".to_owned(), merge(change.after, &change.unknown));
            data.push(Value::Object(one));
            continue;
        }
        if change.has("delete") {
            let mut one = change.names();
            one.insert("deposed".to_owned(), change.deposed.into());
            one.insert("replaced".to_owned(), change.has("create").into());
            one.insert("values".to_owned(), change.before.clone());
            deleted.push(Value::Object(one));
        }
        // What is deleted, dropped or deposed is not there afterwards: its attributes are nobody's
        // business.
        let gone = change.deposed
            || change.has("forget")
            || (change.has("delete") && !change.has("create"));
        if !gone && !change.after.is_null() {
            resources.push(resource(change, configuration, &documents));
        }
    }
    data.extend(read_before);
    links::resolve(&mut resources, configuration);
    let (linked, open_ends) = links::reversed(&resources);
    let (linked, open_ends) = (convert(json!(linked))?, convert(json!(open_ends))?);

    // Under both names it is the same one in memory.
    let mut by_type: BTreeMap<Input, Vec<Input>> = BTreeMap::new();
    let mut all = Vec::with_capacity(resources.len());
    for resource in resources {
        let resource = convert(resource)?;
        by_type.entry(resource["type"].clone()).or_default().push(resource.clone());
        all.push(resource);
    }
    let by_type: BTreeMap<Input, Input> =
        by_type.into_iter().map(|(kind, them)| (kind, Input::from(them))).collect();
    let parts = [
        ("resources", Input::from(all)),
        ("by_type", Input::from(by_type)),
        ("linked", linked),
        ("open_ends", open_ends),
        ("deleted", convert(Value::Array(deleted))?),
        ("data", convert(Value::Array(data))?),
    ];
    Ok(parts.into_iter().map(|(name, part)| (Input::from(name), part)).collect())
}

/// The policies that are put together while applying, by the address of their data source.
fn documents(changes: &[Change]) -> BTreeMap<String, String> {
    changes
        .iter()
        .filter(|change| change.mode == "data" && change.kind == documents::KIND)
        .map(|change| {
            let values = merge(change.after.clone(), &change.unknown);
            (change.address.clone(), documents::assemble(&values))
        })
        .collect()
}

fn resource(
    change: Change,
    configuration: &Configuration,
    documents: &BTreeMap<String, String>,
) -> Value {
    let mut one = change.names();
    one.insert("index".to_owned(), change.index.clone());
    one.insert("provider".to_owned(), change.provider.clone().into());
    one.insert("action".to_owned(), change.action().into());
    one.insert("provisioners".to_owned(), configuration.provisioners(&change.address).into());
    one.insert("configured".to_owned(), configuration.constants(&change.address));
    let mut values = merge(change.after, &change.unknown);
    if let (Some(written), Value::Object(fields)) =
        (configuration.written(&change.address), &mut values)
    {
        written::prune(fields, written);
        for (attribute, value) in fields.iter_mut().filter(|(_, value)| **value == UNKNOWN) {
            if let Some(text) = configuration.document(&change.address, attribute, documents) {
                *value = Value::from(text);
            }
        }
    }
    one.insert("values".to_owned(), values);
    one.insert("before".to_owned(), change.before);
    Value::Object(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_stands_where_it_is_unknown_and_nowhere_else() {
        let after = json!({"a": 1, "list": [{"x": 1}], "none": null});
        let unknown = json!({"b": true, "list": [{"y": true}, true], "none": {"c": false},
            "tags": {}, "deep": {"d": {"e": true}}});
        assert_eq!(
            merge(after, &unknown),
            json!({"a": 1, "b": UNKNOWN, "list": [{"x": 1, "y": UNKNOWN}, UNKNOWN], "none": null,
                "deep": {"d": {"e": UNKNOWN}}})
        );
    }

    #[test]
    fn pointers_mark_what_is_not_there_yet() {
        let mut after = json!({"list": [1]});
        for pointer in ["/a/b~1c", "/list/1", "/list/7"] {
            mark(&mut after, pointer);
        }
        assert_eq!(after, json!({"list": [1, UNKNOWN], "a": {"b/c": UNKNOWN}}));
    }

    fn read(raw: &Value) -> Result<Vec<Change>, String> {
        read_terraform(&mut raw.clone(), &Configuration::read(raw))
    }

    #[test]
    fn a_document_without_changes_is_read_from_what_is_planned() {
        let raw = json!({"format_version": "1.2",
            "planned_values": {"root_module": {
                "resources": [{"address": "aws_x.a", "type": "aws_x", "name": "a",
                    "values": {"size": 1, "none": null}}],
                "child_modules": [{"address": "module.m", "resources": [
                    {"address": "module.m.aws_x.b[0]", "type": "aws_x", "name": "b", "index": 0,
                     "values": {}}]}]}},
            "configuration": {"root_module": {"resources": [{"address": "aws_x.a", "expressions": {
                "size": {"references": ["var.size"]}, "none": {"references": ["var.none"]},
                "key": {"references": ["aws_k.k.arn"]}, "name": {"constant_value": "n"}}}]}}});
        let changes = read(&raw).expect("a plan");
        assert_eq!(changes[0].unknown, json!({"key": true}));
        assert_eq!((changes[1].module.as_str(), changes[1].action()), ("module.m", "create"));
    }

    #[test]
    fn a_document_that_is_no_plan_is_an_error() {
        for raw in [json!({}), json!([]), json!({"resource_changes": {}}), json!("plan")] {
            assert!(read(&raw).is_err(), "{raw}");
        }
        assert!(read(&json!({"resource_changes": [{"address": "a.b"}]})).is_err());
        assert!(read(&json!({"format_version": "1.2"})).expect("an empty plan").is_empty());
    }
}
