//! Where two values of a resource differ, and whether that means anything.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Most places of a resource that are told apart.
const MAX_PLACES: usize = 500;

/// One place in which a resource differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// A JSON pointer into its attributes.
    pub path: String,
    /// Whether both sides mean the same, written in another way.
    pub same_meaning: bool,
    /// Whether the attribute had a value before.
    pub was_set: bool,
}

impl Difference {
    /// The attribute that it is in.
    pub fn attribute(&self) -> &str {
        self.path.trim_start_matches('/').split('/').next().unwrap_or_default()
    }
}

/// Where `after` differs from `before`, both in clear, in order.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    let (Value::Object(b), Value::Object(a)) = (before, after) else {
        return found;
    };
    for name in keys(b, a) {
        let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        let (b, a) = (of(b), of(a));
        let was_set = !is_empty(&b);
        walk(&b, &a, &join("", name), was_set, &mut found);
    }
    found
}

fn keys<'v>(b: &'v Map<String, Value>, a: &'v Map<String, Value>) -> BTreeSet<&'v String> {
    b.keys().chain(a.keys()).collect()
}

fn walk(before: &Value, after: &Value, at: &str, was_set: bool, found: &mut Vec<Difference>) {
    if before == after || found.len() >= MAX_PLACES {
        return;
    }
    let same_meaning = means_the_same(before, after);
    match (before, after) {
        (Value::Object(b), Value::Object(a)) if !same_meaning && !b.is_empty() => {
            let none = Value::Null;
            for key in keys(b, a) {
                let of = |fields: &'_ Map<String, Value>| fields.get(key).cloned();
                let (b, a) = (of(b), of(a));
                let (b, a) = (b.as_ref().unwrap_or(&none), a.as_ref().unwrap_or(&none));
                walk(b, a, &join(at, key), was_set, found);
            }
        }
        // Lists of another length have no places that belong together.
        (Value::Array(b), Value::Array(a)) if !same_meaning && b.len() == a.len() => {
            for (i, (b, a)) in b.iter().zip(a).enumerate() {
                walk(b, a, &format!("{at}/{i}"), was_set, found);
            }
        }
        _ => found.push(Difference { path: at.to_owned(), same_meaning, was_set }),
    }
}

/// Whether two values that are not equal are one value, written in two ways: nothing and an empty
/// value, a number or a truth and its text, texts that are the same JSON, and texts that differ in
/// blanks at their ends and in the signs that end lines.
pub fn means_the_same(before: &Value, after: &Value) -> bool {
    if before == after || is_empty(before) && is_empty(after) {
        return true;
    }
    match (before, after) {
        (Value::String(text), plain @ (Value::Number(_) | Value::Bool(_)))
        | (plain @ (Value::Number(_) | Value::Bool(_)), Value::String(text)) => {
            let plain = plain.to_string();
            *text == plain
        }
        (Value::String(b), Value::String(a)) => {
            let tidy = |text: &str| text.trim().replace("\r\n", "\n");
            tidy(b) == tidy(a) || document(b).is_some_and(|b| document(a) == Some(b))
        }
        _ => false,
    }
}

/// Nothing, or what providers put in place of nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// A JSON document in a text.
fn document(text: &str) -> Option<Value> {
    let starts = text.trim_start().starts_with(['{', '[']);
    if starts { serde_json::from_str(text).ok() } else { None }
}

fn join(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}
