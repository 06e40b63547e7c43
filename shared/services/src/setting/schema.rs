//! JSON Schemas of items: which are taken, and whether a value fits.
//!
//! A schema is written by a user and evaluated in the API, so what it can cost is bounded before it
//! is compiled: only keywords that are known here, references to its own `$defs` alone and never in
//! a circle, and so many subschemas at most when every reference is written out. Patterns are of the
//! engine that takes linear time. Nothing is fetched.

use std::collections::BTreeSet;

use jsonschema::{Draft, PatternOptions};
use serde_json::{Map, Value};
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::setting::{MAX_DEPTH, depth};

use crate::source::blocking;

/// Most bytes of a schema, as it is written.
const MAX_BYTES: usize = 16 << 10;
/// Subschemas at most, with every reference written out.
const MAX_SUBSCHEMAS: usize = 500;
/// Most bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 1 << 20;
/// Faults of a value that are told.
const MOST_FAULTS: usize = 20;

/// Keywords whose value is one schema.
const ONE: &[&str] =
    &["additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"];
/// Keywords whose value is a list of schemas.
const MANY: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is an object of schemas.
const NAMED: &[&str] = &["$defs", "dependentSchemas", "patternProperties", "properties"];
/// Keywords without a schema in them.
const PLAIN: &[&str] = &[
    "$comment",
    "const",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "title",
    "type",
    "uniqueItems",
];
/// The only draft.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Whether a schema is taken, and a value fits it. Pointers begin with `/schema` and `/value`.
pub(super) async fn check(schema: Option<&Value>, value: &Value) -> Result<(), Fault> {
    let Some(schema) = schema else { return Ok(()) };
    bounded(schema).map_err(|problem| Fault::fields(Code::InvalidInput, vec![problem]))?;
    let (schema, value) = (schema.clone(), value.clone());
    let problems = blocking(move || faults(&schema, &value)).await?;
    if problems.is_empty() { Ok(()) } else { Err(Fault::fields(Code::InvalidInput, problems)) }
}

fn faults(schema: &Value, value: &Value) -> Vec<FieldError> {
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN);
    let built = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(patterns)
        .should_validate_formats(true)
        .offline()
        .build(schema);
    match built {
        Err(error) => {
            let why = format!("the schema is not valid: {error}");
            vec![FieldError::at(format!("/schema{}", error.instance_path()), cut(&why))]
        }
        Ok(validator) => validator
            .iter_errors(value)
            .take(MOST_FAULTS)
            .map(|error| {
                FieldError::at(format!("/value{}", error.instance_path()), cut(&error.to_string()))
            })
            .collect(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}

/// Whether the schema is one whose evaluation is bounded.
fn bounded(schema: &Value) -> Result<(), FieldError> {
    let Value::Object(root) = schema else {
        return Err(FieldError::at("/schema", "a schema must be an object"));
    };
    if schema.to_string().len() > MAX_BYTES || depth(schema) > MAX_DEPTH {
        let why = format!("a schema may have {MAX_BYTES} bytes and {MAX_DEPTH} levels at most");
        return Err(FieldError::at("/schema", why));
    }
    if root.get("$schema").is_some_and(|draft| draft.as_str() != Some(DRAFT)) {
        return Err(FieldError::at("/schema/$schema", format!("only {DRAFT} is taken")));
    }
    let mut walk = Walk { root, left: MAX_SUBSCHEMAS, inside: BTreeSet::new() };
    walk.schema("/schema", schema, true)
}

struct Walk<'a> {
    root: &'a Map<String, Value>,
    /// Subschemas that may still come.
    left: usize,
    /// Definitions that the walk is in.
    inside: BTreeSet<&'a str>,
}

