//! The changes of a plan, from whichever document.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Value, json};
use slipway_domain::plan::{Action, ResourceChange};

use crate::configuration::{Configuration, Resource};
use crate::facts::UNKNOWN;
use crate::reading::{FieldOf, Reader, TextOf};
use crate::values::{Arena, Val};

/// How many modules may be inside one another.
const MODULES: usize = 64;
/// How deep values may be: as deep as JSON is read.
const DEPTH: usize = 128;

/// One change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) address: &'a str,
    pub(crate) module: &'a str,
    pub(crate) mode: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) index: Val<'a>,
    pub(crate) provider: &'a str,
    pub(crate) actions: &'a [Val<'a>],
    pub(crate) deposed: bool,
    pub(crate) before: Val<'a>,
    pub(crate) after: Val<'a>,
    /// What Terraform marks as unknown: of the shape of `after`, with `true` where it is.
    pub(crate) unknown: Val<'a>,
}

/// What is read of Terraform's document. Half of it says the same again, and is passed over.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    pub(crate) is_versioned: bool,
    /// None where there are no changes, or null.
    pub(crate) changes: Option<Listed<'a>>,
    pub(crate) configuration: Configuration<'a>,
}

/// A list of changes: none where it is another thing, and none for those that lack something.
pub(crate) type Listed<'a> = Option<Vec<Option<Change<'a>>>>;

const NO_PLAN: &str = "The plan is not a document of `terraform show -json`.";

/// The changes of Terraform's document, and what it says of the configuration. A document without
/// them is no plan: better an error than an empty plan that passes.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    reader: &Reader<'a>,
) -> Result<(Vec<Change<'a>>, Configuration<'a>), String> {
    let trouble = |e: serde_json::Error| match e.classify() {
        serde_json::error::Category::Data => NO_PLAN.to_owned(),
        _ => format!("The plan is not JSON: {e}."),
    };
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let parts = PartsOf(reader).deserialize(&mut from).map_err(trouble)?;
    from.end().map_err(trouble)?;
    let configuration = parts.configuration;
    let changes = match parts.changes {
        Some(Some(listed)) => complete(listed.into_iter())?,
        // Terraform leaves it out when there is nothing; others cut it out and keep the values.
        None if parts.is_versioned => {
            let mut from = serde_json::Deserializer::from_slice(bytes);
            let raw = reader.deserialize(&mut from).map_err(trouble)?;
            let mut changes = Vec::new();
            let root = raw.at("planned_values").at("root_module");
            planned(root, &configuration, reader.arena(), &mut changes, 0)?;
            changes
        }
        _ => return Err(NO_PLAN.to_owned()),
    };
    Ok((changes, configuration))
}

fn complete<'a>(
    listed: impl Iterator<Item = Option<Change<'a>>>,
) -> Result<Vec<Change<'a>>, String> {
    let lacks = || "A resource change of the plan lacks address, type or actions.".to_owned();
    listed.map(|change| change.ok_or_else(lacks)).collect()
}

/// The resources of `planned_values`, as if all were new. What refers to something and has no value
/// is not known yet.
fn planned<'a>(
    module: Val<'a>,
    configuration: &Configuration<'a>,
    arena: &'a Arena,
    changes: &mut Vec<Change<'a>>,
    depth: usize,
) -> Result<(), String> {
    if depth > MODULES {
        return Err(format!("The plan has more than {MODULES} modules inside one another."));
    }
    for entry in module.at("resources").items() {
        let text = |name: &str| entry.at(name).text();
        let after = entry.at("values");
        let unknown = text("address")
            .and_then(|address| configuration.resource(address))
            .into_iter()
            .flat_map(Resource::referring)
            .filter(|attribute| after.field(attribute).is_none())
            .map(|attribute| (Val::Text(attribute), Val::Bool(true)));
        let unknown = arena.object(unknown.collect());
        let address = text("address").filter(|address| !address.is_empty());
        let change = address.zip(text("type")).map(|(address, kind)| Change {
            address,
            module: module.at("address").text().unwrap_or_default(),
            mode: text("mode").unwrap_or("managed"),
            kind,
            name: text("name").unwrap_or_default(),
            index: entry.at("index"),
            provider: text("provider_name").unwrap_or_default(),
            actions: &[Val::Text("create")],
            deposed: text("deposed").is_some(),
            before: Val::Null,
            after,
            unknown,
        });
        changes.extend(complete(std::iter::once(change))?);
    }
    for child in module.at("child_modules").items() {
        planned(*child, configuration, arena, changes, depth + 1)?;
    }
    Ok(())
}

