//! Who may come in: the open routes, tokens that are attacked, sessions, keys, providers, exchange.

mod keys;
mod providers;
mod tokens;

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Duration;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use slipway_domain::Secret;
use slipway_domain::access::{Door, Principal, Role};
use slipway_domain::auth::account::Account;
use slipway_domain::member::{Member, MemberRoles};
use slipway_queue::Signal;
use slipway_services::auth::sign_in::{self, NewPerson};
use slipway_services::auth::{AuthSettings, hashes_of_passwords};

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
        answer.into_body()
    };
    // Read all the time: one that is left alone in the middle of a question keeps its connection to
    // the database.
    let read = |body: Body| tokio::spawn(body.collect());
    let key = made["token"].as_str().unwrap();
    let mut of_key = read(open("logs?follow=true", key).await);
    let mut of_session = read(open("events", &bobs.access).await);
    let again = signed_in(&house, "bob").await;
    let mut of_member = read(open("events", &again.access).await);
    let mut of_ann = read(open("events", &ann.access).await);
    let soon = async |stream: &mut tokio::task::JoinHandle<_>| {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), stream).await;
        let ended: Result<http_body_util::Collected<_>, axum::Error> =
            ended.expect("it ends").unwrap();
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
async fn a_stream_does_not_keep_what_others_wait_for() {
    // One connection to the database, and a look at the rights of the reader every 50 ms.
    let (house, _) = house().await;
    let ann = signed_in(&house, "ann").await;
    let made = call(&house, "POST", "/api/v1/deployments", &ann.access, Some(submission())).await;
    let made = made.ok(202);
    let id = made["id"].as_str().unwrap();
    let request = Request::get(format!("/api/v1/deployments/{id}/events"))
        .header(header::AUTHORIZATION, format!("Bearer {}", ann.access))
        .header(header::ACCEPT, "text/event-stream");
    let stream = house.open(request.body(Body::empty()).unwrap()).await.into_body();
    let _stream = tokio::spawn(stream.collect());
    let moment = std::time::Duration::from_millis(200);
    tokio::time::sleep(moment).await;
    for _ in 0..3 {
        // What comes next waits for the connection, and then the look does.
        let tx = house.cx.store.read().await.unwrap();
        house.cx.transport.publish(Signal::Changed(id.parse().unwrap())).await.unwrap();
        tokio::time::sleep(moment).await;
        drop(tx);
        let answer = get(&house, "/api/v1/stacks", &ann.access);
        let answer = tokio::time::timeout(std::time::Duration::from_secs(3), answer).await;
        answer.expect("it is answered soon").ok(200);
    }
}

#[tokio::test]
async fn whoever_waits_is_looked_up_again() {
    let (house, _) = house().await;
    let ann = signed_in(&house, "ann").await;
    account(&house, "bob", Role::Viewer).await;
    let bobs = signed_in(&house, "bob").await;
    let body = Some(submission());
    let made = call(&house, "POST", "/api/v1/deployments", &ann.access, body).await.ok(202);
    let at = format!("/api/v1/deployments/{}?wait_s=30", made["id"].as_str().unwrap());
    let (waited, ()) = tokio::join!(get(&house, &at, &bobs.access), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let left = call(&house, "POST", "/api/v1/auth/logout", &bobs.access, None).await;
        assert_eq!(left.status, 204);
    });
    waited.problem(401, "unauthenticated");
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
async fn an_admin_who_is_stopped_is_none() {
    let (house, admin) = house().await;
    let bob = account(&house, "bob", Role::Admin).await;
    let ann = signed_in(&house, "ann").await;
    let path = format!("/api/v1/accounts/{}/disable", bob.id);
    call(&house, "POST", &path, &ann.access, None).await.ok(200);
    let path = format!("/api/v1/members/{}", admin.id);
    call(&house, "DELETE", &path, &ann.access, None).await.problem(409, "last_admin");
}
