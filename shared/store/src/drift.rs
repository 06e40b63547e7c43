//! What is known of stacks' drift, and when they are looked at next. Reports are masked before they
//! come here. The row of a stack is locked last: after its stack, deployments and jobs.

use chrono::{DateTime, Utc};
use slipway_domain::access::Reach;
use slipway_domain::deployment::Stale;
use slipway_domain::drift::{DriftFailure, DriftOverview, DriftReport, DriftSettings, DriftStatus};
use slipway_domain::id::{DeploymentId, JobId, StackId};
use slipway_domain::job::JobState;
use slipway_domain::page::PageRequest;
use slipway_domain::plan::StateMark;
use slipway_domain::stack::StackKey;
use slipway_domain::state::DeploymentState;

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::{fill, only, reached, within, without_nul};
use crate::error::{Error, Result};

/// A stack's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The stack.
    pub stack_id: StackId,
    /// What was said of its checks.
    pub settings: DriftSettings,
    /// How often that was changed.
    pub settings_version: i64,
    /// When it is checked next by itself.
    pub next_check_at: Option<DateTime<Utc>>,
    /// How many checks were begun.
    pub checks: i64,
    /// The job of the check that is queued or runs; one that has ended is not there.
    pub job_id: Option<JobId>,
    /// What is known.
    pub status: DriftStatus,
    /// Since when it is known to drift.
    pub since: Option<DateTime<Utc>>,
    /// When the last check ended with an answer.
    pub checked_at: Option<DateTime<Utc>>,
    /// The deployment that the last check compared the world with.
    pub deployment_id: Option<DeploymentId>,
    /// What tells this drift from another one; `None`: none is known.
    pub fingerprint: Option<String>,
    /// What the last check that ended with an answer found.
    pub report: Option<DriftReport>,
    /// Why the last check could not be made.
    pub failure: Option<DriftFailure>,
    /// Why the last check was put off, or thrown away.
    pub put_off: Option<String>,
}

impl Record {
    /// The row of a stack of which nothing is known yet.
    pub const fn new(stack_id: StackId) -> Self {
        Self {
            stack_id,
            settings: DriftSettings { enabled: None, interval_s: None },
            settings_version: 0,
            next_check_at: None,
            checks: 0,
            job_id: None,
            status: DriftStatus::Unknown,
            since: None,
            checked_at: None,
            deployment_id: None,
            fingerprint: None,
            report: None,
            failure: None,
            put_off: None,
        }
    }
}

/// Which stacks a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only with this status.
    pub status: Option<DriftStatus>,
    /// Only of this project.
    pub project: Option<String>,
    /// Only of this environment.
    pub environment: Option<String>,
}

/// When a stack is checked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// As it was.
    Kept,
    /// In so many milliseconds.
    In(i64),
    /// Not by itself.
    Never,
}

#[derive(sqlx::FromRow)]
struct Row {
    stack_id: StackId,
    enabled: Option<bool>,
    interval_s: Option<i64>,
    settings_version: i64,
    next_check_ms: Option<i64>,
    checks: i64,
    job_id: Option<JobId>,
    job_state: Option<String>,
    status: String,
    since: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    deployment_id: Option<DeploymentId>,
    fingerprint: Option<String>,
    report: Option<String>,
    failure: Option<String>,
    put_off: Option<String>,
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::corrupt("drift", e))
}

fn moment(ms: Option<i64>) -> Option<DateTime<Utc>> {
    ms.and_then(DateTime::from_timestamp_millis)
}

fn status(text: &str) -> Result<DriftStatus> {
    DriftStatus::parse(text).ok_or_else(|| Error::corrupt("drift", format!("status {text:?}")))
}

