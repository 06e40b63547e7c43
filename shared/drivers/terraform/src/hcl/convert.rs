//! Whether a JSON value fits a type constraint, by Terraform's own rules of conversion, and what
//! to say when it does not. Never shows the value: it may be a secret.

use serde_json::Value;
use slipway_domain::fault::FieldError;

use super::MAX_PROBLEMS;
use super::types::Type;

/// Adds what is wrong with `value` as a `wanted`. `what` names it in messages.
pub(crate) fn check(
    value: &Value,
    wanted: &Type,
    what: &str,
    at: &str,
    problems: &mut Vec<FieldError>,
) {
    if problems.len() >= MAX_PROBLEMS || value.is_null() {
        return; // null fits every type
    }
    let mut wrong = |got: &str| {
        let detail = format!("{what} must be {}; got {got}", wanted.noun());
        problems.push(FieldError::at(at, detail));
    };
    match (wanted, value) {
        (Type::Any, _)
        | (Type::String, Value::String(_) | Value::Number(_) | Value::Bool(_))
        | (Type::Number, Value::Number(_))
        | (Type::Bool, Value::Bool(_)) => {}
        (Type::Number, Value::String(text)) => {
            if !is_number(text) {
                wrong("a string that is not a number");
            }
        }
        (Type::Bool, Value::String(text)) => match text.as_str() {
            "true" | "false" | "1" | "0" => {}
            other if ["true", "false"].contains(&other.to_lowercase().as_str()) => {
                wrong("a string that is not in lower case");
            }
            _ => wrong("a string that is neither \"true\" nor \"false\""),
        },
        (Type::List(item) | Type::Set(item), Value::Array(values)) => {
            for (i, value) in values.iter().enumerate() {
                check(value, item, &format!("{what}[{i}]"), &format!("{at}/{i}"), problems);
            }
            same_family(values.iter(), item, what, at, problems);
        }
        (Type::Map(item), Value::Object(fields)) => {
            for (key, value) in fields {
                check(value, item, &inner(what, key), &pointer(at, key), problems);
            }
            same_family(fields.values(), item, what, at, problems);
        }
        (Type::Tuple(items), Value::Array(values)) => {
            if items.len() != values.len() {
                return wrong(&format!("a list of {}", values.len()));
            }
            for (i, (value, item)) in values.iter().zip(items).enumerate() {
                check(value, item, &format!("{what}[{i}]"), &format!("{at}/{i}"), problems);
            }
        }
        (Type::Object(attributes), Value::Object(fields)) => {
            for (name, attribute) in attributes {
                let at = pointer(at, name);
                match fields.get(name) {
                    Some(value) => check(value, &attribute.kind, &inner(what, name), &at, problems),
                    None if attribute.optional => {}
                    None => {
                        let near = nearest(
                            name,
                            fields
                                .keys()
                                .map(String::as_str)
                                .filter(|k| !attributes.contains_key(*k)),
                        );
                        let near =
                            near.map(|n| format!("; is {n:?} meant to be it?")).unwrap_or_default();
                        let kind = &attribute.kind;
                        problems.push(FieldError::at(
                            at,
                            format!("{what} needs an attribute {name:?} of type {kind}{near}"),
                        ));
                    }
                }
            }
            // Attributes beyond the type are dropped by Terraform without a word.
        }
        (_, other) => wrong(noun(other)),
    }
}

/// The elements of a `list(any)` and the like must become one type. Terraform finds one wherever
/// it can; lists beside strings, or bools beside numbers with no string among them, have none.
fn same_family<'a>(
    values: impl Iterator<Item = &'a Value>,
    item: &Type,
    what: &str,
    at: &str,
    problems: &mut Vec<FieldError>,
) {
    if *item != Type::Any {
        return;
    }
    let (mut text, mut number, mut bool, mut list, mut object) =
        (false, false, false, false, false);
    for value in values {
        match value {
            Value::Null => {}
            Value::String(_) => text = true,
            Value::Number(_) => number = true,
            Value::Bool(_) => bool = true,
            Value::Array(_) => list = true,
            Value::Object(_) => object = true,
        }
    }
    let families = usize::from(text || number || bool) + usize::from(list) + usize::from(object);
    if families > 1 || (number && bool && !text) {
        problems
            .push(FieldError::at(at, format!("all elements of {what} must have the same type")));
    }
}

