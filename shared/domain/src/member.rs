//! Members: which roles an account has in a project, or in the whole house. What a role may do is
//! one table, [`Role::scopes`](crate::access::Role::scopes).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{Actor, Role};
use crate::fault::FieldError;
use crate::id::AccountId;

/// What an account is in a project, or in the whole house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Member {
    /// The account.
    pub account_id: AccountId,
    /// The project; absent for the whole house, which is every project and what belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What they are; at least one.
    pub roles: BTreeSet<Role>,
    /// Who said so last.
    pub changed_by: Actor,
    /// Since when they are a member.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// Grows with each change; also its entity tag.
    pub version: i64,
}

/// What an account is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberRoles {
    /// The roles, in place of those that it had; at least one.
    #[schema(min_items = 1)]
    pub roles: BTreeSet<Role>,
}

impl MemberRoles {
    /// Everything that is wrong with them.
    pub fn problems(&self) -> Vec<FieldError> {
        let none = || FieldError::at("/roles", "name at least one role, or remove the member");
        self.roles.is_empty().then(none).into_iter().collect()
    }
}