impl<'a> Change<'a> {
    /// A change of the normalised plan, for drivers whose tool prints no such document.
    pub(crate) fn of(change: &ResourceChange, reader: &Reader<'a>) -> Result<Self, String> {
        let actions: &[Val<'_>] = match change.action {
            Action::Create => &[Val::Text("create")],
            Action::Update => &[Val::Text("update")],
            Action::DeleteThenCreate => &[Val::Text("delete"), Val::Text("create")],
            Action::CreateThenDelete => &[Val::Text("create"), Val::Text("delete")],
            Action::Delete => &[Val::Text("delete")],
            Action::Forget => &[Val::Text("forget")],
            Action::Import | Action::Move => &[Val::Text("no-op")],
            Action::Read => &[Val::Text("read")],
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
        let text = |text: &str| reader.arena().text(text);
        let module = change.address.rfind(&format!("{}.{}", change.kind, change.name));
        let module = module.map(|at| change.address[..at].trim_end_matches('.'));
        Ok(Self {
            address: text(&change.address),
            module: text(module.unwrap_or_default()),
            mode: if change.action == Action::Read { "data" } else { "managed" },
            kind: text(&change.kind),
            name: text(&change.name),
            index: Val::Null,
            provider: text(&change.provider),
            actions,
            deposed: change.deposed.is_some(),
            before: reader.read(change.before.clone())?,
            after: reader.read(after)?,
            unknown: Val::Null,
        })
    }

    /// Whether it does this among others.
    pub(crate) fn has(&self, action: &str) -> bool {
        self.actions.iter().any(|a| a.is(action))
    }

    /// One word for the actions.
    pub(crate) fn action(&self) -> &'a str {
        match (self.has("create"), self.has("delete")) {
            (true, true) => "replace",
            (true, false) => "create",
            (false, true) => "delete",
            (false, false) => self.actions.first().and_then(|a| a.text()).unwrap_or("no-op"),
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

/// Puts [`UNKNOWN`] where it is marked.
pub(crate) fn merge<'a>(after: Val<'a>, marks: Val<'a>, arena: &'a Arena) -> Val<'a> {
    match marks {
        Val::Bool(true) => Val::Text(UNKNOWN),
        Val::Object(marks) => {
            let fields = match after {
                Val::Object(fields) => fields,
                Val::Null => &[],
                other => return other,
            };
            // Both are in order.
            let mut merged = Vec::with_capacity(fields.len() + marks.len());
            let (mut fields, mut marks) = (fields.iter().peekable(), marks.iter().peekable());
            loop {
                let order = match (fields.peek(), marks.peek()) {
                    (None, None) => break,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some((field, _)), Some((mark, _))) => field.cmp(mark),
                };
                let field = if order.is_le() { fields.next() } else { None };
                let mark = if order.is_ge() { marks.next() } else { None };
                match (field, mark) {
                    (Some((name, field)), Some((_, mark))) => {
                        merged.push((*name, merge(*field, *mark, arena)));
                    }
                    (Some(field), None) => merged.push(*field),
                    (None, Some((name, mark))) => {
                        let made = merge(Val::Null, *mark, arena);
                        if !made.is_null() {
                            merged.push((*name, made));
                        }
                    }
                    (None, None) => break,
                }
            }
            // An object that is not there and in which nothing is unknown stays absent.
            if after.is_null() && merged.is_empty() { after } else { arena.fields(&merged) }
        }
        Val::List(marks) => {
            if after.is_null() && marks.is_empty() {
                return Val::Null;
            }
            let items = after.items();
            let merged = (0..items.len().max(marks.len())).map(|at| {
                let of = |all: &[Val<'a>]| all.get(at).copied().unwrap_or(Val::Null);
                merge(of(items), of(marks), arena)
            });
            arena.list(&merged.collect::<Vec<_>>())
        }
        _ => after,
    }
}

struct PartsOf<'r, 'a>(&'r Reader<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for PartsOf<'_, 'a> {
    type Value = Parts<'a>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for PartsOf<'_, 'a> {
    type Value = Parts<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plan")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
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
                    parts.is_versioned = from.next_value_seed(TextOf(self.0.arena()))?.is_some();
                }
                "resource_changes" => {
                    parts.changes = from.next_value_seed(ChangesOf(self.0))?;
                }
                "configuration" => {
                    let configuration = from.next_value_seed(self.0)?;
                    parts.configuration = Configuration::read(configuration, self.0.arena());
                }
                _ => drop(from.next_value::<IgnoredAny>()?),
            }
        }
        Ok(parts)
    }
}

