//! JSON Schemas of arguments and answers, made small: a model pays for every word of them in every
//! conversation.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// Whose schema it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Written by models, who need to know what is meant and what is allowed.
    Arguments,
    /// Written by us: names and types are enough.
    Answer,
}

/// The schema of arguments.
pub(super) fn input<T: JsonSchema>() -> Arc<JsonObject> {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    Arc::new(root(schema.to_value(), Of::Arguments))
}

/// The schema of an answer. A tool error has another shape, and some clients check that as well,
/// so the schema allows for both.
pub(super) fn output<T: JsonSchema>() -> Arc<JsonObject> {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let required = schema.get("required").cloned().unwrap_or_else(|| json!([]));
    let mut object = root(schema.to_value(), Of::Answer);
    let refused = json!({"required": ["code", "detail", "hint"]});
    object.insert("anyOf".to_owned(), json!([{"required": required}, refused]));
    Arc::new(object)
}

fn root(mut schema: Value, of: Of) -> JsonObject {
    lean(&mut schema, of);
    let Value::Object(mut object) = schema else { return JsonObject::new() };
    if let Some(Value::Object(definitions)) = object.remove("$defs") {
        let mut kept = definitions.clone();
        for _ in 0..definitions.len() {
            inline(&mut object, &mut kept);
        }
        if !kept.is_empty() {
            object.insert("$defs".to_owned(), Value::Object(kept));
        }
    }
    for noise in ["$schema", "title", "description"] {
        object.remove(noise);
    }
    object.entry("type").or_insert_with(|| json!("object"));
    object.entry("properties").or_insert_with(|| json!({}));
    object
}

/// Says the same with fewer words. An optional field is one that may be missing: nobody is told
/// that it may be `null` as well.
fn lean(schema: &mut Value, of: Of) {
    let Value::Object(object) = schema else {
        // `true` means anything; some clients take only objects for schemas.
        if *schema == Value::Bool(true) {
            *schema = json!({});
        }
        return;
    };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            object.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(arms)) = object.get_mut("anyOf") {
        arms.retain(|arm| arm.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(one)] = arms.as_slice() {
            let one = one.clone();
            object.remove("anyOf");
            object.extend(one);
        }
    }
    if let Some(names) = object.get("oneOf").and_then(Value::as_array).and_then(|a| constants(a)) {
        object.remove("oneOf");
        object.insert("type".to_owned(), json!("string"));
        object.insert("enum".to_owned(), names);
    }
    // The fields of an object say their defaults themselves.
    if object.get("default").is_some_and(|default| default.is_null() || default.is_object()) {
        object.remove("default");
    }
    // `int64` and the like are not JSON Schema's.
    if object.get("format").is_some_and(|format| format != "date-time") {
        object.remove("format");
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if of == Of::Answer {
        for noise in [
            "description",
            "default",
            "minimum",
            "maximum",
            "pattern",
            "format",
            "enum",
            "required",
        ] {
            object.remove(noise);
        }
    }
    for (key, value) in object.iter_mut() {
        match (key.as_str(), value) {
            ("properties", Value::Object(named)) => {
                named.values_mut().for_each(|schema| lean(schema, of));
            }
            ("$defs", Value::Object(named)) => {
                for schema in named.values_mut() {
                    lean(schema, of);
                    // Where it is used says what it is for.
                    if let Some(object) = schema.as_object_mut() {
                        object.remove("description");
                    }
                }
            }
            ("items", schema) | ("additionalProperties", schema @ Value::Object(_)) => {
                lean(schema, of);
            }
            ("oneOf" | "anyOf" | "allOf", Value::Array(arms)) => {
                for arm in arms {
                    lean(arm, of);
                }
            }
            _ => {}
        }
    }
}

/// The constants of a list of alternatives, if all of them are constant strings.
fn constants(arms: &[Value]) -> Option<Value> {
    let mut names = Vec::new();
    for arm in arms {
        match (arm.get("const"), arm.get("enum")) {
            (Some(name @ Value::String(_)), None) => names.push(name.clone()),
            (None, Some(Value::Array(some))) if arm.get("type") == Some(&json!("string")) => {
                names.extend(some.iter().cloned());
            }
            _ => return None,
        }
    }
    Some(Value::Array(names))
}

/// Puts a definition where it is used, if that is one place or it is but a type.
fn inline(object: &mut JsonObject, definitions: &mut JsonObject) {
    let uses = |name: &str, definitions: &JsonObject| {
        let link = format!("\"#/$defs/{name}\"");
        let all = json!([object, definitions]).to_string();
        all.matches(&link).count()
    };
    let small = |schema: &Value| schema.as_object().is_some_and(|fields| fields.len() == 1);
    let chosen = definitions
        .iter()
        .find(|(name, schema)| small(schema) || uses(name, definitions) < 2)
        .map(|(name, _)| name.clone());
    let Some(name) = chosen else { return };
    let Some(definition) = definitions.remove(&name) else { return };
    object.values_mut().for_each(|value| put(value, &name, &definition));
    definitions.values_mut().for_each(|value| put(value, &name, &definition));
}

fn put(value: &mut Value, name: &str, definition: &Value) {
    match value {
        Value::Object(object) => {
            let here = object.get("$ref").and_then(Value::as_str);
            if here.and_then(|link| link.strip_prefix("#/$defs/")) == Some(name) {
                object.remove("$ref");
                if let Value::Object(definition) = definition {
                    // What is said at the place of use stands.
                    for (key, value) in definition {
                        object.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
            }
            object.values_mut().for_each(|value| put(value, name, definition));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| put(item, name, definition)),
        _ => {}
    }
}
