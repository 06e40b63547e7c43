//! Recoveries of lost applies, and what was collected of the dead workers.

use chrono::{DateTime, Utc};
use slipway_domain::access::Actor;
use slipway_domain::event::EventBody;
use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::recovery::{
    JournalEntry, Recovery, RecoveryReport, RecoveryVerdict, Resolution,
};

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::fill;
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    deployment_id: DeploymentId,
    number: i64,
    lost_job_id: JobId,
    verdict: Option<String>,
    summary: String,
    report: Option<String>,
    resolutions: String,
    resolved_by: Option<String>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::corrupt("recoveries", e))
}

impl TryFrom<Row> for Recovery {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let verdict = row.verdict.map(|text| read::<RecoveryVerdict>(&format!("{text:?}")));
        Ok(Self {
            deployment_id: row.deployment_id,
            number: row.number,
            lost_job_id: row.lost_job_id,
            verdict: verdict.transpose()?,
            summary: row.summary,
            report: row.report.as_deref().map(read).transpose()?,
            resolutions: read(&row.resolutions)?,
            resolved_by: row.resolved_by.as_deref().map(read).transpose()?,
            created_at: row.created_at,
            ended_at: row.ended_at,
        })
    }
}

macro_rules! columns {
    () => {
        "deployment_id, number, lost_job_id, verdict, summary, report, resolutions, resolved_by, \
         created_at, ended_at"
    };
}

type BodyRow = (String,);
type SeqAndBodyRow = (i64, String);

impl Tx {
    /// Begins a recovery of a lost job, with what a person has said so far; gives its number.
    pub async fn insert_recovery(
        &mut self,
        of: DeploymentId,
        lost: JobId,
        resolutions: &[Resolution],
        resolved_by: Option<&Actor>,
        now: DateTime<Utc>,
    ) -> Result<i64> {
        let text = fill(
            self,
            "insert into recoveries (deployment_id, number, lost_job_id, summary, resolutions,
                 resolved_by, asked_at_ms, created_at)
             values ($1, (select coalesce(max(number), 0) + 1 from recoveries
                          where deployment_id = $1),
                     $2, '', $3, $4, {now_ms}, $5)
             returning number",
        );
        let said = to_json(&resolutions)?;
        let by = resolved_by.map(to_json).transpose()?;
        sql!(scalar i64, self, text, of, lost, said.as_str(), by.as_deref(), now)
    }

    /// The recoveries of a deployment, newest first.
    pub async fn recoveries(&mut self, of: DeploymentId) -> Result<Vec<Recovery>> {
        sql!(all Row, self,
            concat!("select ", columns!(), " from recoveries where deployment_id = $1
                 order by number desc"), of)?
        .into_iter()
        .map(Recovery::try_from)
        .collect()
    }

    /// For how many milliseconds a recovery has been asked for.
    pub async fn recovery_age_ms(&mut self, of: DeploymentId, number: i64) -> Result<i64> {
        let text = fill(
            self,
            "select {now_ms} - asked_at_ms from recoveries where deployment_id = $1 and number = $2",
        );
        Ok(sql!(scalar_maybe i64, self, text, of, number)?.unwrap_or_default())
    }

    /// Ends a recovery.
    pub async fn end_recovery(
        &mut self,
        of: DeploymentId,
        number: i64,
        verdict: RecoveryVerdict,
        summary: &str,
        report: Option<&RecoveryReport>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let report = report.map(to_json).transpose()?;
        sql!(execute self,
            "update recoveries set verdict = $3, summary = $4, report = $5, ended_at = $6
             where deployment_id = $1 and number = $2",
            of, number, verdict.as_str(), crate::dialect::without_nul(summary),
            report.as_deref().map(crate::dialect::without_nul), now)?;
        Ok(())
    }

    /// Whether everything that the dead worker of this epoch left on its machine was collected.
    pub async fn is_collected(&mut self, job: JobId, epoch: i64) -> Result<bool> {
        let collected = sql!(scalar_maybe Option<i64>, self,
            "select collected_epoch from jobs where id = $1", job)?;
        Ok(collected.flatten() == Some(epoch))
    }

    /// Says that everything was.
    pub async fn set_collected(&mut self, job: JobId, epoch: i64) -> Result<()> {
        sql!(execute self, "update jobs set collected_epoch = $2 where id = $1", job, epoch)?;
        Ok(())
    }

    /// The number of the event by which the plan with this digest was told; `None` when there is
    /// none.
    pub async fn plan_event(&mut self, of: DeploymentId, digest: &str) -> Result<Option<i64>> {
        let rows = sql!(all SeqAndBodyRow, self,
            "select seq, body from events where deployment_id = $1 and kind = 'plan_ready'
             order by seq desc", of)?;
        for (seq, body) in rows {
            if let EventBody::PlanReady { plan } = read(&body)?
                && plan.digest == digest
            {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// The number of the event by which the deployment last began to be applied; 0 when it never
    /// did.
    pub async fn apply_event(&mut self, of: DeploymentId) -> Result<i64> {
        use slipway_domain::state::DeploymentState;
        let rows = sql!(all SeqAndBodyRow, self,
            "select seq, body from events where deployment_id = $1 and kind = 'state_changed'
             order by seq desc", of)?;
        for (seq, body) in rows {
            if let EventBody::StateChanged { to: DeploymentState::Applying, .. } = read(&body)? {
                return Ok(seq);
            }
        }
        Ok(0)
    }

    /// What applies of a deployment said of resources in events above `after`, in order.
    pub async fn journal(&mut self, of: DeploymentId, after: i64) -> Result<Vec<JournalEntry>> {
        let rows = sql!(all BodyRow, self,
            "select body from events where deployment_id = $1 and kind = 'resource' and seq > $2
             order by seq", of, after)?;
        let mut entries = Vec::with_capacity(rows.len());
        for (body,) in rows {
            if let EventBody::Resource { address, action, status, resource_id, id_key, .. } =
                read(&body)?
            {
                entries.push(JournalEntry { address, action, status, resource_id, id_key });
            }
        }
        Ok(slipway_domain::recovery::without_repeats(entries))
    }
}