impl<'a> Walk<'a> {
    fn schema(&mut self, at: &str, schema: &'a Value, top: bool) -> Result<(), FieldError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            let why = format!(
                "the schema has more than {MAX_SUBSCHEMAS} subschemas, with every $ref written out"
            );
            FieldError::at("/schema", why)
        })?;
        let Value::Object(fields) = schema else {
            // `true` and `false` are schemas; what is none is told when it is compiled.
            return Ok(());
        };
        for (keyword, value) in fields {
            let below = format!("{at}/{}", keyword.replace('~', "~0").replace('/', "~1"));
            let name = keyword.as_str();
            match value {
                _ if name == "$schema" && top => {}
                Value::String(to) if name == "$ref" => self.definition(&below, to)?,
                Value::Array(items) if MANY.contains(&name) => {
                    for (number, item) in items.iter().enumerate() {
                        self.schema(&format!("{below}/{number}"), item, false)?;
                    }
                }
                Value::Object(named) if NAMED.contains(&name) && (top || name != "$defs") => {
                    for (part, item) in named {
                        self.schema(&format!("{below}/{part}"), item, false)?;
                    }
                }
                value if ONE.contains(&name) => self.schema(&below, value, false)?,
                _ if PLAIN.contains(&name) => {}
                _ => {
                    return Err(FieldError::at(
                        below,
                        format!("{name:.40} is not a keyword that is taken here in this place"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// A reference: to a definition at the top, and not in a circle.
    fn definition(&mut self, at: &str, to: &str) -> Result<(), FieldError> {
        let defined = to
            .strip_prefix("#/$defs/")
            .and_then(|name| self.root.get("$defs")?.as_object()?.get_key_value(name));
        let Some((name, definition)) = defined else {
            return Err(FieldError::at(at, "a $ref can only name one of the schema's own $defs"));
        };
        if !self.inside.insert(name) {
            return Err(FieldError::at(at, "the $ref leads in a circle"));
        }
        self.schema(at, definition, false)?;
        self.inside.remove(name.as_str());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn told(schema: Value, value: Value) -> Vec<String> {
        match check(Some(&schema), &value).await {
            Ok(()) => Vec::new(),
            Err(fault) => fault.errors.into_iter().map(|error| error.pointer).collect(),
        }
    }

    #[tokio::test]
    async fn values_are_held_against_their_schema() {
        let schema = json!({
            "$schema": DRAFT, "type": "object", "required": ["size"],
            "properties": {"size": {"$ref": "#/$defs/count"}, "name": {"pattern": "^[a-z]+$"}},
            "additionalProperties": false, "$defs": {"count": {"type": "integer", "minimum": 1}},
        });
        assert!(told(schema.clone(), json!({"size": 3, "name": "a"})).await.is_empty());
        assert_eq!(told(schema.clone(), json!({"size": 0})).await, ["/value/size"]);
        assert_eq!(told(schema.clone(), json!({"size": 1, "x": 1})).await, ["/value"]);
        assert_eq!(told(schema, json!({"size": 1, "name": "A"})).await, ["/value/name"]);
        assert!(check(None, &json!(1)).await.is_ok());
    }

    #[tokio::test]
    async fn schemas_that_could_cost_anything_are_refused() {
        for (schema, at) in [
            (json!(true), "/schema"),
            (json!({"$ref": "#"}), "/schema/$ref"),
            (json!({"$ref": "https://example.com/a.json"}), "/schema/$ref"),
            (json!({"$ref": "file:///etc/passwd"}), "/schema/$ref"),
            (json!({"$id": "https://example.com/"}), "/schema/$id"),
            (json!({"$dynamicRef": "#a"}), "/schema/$dynamicRef"),
            (json!({"unevaluatedProperties": false}), "/schema/unevaluatedProperties"),
            (json!({"$schema": "http://json-schema.org/draft-07/schema#"}), "/schema/$schema"),
            (json!({"properties": {"a": {"$defs": {}}}}), "/schema/properties/a/$defs"),
            (json!({"description": "x".repeat(MAX_BYTES)}), "/schema"),
            (
                json!({"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}),
                "/schema/$defs/a/not/$ref/not/$ref",
            ),
        ] {
            assert_eq!(told(schema.clone(), json!(1)).await, [at], "{schema}");
        }
        // Each definition names the next one twice: written out there are 2^20 of them.
        let mut defs = Map::new();
        for n in 0..20 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            defs.insert(format!("d{n}"), json!({"allOf": [next, next]}));
        }
        defs.insert("d20".to_owned(), json!({"type": "string"}));
        assert_eq!(told(json!({"$defs": defs}), json!("a")).await, ["/schema"]);
        assert_eq!(told(json!({"type": "nonsense"}), json!(1)).await, ["/schema/type"]);
        // What only a backtracking engine can do, and what would take much room.
        assert_eq!(told(json!({"pattern": "(a)\\1"}), json!("aa")).await, ["/schema/pattern"]);
        assert!(!told(json!({"pattern": "(a{1000}){1000}"}), json!("a")).await.is_empty());
        // Exponential where patterns backtrack.
        let slow = json!({"pattern": "^(a+)+$"});
        assert_eq!(told(slow, json!(format!("{}!", "a".repeat(5000)))).await, ["/value"]);
    }
}
