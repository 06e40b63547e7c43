//! The changes of a plan, from whichever document.

use std::fmt;
use std::sync::Arc;

use regorus::Value as Input;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value, json};
use slipway_domain::plan::{Action, ResourceChange};

use crate::configuration::{Configuration, Resource};
use crate::facts::UNKNOWN;
use crate::reading::{FieldOf, Marks, MarksOf, Names, TextOf, Tree, TreeOf};

/// How many modules may be inside one another.
const MODULES: usize = 64;
/// How deep values may be: as deep as JSON is read.
const DEPTH: usize = 128;

/// One change.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) address: Arc<str>,
    pub(crate) module: Arc<str>,
    pub(crate) mode: Arc<str>,
    pub(crate) kind: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) index: Input,
    pub(crate) provider: Arc<str>,
    pub(crate) actions: Vec<Arc<str>>,
    pub(crate) deposed: bool,
    pub(crate) before: Tree,
    pub(crate) after: Tree,
    pub(crate) unknown: Marks,
}

/// What is read of Terraform's document. Half of it says the same again, and is passed over.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) is_versioned: bool,
    /// None where there are no changes, or null.
    pub(crate) changes: Option<Listed>,
    pub(crate) configuration: Configuration,
}

/// A list of changes: none where it is another thing, and none for those that lack something.
pub(crate) type Listed = Option<Vec<Option<Change>>>;

const NO_PLAN: &str = "The plan is not a document of `terraform show -json`.";

/// The changes of Terraform's document, and what it says of the configuration. A document without
/// them is no plan: better an error than an empty plan that passes.
pub(crate) fn read(bytes: &[u8], names: &Names) -> Result<(Vec<Change>, Configuration), String> {
    let trouble = |e: serde_json::Error| match e.classify() {
        serde_json::error::Category::Data => NO_PLAN.to_owned(),
        _ => format!("The plan is not JSON: {e}."),
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parts = PartsOf(names).deserialize(&mut reader).map_err(trouble)?;
    reader.end().map_err(trouble)?;
    let configuration = parts.configuration;
    let changes = match parts.changes {
        Some(Some(listed)) => complete(listed.into_iter())?,
        // Terraform leaves it out when there is nothing; others cut it out and keep the values.
        None if parts.is_versioned => {
            let raw: Value = serde_json::from_slice(bytes).map_err(trouble)?;
            let mut changes = Vec::new();
            let root = &raw["planned_values"]["root_module"];
            planned(root, &configuration, names, &mut changes, 0)?;
            changes
        }
        _ => return Err(NO_PLAN.to_owned()),
    };
    Ok((changes, configuration))
}

fn complete(listed: impl Iterator<Item = Option<Change>>) -> Result<Vec<Change>, String> {
    let lacks = || "A resource change of the plan lacks address, type or actions.".to_owned();
    listed.map(|change| change.ok_or_else(lacks)).collect()
}

/// The resources of `planned_values`, as if all were new. What refers to something and has no value
/// is not known yet.
fn planned(
    module: &Value,
    configuration: &Configuration,
    names: &Names,
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
            .resource(address)
            .into_iter()
            .flat_map(Resource::referring)
            .filter(|attribute| entry["values"].get(*attribute).is_none())
            .map(|attribute| (attribute.to_owned(), Value::Bool(true)))
            .collect();
        read["change"] =
            json!({"actions": ["create"], "after": entry["values"], "after_unknown": unknown});
        let change = ChangeOf(names).deserialize(read).map_err(|e| format!("{NO_PLAN} ({e})"))?;
        changes.extend(complete(std::iter::once(change))?);
    }
    for child in module["child_modules"].as_array().into_iter().flatten() {
        planned(child, configuration, names, changes, depth + 1)?;
    }
    Ok(())
}

impl Change {
    /// A change of the normalised plan, for drivers whose tool prints no such document.
    pub(crate) fn of(change: &ResourceChange, names: &Names) -> Result<Self, String> {
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
        let too_deep = change.unknown.iter().any(|pointer| pointer.matches('/').count() > DEPTH);
        if too_deep || is_deep(&change.before) || is_deep(&change.after) {
            return Err(format!(
                "`{}` has values more than {DEPTH} levels deep, which policies do not judge.",
                change.address
            ));
        }
        let mut after = change.after.clone();
        for pointer in &change.unknown {
            mark(&mut after, pointer);
        }
        let tree = |value: Value| {
            let read = TreeOf(names).deserialize(value);
            read.map_err(|e| format!("The plan cannot be judged: {e}."))
        };
        let module = change.address.rfind(&format!("{}.{}", change.kind, change.name));
        let module = module.map(|at| change.address[..at].trim_end_matches('.'));
        Ok(Self {
            address: change.address.as_str().into(),
            module: names.get(module.unwrap_or_default()),
            mode: names.get(if change.action == Action::Read { "data" } else { "managed" }),
            kind: names.get(&change.kind),
            name: change.name.as_str().into(),
            index: Input::Null,
            provider: names.get(&change.provider),
            actions: actions.iter().map(|action| names.get(action)).collect(),
            deposed: change.deposed.is_some(),
            before: tree(change.before.clone())?,
            after: tree(after)?,
            unknown: Marks::No,
        })
    }

