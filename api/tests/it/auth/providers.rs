//! Signing in at providers, and tokens of pipelines.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use chrono::{DateTime, Duration};
use serde_json::{Value, json};
use slipway_client_oidc::fake::{self, CLIENT_ID, CLIENT_SECRET};
use slipway_client_oidc::{Fetch, GitHub, GitHubOptions, Issuers, Oidc, OidcOptions};
use slipway_domain::access::{Door, Principal};
use slipway_outbound::{Allow, Guard};
use slipway_services::auth::AuthSettings;
use slipway_services::auth::sign_in;

use super::{call, cookie_of, get, person, record, secret, signed_in};
use crate::house::{Answer, House};

/// A house with providers, and who is at them.
async fn with_providers(accounts: bool) -> (House, fake::Shared) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
    let shared = fake::start(now).await;
    let url = shared.lock().unwrap().url.clone();
    let fetch = Fetch::new(Guard::new(Allow::parse(["127.0.0.1"]).unwrap())).unwrap();
    let oidc = OidcOptions {
        name: "oidc".to_owned(),
        title: "Test".to_owned(),
        issuer: url.clone(),
        client_id: CLIENT_ID.to_owned(),
        client_secret: secret(CLIENT_SECRET),
    };
    let github = GitHubOptions {
        url: url.clone(),
        api_url: format!("{url}/api"),
        client_id: CLIENT_ID.to_owned(),
        client_secret: secret(CLIENT_SECRET),
    };
    let settings = AuthSettings {
        providers: vec![Arc::new(Oidc::new(&fetch, oidc)), Arc::new(GitHub::new(&fetch, github))],
        provider_accounts: accounts,
        issuers: Some(Arc::new(Issuers::new(&fetch, &[url]))),
        ..AuthSettings::default()
    };
    let house = House::asking_who(settings).await;
    let who = Principal::local(Door::Internal);
    sign_in::create_admin(&house.cx, &who, &person("ann")).await.unwrap();
    (house, shared)
}

/// Goes to the provider, and gives the way back: path with code and state.
async fn at_provider(url: &str) -> String {
    let none = reqwest::redirect::Policy::none();
    let browser = reqwest::Client::builder().redirect(none).no_proxy().build().unwrap();
    let answer = browser.get(url).send().await.unwrap();
    let back = answer.headers()["location"].to_str().unwrap().to_owned();
    back.strip_prefix("http://127.0.0.1:8000").unwrap().to_owned()
}

async fn come_back(house: &House, path: &str, cookie: &str) -> Answer {
    let request = Request::get(path).header("cookie", cookie).body(Body::empty()).unwrap();
    house.send(request).await
}

/// Begins a sign-in: the way back, and the cookie.
async fn begin(house: &House, provider: &str) -> (String, String) {
    let path = format!("/api/v1/auth/providers/{provider}/start?return_to=/stacks");
    let answer = house.get(&path).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let cookie = cookie_of(&answer, "__Host-slipway_visit=");
    (at_provider(answer.header("location")).await, cookie)
}

