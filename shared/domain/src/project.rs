//! Projects: what stacks belong to.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::fault::FieldError;
use crate::stack::is_name;

/// Longest description of a project, in characters.
pub const MAX_DESCRIPTION: usize = 2000;

/// What stacks belong to, and members: nobody else sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Project {
    /// Its name, which never changes.
    #[schema(example = "shop")]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who made it; absent where it is older than projects were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Actor>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// Grows with each change; also its entity tag.
    pub version: i64,
}

/// A project that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// Its name: lower-case letters, digits, `-` and `_`, 1 to 63. It cannot be changed later.
    #[schema(example = "shop", pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub name: String,
    /// What it is for, at most 2000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub description: Option<String>,
}

impl NewProject {
    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        if !is_name(&self.name) {
            problems.push(FieldError::at(
                "/name",
                "name must be 1 to 63 lower-case letters, digits, '-' or '_', starting with a \
                 letter or digit",
            ));
        }
        problems.extend(description_problem(self.description.as_deref()));
        problems
    }
}

/// What is to be changed of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectChange {
    /// What it is for from now on, at most 2000 characters; empty for nothing. It stays as it is when
    /// this is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub description: Option<String>,
}

impl ProjectChange {
    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<FieldError> {
        description_problem(self.description.as_deref()).into_iter().collect()
    }
}

fn description_problem(text: Option<&str>) -> Option<FieldError> {
    let text = text?;
    let why = if text.chars().count() > MAX_DESCRIPTION {
        format!("at most {MAX_DESCRIPTION} characters")
    } else if text.contains('\0') {
        "it contains a NUL character".to_owned()
    } else {
        return None;
    };
    Some(FieldError::at("/description", why))
}
