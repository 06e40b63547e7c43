//! Builds plans in the form of `terraform show -json`, out of a compact text.
//!
//! A case is JSON: resource address → its attributes. Keys that begin with `@` are not attributes:
//! `@unknown` (what is known only after apply), `@computed` (the same, and
//! the configuration does not set it; inside blocks too), `@delete` (it is deleted), `@replace`, `@noop`,
//! `@refs` (attribute → reference of the configuration), `@literal` (attributes that are literals in
//! the source), `@provisioner`. Top-level keys with `@`: `@settings`, `@modules`, `@providers`,
//! `@data` (read already), `@reads` (read while applying). A line of the table may also be a type, or an address, and its attributes: one resource.

use serde_json::{Map, Value, json};
use slipway_policy::{Context, Document, Engine, Evaluation};

/// A plan and the context that it is judged in.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) plan: Vec<u8>,
    pub(crate) context: Context,
}

impl Case {
    pub(crate) fn read(text: &str) -> Self {
        let text = match text.split_once(' ') {
            Some((address, attributes)) if !address.starts_with('{') => {
                let address = if address.contains('.') {
                    address.to_owned()
                } else {
                    format!("{address}.it")
                };
                format!("{{{}: {attributes}}}", Value::from(address))
            }
            _ => text.to_owned(),
        };
        let raw: Map<String, Value> =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let mut changes = Vec::new();
        let mut resources = Vec::new();
        for (address, given) in raw.iter().filter(|(key, _)| !key.starts_with('@')) {
            let own = last_parts(address);
            let plain = own.split('[').next().unwrap_or_default().to_owned();
            let (kind, name) = plain.split_once('.').expect("type and name");
            let given = given.as_object().expect("an object");
            let values: Map<String, Value> = given
                .iter()
                .filter(|(key, _)| !key.starts_with('@'))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let has = |key: &str| given.contains_key(key);
            let values = documents(Value::Object(values));
            let (actions, before, after) = if has("@delete") {
                (json!(["delete"]), values.clone(), Value::Null)
            } else if has("@replace") {
                (json!(["delete", "create"]), values.clone(), values.clone())
            } else if has("@noop") {
                (json!(["no-op"]), values.clone(), values.clone())
            } else {
                (json!(["create"]), Value::Null, values.clone())
            };
            let module = address[..address.len() - own.len()].trim_end_matches('.');
            let mut unknown = object(given, "@unknown");
            join(&mut unknown, object(given, "@computed"));
            let mut change = json!({"address": address, "mode": "managed", "type": kind,
                "name": name, "provider_name": "registry.terraform.io/hashicorp/aws",
                "change": {"actions": actions, "before": before, "after": after,
                    "after_unknown": unknown}});
            if !module.is_empty() {
                change["module_address"] = json!(module);
            }
            changes.push(change);
            if has("@delete") || !module.is_empty() {
                continue;
            }
            let Value::Object(mut expressions) =
                written(&values, &Value::Object(object(given, "@unknown")))
            else {
                panic!("attributes are an object")
            };
            for (key, reference) in object(given, "@refs") {
                expressions.insert(key, json!({"references": [reference]}));
            }
            for (key, value) in object(given, "@literal") {
                expressions.insert(key, json!({"constant_value": value}));
            }
            let mut resource = json!({"address": plain, "mode": "managed", "type": kind,
                "name": name, "expressions": expressions});
            if let Some(provisioner) = given.get("@provisioner") {
                resource["provisioners"] = json!([{"type": provisioner}]);
            }
            resources.push(resource);
        }
        for (address, constants) in object(&raw, "@data") {
            let (kind, name) = address.split_once('.').expect("type and name");
            resources.push(json!({"address": format!("data.{address}"), "mode": "data",
                "type": kind, "name": name, "expressions": constants}));
        }
        for (address, given) in object(&raw, "@reads") {
            let (kind, name) = address.split_once('.').expect("type and name");
            let unknown = given["@unknown"].clone();
            let mut values = given;
            values.as_object_mut().expect("an object").remove("@unknown");
            let mut unknown = unknown.as_object().cloned().unwrap_or_default();
            unknown.insert("json".to_owned(), json!(true));
            changes.push(
                json!({"address": format!("data.{address}"), "mode": "data", "type": kind,
                "name": name, "change": {"actions": ["read"], "before": null, "after": values,
                    "after_unknown": unknown}}),
            );
            resources.push(json!({"address": format!("data.{address}"), "mode": "data",
                "type": kind, "name": name, "expressions": {}}));
        }
        let modules: Map<String, Value> = object(&raw, "@modules")
            .into_iter()
            .map(|(name, source)| (name, json!({"source": source, "module": {}})))
            .collect();
        let providers: Map<String, Value> = object(&raw, "@providers")
            .into_iter()
            .map(|(key, values)| {
                let expressions: Map<String, Value> = values
                    .as_object()
                    .expect("an object")
                    .iter()
                    .map(|(name, value)| {
                        match value.as_str().and_then(|v| v.strip_prefix("var.")) {
                            Some(_) => (name.clone(), json!({"references": [value]})),
                            None => (name.clone(), json!({"constant_value": value})),
                        }
                    })
                    .collect();
                let source = format!("registry.terraform.io/hashicorp/{key}");
                (key.clone(), json!({"name": key, "full_name": source, "expressions": expressions}))
            })
            .collect();
        let plan = json!({"format_version": "1.2", "terraform_version": "1.11.4",
            "resource_changes": changes,
            "configuration": {"provider_config": providers,
                "root_module": {"resources": resources, "module_calls": modules}}});
        Self {
            plan: serde_json::to_vec(&plan).expect("JSON"),
            context: Context {
                project: "shop".to_owned(),
                environment: "production".to_owned(),
                settings: raw.get("@settings").cloned().unwrap_or(Value::Null),
                ..Context::default()
            },
        }
    }

