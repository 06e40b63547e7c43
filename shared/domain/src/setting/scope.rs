//! For whom an item holds, and which of several counts.
//!
//! A scope names an environment, a project, a service of a project, or several of them; what it
//! names must fit, what it leaves out may be anything. So there are six kinds, from the widest to
//! the narrowest: everything; an environment (of all projects); a project; a project's environment;
//! a service; a service in an environment. **The narrower one wins**, and where two are equally many
//! names long, a project outweighs an environment and a service outweighs both: whoever owns the
//! thing has the last word.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::FieldError;
use crate::stack::{StackKey, is_name};

/// For whom an item holds: everybody, or those that fit everything it names.
#[derive(
    Debug,
    Clone,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct SettingScope {
    /// Only in this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub project: Option<String>,
    /// Only in this environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub environment: Option<String>,
    /// Only for this service of the project: for deployments, the stack of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub service: Option<String>,
}

impl SettingScope {
    /// The place of a stack: where its deployments look.
    pub fn of_stack(stack: &StackKey) -> Self {
        Self {
            project: Some(stack.project.clone()),
            environment: Some(stack.environment.clone()),
            service: Some(stack.name.clone()),
        }
    }

    /// What is wrong with it; pointers begin with `at`.
    pub fn problems(&self, at: &str) -> Vec<FieldError> {
        let names = [
            ("project", &self.project),
            ("environment", &self.environment),
            ("service", &self.service),
        ];
        let mut problems: Vec<_> = names
            .into_iter()
            .filter(|(_, name)| name.as_deref().is_some_and(|name| !is_name(name)))
            .map(|(field, _)| {
                FieldError::at(
                    format!("{at}/{field}"),
                    format!(
                        "{field} must be 1 to 63 lower-case letters, digits, '-' or '_', starting \
                         with a letter or digit"
                    ),
                )
            })
            .collect();
        if self.service.is_some() && self.project.is_none() {
            problems.push(FieldError::at(
                format!("{at}/service"),
                "a service is one of a project: name the project too",
            ));
        }
        problems
    }

    /// How narrow it is. Of two that hold for the same place, the one with the greater number
    /// counts; no two that both hold there have the same.
    pub const fn narrowness(&self) -> u8 {
        4 * (self.service.is_some() as u8)
            + 2 * (self.project.is_some() as u8)
            + self.environment.is_some() as u8
    }

    /// Whether it holds for a place. A place that leaves something out gets only what does not name
    /// that.
    pub fn holds_for(&self, place: &Self) -> bool {
        let fits =
            |named: &Option<String>, there: &Option<String>| named.is_none() || named == there;
        fits(&self.project, &place.project)
            && fits(&self.environment, &place.environment)
            && fits(&self.service, &place.service)
    }

    /// Every scope that holds for this place, the narrowest first.
    pub fn looked_at(&self) -> Vec<Self> {
        let mut all: Vec<Self> = (0..8_u8)
            .map(|names| Self {
                project: self.project.clone().filter(|_| names & 2 != 0),
                environment: self.environment.clone().filter(|_| names & 1 != 0),
                service: self.service.clone().filter(|_| names & 4 != 0),
            })
            .filter(|scope| scope.service.is_none() || scope.project.is_some())
            .collect();
        all.sort_by_key(|scope| std::cmp::Reverse(scope.narrowness()));
        all.dedup();
        all
    }
}

impl fmt::Display for SettingScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.project, &self.service) {
            (Some(project), Some(service)) => write!(f, "service {project}/{service}")?,
            (Some(project), None) => write!(f, "project {project}")?,
            (None, _) if self.environment.is_none() => return f.write_str("everything"),
            (None, _) => {}
        }
        match (&self.environment, &self.project) {
            (Some(environment), Some(_)) => write!(f, " in {environment}"),
            (Some(environment), None) => write!(f, "environment {environment}"),
            (None, _) => Ok(()),
        }
    }
}
