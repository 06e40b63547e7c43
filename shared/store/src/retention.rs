//! What is let go after a while, so that nothing grows without bound.

use chrono::{DateTime, Utc};

use crate::db::{Store, sql};
use crate::error::Result;

/// How many rows of each kind one sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Idempotency answers past their time.
    pub answers: u64,
    /// Log lines of deployments that ended before the limit.
    pub log_lines: u64,
    /// Uploaded archives that no deployment ever named.
    pub artifacts: u64,
}

type LocationRow = (Option<String>,);

impl Store {
    /// Removes what is past its time.
    ///
    /// `logs_before`: log lines of deployments that ended before it go. `uploads_before`: source
    /// archives uploaded before it that nothing names go.
    pub async fn sweep(
        &self,
        now: DateTime<Utc>,
        logs_before: DateTime<Utc>,
        uploads_before: DateTime<Utc>,
    ) -> Result<Swept> {
        let mut tx = self.begin().await?;
        let answers = sql!(execute &mut tx, "delete from idempotency where expires_at <= $1", now)?;
        let log_lines = sql!(execute &mut tx,
            "delete from log_lines where deployment_id in (
                 select id from deployments where ended_at is not null and ended_at < $1
                 and exists (select 1 from log_lines l where l.deployment_id = deployments.id)
                 order by ended_at limit 100)", logs_before)?;
        let orphans = sql!(
            all LocationRow,
            &mut tx,
            "delete from artifacts where kind = 'source' and created_at < $1
               and not exists (select 1 from deployments d where d.source_artifact = artifacts.id)
             returning location",
            uploads_before
        )?;
        tx.commit().await?;
        let artifacts = orphans.len() as u64;
        self.delete_objects(orphans.into_iter().filter_map(|(location,)| location).collect()).await;
        Ok(Swept { answers, log_lines, artifacts })
    }
}
