//! Answers stay small.

use serde_json::json;
use slipway_domain::plan::Action;

use super::client::{Client, World};
use super::house::{House, change, creates};

/// Bytes of one answer on the wire: about 8,000 tokens.
const MOST: usize = 32_000;

#[tokio::test]
async fn a_plan_of_500_changes_is_small_and_can_be_read_page_by_page() {
    let house = House::new().await;
    let client = Client::connect(&house.open().await, World::Stateless).await;
    let id = client.submit().await;
    let mut changes = creates(499);
    let mut large = change("aws_instance.large", Action::DeleteThenCreate);
    let wide: serde_json::Map<_, _> =
        (0..300).map(|i| (format!("attribute_{i}"), json!("x".repeat(5000)))).collect();
    large.after = json!(wide);
    changes.push(large);
    house.plan(changes).await;

    let summary = client.call("get_plan", json!({"deployment_id": id})).await;
    assert_eq!(summary.ok()["changes_total"], 500);
    assert_eq!(summary.ok()["by_type"][0]["count"], 499);
    assert_eq!(summary.ok()["destructive"], json!(["aws_instance.large"]));
    let bytes = summary.body.to_string().len();
    assert!(bytes < 4_000, "the summary has {bytes} bytes");

    for detail in ["changes", "full"] {
        let (mut seen, mut cursor, mut pages) = (0, None, 0);
        loop {
            let mut arguments = json!({"deployment_id": id, "detail": detail, "limit": 200});
            if let Some(cursor) = cursor {
                arguments["cursor"] = cursor;
            }
            let page = client.call("get_plan", arguments).await;
            let bytes = page.body.to_string().len();
            assert!(bytes < MOST, "a page of {detail} has {bytes} bytes");
            let changes = page.ok()["changes"].as_array().unwrap();
            if seen == 0 {
                assert_eq!(changes[0]["address"], "aws_instance.web[0]");
                let shown = changes[0]["attributes"][0].get("after").is_some();
                assert_eq!(shown, detail == "full");
            }
            seen += changes.len();
            pages += 1;
            let Some(next) = page.ok().get("next_cursor") else { break };
            assert!(page.text().contains(next.as_str().unwrap()));
            cursor = Some(next.clone());
        }
        assert_eq!(seen, 500, "{detail}");
        assert!(pages < 40, "{pages} pages of {detail}");
    }
}

#[tokio::test]
async fn a_log_is_cut_where_it_was_asked_for_least() {
    let house = House::new().await;
    let client = Client::connect(&house.open().await, World::Stateless).await;
    let id = client.submit().await;
    let line = |i: usize| format!("{i} \u{1b}[31m{}", "log line ".repeat(100));
    house.log(&id, (1..=150).map(line)).await;

    let tail = client.call("read_logs", json!({"deployment_id": id, "tail": 100})).await;
    assert!(tail.body.to_string().len() < MOST);
    assert_eq!(tail.ok()["untrusted"], true);
    let lines = tail.ok()["lines"].as_array().unwrap();
    assert_eq!(lines.last().unwrap()["seq"], 150);
    assert_eq!(
        lines.len() + usize::try_from(tail.ok()["left_out"].as_u64().unwrap()).unwrap(),
        100
    );
    assert!(!tail.body.to_string().contains("\\u001b"));

    // Nothing is lost from page to page.
    let (mut after, mut seen) = (0, Vec::new());
    while seen.len() < 150 {
        let arguments = json!({"deployment_id": id, "after": after, "limit": 200});
        let page = client.call("read_logs", arguments).await;
        assert!(page.body.to_string().len() < MOST);
        let lines = page.ok()["lines"].as_array().unwrap();
        assert!(!lines.is_empty());
        seen.extend(lines.iter().map(|line| line["seq"].as_i64().unwrap()));
        after = page.ok()["next_after"].as_i64().unwrap();
        assert_eq!(page.ok()["complete"], false);
    }
    assert_eq!(seen, (1..=150).collect::<Vec<_>>());
}
