//! The audit log: rows are added, never changed, never removed.

use slipway_domain::audit::AuditRecord;

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::error::Result;

/// What was done and how it ended.
type ActionAndResult = (String, String);

impl Tx {
    /// Adds a record, in the unit of work that it tells of.
    pub async fn insert_audit(&mut self, record: &AuditRecord) -> Result<()> {
        sql!(execute self,
            "insert into audit (id, at, actor, address, action, target, result, detail, trace_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            record.id, record.at, to_json(&record.actor)?, record.address.as_deref(),
            record.action.as_str(), record.target.as_str(), record.result.as_str(),
            record.detail.to_string(), record.trace_id.as_deref())?;
        Ok(())
    }

    /// Actions and results on one target, oldest first.
    pub async fn audit_of(&mut self, target: &str) -> Result<Vec<(String, String)>> {
        sql!(
            all ActionAndResult,
            self,
            "select action, result from audit where target = $1 order by id",
            target
        )
    }
}
