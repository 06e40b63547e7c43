//! Sessions: one sign-in each.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Narrowing;
use crate::id::{AccountId, SessionId};

/// A sign-in, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Session {
    /// The session; `sid` of its access tokens.
    pub id: SessionId,
    /// Whose it is.
    pub account_id: AccountId,
    /// How they signed in: `password`, `provider:github`, `exchange:<rule>`, `first`.
    #[schema(example = "password")]
    pub method: String,
    /// What its tokens are good for at most.
    #[serde(flatten)]
    pub narrowing: Narrowing,
    /// From where they signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What their program called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was used last, within a minute or so.
    pub last_used_at: DateTime<Utc>,
    /// When it ends by itself at the latest.
    pub expires_at: DateTime<Utc>,
    /// When it was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it was ended: `logout`, `revoked`, `refresh_reused`, `password_changed`, `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_why: Option<String>,
}

impl Session {
    /// Whether it is good at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }

    /// Whether a person signed in, and not a token of another issuer.
    pub fn is_of_person(&self) -> bool {
        !self.method.starts_with("exchange:")
    }
}