#[derive(Clone, Copy)]
struct ChangesOf<'r, 'a>(&'r Reader<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for ChangesOf<'_, 'a> {
    type Value = Option<Listed<'a>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for ChangesOf<'_, 'a> {
    type Value = Option<Listed<'a>>;

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
struct ChangeOf<'r, 'a>(&'r Reader<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for ChangeOf<'_, 'a> {
    type Value = Option<Change<'a>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for ChangeOf<'_, 'a> {
    type Value = Option<Change<'a>>;

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
        let text = TextOf(self.0.arena());
        let (mut address, mut kind, mut mode) = (None, None, None);
        let (mut module, mut name, mut provider) = (None, None, None);
        let (mut index, mut deposed, mut what) = (Val::Null, false, What::default());
        while let Some(key) = from.next_key_seed(FieldOf(FIELDS))? {
            match key {
                "address" => address = from.next_value_seed(text)?,
                "type" => kind = from.next_value_seed(text)?,
                "mode" => mode = from.next_value_seed(text)?,
                "module_address" => module = from.next_value_seed(text)?,
                "name" => name = from.next_value_seed(text)?,
                "provider_name" => provider = from.next_value_seed(text)?,
                "index" => index = from.next_value_seed(self.0)?,
                "deposed" => deposed = from.next_value_seed(text)?.is_some(),
                "change" => what = from.next_value_seed(WhatOf(self.0))?,
                _ => drop(from.next_value::<IgnoredAny>()?),
            }
        }
        let address = address.filter(|address| !address.is_empty());
        let (Some(address), Some(kind), Some(actions)) = (address, kind, what.actions) else {
            return Ok(None);
        };
        Ok(Some(Change {
            address,
            module: module.unwrap_or_default(),
            mode: mode.unwrap_or("managed"),
            kind,
            name: name.unwrap_or_default(),
            index,
            provider: provider.unwrap_or_default(),
            actions,
            deposed,
            before: what.before,
            after: what.after,
            unknown: what.unknown,
        }))
    }
}

/// What a change does.
struct What<'a> {
    actions: Option<&'a [Val<'a>]>,
    before: Val<'a>,
    after: Val<'a>,
    unknown: Val<'a>,
}

impl Default for What<'_> {
    fn default() -> Self {
        Self { actions: None, before: Val::Null, after: Val::Null, unknown: Val::Null }
    }
}

struct WhatOf<'r, 'a>(&'r Reader<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for WhatOf<'_, 'a> {
    type Value = What<'a>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<What<'a>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for WhatOf<'_, 'a> {
    type Value = What<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what a change does")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<What<'a>, A::Error> {
        const FIELDS: &[&str] = &["actions", "before", "after", "after_unknown"];
        let mut what = What::default();
        while let Some(key) = from.next_key_seed(FieldOf(FIELDS))? {
            match key {
                "actions" => {
                    what.actions = match from.next_value_seed(self.0)? {
                        Val::List(all) => Some(all),
                        _ => None,
                    };
                }
                "before" => what.before = from.next_value_seed(self.0)?,
                "after" => what.after = from.next_value_seed(self.0)?,
                "after_unknown" => what.unknown = from.next_value_seed(self.0)?,
                _ => drop(from.next_value::<IgnoredAny>()?),
            }
        }
        Ok(what)
    }
}

#[cfg(test)]
mod tests;
