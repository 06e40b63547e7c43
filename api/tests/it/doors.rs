//! What holds for every route: hosts, origins, request ids, traces, headers, limits, faults of
//! ours.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;
use slipway_api::ApiOptions;

use crate::house::{House, path, posted, submission};

fn to_host(host: &str) -> Request<Body> {
    Request::get("/api/v1/stacks").header(header::HOST, host).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn only_our_own_hosts_are_answered() {
    let allowed_hosts = BTreeSet::from(["slipway.example".to_owned()]);
    let house = House::with(ApiOptions { allowed_hosts, ..ApiOptions::default() }).await;
    for host in ["localhost", "localhost:1", "127.0.0.1:8000", "[::1]:8000", "slipway.example"] {
        house.send(to_host(host)).await.ok(200);
    }
    for host in ["evil.example", "localhost.evil.example:8000", "", "10.0.0.1"] {
        house.send(to_host(host)).await.problem(421, "misdirected_request");
    }
    let mut two = to_host("localhost");
    two.headers_mut().append(header::HOST, "evil.example".parse().unwrap());
    house.send(two).await.problem(421, "misdirected_request");
    let probe = Request::get("/livez").header(header::HOST, "10.0.0.1:8000");
    house.send(probe.body(Body::empty()).unwrap()).await.ok(200);
}

#[tokio::test]
async fn a_page_from_elsewhere_may_not_write() {
    let house = House::new().await;
    for (origin, status) in [
        ("http://localhost:8000", 202),
        ("http://localhost:3000", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        let mut request = posted("/api/v1/deployments", &submission());
        request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        let answer = house.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{origin}: {}", answer.text());
    }
    let mut read = Request::get("/api/v1/stacks").body(Body::empty()).unwrap();
    read.headers_mut().insert(header::ORIGIN, "https://evil.example".parse().unwrap());
    let answer = house.send(read).await;
    answer.ok(200);
    assert_eq!(answer.header("access-control-allow-origin"), "", "it cannot read the answer");
}

#[tokio::test]
async fn a_request_id_is_echoed_when_it_is_sane_and_minted_otherwise() {
    let house = House::new().await;
    let ask = |id: &'static [u8]| {
        let value = header::HeaderValue::from_bytes(id).unwrap();
        Request::get("/api/v1/nothing").header("x-request-id", value).body(Body::empty()).unwrap()
    };
    let answer = house.send(ask(b"build-42.a:b_c")).await;
    assert_eq!(answer.problem(404, "not_found")["request_id"], "build-42.a:b_c");
    for bad in [b"a b".as_slice(), b"", b"a\"b", "ä".as_bytes(), &[b'x'; 129]] {
        let bad: &'static [u8] = Box::leak(bad.to_vec().into_boxed_slice());
        let answer = house.send(ask(bad)).await;
        assert!(answer.header("x-request-id").starts_with("req_"), "{bad:?}");
        answer.problem(404, "not_found");
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let house = House::new().await;
    for path in
        ["/api/v1/stacks", "/api/v1/nothing", "/docs/", "/api/redoc", "/metrics", "/", "/mcp"]
    {
        let answer = house.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe-eval") && !policy.contains("http"), "{path}: {policy}");
    }
    assert_eq!(house.get("/api/v1/stacks").await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn bodies_have_a_limit_each() {
    let options = ApiOptions { max_body_bytes: 300, max_archive_bytes: 1000, ..Default::default() };
    let house = House::with(options).await;
    let at = path(&house.submit(json!({})).await);
    let long = json!({"plan_digest": "x".repeat(300)});
    house.post(&format!("{at}/approve"), &long).await.problem(413, "too_large");
    let upload = |bytes: usize| {
        Request::post("/api/v1/artifacts")
            .header(header::CONTENT_TYPE, "application/gzip")
            .body(Body::from(vec![0u8; bytes]))
            .unwrap()
    };
    house.send(upload(1000)).await.problem(422, "unsafe_archive");
    house.send(upload(1001)).await.problem(413, "too_large");
    // Without a length in its head, it is stopped when it has become too long.
    let chunks = futures::stream::iter((0..50).map(|_| Ok::<_, std::io::Error>(vec![0u8; 100])));
    let streamed = Request::post("/api/v1/artifacts")
        .header(header::CONTENT_TYPE, "application/gzip")
        .body(Body::from_stream(chunks))
        .unwrap();
    house.send(streamed).await.problem(413, "too_large");
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let options = ApiOptions { request_timeout: Duration::from_millis(100), ..Default::default() };
    let house = House::with(options).await;
    let at = path(&house.submit(json!({})).await);
    let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = Request::post(format!("{at}/approve"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(never))
        .unwrap();
    house.send(request).await.problem(504, "timeout");
}

#[tokio::test]
async fn a_fault_of_ours_says_nothing_of_its_cause() {
    let house = House::new().await;
    house.cx.store.close().await;
    let answer = house.get("/api/v1/stacks").await;
    let problem = answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "2");
    let text = problem.to_string().to_lowercase();
    assert!(!text.contains("pool") && !text.contains("sql"), "{text}");
    assert_eq!(house.get("/readyz").await.status, 503);
    let health = house.get("/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["status"]), (503, &json!("down")));
    house.get("/livez").await.ok(200);
    assert_eq!(house.get("/metrics").await.status, 200, "the other figures still come");
}

#[tokio::test]
async fn a_panic_is_a_fault_of_ours_and_the_door_stays_open() {
    let house = House::new().await;
    let mut body = submission();
    body["variables"]["panic"] = json!(true);
    let answer = house.post("/api/v1/deployments", &body).await;
    let problem = answer.problem(500, "internal");
    assert!(!problem.to_string().contains("the cause of it"), "{problem}");
    assert_eq!(problem["instance"], "/api/v1/deployments");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(house.get("/api/v1/deployments").await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn readiness_follows_the_life_of_the_process() {
    let house = House::new().await;
    house.get("/readyz").await.ok(200);
    assert_eq!(house.get("/health").await.ok(200)["status"], "ok");
    house.state.ready.store(false, std::sync::atomic::Ordering::Release);
    house.get("/readyz").await.problem(503, "unavailable");
    house.state.set_ready();
    house.state.shutdown.cancel();
    house.get("/readyz").await.problem(503, "unavailable");
    house.get("/livez").await.ok(200);
}

#[tokio::test]
async fn requests_and_queues_are_counted_by_route() {
    let house = House::new().await;
    let at = path(&house.submit(json!({})).await);
    house.get(&at).await.ok(200);
    house.get("/api/v1/nothing/1").await.problem(404, "not_found");
    house.get("/api/v1/nothing/2").await.problem(404, "not_found");
    let answer = house.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    for line in [
        r#"slipway_http_requests_total{method="GET",route="/api/v1/deployments/{id}",status="200"} 1"#,
        r#"slipway_http_requests_total{method="POST",route="/api/v1/deployments",status="202"} 1"#,
        r#"slipway_http_requests_total{method="GET",route="unmatched",status="404"} 2"#,
        r#"slipway_queue_depth{queue="plan",state="waiting"} 1"#,
        r#"slipway_queue_depth{queue="apply",state="waiting"} 0"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    house.plan().await;
    let text = house.get("/metrics").await.text();
    assert!(text.contains(r#"slipway_queue_depth{queue="plan",state="waiting"} 0"#), "{text}");
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let house = House::new().await;
    for path in ["/api/v1/deployments", "/openapi.json", "/health"] {
        let answer = house.request("HEAD", path).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{path}");
    }
}
