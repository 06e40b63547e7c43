//! Signing in at GitHub, which gives people OAuth tokens only: who they are is asked of its API.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use slipway_domain::Secret;
use slipway_domain::auth::identity::Proven;
use slipway_domain::port::identity_provider::{IdentityError, IdentityProvider, SignIn};

use crate::fetch::{Auth, Fetch, checked};
use crate::oidc::challenge;

/// GitHub, or a GitHub Enterprise Server.
#[derive(Debug, Clone)]
pub struct GitHubOptions {
    /// Where people sign in, without a slash at the end.
    pub url: String,
    /// Its API, without a slash at the end.
    pub api_url: String,
    /// Who we are to it.
    pub client_id: String,
    /// What proves that.
    pub client_secret: Secret<String>,
}

/// GitHub.
#[derive(Debug)]
pub struct GitHub {
    options: GitHubOptions,
    fetch: Fetch,
}

impl GitHub {
    /// GitHub, which nobody has asked yet.
    pub fn new(fetch: &Fetch, options: GitHubOptions) -> Self {
        Self { options, fetch: fetch.clone() }
    }
}

/// It answers 200 also when it refuses.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<Secret<String>>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

#[async_trait]
impl IdentityProvider for GitHub {
    fn name(&self) -> &'static str {
        "github"
    }

    fn title(&self) -> &'static str {
        "GitHub"
    }

    fn issuer(&self) -> &str {
        &self.options.url
    }

    async fn authorize_url(&self, ask: &SignIn) -> Result<String, IdentityError> {
        let mut url = checked(&format!("{}/login/oauth/authorize", self.options.url))?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.options.client_id)
            .append_pair("redirect_uri", &ask.redirect_uri)
            .append_pair("scope", "read:user user:email")
            .append_pair("state", ask.state.reveal())
            .append_pair("code_challenge", &challenge(&ask.verifier))
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    async fn identify(
        &self,
        code: &Secret<String>,
        ask: &SignIn,
        _: DateTime<Utc>,
    ) -> Result<Proven, IdentityError> {
        let GitHubOptions { url, api_url, client_id, client_secret } = &self.options;
        let form = [
            ("client_id", client_id.as_str()),
            ("client_secret", client_secret.reveal()),
            ("code", code.reveal()),
            ("redirect_uri", &ask.redirect_uri),
            ("code_verifier", ask.verifier.reveal()),
        ];
        let at = format!("{url}/login/oauth/access_token");
        let answer: TokenAnswer = self.fetch.post(&at, Auth::Nothing, &form).await?;
        let token = answer.access_token.ok_or_else(|| {
            let why: String = answer.error.unwrap_or_default().chars().take(80).collect();
            IdentityError::Refused(format!("GitHub gives no token: {why}"))
        })?;
        let user: User = self.fetch.get(&format!("{api_url}/user"), Auth::Bearer(&token)).await?;
        let emails: Vec<Email> =
            self.fetch.get(&format!("{api_url}/user/emails"), Auth::Bearer(&token)).await?;
        let own = emails.into_iter().find(|email| email.primary && email.verified);
        Ok(Proven {
            // A login can be given up and taken by somebody else; the number never is.
            subject: user.id.to_string(),
            name: Some(user.login),
            verified_email: own.map(|email| email.email),
        })
    }
}
