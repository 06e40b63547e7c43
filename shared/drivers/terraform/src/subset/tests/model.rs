//! A small world: what is there, what a plan would do to it, and how the plan, the state and the
//! journal look when the run of the plan is interrupted anywhere.

use serde_json::{Map, Value, json};
use slipway_domain::plan::Action;

use crate::journal::{Entry, Phase};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Update,
    Replace,
    Cbd,
    Delete,
    Forget,
    Import,
    Move,
    Still,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Todo,
    /// One half of a replacement is done; as [`Stage::Todo`] for what has no halves.
    Half,
    Done,
}

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) stage: Stage,
    /// As it is.
    pub(super) before: Map<String, Value>,
    /// As it is to be, as far as known.
    pub(super) known: Map<String, Value>,
    /// What turns out for the rest.
    pub(super) holes: Map<String, Value>,
    /// Whether the holes are filled in the new plan already.
    pub(super) filled: bool,
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

impl Item {
    pub(super) fn new(name: &str, kind: Kind, stage: Stage) -> Self {
        let after = json!({"name": "n", "size": 3, "secret": "hunter2-hunter2", "tags": {"a": "b"},
            "list": [1, 2]});
        let before = json!({"name": "o", "size": 3, "secret": "old-secret-value", "tags": {},
            "list": [1], "id": format!("old-{name}")});
        let holes = json!({"id": format!("new-{name}")});
        Self {
            name: name.to_owned(),
            kind,
            stage,
            before: map(before),
            known: map(after),
            holes: map(holes),
            filled: false,
        }
    }

    pub(super) fn address(&self) -> String {
        format!("x.{}", self.name)
    }

    fn has_halves(&self) -> bool {
        matches!(self.kind, Kind::Replace | Kind::Cbd)
    }

    fn stage(&self) -> Stage {
        if self.stage == Stage::Half && !self.has_halves() { Stage::Todo } else { self.stage }
    }

    /// What was there at first.
    fn first(&self) -> Option<Value> {
        (self.kind != Kind::Create).then(|| Value::Object(self.before.clone()))
    }

    /// What is there when all is done.
    fn last(&self) -> Option<Value> {
        match self.kind {
            Kind::Delete | Kind::Forget => None,
            Kind::Import | Kind::Move | Kind::Still => self.first(),
            Kind::Create | Kind::Update | Kind::Replace | Kind::Cbd => {
                let mut last = self.known.clone();
                last.extend(self.holes.clone());
                Some(Value::Object(last))
            }
        }
    }

    fn words(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Create => &["create"],
            Kind::Update => &["update"],
            Kind::Replace => &["delete", "create"],
            Kind::Cbd => &["create", "delete"],
            Kind::Delete => &["delete"],
            Kind::Forget => &["forget"],
            Kind::Import | Kind::Move | Kind::Still => &["no-op"],
        }
    }

    /// The entry of a plan that does all of it.
    fn whole(&self, filled: bool) -> Value {
        let changes = !matches!(self.kind, Kind::Import | Kind::Move | Kind::Still);
        let mut entry = if changes && self.last().is_some() {
            self.making(self.words(), self.first(), filled)
        } else {
            let after = if changes { Value::Null } else { self.first().unwrap() };
            change(&self.address(), self.words(), self.first().unwrap(), after)
        };
        match self.kind {
            Kind::Import => entry["change"]["importing"] = json!({"id": self.name}),
            Kind::Move => entry["previous_address"] = json!(format!("x.old_{}", self.name)),
            Kind::Replace | Kind::Cbd => {
                entry["action_reason"] = json!("replace_because_cannot_update");
                entry["change"]["replace_paths"] = json!([["name"]]);
            }
            _ => {}
        }
        entry
    }

    fn making(&self, words: &[&str], before: Option<Value>, filled: bool) -> Value {
        let (mut after, mut unknown) = (self.known.clone(), Map::new());
        for (key, value) in &self.holes {
            // An update keeps its id, and other holes are filled as others are done.
            if filled && key != "id" {
                after.insert(key.clone(), value.clone());
            } else {
                unknown.insert(key.clone(), json!(true));
            }
        }
        let mut entry =
            change(&self.address(), words, before.unwrap_or_default(), Value::Object(after));
        entry["change"]["after_unknown"] = Value::Object(unknown);
        entry
    }

    fn still(&self, value: Value) -> Value {
        change(&self.address(), &["no-op"], value.clone(), value)
    }

    fn rest(&self) -> Vec<Value> {
        match (self.kind, self.stage()) {
            (Kind::Still, _) | (_, Stage::Todo) => vec![self.whole(self.filled)],
            (Kind::Replace, Stage::Half) => vec![self.making(&["create"], None, self.filled)],
            (_, Stage::Half) => {
                let mut old =
                    change(&self.address(), &["delete"], self.first().unwrap(), Value::Null);
                old["deposed"] = json!("d0");
                vec![self.still(self.last().unwrap()), old]
            }
            (_, Stage::Done) => self.last().map(|last| self.still(last)).into_iter().collect(),
        }
    }

    fn objects(&self, stage: Stage) -> Vec<Value> {
        let there = |value: Option<Value>| value.map(|value| object(&self.address(), value));
        match (self.kind, stage) {
            (Kind::Still, _) | (_, Stage::Todo) => there(self.first()).into_iter().collect(),
            (Kind::Replace, Stage::Half) => vec![],
            (_, Stage::Half) => {
                let mut old = object(&self.address(), self.first().unwrap());
                old["deposed_key"] = json!("d0");
                vec![object(&self.address(), self.last().unwrap()), old]
            }
            (_, Stage::Done) => there(self.last()).into_iter().collect(),
        }
    }

    fn journal(&self) -> Vec<Entry> {
        let halves: &[Action] = match self.kind {
            Kind::Create => &[Action::Create],
            Kind::Update => &[Action::Update],
            Kind::Replace => &[Action::Delete, Action::Create],
            Kind::Cbd => &[Action::Create, Action::Delete],
            Kind::Delete => &[Action::Delete],
            Kind::Forget | Kind::Import | Kind::Move | Kind::Still => &[],
        };
        let count = match self.stage() {
            Stage::Todo => 0,
            Stage::Half => 1,
            Stage::Done => halves.len(),
        };
        let of = |action: Action| {
            let mut end = entry(&self.address(), action, Phase::Completed);
            if action != Action::Delete
                && let Some(id) = self.last().as_ref().and_then(|last| last["id"].as_str())
            {
                (end.id_key, end.id_value) = (Some("id".into()), Some(id.to_owned()));
            }
            [entry(&self.address(), action, Phase::Started), end]
        };
        halves[..count].iter().flat_map(|action| of(*action)).collect()
    }
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) items: Vec<Item>,
}

