//! Stacks: the long-lived things that are deployed.

use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::FieldError;
use crate::id::{DeploymentId, StackId};
use crate::run_history::Estimates;

/// How a stack is planned and applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriverKind {
    /// Terraform or OpenTofu.
    Terraform,
}

impl DriverKind {
    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        (text == "terraform").then_some(Self::Terraform)
    }
}

/// What names a stack: unique in an installation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StackKey {
    /// The project it belongs to: lower-case letters, digits, `-` and `_`, 1 to 63.
    #[schema(example = "shop", pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub project: String,
    /// Its name: lower-case letters, digits, `-` and `_`, 1 to 63.
    #[schema(example = "network", pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub name: String,
    /// The environment, e.g. `dev`, `prod`: lower-case letters, digits, `-` and `_`, 1 to 63.
    #[schema(example = "dev", pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub environment: String,
}

impl StackKey {
    /// Says which parts are not well-formed names; empty when all is well.
    pub fn problems(&self) -> Vec<FieldError> {
        [("project", &self.project), ("name", &self.name), ("environment", &self.environment)]
            .into_iter()
            .filter(|(_, value)| !is_name(value))
            .map(|(field, value)| {
                FieldError::at(
                    format!("/stack/{field}"),
                    format!(
                        "{field} must be 1 to 63 lower-case letters, digits, '-' or '_', starting \
                         with a letter or digit; got {:?}",
                        value.chars().take(80).collect::<String>()
                    ),
                )
            })
            .collect()
    }
}

impl fmt::Display for StackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.project, self.name, self.environment)
    }
}

/// Whether `text` is a name as projects, stacks, environments and templates have them.
pub fn is_name(text: &str) -> bool {
    let first_ok = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    first_ok
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// A stack as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Stack {
    /// Its id.
    pub id: StackId,
    /// What names it.
    #[serde(flatten)]
    pub key: StackKey,
    /// How it is deployed.
    pub driver: DriverKind,
    /// The last deployment that succeeded, if any: what runs now.
    pub current_deployment: Option<DeploymentId>,
    /// The state that Slipway keeps for it, if any.
    pub state: Option<StateInfo>,
    /// When it was first deployed.
    pub created_at: DateTime<Utc>,
    /// When something last changed.
    pub updated_at: DateTime<Utc>,
}

/// A stack as it is now, and what its runs are likely to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct StackDetails {
    /// The stack.
    #[serde(flatten)]
    pub stack: Stack,
    /// By what its newest runs took.
    pub estimates: Estimates,
}

/// What is known of a stack's Terraform state without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct StateInfo {
    /// Terraform's lineage: which history this state belongs to.
    pub lineage: String,
    /// Terraform's serial: grows with every version.
    pub serial: i64,
    /// How many resource instances it records.
    pub resource_count: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_field_by_field() {
        let key = StackKey {
            project: "shop".into(),
            name: "Net Work".into(),
            environment: String::new(),
        };
        let pointers: Vec<_> = key.problems().into_iter().map(|p| p.pointer).collect();
        assert_eq!(pointers, ["/stack/name", "/stack/environment"]);
        assert!(is_name(&"a".repeat(63)));
        assert!(!is_name(&"a".repeat(64)));
        for bad in ["../etc", "-a", "ä", "a/b", "a\n"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
