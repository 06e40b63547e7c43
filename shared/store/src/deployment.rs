//! Deployments. What may happen to one is decided in `domain::state`; here it is compared and set.

use chrono::{DateTime, Utc};
use slipway_domain::access::{Actor, Reach};
use slipway_domain::audit::AuditRecord;
use slipway_domain::deployment::{
    Approval, Deployment, Operation, Options, Output, Phase, Variables,
};
use slipway_domain::event::EventBody;
use slipway_domain::id::{ArtifactId, DeploymentId, StackId};
use slipway_domain::page::PageRequest;
use slipway_domain::stack::{DriverKind, StackKey};
use slipway_domain::state::DeploymentState;

use crate::db::{Tx, sql};
use crate::dialect::{fill, only, reached, within};
use crate::error::{Error, Result};

/// A deployment with what only the house needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The deployment as everybody sees it.
    pub deployment: Deployment,
    /// The archive of its source, once there is one.
    pub source_artifact: Option<ArtifactId>,
    /// Directory of the root module inside that archive; the top when absent.
    pub source_root: Option<String>,
    /// Trace context of the submitter.
    pub traceparent: Option<String>,
    /// The approval of a plan that turned stale, until the new plan is compared with that one.
    pub approval_before: Option<Approval>,
    /// Grows with every change; a change made from an older one is refused.
    pub version: i64,
}

/// A deployment that has changed.
#[derive(Debug)]
pub struct Changed<'a> {
    /// What it is now; its version is the one it was read with, and grows when it is written.
    pub record: &'a mut Record,
    /// The state it was read in.
    pub from: DeploymentState,
    /// What happened.
    pub events: &'a [EventBody],
    /// What tells of it on the audit log.
    pub audit: &'a [AuditRecord],
}

/// A deployment to be added.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// What it is.
    pub record: &'a Record,
    /// Its variables, in clear.
    pub variables: &'a Variables,
    /// Its first events.
    pub events: &'a [EventBody],
}

#[derive(sqlx::FromRow)]
struct Row {
    id: DeploymentId,
    stack_id: StackId,
    project: String,
    stack_name: String,
    environment: String,
    driver: String,
    operation: String,
    state: String,
    reason: Option<String>,
    source: String,
    source_artifact: Option<ArtifactId>,
    source_root: Option<String>,
    source_commit: Option<String>,
    variables: String,
    options: String,
    plan: Option<String>,
    stale: Option<String>,
    approval: Option<String>,
    approval_before: Option<String>,
    failure: Option<String>,
    cancel_requested_at: Option<DateTime<Utc>>,
    cancel: Option<String>,
    phases: String,
    submitted_by: String,
    traceparent: Option<String>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
}

fn json<T: serde::de::DeserializeOwned>(column: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::corrupt("deployments", format!("{column}: {e}")))
}

fn maybe_json<T: serde::de::DeserializeOwned>(
    column: &'static str,
    text: Option<&str>,
) -> Result<Option<T>> {
    text.map(|text| json(column, text)).transpose()
}

pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::corrupt("deployments", e))
}

fn word<T>(column: &'static str, parsed: Option<T>, text: &str) -> Result<T> {
    parsed.ok_or_else(|| Error::corrupt("deployments", format!("{column} {text:?}")))
}