impl World {
    pub(super) fn new(items: Vec<Item>) -> Self {
        Self { items }
    }

    /// Back to before anything was done.
    pub(super) fn rewind(&mut self) {
        for item in &mut self.items {
            (item.stage, item.filled) = (Stage::Todo, false);
        }
    }

    pub(super) fn approved(&self) -> Value {
        let changes = self.items.iter().map(|item| item.whole(false)).collect();
        let objects = self.items.iter().flat_map(|item| item.objects(Stage::Todo)).collect();
        plan(changes, objects, true)
    }

    pub(super) fn fresh(&self) -> Value {
        let begun = self.items.iter().any(|item| item.stage != Stage::Todo);
        let changes = self.items.iter().flat_map(Item::rest).collect();
        let objects = self.items.iter().flat_map(|item| item.objects(item.stage())).collect();
        plan(changes, objects, !begun)
    }

    pub(super) fn journal(&self) -> Vec<Entry> {
        self.items.iter().flat_map(Item::journal).collect()
    }
}

pub(super) fn entry(address: &str, action: Action, phase: Phase) -> Entry {
    Entry { address: address.to_owned(), action, phase, id_key: None, id_value: None }
}

pub(super) fn change(address: &str, words: &[&str], before: Value, after: Value) -> Value {
    let marks = |value: &Value| {
        let secret = value.get("secret").is_some();
        if secret { json!({"secret": true}) } else { json!({}) }
    };
    let (old, new) = (marks(&before), marks(&after));
    let (kind, name) = address.rsplit_once('.').unwrap();
    json!({"address": address, "mode": "managed", "type": kind, "name": name,
        "provider_name": "registry.example/test/x",
        "change": {"actions": words, "before": before, "after": after, "after_unknown": {},
            "before_sensitive": old, "after_sensitive": new}})
}

pub(super) fn create(address: &str) -> Value {
    change(address, &["create"], Value::Null, json!({"name": "n"}))
}

pub(super) fn merge(mut into: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        into[key] = value.clone();
    }
    into
}

pub(super) fn object(address: &str, values: Value) -> Value {
    let (kind, name) = address.rsplit_once('.').unwrap();
    let secret = values.get("secret").is_some();
    let marks = if secret { json!({"secret": true}) } else { json!({}) };
    json!({"address": address, "mode": "managed", "type": kind, "name": name,
        "provider_name": "registry.example/test/x", "schema_version": 0, "values": values,
        "sensitive_values": marks})
}

fn plan(changes: Vec<Value>, objects: Vec<Value>, output_unknown: bool) -> Value {
    let mut output = json!({"actions": ["create"], "before": null, "before_sensitive": false,
        "after_sensitive": false, "after_unknown": output_unknown});
    if !output_unknown {
        output["after"] = json!("made-1");
    }
    json!({
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "variables": {"v": {"value": "one"}, "s": {"value": "secret-variable"}},
        "resource_changes": changes,
        "output_changes": {
            "o": output,
            "k": {"actions": ["create"], "before": null, "after": "known", "after_unknown": false,
                "before_sensitive": true, "after_sensitive": true},
            "n": {"actions": ["no-op"], "before": 1, "after": 1, "after_unknown": false,
                "before_sensitive": false, "after_sensitive": false},
        },
        "prior_state": {"values": {"root_module": {"resources": objects}}},
        "configuration": {"root_module": {"variables": {"v": {}, "s": {"sensitive": true}}}},
        "timestamp": "2026-11-21T07:38:08Z",
        "applyable": true,
        "complete": true,
        "errored": false,
    })
}
