//! The state backend at its door: Terraform's protocol byte for byte, and what people do beside it.

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};
use slipway_api::ApiOptions;

use crate::house::{Answer, House, path};

/// A stack's state, at the door.
struct Backend {
    house: House,
    url: String,
}

fn state(lineage: &str, serial: i64, note: &str) -> String {
    json!({"version": 4, "lineage": lineage, "serial": serial, "outputs": {}, "resources": [
        {"mode": "managed", "type": "t", "name": "n", "instances": [
            {"attributes": {"note": note, "db_password": "hunter2"}}]}]})
    .to_string()
}

fn lock(id: &str) -> String {
    json!({"ID": id, "Operation": "OperationTypeApply", "Info": "", "Who": "ann@laptop",
        "Version": "1.11.4", "Created": "2026-01-01T00:00:00.123Z", "Path": ""})
    .to_string()
}

impl Backend {
    async fn new() -> Self {
        Self::with(ApiOptions::default()).await
    }

    async fn with(options: ApiOptions) -> Self {
        let house = House::with(options).await;
        let deployment = house.submit(json!({})).await;
        let url = format!("/api/v1/stacks/{}/state", deployment["stack_id"].as_str().unwrap());
        Self { house, url }
    }

    async fn send(&self, method: &str, below: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{}{below}", self.url))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .unwrap();
        self.house.send(request).await
    }

    async fn get(&self, below: &str) -> Answer {
        self.house.get(&format!("{}{below}", self.url)).await
    }

    /// Writes a state as Terraform does.
    async fn put(&self, content: String) {
        assert_eq!(self.send("LOCK", "", lock("put")).await.status, 200);
        self.send("POST", "?ID=put", content).await.ok(200);
        assert_eq!(self.send("UNLOCK", "", lock("put")).await.status, 200);
    }
}

#[tokio::test]
async fn terraform_finds_what_it_expects() {
    let backend = Backend::new().await;
    let none = backend.get("").await;
    assert_eq!((none.status.as_u16(), none.body.len()), (204, 0));
    let taken = backend.send("LOCK", "", lock("l1")).await.ok(200);
    assert_eq!(taken["ID"], "l1");
    let first = state("line", 1, "é \u{1F600}");
    assert_eq!(backend.send("POST", "?ID=l1", first.clone()).await.ok(200)["version"], 1);
    let again = backend.send("POST", "?ID=l1", first.clone()).await.ok(200);
    assert_eq!(again, json!({}), "an answer was lost");
    let read = backend.get("").await;
    assert_eq!((read.status.as_u16(), read.text()), (200, first));
    assert_eq!(read.header("content-type"), "application/json");
    assert_eq!(read.header("cache-control"), "no-store");

    // Whoever is refused is told who holds it, where Terraform looks for it.
    let refused = backend.send("LOCK", "", lock("l2")).await;
    let problem = refused.problem(423, "state_locked");
    assert_eq!((&problem["ID"], &problem["Who"]), (&json!("l1"), &json!("ann@laptop")));
    assert_eq!(problem["Created"], "2026-01-01T00:00:00.123Z");
    assert!(problem["detail"].as_str().unwrap().contains("ann@laptop"), "{problem}");
    let other = backend.send("POST", "?ID=l2", state("line", 2, "x")).await;
    let problem = other.problem(423, "state_locked");
    assert_eq!(problem["ID"], "l1");
    assert!(problem["detail"].as_str().unwrap().contains("orphan orp_"), "{problem}");
    backend.send("UNLOCK", "", lock("l2")).await.problem(423, "state_locked");
    backend.send("UNLOCK", "", lock("l1")).await;
    assert_eq!(backend.send("UNLOCK", "", lock("l1")).await.status, 200, "an answer was lost");
    let late = backend.send("POST", "?ID=l1", state("line", 3, "late")).await;
    assert!(late.problem(409, "state_refused")["ID"].is_null(), "nobody holds it");
    assert_eq!(backend.get("/orphans").await.ok(200)["items"].as_array().unwrap().len(), 2);

    // `force-unlock` sends no body.
    backend.send("LOCK", "", lock("l3")).await.ok(200);
    assert_eq!(backend.send("UNLOCK", "", Body::empty()).await.status, 200);
    assert_eq!(backend.get("/lock").await.ok(200), json!({"locked": false}));
}

