//! The edge: quotas, pages of other origins, TLS, heads that are too large.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use serde_json::json;
use slipway_api::{ApiOptions, Limits, Tls, TlsError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::house::{Answer, House, posted, submission};

const CERT: &[u8] = include_bytes!("../fixtures/tls-cert.pem");
const KEY: &[u8] = include_bytes!("../fixtures/tls-key.pem");

async fn limited(limits: Limits) -> House {
    House::with(ApiOptions { limits, ..ApiOptions::default() }).await
}

async fn from(house: &House, address: &str, token: Option<&str>, request: Request<Body>) -> Answer {
    let mut request = request;
    let peer: std::net::SocketAddr = format!("{address}:4711").parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    house.send(request).await
}

fn read() -> Request<Body> {
    Request::get("/api/v1/stacks").body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_token_and_an_address_have_a_quota_for_each_kind_of_route() {
    let limits = Limits { read: 3, write: 1, per_address: 2, ..Limits::default() };
    let house = limited(limits).await;
    let first = from(&house, "192.0.2.1", Some("a"), read()).await;
    first.ok(200);
    assert_eq!(first.header("ratelimit-policy"), "\"read\";q=3;w=60");
    assert_eq!(first.header("ratelimit"), "\"read\";r=2;t=20");
    for _ in 0..2 {
        from(&house, "192.0.2.1", Some("a"), read()).await.ok(200);
    }
    let refused = from(&house, "192.0.2.1", Some("a"), read()).await;
    let problem = refused.problem(429, "rate_limited");
    assert!(problem["detail"].as_str().unwrap().contains("This token"), "{problem}");
    assert_eq!(refused.header("retry-after"), "20");
    assert_eq!(refused.header("ratelimit"), "\"read\";r=0;t=60");
    from(&house, "192.0.2.2", Some("a"), read()).await.problem(429, "rate_limited");

    // Another token from there, until the address has had its share, whatever it shows.
    from(&house, "192.0.2.1", Some("b"), read()).await.ok(200);
    from(&house, "192.0.2.1", Some("c"), read()).await.ok(200);
    let refused = from(&house, "192.0.2.1", Some("d"), read()).await;
    let problem = refused.problem(429, "rate_limited");
    assert!(problem["detail"].as_str().unwrap().contains("This address"), "{problem}");
    assert!(refused.header("ratelimit-policy").starts_with("\"read-address\";q=6"));
    from(&house, "192.0.2.3", None, read()).await.ok(200);

    // Writing has a quota of its own, and what has none is not limited.
    from(&house, "192.0.2.3", Some("a"), posted("/api/v1/deployments", &submission()))
        .await
        .ok(202);
    from(&house, "192.0.2.3", Some("a"), posted("/api/v1/deployments", &submission()))
        .await
        .problem(429, "rate_limited");
    for _ in 0..20 {
        let probe = Request::get("/livez").body(Body::empty()).unwrap();
        let probed = from(&house, "192.0.2.1", None, probe).await;
        probed.ok(200);
        assert_eq!(probed.header("ratelimit"), "");
    }
    // This machine is not limited unless it is asked for.
    for _ in 0..20 {
        from(&house, "127.0.0.1", Some("a"), read()).await.ok(200);
    }
    let strict = limited(Limits { loopback: true, read: 1, ..Limits::default() }).await;
    from(&strict, "127.0.0.1", None, read()).await.ok(200);
    from(&strict, "127.0.0.1", None, read()).await.problem(429, "rate_limited");
}

#[tokio::test]
async fn pages_of_named_origins_may_call_and_no_others() {
    let cors_origins = vec!["https://app.example.com".to_owned()];
    let house = House::with(ApiOptions { cors_origins, ..ApiOptions::default() }).await;
    let preflight = |origin: &str| {
        Request::builder()
            .method("OPTIONS")
            .uri("/api/v1/deployments")
            .header(header::ORIGIN, origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .body(Body::empty())
            .unwrap()
    };
    let allowed = house.send(preflight("https://app.example.com")).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example.com");
    assert!(allowed.header("access-control-allow-methods").contains("POST"));
    assert_eq!(allowed.header("access-control-allow-credentials"), "", "no cookies from there");
    let other = house.send(preflight("https://evil.example")).await;
    assert_eq!(other.header("access-control-allow-origin"), "");
    for (origin, status) in [("https://app.example.com", 202), ("https://evil.example", 403)] {
        let mut request = posted("/api/v1/deployments", &submission());
        request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        let answer = house.send(request).await;
        assert_eq!(answer.status, status, "{origin}: {}", answer.text());
    }
    let plain = House::new().await.send(preflight("https://app.example.com")).await;
    assert_eq!(plain.header("access-control-allow-origin"), "", "off unless it is asked for");
}

fn files(dir: &std::path::Path, mode: u32) -> (std::path::PathBuf, std::path::PathBuf) {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, CERT).unwrap();
    std::fs::write(&key, KEY).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    (cert, key)
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = files(dir.path(), 0o644);
    let refused = Tls::load(&cert, &key).unwrap_err();
    assert!(matches!(refused, TlsError::Exposed { mode: 0o644, .. }), "{refused}");
    let (cert, key) = files(dir.path(), 0o600);
    Tls::load(&cert, &key).unwrap();
    assert!(matches!(Tls::load(&key, &key), Err(TlsError::Unreadable { .. })), "no certificate");
    assert!(Tls::load(&dir.path().join("none"), &key).is_err());
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_configured_and_heads_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = files(dir.path(), 0o600);
    let tls = Tls::load(&cert, &key).unwrap();
    let house = House::with(ApiOptions {
        tls: Some(tls.clone()),
        drain_timeout: Duration::from_secs(2),
        ..ApiOptions::default()
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (state, shutdown) = (house.state.clone(), house.state.shutdown.clone());
    let task = tokio::spawn(slipway_api::serve(listener, state, shutdown.clone()));
    let client = |h1: bool| {
        let root = reqwest::Certificate::from_pem(CERT).unwrap();
        let builder = reqwest::Client::builder().tls_certs_only([root]).no_proxy();
        if h1 { builder.http1_only() } else { builder }.build().unwrap()
    };
    let url = format!("https://localhost:{}/api/v1/stacks", address.port());
    for (h1, version) in [(true, reqwest::Version::HTTP_11), (false, reqwest::Version::HTTP_2)] {
        let answer = client(h1).get(&url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    }
    // A connection that says nothing, or nonsense, is in nobody's way.
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 2"), "it does not speak plain");
    // What was read before stays when the files are bad, and new files count from then on.
    std::fs::write(&cert, "nonsense").unwrap();
    assert!(tls.reload().is_err());
    client(true).get(&url).send().await.unwrap();
    std::fs::write(&cert, CERT).unwrap();
    tls.reload().unwrap();
    client(true).get(&url).send().await.unwrap();

    let many = (0..200)
        .fold(client(true).get(&url), |request, n| request.header(format!("x-field-{n}"), "1"));
    assert_eq!(many.send().await.unwrap().status(), 431, "too many fields");
    let long = client(true).get(&url).header("x-long", "x".repeat(100_000));
    assert_eq!(long.send().await.unwrap().status(), 431, "too many bytes");
    shutdown.cancel();
    task.await.unwrap().unwrap();
    let _ = silent.write_all(b"x").await;
    let house_plain = House::new().await;
    assert_eq!(house_plain.get("/api/v1/stacks").await.header("strict-transport-security"), "");
    assert_eq!(house_plain.post("/api/v1/deployments", &json!({})).await.status, 422);
}
