//! Who may come in: the open routes, tokens that are attacked, sessions, keys, providers, exchange.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration};
use http_body_util::BodyExt as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use slipway_client_oidc::fake::{self, CLIENT_ID, CLIENT_SECRET};
use slipway_client_oidc::{Fetch, GitHub, GitHubOptions, Issuers, Oidc, OidcOptions};
use slipway_domain::Secret;
use slipway_domain::access::{Door, Principal, Role};
use slipway_domain::auth::account::Account;
use slipway_domain::member::{Member, MemberRoles};
use slipway_outbound::{Allow, Guard};
use slipway_services::auth::sign_in::{self, NewPerson};
use slipway_services::auth::{AuthSettings, hashes_of_passwords, signing_key};
use slipway_services::{Ctx, Gathered};

use crate::house::{Answer, House, submission};

const PASSWORD: &str = "correct horse battery";

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn person(name: &str) -> NewPerson {
    NewPerson { name: name.to_owned(), email: None, password: secret(PASSWORD) }
}

async fn house() -> (House, Account) {
    let house = House::asking_who(AuthSettings::default()).await;
    let who = Principal::local(Door::Internal);
    let admin = sign_in::create_admin(&house.cx, &who, &person("ann")).await.unwrap();
    (house, admin)
}

/// An account that is no more than this in the house.
async fn account(house: &House, name: &str, role: Role) -> Account {
    let who = Principal::local(Door::Internal);
    let made = sign_in::create_admin(&house.cx, &who, &person(name)).await.unwrap();
    let mut tx = house.cx.store.begin().await.unwrap();
    let before = tx.member(None, made.id).await.unwrap().unwrap();
    let member = Member { roles: [role].into(), version: before.version + 1, ..before.clone() };
    assert!(MemberRoles { roles: member.roles.clone() }.problems().is_empty());
    assert!(tx.set_member(&member, before.version).await.unwrap());
    tx.commit().await.unwrap();
    made
}

async fn login(house: &House, name: &str, password: &str) -> Answer {
    house.post("/api/v1/auth/login", &json!({"name": name, "password": password})).await
}

struct Tokens {
    access: String,
    refresh: String,
    session: String,
}

fn tokens(answer: &Value) -> Tokens {
    let text = |at: &Value| at.as_str().unwrap().to_owned();
    Tokens {
        access: text(&answer["access_token"]),
        refresh: text(&answer["refresh_token"]),
        session: text(&answer["session"]["id"]),
    }
}

async fn signed_in(house: &House, name: &str) -> Tokens {
    tokens(&login(house, name, PASSWORD).await.ok(200))
}

async fn call(house: &House, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    house.send(request.body(body).unwrap()).await
}

async fn get(house: &House, path: &str, token: &str) -> Answer {
    call(house, "GET", path, token, None).await
}

async fn refresh(house: &House, token: &str) -> Answer {
    house.post("/api/v1/auth/refresh", &json!({"refresh_token": token})).await
}

/// What the record says of an action, newest last.
async fn record(house: &House, target: &str) -> Vec<(String, String)> {
    house.cx.store.read().await.unwrap().audit_of(target).await.unwrap()
}

#[tokio::test]
async fn everything_asks_who_calls_but_what_is_listed() {
    const OPEN: &[&str] = &[
        "GET /.well-known/jwks.json",
        "GET /.well-known/oauth-protected-resource",
        "GET /.well-known/oauth-protected-resource/mcp",
        "GET /api/v1/auth/providers",
        "GET /api/v1/auth/providers/{name}/callback",
        "GET /api/v1/auth/providers/{name}/start",
        "GET /livez",
        "GET /openapi.json",
        "GET /problems/{code}",
        "GET /readyz",
        "POST /api/v1/auth/exchange",
        "POST /api/v1/auth/login",
        "POST /api/v1/auth/refresh",
        "POST /api/v1/auth/register",
    ];
    let (house, _) = house().await;
    let api = serde_json::to_value(slipway_api::openapi()).unwrap();
    let mut open = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let at = path.replace(['{', '}'], "");
            let answer = house.request(&method, &at).await;
            let challenge = answer.header("www-authenticate").to_owned();
            let closed = answer.status == 401 && answer.text().contains("Sign in first");
            if closed {
                answer.problem(401, "unauthenticated");
                assert!(challenge.starts_with("Bearer realm=\"slipway\""), "{challenge}");
            } else {
                open.insert(format!("{method} {path}"));
            }
        }
    }
    assert_eq!(open, OPEN.iter().map(ToString::to_string).collect());
    for path in ["/", "/docs", "/docs/", "/api/redoc"] {
        assert_ne!(house.get(path).await.status, 401, "{path}");
    }
    for path in ["/mcp", "/mcp/"] {
        let answer = house.post(path, &json!({})).await;
        assert_eq!(answer.status, 401, "{path}");
        let challenge = answer.header("www-authenticate");
        let metadata = "/.well-known/oauth-protected-resource/mcp\"";
        assert!(challenge.contains(metadata) && challenge.contains("mcp:execute"), "{challenge}");
    }
    house.get("/nowhere").await.problem(404, "not_found");
    let state = format!("/api/v1/stacks/stk_{:032x}/state", 1);
    let answer = house.get(&state).await;
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges.len(), 2, "Terraform is told that it may show Basic");
}