    /// Whether it does this among others.
    pub(crate) fn has(&self, action: &str) -> bool {
        self.actions.iter().any(|a| **a == *action)
    }

    /// One word for the actions.
    pub(crate) fn action(&self) -> &str {
        match (self.has("create"), self.has("delete")) {
            (true, true) => "replace",
            (true, false) => "create",
            (false, true) => "delete",
            (false, false) => self.actions.first().map_or("no-op", |action| action),
        }
    }
}

/// Whether there are more than [`DEPTH`] levels. It does not call itself: what is read further on does.
fn is_deep(value: &Value) -> bool {
    let mut level: Vec<&Value> = vec![value];
    for _ in 0..=DEPTH {
        level = level
            .into_iter()
            .flat_map(|value| -> Vec<&Value> {
                match value {
                    Value::Array(items) => items.iter().collect(),
                    Value::Object(fields) => fields.values().collect(),
                    _ => Vec::new(),
                }
            })
            .collect();
        if level.is_empty() {
            return false;
        }
    }
    true
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

/// What stands for the unknown, in `names` so that it is in memory once.
pub(crate) fn merge(after: Tree, marks: Marks, unknown: &Arc<str>) -> Tree {
    match marks {
        Marks::No => after,
        Marks::All => Tree::Leaf(Input::String(unknown.clone())),
        Marks::Fields(marks) => {
            let absent = after.is_null();
            let fields = match after {
                Tree::Fields(fields) => fields,
                Tree::Leaf(Input::Null) => Vec::new(),
                other => return other,
            };
            // Both are in order.
            let mut merged = Vec::with_capacity(fields.len() + marks.len());
            let (mut fields, mut marks) =
                (fields.into_iter().peekable(), marks.into_iter().peekable());
            loop {
                let order = match (fields.peek(), marks.peek()) {
                    (None, None) => break,
                    (Some(_), None) => std::cmp::Ordering::Less,
                    (None, Some(_)) => std::cmp::Ordering::Greater,
                    (Some((field, _)), Some((mark, _))) => field.cmp(mark),
                };
                let field = if order.is_le() { fields.next() } else { None };
                let mark = if order.is_ge() { marks.next() } else { None };
                match (field, mark) {
                    (Some((name, field)), Some((_, mark))) => {
                        merged.push((name, merge(field, mark, unknown)));
                    }
                    (Some(field), None) => merged.push(field),
                    (None, Some((name, mark))) => {
                        let made = merge(Tree::NULL, mark, unknown);
                        if !made.is_null() {
                            merged.push((name, made));
                        }
                    }
                    (None, None) => break,
                }
            }
            // An object that is not there and in which nothing is unknown stays absent.
            if absent && merged.is_empty() { Tree::NULL } else { Tree::Fields(merged) }
        }
        Marks::List(marks) => {
            if after.is_null() && marks.is_empty() {
                return Tree::NULL;
            }
            let mut items = match after {
                Tree::List(items) => items,
                _ => Vec::new(),
            };
            items.resize(items.len().max(marks.len()), Tree::NULL);
            let marks = marks.into_iter().chain(std::iter::repeat(Marks::No));
            Tree::List(items.into_iter().zip(marks).map(|(i, m)| merge(i, m, unknown)).collect())
        }
    }
}

struct PartsOf<'n>(&'n Names);

impl<'de> DeserializeSeed<'de> for PartsOf<'_> {
    type Value = Parts;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Parts, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PartsOf<'_> {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plan")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Parts, A::Error> {
        const FIELDS: &[&str] = &["format_version", "resource_changes", "configuration"];
        let mut parts = Parts::default();
        let mut seen = Vec::with_capacity(FIELDS.len());
        while let Some(name) = from.next_key_seed(FieldOf(FIELDS))? {
            if seen.contains(&name) {
                // One of them would be judged and perhaps the other one applied.
                return Err(A::Error::duplicate_field(name));
            }
            if !name.is_empty() {
                seen.push(name);
            }
            match name {
                "format_version" => {
                    parts.is_versioned = from.next_value_seed(TextOf(None))?.is_some();
                }
                "resource_changes" => {
                    parts.changes = from.next_value_seed(ChangesOf(self.0))?;
                }
                "configuration" => {
                    let configuration: Value = from.next_value()?;
                    parts.configuration = Configuration::read(&configuration);
                }
                _ => drop(from.next_value::<IgnoredAny>()?),
            }
        }
        Ok(parts)
    }
}

