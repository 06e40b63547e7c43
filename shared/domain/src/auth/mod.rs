//! Who somebody is: accounts, and what they show of themselves. What they may do is
//! [`access`](crate::access).

pub mod account;
pub mod address;
pub mod api_key;
pub mod identity;
pub mod session;
pub mod trust;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Scope;
use crate::fault::FieldError;
use crate::stack::is_name;

/// Longest name of a key or a rule, in characters.
pub const MAX_NAME: usize = 100;

/// What a token is good for at most: it narrows what its account may do, and never widens it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Narrowing {
    /// These scopes only, as far as the account has them; all that it has, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["deployments:read"]))]
    #[schemars(with = "Option<Vec<String>>")]
    pub scopes: Option<BTreeSet<Scope>>,
    /// In this project only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "shop")]
    pub project: Option<String>,
}

impl Narrowing {
    /// Whether it leaves everything as it is.
    pub fn is_none(&self) -> bool {
        self.scopes.is_none() && self.project.is_none()
    }

    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        if self.scopes.as_ref().is_some_and(BTreeSet::is_empty) {
            problems.push(FieldError::at("/scopes", "a token without a scope is good for nothing"));
        }
        if self.project.as_ref().is_some_and(|project| !is_name(project)) {
            problems.push(FieldError::at("/project", "this cannot be the name of a project"));
        }
        problems
    }
}

/// What is wrong with a name that people give to a key or a rule.
pub fn name_problem(name: &str) -> Option<FieldError> {
    let long = name.chars().count() > MAX_NAME;
    (name.trim().is_empty() || long || name.chars().any(char::is_control))
        .then(|| FieldError::at("/name", format!("name must be 1 to {MAX_NAME} characters")))
}
