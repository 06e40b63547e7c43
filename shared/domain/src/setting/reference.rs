//! What the variables of a deployment say to use items: `${config.KEY}` and `${secret.KEY}`.
//!
//! A string that is one reference and nothing else becomes the item's value, with its type; one with
//! text around it becomes text. `$${config.` and `$${secret.` stand for themselves with one `$`
//! less. Everything else, Terraform's own `${…}` too, is left as it is.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::is_key;
use crate::deployment::Variables;
use crate::fault::FieldError;

/// References that the variables of one deployment may hold.
pub const MAX_REFERENCES: usize = 500;

/// Something that is used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Whether it is asked for as a secret.
    pub secret: bool,
    /// The key.
    pub key: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}}}", opening(self.secret), self.key)
    }
}

const fn opening(secret: bool) -> &'static str {
    if secret { "${secret." } else { "${config." }
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is to be.
    Text(String),
    /// Something that is used.
    Reference(Reference),
}

/// Takes a text apart. What begins like a reference and is none is refused.
pub fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(escaped) = rest.strip_prefix('$').filter(|rest| begins(rest).is_some()) {
            // As it is written, with one sign less.
            let length = begins(escaped).map_or(0, |secret| opening(secret).len());
            plain.push_str(&escaped[..length]);
            rest = &escaped[length..];
        } else if let Some(secret) = begins(rest) {
            let behind = &rest[opening(secret).len()..];
            let key = behind.split('}').next().filter(|key| key.len() < behind.len());
            let Some(key) = key.filter(|key| is_key(key)) else {
                let shown: String = rest.chars().take(80).collect();
                return Err(format!(
                    "{shown:?} is no reference: {}; for the text itself write {}",
                    super::KEY_RULE,
                    if secret { "$${secret." } else { "$${config." }
                ));
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Reference(Reference { secret, key: key.to_owned() }));
            rest = &behind[key.len() + 1..];
        } else {
            plain.push('$');
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Whether a text begins like a reference, and to a secret.
fn begins(text: &str) -> Option<bool> {
    [false, true].into_iter().find(|secret| text.starts_with(opening(*secret)))
}

/// Writes a text so that [`parse`] gives just that text.
pub fn escape(text: &str) -> String {
    text.replace(opening(false), "$${config.").replace(opening(true), "$${secret.")
}

/// Whether a value holds anything for [`fill`] to do.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains(opening(false)) && !text.contains(opening(true)),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(fields) => fields.values().all(is_plain),
        _ => true,
    }
}

/// Whether variables hold no reference, and nothing escaped.
pub fn are_plain(variables: &Variables) -> bool {
    variables.values().all(is_plain)
}

/// Whether a value uses a secret. One that cannot be read as it is meant is taken to do so.
pub fn uses_secret(value: &Value) -> bool {
    match value {
        Value::String(text) if text.contains(opening(true)) => parse(text).map_or(true, |pieces| {
            pieces.iter().any(|piece| matches!(piece, Piece::Reference(r) if r.secret))
        }),
        Value::Array(items) => items.iter().any(uses_secret),
        Value::Object(fields) => fields.values().any(uses_secret),
        _ => false,
    }
}

/// Everything that a value uses.
pub fn references_in(value: &Value) -> BTreeSet<Reference> {
    fn walk(value: &Value, found: &mut BTreeSet<Reference>) {
        match value {
            Value::String(text) => {
                for piece in parse(text).unwrap_or_default() {
                    if let Piece::Reference(reference) = piece {
                        found.insert(reference);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Object(fields) => fields.values().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(value, &mut found);
    found
}

/// Puts in what is used: `value_of` gives the value of a reference, or says why there is none.
/// Names of fields are no place for references.
pub fn fill(
    variables: &Variables,
    mut value_of: impl FnMut(&Reference) -> Result<Value, String>,
) -> Result<Variables, Vec<FieldError>> {
    let mut problems = Vec::new();
    let mut references = 0;
    let mut filled = Variables::new();
    for (name, value) in variables {
        let at = format!("/variables/{}", name.replace('~', "~0").replace('/', "~1"));
        let mut filling = Filling { value_of: &mut value_of, problems: &mut problems, references };
        let value = filling.value(&at, value);
        references = filling.references;
        filled.insert(name.clone(), value);
    }
    if references > MAX_REFERENCES {
        problems.push(FieldError::at(
            "/variables",
            format!("the variables hold more than {MAX_REFERENCES} references to settings"),
        ));
    }
    if problems.is_empty() { Ok(filled) } else { Err(problems) }
}

struct Filling<'a, F> {
    value_of: &'a mut F,
    problems: &'a mut Vec<FieldError>,
    references: usize,
}

impl<F: FnMut(&Reference) -> Result<Value, String>> Filling<'_, F> {
    fn value(&mut self, at: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if !is_plain(value) => self.text(at, text).unwrap_or_else(|why| {
                self.problems.push(FieldError::at(at, why));
                Value::Null
            }),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(number, item)| self.value(&format!("{at}/{number}"), item))
                .collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, field)| {
                    let part = name.replace('~', "~0").replace('/', "~1");
                    (name.clone(), self.value(&format!("{at}/{part}"), field))
                })
                .collect(),
            other => other.clone(),
        }
    }

    fn text(&mut self, at: &str, text: &str) -> Result<Value, String> {
        let pieces = parse(text)?;
        self.references +=
            pieces.iter().filter(|piece| matches!(piece, Piece::Reference(_))).count();
        if self.references > MAX_REFERENCES {
            // It is said once, for all of them.
            return Ok(Value::Null);
        }
        if let [Piece::Reference(reference)] = pieces.as_slice() {
            return (self.value_of)(reference);
        }
        let mut out = String::new();
        for piece in &pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Reference(reference) => match (self.value_of)(reference) {
                    Ok(Value::String(text)) => out.push_str(&text),
                    Ok(value @ (Value::Number(_) | Value::Bool(_))) => {
                        out.push_str(&value.to_string());
                    }
                    Ok(_) => self.problems.push(FieldError::at(
                        at,
                        format!(
                            "{reference} is JSON, so it can only be the whole value, without text \
                             around it"
                        ),
                    )),
                    Err(why) => self.problems.push(FieldError::at(at, why)),
                },
            }
        }
        Ok(Value::String(out))
    }
}