#[tokio::test]
async fn an_account_is_linked_and_signs_in_at_its_provider() {
    let (house, shared) = with_providers(false).await;
    let listed = house.get("/api/v1/auth/providers").await.ok(200);
    assert_eq!(listed["items"][0]["name"], "oidc");
    for provider in ["oidc", "github"] {
        // Nobody is linked yet, whatever address of mail they have.
        let (back, cookie) = begin(&house, provider).await;
        come_back(&house, &back, &cookie).await.problem(403, "forbidden");
        let ann = signed_in(&house, "ann").await;
        let path = format!("/api/v1/auth/identities/{provider}");
        house.post(&path, &json!({})).await.problem(401, "unauthenticated");
        let answer = call(&house, "POST", &path, &ann.access, Some(json!({}))).await;
        let back = at_provider(answer.ok(200)["url"].as_str().unwrap()).await;
        let cookie = cookie_of(&answer, "__Host-slipway_visit=");
        let linked = come_back(&house, &back, &cookie).await;
        assert_eq!((linked.status.as_u16(), linked.header("location")), (303, "/"));
        assert_eq!(linked.headers.get_all("set-cookie").iter().count(), 1, "nobody was signed in");
        let (back, cookie) = begin(&house, provider).await;
        let answer = come_back(&house, &back, &cookie).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/stacks"));
        let session = cookie_of(&answer, "__Host-slipway_session=");
        let me = come_back(&house, "/api/v1/auth/me", &session).await.ok(200);
        assert_eq!(me["account"]["name"], "ann");
        // It is good once.
        come_back(&house, &back, &cookie).await.problem(401, "unauthenticated");
        // Somebody else there is somebody else here, with the same address of mail.
        shared.lock().unwrap().subject = "4712".to_owned();
        let (back, cookie) = begin(&house, provider).await;
        come_back(&house, &back, &cookie).await.problem(403, "forbidden");
        shared.lock().unwrap().subject = "4711".to_owned();
    }
    let ann = signed_in(&house, "ann").await;
    let links = get(&house, "/api/v1/auth/identities", &ann.access).await.ok(200);
    assert_eq!(links["items"].as_array().unwrap().len(), 2);
    let path = "/api/v1/auth/identities/oidc";
    assert_eq!(call(&house, "DELETE", path, &ann.access, None).await.status, 204);
    let (back, cookie) = begin(&house, "oidc").await;
    come_back(&house, &back, &cookie).await.problem(403, "forbidden");
    let said = record(&house, links["items"][0]["account_id"].as_str().unwrap_or_default()).await;
    for (action, times) in [("identity.link", 2), ("identity.unlink", 1)] {
        assert_eq!(said.iter().filter(|(said, _)| said == action).count(), times, "{said:?}");
    }
}

