//! The functions that almost every rule asks for, in Rust: `packs/terraform/primitives.rego`.
//!
//! The interpreter takes longer to call a function of Rego than to do what these do. Only the
//! shipped pack is compiled with them, under the name by which it calls them; what users wrote, and
//! other interpreters, see the text. A test holds the two against each other.

use regorus::{Extension, Value};

use crate::facts::UNKNOWN;

/// What an unknown finding begins with.
const NOT_YET: &str = "Known only after apply, so it cannot be judged yet. If it turns out badly: ";

/// Texts by which a thing is switched on; `true` does so too.
const ON: [&str; 9] = ["true", "True", "TRUE", "on", "ON", "1", "enabled", "Enabled", "ENABLED"];

/// Everybody's addresses, by name.
const WORLD: [&str; 6] = ["*", "any", "internet", "0.0.0.0", "::", "0::0"];

/// Gives nothing where the interpreter fails.
type Primitive = fn(&[Value]) -> Option<Value>;

/// Name, number of arguments, and what it does. It is never called with an undefined argument.
const ALL: [(&str, u8, Primitive); 18] = [
    ("at", 3, |a| Some(at(&a[0], &a[1], &a[2]))),
    ("attr", 3, |a| Some(attr(&a[0], &a[1], &a[2]))),
    ("get", 3, |a| Some(attr(&a[0]["values"], &a[1], &a[2]))),
    ("blocks", 2, |a| Some(blocks(&a[0], &a[1]))),
    ("open_block", 2, |a| Some(open_block(&a[0], &a[1]))),
    ("want", 2, |a| Some(want(&a[0], |value| holds(&a[1], value)))),
    ("ban", 2, |a| Some(ban(&a[0], |value| holds(&a[1], value)))),
    ("must", 1, |a| Some(want(&a[0], is_on))),
    ("must_not", 1, |a| Some(ban(&a[0], is_on))),
    ("present", 1, |a| Some(ban(&a[0], is_nothing))),
    ("supplied", 3, |a| Some(supplied(&a[0], &a[1], &a[2]))),
    ("all_of", 1, |a| {
        Some(worst(["fail", "unknown", "pass"], |state| holds(&a[0], &state.into())))
    }),
    ("any_of", 1, |a| {
        Some(worst(["pass", "unknown", "fail"], |state| holds(&a[0], &state.into())))
    }),
    ("both", 2, |a| Some(worst(["pass", "unknown", "fail"], |s| is(&a[0], s) || is(&a[1], s)))),
    ("listed", 1, |a| Some(listed(&a[0]))),
    ("said", 4, |a| Some(said(&a[0], &a[1], &a[2], &a[3]))),
    ("world", 1, |a| Some(if world(&a[0]) { true.into() } else { Value::Undefined })),
    ("ranges_state", 1, |a| ranges_state(&a[0])),
];

