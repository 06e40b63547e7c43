//! What a reader of the audit log looks for.

use chrono::{DateTime, Utc};

use super::AuditResult;

/// Conditions that all must hold; those that are not there hold always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The id of who did it.
    pub actor: Option<String>,
    /// What was done: an action, or the front of several that ends with a dot (`deployment.`).
    pub action: Option<String>,
    /// On what.
    pub target: Option<String>,
    /// How it ended.
    pub result: Option<AuditResult>,
    /// Not before this.
    pub since: Option<DateTime<Utc>>,
    /// Before this.
    pub until: Option<DateTime<Utc>>,
}