impl TryFrom<Row> for Record {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let options: Options = json("options", &row.options)?;
        let phases: Vec<Phase> = json("phases", &row.phases)?;
        let submitted_by: Actor = json("submitted_by", &row.submitted_by)?;
        // `00-<trace id>-<span id>-<flags>`
        let trace_id =
            row.traceparent.as_deref().and_then(|t| t.split('-').nth(1)).map(str::to_owned);
        Ok(Self {
            source_artifact: row.source_artifact,
            source_root: row.source_root,
            approval_before: maybe_json("approval_before", row.approval_before.as_deref())?,
            version: row.version,
            deployment: Deployment {
                id: row.id,
                stack_id: row.stack_id,
                stack: StackKey {
                    project: row.project,
                    name: row.stack_name,
                    environment: row.environment,
                },
                driver: word("driver", DriverKind::parse(&row.driver), &row.driver)?,
                operation: word("operation", Operation::parse(&row.operation), &row.operation)?,
                state: word("state", DeploymentState::parse(&row.state), &row.state)?,
                reason: row.reason,
                source: json("source", &row.source)?,
                commit: row.source_commit,
                variables: json("variables", &row.variables)?,
                options,
                plan: maybe_json("plan", row.plan.as_deref())?,
                approval: maybe_json("approval", row.approval.as_deref())?,
                stale: maybe_json("stale", row.stale.as_deref())?,
                approvals: None,
                failure: maybe_json("failure", row.failure.as_deref())?,
                cancel_requested_at: row.cancel_requested_at,
                cancel: maybe_json("cancel", row.cancel.as_deref())?,
                phases,
                submitted_by,
                trace_id,
                created_at: row.created_at,
                updated_at: row.updated_at,
                ended_at: row.ended_at,
                expires_at: row.expires_at,
                waiting: None,
            },
            traceparent: row.traceparent,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        select!("", $rest)
    };
    ($more:literal, $rest:expr) => {
        concat!(
            "select id, stack_id, project, stack_name, environment, driver, operation, state, ",
            "reason, source, source_artifact, source_root, source_commit, variables, options, ",
            "plan, approval, approval_before, failure, cancel_requested_at, phases, submitted_by, ",
            "traceparent, cancel, stale, ",
            "version, created_at, updated_at, ended_at, expires_at",
            $more,
            " from deployments ",
            $rest
        )
    };
}

mod batch;
mod changes;
mod submit;

pub use batch::ToBegin;
pub use changes::{HeldMove, NothingToDo};
pub use submit::Submission;

type IdRow = (DeploymentId,);

/// Which deployments a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this stack.
    pub stack_id: Option<StackId>,
    /// Only of this project.
    pub project: Option<String>,
    /// Only of this environment.
    pub environment: Option<String>,
    /// Only in this state.
    pub state: Option<DeploymentState>,
}

