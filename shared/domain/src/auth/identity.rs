//! Who somebody is elsewhere, and which account they have here for it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::AccountId;

/// A provider's word for who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The provider's own, lasting number or name of them.
    pub subject: String,
    /// What they call themselves there; may change.
    pub name: Option<String>,
    /// An address of mail that the provider has verified.
    pub verified_email: Option<String>,
}

/// An account's sign-in at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Identity {
    /// The provider.
    #[schema(example = "github")]
    pub provider: String,
    /// The provider's issuer, or its URL.
    #[schema(example = "https://github.com")]
    pub issuer: String,
    /// The provider's own, lasting number or name of them.
    pub subject: String,
    /// Whose it is here.
    pub account_id: AccountId,
    /// The verified address of mail that they had there when it was linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When it was linked.
    pub created_at: DateTime<Utc>,
}
