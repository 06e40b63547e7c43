//! What is let go after a while, so that nothing grows without bound.

use chrono::{DateTime, Utc};
use slipway_domain::id::{ArtifactId, DeploymentId};

use crate::db::{Store, sql};
use crate::dialect::fill;
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

/// Log lines that one unit of work removes: heartbeats wait for it on SQLite.
const LINES: i64 = 2_000;
/// Such units of work in one sweep.
const BATCHES: usize = 500;
/// Uploads that one sweep removes.
const UPLOADS: i64 = 200;

type UploadRow = (ArtifactId, Option<String>);

impl Store {
    /// Removes what is past its time, in small units of work.
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
        tx.commit().await?;
        let log_lines = self.sweep_logs(logs_before).await?;
        let artifacts = self.sweep_uploads(uploads_before).await?;
        Ok(Swept { answers, log_lines, artifacts })
    }

    async fn sweep_logs(&self, before: DateTime<Utc>) -> Result<u64> {
        let mut removed = 0;
        for _ in 0..BATCHES {
            let mut tx = self.read().await?;
            let of = sql!(scalar_maybe DeploymentId, &mut tx,
                "select id from deployments where ended_at is not null and ended_at < $1
                   and exists (select 1 from log_lines l where l.deployment_id = deployments.id)
                 order by ended_at limit 1", before)?;
            drop(tx);
            let Some(of) = of else { break };
            let mut tx = self.begin().await?;
            removed += sql!(execute &mut tx,
                "delete from log_lines where deployment_id = $1 and seq in (
                     select seq from log_lines where deployment_id = $1 order by seq limit $2)",
                of, LINES)?;
            tx.commit().await?;
        }
        Ok(removed)
    }

    async fn sweep_uploads(&self, before: DateTime<Utc>) -> Result<u64> {
        let mut tx = self.begin().await?;
        // Locked first and looked at after: who submits with one of them has it locked until the
        // deployment that names it is committed, and is passed over here.
        let text = fill(
            &mut tx,
            "select id, location from artifacts where kind = 'source' and created_at < $1
               and not exists (select 1 from deployments d where d.source_artifact = artifacts.id)
               and not exists (select 1 from template_versions t where t.archive = artifacts.id)
             order by created_at limit $2 {skip_locked}",
        );
        let found = sql!(all UploadRow, &mut tx, text, before, UPLOADS)?;
        let mut locations = Vec::new();
        let mut removed = 0;
        for (id, location) in found {
            let gone = sql!(execute &mut tx,
                "delete from artifacts where id = $1
                   and not exists (select 1 from deployments d where d.source_artifact = $1)", id)?;
            removed += gone;
            if gone == 1 {
                locations.extend(location);
            }
        }
        tx.commit().await?;
        self.delete_objects(locations).await;
        Ok(removed)
    }
}
