//! Reads `.tf.json` and `.tfvars.json` files: HCL's JSON syntax.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use slipway_domain::fault::FieldError;

use super::declare::{Backend, Call, Given, Module, Requirement, Variable};
use super::place::{Place, Text};
use super::types::Type;
use super::validation;

/// Reads a configuration file.
pub(crate) fn module(text: &Text<'_>) -> Module {
    let mut module = Module::default();
    let value = match parse(text) {
        Ok(value) => value,
        Err(problem) => {
            module.problems.push(problem);
            return module;
        }
    };
    let place = Place::file(text.file);
    for top in bodies(&value) {
        for (word, content) in top {
            block(word, content, &place, &mut module);
        }
    }
    module
}

/// Reads a file of values. Strings are taken as they are.
pub(crate) fn values(text: &Text<'_>) -> Result<BTreeMap<String, Given>, FieldError> {
    match parse(text)? {
        Value::Object(fields) => {
            Ok(fields.into_iter().map(|(k, v)| (k, Given::Literal(v))).collect())
        }
        _ => Err(Place::file(text.file).fault("a file of values must be a JSON object")),
    }
}

pub(super) fn parse(text: &Text<'_>) -> Result<Value, FieldError> {
    serde_json::from_str(text.text).map_err(|error| {
        let number = |n: usize| Some(u32::try_from(n.max(1)).unwrap_or(u32::MAX));
        let place = Place {
            file: text.file.to_owned(),
            line: number(error.line()),
            column: number(error.column()),
        };
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        place.fault(format!("this is not valid JSON: {message}"))
    })
}

/// A body may be one object or a list of objects.
pub(super) fn bodies(value: &Value) -> Vec<&Map<String, Value>> {
    match value {
        Value::Object(body) => vec![body],
        Value::Array(items) => items.iter().filter_map(Value::as_object).collect(),
        _ => Vec::new(),
    }
}

/// Blocks below one more label: `(label, body)`.
pub(super) fn labelled(value: &Value) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    bodies(value)
        .into_iter()
        .flatten()
        .filter(|(label, _)| *label != "//")
        .flat_map(|(label, inner)| bodies(inner).into_iter().map(move |body| (label, body)))
}

fn string(body: &Map<String, Value>, key: &str) -> Option<String> {
    let text = body.get(key)?.as_str()?;
    (!is_template(text)).then(|| text.to_owned())
}

fn is_template(text: &str) -> bool {
    text.contains("${") || text.contains("%{")
}

fn block(word: &str, content: &Value, place: &Place, module: &mut Module) {
    match word {
        "variable" => {
            for (name, body) in labelled(content) {
                match variable(name, body, place) {
                    Ok(variable) => module.variables.push(variable),
                    Err(problem) => module.problems.push(problem),
                }
            }
        }
        "module" => {
            for (name, body) in labelled(content) {
                module.calls.push(Call {
                    name: name.clone(),
                    source: string(body, "source"),
                    version: string(body, "version"),
                    place: place.clone(),
                });
            }
        }
        "resource" | "data" | "ephemeral" | "list" | "action" => {
            for (kind, names) in bodies(content).into_iter().flatten() {
                for (_, body) in labelled(names) {
                    module.uses(kind, body.get("provider").and_then(Value::as_str), place);
                    module.acts |= body.contains_key("provisioner") || word == "action";
                }
            }
        }
        "check" => {
            for (_, body) in labelled(content) {
                if let Some(data) = body.get("data") {
                    block("data", data, place, module);
                }
            }
        }
        "provider" => {
            for (name, body) in labelled(content) {
                module.uses(name, Some(name), place);
                module.configured.push((name.clone(), string(body, "alias")));
            }
        }
        "terraform" => bodies(content).into_iter().for_each(|body| settings(body, place, module)),
        "import" => {
            for body in bodies(content) {
                module.imports.push(string(body, "to").unwrap_or_default());
                if let Some(provider) = body.get("provider").and_then(Value::as_str) {
                    module.uses("", Some(provider), place);
                }
            }
        }
        "removed" => {
            module.acts |= bodies(content).iter().any(|body| body.contains_key("provisioner"));
        }
        "locals" | "output" | "moved" | "//" => {}
        _ => module.unknown_blocks = true,
    }
}

fn variable(name: &str, body: &Map<String, Value>, place: &Place) -> Result<Variable, FieldError> {
    let kind = match body.get("type") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(Type::parse(text).map_err(|bad| {
            place.fault(format!("the type of the variable {name:?}: {}", bad.detail))
        })?),
        Some(_) => {
            let fault = format!("the type of the variable {name:?} must be a string");
            return Err(place.fault(fault));
        }
    };
    let flag = |key: &str| match body.get(key) {
        Some(Value::Bool(flag)) => Some(*flag),
        Some(Value::String(flag)) => flag.parse().ok(),
        _ => None,
    };
    let default = body.get("default").map(|value| {
        if has_template(value) { Given::Expression } else { Given::Literal(value.clone()) }
    });
    Ok(Variable {
        name: name.to_owned(),
        kind,
        default,
        description: string(body, "description"),
        sensitive: flag("sensitive"),
        nullable: flag("nullable"),
        ephemeral: flag("ephemeral"),
        constraints: body
            .get("validation")
            .map(bodies)
            .unwrap_or_default()
            .into_iter()
            .take(50)
            .filter_map(|body| {
                let message = string(body, "error_message");
                match body.get("condition")? {
                    Value::String(condition) => Some(validation::of_json(name, condition, message)),
                    other => Some(validation::unread(&other.to_string(), message)),
                }
            })
            .collect(),
        place: place.clone(),
        default_place: place.clone(),
    })
}

fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => is_template(text),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(fields) => fields.iter().any(|(k, v)| is_template(k) || has_template(v)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn settings(body: &Map<String, Value>, place: &Place, module: &mut Module) {
    module.required_versions.extend(string(body, "required_version"));
    for required in body.get("required_providers").map(bodies).unwrap_or_default() {
        for (name, value) in required {
            let requirement = match value {
                Value::Object(fields) => Requirement {
                    source: string(fields, "source"),
                    version: string(fields, "version"),
                    place: Some(place.clone()),
                },
                other => Requirement {
                    source: None,
                    version: other.as_str().map(str::to_owned),
                    place: Some(place.clone()),
                },
            };
            module.required.insert(name.clone(), requirement);
        }
    }
    if let Some(backend) = body.get("backend")
        && let Some((kind, body)) = labelled(backend).next()
    {
        module.backend = if kind == "local" {
            let path = match body.get("path") {
                None => Some("terraform.tfstate".to_owned()),
                Some(_) => string(body, "path"),
            };
            Backend::Local { path }
        } else {
            Backend::Own { kind: kind.clone() }
        };
    }
    if body.contains_key("cloud") {
        module.backend = Backend::Own { kind: "cloud".to_owned() };
    }
}
