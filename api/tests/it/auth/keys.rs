//! API keys, service accounts, and what becomes of them.

use chrono::Duration;
use serde_json::{Value, json};
use slipway_domain::access::Role;

use super::{PASSWORD, account, call, get, house, login, record, signed_in};

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