impl TryFrom<Row> for Record {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let runs = row.job_state.as_deref().and_then(JobState::parse);
        Ok(Self {
            stack_id: row.stack_id,
            settings: DriftSettings {
                enabled: row.enabled,
                interval_s: row.interval_s.and_then(|s| u32::try_from(s).ok()),
            },
            settings_version: row.settings_version,
            next_check_at: moment(row.next_check_ms),
            checks: row.checks,
            job_id: row.job_id.filter(|_| runs.is_some_and(JobState::is_active)),
            status: status(&row.status)?,
            since: row.since,
            checked_at: row.checked_at,
            deployment_id: row.deployment_id,
            fingerprint: row.fingerprint,
            report: row.report.as_deref().map(read).transpose()?,
            failure: row.failure.as_deref().map(read).transpose()?,
            put_off: row.put_off,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select r.stack_id, r.enabled, r.interval_s, r.settings_version, r.next_check_ms,
                 r.checks, r.job_id, j.state as job_state, r.status, r.since, r.checked_at,
                 r.deployment_id, r.fingerprint, r.report, r.failure, r.put_off
             from drift r left join jobs j on j.id = r.job_id ",
            $rest
        )
    };
}

type StackRow = (StackId,);
type WatchedRow = (DeploymentId, String, i64, String, i64);
type Place = (DeploymentId, String);

#[derive(sqlx::FromRow)]
struct OverviewRow {
    stack_id: StackId,
    project: String,
    name: String,
    environment: String,
    status: String,
    since: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    next_check_ms: Option<i64>,
    report: Option<String>,
    failure: Option<String>,
}

impl TryFrom<OverviewRow> for DriftOverview {
    type Error = Error;
    fn try_from(row: OverviewRow) -> Result<Self> {
        let status = status(&row.status)?;
        let failure: Option<DriftFailure> = row.failure.as_deref().map(read).transpose()?;
        let report: Option<DriftReport> = row.report.as_deref().map(read).transpose()?;
        let summary = match failure.filter(|_| status == DriftStatus::Failed) {
            Some(failure) => Some(failure.summary),
            None => report.map(|report| report.summary),
        };
        Ok(Self {
            stack_id: row.stack_id,
            stack: StackKey { project: row.project, name: row.name, environment: row.environment },
            status,
            summary,
            since: row.since,
            checked_at: row.checked_at,
            next_check_at: moment(row.next_check_ms),
        })
    }
}

/// A plan that nobody applies, and that is out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfDate {
    /// Whose.
    pub deployment_id: DeploymentId,
    /// The state that it was made against.
    pub then: StateMark,
    /// The state now.
    pub now: StateMark,
}

impl Tx {
    /// What is known of a stack's drift; `None` when it was never looked at.
    pub async fn drift(&mut self, of: StackId) -> Result<Option<Record>> {
        sql!(maybe Row, self, select!("where r.stack_id = $1"), of)?
            .map(Record::try_from)
            .transpose()
    }

