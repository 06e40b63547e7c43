//! Every kind of refusal, as a snapshot of its whole body.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use slipway_api::ApiOptions;

use crate::house::{Answer, House, archive, path, posted, submission};

/// The problem without what differs from run to run.
fn steady(answer: &Answer) -> Value {
    let mut problem = answer.json();
    assert_eq!(answer.header("content-type"), "application/problem+json", "{problem}");
    assert_eq!(problem["status"], answer.status.as_u16());
    assert!(problem["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{problem}");
    let fields = problem.as_object_mut().unwrap();
    fields.remove("request_id");
    fields.remove("trace_id");
    // The library grows.
    let text = problem.to_string();
    if text.contains("known are ") {
        let short = |text: &str| match text.split_once("known are ") {
            Some((before, _)) => json!(format!("{before}known are …")),
            None => json!(text),
        };
        problem["detail"] = short(problem["detail"].as_str().unwrap());
        let detail = short(problem["errors"][0]["detail"].as_str().unwrap());
        problem["errors"][0]["detail"] = detail;
    }
    problem
}

fn raw(path: &str, kind: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, kind)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = submission();
    change(&mut body);
    body
}

#[tokio::test]
async fn requests_that_cannot_be_read() {
    let options = ApiOptions { max_body_bytes: 2000, ..ApiOptions::default() };
    let house = House::with(options).await;
    let to = "/api/v1/deployments";
    let json = "application/json";
    let cases = [
        ("malformed_json", raw(to, json, "{\n \"stack\": ")),
        ("trailing_text", raw(to, json, "{} {}")),
        ("empty_body", raw(to, json, "")),
        ("content_type", raw(to, "text/plain", "{}")),
        ("no_content_type", Request::post(to).body(Body::from("{}")).unwrap()),
        ("too_large", raw(to, json, &format!("\"{}\"", "x".repeat(2000)))),
        ("no_boundary", raw(to, "multipart/form-data", "x")),
        ("broken_multipart", raw(to, "multipart/form-data; boundary=b", "--b\r\nnonsense")),
    ];
    for (name, request) in cases {
        insta::assert_json_snapshot!(name, steady(&house.send(request).await));
    }
}

