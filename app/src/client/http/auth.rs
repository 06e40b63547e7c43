//! Signing in, keys, sessions, accounts; and what is shown with every request.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slipway_domain::Secret;
use slipway_domain::auth::account::{Account, AccountKind};
use slipway_domain::auth::api_key::{ApiKey, NewApiKey};
use slipway_domain::auth::session::Session;
use slipway_domain::clock::{Clock as _, SystemClock};
use slipway_domain::id::{AccountId, ApiKeyId, SessionId};
use slipway_domain::page::Page;

use super::transport::{Call, Showing};
use super::{Client, ClientError};
use crate::client::credentials::{CredentialsFile, Kept};

/// What a sign-in gives.
#[derive(Deserialize)]
pub struct Tokens {
    /// The session.
    pub session: Session,
    access_token: String,
    expires_in: i64,
    refresh_token: String,
}

impl Tokens {
    /// What to show for as long as it is good: minutes.
    pub fn access_token(&self) -> Secret<String> {
        Secret::new(self.access_token.clone())
    }

    /// As it is kept.
    pub fn kept(&self) -> Kept {
        Kept::Session {
            access_token: self.access_token.clone(),
            expires_at: SystemClock.now() + chrono::Duration::seconds(self.expires_in),
            refresh_token: self.refresh_token.clone(),
        }
    }
}

/// A key that was made.
#[derive(Clone, Serialize, Deserialize)]
pub struct MadeKey {
    /// What is known of it.
    #[serde(flatten)]
    pub key: ApiKey,
    /// The key itself.
    pub token: String,
}

impl Client {
    /// The same client, showing what is in the file for its server, or `token` if there is one.
    #[must_use]
    pub fn showing(self, token: Option<Secret<String>>, file: Option<CredentialsFile>) -> Self {
        let showing = match (token, file) {
            (Some(token), _) => Showing::Token(token),
            (None, Some(file)) => Showing::File(file),
            (None, None) => Showing::Nothing,
        };
        self.with(showing)
    }

    /// What to show now. A session's token that ends soon is changed first. Two processes that do so
    /// at once get the same one.
    pub(super) async fn bearer(&self) -> Result<Option<Secret<String>>, ClientError> {
        let file = match self.shows() {
            Showing::Nothing => return Ok(None),
            Showing::Token(token) => return Ok(Some(token.clone())),
            Showing::File(file) => file,
        };
        let Some(kept) = file.get(self.base())? else { return Ok(None) };
        if let Some(token) = kept.to_show(SystemClock.now()) {
            return Ok(Some(token));
        }
        let Kept::Session { refresh_token, .. } = kept else { return Ok(None) };
        let call = Call::new(Method::POST, &["auth", "refresh"])
            .json(&json!({"refresh_token": refresh_token}))?
            .openly();
        match Box::pin(self.send(call)).await {
            Ok(answer) => {
                let kept = answer.json::<Tokens>().await?.kept();
                let token = kept.to_show(SystemClock.now());
                file.set(self.base(), Some(kept))?;
                Ok(token)
            }
            Err(ClientError::Refused(problem)) if problem.status == 401 => {
                // It is good for nothing any more: what is asked for may still be open.
                file.set(self.base(), None)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// `POST /auth/login`.
    pub async fn login(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Tokens, ClientError> {
        let body = json!({"name": name, "password": password.reveal()});
        let call = Call::new(Method::POST, &["auth", "login"]).json(&body)?.openly();
        self.send(call).await?.json().await
    }

    /// `POST /auth/register`.
    pub async fn register(
        &self,
        name: &str,
        email: Option<&str>,
        password: &Secret<String>,
        first_token: Option<&Secret<String>>,
    ) -> Result<Account, ClientError> {
        let mut body = json!({"name": name, "password": password.reveal()});
        if let Some(email) = email {
            body["email"] = email.into();
        }
        if let Some(token) = first_token {
            body["first_token"] = token.reveal().as_str().into();
        }
        let call = Call::new(Method::POST, &["auth", "register"]).json(&body)?.openly();
        self.send(call).await?.json().await
    }

    /// `POST /auth/logout`.
    pub async fn logout(&self) -> Result<(), ClientError> {
        self.send(Call::new(Method::POST, &["auth", "logout"])).await.map(|_| ())
    }

    /// `GET /auth/me`.
    pub async fn whoami(&self) -> Result<Value, ClientError> {
        self.get(&["auth", "me"], &[]).await?.json().await
    }

    /// `GET /auth/keys`, or those of an account.
    pub async fn api_keys(&self, of: Option<AccountId>) -> Result<Page<ApiKey>, ClientError> {
        match of {
            None => self.pages(&["auth", "keys"], &[], super::PAGE).await,
            Some(of) => self.pages(&["accounts", &of.to_string(), "keys"], &[], super::PAGE).await,
        }
    }

    /// `POST /auth/keys`.
    pub async fn create_api_key(&self, new: &NewApiKey) -> Result<MadeKey, ClientError> {
        self.send(Call::new(Method::POST, &["auth", "keys"]).json(new)?).await?.json().await
    }

    /// `DELETE /auth/keys/{id}`.
    pub async fn revoke_api_key(&self, id: ApiKeyId) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, &["auth", "keys", &id.to_string()]);
        self.send(call).await.map(|_| ())
    }

    /// `GET /auth/sessions`, or those of an account.
    pub async fn sessions(&self, of: Option<AccountId>) -> Result<Page<Session>, ClientError> {
        match of {
            None => self.pages(&["auth", "sessions"], &[], super::PAGE).await,
            Some(of) => {
                self.pages(&["accounts", &of.to_string(), "sessions"], &[], super::PAGE).await
            }
        }
    }

    /// `DELETE /auth/sessions/{id}`.
    pub async fn revoke_session(&self, id: SessionId) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, &["auth", "sessions", &id.to_string()]);
        self.send(call).await.map(|_| ())
    }

    /// `DELETE /auth/sessions`: all but the one that asks.
    pub async fn revoke_sessions(&self) -> Result<(), ClientError> {
        self.send(Call::new(Method::DELETE, &["auth", "sessions"])).await.map(|_| ())
    }

    /// `GET /accounts`.
    pub async fn accounts(&self) -> Result<Page<Account>, ClientError> {
        self.pages(&["accounts"], &[], super::PAGE).await
    }

    /// `POST /accounts`.
    pub async fn create_account(
        &self,
        kind: AccountKind,
        name: &str,
        email: Option<&str>,
        password: Option<&Secret<String>>,
    ) -> Result<Account, ClientError> {
        let mut body = json!({"kind": kind, "name": name});
        if let Some(email) = email {
            body["email"] = email.into();
        }
        if let Some(password) = password {
            body["password"] = password.reveal().as_str().into();
        }
        self.send(Call::new(Method::POST, &["accounts"]).json(&body)?).await?.json().await
    }

    /// `POST /accounts/{id}/disable` or `/enable`.
    pub async fn set_account_disabled(
        &self,
        id: AccountId,
        disabled: bool,
    ) -> Result<Account, ClientError> {
        let verb = if disabled { "disable" } else { "enable" };
        let call = Call::new(Method::POST, &["accounts", &id.to_string(), verb]);
        self.send(call).await?.json().await
    }
}