#[tokio::test]
async fn what_comes_back_must_be_what_went() {
    let (house, shared) = with_providers(true).await;
    let (back, cookie) = begin(&house, "oidc").await;
    let (_, other) = begin(&house, "oidc").await;
    // Another browser; none; another provider; no state; another state.
    come_back(&house, &back, &other).await.problem(401, "unauthenticated");
    house.get(&back).await.problem(401, "unauthenticated");
    let (path, query) = back.split_once('?').unwrap();
    let code = query.split('&').next().unwrap();
    for query in ["", "error=access_denied", code, &format!("{code}&state=guess")] {
        let answer = come_back(&house, &format!("{path}?{query}"), &cookie).await;
        answer.problem(401, "unauthenticated");
    }
    let elsewhere = back.replace("/oidc/", "/github/");
    come_back(&house, &elsewhere, &cookie).await.problem(401, "unauthenticated");
    // Too late.
    let (back, cookie) = begin(&house, "oidc").await;
    house.clock.advance(Duration::minutes(10));
    shared.lock().unwrap().now += Duration::minutes(10);
    come_back(&house, &back, &cookie).await.problem(401, "unauthenticated");
    // A token for another sign-in.
    let (back, cookie) = begin(&house, "oidc").await;
    shared.lock().unwrap().mood.nonce = Some("another".to_owned());
    come_back(&house, &back, &cookie).await.problem(401, "unauthenticated");
    shared.lock().unwrap().mood.nonce = None;
    let (back, cookie) = begin(&house, "oidc").await;
    let answer = come_back(&house, &back, &cookie).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let session = cookie_of(&answer, "__Host-slipway_session=");
    let me = come_back(&house, "/api/v1/auth/me", &session).await.ok(200);
    assert_eq!(me["account"]["name"], "oidc-ann-o-nym");
    assert_eq!(me["house"]["scopes"], json!([]), "somebody new may do nothing");
    let evil = house.get("/api/v1/auth/providers/oidc/start?return_to=//evil.example").await;
    evil.problem(422, "invalid_input");
    house.get("/api/v1/auth/providers/none/start").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_pipeline_exchanges_its_token() {
    let (house, shared) = with_providers(false).await;
    let issuer = shared.lock().unwrap().url.clone();
    let ann = signed_in(&house, "ann").await;
    let body = json!({"kind": "service", "name": "ci"});
    let ci = call(&house, "POST", "/api/v1/accounts", &ann.access, Some(body)).await.ok(201);
    let rule = |changes: Value| {
        let mut rule = json!({"name": "main", "issuer": issuer, "audience": "slipway-of-acme",
            "conditions": {"repository": "acme/*", "ref": "refs/heads/main"},
            "account_id": ci["id"], "scopes": ["stacks:read", "deployments:read"]});
        for (name, value) in changes.as_object().unwrap() {
            rule[name] = value.clone();
        }
        rule
    };
    let make = async |rule: Value| {
        call(&house, "POST", "/api/v1/auth/trust-rules", &ann.access, Some(rule)).await
    };
    for bad in [
        json!({"issuer": "https://another.example"}),
        json!({"conditions": {"ref": "refs/heads/main"}}),
        json!({"scopes": []}),
    ] {
        make(rule(bad)).await.problem(422, "invalid_input");
    }
    let made = make(rule(json!({}))).await.ok(201);
    make(rule(json!({}))).await.problem(409, "conflict");
    let mint = |changes: Value| {
        let mut claims = json!({"aud": "slipway-of-acme", "sub": "repo:acme/shop",
            "repository": "acme/shop", "ref": "refs/heads/main"});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        shared.lock().unwrap().mint(&claims)
    };
    let exchange = async |token: &str, more: &str| {
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}\
             &subject_token_type=urn:ietf:params:oauth:token-type:jwt{more}"
        );
        let request = Request::post("/api/v1/auth/exchange")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        house.send(request).await
    };
    let given = exchange(&mint(json!({})), "").await.ok(200);
    assert_eq!(given["scope"], "deployments:read stacks:read");
    let token = given["access_token"].as_str().unwrap();
    let me = get(&house, "/api/v1/auth/me", token).await.ok(200);
    assert_eq!(me["actor"], ci["id"]);
    // It makes itself no keys, and can be seen and ended.
    let body = json!({"name": "n", "scopes": ["stacks:read"]});
    call(&house, "POST", "/api/v1/auth/keys", token, Some(body)).await.problem(403, "forbidden");
    let path = format!("/api/v1/accounts/{}/sessions", ci["id"].as_str().unwrap());
    let seen = get(&house, &path, &ann.access).await.ok(200);
    assert_eq!(seen["items"][0]["method"], "exchange:main");
    let session = seen["items"][0]["id"].as_str().unwrap();
    assert_eq!(record(&house, session).await, [("token.exchange".into(), "allowed".into())]);
    let less = exchange(&mint(json!({})), "&scope=stacks:read+queues:read").await.ok(200);
    assert_eq!(less["scope"], "stacks:read");
    exchange(&mint(json!({})), "&scope=queues:read").await.problem(422, "invalid_input");
    for (changes, status) in [
        (json!({"repository": "evil/shop"}), 403),
        (json!({"ref": "refs/heads/other"}), 403),
        (json!({"aud": "another"}), 401),
        (json!({"exp": 1}), 401),
        (json!({"iss": "https://another.example"}), 401),
    ] {
        let answer = exchange(&mint(changes.clone()), "").await;
        assert_eq!(answer.status.as_u16(), status, "{changes}: {}", answer.text());
    }
    // Our own tokens, and nonsense, are not what is exchanged.
    for token in [ann.access.as_str(), "x", "a.b.c"] {
        exchange(token, "").await.problem(401, "unauthenticated");
    }
    call(&house, "DELETE", &path, &ann.access, None).await.ok(200);
    get(&house, "/api/v1/auth/me", token).await.problem(401, "unauthenticated");
    let path = format!("/api/v1/auth/trust-rules/{}", made["id"].as_str().unwrap());
    assert_eq!(call(&house, "DELETE", &path, &ann.access, None).await.status, 204);
    assert_ne!(exchange(&mint(json!({})), "").await.status, 200);
    let said = record(&house, made["id"].as_str().unwrap()).await;
    let said: Vec<_> = said.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(said, ["trust_rule.create", "trust_rule.delete"]);
    let refused = record(&house, "exchange").await;
    assert!(refused.contains(&("token.exchange".into(), "denied".into())), "{refused:?}");
}
