//! Signing in at an OpenID provider: code, PKCE, nonce.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use slipway_domain::Secret;
use slipway_domain::auth::identity::Proven;
use slipway_domain::port::identity_provider::{Claims, IdentityError, IdentityProvider, SignIn};

use crate::discovery::Issuer;
use crate::fetch::{Auth, Fetch, checked};
use crate::jwt;

/// An OpenID provider.
#[derive(Debug, Clone)]
pub struct OidcOptions {
    /// What paths and rows call it.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Its URL.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// What proves that.
    pub client_secret: Secret<String>,
}

/// An OpenID provider, found by discovery when it is first used.
#[derive(Debug)]
pub struct Oidc {
    options: OidcOptions,
    fetch: Fetch,
    issuer: Issuer,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: Option<Secret<String>>,
    access_token: Option<Secret<String>>,
}

/// What the code is changed with is not what was shown to the browser (RFC 7636, S256).
pub(crate) fn challenge(verifier: &Secret<String>) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.reveal().as_bytes()))
}

fn refused(why: &str) -> IdentityError {
    IdentityError::Refused(why.to_owned())
}

impl Oidc {
    /// A provider that nobody has asked yet.
    pub fn new(fetch: &Fetch, options: OidcOptions) -> Self {
        let issuer = Issuer::new(fetch.clone(), &options.issuer);
        Self { options, fetch: fetch.clone(), issuer }
    }

    /// An address of mail that the provider has verified: from the token, or from where it is asked.
    async fn email(
        &self,
        claims: &Claims,
        access_token: Option<&Secret<String>>,
    ) -> Result<Option<String>, IdentityError> {
        let verified = |claims: &Claims| {
            let text = claims.get("email").and_then(Value::as_str)?;
            let so = match claims.get("email_verified") {
                Some(Value::Bool(so)) => *so,
                Some(Value::String(so)) => so == "true",
                _ => false,
            };
            so.then(|| text.to_owned())
        };
        if claims.contains_key("email") {
            return Ok(verified(claims));
        }
        let endpoint = self.issuer.metadata().await?.userinfo_endpoint;
        let (Some(endpoint), Some(token)) = (endpoint, access_token) else { return Ok(None) };
        let more: Claims = self.fetch.get(&endpoint, Auth::Bearer(token)).await?;
        if more.get("sub") != claims.get("sub") {
            return Err(refused("the provider speaks of somebody else"));
        }
        Ok(verified(&more))
    }
}

#[async_trait]
impl IdentityProvider for Oidc {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn issuer(&self) -> &str {
        &self.options.issuer
    }

    async fn authorize_url(&self, ask: &SignIn) -> Result<String, IdentityError> {
        let metadata = self.issuer.metadata().await?;
        let mut url = checked(&metadata.authorization_endpoint)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.options.client_id)
            .append_pair("redirect_uri", &ask.redirect_uri)
            .append_pair("scope", "openid email profile")
            .append_pair("state", ask.state.reveal())
            .append_pair("nonce", ask.nonce.reveal())
            .append_pair("code_challenge", &challenge(&ask.verifier))
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    async fn identify(
        &self,
        code: &Secret<String>,
        ask: &SignIn,
        now: DateTime<Utc>,
    ) -> Result<Proven, IdentityError> {
        let metadata = self.issuer.metadata().await?;
        let OidcOptions { client_id, client_secret, .. } = &self.options;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.reveal().as_str()),
            ("redirect_uri", &ask.redirect_uri),
            ("code_verifier", ask.verifier.reveal()),
        ];
        let auth = if metadata.wants_secret_in_form() {
            form.extend([
                ("client_id", client_id.as_str()),
                ("client_secret", client_secret.reveal()),
            ]);
            Auth::Nothing
        } else {
            Auth::Basic(client_id, client_secret)
        };
        let answer: TokenAnswer = self.fetch.post(&metadata.token_endpoint, auth, &form).await?;
        let token = answer.id_token.ok_or_else(|| refused("the provider gave no id token"))?;
        let claims = jwt::verify(&self.issuer, &[client_id.clone()].into(), &token, now).await?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("nonce") != Some(ask.nonce.reveal().as_str()) {
            return Err(refused("the id token was made for another sign-in (nonce)"));
        }
        let several = claims.get("aud").and_then(Value::as_array).is_some_and(|a| a.len() > 1);
        let for_other = text("azp").map_or(several, |party| party != client_id);
        if for_other {
            return Err(refused("the id token was made for another client (azp)"));
        }
        let subject = text("sub").unwrap_or_default().to_owned();
        let name = text("preferred_username").or_else(|| text("name")).map(str::to_owned);
        let verified_email = self.email(&claims, answer.access_token.as_ref()).await?;
        Ok(Proven { subject, name, verified_email })
    }
}