#[tokio::test]
async fn what_does_not_follow_is_refused_and_kept() {
    let backend = Backend::new().await;
    backend.put(state("line", 5, "a")).await;
    backend.send("LOCK", "", lock("l")).await.ok(200);
    for content in [state("other", 6, "b"), state("line", 5, "c"), state("line", 4, "d")] {
        backend.send("POST", "?ID=l", content).await.problem(409, "state_refused");
    }
    let orphans = backend.get("/orphans").await.ok(200);
    let reasons: Vec<_> =
        orphans["items"].as_array().unwrap().iter().map(|o| o["reason"].clone()).collect();
    assert_eq!(reasons, ["old_serial", "old_serial", "other_lineage"]);
    backend.send("POST", "?ID=l", "{}").await.problem(422, "invalid_input");
    backend.send("POST", "?ID=l", "{").await.problem(422, "invalid_input");
    backend.send("DELETE", "", Body::empty()).await.problem(409, "state_refused");
    assert_eq!(backend.get("").await.text(), state("line", 5, "a"));
}

#[tokio::test]
async fn requests_that_are_not_well_formed_change_nothing() {
    let options = ApiOptions { max_state_bytes: 1000, ..ApiOptions::default() };
    let backend = Backend::with(options).await;
    assert_eq!(backend.send("DELETE", "", Body::empty()).await.status, 200, "there is none");
    for (body, status, code) in [
        (String::new(), 422, "invalid_input"),
        ("{".to_owned(), 400, "malformed_request"),
        ("{}".to_owned(), 422, "invalid_input"),
        ("x".repeat(20_000), 413, "too_large"),
    ] {
        let method = if body.is_empty() { "PUT" } else { "LOCK" };
        let at = if body.is_empty() { "/lock" } else { "" };
        let answer = backend.send(method, at, body.clone()).await;
        let got = (answer.status.as_u16(), answer.json()["code"].clone());
        if body.is_empty() {
            assert!(got.0 == 400 || got.0 == status, "{got:?}");
        } else {
            assert_eq!(got, (status, json!(code)), "{body:.20}");
        }
    }
    backend.send("LOCK", "", lock("l")).await.ok(200);
    let large = state("line", 1, &"x".repeat(1000));
    backend.send("POST", "?ID=l", large).await.problem(413, "too_large");
    backend.send("POST", "?ID=l&x=1", state("line", 1, "a")).await.problem(422, "invalid_input");
    let typed = Request::post(format!("{}?ID=l", backend.url))
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from(state("line", 1, "a")));
    backend.house.send(typed.unwrap()).await.problem(415, "unsupported_media_type");
    for (md5, status) in [("1B2M2Y8AsgTpgAmY7PhCfg==", 400), ("?", 400), ("", 400)] {
        let damaged = Request::post(format!("{}?ID=l", backend.url))
            .header(header::CONTENT_TYPE, "application/json")
            .header("content-md5", md5)
            .body(Body::from(state("line", 1, "a")));
        let answer = backend.house.send(damaged.unwrap()).await;
        answer.problem(status, "malformed_request");
    }
    assert_eq!(backend.get("").await.status, 204);
    // MD5 of `{"version":4,"lineage":"l","serial":1}`
    let whole = Request::post(format!("{}?ID=l", backend.url))
        .header(header::CONTENT_TYPE, "application/json")
        .header("content-md5", "pT8QQh1Xjrxob6hqe7ZE9Q==")
        .body(Body::from(r#"{"version":4,"lineage":"l","serial":1}"#));
    let answer = backend.house.send(whole.unwrap()).await;
    assert_eq!(answer.ok(200)["version"], 1);
    for method in ["PUT", "PATCH", "MKCOL", "lock"] {
        let answer = backend.send(method, "", Body::empty()).await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "GET,HEAD,POST,DELETE,LOCK,UNLOCK", "{method}");
    }
    let nowhere = "/api/v1/stacks/stk_00000000000000000000000000000000/state";
    for method in ["GET", "LOCK", "UNLOCK", "DELETE"] {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(nowhere)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(if method == "LOCK" { lock("l") } else { String::new() }));
        backend.house.send(request.unwrap()).await.problem(404, "not_found");
    }
    for below in ["/versions/0", "/versions/x", "/versions/99", "/orphans/x/download"] {
        backend.get(below).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_any_are_refused() {
    let backend = Backend::new().await;
    let with = async |value: &str| {
        let request = Request::get(&backend.url).header(header::AUTHORIZATION, value);
        backend.house.send(request.body(Body::empty()).unwrap()).await
    };
    for value in ["Basic YW5uOnRva2Vu", "Bearer token"] {
        assert_eq!(with(value).await.status, 204, "{value}");
    }
    for value in ["Basic YW5uOg==", "Basic hunter2", "Digest hunter2", "Bearer "] {
        let answer = with(value).await;
        let problem = answer.problem(401, "unauthenticated");
        let schemes: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(schemes, ["Bearer realm=\"slipway\"", "Basic realm=\"slipway\""]);
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}

#[tokio::test]
async fn a_proxy_may_know_no_such_methods() {
    let backend = Backend::new().await;
    backend.send("PUT", "/lock", lock("l")).await.ok(200);
    let shown = backend.get("/lock").await.ok(200);
    assert_eq!((&shown["locked"], &shown["lock"]["Who"]), (&json!(true), &json!("ann@laptop")));
    assert_eq!(shown["held_by"]["id"], "local");
    backend.send("PUT", "/lock", lock("m")).await.problem(423, "state_locked");
    backend.send("DELETE", "/lock", lock("m")).await.problem(423, "state_locked");
    assert_eq!(backend.send("DELETE", "/lock", lock("l")).await.status, 200);
    backend.send("PUT", "/lock", lock("l")).await.ok(200);
    let body = json!({"lock_id": "m", "reason": "gone"}).to_string();
    backend.send("POST", "/unlock", body).await.problem(423, "state_locked");
    let body = json!({"lock_id": "l", "reason": "gone"}).to_string();
    assert_eq!(backend.send("POST", "/unlock", body).await.ok(200), json!({"released": true}));
    let again = backend.send("POST", "/unlock", Body::empty()).await.ok(200);
    assert_eq!(again, json!({"released": false}));
}

#[tokio::test]
async fn nobody_writes_while_a_deployment_is_applied() {
    let house = House::new().await;
    let deployment = house.submit(json!({})).await;
    house.plan().await;
    let plan = house.get(&format!("{}/plan", path(&deployment))).await.ok(200);
    let digest = json!({"plan_digest": plan["digest"]});
    house.post(&format!("{}/approve", path(&deployment)), &digest).await.ok(200);
    let url = format!("/api/v1/stacks/{}/state", deployment["stack_id"].as_str().unwrap());
    let backend = Backend { house, url };
    backend.house.begin_apply().await;
    let problem = backend.send("LOCK", "", lock("l")).await.problem(423, "state_locked");
    assert_eq!(problem["ID"], deployment["id"]);
    assert_eq!((&problem["Who"], &problem["Operation"]), (&json!("slipway"), &json!("apply")));
    let answer = backend.send("POST", "/import", state("line", 1, "a")).await;
    answer.problem(423, "state_locked");
    assert_eq!(backend.get("/lock").await.ok(200)["applying"], deployment["id"]);
}

#[tokio::test]
async fn versions_are_listed_compared_and_put_back() {
    let backend = Backend::new().await;
    backend.get("/diff").await.problem(409, "not_ready");
    for serial in 1..=3 {
        backend.put(state("line", serial, &format!("v{serial}"))).await;
    }
    let page = backend.get("/versions?limit=2").await;
    let items = page.ok(200)["items"].clone();
    assert_eq!((&items[0]["version"], &items[1]["serial"]), (&json!(3), &json!(2)));
    let next = page.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    let rest = backend.house.get(&next).await.ok(200);
    assert_eq!(rest["items"][0]["version"], 1);
    assert!(rest["next_cursor"].is_null());
    backend.get("/versions?limit=0").await.problem(422, "invalid_input");
    let one = backend.get("/versions/2").await.ok(200);
    assert_eq!((&one["origin"], &one["resource_count"]), (&json!("backend"), &json!(1)));
    let old = backend.get("/versions/2/download").await;
    assert_eq!(old.text(), state("line", 2, "v2"));

    let diff = backend.get("/diff?from=1&to=3").await.ok(200);
    let attribute =
        json!({"path": "/note", "difference": "changed", "before": "v1", "after": "v3"});
    assert_eq!(diff["resources"][0]["attributes"], json!([attribute]));
    assert_eq!(backend.get("/diff").await.ok(200)["from"], 2);
    backend.get("/diff?from=9").await.problem(404, "not_found");
    backend.get("/diff?from=x").await.problem(422, "invalid_input");

    let restore = async |version: u32, serial: i64| {
        let body = json!({"current_serial": serial}).to_string();
        backend.send("POST", &format!("/versions/{version}/restore"), body).await
    };
    restore(1, 2).await.problem(409, "conflict");
    backend.send("POST", "/versions/1/restore", "{}").await.problem(422, "invalid_input");
    let back = restore(1, 3).await.ok(200);
    assert_eq!((&back["version"], &back["serial"]), (&json!(4), &json!(4)));
    assert_eq!((&back["restored_from"], &back["origin"]), (&json!(1), &json!("restore")));
    assert_eq!(
        backend.get("").await.json()["resources"][0]["instances"][0]["attributes"]["note"],
        "v1"
    );
}

#[tokio::test]
async fn a_state_is_imported_and_an_orphan_adopted_or_dropped() {
    let backend = Backend::new().await;
    let first = state("elsewhere", 8, "a");
    let kept = backend.send("POST", "/import", first.clone()).await.ok(200);
    assert_eq!((&kept["origin"], &kept["serial"]), (&json!("import"), &json!(8)));
    assert_eq!(backend.send("POST", "/import", first).await.ok(200), kept);
    let other = state("new", 1, "b");
    backend.send("POST", "/import", other.clone()).await.problem(409, "conflict");
    let over = backend.send("POST", "/import?current_serial=8", other).await.ok(200);
    assert_eq!((&over["serial"], &over["lineage"]), (&json!(9), &json!("elsewhere")));

    for content in [state("lost", 3, "c"), state("lost", 4, "d")] {
        backend.send("POST", "?ID=x", content).await.problem(409, "state_refused");
    }
    let orphans = backend.get("/orphans").await.ok(200)["items"].clone();
    let at = |i: usize| format!("/orphans/{}", orphans[i]["id"].as_str().unwrap());
    let read = backend.get(&format!("{}/download", at(1))).await;
    assert_eq!(read.text(), state("lost", 3, "c"));
    let adopt = async |i: usize, body: Value| {
        backend.send("POST", &format!("{}/adopt", at(i)), body.to_string()).await
    };
    adopt(1, json!({})).await.problem(409, "conflict");
    let adopted = adopt(1, json!({"current_serial": 9})).await.ok(200);
    assert_eq!((&adopted["serial"], &adopted["origin"]), (&json!(10), &json!("adopt")));
    assert_eq!(backend.send("DELETE", &at(0), Body::empty()).await.status, 204);
    backend.send("DELETE", &at(0), Body::empty()).await.problem(404, "not_found");
    assert_eq!(backend.get("/orphans").await.ok(200)["items"], json!([]));
}