    /// What is known of a stack's drift, locked until the unit of work ends; a row is made when there
    /// is none.
    pub async fn lock_drift(&mut self, of: StackId) -> Result<Record> {
        sql!(execute self,
            "insert into drift (stack_id, settings_version, checks, status)
             values ($1, 0, 0, 'unknown') on conflict (stack_id) do nothing", of)?;
        let text = fill(self, "select stack_id from drift where stack_id = $1 {for_update}");
        sql!(scalar_maybe StackId, self, text, of)?;
        self.drift(of).await?.ok_or_else(|| Error::corrupt("drift", "a row is not there"))
    }

    /// Writes what a check changes of a row, which the caller has locked. `job` is the check's.
    pub async fn save_drift(
        &mut self,
        record: &Record,
        job: Option<JobId>,
        next: Next,
    ) -> Result<()> {
        let text = |json: Option<Result<String>>| json.transpose();
        let report = text(record.report.as_ref().map(to_json))?;
        let failure = text(record.failure.as_ref().map(to_json))?;
        sql!(execute self,
            "update drift set checks = $2, job_id = $3, status = $4, since = $5, checked_at = $6,
                 deployment_id = $7, fingerprint = $8, report = $9, failure = $10, put_off = $11
             where stack_id = $1",
            record.stack_id, record.checks, job, record.status.as_str(), record.since,
            record.checked_at, record.deployment_id, record.fingerprint.as_deref(),
            report.as_deref().map(without_nul), failure.as_deref().map(without_nul),
            record.put_off.as_deref().map(without_nul))?;
        self.set_next_drift_check(record.stack_id, next).await
    }

    /// Says when a stack is checked next by itself.
    pub async fn set_next_drift_check(&mut self, of: StackId, next: Next) -> Result<()> {
        let wait = match next {
            Next::Kept => return Ok(()),
            Next::Never => None,
            Next::In(wait_ms) => Some(wait_ms),
        };
        // A sum with nothing is nothing.
        let text = fill(
            self,
            "update drift set next_check_ms = {now_ms} + cast($2 as bigint) where stack_id = $1",
        );
        sql!(execute self, text, of, wait)?;
        Ok(())
    }

    /// Keeps settings in place of those of version `before`; 0: there were none. `false` when there
    /// were others. The row must be there.
    pub async fn set_drift_settings(
        &mut self,
        of: StackId,
        settings: &DriftSettings,
        before: i64,
    ) -> Result<bool> {
        let changed = sql!(execute self,
            "update drift set enabled = $3, interval_s = $4, settings_version = $2 + 1
             where stack_id = $1 and settings_version = $2",
            of, before, settings.enabled, settings.interval_s.map(i64::from))?;
        Ok(changed == 1)
    }

    /// Stacks that run something, that are checked by themselves (`enabled`: those of which nothing
    /// else was said), and of which nobody knows when; at most `limit`.
    pub async fn drift_unplanned(&mut self, enabled: bool, limit: i64) -> Result<Vec<StackId>> {
        let rows = sql!(all StackRow, self,
            "select s.id from stacks s left join drift r on r.stack_id = s.id
             where s.current_deployment is not null and r.next_check_ms is null
               and coalesce(r.enabled, $1) order by s.id limit $2", enabled, limit)?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Stacks whose check is due, the longest first; at most `limit`.
    pub async fn drift_due(&mut self, limit: i64) -> Result<Vec<StackId>> {
        let text = fill(
            self,
            "select stack_id from drift where next_check_ms <= {now_ms}
             order by next_check_ms, stack_id limit $1",
        );
        let rows = sql!(all StackRow, self, text, limit)?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Whether the check of a stack is due.
    pub async fn is_drift_due(&mut self, of: StackId) -> Result<bool> {
        let text = fill(
            self,
            "select stack_id from drift where stack_id = $1 and next_check_ms <= {now_ms}",
        );
        Ok(sql!(scalar_maybe StackId, self, text, of)?.is_some())
    }

    /// Makes the checks of stacks that are known to drift, and that were deployed since that was found
    /// out, due within `within_ms`: somebody waits to hear that it is over.
    pub async fn hasten_drift_checks(&mut self, within_ms: i64) -> Result<u64> {
        let text = fill(
            self,
            "update drift set next_check_ms = {now_ms} where fingerprint is not null
               and next_check_ms > {now_ms} + $1 and exists (
                   select 1 from stacks s where s.id = drift.stack_id
                   and s.current_deployment <> drift.deployment_id)",
        );
        sql!(execute self, text, within_ms)
    }

    /// How many stacks are known to drift.
    pub async fn drifted_stacks(&mut self) -> Result<i64> {
        sql!(scalar i64, self,
            "select cast(count(*) as bigint) from drift where fingerprint is not null")
    }

    /// Up to `limit + 1` stacks that run something, newest first.
    pub async fn drifts(
        &mut self,
        filter: &Filter,
        reach: &Reach,
        page: PageRequest,
    ) -> Result<Vec<DriftOverview>> {
        let text = only(
            "select s.id as stack_id, s.project, s.name, s.environment,
                 coalesce(r.status, 'unknown') as status, r.since, r.checked_at, r.next_check_ms,
                 r.report, r.failure
             from stacks s left join drift r on r.stack_id = s.id
             where s.current_deployment is not null and {r.status = $1}
               and {coalesce(r.status, 'unknown') = $6} and {s.project = $2} and {s.environment = $3} and {s.id < $4}
               and {within s.project $7}
             order by s.id desc limit $5",
            &[
                ("r.status = $1", filter.status.is_some_and(|s| s != DriftStatus::Unknown)),
                // Also of those that have no row.
                (
                    "coalesce(r.status, 'unknown') = $6",
                    filter.status == Some(DriftStatus::Unknown),
                ),
                ("s.project = $2", filter.project.is_some()),
                ("s.environment = $3", filter.environment.is_some()),
                ("s.id < $4", page.after.is_some()),
            ],
        );
        let text = within(self, text, reach);
        sql!(all OverviewRow, self, text, filter.status.map(DriftStatus::as_str),
            filter.project.as_deref(), filter.environment.as_deref(),
            page.after.unwrap_or_default(), i64::from(page.limit) + 1,
            DriftStatus::Unknown.as_str(), reached(reach))?
        .into_iter()
        .map(DriftOverview::try_from)
        .collect()
    }

    /// The deployment that changes a stack right now, waits to do so, or left it as nobody knows; and
    /// the state that it is in.
    pub async fn busy_with(
        &mut self,
        of: StackId,
    ) -> Result<Option<(DeploymentId, DeploymentState)>> {
        let found = sql!(maybe Place, self,
            "select d.id, d.state from deployments d where d.stack_id = $1
               and (d.state in ('applying', 'verifying', 'interrupted', 'recovering', 'needs_attention')
                    or d.state = 'approved' and exists (
                        select 1 from jobs j where j.deployment_id = d.id
                        and j.kind = 'apply' and j.state in ('queued', 'running')))
             order by d.id limit 1", of)?;
        found
            .map(|(id, state)| {
                let known = DeploymentState::parse(&state);
                let known = known.ok_or_else(|| Error::corrupt("deployments", state));
                known.map(|state| (id, state))
            })
            .transpose()
    }

    /// Notes which state the plan of a deployment that only plans was made against.
    pub async fn watch_state(&mut self, of: DeploymentId, planned: &StateMark) -> Result<()> {
        sql!(execute self,
            "update deployments set watched_lineage = $2, watched_serial = $3 where id = $1",
            of, planned.lineage.as_str(), planned.serial)?;
        Ok(())
    }

    /// Plans that nobody applies and that are out of date, at most `limit`.
    pub async fn out_of_date(&mut self, limit: i64) -> Result<Vec<OutOfDate>> {
        let rows = sql!(all WatchedRow, self,
            "select d.id, d.watched_lineage, d.watched_serial, coalesce(s.state_lineage, ''),
                 coalesce(s.state_serial, 0)
             from deployments d join stacks s on s.id = d.stack_id
             where d.watched_serial is not null
               and (d.watched_serial <> coalesce(s.state_serial, 0)
                    or d.watched_lineage <> coalesce(s.state_lineage, ''))
             order by d.id limit $1", limit)?;
        let mark = |lineage, serial| StateMark { lineage, serial };
        Ok(rows
            .into_iter()
            .map(|(deployment_id, lineage, serial, lineage_now, serial_now)| OutOfDate {
                deployment_id,
                then: mark(lineage, serial),
                now: mark(lineage_now, serial_now),
            })
            .collect())
    }

    /// Notes that the plan of a deployment is out of date, once; says whether it is the first time.
    pub async fn set_stale(&mut self, of: DeploymentId, stale: &Stale) -> Result<bool> {
        let changed = sql!(execute self,
            "update deployments set stale = $2, watched_lineage = null, watched_serial = null
             where id = $1 and watched_serial is not null", of, to_json(stale)?)?;
        Ok(changed == 1)
    }
}
