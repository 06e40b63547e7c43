//! The functions that almost every rule asks for, in Rust: `packs/terraform/primitives.rego`.
//!
//! The interpreter takes longer to call a function of Rego than to do what these do. Only the
//! shipped pack is compiled with them, under the name by which it calls them; what users wrote, and
//! other interpreters, see the text. A test holds the two against each other.

use regorus::Value;

use crate::facts::UNKNOWN;
use crate::values::{Arena, Val};
use crate::verdicts::NOT_YET;

/// Texts by which a thing is switched on; `true` does so too.
const ON: [&str; 9] = ["true", "True", "TRUE", "on", "ON", "1", "enabled", "Enabled", "ENABLED"];

/// Everybody's addresses, by name.
const WORLD: [&str; 6] = ["*", "any", "internet", "0.0.0.0", "::", "0::0"];

/// Given an argument of a type that it does not take, on which the interpreter gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongType;

/// What a function gives: nothing where it is undefined.
pub(crate) type Said<'a> = Result<Option<Val<'a>>, WrongType>;

/// One of them.
pub(crate) type Primitive = for<'a> fn(&[Val<'a>], &'a Arena) -> Said<'a>;

/// Name, number of arguments, and what it does. It is never called with an undefined argument.
const ALL: [(&str, u8, Primitive); 18] = [
    ("at", 3, |a, _| Ok(Some(at(a[0], a[1], a[2])))),
    ("attr", 3, |a, _| Ok(Some(attr(a[0], a[1], a[2])))),
    ("get", 3, |a, _| Ok(Some(attribute(a[0], a[1]).unwrap_or(a[2])))),
    ("blocks", 2, |a, arena| Ok(Some(blocks(a[0], a[1], arena)))),
    ("open_block", 2, |a, _| Ok(yes(open_block(a[0], a[1])))),
    ("want", 2, |a, _| Ok(Some(want(a[0], |value| holds(a[1], value))))),
    ("ban", 2, |a, _| Ok(Some(ban(a[0], |value| holds(a[1], value))))),
    ("must", 1, |a, _| Ok(Some(want(a[0], is_on)))),
    ("must_not", 1, |a, _| Ok(Some(ban(a[0], is_on)))),
    ("present", 1, |a, _| Ok(Some(ban(a[0], is_nothing)))),
    ("supplied", 3, |a, _| Ok(Some(supplied(a[0], a[1], a[2])))),
    ("all_of", 1, |a, _| Ok(Some(worst([FAIL, OPEN, PASS], |state| holds(a[0], state))))),
    ("any_of", 1, |a, _| Ok(Some(worst([PASS, OPEN, FAIL], |state| holds(a[0], state))))),
    ("both", 2, |a, _| Ok(Some(worst([PASS, OPEN, FAIL], |s| a[0] == s || a[1] == s)))),
    ("listed", 1, |a, arena| Ok(Some(listed(a[0], arena)))),
    ("said", 4, |a, arena| Ok(said(a[0], a[1], a[2], a[3], arena))),
    ("world", 1, |a, _| Ok(yes(world(a[0])))),
    ("ranges_state", 1, |a, _| ranges_state(a[0]).map(Some)),
];

/// The function of a name in `slipway.lib`, with the number of its arguments.
pub(crate) fn named(name: &str) -> Option<(u8, Primitive)> {
    ALL.into_iter().find(|(known, ..)| *known == name).map(|(_, count, it)| (count, it))
}

const PASS: Val<'static> = Val::Text("pass");
const OPEN: Val<'static> = Val::Text("unknown");
const FAIL: Val<'static> = Val::Text("fail");

/// What a function without a value says.
const fn yes<'a>(it_is: bool) -> Option<Val<'a>> {
    if it_is { Some(Val::Bool(true)) } else { None }
}

fn is_unknown(value: Val<'_>) -> bool {
    value.is(UNKNOWN)
}

fn is_on(value: Val<'_>) -> bool {
    match value {
        Val::Bool(it) => it,
        Val::Text(text) => ON.contains(&text),
        _ => false,
    }
}

const fn is_nothing(value: Val<'_>) -> bool {
    match value {
        Val::Null | Val::Bool(false) => true,
        Val::Text(text) => text.is_empty(),
        Val::List(items) => items.is_empty(),
        _ => false,
    }
}

/// `in`.
pub(crate) fn holds(collection: Val<'_>, value: Val<'_>) -> bool {
    match collection {
        Val::List(items) => items.contains(&value),
        Val::Set(items) => items.binary_search(&value).is_ok(),
        Val::Object(fields) => fields.iter().any(|(_, item)| *item == value),
        _ => false,
    }
}