    pub(crate) fn document(&self) -> Document<'_> {
        Document { changes: &[], terraform: Some(&self.plan), context: &self.context }
    }

    pub(crate) fn judge(&self, engine: &Engine) -> Evaluation {
        engine.evaluate(&self.document())
    }
}

/// What the configuration says of attributes and blocks: Terraform has an entry for everything that
/// is set, and lists for blocks.
fn written(values: &Value, unknown: &Value) -> Value {
    let block = |value: &Value| value.as_array().is_some_and(|v| v.iter().any(Value::is_object));
    let mut expressions = Map::new();
    for key in [values, unknown].iter().filter_map(|v| v.as_object()).flat_map(Map::keys) {
        let expression = if block(&values[key]) {
            let blocks = values[key].as_array().into_iter().flatten().enumerate();
            blocks.map(|(at, one)| written(one, &unknown[key][at])).collect()
        } else if unknown[key].is_null() {
            json!({})
        } else {
            json!({"references": ["var.later"]})
        };
        expressions.insert(key.clone(), expression);
    }
    Value::Object(expressions)
}

/// Adds what is marked in `other`, at any depth.
fn join(marks: &mut Map<String, Value>, other: Map<String, Value>) {
    for (key, value) in other {
        match (marks.get_mut(&key), value) {
            (Some(Value::Object(ours)), Value::Object(theirs)) => join(ours, theirs),
            (Some(Value::Array(ours)), Value::Array(theirs)) => {
                for (one, other) in ours.iter_mut().zip(theirs) {
                    if let (Value::Object(ours), Value::Object(theirs)) = (one, other) {
                        join(ours, theirs);
                    }
                }
            }
            (_, value) => {
                marks.insert(key, value);
            }
        }
    }
}

/// Policies are texts of JSON in plans; cases write them as JSON.
fn documents(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| {
                let text = matches!(key.as_str(), "policy" | "assume_role_policy")
                    || key == "container_definitions";
                let value = match value {
                    Value::String(_) => value,
                    other if text => Value::from(other.to_string()),
                    other => documents(other),
                };
                (key, value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(documents).collect(),
        other => other,
    }
}

fn object(given: &Map<String, Value>, key: &str) -> Map<String, Value> {
    given.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// `type.name[index]` of an address.
fn last_parts(address: &str) -> &str {
    let mut start = 0;
    while let Some(rest) = address[start..].strip_prefix("module.") {
        let at = rest.find('.').expect("a resource in the module");
        start = address.len() - rest.len() + at + 1;
    }
    &address[start..]
}