#[derive(Clone, Copy)]
struct ChangesOf<'n>(&'n Names);

impl<'de> DeserializeSeed<'de> for ChangesOf<'_> {
    type Value = Option<Listed>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ChangesOf<'_> {
    type Value = Option<Listed>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of changes")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        while from.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(change) = from.next_element_seed(ChangeOf(self.0))? {
            all.push(change);
        }
        Ok(Some(Some(all)))
    }
}

/// Reads a change; none where it lacks something.
struct ChangeOf<'n>(&'n Names);

impl<'de> DeserializeSeed<'de> for ChangeOf<'_> {
    type Value = Option<Change>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ChangeOf<'_> {
    type Value = Option<Change>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a change")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        const FIELDS: &[&str] = &[
            "address",
            "type",
            "mode",
            "module_address",
            "name",
            "provider_name",
            "index",
            "deposed",
            "change",
        ];
        let names = self.0;
        let nothing = names.get("");
        let (mut address, mut kind, mut mode) = (None, None, None);
        let (mut module, mut name, mut provider) = (None, None, None);
        let (mut index, mut deposed, mut what) = (Tree::NULL, false, What::default());
        while let Some(key) = from.next_key_seed(FieldOf(FIELDS))? {
            // What is the same in many is kept once.
            match key {
                "address" => address = from.next_value_seed(TextOf(None))?,
                "type" => kind = from.next_value_seed(TextOf(Some(names)))?,
                "mode" => mode = from.next_value_seed(TextOf(Some(names)))?,
                "module_address" => module = from.next_value_seed(TextOf(Some(names)))?,
                "name" => name = from.next_value_seed(TextOf(None))?,
                "provider_name" => provider = from.next_value_seed(TextOf(Some(names)))?,
                "index" => index = from.next_value_seed(TreeOf(names))?,
                "deposed" => deposed = from.next_value_seed(TextOf(None))?.is_some(),
                "change" => what = from.next_value_seed(WhatOf(names))?,
                _ => drop(from.next_value::<IgnoredAny>()?),
            }
        }
        let address = address.filter(|address| !address.is_empty());
        let (Some(address), Some(kind), Some(actions)) = (address, kind, what.actions) else {
            return Ok(None);
        };
        Ok(Some(Change {
            address,
            module: module.unwrap_or_else(|| nothing.clone()),
            mode: mode.unwrap_or_else(|| names.get("managed")),
            kind,
            name: name.unwrap_or_else(|| nothing.clone()),
            index: index.into_value(),
            provider: provider.unwrap_or(nothing),
            actions,
            deposed,
            before: what.before,
            after: what.after,
            unknown: what.unknown,
        }))
    }
}

/// What a change does.
struct What {
    actions: Option<Vec<Arc<str>>>,
    before: Tree,
    after: Tree,
    unknown: Marks,
}

impl Default for What {
    fn default() -> Self {
        Self { actions: None, before: Tree::NULL, after: Tree::NULL, unknown: Marks::No }
    }
}

struct WhatOf<'n>(&'n Names);

impl<'de> DeserializeSeed<'de> for WhatOf<'_> {
    type Value = What;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<What, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WhatOf<'_> {
    type Value = What;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what a change does")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<What, A::Error> {
        const FIELDS: &[&str] = &["actions", "before", "after", "after_unknown"];
        let mut what = What::default();
        while let Some(key) = from.next_key_seed(FieldOf(FIELDS))? {
            match key {
                "actions" => {
                    what.actions = match from.next_value_seed(TreeOf(self.0))? {
                        Tree::List(all) => {
                            Some(all.iter().filter_map(Tree::text).cloned().collect())
                        }
                        _ => None,
                    };
                }
                "before" => what.before = from.next_value_seed(TreeOf(self.0))?,
                "after" => what.after = from.next_value_seed(TreeOf(self.0))?,
                "after_unknown" => what.unknown = from.next_value_seed(MarksOf(self.0))?,
                _ => drop(from.next_value::<IgnoredAny>()?),
            }
        }
        Ok(what)
    }
}

#[cfg(test)]
mod tests;
