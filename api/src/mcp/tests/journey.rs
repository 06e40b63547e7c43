//! From template to applied.

use std::time::Duration;

use serde_json::{Value, json};
use slipway_domain::access::{ActorKind, Door};
use slipway_domain::deployment::Output;
use slipway_domain::plan::Action;

use super::client::{Client, WORLDS, World};
use super::house::{House, change, creates, submission};

fn output(name: &str, value: Value, sensitive: bool) -> Output {
    Output { name: name.to_owned(), value, sensitive, kind: json!("string") }
}

#[tokio::test]
async fn from_template_to_applied_in_every_world() {
    for world in WORLDS {
        let house = House::new().await;
        let client = Client::connect(&house.open().await, world).await;
        assert_eq!(client.session, None, "{world:?}: nobody needs a session");

        let templates = client.call("list_templates", json!({"name": "hello"})).await;
        assert_eq!(templates.ok()["templates"][0]["inputs"][0]["name"], "name");

        let id = client.submit().await;
        let (waited, ()) = tokio::join!(
            client.request(
                "tools/call",
                json!({
                    "name": "wait_for_deployment",
                    "arguments": {"deployment_id": id, "timeout_s": 20},
                    "_meta": {"progressToken": "p1"},
                }),
            ),
            async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                house.plan(creates(2)).await;
            }
        );
        assert_eq!(waited.ok()["reached"], "person", "{world:?}");
        assert_eq!(waited.ok()["state"], "awaiting_approval");
        let told: Vec<_> = waited.notifications.iter().map(|n| &n["params"]).collect();
        assert!(told.iter().all(|p| p["progressToken"] == "p1"), "{told:?}");
        let messages: Vec<_> = told.iter().map(|p| p["message"].as_str().unwrap()).collect();
        assert!(messages.contains(&"planning"), "{messages:?}");
        assert_eq!(*messages.last().unwrap(), "awaiting_approval", "{messages:?}");
        let numbers: Vec<_> = told.iter().map(|p| p["progress"].as_f64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");

        let plan = client.call("get_plan", json!({"deployment_id": id})).await;
        assert_eq!(plan.ok()["counts"]["create"], 2);
        let digest = plan.ok()["plan_digest"].clone();

        let approve = json!({"deployment_id": id, "plan_digest": digest, "comment": "fine"});
        let approved = client.call("approve_deployment", approve.clone()).await;
        assert_eq!(approved.ok()["state"], "approved");
        let again = client.call("approve_deployment", approve).await;
        assert_eq!(again.refused()["code"], "illegal_transition");

        house
            .apply(vec![
                output("greeting", json!("hello"), false),
                output("token", json!("s3cret-value"), true),
            ])
            .await;
        let waited = client.call("wait_for_deployment", json!({"deployment_id": id})).await;
        assert_eq!(waited.ok()["reached"], "ended");
        assert_eq!(waited.ok()["state"], "succeeded");
        assert_eq!(waited.notifications, Vec::<Value>::new(), "no token, no progress");

        let outputs = client.call("get_outputs", json!({"deployment_id": id})).await;
        assert_eq!(outputs.ok()["outputs"][0]["value"], "hello");
        assert_eq!(outputs.ok()["outputs"][1]["value"], "***");
        assert!(!outputs.body.to_string().contains("s3cret"));

        let listed = client.call("list_deployments", json!({"project": "shop"})).await;
        assert_eq!(listed.ok()["items"][0]["deployment_id"], json!(id));
        let stacks = client.call("list_stacks", json!({})).await;
        assert_eq!(stacks.ok()["items"][0]["current_deployment"], json!(id));

        let record = house.cx.store.read().await.unwrap().deployment(id.parse().unwrap()).await;
        let by = record.unwrap().unwrap().deployment.submitted_by;
        assert_eq!((by.kind, by.via), (ActorKind::Agent, Door::Mcp));
    }
}