#[tokio::test]
async fn fields_that_are_not_valid() {
    let house = House::new().await;
    let cases: Vec<(&str, Value)> = vec![
        ("not_an_object", json!([])),
        ("stack_missing", json!({})),
        ("wrong_type", changed(|b| b["options"] = json!({"expires_in_s": "soon"}))),
        ("out_of_range", changed(|b| b["options"] = json!({"expires_in_s": 1}))),
        ("unknown_field", changed(|b| b["state"] = json!("succeeded"))),
        ("unknown_option", changed(|b| b["options"] = json!({"auto_aply": true}))),
        (
            "bad_names",
            changed(|b| {
                b["stack"] = json!({"project": "Shop", "name": "../etc", "environment": ""});
            }),
        ),
        ("source_missing", changed(|b| b["source"] = Value::Null)),
        ("unknown_template", changed(|b| b["source"]["name"] = json!("nope"))),
        ("unknown_source", changed(|b| b["source"] = json!({"type": "carrier_pigeon"}))),
        ("source_with_surplus", changed(|b| b["source"]["path"] = json!("x"))),
        (
            "path_out_of_tree",
            changed(|b| b["source"] = json!({"type": "git", "url": "https://h/r", "path": "../x"})),
        ),
        (
            "git_option",
            changed(|b| b["source"] = json!({"type": "git", "url": "--upload-pack=id"})),
        ),
        ("git_file", changed(|b| b["source"] = json!({"type": "git", "url": "file:///srv/r"}))),
        ("directory", changed(|b| b["source"] = json!({"type": "directory", "path": "/etc"}))),
        (
            "unknown_artifact",
            changed(|b| {
                b["source"] = json!({"type": "archive", "artifact_id": "art_00000000000000000000000000000000"});
            }),
        ),
        (
            "bad_artifact_id",
            changed(|b| b["source"] = json!({"type": "archive", "artifact_id": "dep_0"})),
        ),
        ("unknown_variable", changed(|b| b["variables"]["colour"] = json!("red"))),
        ("missing_variable", changed(|b| b["variables"] = json!({}))),
    ];
    for (name, body) in cases {
        let answer = house.post("/api/v1/deployments", &body).await;
        insta::assert_json_snapshot!(name, steady(&answer));
    }
    assert_eq!(house.get("/api/v1/deployments").await.ok(200)["items"], json!([]));
    assert_eq!(house.get("/api/v1/stacks").await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn archives_that_are_refused() {
    let house = House::new().await;
    let upload = |body: axum::body::Bytes| {
        Request::post("/api/v1/artifacts")
            .header(header::CONTENT_TYPE, "application/gzip")
            .body(Body::from(body))
            .unwrap()
    };
    let zeros = "\0".repeat(2 << 20);
    let cases = [
        ("not_gzip", upload("hello".into())),
        ("archive_bomb", upload(archive(&[("a", &zeros)]))),
        ("archive_empty", upload(archive(&[]))),
        ("archive_content_type", raw("/api/v1/artifacts", "application/zip", "x")),
    ];
    for (name, request) in cases {
        insta::assert_json_snapshot!(name, steady(&house.send(request).await));
    }
    let broken = archive(&[("main.tf", "ok\n!!\n")]);
    let kept = house.send(upload(broken)).await.ok(201);
    let body = changed(|b| b["source"] = json!({"type": "archive", "artifact_id": kept["id"]}));
    let answer = house.post("/api/v1/deployments", &body).await;
    insta::assert_json_snapshot!("configuration", steady(&answer));
}

#[tokio::test]
async fn paths_and_queries_that_lead_nowhere() {
    let house = House::new().await;
    for (name, path) in [
        ("no_route", "/api/v1/nothing"),
        ("trailing_slash", "/api/v1/deployments/"),
        ("unknown_deployment", "/api/v1/deployments/dep_00000000000000000000000000000000"),
        ("other_kind_of_id", "/api/v1/deployments/stk_00000000000000000000000000000000"),
        ("id_not_utf8", "/api/v1/deployments/%ff"),
        ("unknown_stack", "/api/v1/stacks/stk_00000000000000000000000000000000/deployments"),
        ("unknown_template_page", "/api/v1/templates/nope"),
        ("unknown_parameter", "/api/v1/deployments?colour=red"),
        ("repeated_parameter", "/api/v1/deployments?limit=1&limit=2"),
        ("ill_typed_parameter", "/api/v1/deployments?limit=many"),
        ("limit_out_of_range", "/api/v1/deployments?limit=1000"),
        ("unknown_state", "/api/v1/deployments?state=happy"),
        ("bad_cursor", "/api/v1/deployments?cursor=zzz"),
        ("bad_project", "/api/v1/deployments?project=%00"),
        ("parameter_where_none_is", "/api/v1/templates?x=1"),
        ("wait_too_long", "/api/v1/deployments/dep_00000000000000000000000000000000?wait_s=61"),
        (
            "tail_and_after",
            "/api/v1/deployments/dep_00000000000000000000000000000000/logs?tail=1&after=1",
        ),
        (
            "negative_after",
            "/api/v1/deployments/dep_00000000000000000000000000000000/events?after=-1",
        ),
        ("unknown_problem", "/problems/nothing"),
    ] {
        insta::assert_json_snapshot!(name, steady(&house.get(path).await));
    }
    let answer = house.request("DELETE", "/api/v1/deployments").await;
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    insta::assert_json_snapshot!("method", steady(&answer));
}

#[tokio::test]
async fn decisions_that_come_too_late_or_name_something_else() {
    let house = House::new().await;
    let at = path(&house.submit(json!({})).await);
    let digest = json!({"plan_digest": "sha256:0"});
    let early = house.post(&format!("{at}/approve"), &digest).await;
    insta::assert_json_snapshot!("approve_before_plan", steady(&early));
    house.plan().await;
    let other = house.post(&format!("{at}/approve"), &digest).await;
    let mut problem = steady(&other);
    // The digest of the plan is keyed with this run's key.
    let detail = problem["detail"].as_str().unwrap();
    let (before, after) = detail.split_once("sha256:").unwrap();
    problem["detail"] = json!(format!("{before}sha256:…{}", &after[64..]));
    insta::assert_json_snapshot!("approve_other_plan", problem);
    for (name, body) in [
        ("decision_empty", json!({})),
        ("decision_unknown_field", json!({"plan_digest": "x", "approved_by": "root"})),
        ("decision_long", json!({"plan_digest": "x", "comment": "x".repeat(2001)})),
    ] {
        let answer = house.post(&format!("{at}/approve"), &body).await;
        insta::assert_json_snapshot!(name, steady(&answer));
    }
    let surplus = house.send(posted(&format!("{at}/apply"), &json!({"now": true}))).await;
    insta::assert_json_snapshot!("apply_with_surplus", steady(&surplus));
    house.post(&format!("{at}/cancel"), &json!({})).await.ok(202);
    let late = house.post(&format!("{at}/approve"), &digest).await;
    insta::assert_json_snapshot!("approve_after_cancel", steady(&late));
}
