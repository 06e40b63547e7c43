//! The audit log: rows are added, never changed, never removed.

use slipway_domain::audit::AuditRecord;

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::error::Result;
use crate::rows::insert_rows;

/// What was done and how it ended.
type ActionAndResult = (String, String);

impl Tx {
    /// Adds records, in the unit of work that they tell of.
    pub async fn insert_audit(&mut self, records: &[AuditRecord]) -> Result<()> {
        let rows = records
            .iter()
            .map(|record| Ok((record, to_json(&record.actor)?, record.detail.to_string())))
            .collect::<Result<Vec<_>>>()?;
        insert_rows!(self,
            "audit (id, at, actor, address, action, target, result, detail, trace_id)", "",
            rows.as_slice(), |row|
            "uuid": row.0.id.0, "timestamptz": row.0.at, "text": row.1.as_str(),
            "text": row.0.address.as_deref(), "text": row.0.action.as_str(),
            "text": row.0.target.as_str(), "text": row.0.result.as_str(),
            "text": row.2.as_str(), "text": row.0.trace_id.as_deref());
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
