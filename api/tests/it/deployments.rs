//! The main job over REST, from submission to outputs.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::house::{House, path, posted, submission};

#[tokio::test]
async fn from_template_to_outputs() {
    let house = House::new().await;
    let answer = house.post("/api/v1/deployments", &submission()).await;
    let submitted = answer.ok(202);
    let at = path(&submitted);
    assert_eq!(answer.header("location"), at);
    assert_eq!(submitted["state"], "submitted");
    assert_eq!(submitted["variables"], json!({"password": "***", "region": "eu-1"}));

    let found = house.get(&at).await.ok(200);
    assert_eq!(found["waiting"]["for"], "worker");
    house.get(&format!("{at}/plan")).await.problem(409, "not_ready");
    house.get(&format!("{at}/outputs")).await.problem(409, "not_ready");

    house.plan().await;
    let found = house.get(&at).await.ok(200);
    assert_eq!(found["state"], "awaiting_approval");
    let plan = house.get(&format!("{at}/plan")).await.ok(200);
    let digest = plan["digest"].as_str().unwrap();
    assert_eq!(found["waiting"], json!({"for": "approval", "plan_digest": digest}));
    assert_eq!(plan["changes"][0]["before"], Value::Null);
    let text = house.get(&format!("{at}/plan?format=text")).await;
    assert!(text.header("content-type").starts_with("text/plain"));
    assert!(text.text().contains("+ null_resource.a"), "{}", text.text());

    let stale = json!({"plan_digest": "sha256:other"});
    house.post(&format!("{at}/approve"), &stale).await.problem(412, "plan_digest_mismatch");
    house.post(&format!("{at}/apply"), &json!({})).await.problem(409, "illegal_transition");
    let yes = json!({"plan_digest": digest, "comment": "looks good"});
    let approved = house.post(&format!("{at}/approve"), &yes).await.ok(200);
    assert_eq!(approved["state"], "approved");
    assert_eq!(approved["approval"]["comment"], "looks good");
    house.post(&format!("{at}/approve"), &yes).await.problem(409, "illegal_transition");

    house.apply().await;
    assert_eq!(house.get(&at).await.ok(200)["state"], "succeeded");
    let outputs = house.get(&format!("{at}/outputs")).await.ok(200);
    assert_eq!(outputs["items"][1]["value"], "***");
    let outputs = house.get(&format!("{at}/outputs?reveal=true")).await.ok(200);
    assert_eq!(outputs["items"][1]["value"], "s3cret");
    house.post(&format!("{at}/cancel"), &json!({})).await.problem(409, "illegal_transition");

    let stack = submitted["stack_id"].as_str().unwrap();
    let stack = house.get(&format!("/api/v1/stacks/{stack}")).await.ok(200);
    assert_eq!(stack["current_deployment"], submitted["id"]);
    assert_eq!(stack["project"], "shop");
    assert_eq!(
        stack["estimates"],
        json!({
            "plan": {"runs": 1, "p50_s": 1.5, "p95_s": 1.5, "peak_mb": 64},
            "apply": null,
        })
    );
    let history = format!("/api/v1/stacks/{}/deployments", stack["id"].as_str().unwrap());
    assert_eq!(house.get(&history).await.ok(200)["items"].as_array().unwrap().len(), 1);
    let none = house.get(&format!("{history}?state=failed")).await.ok(200);
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn a_plan_can_be_rejected_and_a_waiting_deployment_cancelled() {
    let house = House::new().await;
    let at = path(&house.submit(json!({})).await);
    let planned = house.plan().await;
    let no = json!({"plan_digest": planned.plan.unwrap().digest, "comment": "too much"});
    let rejected = house.post(&format!("{at}/reject"), &no).await.ok(200);
    assert_eq!(rejected["state"], "cancelled");
    assert_eq!(rejected["reason"], "plan rejected by local: too much");

    for body in [Body::empty(), Body::from(r#"{"reason": "changed my mind"}"#)] {
        let at = path(&house.submit(json!({})).await);
        let request = Request::post(format!("{at}/cancel"))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let answer = house.send(request).await;
        assert_eq!(answer.ok(202)["state"], "cancelled");
        assert_eq!(answer.header("location"), at);
    }
}

#[tokio::test]
async fn without_auto_apply_the_apply_is_started_by_hand_and_once() {
    let house = House::new().await;
    let at = path(&house.submit(json!({"auto_apply": false})).await);
    let planned = house.plan().await;
    let yes = json!({"plan_digest": planned.plan.unwrap().digest});
    let approved = house.post(&format!("{at}/approve"), &yes).await.ok(200);
    assert_eq!(approved["waiting"]["for"], "apply");
    let start = Request::post(format!("{at}/apply")).body(Body::empty()).unwrap();
    assert_eq!(house.send(start).await.ok(202)["state"], "approved");
    house.post(&format!("{at}/apply"), &json!({})).await.problem(409, "illegal_transition");
    assert_eq!(house.apply().await.state.as_str(), "succeeded");
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer() {
    let house = House::new().await;
    let with_key = |key: &str, body: &Value| {
        let mut request = posted("/api/v1/deployments", body);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        request
    };
    let first = house.send(with_key("k1", &submission())).await;
    let again = house.send(with_key("\"k1\"", &submission())).await;
    assert_eq!(first.ok(202), again.ok(202));
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        ("", "true")
    );
    assert_eq!(again.header("location"), first.header("location"));
    let mut other = submission();
    other["variables"]["region"] = json!("eu-2");
    house.send(with_key("k1", &other)).await.problem(422, "idempotency_key_reused");
    house.send(with_key(&"x".repeat(256), &other)).await.problem(422, "invalid_input");
    let mut twice = with_key("a", &other);
    twice.headers_mut().append("idempotency-key", "b".parse().unwrap());
    house.send(twice).await.problem(400, "malformed_request");
    let all = house.get("/api/v1/deployments").await.ok(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn lists_come_in_pages_with_a_link_to_the_next() {
    let house = House::new().await;
    for _ in 0..5 {
        house.submit(json!({})).await;
    }
    let mut next = "/api/v1/deployments?project=shop&limit=2".to_owned();
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let answer = house.get(&next).await;
        let page = answer.ok(200);
        for item in page["items"].as_array().unwrap() {
            seen.push(item["id"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else {
            assert_eq!(answer.header("link"), "");
            break;
        };
        let link = answer.header("link");
        assert!(link.contains(cursor) && link.contains("project=shop"), "{link}");
        let (target, relation) = link.split_once(">; ").unwrap();
        assert_eq!(relation, "rel=\"next\"");
        next = target.trim_start_matches('<').to_owned();
    }
    assert_eq!((pages, seen.len()), (3, 5));
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice: {seen:?}");
    for (filter, found) in [
        ("state=submitted", 5),
        ("state=failed", 0),
        ("project=other", 0),
        ("environment=dev", 5),
        ("stack_id=stk_00000000000000000000000000000000", 0),
    ] {
        let page = house.get(&format!("/api/v1/deployments?{filter}")).await.ok(200);
        assert_eq!(page["items"].as_array().unwrap().len(), found, "{filter}");
    }
    let stacks = house.get("/api/v1/stacks?name=network&environment=dev").await.ok(200);
    assert_eq!(stacks["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_reader_that_has_it_already_gets_304() {
    let house = House::new().await;
    let at = path(&house.submit(json!({})).await);
    let first = house.get(&at).await;
    let ask = || {
        let mut request = Request::get(&at).body(Body::empty()).unwrap();
        request.headers_mut().insert("if-none-match", first.header("etag").parse().unwrap());
        request
    };
    let second = house.send(ask()).await;
    assert_eq!((second.status.as_u16(), second.body.len()), (304, 0));
    house.plan().await;
    assert_eq!(house.send(ask()).await.ok(200)["state"], "awaiting_approval");
}

#[tokio::test]
async fn a_long_poll_ends_when_a_person_is_wanted() {
    let house = House::new().await;
    let at = path(&house.submit(json!({})).await);
    let started = std::time::Instant::now();
    let poll = format!("{at}?wait_s=30");
    let (found, ()) = tokio::join!(house.get(&poll), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        house.plan().await;
    });
    assert_eq!(found.ok(200)["state"], "awaiting_approval");
    assert!(started.elapsed().as_secs() < 10, "it was woken, not timed out");
    let polled = house.get(&poll).await.ok(200);
    assert_eq!(polled["state"], "awaiting_approval", "it does not wait for what is");
}

#[tokio::test]
async fn a_destroy_takes_the_source_of_what_runs() {
    let house = House::new().await;
    let destroy = json!({"stack": submission()["stack"], "operation": "destroy"});
    let nothing = house.post("/api/v1/deployments", &destroy).await;
    assert_eq!(nothing.problem(422, "invalid_input")["errors"][0]["pointer"], "/source");
    let at = path(&house.submit(json!({})).await);
    let digest = house.plan().await.plan.unwrap().digest;
    house.post(&format!("{at}/approve"), &json!({"plan_digest": digest})).await.ok(200);
    house.apply().await;
    let accepted = house.post("/api/v1/deployments", &destroy).await.ok(202);
    assert_eq!(accepted["operation"], "destroy");
    assert_eq!(accepted["source"], json!({"type": "template", "name": "tiny", "version": 1}));
    assert_eq!(accepted["variables"]["password"], "***");
}
