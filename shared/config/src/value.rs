//! Reads one value in the form that its key wants, from the text of a variable or a flag, or from
//! TOML. Messages about secrets never show what was given.

use std::net::SocketAddr;

use serde_json::{Map, Value};
use slipway_domain::job;
use toml::de::DeValue;

use crate::schema::Kind;
use crate::suggest::{did_you_mean, nearest};

/// Reads the text of a variable or a flag. Lists are divided by commas.
pub(crate) fn from_text(kind: &Kind, text: &str) -> Result<Value, String> {
    let text = text.trim();
    match kind {
        Kind::Text { .. } | Kind::Secret | Kind::Address | Kind::Choice(_) => {
            from_string(kind, text)
        }
        Kind::Bool => match text {
            "true" | "1" | "yes" | "on" => Ok(Value::Bool(true)),
            "false" | "0" | "no" | "off" => Ok(Value::Bool(false)),
            _ => Err(format!("`{text}` is not `true` or `false`")),
        },
        Kind::Integer { min, max } => text
            .parse()
            .map_err(|_| format!("`{text}` is not a whole number"))
            .and_then(|number| in_range(number, *min, *max)),
        Kind::Number { min, max } => text
            .parse()
            .map_err(|_| format!("`{text}` is not a number"))
            .and_then(|number| number_in_range(number, *min, *max)),
        Kind::List => Ok(items(text).map(Value::from).collect()),
        Kind::Slots => {
            let mut slots_by_queue = Map::new();
            for item in items(text) {
                let (queue, slots) = item
                    .split_once('=')
                    .ok_or_else(|| format!("`{item}` is not `queue=slots`, e.g. `plan=4`"))?;
                let (queue, slots) = slots_of(queue.trim(), slots.trim())?;
                if slots_by_queue.insert(queue.clone(), slots).is_some() {
                    return Err(format!("`{queue}` is there twice"));
                }
            }
            Ok(Value::Object(slots_by_queue))
        }
    }
}

/// Reads a value of the TOML file.
pub(crate) fn from_toml(kind: &Kind, value: &DeValue<'_>) -> Result<Value, String> {
    let wants = |what: &str| Err(format!("it must be {what}, not {}", type_of(value)));
    match (kind, value) {
        (
            Kind::Text { .. } | Kind::Secret | Kind::Address | Kind::Choice(_),
            DeValue::String(text),
        ) => from_string(kind, text),
        (Kind::Text { .. } | Kind::Secret | Kind::Address | Kind::Choice(_), _) => {
            wants("a string in quotes")
        }
        (Kind::Bool, DeValue::Boolean(yes)) => Ok(Value::Bool(*yes)),
        (Kind::Bool, _) => wants("true or false"),
        (Kind::Integer { min, max }, DeValue::Integer(number)) => {
            let number = i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| format!("it must be between {min} and {max}"))?;
            in_range(number, *min, *max)
        }
        (Kind::Integer { .. }, _) => wants("a whole number"),
        (Kind::Number { min, max }, DeValue::Integer(_) | DeValue::Float(_)) => {
            let text = match value {
                DeValue::Integer(number) => number.as_str(),
                DeValue::Float(number) => number.as_str(),
                _ => "",
            };
            text.parse()
                .map_err(|_| "it is not a number".to_owned())
                .and_then(|number| number_in_range(number, *min, *max))
        }
        (Kind::Number { .. }, _) => wants("a number"),
        (Kind::List, DeValue::Array(list)) => list
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(Value::from(text.as_ref())),
                other => {
                    Err(format!("it must be a list of strings; one item is {}", type_of(other)))
                }
            })
            .collect::<Result<Value, _>>(),
        (Kind::List, _) => wants("a list of strings, e.g. [\"one\", \"two\"]"),
        (Kind::Slots, DeValue::Table(table)) => table
            .iter()
            .map(|(queue, slots)| match slots.get_ref() {
                DeValue::Integer(slots) if slots.radix() == 10 => {
                    slots_of(queue.get_ref(), slots.as_str())
                }
                other => Err(format!(
                    "the slots of `{}` must be a whole number, not {}",
                    queue.get_ref(),
                    type_of(other)
                )),
            })
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
        (Kind::Slots, _) => wants("a table of queues and slots, e.g. { plan = 4, apply = 2 }"),
    }
}

fn from_string(kind: &Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Text { optional: true } if text.is_empty() => Ok(Value::Null),
        Kind::Text { optional: false } if text.is_empty() => Err("it must not be empty".to_owned()),
        Kind::Address if text.parse::<SocketAddr>().is_err() => Err(format!(
            "`{text}` is not an IP address with a port, such as 127.0.0.1:8000 or [::1]:8000"
        )),
        Kind::Choice(words) if !words.iter().any(|word| word == text) => {
            let suggestion = nearest(text, words.iter().map(String::as_str), '.');
            let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>();
            Err(format!("`{text}` is not one of {}{}", words.join(", "), did_you_mean(suggestion)))
        }
        _ => Ok(Value::from(text)),
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn slots_of(queue: &str, slots: &str) -> Result<(String, Value), String> {
    let queue = job::Queue::parse(queue).ok_or_else(|| {
        let known = || job::Queue::ALL.iter().map(|queue| queue.as_str());
        format!(
            "there is no queue `{queue}`, only {}{}",
            known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            did_you_mean(nearest(queue, known(), '.'))
        )
    })?;
    let slots: u16 = slots
        .replace('_', "")
        .parse()
        .map_err(|_| format!("the slots of `{queue}` must be a whole number from 1 to 256"))?;
    Ok((queue.to_string(), slots.into()))
}

fn in_range(number: i64, min: i64, max: i64) -> Result<Value, String> {
    if (min..=max).contains(&number) {
        Ok(number.into())
    } else {
        Err(format!("{number} is not between {min} and {max}"))
    }
}

fn number_in_range(number: f64, min: f64, max: f64) -> Result<Value, String> {
    if (min..=max).contains(&number) {
        Ok(number.into())
    } else {
        Err(format!("{number} is not between {min} and {max}"))
    }
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