#[tokio::test]
async fn whoever_signs_in_is_known_with_bearer_and_basic() {
    let (house, admin) = house().await;
    let ann = signed_in(&house, "ann").await;
    let me = get(&house, "/api/v1/auth/me", &ann.access).await.ok(200);
    assert_eq!(me["account"]["id"], admin.id.to_string());
    assert_eq!(me["token"], ann.session);
    assert_eq!(me["house"]["roles"], json!(["admin"]));
    let basic = STANDARD.encode(format!("whoever:{}", ann.access));
    let request = Request::get("/api/v1/stacks").header("authorization", format!("Basic {basic}"));
    house.send(request.body(Body::empty()).unwrap()).await.ok(200);
    login(&house, "ann", "correct horse batterY").await.problem(401, "unauthenticated");
    login(&house, "Ann!", PASSWORD).await.problem(401, "unauthenticated");
    assert_eq!(record(&house, &ann.session).await, [("session.login".into(), "allowed".into())]);
    assert_eq!(record(&house, "sign-in").await, [("session.login".into(), "denied".into())]);
}

#[tokio::test]
async fn an_unknown_name_costs_as_much_as_a_wrong_password() {
    let (house, _) = house().await;
    let before = hashes_of_passwords(&house.cx);
    let known = login(&house, "ann", "not the password").await.problem(401, "unauthenticated");
    assert_eq!(hashes_of_passwords(&house.cx), before + 1);
    let unknown = login(&house, "bob", "not the password").await.problem(401, "unauthenticated");
    assert_eq!(hashes_of_passwords(&house.cx), before + 2);
    assert_eq!(known["detail"], unknown["detail"]);
}

