//! The list of tools: what clients see of it, and its size.

use serde_json::{Value, json};

use super::client::{Client, WORLDS};
use super::house::House;

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/mcp-tools.json");

async fn tools(world: super::client::World) -> Value {
    let house = House::new().await;
    let client = Client::connect(&house.open().await, world).await;
    let listed = client.request("tools/list", json!({})).await;
    listed.result()["tools"].clone()
}

#[tokio::test]
async fn the_list_is_the_one_in_the_docs() {
    let [first, rest @ ..] = WORLDS;
    let tools = tools(first).await;
    for world in rest {
        assert_eq!(self::tools(world).await, tools, "{world:?} lists the same");
    }
    let text = format!("{tools:#}\n");
    #[expect(clippy::disallowed_methods, reason = "a switch of this test")]
    if std::env::var("SLIPWAY_TEST_UPDATE_SNAPSHOTS").is_ok_and(|on| on == "1") {
        std::fs::write(SNAPSHOT, &text).unwrap();
    }
    let kept = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        kept == text,
        "docs/mcp-tools.json is not what the door lists; if the change is meant, write it anew \
         with SLIPWAY_TEST_UPDATE_SNAPSHOTS=1"
    );
    let tokens = tools.to_string().len() / 4;
    println!("tools/list: {} tools, about {tokens} tokens", tools.as_array().unwrap().len());
    // Every model that connects pays this before it says a word.
    assert!(tokens < 7_500, "the list of tools costs {tokens} tokens");
}

#[tokio::test]
async fn every_tool_says_what_it_is() {
    for tool in tools(WORLDS[2]).await.as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        assert!(name.split('_').count() >= 2, "{name} is verb_noun");
        for field in ["title", "description"] {
            assert!(tool[field].as_str().is_some_and(|text| text.len() > 5), "{name}: {field}");
        }
        let hints = tool["annotations"].as_object().unwrap();
        let all = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];
        assert!(all.iter().all(|hint| hints[*hint].is_boolean()), "{name}: {hints:?}");
        let reads = ["list_", "get_", "read_", "resolve_", "wait_"]
            .iter()
            .any(|verb| name.starts_with(verb));
        assert_eq!(hints["readOnlyHint"], reads, "{name}");
        assert_ne!(hints["readOnlyHint"], hints["destructiveHint"], "{name}");

        let input = &tool["inputSchema"];
        assert_eq!(input["type"], "object", "{name}");
        assert_eq!(input["additionalProperties"], false, "{name} takes unknown arguments");
        for (argument, schema) in input["properties"].as_object().unwrap() {
            let said = schema.get("description").is_some();
            assert!(said, "{name}: {argument} is not described");
        }
        let output = &tool["outputSchema"];
        assert_eq!(output["type"], "object", "{name}");
        let arms = output["anyOf"].as_array().unwrap();
        assert!(arms[1]["required"].as_array().unwrap().contains(&json!("code")), "{name}");
        only_objects(name, input);
        only_objects(name, output);
    }
}

/// Some clients take only objects for schemas of properties, and know only the standard formats.
fn only_objects(name: &str, schema: &Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                assert!(properties.values().all(Value::is_object), "{name}: {properties:?}");
            }
            if let Some(format) = object.get("format") {
                assert!(["date-time"].map(Value::from).contains(format), "{name}: {format}");
            }
            object.values().for_each(|value| only_objects(name, value));
        }
        Value::Array(items) => items.iter().for_each(|item| only_objects(name, item)),
        _ => {}
    }
}
