//! The OpenAPI document: it is what is served, and it changes only as it may.
//!
//! `docs/openapi.json` is the committed one. After a change that only adds, run the tests with
//! `SLIPWAY_TEST_UPDATE_SNAPSHOTS=1`; a change that breaks clients needs `=breaking`, on purpose.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::breaking::changes;
use crate::house::House;

fn document() -> Value {
    serde_json::to_value(slipway_api::openapi()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(|(method, operation)| (path.clone(), method.clone(), operation.clone()))
        })
        .collect()
}

#[test]
fn the_committed_document_is_current_and_nothing_breaks() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let new = document();
    let text = format!("{}\n", serde_json::to_string_pretty(&new).unwrap());
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed == text {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not configuration")]
    let update = std::env::var("SLIPWAY_TEST_UPDATE_SNAPSHOTS").unwrap_or_default();
    let old: Value = serde_json::from_str(&committed).unwrap_or(Value::Null);
    let breaking = changes(&old, &new);
    match update.as_str() {
        "breaking" => std::fs::write(&path, text).unwrap(),
        "1" if breaking.is_empty() => std::fs::write(&path, text).unwrap(),
        _ if breaking.is_empty() => panic!(
            "docs/openapi.json is not current; nothing breaks, so run this test with \
             SLIPWAY_TEST_UPDATE_SNAPSHOTS=1 and commit it"
        ),
        _ => panic!(
            "the API would break its clients:\n  {}\nIf that is meant, run this test with \
             SLIPWAY_TEST_UPDATE_SNAPSHOTS=breaking",
            breaking.join("\n  ")
        ),
    }
}

#[tokio::test]
async fn it_is_served_as_it_is() {
    let house = House::new().await;
    let served = house.get("/openapi.json").await.ok(200);
    assert_eq!(served, document());
    assert_eq!(served["openapi"], "3.1.0");
}

/// Operations that name a project beside their path.
const NAME_A_PROJECT: &[&str] = &[
    "post /api/v1/deployments",
    "post /api/v1/config",
    "get /api/v1/config/resolve",
    "post /api/v1/exemptions",
    "post /api/v1/policies/dry-run",
    "get /api/v1/gates/resolved",
    "put /api/v1/gates/settings",
    "delete /api/v1/gates/settings",
];

/// About whoever asks, who may have no account here, or of another one that the body names.
const OF_AN_ACCOUNT: &[&str] = &[
    "get /api/v1/auth/identities",
    "get /api/v1/auth/keys",
    "post /api/v1/auth/keys",
    "post /api/v1/auth/logout",
    "post /api/v1/auth/password",
    "get /api/v1/auth/sessions",
    "delete /api/v1/auth/sessions",
    "post /api/v1/auth/trust-rules",
];

/// Routes without a quota: whether the process is well.
const WITHOUT_QUOTA: &[&str] = &["get /livez", "get /readyz", "get /health", "get /metrics"];

/// What every operation must say.
#[test]
fn every_operation_is_described_whole() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{at}: no id"));
        assert!(ids.insert(id.to_owned()), "{at}: {id} is there twice");
        assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{at}: no summary");
        let tag = &operation["tags"][0];
        let known = document["tags"].as_array().unwrap().iter().any(|t| &t["name"] == tag);
        assert!(known, "{at}: tag {tag} is not described");
        for status in ["400", "403", "405", "421", "422", "500", "503", "504"] {
            assert!(!operation["responses"][status].is_null(), "{at}: {status} is missing");
        }
        // Names a thing, or in query or body a project.
        let has_id = path.contains('{')
            || NAME_A_PROJECT.contains(&at.as_str())
            || OF_AN_ACCOUNT.contains(&at.as_str());
        assert_eq!(!operation["responses"]["404"].is_null(), has_id, "{at}: 404");
        let has_quota = !WITHOUT_QUOTA.contains(&at.as_str());
        assert_eq!(!operation["responses"]["429"].is_null(), has_quota, "{at}: 429");
        let has_body = !operation["requestBody"].is_null();
        assert_eq!(!operation["responses"]["415"].is_null(), has_body, "{at}: 415");
        assert_eq!(!operation["responses"]["413"].is_null(), has_body, "{at}: 413");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let described = response["$ref"].is_string() || response["description"].is_string();
            assert!(described, "{at}: {status}");
        }
    }
}

#[test]
fn every_reference_and_link_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.push(reference.clone());
                }
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let all = operations(&document);
    let mut links = 0;
    for (path, method, operation) in &all {
        for response in operation["responses"].as_object().unwrap().values() {
            for (name, link) in response["links"].as_object().into_iter().flatten() {
                links += 1;
                let to = all.iter().find(|(_, _, o)| o["operationId"] == link["operationId"]);
                let (_, _, to) = to.unwrap_or_else(|| panic!("{method} {path}: link {name}"));
                for parameter in link["parameters"].as_object().unwrap().keys() {
                    let known = to["parameters"].as_array().unwrap().iter();
                    assert!(known.clone().any(|p| p["name"] == *parameter), "{name}: {parameter}");
                }
            }
        }
    }
    assert_eq!(links, 19);
}

#[test]
fn requests_say_that_they_take_nothing_else() {
    let document = document();
    for name in ["Submit", "Options", "StackKey", "Decision", "Cancel", "Start"] {
        let schema = &document["components"]["schemas"][name];
        assert_eq!(schema["additionalProperties"], false, "{name}: {schema}");
    }
    for variant in document["components"]["schemas"]["Source"]["oneOf"].as_array().unwrap() {
        assert_eq!(variant["additionalProperties"], false, "{variant}");
    }
    // A flattened struct is one object, with room for both halves.
    let stack = &document["components"]["schemas"]["Stack"];
    assert!(stack["properties"]["project"].is_object() && stack["properties"]["id"].is_object());
    assert!(stack["additionalProperties"].is_null(), "{stack}");
}
