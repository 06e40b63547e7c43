//! Whether values keep the rules of their inputs. It says no only where Terraform would, too: what
//! it cannot tell is no fault.

use std::collections::BTreeSet;

use serde_json::{Number, Value};
use slipway_domain::template::{Bound, InputSpec, Rule};

use super::pattern::{self, Patterns};
use super::types::Type;
use super::validation::is_exact;

/// What the input says of a value that breaks one of its constraints; `None` when none is broken.
pub(crate) fn broken(
    input: &InputSpec,
    kind: &Type,
    value: &Value,
    patterns: &mut Patterns,
) -> Option<String> {
    let value = converted(value, kind)?;
    let mut broken = |rule: &Rule| holds(rule, &value, kind, patterns) == Some(false);
    let first = input.constraints.iter().find(|c| c.rules.iter().any(&mut broken))?;
    Some(
        first.message.clone().unwrap_or_else(|| {
            format!("{} must meet the condition {}", input.name, first.expression)
        }),
    )
}

/// The value as Terraform converts it to a type; `None` where that is not known here.
fn converted(value: &Value, kind: &Type) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    match (kind, value) {
        (Type::Any, value)
        | (Type::String, value @ Value::String(_))
        | (Type::Bool, value @ Value::Bool(_)) => Some(value.clone()),
        (Type::Number, Value::Number(n)) => is_exact(n).then(|| value.clone()),
        (Type::String, Value::Number(n)) => n.as_i64().map(|n| Value::String(n.to_string())),
        (Type::String, Value::Bool(b)) => Some(Value::String(b.to_string())),
        (Type::Number, Value::String(text)) => {
            let n = text.parse::<i64>().map(Number::from).ok();
            let n = n.or_else(|| Number::from_f64(text.parse().ok()?))?;
            (is_exact(&n) && text.len() <= 15).then_some(Value::Number(n))
        }
        (Type::Bool, Value::String(text)) => match text.as_str() {
            "true" | "1" => Some(Value::Bool(true)),
            "false" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        (Type::List(item), Value::Array(values)) => {
            let values = values.iter().map(|v| element(v, item)).collect::<Option<_>>()?;
            Some(Value::Array(values))
        }
        (Type::Set(item), Value::Array(values)) => {
            let mut seen = BTreeSet::new();
            let mut kept = Vec::new();
            for value in values {
                let value = element(value, item)?;
                // Equal ones are one.
                let text = match &value {
                    Value::String(text) => pattern::is_settled(text).then(|| text.clone())?,
                    Value::Bool(b) => b.to_string(),
                    Value::Number(n) => n.as_i64()?.to_string(),
                    _ => return None,
                };
                if seen.insert(text) {
                    kept.push(value);
                }
            }
            Some(Value::Array(kept))
        }
        (Type::Map(_), Value::Object(_)) => Some(value.clone()),
        _ => None,
    }
}

/// An element of a collection. Those of `list(any)` become one type, which is not known here.
fn element(value: &Value, kind: &Type) -> Option<Value> {
    match (kind, value) {
        (_, Value::Null) => None,
        (Type::Any, Value::String(_)) => Some(value.clone()),
        (Type::Any, _) => None,
        // How long a list is does not depend on what such elements become; nothing else is told
        // of them.
        (Type::Object(_) | Type::Tuple(_), _) => Some(Value::Object(serde_json::Map::new())),
        (kind, value) => converted(value, kind),
    }
}

/// Whether a value keeps a rule; `None` when that cannot be told.
fn holds(rule: &Rule, value: &Value, kind: &Type, patterns: &mut Patterns) -> Option<bool> {
    match rule {
        Rule::AllOf(rules) => {
            let told: Vec<_> =
                rules.iter().map(|rule| holds(rule, value, kind, patterns)).collect();
            if told.contains(&Some(false)) {
                return Some(false);
            }
            (!told.contains(&None)).then_some(true)
        }
        Rule::AnyOf(rules) => {
            let told: Vec<_> =
                rules.iter().map(|rule| holds(rule, value, kind, patterns)).collect();
            if told.contains(&Some(true)) {
                return Some(true);
            }
            (!told.contains(&None)).then_some(false)
        }
        Rule::Not(rule) => holds(rule, value, kind, patterns).map(|held| !held),
        Rule::Null(wanted) => Some(value.is_null() == *wanted),
        Rule::Items(rule) => {
            let (Value::Array(values), Type::List(item) | Type::Set(item)) = (value, kind) else {
                return None;
            };
            let told: Vec<_> =
                values.iter().map(|value| holds(rule, value, item, patterns)).collect();
            if told.contains(&Some(false)) {
                return Some(false);
            }
            (!told.contains(&None)).then_some(true)
        }
        Rule::OneOf(wanted) => {
            let told: Vec<_> = wanted.iter().map(|wanted| equal(wanted, value)).collect();
            if told.contains(&Some(true)) {
                return Some(true);
            }
            (!told.contains(&None)).then_some(false)
        }
        Rule::Minimum(Bound(n)) => compared(value, n).map(std::cmp::Ordering::is_ge),
        Rule::ExclusiveMinimum(Bound(n)) => compared(value, n).map(std::cmp::Ordering::is_gt),
        Rule::Maximum(Bound(n)) => compared(value, n).map(std::cmp::Ordering::is_le),
        Rule::ExclusiveMaximum(Bound(n)) => compared(value, n).map(std::cmp::Ordering::is_lt),
        Rule::Integer(wanted) => {
            let Value::Number(n) = value else { return None };
            let whole = n.is_i64() || n.is_u64() || n.as_f64()?.fract() == 0.0;
            Some(whole == *wanted)
        }
        Rule::MinLength(least) => length(value, kind).map(|length| length >= *least),
        Rule::MaxLength(most) => length(value, kind).map(|length| length <= *most),
        Rule::Pattern(pattern) => {
            let text = settled(value)?;
            patterns.find(pattern, text)
        }
        Rule::StartsWith(with) => {
            let both = (settled(value)?, pattern::is_settled(with));
            both.1.then(|| both.0.starts_with(with.as_str()))
        }
        Rule::EndsWith(with) => {
            let both = (settled(value)?, pattern::is_settled(with));
            both.1.then(|| both.0.ends_with(with.as_str()))
        }
    }
}

fn settled(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| pattern::is_settled(text))
}

/// Whether two values of one kind are equal.
fn equal(wanted: &Value, value: &Value) -> Option<bool> {
    match (wanted, value) {
        (Value::String(a), Value::String(b)) => {
            (a == b || (pattern::is_settled(a) && pattern::is_settled(b))).then_some(a == b)
        }
        (Value::Bool(a), Value::Bool(b)) => Some(a == b),
        (Value::Number(n), Value::Number(_)) => compared(value, n).map(std::cmp::Ordering::is_eq),
        _ => None,
    }
}

fn compared(value: &Value, with: &Number) -> Option<std::cmp::Ordering> {
    let Value::Number(n) = value else { return None };
    if !is_exact(n) || !is_exact(with) {
        return None;
    }
    match (n.as_i64(), with.as_i64()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => n.as_f64()?.partial_cmp(&with.as_f64()?),
    }
}

/// What Terraform's `length` says.
fn length(value: &Value, kind: &Type) -> Option<u64> {
    let count = match (value, kind) {
        (Value::String(_), _) => settled(value)?.chars().count(),
        (Value::Array(values), _) => values.len(),
        (Value::Object(fields), Type::Map(_) | Type::Any) => fields.len(),
        _ => return None,
    };
    u64::try_from(count).ok()
}