/// Adds them, as a module calls them that imports `data.slipway.lib`, and as that module itself does.
pub(crate) fn add(engine: &mut regorus::Engine) -> Result<(), String> {
    for (name, arguments, primitive) in ALL {
        for path in [format!("lib.{name}"), name.to_owned()] {
            engine.add_extension(path, arguments, boxed(primitive)).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn boxed(primitive: Primitive) -> Box<dyn Extension> {
    Box::new(move |arguments: Vec<Value>| {
        // As the interpreter says it, which is all that is known here.
        let wrong = || std::io::Error::other("an argument is of another type than it has to be");
        Ok(primitive(&arguments).ok_or_else(wrong)?)
    })
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    text(value) == Some(wanted)
}

fn is_unknown(value: &Value) -> bool {
    is(value, UNKNOWN)
}

fn is_on(value: &Value) -> bool {
    *value == Value::Bool(true) || text(value).is_some_and(|text| ON.contains(&text))
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// `in`.
fn holds(collection: &Value, value: &Value) -> bool {
    match collection {
        Value::Array(items) => items.iter().any(|item| item == value),
        Value::Set(items) => items.contains(value),
        Value::Object(fields) => fields.iter().any(|(_, item)| item == value),
        _ => false,
    }
}

/// `object.get` without a default: nothing where there is none, and where it is null.
fn look<'a>(object: &'a Value, key: &Value) -> Option<&'a Value> {
    let found = match (object, key) {
        (Value::Object(_), Value::Array(path)) => path.iter().fold(object, |at, key| &at[key]),
        (Value::Object(_), _) => &object[key],
        _ => return None,
    };
    (!matches!(found, Value::Undefined | Value::Null)).then_some(found)
}

fn attr(object: &Value, name: &Value, fallback: &Value) -> Value {
    look(object, name).unwrap_or(fallback).clone()
}

/// How far down a path something unknown is looked for.
const DEPTH: usize = 6;

fn at(object: &Value, path: &Value, fallback: &Value) -> Value {
    if let (Value::Object(_), Value::Array(path)) = (object, path) {
        let mut at = object;
        for key in path.iter().take(DEPTH) {
            at = &at[key];
            if is_unknown(at) {
                return at.clone();
            }
        }
    }
    attr(object, path, fallback)
}

fn blocks(object: &Value, name: &Value) -> Value {
    match look(object, name) {
        Some(list @ Value::Array(_)) => list.clone(),
        Some(one @ Value::Object(_)) => Value::from(vec![one.clone()]),
        _ => Value::new_array(),
    }
}

fn open_block(object: &Value, name: &Value) -> Value {
    let open = match look(object, name) {
        Some(Value::Array(items)) => items.iter().any(is_unknown),
        Some(one) => is_unknown(one),
        None => false,
    };
    if open { true.into() } else { Value::Undefined }
}

fn want(value: &Value, good: impl FnOnce(&Value) -> bool) -> Value {
    let state = match value {
        value if is_unknown(value) => "unknown",
        value if good(value) => "pass",
        _ => "fail",
    };
    state.into()
}

fn ban(value: &Value, bad: impl FnOnce(&Value) -> bool) -> Value {
    let state = match value {
        value if is_unknown(value) => "unknown",
        value if bad(value) => "fail",
        _ => "pass",
    };
    state.into()
}

fn supplied(resource: &Value, name: &Value, value: &Value) -> Value {
    let linked = || {
        let links = &resource["links"];
        match look(links, name) {
            Some(Value::Array(targets)) => !targets.is_empty(),
            Some(Value::Set(targets)) => !targets.is_empty(),
            Some(Value::Object(targets)) => !targets.is_empty(),
            Some(Value::String(target)) => !target.is_empty(),
            _ => false,
        }
    };
    let state = match value {
        value if is_nothing(value) => "fail",
        value if !is_unknown(value) || linked() => "pass",
        _ => "unknown",
    };
    state.into()
}

/// The first of the states that is there; the last one otherwise.
fn worst(states: [&'static str; 3], there: impl Fn(&'static str) -> bool) -> Value {
    let [first, second, otherwise] = states;
    [first, second].into_iter().find(|state| there(state)).unwrap_or(otherwise).into()
}

fn listed(value: &Value) -> Value {
    match value {
        Value::Array(_) => value.clone(),
        Value::Null => Value::new_array(),
        one => Value::from(vec![one.clone()]),
    }
}

fn said(rule: &Value, resource: &Value, state: &Value, message: &Value) -> Value {
    let address = &resource["address"];
    let message = match text(state) {
        _ if *address == Value::Undefined => return Value::Undefined,
        Some("fail") => message.clone(),
        Some("unknown") => match text(message) {
            Some(message) => format!("{NOT_YET}{message}").into(),
            None => return Value::Undefined,
        },
        _ => return Value::Undefined,
    };
    let fields = [
        ("address", address.clone()),
        ("message", message),
        ("rule", rule.clone()),
        ("state", state.clone()),
    ];
    fields
        .into_iter()
        .map(|(key, value)| (Value::from(key), value))
        .collect::<std::collections::BTreeMap<_, _>>()
        .into()
}

fn world(range: &Value) -> bool {
    let Some(range) = text(range) else { return false };
    let range = range.trim();
    if WORLD.contains(&range.to_lowercase().as_str()) {
        return true;
    }
    let mut parts = range.split('/');
    let (Some(_), Some(bits), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    // As `to_number` reads it.
    let Ok(bits @ Value::Number(_)) = Value::from_json_str(bits) else { return false };
    // All addresses of IPv6 that are given out lie in 2000::/3.
    bits <= Value::from(if range.contains(':') { 3_u64 } else { 1 })
}

fn ranges_state(ranges: &Value) -> Option<Value> {
    let items: Vec<&Value> = match ranges {
        Value::Array(items) => items.iter().collect(),
        Value::Set(items) => items.iter().collect(),
        Value::Object(fields) => fields.iter().map(|(_, item)| item).collect(),
        _ => return None,
    };
    Some(worst(["fail", "unknown", "pass"], |state| match state {
        "fail" => items.iter().any(|item| world(item)),
        _ => items.iter().any(|item| is_unknown(item)),
    }))
}

#[cfg(test)]
mod tests;
