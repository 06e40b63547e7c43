//! What is let go after a while, so that nothing grows without bound.

use chrono::{DateTime, Utc};
use slipway_domain::id::{ArtifactId, DeploymentId};
use uuid::Uuid;

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

/// Answers, or log lines, that one unit of work removes: on SQLite, heartbeats wait for it.
const ROWS: i64 = 2_000;
/// Such units of work of either kind in one sweep.
const BATCHES: usize = 500;
/// Uploads that one sweep removes.
const UPLOADS: i64 = 200;

type UploadRow = (ArtifactId, Option<String>);
/// A deployment that has log lines, when it was submitted and when it ended.
type LoggedRow = (DeploymentId, DateTime<Utc>, Option<DateTime<Utc>>);

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
        let answers = self.sweep_answers(now).await?;
        let log_lines = self.sweep_logs(logs_before).await?;
        let artifacts = self.sweep_uploads(uploads_before).await?;
        Ok(Swept { answers, log_lines, artifacts })
    }

    /// Those under a key that is being used again are passed over: they are about to be replaced.
    async fn sweep_answers(&self, now: DateTime<Utc>) -> Result<u64> {
        let mut removed = 0;
        for _ in 0..BATCHES {
            let mut tx = self.begin().await?;
            let text = fill(
                &mut tx,
                "with past as materialized (
                     select principal, operation, key from idempotency where expires_at <= $1
                     order by expires_at limit $2 {skip_locked})
                 delete from idempotency where (principal, operation, key) in (
                     select principal, operation, key from past)",
            );
            let gone = sql!(execute &mut tx, text, now, ROWS)?;
            tx.commit().await?;
            removed += gone;
            if gone < ROWS.unsigned_abs() {
                break;
            }
        }
        Ok(removed)
    }

    /// Goes from deployment to deployment that has log lines, the oldest first, and not over all
    /// that ever ended: of most of them nothing is left.
    async fn sweep_logs(&self, before: DateTime<Utc>) -> Result<u64> {
        let mut removed = 0;
        let mut batches = 0;
        let mut seen = DeploymentId(Uuid::nil());
        while batches < BATCHES {
            let mut tx = self.read().await?;
            let next = sql!(maybe LoggedRow, &mut tx,
                "select d.id, d.created_at, d.ended_at from log_lines l
                 join deployments d on d.id = l.deployment_id
                 where l.deployment_id > $1 order by l.deployment_id limit 1", seen)?;
            drop(tx);
            let Some((id, created_at, ended_at)) = next else { break };
            seen = id;
            if ended_at.is_none_or(|at| at >= before) {
                // Ids are in the order of time, so none after this one can have ended before.
                if created_at >= before {
                    break;
                }
                continue;
            }
            loop {
                let mut tx = self.begin().await?;
                let gone = sql!(execute &mut tx,
                    "delete from log_lines where deployment_id = $1 and seq in (
                         select seq from log_lines where deployment_id = $1 order by seq limit $2)",
                    id, ROWS)?;
                tx.commit().await?;
                removed += gone;
                batches += 1;
                if gone < ROWS.unsigned_abs() {
                    break;
                }
            }
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