/// `object.get` without a default: nothing where there is none, and where it is null.
fn look<'a>(object: Val<'a>, key: Val<'_>) -> Option<Val<'a>> {
    let found = match (object, key) {
        (Val::Object(_), Val::Text(name)) => object.field(name),
        (Val::Object(_), Val::List(path)) => path.iter().try_fold(object, |at, key| at.get(*key)),
        (Val::Object(_), _) => object.get(key),
        _ => None,
    };
    found.filter(|found| !found.is_null())
}

fn attr<'a>(object: Val<'a>, name: Val<'_>, fallback: Val<'a>) -> Val<'a> {
    look(object, name).unwrap_or(fallback)
}

/// What an attribute of a resource holds, unless it is null.
pub(crate) fn attribute<'a>(resource: Val<'a>, name: Val<'_>) -> Option<Val<'a>> {
    look(resource.field("values")?, name)
}

/// How far down a path something unknown is looked for.
const DEPTH: usize = 6;

fn at<'a>(object: Val<'a>, path: Val<'_>, fallback: Val<'a>) -> Val<'a> {
    if let (Val::Object(_), Val::List(path)) = (object, path) {
        let mut at = object;
        for key in path.iter().take(DEPTH) {
            match at.get(*key) {
                Some(found) if is_unknown(found) => return found,
                Some(found) => at = found,
                None => break,
            }
        }
    }
    attr(object, path, fallback)
}

fn blocks<'a>(object: Val<'a>, name: Val<'_>, arena: &'a Arena) -> Val<'a> {
    match look(object, name) {
        Some(list @ Val::List(_)) => list,
        Some(one @ Val::Object(_)) => arena.list(&[one]),
        _ => Val::NOTHING,
    }
}

fn open_block(object: Val<'_>, name: Val<'_>) -> bool {
    match look(object, name) {
        Some(Val::List(items)) => items.iter().any(|item| is_unknown(*item)),
        Some(one) => is_unknown(one),
        None => false,
    }
}

fn want<'v>(value: Val<'v>, good: impl FnOnce(Val<'v>) -> bool) -> Val<'static> {
    match value {
        value if is_unknown(value) => OPEN,
        value if good(value) => PASS,
        _ => FAIL,
    }
}

fn ban<'v>(value: Val<'v>, bad: impl FnOnce(Val<'v>) -> bool) -> Val<'static> {
    match value {
        value if is_unknown(value) => OPEN,
        value if bad(value) => FAIL,
        _ => PASS,
    }
}

fn supplied(resource: Val<'_>, name: Val<'_>, value: Val<'_>) -> Val<'static> {
    let linked = || match resource.field("links").and_then(|links| look(links, name)) {
        Some(Val::List(targets) | Val::Set(targets)) => !targets.is_empty(),
        Some(Val::Object(targets)) => !targets.is_empty(),
        Some(Val::Text(target)) => !target.is_empty(),
        _ => false,
    };
    match value {
        value if is_nothing(value) => FAIL,
        value if !is_unknown(value) || linked() => PASS,
        _ => OPEN,
    }
}

/// The first of the states that is there; the last one otherwise.
fn worst(states: [Val<'static>; 3], there: impl Fn(Val<'static>) -> bool) -> Val<'static> {
    let [first, second, otherwise] = states;
    [first, second].into_iter().find(|state| there(*state)).unwrap_or(otherwise)
}

fn listed<'a>(value: Val<'a>, arena: &'a Arena) -> Val<'a> {
    match value {
        Val::List(_) => value,
        Val::Null => Val::NOTHING,
        one => arena.list(&[one]),
    }
}

fn said<'a>(
    rule: Val<'a>,
    resource: Val<'a>,
    state: Val<'a>,
    message: Val<'a>,
    arena: &'a Arena,
) -> Option<Val<'a>> {
    let address = resource.field("address")?;
    let message = match state.text()? {
        "fail" => message,
        "unknown" => Val::Text(arena.text(&format!("{NOT_YET}{}", message.text()?))),
        _ => return None,
    };
    Some(arena.fields(&[
        (Val::Text("address"), address),
        (Val::Text("message"), message),
        (Val::Text("rule"), rule),
        (Val::Text("state"), state),
    ]))
}

fn world(range: Val<'_>) -> bool {
    let Some(range) = range.text() else { return false };
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

fn ranges_state(ranges: Val<'_>) -> Result<Val<'static>, WrongType> {
    let state = |of: &mut dyn Iterator<Item = Val<'_>>| {
        let mut state = PASS;
        for range in of {
            match range {
                range if world(range) => return FAIL,
                range if is_unknown(range) => state = OPEN,
                _ => {}
            }
        }
        state
    };
    match ranges {
        Val::List(items) | Val::Set(items) => Ok(state(&mut items.iter().copied())),
        Val::Object(fields) => Ok(state(&mut fields.iter().map(|(_, value)| *value))),
        _ => Err(WrongType),
    }
}

#[cfg(test)]
mod tests;
