//! Archives: raw and in forms.

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::house::{House, archive, submission};

/// A form of parts: name, content type, content.
fn form(path: &str, parts: &[(&str, &str, &[u8])]) -> Request<Body> {
    let mut body = Vec::new();
    for (name, kind, content) in parts {
        body.extend_from_slice(
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\nContent-Type: {kind}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    Request::post(path)
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=b")
        .body(Body::from(body))
        .unwrap()
}

fn source() -> Bytes {
    archive(&[("net/main.tf", "variable \"region\" {} # required\n"), ("README", "hi")])
}

fn request(source: Option<Value>) -> Vec<u8> {
    let mut body = submission();
    body.as_object_mut().unwrap().remove("source");
    body["variables"] = json!({"region": "eu-1"});
    if let Some(source) = source {
        body["source"] = source;
    }
    body.to_string().into_bytes()
}

fn submit(request: &[u8], archive: &[u8]) -> Request<Body> {
    let parts =
        [("request", "application/json", request), ("archive", "application/gzip", archive)];
    form("/api/v1/deployments", &parts)
}

#[tokio::test]
async fn an_uploaded_archive_can_be_deployed() {
    let house = House::new().await;
    for kind in
        ["application/gzip", "application/x-gzip", "application/octet-stream", "application/x-tar"]
    {
        let raw = Request::post("/api/v1/artifacts")
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(source()))
            .unwrap();
        house.send(raw).await.ok(201);
    }
    let parts = [("archive", "application/gzip", &source()[..])];
    let answer = house.send(form("/api/v1/artifacts", &parts)).await;
    let kept = answer.ok(201);
    assert_eq!(kept["kind"], "source");
    let at = format!("/api/v1/artifacts/{}", kept["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), at);
    assert_eq!(house.get(&at).await.ok(200), kept);
    let named = json!({"type": "archive", "artifact_id": kept["id"], "path": "net"});
    let body: Value = serde_json::from_slice(&request(Some(named.clone()))).unwrap();
    let accepted = house.post("/api/v1/deployments", &body).await.ok(202);
    assert_eq!(accepted["source"], named);
}

#[tokio::test]
async fn an_archive_can_come_with_the_submission() {
    let house = House::new().await;
    let sent = request(Some(json!({"type": "archive", "path": "net"})));
    let accepted = house.send(submit(&sent, &source())).await.ok(202);
    assert_eq!(accepted["source"]["path"], "net");
    let kept = accepted["source"]["artifact_id"].as_str().unwrap();
    house.get(&format!("/api/v1/artifacts/{kept}")).await.ok(200);
    // The worker gets what was sent.
    assert_eq!(house.plan().await.state.as_str(), "awaiting_approval");
    // Without an archive part it is the same as JSON.
    let plain = submission().to_string();
    let parts = [("request", "application/json", plain.as_bytes())];
    house.send(form("/api/v1/deployments", &parts)).await.ok(202);
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let house = House::new().await;
    let good = request(Some(json!({"type": "archive", "path": "net"})));
    let out = request(Some(json!({"type": "archive", "path": "../net"})));
    let mut unknown: Value = serde_json::from_slice(&good).unwrap();
    unknown["variables"]["colour"] = json!("red");
    let unknown = unknown.to_string();
    let broken = archive(&[("net/main.tf", "!!")]);
    let cases: [(&[u8], &[u8], u16, &str); 5] = [
        (&good, b"no archive", 422, "unsafe_archive"),
        (&good, &broken, 422, "invalid_configuration"),
        (&out, &source(), 422, "invalid_input"),
        (unknown.as_bytes(), &source(), 422, "invalid_input"),
        (b"{", &source(), 400, "malformed_request"),
    ];
    let mut tx = house.cx.store.begin().await.unwrap();
    tx.take_doorbells(0, 100).await.unwrap();
    drop(tx);
    for (request, archive, status, code) in cases {
        house.send(submit(request, archive)).await.problem(status, code);
    }
    let twice =
        [("request", "application/json", &good[..]), ("request", "application/json", &good[..])];
    house.send(form("/api/v1/deployments", &twice)).await.problem(422, "invalid_input");
    let stranger = [("request", "application/json", &good[..]), ("extra", "text/plain", b"x")];
    house.send(form("/api/v1/deployments", &stranger)).await.problem(422, "invalid_input");
    house.send(form("/api/v1/artifacts", &[])).await.problem(422, "invalid_input");
    assert_eq!(house.get("/api/v1/deployments").await.ok(200)["items"], json!([]));
    let mut tx = house.cx.store.begin().await.unwrap();
    assert!(tx.take_doorbells(0, 100).await.unwrap().is_empty(), "nothing is queued");
}

#[tokio::test]
async fn a_repeated_upload_with_a_key_is_one() {
    let house = House::new().await;
    let keyed = |mut request: Request<Body>| {
        request.headers_mut().insert("idempotency-key", "once".parse().unwrap());
        request
    };
    let sent = request(Some(json!({"type": "archive", "path": "net"})));
    let first = house.send(keyed(submit(&sent, &source()))).await;
    let again = house.send(keyed(submit(&sent, &source()))).await;
    assert_eq!(first.ok(202), again.ok(202));
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = archive(&[("net/main.tf", "variable \"region\" {}\n")]);
    house.send(keyed(submit(&sent, &other))).await.problem(422, "idempotency_key_reused");

    let parts = [("archive", "application/gzip", &source()[..])];
    let first = house.send(keyed(form("/api/v1/artifacts", &parts))).await;
    let again = house.send(keyed(form("/api/v1/artifacts", &parts))).await;
    assert_eq!(first.ok(201), again.ok(201));
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        ("", "true")
    );
}
