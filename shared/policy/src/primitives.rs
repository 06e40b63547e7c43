//! The functions that almost every rule asks for, in Rust: `packs/terraform/primitives.rego`.
//!
//! The interpreter takes longer to call a function of Rego than to do what these do. Only the
//! shipped pack is compiled with them, under the name by which it calls them; what users wrote, and
//! other interpreters, see the text. A test holds the two against each other.

use std::borrow::Cow;
use std::sync::LazyLock;

use regorus::Value;

use crate::facts::UNKNOWN;
use crate::verdicts::NOT_YET;

/// Texts by which a thing is switched on; `true` does so too.
const ON: [&str; 9] = ["true", "True", "TRUE", "on", "ON", "1", "enabled", "Enabled", "ENABLED"];

/// Everybody's addresses, by name.
const WORLD: [&str; 6] = ["*", "any", "internet", "0.0.0.0", "::", "0::0"];

/// What a function gives: often a part of what it was given. Nothing where the interpreter fails.
pub(crate) type Said<'a> = Option<Cow<'a, Value>>;

/// One of them.
pub(crate) type Primitive = for<'a> fn(&[&'a Value]) -> Said<'a>;

/// Name, number of arguments, and what it does. It is never called with an undefined argument.
const ALL: [(&str, u8, Primitive); 18] = [
    ("at", 3, |a| Some(Cow::Borrowed(at(a[0], a[1], a[2])))),
    ("attr", 3, |a| Some(Cow::Borrowed(attr(a[0], a[1], a[2])))),
    ("get", 3, |a| Some(Cow::Borrowed(attribute(a[0], a[1]).unwrap_or(a[2])))),
    ("blocks", 2, |a| Some(blocks(a[0], a[1]))),
    ("open_block", 2, |a| Some(Cow::Borrowed(yes(open_block(a[0], a[1]))))),
    ("want", 2, |a| Some(Cow::Borrowed(want(a[0], |value| holds(a[1], value))))),
    ("ban", 2, |a| Some(Cow::Borrowed(ban(a[0], |value| holds(a[1], value))))),
    ("must", 1, |a| Some(Cow::Borrowed(want(a[0], is_on)))),
    ("must_not", 1, |a| Some(Cow::Borrowed(ban(a[0], is_on)))),
    ("present", 1, |a| Some(Cow::Borrowed(ban(a[0], is_nothing)))),
    ("supplied", 3, |a| Some(Cow::Borrowed(supplied(a[0], a[1], a[2])))),
    ("all_of", 1, |a| {
        Some(Cow::Borrowed(worst([&FAIL, &OPEN, &PASS], |state| holds(a[0], state))))
    }),
    ("any_of", 1, |a| {
        Some(Cow::Borrowed(worst([&PASS, &OPEN, &FAIL], |state| holds(a[0], state))))
    }),
    ("both", 2, |a| Some(Cow::Borrowed(worst([&PASS, &OPEN, &FAIL], |s| a[0] == s || a[1] == s)))),
    ("listed", 1, |a| Some(listed(a[0]))),
    ("said", 4, |a| Some(Cow::Owned(said(a[0], a[1], a[2], a[3])))),
    ("world", 1, |a| Some(Cow::Borrowed(yes(world(a[0]))))),
    ("ranges_state", 1, |a| ranges_state(a[0]).map(Cow::Borrowed)),
];

/// The function of a name in `slipway.lib`, with the number of its arguments.
pub(crate) fn named(name: &str) -> Option<(u8, Primitive)> {
    ALL.into_iter().find(|(known, ..)| *known == name).map(|(_, count, it)| (count, it))
}

// Made once: a text in a value has a place of its own in memory.
static PASS: LazyLock<Value> = LazyLock::new(|| "pass".into());
static OPEN: LazyLock<Value> = LazyLock::new(|| "unknown".into());
static FAIL: LazyLock<Value> = LazyLock::new(|| "fail".into());
static VALUES: LazyLock<Value> = LazyLock::new(|| "values".into());
static LINKS: LazyLock<Value> = LazyLock::new(|| "links".into());
static ADDRESS: LazyLock<Value> = LazyLock::new(|| "address".into());
static NO_LIST: LazyLock<Value> = LazyLock::new(Value::new_array);
static YES: Value = Value::Bool(true);
static NO_WORD: Value = Value::Undefined;