/// What Terraform takes for a number in a string.
fn is_number(text: &str) -> bool {
    if text.bytes().any(|b| b == b'_') {
        return false;
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
        && text.parse::<f64>().is_ok()
}

const fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn inner(what: &str, key: &str) -> String {
    let key: String = key.chars().take(80).collect();
    if hcl_edit::Ident::try_new(key.as_str()).is_ok() {
        format!("{what}.{key}")
    } else {
        format!("{what}[{key:?}]")
    }
}

/// One step further down a JSON pointer (RFC 6901).
pub(crate) fn pointer(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The known word that `word` is most likely a slip of.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > 64 {
        return None;
    }
    let far = (length / 3).clamp(1, 3);
    known
        .into_iter()
        .filter(|k| k.len() <= 128)
        .map(|k| (distance(word, k), k))
        .filter(|(d, _)| *d <= far)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// How many letters are wrong, missing, too many or swapped with their neighbour; case ignored.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = rows[i][j] + usize::from(x != y);
            let mut best = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(value: &Value, kind: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        check(value, &Type::parse(kind).unwrap(), "x", "/variables/x", &mut found);
        found.into_iter().map(|p| (p.pointer, p.detail)).collect()
    }

    /// Every row was tried with Terraform 1.11.4.
    #[test]
    fn values_fit_by_terraforms_rules() {
        for (value, kind) in [
            (json!(1), "string"),
            (json!(true), "string"),
            (json!("12"), "number"),
            (json!("1e3"), "number"),
            (json!(".5"), "number"),
            (json!("+5"), "number"),
            (json!("1"), "bool"),
            (json!("false"), "bool"),
            (json!([1, "a", null]), "list(string)"),
            (json!([1, "a"]), "list(any)"),
            (json!([true, "a", 1]), "list(any)"),
            (json!([{"a": 1}, {"b": 2}]), "list(any)"),
            (json!(["a", "a"]), "set(string)"),
            (json!({"a": 1, "b": "x"}), "map(string)"),
            (json!(["a", "1"]), "tuple([string, number])"),
            (json!({"a": 1, "extra": []}), "object({ a = string })"),
            (json!({"a": null}), "object({ a = string, b = optional(number, 1) })"),
            (json!({"a": {"b": [1]}}), "any"),
            (json!(null), "list(string)"),
        ] {
            assert_eq!(problems(&value, kind), [], "{value} as {kind}");
        }
        for (value, kind, at) in [
            (json!(" 12"), "number", ""),
            (json!("0x10"), "number", ""),
            (json!(""), "number", ""),
            (json!(true), "number", ""),
            (json!(1), "bool", ""),
            (json!("True"), "bool", ""),
            (json!(["a"]), "string", ""),
            (json!("a"), "list(string)", ""),
            (json!([1, [2]]), "list(any)", ""),
            (json!([1, true]), "list(any)", ""),
            (json!(["x", {}]), "list(string)", "/1"),
            (json!({"a": []}), "map(string)", "/a"),
            (json!(["a"]), "tuple([string, number])", ""),
            (json!({"b": 1}), "object({ a = string })", "/a"),
            (json!({"a/b~c": [[]]}), "map(list(string))", "/a~1b~0c/0"),
            (json!([]), "object({})", ""),
            (json!({}), "list(string)", ""),
        ] {
            let found = problems(&value, kind);
            assert_eq!(found.len(), 1, "{value} as {kind}: {found:?}");
            assert_eq!(found[0].0, format!("/variables/x{at}"), "{value} as {kind}");
        }
    }

    #[test]
    fn messages_name_the_place_and_never_the_value() {
        let found = problems(
            &json!({"db": {"ports": ["hunter2"]}}),
            "object({ db = object({ ports = list(number) }) })",
        );
        assert_eq!(found[0].1, "x.db.ports[0] must be a number; got a string that is not a number");
        let near = problems(&json!({"nmae": "y"}), "object({ name = string })");
        assert!(near[0].1.contains("is \"nmae\" meant"), "{near:?}");
    }

    #[test]
    fn a_slip_finds_its_word() {
        assert_eq!(nearest("regoin", ["region", "zone"]), Some("region"));
        assert_eq!(nearest("Region", ["region"]), Some("region"));
        assert_eq!(nearest("colour", ["region", "zone"]), None);
        assert_eq!(nearest("", ["ab"]), None);
    }
}
