//! Stand-ins for an OpenID provider and for GitHub, on one port of this machine. They check what they
//! are sent (client, code, PKCE, redirect), and can be told to misbehave. For tests only.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Who we are to it.
pub const CLIENT_ID: &str = "slipway";
/// What proves that.
pub const CLIENT_SECRET: &str = "s3cret: of the test";

/// What it is like right now.
#[derive(Debug, Clone, Default)]
pub struct Mood {
    /// Id tokens have this nonce.
    pub nonce: Option<String>,
    /// Tokens are for this client.
    pub aud: Option<Value>,
    /// Tokens have this issuer.
    pub iss: Option<String>,
    /// Tokens are signed with a key that it does not publish, under the name of one that it does.
    pub foreign_key: bool,
    /// Tokens ended an hour ago.
    pub expired: bool,
    /// The address of mail is not verified.
    pub unverified: bool,
    /// It answers with 503.
    pub away: bool,
}

/// Its memory.
pub struct Provider {
    /// Its URL.
    pub url: String,
    /// Who signs in there: `sub`, and the number at GitHub.
    pub subject: String,
    /// What it is like.
    pub mood: Mood,
    /// The time, for its tokens.
    pub now: DateTime<Utc>,
    key: Pair,
    foreign: Pair,
    codes: HashMap<String, Asked>,
    given: u64,
}

struct Pair {
    kid: String,
    private: EncodingKey,
    point: Vec<u8>,
}

struct Asked {
    redirect_uri: String,
    nonce: String,
    challenge: String,
}

/// Shared with whoever changes it.
pub type Shared = Arc<Mutex<Provider>>;

fn pair(kid: &str) -> Pair {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).unwrap();
    let point = key.public_key().as_ref().to_vec();
    Pair { kid: kid.to_owned(), private: EncodingKey::from_ec_der(document.as_ref()), point }
}

impl Provider {
    /// A token with these claims over the usual ones.
    pub fn mint(&self, claims: &Value) -> String {
        let now = self.now.timestamp() - if self.mood.expired { 7200 } else { 0 };
        let mut all = json!({
            "iss": self.mood.iss.as_ref().unwrap_or(&self.url),
            "aud": self.mood.aud.clone().unwrap_or_else(|| CLIENT_ID.into()),
            "sub": self.subject,
            "iat": now,
            "exp": now + 3600,
        });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let key = if self.mood.foreign_key { &self.foreign } else { &self.key };
        let header = Header { kid: Some(self.key.kid.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, &all, &key.private).unwrap()
    }
}

async fn configuration(State(shared): State<Shared>) -> Response {
    let provider = shared.lock().unwrap();
    if provider.mood.away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let url = &provider.url;
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/jwks"),
    }))
    .into_response()
}

async fn jwks(State(shared): State<Shared>) -> Json<Value> {
    let provider = shared.lock().unwrap();
    let (x, y) = provider.key.point[1..].split_at(32);
    Json(json!({"keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": provider.key.kid,
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }]}))
}

type Pairs = HashMap<String, String>;

/// Asks nobody anything, and sends the browser back.
async fn authorize(State(shared): State<Shared>, Query(asked): Query<Pairs>) -> Response {
    let mut provider = shared.lock().unwrap();
    let of = |name: &str| asked.get(name).cloned().unwrap_or_default();
    if of("client_id") != CLIENT_ID || of("code_challenge_method") != "S256" {
        return StatusCode::BAD_REQUEST.into_response();
    }
    provider.given += 1;
    let code = format!("code-{}", provider.given);
    let redirect_uri = of("redirect_uri");
    let back = format!("{redirect_uri}?code={code}&state={}", of("state"));
    let (nonce, challenge) = (of("nonce"), of("code_challenge"));
    provider.codes.insert(code, Asked { redirect_uri, nonce, challenge });
    Redirect::to(&back).into_response()
}

/// Takes a code, once, and only from who asked for it.
fn redeem(provider: &mut Provider, form: &Pairs) -> Option<Asked> {
    let asked = provider.codes.remove(form.get("code")?)?;
    let verifier = form.get("code_verifier")?;
    let proves = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) == asked.challenge;
    (proves && form.get("redirect_uri") == Some(&asked.redirect_uri)).then_some(asked)
}

async fn token(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<Pairs>,
) -> Response {
    let mut provider = shared.lock().unwrap();
    // `slipway:s3cret: of the test`, each form-encoded.
    let wanted = format!("Basic {}", STANDARD.encode("slipway:s3cret%3A+of+the+test"));
    if headers.get(header::AUTHORIZATION).is_none_or(|given| given != wanted.as_str()) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"})))
            .into_response();
    }
    let Some(asked) = redeem(&mut provider, &form) else {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    };
    let nonce = provider.mood.nonce.clone().unwrap_or(asked.nonce);
    let id_token = provider.mint(&json!({"nonce": nonce, "preferred_username": "Ann O'Nym"}));
    Json(json!({"access_token": "at-of-the-test", "token_type": "Bearer", "id_token": id_token}))
        .into_response()
}

fn is_ours(headers: &HeaderMap) -> bool {
    headers.get(header::AUTHORIZATION).is_some_and(|given| given == "Bearer at-of-the-test")
}

async fn userinfo(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let provider = shared.lock().unwrap();
    if !is_ours(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({"sub": provider.subject, "email": "ann@example.com",
        "email_verified": !provider.mood.unverified}))
    .into_response()
}

async fn github_token(State(shared): State<Shared>, Form(form): Form<Pairs>) -> Json<Value> {
    let mut provider = shared.lock().unwrap();
    let known = form.get("client_id").is_some_and(|id| id == CLIENT_ID)
        && form.get("client_secret").is_some_and(|secret| secret == CLIENT_SECRET);
    if !known || redeem(&mut provider, &form).is_none() {
        return Json(json!({"error": "bad_verification_code"}));
    }
    Json(json!({"access_token": "at-of-the-test", "token_type": "bearer"}))
}

async fn github_user(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let provider = shared.lock().unwrap();
    if !is_ours(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let id: u64 = provider.subject.parse().unwrap();
    Json(json!({"id": id, "login": "Ann"})).into_response()
}

async fn github_emails(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let verified = !shared.lock().unwrap().mood.unverified;
    if !is_ours(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!([
        {"email": "old@example.com", "primary": false, "verified": true},
        {"email": "ann@example.com", "primary": true, "verified": verified},
    ]))
    .into_response()
}

/// Starts one on a free port of this machine, whose tokens are of this time. Gives its memory.
pub async fn start(now: DateTime<Utc>) -> Shared {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shared = Arc::new(Mutex::new(Provider {
        url: format!("http://{}", listener.local_addr().unwrap()),
        subject: "4711".to_owned(),
        mood: Mood::default(),
        now,
        key: pair("k1"),
        foreign: pair("k1"),
        codes: HashMap::new(),
        given: 0,
    }));
    let app = Router::new()
        .route("/.well-known/openid-configuration", get(configuration))
        .route("/jwks", get(jwks))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .route("/userinfo", get(userinfo))
        .route("/login/oauth/authorize", get(authorize))
        .route("/login/oauth/access_token", post(github_token))
        .route("/api/user", get(github_user))
        .route("/api/user/emails", get(github_emails))
        .with_state(shared.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    shared
}
