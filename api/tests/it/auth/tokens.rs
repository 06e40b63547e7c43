//! What tokens are worth: forged, expired, of keys that were rotated or thrown away.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::Duration;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use slipway_domain::access::{Door, Principal, Role};
use slipway_services::Ctx;
use slipway_services::auth::sign_in;
use slipway_services::auth::{AuthSettings, signing_key};

use super::{account, call, get, house, person, refresh, signed_in, tokens};
use crate::house::House;

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
async fn a_key_that_was_thrown_away_elsewhere_is_good_for_nothing_here() {
    let (house, _) = house().await;
    let ann = signed_in(&house, "ann").await;
    get(&house, "/api/v1/auth/me", &ann.access).await.ok(200);
    let elsewhere = Ctx { gathered: std::sync::Arc::default(), ..house.cx.clone() };
    let who = Principal::local(Door::Internal);
    signing_key::rotate(&elsewhere, &who, true).await.unwrap();
    house.clock.advance(Duration::seconds(61));
    get(&house, "/api/v1/auth/me", &ann.access).await.problem(401, "unauthenticated");
    get(&house, "/api/v1/stacks", &ann.access).await.problem(401, "unauthenticated");
    let again = tokens(&refresh(&house, &ann.refresh).await.ok(200));
    get(&house, "/api/v1/auth/me", &again.access).await.ok(200);
}
