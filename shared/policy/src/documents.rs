//! Policies that are put together by a data source which is read while applying.
//!
//! As soon as one ARN in an `aws_iam_policy_document` is not known yet, its whole `json` is unknown.
//! The plan shows its statements all the same, with only the ARN unknown: enough to see a `*`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::facts::UNKNOWN;

/// The data source that puts policies together.
pub(crate) const KIND: &str = "aws_iam_policy_document";

/// The policy, as a text of JSON in which single values may be [`UNKNOWN`].
pub(crate) fn assemble(values: &Value) -> String {
    let mut statements = Vec::new();
    for name in ["source_json", "source_policy_documents"] {
        others(&values[name], &mut statements);
    }
    match &values["statement"] {
        Value::Array(blocks) => statements.extend(blocks.iter().map(statement)),
        Value::Null => {}
        _ => statements.push(Value::from(UNKNOWN)),
    }
    for name in ["override_json", "override_policy_documents"] {
        others(&values[name], &mut statements);
    }
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// Statements of other documents that are part of this one.
fn others(given: &Value, statements: &mut Vec<Value>) {
    match given {
        Value::Array(all) => all.iter().for_each(|one| others(one, statements)),
        Value::String(text) if !text.is_empty() => {
            match serde_json::from_str::<Value>(text).map(|mut policy| policy["Statement"].take()) {
                Ok(Value::Array(all)) => statements.extend(all),
                Ok(one @ Value::Object(_)) => statements.push(one),
                _ => statements.push(Value::from(UNKNOWN)),
            }
        }
        _ => {}
    }
}

fn statement(block: &Value) -> Value {
    let Value::Object(_) = block else { return Value::from(UNKNOWN) };
    let mut made = Map::new();
    let effect = block["effect"].as_str().unwrap_or("Allow");
    made.insert("Effect".to_owned(), Value::from(effect));
    for (name, part) in [
        ("sid", "Sid"),
        ("actions", "Action"),
        ("not_actions", "NotAction"),
        ("resources", "Resource"),
        ("not_resources", "NotResource"),
    ] {
        let empty = block[name].as_array().is_some_and(Vec::is_empty);
        if !block[name].is_null() && !empty {
            made.insert(part.to_owned(), block[name].clone());
        }
    }
    for (name, part) in [("principals", "Principal"), ("not_principals", "NotPrincipal")] {
        match &block[name] {
            Value::Array(all) if !all.is_empty() => {
                made.insert(part.to_owned(), principals(all));
            }
            Value::String(_) => {
                made.insert(part.to_owned(), block[name].clone());
            }
            _ => {}
        }
    }
    match &block["condition"] {
        Value::Array(all) if !all.is_empty() => {
            let mut condition: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
            for one in all {
                let text = |name: &str| one[name].as_str().unwrap_or(UNKNOWN);
                condition
                    .entry(text("test"))
                    .or_default()
                    .insert(text("variable").to_owned(), one["values"].clone());
            }
            made.insert("Condition".to_owned(), json!(condition));
        }
        Value::String(_) => {
            made.insert("Condition".to_owned(), json!({UNKNOWN: {UNKNOWN: UNKNOWN}}));
        }
        _ => {}
    }
    Value::Object(made)
}

/// Principals by kind. What is of no known kind stands under [`UNKNOWN`].
fn principals(blocks: &[Value]) -> Value {
    let mut kinds: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for block in blocks {
        let kind = block["type"].as_str().unwrap_or(UNKNOWN);
        let all = kinds.entry(kind).or_default();
        match &block["identifiers"] {
            Value::Array(given) => all.extend(given.iter().cloned()),
            _ => all.push(Value::from(UNKNOWN)),
        }
    }
    json!(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_put_together_from_blocks_and_other_documents() {
        let policy = assemble(&json!({
            "source_policy_documents": [r#"{"Statement":{"Effect":"Deny","Action":"s3:*"}}"#, UNKNOWN],
            "statement": [
                {"effect": null, "actions": ["s3:Get*"], "resources": [UNKNOWN], "not_actions": [],
                 "principals": [{"type": "AWS", "identifiers": ["*"]}, {"type": "AWS", "identifiers": ["1"]}],
                 "condition": [{"test": "StringEquals", "variable": "aws:PrincipalOrgID", "values": ["o"]}]},
                UNKNOWN]}));
        assert_eq!(
            serde_json::from_str::<Value>(&policy).expect("JSON")["Statement"],
            json!([
                {"Effect": "Deny", "Action": "s3:*"},
                UNKNOWN,
                {"Effect": "Allow", "Action": ["s3:Get*"], "Resource": [UNKNOWN],
                 "Principal": {"AWS": ["*", "1"]},
                 "Condition": {"StringEquals": {"aws:PrincipalOrgID": ["o"]}}},
                UNKNOWN])
        );
        let unknown = assemble(&json!({"statement": UNKNOWN}));
        assert_eq!(unknown, format!(r#"{{"Statement":["{UNKNOWN}"],"Version":"2012-10-17"}}"#));
    }
}