#[tokio::test]
async fn a_wait_ends_after_its_time_and_at_shutdown() {
    for world in WORLDS {
        let house = House::new().await;
        let client = Client::connect(&house.open().await, world).await;
        let id = client.submit().await;
        let asked = json!({"deployment_id": id, "timeout_s": 0});
        let waited = client.call("wait_for_deployment", asked).await;
        assert_eq!(waited.ok()["reached"], "timeout");
        assert_eq!(waited.ok()["waiting"], "a worker of queue plan, place 1");

        let began = std::time::Instant::now();
        let asked = json!({"deployment_id": id, "timeout_s": 120});
        let (waited, ()) = tokio::join!(client.call("wait_for_deployment", asked), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            house.shutdown.cancel();
        });
        assert_eq!(waited.ok()["reached"], "timeout", "{world:?}");
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_deployment() {
    let house = House::new().await;
    let client = Client::connect(&house.open().await, World::Stateless).await;
    let mut arguments = submission();
    arguments["idempotency_key"] = json!("once");
    let first = client.call("submit_deployment", arguments.clone()).await;
    let second = client.call("submit_deployment", arguments.clone()).await;
    assert_eq!(first.ok()["deployment_id"], second.ok()["deployment_id"]);
    arguments["variables"]["name"] = json!("other");
    let third = client.call("submit_deployment", arguments).await;
    assert_eq!(third.refused()["code"], "idempotency_key_reused");
}

#[tokio::test]
async fn without_auto_apply_the_apply_is_started_by_its_own_tool() {
    let house = House::new().await;
    let client = Client::connect(&house.open().await, World::Stateless).await;
    let mut arguments = submission();
    arguments["options"] = json!({"auto_apply": false});
    let submitted = client.call("submit_deployment", arguments).await;
    let id = submitted.ok()["deployment_id"].clone();
    house.plan(creates(1)).await;
    let plan = client.call("get_plan", json!({"deployment_id": id})).await;
    let approve = json!({"deployment_id": id, "plan_digest": plan.ok()["plan_digest"]});
    client.call("approve_deployment", approve).await.ok();
    let waited = client.call("wait_for_deployment", json!({"deployment_id": id})).await;
    assert_eq!(waited.ok()["reached"], "person");
    assert!(waited.text().contains("apply_deployment"), "{}", waited.text());
    client.call("apply_deployment", json!({"deployment_id": id})).await.ok();
    house.apply(Vec::new()).await;
    let done = client.call("get_deployment", json!({"deployment_id": id})).await;
    assert_eq!(done.ok()["state"], "succeeded");
}

#[tokio::test]
async fn who_is_missing_is_told_to_the_model() {
    let house = House::new().await;
    let client = Client::connect(&house.open().await, World::Older("2025-11-25")).await;
    let id = client.submit().await;
    let mut database = change("aws_db_instance.main", Action::Delete);
    "aws_db_instance".clone_into(&mut database.kind);
    house.plan(vec![database]).await;
    let plan = client.call("get_plan", json!({"deployment_id": id})).await;
    let approve = json!({"deployment_id": id, "plan_digest": plan.ok()["plan_digest"]});
    let approved = client.call("approve_deployment", approve).await;
    assert_eq!(approved.ok()["state"], "awaiting_approval");
    let missing = approved.ok()["reason"].as_str().unwrap();
    assert!(
        missing.contains("still missing: one more person")
            && missing.contains("aws_db_instance.main")
    );
    assert!(approved.ok()["next"].as_str().unwrap().contains("do not call again"));
    assert!(approved.text().contains("1 of 2 approvals"), "{}", approved.text());
}

#[tokio::test]
async fn a_rejected_plan_and_a_cancelled_deployment_end() {
    let house = House::new().await;
    let client = Client::connect(&house.open().await, World::Older("2025-11-25")).await;
    let id = client.submit().await;
    house.plan(vec![change("aws_instance.old", Action::Delete)]).await;
    let plan = client.call("get_plan", json!({"deployment_id": id})).await;
    assert_eq!(plan.ok()["destructive"], json!(["aws_instance.old"]));
    let reject = json!({
        "deployment_id": id,
        "plan_digest": plan.ok()["plan_digest"],
        "comment": "too much",
    });
    let rejected = client.call("reject_deployment", reject).await;
    assert_eq!(rejected.ok()["state"], "cancelled");
    assert!(rejected.ok()["reason"].as_str().unwrap().contains("too much"));

    let id = client.submit().await;
    let cancelled = client.call("cancel_deployment", json!({"deployment_id": id})).await;
    assert_eq!(cancelled.ok()["state"], "cancelled");
}
