//! Calls to `/v1/{mount}/{encrypt,decrypt,rewrap}/{key}`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Url, redirect};
use serde_json::{Value, json};
use slipway_domain::Secret;
use slipway_domain::port::key_service::{DataKey, KeyService, KeyServiceError};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::answer::{self, Item, Verdict};

/// Where the token comes from.
#[derive(Debug, Clone)]
pub enum Token {
    /// It is this one, as long as the process lives.
    Value(Secret<String>),
    /// It is in this file, which somebody (Vault Agent) keeps fresh: read for every call.
    File(PathBuf),
}

/// How Vault is reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// `https://vault.example.com:8200`.
    pub address: String,
    /// Where the transit engine is mounted.
    pub mount: String,
    /// The key in it.
    pub key: String,
    /// What we show.
    pub token: Token,
    /// The namespace, where there are namespaces.
    pub namespace: Option<String>,
    /// Certificates (PEM) that Vault's own is checked against, instead of the machine's.
    pub certificates: Option<Vec<u8>>,
    /// One attempt takes no longer.
    pub timeout: Duration,
    /// All attempts of one call take no longer.
    pub deadline: Duration,
}

impl Options {
    /// The defaults, with what has none.
    pub fn new(address: &str, mount: &str, key: &str, token: Token) -> Self {
        Self {
            address: address.to_owned(),
            mount: mount.to_owned(),
            key: key.to_owned(),
            token,
            namespace: None,
            certificates: None,
            timeout: Duration::from_secs(3),
            deadline: Duration::from_secs(8),
        }
    }
}

/// Why there can be no client.
#[derive(Debug)]
pub struct BuildError(String);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault cannot be used as the key service: {}", self.0)
    }
}

impl std::error::Error for BuildError {}

/// Attempts of one call, within its deadline.
const ATTEMPTS: u32 = 3;
/// Before the second attempt; the third waits four times as long.
const PAUSE: Duration = Duration::from_millis(100);
/// A token is never longer.
const MAX_TOKEN: u64 = 16 << 10;

/// Vault's transit engine with one of its keys.
pub struct Transit {
    http: Client,
    base: Url,
    name: String,
    options: Options,
}

impl fmt::Debug for Transit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transit({} at {})", self.name, self.base)
    }
}