/// What a function without a value says.
const fn yes(it_is: bool) -> &'static Value {
    if it_is { &YES } else { &NO_WORD }
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
pub(crate) fn holds(collection: &Value, value: &Value) -> bool {
    match collection {
        Value::Array(items) => items.contains(value),
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

fn attr<'a>(object: &'a Value, name: &Value, fallback: &'a Value) -> &'a Value {
    look(object, name).unwrap_or(fallback)
}

/// What an attribute of a resource holds, unless it is null.
pub(crate) fn attribute<'a>(resource: &'a Value, name: &Value) -> Option<&'a Value> {
    look(&resource[&*VALUES], name)
}

/// How far down a path something unknown is looked for.
const DEPTH: usize = 6;

fn at<'a>(object: &'a Value, path: &Value, fallback: &'a Value) -> &'a Value {
    if let (Value::Object(_), Value::Array(path)) = (object, path) {
        let mut at = object;
        for key in path.iter().take(DEPTH) {
            at = &at[key];
            if is_unknown(at) {
                return at;
            }
        }
    }
    attr(object, path, fallback)
}

fn blocks<'a>(object: &'a Value, name: &Value) -> Cow<'a, Value> {
    match look(object, name) {
        Some(list @ Value::Array(_)) => Cow::Borrowed(list),
        Some(one @ Value::Object(_)) => Cow::Owned(Value::from(vec![one.clone()])),
        _ => Cow::Borrowed(&*NO_LIST),
    }
}

fn open_block(object: &Value, name: &Value) -> bool {
    match look(object, name) {
        Some(Value::Array(items)) => items.iter().any(is_unknown),
        Some(one) => is_unknown(one),
        None => false,
    }
}

fn want(value: &Value, good: impl FnOnce(&Value) -> bool) -> &'static Value {
    match value {
        value if is_unknown(value) => &OPEN,
        value if good(value) => &PASS,
        _ => &FAIL,
    }
}

fn ban(value: &Value, bad: impl FnOnce(&Value) -> bool) -> &'static Value {
    match value {
        value if is_unknown(value) => &OPEN,
        value if bad(value) => &FAIL,
        _ => &PASS,
    }
}

fn supplied(resource: &Value, name: &Value, value: &Value) -> &'static Value {
    let linked = || {
        let links = &resource[&*LINKS];
        match look(links, name) {
            Some(Value::Array(targets)) => !targets.is_empty(),
            Some(Value::Set(targets)) => !targets.is_empty(),
            Some(Value::Object(targets)) => !targets.is_empty(),
            Some(Value::String(target)) => !target.is_empty(),
            _ => false,
        }
    };
    match value {
        value if is_nothing(value) => &FAIL,
        value if !is_unknown(value) || linked() => &PASS,
        _ => &OPEN,
    }
}

/// The first of the states that is there; the last one otherwise.
fn worst(states: [&'static Value; 3], there: impl Fn(&Value) -> bool) -> &'static Value {
    let [first, second, otherwise] = states;
    [first, second].into_iter().find(|state| there(state)).unwrap_or(otherwise)
}

fn listed(value: &Value) -> Cow<'_, Value> {
    match value {
        Value::Array(_) => Cow::Borrowed(value),
        Value::Null => Cow::Borrowed(&*NO_LIST),
        one => Cow::Owned(Value::from(vec![one.clone()])),
    }
}

fn said(rule: &Value, resource: &Value, state: &Value, message: &Value) -> Value {
    let address = &resource[&*ADDRESS];
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
    if WORLD.iter().any(|name| range.eq_ignore_ascii_case(name)) {
        return true;
    }
    let mut parts = range.split('/');
    let (Some(_), Some(bits), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    // All addresses of IPv6 that are given out lie in 2000::/3.
    let most = if range.contains(':') { 3 } else { 1 };
    if let [digit @ b'0'..=b'9'] = bits.as_bytes() {
        return digit - b'0' <= most;
    }
    // As `to_number` reads it.
    let Ok(bits @ Value::Number(_)) = Value::from_json_str(bits) else { return false };
    bits <= Value::from(u64::from(most))
}

fn ranges_state(ranges: &Value) -> Option<&'static Value> {
    let state = |of: &mut dyn Iterator<Item = &Value>| {
        let mut state = &*PASS;
        for range in of {
            match range {
                range if world(range) => return &*FAIL,
                range if is_unknown(range) => state = &*OPEN,
                _ => {}
            }
        }
        state
    };
    match ranges {
        Value::Array(items) => Some(state(&mut items.iter())),
        Value::Set(items) => Some(state(&mut items.iter())),
        Value::Object(fields) => Some(state(&mut fields.values())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