#[tokio::test]
async fn guessing_is_slow_and_shuts_nobody_out() {
    let (house, _) = house().await;
    for _ in 0..6 {
        login(&house, "ann", "a guess at it").await.problem(401, "unauthenticated");
    }
    let refused = login(&house, "ann", PASSWORD).await;
    refused.problem(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), "2");
    // Another name from here, and nobody else, is let in.
    account(&house, "bob", Role::Viewer).await;
    signed_in(&house, "bob").await;
    // The record says so.
    assert_eq!(record(&house, "sign-in").await.len(), 5);
    assert_eq!(record(&house, "guessing").await, [("session.login".into(), "denied".into())]);
    house.clock.advance(Duration::seconds(2));
    login(&house, "ann", "a guess at it").await.problem(401, "unauthenticated");
    assert_eq!(login(&house, "ann", PASSWORD).await.header("retry-after"), "4");
    house.clock.advance(Duration::seconds(4));
    signed_in(&house, "ann").await;
    login(&house, "ann", "a guess at it").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_refresh_token_is_good_once() {
    let (house, _) = house().await;
    let first = signed_in(&house, "ann").await;
    let second = tokens(&refresh(&house, &first.refresh).await.ok(200));
    assert_ne!(first.refresh, second.refresh);
    // The answer was lost: the same one again.
    house.clock.advance(Duration::seconds(9));
    let again = tokens(&refresh(&house, &first.refresh).await.ok(200));
    assert_eq!(again.refresh, second.refresh);
    get(&house, "/api/v1/stacks", &again.access).await.ok(200);
    // Its successor was used: it is in two hands.
    let third = tokens(&refresh(&house, &second.refresh).await.ok(200));
    refresh(&house, &first.refresh).await.problem(401, "unauthenticated");
    for token in [&third.refresh, &second.refresh] {
        refresh(&house, token).await.problem(401, "unauthenticated");
    }
    get(&house, "/api/v1/stacks", &third.access).await.problem(401, "unauthenticated");
    let said = record(&house, &first.session).await;
    assert!(said.contains(&("session.refresh".into(), "denied".into())), "{said:?}");
    // Late is as bad.
    let first = signed_in(&house, "ann").await;
    refresh(&house, &first.refresh).await.ok(200);
    house.clock.advance(Duration::seconds(11));
    refresh(&house, &first.refresh).await.problem(401, "unauthenticated");
    get(&house, "/api/v1/stacks", &first.access).await.problem(401, "unauthenticated");
    for none in ["", "slr_", "sls_x", &first.access] {
        refresh(&house, none).await.problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn what_has_ended_is_refused_at_once() {
    let (house, admin) = house().await;
    let (one, two) = (signed_in(&house, "ann").await, signed_in(&house, "ann").await);
    let list = get(&house, "/api/v1/auth/sessions", &one.access).await.ok(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let path = format!("/api/v1/auth/sessions/{}", two.session);
    assert_eq!(call(&house, "DELETE", &path, &one.access, None).await.status, 204);
    get(&house, "/api/v1/stacks", &two.access).await.problem(401, "unauthenticated");
    refresh(&house, &two.refresh).await.problem(401, "unauthenticated");
    let answer = call(&house, "POST", "/api/v1/auth/logout", &one.access, None).await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    get(&house, "/api/v1/stacks", &one.access).await.problem(401, "unauthenticated");
    // A password that is changed ends the other sessions.
    let (one, two) = (signed_in(&house, "ann").await, signed_in(&house, "ann").await);
    let body = json!({"password": PASSWORD, "new_password": "another horse battery"});
    let changed = call(&house, "POST", "/api/v1/auth/password", &one.access, Some(body)).await;
    assert_eq!(changed.status, 204, "{}", changed.text());
    get(&house, "/api/v1/stacks", &one.access).await.ok(200);
    get(&house, "/api/v1/stacks", &two.access).await.problem(401, "unauthenticated");
    login(&house, "ann", PASSWORD).await.problem(401, "unauthenticated");
    login(&house, "ann", "another horse battery").await.ok(200);
    // An account that is stopped.
    let bob = account(&house, "bob", Role::Admin).await;
    let bobs = signed_in(&house, "bob").await;
    let path = format!("/api/v1/accounts/{}/disable", bob.id);
    let own = format!("/api/v1/accounts/{}/disable", admin.id);
    call(&house, "POST", &own, &one.access, None).await.problem(409, "conflict");
    call(&house, "POST", &path, &one.access, None).await.ok(200);
    get(&house, "/api/v1/stacks", &bobs.access).await.problem(401, "unauthenticated");
    refresh(&house, &bobs.refresh).await.problem(401, "unauthenticated");
    login(&house, "bob", PASSWORD).await.problem(401, "unauthenticated");
}

/// A token with another header or other claims, signed by whatever.
fn forged(header: &Value, claims: &Value, sign: impl Fn(&str) -> String) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(&message);
    format!("{message}.{signature}")
}

fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap_or_default())
    });
    (parts.next().unwrap().unwrap(), parts.next().unwrap().unwrap())
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let (house, _) = house().await;
    let ann = signed_in(&house, "ann").await;
    get(&house, "/api/v1/stacks", &ann.access).await.ok(200);
    let (head, body) = parts(&ann.access);
    assert_eq!((&head["alg"], &head["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
    assert_eq!(body["aud"].as_array().unwrap().len(), 2);
    let keys = house.get("/.well-known/jwks.json").await.ok(200);
    let keys = keys["keys"].as_array().unwrap();
    assert!(keys.len() == 2 && keys.iter().any(|key| key["kid"] == head["kid"]), "{keys:?}");
    let public = keys.iter().find(|key| key["kid"] == head["kid"]).unwrap();
    let public = URL_SAFE_NO_PAD.decode(public["x"].as_str().unwrap()).unwrap();
    let theirs = Ed25519KeyPair::generate().unwrap();
    let real_signature = ann.access.rsplit('.').next().unwrap().to_owned();
    let by_theirs =
        |message: &str| URL_SAFE_NO_PAD.encode(theirs.sign(message.as_bytes()).as_ref());
    // The public key as a shared secret.
    let hmac = |message: &str| {
        let key = EncodingKey::from_secret(&public);
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap()
    };
    let with = |changes: &Value| {
        let mut head = head.clone();
        for (name, value) in changes.as_object().unwrap() {
            head[name] = value.clone();
        }
        head
    };
    let mut bad = vec![
        forged(&head, &body, by_theirs),
        forged(&with(&json!({"alg": "HS256"})), &body, hmac),
        forged(&with(&json!({"alg": "HS512"})), &body, hmac),
    ];
    for changes in [
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": "ES256"}),
        json!({"alg": null}),
        json!({"kid": "../../etc/passwd"}),
        json!({"kid": "' or 1=1 --"}),
        json!({"kid": ""}),
        json!({"kid": null}),
        json!({"typ": "JWT"}),
        json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&public)}}),
        json!({"jku": "https://evil.example/jwks"}),
        json!({"crit": ["exp"]}),
    ] {
        bad.push(forged(&with(&changes), &body, |_| String::new()));
        bad.push(forged(&with(&changes), &body, |_| real_signature.clone()));
        bad.push(forged(&with(&changes), &body, by_theirs));
    }
    for (name, value) in
        [("exp", json!(9_999_999_999_u64)), ("sub", json!("acc_0")), ("scope", json!("*"))]
    {
        let mut body = body.clone();
        body[name] = value;
        body["forged"] = json!(true);
        bad.push(forged(&head, &body, |_| real_signature.clone()));
    }
    bad.extend(["a.b.c", "..", "x", "slp_", "slp_aaaaaaaa_b_c"].map(str::to_owned));
    for token in bad {
        let answer = get(&house, "/api/v1/stacks", &token).await;
        answer.problem(401, "unauthenticated");
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
    get(&house, "/api/v1/stacks", &ann.access).await.ok(200);
}