impl Tx {
    /// A deployment.
    pub async fn deployment(&mut self, id: DeploymentId) -> Result<Option<Record>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(Record::try_from).transpose()
    }

    /// A deployment, locked until the unit of work ends.
    pub async fn lock_deployment(&mut self, id: DeploymentId) -> Result<Option<Record>> {
        let text = fill(self, select!("where id = $1 {for_update}"));
        sql!(maybe Row, self, text, id)?.map(Record::try_from).transpose()
    }

    /// A deployment, locked until the unit of work ends; `None` when there is none, or when
    /// somebody else has it locked right now.
    pub async fn try_lock_deployment(&mut self, id: DeploymentId) -> Result<Option<Record>> {
        let text = fill(self, select!("where id = $1 {skip_locked}"));
        sql!(maybe Row, self, text, id)?.map(Record::try_from).transpose()
    }

    /// The state of a deployment, which is locked until the unit of work ends.
    pub async fn lock_deployment_state(
        &mut self,
        id: DeploymentId,
    ) -> Result<Option<DeploymentState>> {
        let text = fill(self, "select state from deployments where id = $1 {for_update}");
        let state = sql!(scalar_maybe String, self, text, id)?;
        state.map(|state| word("state", DeploymentState::parse(&state), &state)).transpose()
    }

    /// Writes what may change of a deployment, and appends events to it. Refused
    /// ([`Error::Changed`]) when it is not any more what `record` was read from: in state `from`,
    /// at `record.version`.
    pub async fn update_deployment(
        &mut self,
        record: &mut Record,
        from: DeploymentState,
        events: &[EventBody],
    ) -> Result<()> {
        self.change_deployment(Changed { record, from, events, audit: &[] }).await
    }

    /// Up to `limit + 1` deployments within `reach`, newest first.
    pub async fn deployments(
        &mut self,
        filter: &Filter,
        reach: &Reach,
        page: PageRequest,
    ) -> Result<Vec<Record>> {
        let stack = filter.stack_id.map(|id| id.0);
        let text = only(
            select!(
                "where {stack_id = $1} and {project = $2} and {environment = $3}
               and {state = $4} and {id < $5} and {within project $6}
               order by id desc limit $7"
            ),
            &[
                ("stack_id = $1", stack.is_some()),
                ("project = $2", filter.project.is_some()),
                ("environment = $3", filter.environment.is_some()),
                ("state = $4", filter.state.is_some()),
                ("id < $5", page.after.is_some()),
            ],
        );
        let text = within(self, text, reach);
        sql!(all Row, self, text, stack.unwrap_or_default(), filter.project.as_deref(),
            filter.environment.as_deref(), filter.state.map(DeploymentState::as_str),
            page.after.unwrap_or_default(), reached(reach), i64::from(page.limit) + 1)?
        .into_iter()
        .map(Record::try_from)
        .collect()
    }

    /// The variables of a deployment, in clear.
    pub async fn variables(&mut self, id: DeploymentId) -> Result<Variables> {
        let sealed: Vec<u8> = sql!(scalar Vec<u8>, self,
            "select variables_sealed from deployments where id = $1", id)?;
        self.open_variables(id, &sealed).await
    }

    async fn open_variables(&self, id: DeploymentId, sealed: &[u8]) -> Result<Variables> {
        let clear = self.keys.open(&variables_place(id), sealed).await?;
        serde_json::from_slice(&clear).map_err(|e| Error::corrupt("deployments", e))
    }

    /// The deployment that was submitted last.
    pub async fn newest_deployment(&mut self) -> Result<Option<DeploymentId>> {
        sql!(scalar_maybe DeploymentId, self, "select id from deployments order by id desc limit 1")
    }

    /// Keeps the outputs of a deployment, sealed.
    pub async fn set_outputs(&mut self, id: DeploymentId, outputs: &[Output]) -> Result<()> {
        let clear = to_json(&outputs)?;
        let sealed = self.keys.seal(&outputs_place(id), clear.as_bytes()).await?;
        sql!(execute self, "update deployments set outputs_sealed = $2 where id = $1", id, sealed)?;
        Ok(())
    }

    /// The outputs of a deployment, in clear; `None` when it has none yet.
    pub async fn outputs(&mut self, id: DeploymentId) -> Result<Option<Vec<Output>>> {
        let sealed = sql!(scalar_maybe Option<Vec<u8>>, self,
            "select outputs_sealed from deployments where id = $1", id)?;
        let Some(sealed) = sealed.flatten() else { return Ok(None) };
        let clear = self.keys.open(&outputs_place(id), &sealed).await?;
        serde_json::from_slice(&clear).map(Some).map_err(|e| Error::corrupt("deployments", e))
    }

    /// Ids of deployments of a stack in any of these states, oldest first.
    pub async fn deployments_in(
        &mut self,
        stack: StackId,
        states: &[DeploymentState],
    ) -> Result<Vec<DeploymentId>> {
        let mut found = Vec::new();
        for state in states {
            let rows: Vec<(DeploymentId,)> = sql!(
                all IdRow,
                self,
                "select id from deployments where stack_id = $1 and state = $2 order by id",
                stack,
                state.as_str()
            )?;
            found.extend(rows.into_iter().map(|(id,)| id));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Ids of deployments that have waited too long, at most `limit`.
    pub async fn expired_deployments(
        &mut self,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<DeploymentId>> {
        let rows = sql!(
            all IdRow,
            self,
            "select id from deployments where expires_at is not null and expires_at <= $1
             order by expires_at limit $2",
            now,
            limit
        )?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }
}

/// What a deployment's variables are sealed for.
pub(crate) fn variables_place(id: DeploymentId) -> String {
    format!("deployments|{id}|variables")
}

/// What a deployment's outputs are sealed for.
pub(crate) fn outputs_place(id: DeploymentId) -> String {
    format!("deployments|{id}|outputs")
}
