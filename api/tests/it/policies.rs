//! Policy packs and exemptions over HTTP.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use crate::house::{House, archive};

const AT: &str = "/api/v1/policies/mine/versions";
const GOOD: &str = "package user.mine\n\nimport rego.v1\n\ndeny contains \"no\" if false\n\ntest_it if count(deny) == 0\n";

fn upload(kind: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(AT).header(header::CONTENT_TYPE, kind).body(body.into()).unwrap()
}

fn modules(text: &str) -> Value {
    json!({"modules": [{"path": "mine.rego", "text": text}]})
}

#[tokio::test]
async fn a_pack_is_uploaded_seen_and_removed() {
    let house = House::new().await;
    let first = house.post(AT, &modules(GOOD)).await;
    let version = first.ok(201);
    assert_eq!((&version["version"], &version["tests_passed"]), (&json!(1), &json!(1)));
    assert_eq!(first.header("location"), "/api/v1/policies/mine/versions/1");
    assert_eq!(house.post(AT, &modules(GOOD)).await.ok(200), version);
    let packed = archive(&[("a.rego", GOOD), ("notes.md", "x")]);
    let second = house.send(upload("application/gzip", packed)).await.ok(201);
    assert_eq!(second["files"], json!(["a.rego"]));

    let all = house.get("/api/v1/policies").await.ok(200);
    assert_eq!(all["items"][0]["origin"], "built_in");
    assert_eq!(all["items"][1]["latest"], second);
    let shipped = house.get("/api/v1/policies/slipway%2Fterraform").await.ok(200);
    assert_eq!(shipped, all["items"][0]);
    let shipped = "/api/v1/policies/slipway%2Fterraform/versions";
    assert_eq!(house.get(&format!("{shipped}/0")).await.ok(200)["version"], 0);
    assert!(!house.get(&format!("{shipped}/0/source")).await.ok(200)["modules"].is_null());
    house.post(shipped, &modules(GOOD)).await.problem(409, "policy_in_use");
    assert_eq!(house.get(AT).await.ok(200)["items"].as_array().unwrap().len(), 2);
    let source = house.get(&format!("{AT}/1/source")).await.ok(200);
    assert_eq!(source, modules(GOOD));
    let remove = || Request::delete(format!("{AT}/1")).body(Body::empty()).unwrap();
    assert_eq!(house.send(remove()).await.status, 204);
    house.send(remove()).await.problem(404, "not_found");
    house.get(&format!("{AT}/1")).await.problem(404, "not_found");
    house.get(&format!("{AT}/x")).await.problem(404, "not_found");
    house.get("/api/v1/policies/other").await.problem(404, "not_found");
}

#[tokio::test]
async fn packs_that_are_refused() {
    let house = House::new().await;
    let broken = "package user.mine\n\nimport rego.v1\n\ndeny contains x if {\n\tx := http.send({\"method\": \"get\", \"url\": \"http://h\"})\n}\n\ntest_no if false\n";
    let mut problem = house.post(AT, &modules(broken)).await.problem(422, "invalid_policy");
    for unsteady in ["request_id", "trace_id"] {
        problem.as_object_mut().unwrap().remove(unsteady);
    }
    insta::assert_json_snapshot!("policy_refused", problem);
    let out = archive(&[("a.rego", &"#".repeat(8 << 20))]);
    house.send(upload("application/gzip", out)).await.problem(422, "unsafe_archive");
    house.send(upload("application/gzip", "x")).await.problem(422, "unsafe_archive");
    house.send(upload("application/zip", "PK")).await.problem(415, "unsupported_media_type");
    house.send(upload("application/json", "{")).await.problem(400, "malformed_request");
    let large = modules(&"x".repeat(10 << 20)).to_string();
    house.send(upload("application/json", large)).await.problem(413, "too_large");
    let large = vec![0_u8; 3 << 20];
    house.send(upload("application/gzip", large)).await.problem(413, "too_large");
    let path = json!({"modules": [{"path": "../a.rego", "text": ""}]});
    let problem = house.post(AT, &path).await.problem(422, "invalid_input");
    assert_eq!(problem["errors"][0]["pointer"], "/modules/0/path");
    assert_eq!(house.get("/api/v1/policies").await.ok(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_pack_is_tried_on_past_plans() {
    let house = House::new().await;
    let deployment = house.submit(json!({})).await;
    let body = json!({"pack": {"name": "slipway/terraform"}, "deployments": [deployment["id"]]});
    let run = house.post("/api/v1/policies/dry-run", &body).await.ok(200);
    assert_eq!(run["results"], json!([]));
    assert_eq!(run["skipped"][0]["deployment_id"], deployment["id"]);
    let neither = house.post("/api/v1/policies/dry-run", &json!({})).await;
    let problem = neither.problem(422, "invalid_input");
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, ["/pack", "/deployments"]);
}

#[tokio::test]
async fn an_exemption_is_granted_and_revoked() {
    let house = House::new().await;
    let at = "/api/v1/exemptions";
    let body = json!({"rule": "CKV_AWS_20", "address": "aws_s3_bucket.*", "project": "shop",
        "environment": "dev", "reason": "a page that everybody may read", "owner": "web",
        "expires_at": "2026-03-01T00:00:00Z"});
    let granted = house.post(at, &body).await;
    let exemption = granted.ok(201);
    let one = granted.header("location").to_owned();
    assert_eq!(house.get(&one).await.ok(200), exemption);
    let listed = |query: &str| format!("{at}?{query}");
    for (query, count) in
        [("state=active", 1), ("state=revoked", 0), ("project=shop&owner=web", 1), ("rule=x", 0)]
    {
        let page = house.get(&listed(query)).await.ok(200);
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
    }
    house.get(&listed("state=gone")).await.problem(422, "invalid_input");
    let mut long = body.clone();
    long["expires_at"] = "2028-01-01T00:00:00Z".into();
    long["rule"] = "*".into();
    long["reason"] = "short".into();
    let problem = house.post(at, &long).await.problem(422, "invalid_input");
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, ["/rule", "/reason", "/expires_at"]);
    let revoked = house.post(&format!("{one}/revoke"), &json!({"reason": "fixed"})).await.ok(200);
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(house.get(&listed("state=revoked")).await.ok(200)["items"], json!([revoked]));
}
