//! The central configuration over HTTP: tags, preconditions, what is refused, what is never shown.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use crate::house::{Answer, House, posted};

const AT: &str = "/api/v1/config";

async fn changed(
    house: &House,
    method: &str,
    path: &str,
    tag: Option<&str>,
    body: Value,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(tag) = tag {
        request = request.header(header::IF_MATCH, tag);
    }
    house.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn steady(mut problem: Value) -> Value {
    for unsteady in ["request_id", "trace_id", "instance"] {
        problem.as_object_mut().unwrap().remove(unsteady);
    }
    problem
}

#[tokio::test]
async fn a_setting_is_made_changed_rolled_back_and_deleted_by_its_tag() {
    let house = House::new().await;
    let request = json!({"key": "db.pool", "scope": {"project": "shop"}, "type": "number",
        "value": 5, "schema": {"maximum": 10}});
    let made = house.post(AT, &request).await;
    let setting = made.ok(201);
    let path = format!("{AT}/{}", setting["id"].as_str().unwrap());
    assert_eq!((made.header("location"), made.header("etag")), (path.as_str(), "\"1\""));
    house.post(AT, &request).await.problem(409, "conflict");

    let got = house.get(&path).await;
    assert_eq!(got.header("etag"), "\"1\"");
    assert_eq!(got.ok(200), setting);
    let known = Request::get(&path).header(header::IF_NONE_MATCH, "\"1\"").body(Body::empty());
    assert_eq!(house.send(known.unwrap()).await.status, 304);

    let six = json!({"value": 6});
    let without = changed(&house, "PUT", &path, None, six.clone()).await;
    insta::assert_json_snapshot!(
        "setting_without_tag",
        steady(without.problem(428, "precondition_required"))
    );
    changed(&house, "PUT", &path, Some("\"4\""), six.clone())
        .await
        .problem(412, "precondition_failed");
    changed(&house, "PUT", &path, Some("W/\"1\""), six.clone()).await.problem(422, "invalid_input");
    let second = changed(&house, "PUT", &path, Some("\"1\""), six).await;
    assert_eq!(second.header("etag"), "\"2\"");
    let unfit = json!({"value": 60, "schema": {"maximum": 10}});
    let unfit = changed(&house, "PUT", &path, Some("*"), unfit).await.problem(422, "invalid_input");
    assert_eq!(unfit["errors"][0]["pointer"], "/value");

    let diff = house.get(&format!("{path}/diff")).await.ok(200);
    assert_eq!(diff["changes"][0], json!({"pointer": "/value", "before": 5, "after": 6}));
    let back = format!("{path}/rollback");
    let first = json!({"to_version": 1});
    changed(&house, "POST", &back, None, first.clone()).await.problem(428, "precondition_required");
    let third = changed(&house, "POST", &back, Some("\"2\""), first.clone()).await;
    assert_eq!((third.ok(200)["value"].clone(), third.header("etag")), (json!(5), "\"3\""));
    changed(&house, "DELETE", &path, None, json!({})).await.problem(428, "precondition_required");
    assert_eq!(changed(&house, "DELETE", &path, Some("\"3\""), json!({})).await.status, 204);
    let gone = house.get(&path).await.problem(404, "not_found");
    assert!(gone["detail"].as_str().unwrap().contains("/versions"), "{gone}");
    let versions = house.get(&format!("{path}/versions?limit=3")).await;
    let actions: Vec<_> = versions.ok(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["deleted", "rolled_back", "updated"]);
    let next = versions.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(house.get(&next).await.ok(200)["items"][0]["version"], 1);
    assert_eq!(changed(&house, "POST", &back, Some("\"4\""), first).await.ok(200)["version"], 5);
}

#[tokio::test]
async fn a_secret_is_masked_but_where_it_is_revealed() {
    let house = House::new().await;
    let request = json!({"key": "db.password", "type": "secret", "value": "hunter2-of-the-door"});
    let idempotent = || {
        let mut request = posted(AT, &request);
        request.headers_mut().insert("idempotency-key", "one".parse().unwrap());
        request
    };
    let made = house.send(idempotent()).await;
    let again = house.send(idempotent()).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(made.ok(201), again.ok(201));
    let path = format!("{AT}/{}", made.json()["id"].as_str().unwrap());
    let mut shown = made.text() + &again.text();
    for path in [
        AT.to_owned(),
        path.clone(),
        format!("{path}/versions"),
        format!("{path}/diff"),
        format!("{path}/audit"),
        format!("{AT}/resolve"),
    ] {
        let answer = house.get(&path).await;
        answer.ok(200);
        shown += &answer.text();
    }
    assert!(!shown.contains("hunter2"), "{shown}");
    let reveal = format!("{path}/reveal");
    let silent = house.post(&reveal, &json!({"reason": ""})).await.problem(422, "invalid_input");
    assert_eq!(silent["errors"][0]["pointer"], "/reason");
    let revealed = house.post(&reveal, &json!({"reason": "the test"})).await;
    assert_eq!(revealed.ok(200)["value"], "hunter2-of-the-door");
    assert_eq!(revealed.header("cache-control"), "no-store");
    let audit = house.get(&format!("{path}/audit")).await.ok(200);
    assert_eq!(audit["items"][0]["action"], "setting.reveal");
    assert_eq!(audit["items"][0]["detail"]["reason"], "the test");
    let rotated = house.post(&format!("{path}/rotate"), &json!({})).await.ok(200);
    assert_eq!((&rotated["versions"], &rotated["rewrapped"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn what_holds_is_answered_with_a_tag_and_says_where_it_is_from() {
    let house = House::new().await;
    for (scope, value) in [(json!({}), 1), (json!({"environment": "prod"}), 2)] {
        let request = json!({"key": "k", "scope": scope, "type": "number", "value": value});
        house.post(AT, &request).await.ok(201);
    }
    let held = house.get(&format!("{AT}/resolve?environment=prod")).await;
    let settings = &held.ok(200)["settings"];
    assert_eq!(settings[0]["value"], 2);
    assert_eq!(settings[0]["scope"], json!({"environment": "prod"}));
    assert_eq!(settings[0]["shadows"][0]["scope"], json!({}));
    let known = || {
        Request::get(format!("{AT}/resolve?environment=prod"))
            .header(header::IF_NONE_MATCH, held.header("etag"))
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(house.send(known()).await.status, 304);
    let other = json!({"key": "other", "type": "bool", "value": true});
    house.post(AT, &other).await.ok(201);
    assert_eq!(house.send(known()).await.status, 200);
    let lone = house.get(&format!("{AT}/resolve?service=web")).await;
    assert_eq!(lone.problem(422, "invalid_input")["errors"][0]["pointer"], "/service");
}

#[tokio::test]
async fn settings_that_are_refused() {
    let house = House::new().await;
    let bad = json!({"key": "a..b", "scope": {"service": "web"}, "type": "json", "value": null});
    let problem = house.post(AT, &bad).await.problem(422, "invalid_input");
    insta::assert_json_snapshot!("setting_refused", steady(problem));
    let schema = json!({"key": "k", "type": "string", "value": "x",
        "schema": {"$ref": "https://example.com/schema.json"}});
    let problem = house.post(AT, &schema).await.problem(422, "invalid_input");
    insta::assert_json_snapshot!("setting_remote_schema", steady(problem));
    let surplus = json!({"key": "k", "type": "string", "value": "x", "version": 7});
    house.post(AT, &surplus).await.problem(422, "invalid_input");
    house.get(&format!("{AT}/set_x")).await.problem(404, "not_found");
    let submission = json!({
        "stack": {"project": "shop", "name": "net", "environment": "dev"},
        "source": {"type": "template", "name": "tiny"},
        "variables": {"region": "${secret.nowhere}"}
    });
    let problem =
        house.post("/api/v1/deployments", &submission).await.problem(422, "invalid_input");
    insta::assert_json_snapshot!("setting_unknown_in_deployment", steady(problem));
}
