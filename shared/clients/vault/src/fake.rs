//! A stand-in for Vault that keeps keys and versions and checks what it is sent: the three calls of
//! the transit engine, as far as they are used here. For tests only.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The token that it takes.
pub const TOKEN: &str = "hvs.t0ken-of-the-test";

/// What it is like right now.
#[derive(Debug, Default)]
pub struct Mood {
    /// It is sealed.
    pub sealed: bool,
    /// It takes so long for every answer.
    pub slow: Option<Duration>,
    /// So many calls fail with this status first.
    pub failing: Option<(u32, u16)>,
    /// It answers this, whatever is asked.
    pub body: Option<String>,
}

/// Its memory.
#[derive(Debug)]
pub struct Vault {
    /// Keys by version, `v1` first.
    pub versions: Vec<[u8; 32]>,
    /// Older versions open nothing any more.
    pub oldest: usize,
    /// Calls so far.
    pub calls: u32,
    /// What it is like.
    pub mood: Mood,
    nonce: u64,
}

/// Shared with whoever changes it.
pub type Shared = Arc<Mutex<Vault>>;

fn problem(status: u16, what: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(json!({"errors": [what]}))).into_response()
}

impl Vault {
    fn cipher(&self, version: usize) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.versions[version - 1]).unwrap())
    }

    fn encrypt(&mut self, plain: &[u8]) -> String {
        self.nonce += 1;
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.nonce.to_be_bytes());
        let version = self.versions.len();
        let mut sealed = plain.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.cipher(version).seal_in_place_append_tag(unique, Aad::empty(), &mut sealed).unwrap();
        let mut whole = nonce.to_vec();
        whole.extend(sealed);
        format!("vault:v{version}:{}", STANDARD.encode(whole))
    }

    fn decrypt(&self, text: &str) -> Result<Vec<u8>, &'static str> {
        let rest = text.strip_prefix("vault:v").ok_or("invalid ciphertext: no prefix")?;
        let (version, sealed) = rest.split_once(':').ok_or("invalid ciphertext: no version")?;
        let version: usize = version.parse().map_err(|_| "invalid ciphertext: version")?;
        if version > self.versions.len() {
            return Err("invalid ciphertext: version is too new");
        }
        if version < self.oldest {
            return Err("ciphertext or signature version is disallowed by policy (too old)");
        }
        let sealed = STANDARD.decode(sealed).map_err(|_| "invalid ciphertext: base64")?;
        let (nonce, sealed) = sealed.split_at(12);
        let nonce = Nonce::assume_unique_for_key(nonce.try_into().unwrap());
        let mut sealed = sealed.to_vec();
        let plain = self.cipher(version).open_in_place(nonce, Aad::empty(), &mut sealed);
        plain.map(|plain| plain.to_vec()).map_err(|_| "cipher: message authentication failed")
    }
}

async fn serve(
    State(vault): State<Shared>,
    Path((mount, operation, key)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let slow = vault.lock().unwrap().mood.slow;
    if let Some(slow) = slow {
        tokio::time::sleep(slow).await;
    }
    let mut vault = vault.lock().unwrap();
    vault.calls += 1;
    if let Some((left, status)) = vault.mood.failing.filter(|(left, _)| *left > 0) {
        vault.mood.failing = Some((left - 1, status));
        return problem(status, "it is tired");
    }
    if vault.mood.sealed {
        return problem(503, "Vault is sealed");
    }
    if let Some(body) = &vault.mood.body {
        return body.clone().into_response();
    }
    if headers.get("x-vault-request").is_none_or(|value| value != "true") {
        return problem(412, "missing request header");
    }
    if headers.get("x-vault-token").is_none_or(|token| token != TOKEN) {
        return problem(403, "permission denied");
    }
    if mount != "transit" {
        return problem(404, &format!("no handler for route \"{mount}/{operation}/{key}\""));
    }
    if key != "slipway" {
        return problem(400, "encryption key not found");
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut failed = false;
    let results: Vec<Value> = body["batch_input"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let answer = match operation.as_str() {
                "encrypt" => {
                    let plain = STANDARD.decode(item["plaintext"].as_str().unwrap()).unwrap();
                    Ok(json!({"ciphertext": vault.encrypt(&plain)}))
                }
                "decrypt" => vault
                    .decrypt(item["ciphertext"].as_str().unwrap())
                    .map(|plain| json!({"plaintext": STANDARD.encode(plain)})),
                "rewrap" => vault
                    .decrypt(item["ciphertext"].as_str().unwrap())
                    .map(|plain| json!({"ciphertext": vault.encrypt(&plain)})),
                _ => Err("unsupported operation"),
            };
            answer.unwrap_or_else(|error| {
                failed = true;
                json!({"error": error})
            })
        })
        .collect();
    let status = if failed { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    (status, axum::Json(json!({"data": {"batch_results": results}}))).into_response()
}

/// Starts one on a free port of this machine, with a key `slipway` of one version. Gives its
/// address, and its memory.
pub async fn start() -> (String, Shared) {
    let vault = Arc::new(Mutex::new(Vault {
        versions: vec![[1; 32]],
        oldest: 1,
        calls: 0,
        nonce: 0,
        mood: Mood::default(),
    }));
    let app =
        Router::new().route("/v1/{mount}/{operation}/{key}", post(serve)).with_state(vault.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, vault)
}
