//! Who says who somebody is, outside: a provider that people sign in at, and issuers whose tokens
//! machines show.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::auth::identity::Proven;
use crate::secret::Secret;

/// Why nobody was identified. Texts hold no code, no token and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The provider cannot be reached or is busy: the same may well succeed later.
    #[error("{0}")]
    Away(String),
    /// What it said, or what it was shown, is not taken.
    #[error("{0}")]
    Refused(String),
}

/// One sign-in: what goes to the provider, and what must come back.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Where the provider sends the browser back to.
    pub redirect_uri: String,
    /// Comes back with the browser.
    pub state: Secret<String>,
    /// Comes back inside the provider's token.
    pub nonce: Secret<String>,
    /// What proves that who redeems the code is who asked for it (PKCE).
    pub verifier: Secret<String>,
}

/// A provider that people sign in at.
#[async_trait]
pub trait IdentityProvider: Send + Sync + fmt::Debug {
    /// What paths and rows call it: `github`.
    fn name(&self) -> &str;

    /// What people call it.
    fn title(&self) -> &str;

    /// Whose numbers of people they are: its issuer, or its URL. The same person elsewhere is somebody
    /// else.
    fn issuer(&self) -> &str;

    /// Where to send the browser.
    async fn authorize_url(&self, ask: &SignIn) -> Result<String, IdentityError>;

    /// Who came back with `code`.
    async fn identify(
        &self,
        code: &Secret<String>,
        ask: &SignIn,
        now: DateTime<Utc>,
    ) -> Result<Proven, IdentityError>;
}

/// The claims of a token that was found to be good.
pub type Claims = BTreeMap<String, Value>;

/// Issuers whose tokens machines show.
#[async_trait]
pub trait TokenIssuers: Send + Sync + fmt::Debug {
    /// Whether tokens of `issuer` are looked at.
    fn trusts(&self, issuer: &str) -> bool;

    /// The claims of a token: signature, issuer, audience (one of these) and times are right.
    async fn verify(
        &self,
        issuer: &str,
        audiences: &BTreeSet<String>,
        token: &Secret<String>,
        now: DateTime<Utc>,
    ) -> Result<Claims, IdentityError>;
}
