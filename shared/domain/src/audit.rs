//! The record of who did what.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::access::Actor;
use crate::id::AuditId;

/// One row of the audit log. Rows are never changed and never deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The row.
    pub id: AuditId,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: Actor,
    /// From where, if over the network.
    pub address: Option<String>,
    /// What, as `noun.verb`, e.g. `deployment.approve`.
    pub action: String,
    /// On what: the text form of an id.
    pub target: String,
    /// `allowed`, `denied` or `failed`.
    pub result: String,
    /// Facts that matter later: the digest approved, the reason given, the state left.
    pub detail: serde_json::Value,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
}