impl Transit {
    /// Makes the client; calls nobody.
    pub fn new(options: Options) -> Result<Self, BuildError> {
        let bad = |what: String| BuildError(what);
        let base = Url::parse(&options.address)
            .ok()
            .filter(|url| url.has_host() && url.username().is_empty() && url.password().is_none())
            .ok_or_else(
                || bad("its address is no URL with a host and without a user".to_owned()),
            )?;
        let mut headers = HeaderMap::new();
        // Vault can be told to refuse what lacks it: a proxy that was tricked would not send it.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = &options.namespace {
            let namespace = HeaderValue::from_str(namespace)
                .map_err(|_| bad("its namespace cannot stand in a header".to_owned()))?;
            headers.insert("x-vault-namespace", namespace);
        }
        let mut builder = Client::builder()
            .default_headers(headers)
            // A token goes to the address that was configured and nowhere else.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(options.timeout)
            .timeout(options.timeout);
        if let Some(pem) = &options.certificates {
            let certificates = Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|found| !found.is_empty())
                .ok_or_else(|| bad("keys.vault.ca_file holds no PEM certificate".to_owned()))?;
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder.build().map_err(|error| bad(error.without_url().to_string()))?;
        let name = format!("vault:{}/{}", options.mount, options.key);
        Ok(Self { http, base, name, options })
    }

    async fn token(&self) -> Result<HeaderValue, KeyServiceError> {
        let text = match &self.options.token {
            Token::Value(token) => Zeroizing::new(token.reveal().clone()),
            Token::File(path) => {
                let told = |why: &dyn fmt::Display| {
                    KeyServiceError::Away(format!(
                        "the token of Vault cannot be read from {}: {why}",
                        path.display()
                    ))
                };
                let long = tokio::fs::metadata(path).await.map_err(|e| told(&e))?.len();
                if long > MAX_TOKEN {
                    return Err(told(&"it is too long for a token"));
                }
                let text = tokio::fs::read_to_string(path).await.map_err(|e| told(&e.kind()))?;
                Zeroizing::new(text)
            }
        };
        let mut value = HeaderValue::from_str(text.trim()).map_err(|_| {
            KeyServiceError::Away("the token of Vault cannot stand in a header".to_owned())
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Sends a batch, again if need be, and gives as many items back.
    async fn call(
        &self,
        operation: &'static str,
        batch: Vec<Value>,
    ) -> Result<Vec<Item>, KeyServiceError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let asked = batch.len();
        let path = format!("/v1/{}/{operation}/{}", self.options.mount, self.options.key);
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        // Data keys are in it.
        let body = serde_json::to_vec(&json!({"batch_input": batch}))
            .map_err(|error| KeyServiceError::Refused(error.to_string()))?;
        let end = Instant::now() + self.options.deadline;
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let verdict = match tokio::time::timeout_at(end, self.send(&url, &body)).await {
                Ok(Ok((status, wait, answer))) => {
                    answer::read(operation, &path, status, wait, &answer, asked)
                }
                Ok(Err(error)) => Verdict::Again(error, None),
                Err(_) => Verdict::Failed(self.away("it does not answer in time")),
            };
            let (error, wait) = match verdict {
                Verdict::Done(items) => return Ok(items),
                Verdict::Failed(error) => return Err(error),
                Verdict::Again(error, wait) => (error, wait.unwrap_or(pause)),
            };
            if attempt == ATTEMPTS || Instant::now() + wait >= end {
                return Err(error);
            }
            tracing::debug!(service = self.name, attempt, %error, "Vault is asked again");
            tokio::time::sleep(wait).await;
            attempt += 1;
            pause *= 4;
        }
    }

    async fn send(
        &self,
        url: &Url,
        body: &[u8],
    ) -> Result<(reqwest::StatusCode, Option<Duration>, Zeroizing<Vec<u8>>), KeyServiceError> {
        let token = self.token().await?;
        let request = self
            .http
            .post(url.clone())
            .header(HeaderName::from_static("x-vault-token"), token)
            .header("content-type", "application/json")
            .body(body.to_vec());
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let mut answer = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if answer.len() + chunk.len() > answer::MAX_BODY {
                return Err(self.away("its answer is too long"));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok((status, wait, answer))
    }

    fn unreachable(&self, error: &reqwest::Error) -> KeyServiceError {
        let what = if error.is_timeout() {
            "it does not answer in time"
        } else if error.is_connect() {
            "no connection can be made (the address, the network, or its certificate)"
        } else {
            "the connection broke"
        };
        tracing::debug!(service = self.name, %error, "Vault cannot be reached");
        self.away(what)
    }

    fn away(&self, what: &str) -> KeyServiceError {
        KeyServiceError::Away(format!("Vault at {} cannot be used: {what}", self.base))
    }
}

/// `vault:v3:…` is what it looks like.
fn version_of(wrapped: &str) -> Option<&str> {
    let (version, rest) = wrapped.strip_prefix("vault:")?.split_once(':')?;
    let digits = version.strip_prefix('v')?;
    let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (number && !rest.is_empty()).then_some(version)
}

/// What was wrapped must look like it: it is all that is kept of a key.
fn wrapped(items: Vec<Item>) -> Result<Vec<String>, KeyServiceError> {
    items
        .into_iter()
        .map(|item| {
            if version_of(&item.ciphertext).is_some() {
                return Ok(item.ciphertext);
            }
            Err(KeyServiceError::Refused(
                "what Vault gave for a data key is no `vault:v…:…`".to_owned(),
            ))
        })
        .collect()
}

#[async_trait]
impl KeyService for Transit {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self, wrapped: &str) -> Option<String> {
        version_of(wrapped).map(ToOwned::to_owned)
    }

    async fn wrap(&self, keys: &[DataKey]) -> Result<Vec<String>, KeyServiceError> {
        let batch = keys.iter().map(|key| json!({"plaintext": STANDARD.encode(**key)})).collect();
        wrapped(self.call("encrypt", batch).await?)
    }

    async fn unwrap(&self, wrapped: &[String]) -> Result<Vec<DataKey>, KeyServiceError> {
        let batch = wrapped.iter().map(|text| json!({"ciphertext": text})).collect();
        let items = self.call("decrypt", batch).await?;
        items
            .into_iter()
            .map(|item| {
                let text = Zeroizing::new(item.plaintext);
                let key = Zeroizing::new(STANDARD.decode(&*text).unwrap_or_default());
                let key: [u8; 32] = key.as_slice().try_into().map_err(|_| {
                    KeyServiceError::Refused("what Vault opened is no data key".to_owned())
                })?;
                Ok(DataKey::new(key))
            })
            .collect()
    }

    async fn rewrap(&self, old: &[String]) -> Result<Vec<String>, KeyServiceError> {
        let batch = old.iter().map(|text| json!({"ciphertext": text})).collect();
        wrapped(self.call("rewrap", batch).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_off_and_nonsense_is_none() {
        assert_eq!(version_of("vault:v12:abc"), Some("v12"));
        for text in ["", "vault:", "vault:v1:", "vault:1:abc", "vault:v:abc", "other:v1:abc"] {
            assert_eq!(version_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_client_needs_a_plain_address_and_shows_no_token() {
        let token = || Token::Value(Secret::new("t0ken-of-the-test".to_owned()));
        for address in ["", "vault", "https://user:pw@vault:8200"] {
            assert!(Transit::new(Options::new(address, "transit", "k", token())).is_err());
        }
        let mut options = Options::new("https://vault:8200", "transit", "k", token());
        options.certificates = Some(b"no PEM".to_vec());
        let error = Transit::new(options.clone()).unwrap_err();
        assert!(error.to_string().contains("ca_file"), "{error}");
        assert!(!format!("{options:?}").contains("t0ken"), "{options:?}");
    }
}