#[tokio::test]
async fn tokens_that_are_ours_and_not_good_here_or_now_are_refused() {
    // Keys in a file, so that the test can sign as the house does.
    let pair = Ed25519KeyPair::generate().unwrap();
    let der = pair.to_pkcs8().unwrap().as_ref().to_vec();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(&der)
    );
    let file_keys = Some(slipway_services::auth::FileKeys::parse(&pem).unwrap());
    let house = House::asking_who(AuthSettings { file_keys, ..AuthSettings::default() }).await;
    let local = Principal::local(Door::Internal);
    let ann = sign_in::create_admin(&house.cx, &local, &person("ann")).await.unwrap();
    let bob = account(&house, "bob", Role::Viewer).await;
    let token = signed_in(&house, "ann").await.access;
    let (head, body) = parts(&token);
    let sign = |changes: &Value| {
        let mut body = body.clone();
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        let header = Header {
            typ: Some("at+jwt".to_owned()),
            kid: head["kid"].as_str().map(str::to_owned),
            ..Header::new(Algorithm::EdDSA)
        };
        encode(&header, &body, &EncodingKey::from_ed_der(&der)).unwrap()
    };
    get(&house, "/api/v1/stacks", &sign(&json!({"jti": "x"}))).await.ok(200);
    let now = body["iat"].as_i64().unwrap();
    for changes in [
        json!({"exp": now}),
        json!({"exp": now - 1}),
        json!({"nbf": now + 6}),
        json!({"iss": "https://another.example"}),
        json!({"aud": ["https://another.example"]}),
        json!({"aud": []}),
        json!({"aud": ["http://127.0.0.1:8000/mcp"]}),
        json!({"sub": bob.id.to_string()}),
        json!({"sub": "ann"}),
        json!({"sid": "ses_1"}),
        json!({"sid": format!("ses_{:032x}", 1)}),
    ] {
        let answer = get(&house, "/api/v1/stacks", &sign(&changes)).await;
        assert_eq!(answer.status, 401, "{changes}: {}", answer.text());
    }
    // A token can be narrower than its account, and no wider.
    let narrow = sign(&json!({"scope": "stacks:read", "prj": "shop"}));
    get(&house, "/api/v1/stacks", &narrow).await.ok(200);
    get(&house, "/api/v1/accounts", &narrow).await.problem(403, "forbidden");
    let mcp = sign(&json!({"aud": ["http://127.0.0.1:8000"]}));
    assert_eq!(call(&house, "POST", "/mcp", &mcp, Some(json!({}))).await.status, 401);
    house.clock.advance(Duration::seconds(901));
    let late = get(&house, "/api/v1/stacks", &token).await.problem(401, "unauthenticated");
    assert!(late["detail"].as_str().unwrap().contains("expired"), "{late}");
    assert_eq!(ann.name, "ann");
}

