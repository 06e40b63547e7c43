//! What an issuer says of itself, and its keys; read once an hour, and again for a key that is not
//! known.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde::Deserialize;
use slipway_domain::port::identity_provider::IdentityError;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::fetch::{Auth, Fetch, checked};

/// How long it is believed.
const FRESH: Duration = Duration::from_hours(1);
/// For a key that is not known it is read again, but not more often than this.
const AGAIN: Duration = Duration::from_secs(30);
/// Keys of an issuer at most.
const MAX_KEYS: usize = 100;

/// What it says of itself (OpenID Connect Discovery).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata {
    issuer: String,
    #[serde(default)]
    pub(crate) authorization_endpoint: String,
    #[serde(default)]
    pub(crate) token_endpoint: String,
    #[serde(default)]
    pub(crate) userinfo_endpoint: Option<String>,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Whether the client's secret goes into the form, because the issuer takes it nowhere else.
    pub(crate) fn wants_secret_in_form(&self) -> bool {
        self.token_endpoint_auth_methods_supported.as_ref().is_some_and(|methods| {
            let has = |name: &str| methods.iter().any(|method| method == name);
            has("client_secret_post") && !has("client_secret_basic")
        })
    }
}

struct Read {
    metadata: Metadata,
    keys: Vec<Jwk>,
    at: Instant,
}

/// An issuer.
pub(crate) struct Issuer {
    fetch: Fetch,
    url: String,
    read: Mutex<Option<Arc<Read>>>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({})", self.url)
    }
}

impl Issuer {
    pub(crate) fn new(fetch: Fetch, url: &str) -> Self {
        Self { fetch, url: url.to_owned(), read: Mutex::new(None) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it says of itself.
    pub(crate) async fn metadata(&self) -> Result<Metadata, IdentityError> {
        Ok(self.read(FRESH).await?.metadata.clone())
    }

    /// The key of this name; of the only key there is when no name is said.
    pub(crate) async fn key(&self, kid: Option<&str>) -> Result<Jwk, IdentityError> {
        let find = |read: &Read| match kid {
            Some(kid) => {
                read.keys.iter().find(|key| key.common.key_id.as_deref() == Some(kid)).cloned()
            }
            None => match read.keys.as_slice() {
                [one] => Some(one.clone()),
                _ => None,
            },
        };
        if let Some(key) = find(&*self.read(FRESH).await?) {
            return Ok(key);
        }
        // It may be a new one.
        let found = find(&*self.read(AGAIN).await?);
        found.ok_or_else(|| {
            IdentityError::Refused(format!("{} does not know the key of the token", self.url))
        })
    }

    /// What was read at most `age` ago. Whoever comes meanwhile waits for the same reading.
    async fn read(&self, age: Duration) -> Result<Arc<Read>, IdentityError> {
        let mut kept = self.read.lock().await;
        if let Some(read) = kept.as_ref().filter(|read| read.at.elapsed() < age) {
            return Ok(read.clone());
        }
        let at = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let metadata: Metadata = self.fetch.get(&at, Auth::Nothing).await?;
        if metadata.issuer != self.url {
            let why = format!("{} says that it is another issuer", self.url);
            return Err(IdentityError::Refused(why));
        }
        for url in [&metadata.authorization_endpoint, &metadata.token_endpoint] {
            // An issuer of tokens for machines need not have them.
            if !url.is_empty() {
                checked(url)?;
            }
        }
        let JwkSet { mut keys } = self.fetch.get(&metadata.jwks_uri, Auth::Nothing).await?;
        keys.truncate(MAX_KEYS);
        let read = Arc::new(Read { metadata, keys, at: Instant::now() });
        *kept = Some(read.clone());
        Ok(read)
    }
}