#[tokio::test]
async fn keys_that_sign_are_rotated_and_nobody_notices() {
    let (house, _) = house().await;
    let before = signed_in(&house, "ann").await;
    let local = Principal::local(Door::Internal);
    let next: Vec<Value> = house.get("/.well-known/jwks.json").await.ok(200)["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].clone())
        .collect();
    let rotated = signing_key::rotate(&house.cx, &local, false).await.unwrap();
    assert!(next.contains(&json!(rotated.current)), "the next one was known before");
    let after = signed_in(&house, "ann").await;
    assert_eq!(parts(&after.access).0["kid"], rotated.current);
    assert_ne!(parts(&before.access).0["kid"], rotated.current);
    for token in [&before.access, &after.access] {
        get(&house, "/api/v1/stacks", token).await.ok(200);
    }
    // By itself, after a month.
    house.clock.advance(Duration::days(31));
    let later = signed_in(&house, "ann").await;
    assert_ne!(parts(&later.access).0["kid"], rotated.current);
    signing_key::rotate(&house.cx, &local, true).await.unwrap();
    get(&house, "/api/v1/stacks", &later.access).await.problem(401, "unauthenticated");
    tokens(&refresh(&house, &later.refresh).await.ok(200));
}

#[tokio::test]
async fn a_key_is_shown_once_and_is_no_more_than_it_says() {
    let (house, admin) = house().await;
    let ann = signed_in(&house, "ann").await;
    let make = async |token: &str, body: Value| {
        call(&house, "POST", "/api/v1/auth/keys", token, Some(body)).await
    };
    let made = make(&ann.access, json!({"name": "n", "scopes": ["stacks:read"]})).await.ok(201);
    let key = made["token"].as_str().unwrap();
    assert!(key.starts_with("slp_") && key.len() == 4 + 8 + 1 + 43 + 1 + 6, "{key}");
    let list = get(&house, "/api/v1/auth/keys", &ann.access).await;
    assert!(!list.text().contains(key) && list.ok(200)["items"][0]["id"] == made["id"]);
    get(&house, "/api/v1/stacks", key).await.ok(200);
    get(&house, "/api/v1/queues", key).await.problem(403, "forbidden");
    let me = get(&house, "/api/v1/auth/me", key).await.ok(200);
    assert_eq!(me["actor"], admin.id.to_string());
    // A key makes no keys.
    make(key, json!({"name": "n", "scopes": ["stacks:read"]})).await.problem(403, "forbidden");
    for bad in [
        json!({"name": "n", "scopes": []}),
        json!({"name": "", "scopes": ["stacks:read"]}),
        json!({"name": "n", "scopes": ["stacks:everything"]}),
        json!({"name": "n", "scopes": ["stacks:read"], "addresses": ["10.0.0.0/33"]}),
        json!({"name": "n", "scopes": ["stacks:read"], "expires_at": "2020-01-01T00:00:00Z"}),
    ] {
        make(&ann.access, bad).await.problem(422, "invalid_input");
    }
    let body = json!({"name": "n", "scopes": ["stacks:read"], "addresses": ["203.0.113.0/24"]});
    let there = make(&ann.access, body).await.ok(201);
    let answer = get(&house, "/api/v1/stacks", there["token"].as_str().unwrap()).await;
    answer.problem(401, "unauthenticated");
    let body =
        json!({"name": "n", "scopes": ["stacks:read"], "expires_at": "2026-01-01T00:10:00Z"});
    let short = make(&ann.access, body).await.ok(201);
    let short = short["token"].as_str().unwrap();
    get(&house, "/api/v1/stacks", short).await.ok(200);
    house.clock.advance(Duration::minutes(10));
    get(&house, "/api/v1/stacks", short).await.problem(401, "unauthenticated");
    let used = get(&house, "/api/v1/stacks", key).await;
    used.ok(200);
    let path = format!("/api/v1/auth/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(call(&house, "DELETE", &path, &ann.access, None).await.status, 204);
    get(&house, "/api/v1/stacks", key).await.problem(401, "unauthenticated");
    // It was still somebody who knew it.
    let said = record(&house, made["id"].as_str().unwrap()).await;
    assert!(said.contains(&("api_key.use".into(), "denied".into())), "{said:?}");
}

#[tokio::test]
async fn what_a_member_loses_its_keys_lose() {
    let (house, _) = house().await;
    let bob = account(&house, "bob", Role::Operator).await;
    let bobs = signed_in(&house, "bob").await;
    let body = json!({"name": "n", "scopes": ["queues:read", "queues:operate"]});
    let made = call(&house, "POST", "/api/v1/auth/keys", &bobs.access, Some(body)).await.ok(201);
    let key = made["token"].as_str().unwrap();
    get(&house, "/api/v1/queues", key).await.ok(200);
    call(&house, "POST", "/api/v1/queues/plan/pause", key, Some(json!({}))).await.ok(200);
    let mut tx = house.cx.store.begin().await.unwrap();
    let member = tx.member(None, bob.id).await.unwrap().unwrap();
    assert!(tx.delete_member(None, bob.id, member.version).await.unwrap());
    tx.commit().await.unwrap();
    // What is only looked at may be a second old; what changes something is not.
    call(&house, "POST", "/api/v1/queues/plan/pause", key, Some(json!({})))
        .await
        .problem(403, "forbidden");
    house.clock.advance(Duration::seconds(1));
    get(&house, "/api/v1/queues", key).await.problem(403, "forbidden");
    get(&house, "/api/v1/queues", &bobs.access).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_stream_ends_when_its_reader_may_not_read_it_any_more() {
    let (house, _) = house().await;
    let ann = signed_in(&house, "ann").await;
    let bob = account(&house, "bob", Role::Viewer).await;
    let bobs = signed_in(&house, "bob").await;
    let body = json!({"name": "n", "scopes": ["deployments:read"]});
    let made = call(&house, "POST", "/api/v1/auth/keys", &bobs.access, Some(body)).await.ok(201);
    let body = submission();
    let made_by = call(&house, "POST", "/api/v1/deployments", &ann.access, Some(body)).await;
    let at = format!("/api/v1/deployments/{}", made_by.ok(202)["id"].as_str().unwrap());
    let open = async |path: &str, token: &str| {
        let request = Request::get(format!("{at}/{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT, "text/event-stream");
        let answer = house.open(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), 200);
        answer.into_body().collect()
    };
    let key = made["token"].as_str().unwrap();
    let of_key = open("logs?follow=true", key).await;
    let of_session = open("events", &bobs.access).await;
    let again = signed_in(&house, "bob").await;
    let of_member = open("events", &again.access).await;
    let of_ann = open("events", &ann.access).await;
    tokio::pin!(of_key, of_session, of_member, of_ann);
    let soon = async |stream: &mut std::pin::Pin<&mut _>| {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), stream).await;
        let ended: Result<http_body_util::Collected<_>, axum::Error> = ended.expect("it ends");
        String::from_utf8(ended.unwrap().to_bytes().to_vec()).unwrap()
    };
    let wait = std::time::Duration::from_millis(200);
    assert!(tokio::time::timeout(wait, &mut of_session).await.is_err(), "it goes on");
    let path = format!("/api/v1/auth/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(call(&house, "DELETE", &path, &bobs.access, None).await.status, 204);
    assert!(!soon(&mut of_key).await.contains("event: end"));
    let left = call(&house, "POST", "/api/v1/auth/logout", &bobs.access, None).await;
    assert_eq!(left.status, 204);
    assert!(soon(&mut of_session).await.contains("event: submitted"));
    assert!(tokio::time::timeout(wait, &mut of_member).await.is_err(), "another session's");
    let mut tx = house.cx.store.begin().await.unwrap();
    let member = tx.member(None, bob.id).await.unwrap().unwrap();
    assert!(tx.delete_member(None, bob.id, member.version).await.unwrap());
    tx.commit().await.unwrap();
    soon(&mut of_member).await;
    assert!(tokio::time::timeout(wait, &mut of_ann).await.is_err(), "somebody else's");
}

#[tokio::test]
async fn service_accounts_have_keys_that_admins_make() {
    let (house, _) = house().await;
    let ann = signed_in(&house, "ann").await;
    let body = json!({"kind": "service", "name": "ci"});
    let ci = call(&house, "POST", "/api/v1/accounts", &ann.access, Some(body.clone())).await;
    let ci = ci.ok(201)["id"].as_str().unwrap().to_owned();
    call(&house, "POST", "/api/v1/accounts", &ann.access, Some(body))
        .await
        .problem(409, "conflict");
    let body = json!({"name": "n", "scopes": ["stacks:read"], "account_id": ci});
    let made = call(&house, "POST", "/api/v1/auth/keys", &ann.access, Some(body.clone())).await;
    let made = made.ok(201);
    let key = made["token"].as_str().unwrap();
    // It is a member of nothing yet.
    let me = get(&house, "/api/v1/auth/me", key).await.ok(200);
    assert_eq!((&me["actor"], &me["house"]["scopes"]), (&json!(ci), &json!([])));
    let bob = account(&house, "bob", Role::Operator).await;
    let bobs = signed_in(&house, "bob").await;
    call(&house, "POST", "/api/v1/auth/keys", &bobs.access, Some(body))
        .await
        .problem(403, "forbidden");
    let body = json!({"name": "n", "scopes": ["stacks:read"], "account_id": bob.id});
    call(&house, "POST", "/api/v1/auth/keys", &ann.access, Some(body))
        .await
        .problem(403, "forbidden");
    login(&house, "ci", PASSWORD).await.problem(401, "unauthenticated");
    let list = get(&house, &format!("/api/v1/accounts/{ci}/keys"), &ann.access).await.ok(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    get(&house, &format!("/api/v1/accounts/{ci}"), &bobs.access).await.problem(403, "forbidden");
}

#[tokio::test]
async fn accounts_are_made_by_whoever_may() {
    let house = House::asking_who(AuthSettings::default()).await;
    let register = async |body: Value| house.post("/api/v1/auth/register", &body).await;
    let body = json!({"name": "ann", "password": PASSWORD});
    register(body.clone()).await.problem(403, "forbidden");
    let token = sign_in::first_token(&house.cx).await.unwrap().unwrap();
    let with = |token: &str| json!({"name": "ann", "password": PASSWORD, "first_token": token});
    register(with("slf_guess")).await.problem(401, "unauthenticated");
    let weak = json!({"name": "ann", "password": "short", "first_token": token.reveal()});
    register(weak).await.problem(422, "invalid_input");
    register(with(token.reveal())).await.ok(201);
    let ann = signed_in(&house, "ann").await;
    get(&house, "/api/v1/accounts", &ann.access).await.ok(200);
    let mut again = with(token.reveal());
    again["name"] = json!("bob");
    register(again).await.problem(401, "unauthenticated");
    assert!(sign_in::first_token(&house.cx).await.unwrap().is_none());
    let settings = AuthSettings { registration: true, ..AuthSettings::default() };
    let house = House::asking_who(settings).await;
    let made = house.post("/api/v1/auth/register", &body).await.ok(201);
    assert_eq!(made["kind"], "person");
    let ann = signed_in(&house, "ann").await;
    get(&house, "/api/v1/stacks", &ann.access).await.problem(403, "forbidden");
    house.post("/api/v1/auth/register", &body).await.problem(409, "conflict");
}

fn cookie_of(answer: &Answer, name: &str) -> String {
    let mut cookies = answer.headers.get_all("set-cookie").iter().map(|c| c.to_str().unwrap());
    let found = cookies.rfind(|cookie| cookie.starts_with(name)).unwrap();
    for part in ["; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(found.contains(part), "{found}");
    }
    found.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_browser_has_a_cookie_and_acts_from_our_pages_only() {
    let (house, _) = house().await;
    let body = json!({"name": "ann", "password": PASSWORD, "cookie": true});
    let answer = house.post("/api/v1/auth/login", &body).await;
    let said = answer.ok(200);
    assert!(said.get("access_token").is_none() && said.get("refresh_token").is_none(), "{said}");
    let cookie = cookie_of(&answer, "__Host-slipway_session=");
    let send = async |method: &str, path: &str, more: &[(&'static str, &str)]| {
        let mut request = Request::builder().method(method).uri(path).header("cookie", &cookie);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        house.send(request.body(Body::empty()).unwrap()).await
    };
    send("GET", "/api/v1/auth/me", &[]).await.ok(200);
    let pause = "/api/v1/queues/plan/resume";
    send("POST", pause, &[]).await.problem(403, "forbidden");
    send("POST", pause, &[("sec-fetch-site", "cross-site")]).await.problem(403, "forbidden");
    send("POST", pause, &[("sec-fetch-site", "same-origin")]).await.ok(200);
    send("POST", pause, &[("origin", "http://localhost:8000")]).await.ok(200);
    send("POST", pause, &[("origin", "http://evil.example")]).await.problem(403, "forbidden");
    // A cookie is no bearer token, and opens no MCP.
    let value = cookie.split_once('=').unwrap().1;
    get(&house, "/api/v1/stacks", value).await.problem(401, "unauthenticated");
    assert_eq!(send("POST", "/mcp", &[("sec-fetch-site", "same-origin")]).await.status, 401);
    let out = send("POST", "/api/v1/auth/logout", &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!(out.status, 204);
    send("GET", "/api/v1/auth/me", &[]).await.problem(401, "unauthenticated");
}

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

#[tokio::test]
async fn a_key_that_was_thrown_away_elsewhere_is_good_for_nothing_here() {
    let (house, _) = house().await;
    let ann = signed_in(&house, "ann").await;
    get(&house, "/api/v1/auth/me", &ann.access).await.ok(200);
    let elsewhere = Ctx { gathered: Gathered::default(), ..house.cx.clone() };
    let who = Principal::local(Door::Internal);
    signing_key::rotate(&elsewhere, &who, true).await.unwrap();
    house.clock.advance(Duration::seconds(61));
    get(&house, "/api/v1/auth/me", &ann.access).await.problem(401, "unauthenticated");
    get(&house, "/api/v1/stacks", &ann.access).await.problem(401, "unauthenticated");
    let again = tokens(&refresh(&house, &ann.refresh).await.ok(200));
    get(&house, "/api/v1/auth/me", &again.access).await.ok(200);
}

#[tokio::test]
async fn the_first_token_is_good_until_there_is_an_admin() {
    let house = House::asking_who(AuthSettings::default()).await;
    let token = sign_in::first_token(&house.cx).await.unwrap().unwrap();
    let who = Principal::local(Door::Internal);
    sign_in::create_admin(&house.cx, &who, &person("ann")).await.unwrap();
    let body = json!({"name": "eve", "password": PASSWORD, "first_token": token.reveal()});
    house.post("/api/v1/auth/register", &body).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_key_puts_nobody_out() {
    let (house, _) = house().await;
    let ann = signed_in(&house, "ann").await;
    let body = json!({"name": "n", "scopes": ["deployments:read"]});
    let made = call(&house, "POST", "/api/v1/auth/keys", &ann.access, Some(body)).await.ok(201);
    let key = made["token"].as_str().unwrap();
    for path in ["/api/v1/auth/sessions", &format!("/api/v1/auth/sessions/{}", ann.session)] {
        call(&house, "DELETE", path, key, None).await.problem(403, "forbidden");
    }
    get(&house, "/api/v1/auth/me", &ann.access).await.ok(200);
}

#[tokio::test]
async fn an_admin_who_is_stopped_is_none() {
    let (house, admin) = house().await;
    let bob = account(&house, "bob", Role::Admin).await;
    let ann = signed_in(&house, "ann").await;
    let path = format!("/api/v1/accounts/{}/disable", bob.id);
    call(&house, "POST", &path, &ann.access, None).await.ok(200);
    let path = format!("/api/v1/members/{}", admin.id);
    call(&house, "DELETE", &path, &ann.access, None).await.problem(409, "last_admin");
}
