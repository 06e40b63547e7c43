//! Statements about several deployments at once.

use slipway_domain::deployment::{Deployment, Variables};
use slipway_domain::id::DeploymentId;

use super::{Changed, New, Record, Row, changes, to_json, variables_place};
use crate::db::{Conn, Tx, sql};
use crate::dialect::without_nul;
use crate::error::{Error, Result};
use crate::event::{count, numbered};
use crate::rows::insert_rows;
use crate::stack::{KeptState, StateRow};

/// A deployment and what a worker begins it with.
#[derive(Debug)]
pub struct ToBegin {
    /// The deployment.
    pub record: Record,
    /// Its variables, in clear.
    pub variables: Variables,
    /// The current state of its stack.
    pub state: Option<KeptState>,
}

/// A deployment that is added, with those of its columns that are made of it.
pub(super) struct Text<'a> {
    pub(super) new: &'a New<'a>,
    pub(super) d: &'a Deployment,
    pub(super) source: String,
    pub(super) variables: String,
    pub(super) sealed: Vec<u8>,
    pub(super) options: String,
    pub(super) phases: String,
    pub(super) submitted_by: String,
}

#[derive(sqlx::FromRow)]
struct ToBeginRow {
    #[sqlx(flatten)]
    row: Row,
    variables_sealed: Vec<u8>,
    #[sqlx(flatten)]
    state: StateRow,
}

impl Tx {
    /// Adds deployments, each with its variables in clear, which are sealed here, and its first
    /// events.
    pub async fn insert_deployments(&mut self, new: &[New<'_>]) -> Result<()> {
        let mut rows = Vec::with_capacity(new.len());
        for new in new {
            rows.push(self.text_of(new).await?);
        }
        insert_rows!(self,
            "deployments (id, stack_id, project, stack_name, environment, driver, operation, state,
                 reason, source, source_artifact, source_root, source_commit, variables,
                 variables_sealed, options, phases, submitted_by, traceparent, version, event_seq,
                 log_seq, created_at, updated_at)", "",
            rows.as_slice(), |row|
            "uuid": row.d.id.0, "uuid": row.d.stack_id.0, "text": row.d.stack.project.as_str(),
            "text": row.d.stack.name.as_str(), "text": row.d.stack.environment.as_str(),
            "text": row.d.driver.as_str(), "text": row.d.operation.as_str(),
            "text": row.d.state.as_str(), "text": row.d.reason.as_deref(),
            "text": row.source.as_str(), "uuid": row.new.record.source_artifact.map(|id| id.0),
            "text": row.new.record.source_root.as_deref(), "text": row.d.commit.as_deref(),
            "text": row.variables.as_str(), "bytea": row.sealed.as_slice(),
            "text": row.options.as_str(), "text": row.phases.as_str(),
            "text": row.submitted_by.as_str(), "text": row.new.record.traceparent.as_deref(),
            "bigint": row.new.record.version, "bigint": count(row.new.events), "bigint": 0_i64,
            "timestamptz": row.d.created_at, "timestamptz": row.d.updated_at);
        let events: Vec<_> = new
            .iter()
            .flat_map(|new| {
                let d = &new.record.deployment;
                numbered(d.id, new.events, count(new.events), d.created_at)
            })
            .collect();
        self.insert_events(&events).await
    }

    /// What is written of a deployment that is added.
    pub(super) async fn text_of<'a>(&self, new: &'a New<'a>) -> Result<Text<'a>> {
        let d = &new.record.deployment;
        let clear = to_json(new.variables)?;
        Ok(Text {
            new,
            d,
            source: to_json(&d.source)?,
            variables: to_json(&d.variables)?,
            sealed: self.keys.seal(&variables_place(d.id), clear.as_bytes()).await?,
            options: to_json(&d.options)?,
            phases: to_json(&d.phases)?,
            submitted_by: to_json(&d.submitted_by)?,
        })
    }

    /// Those of `ids` that are there, in no order.
    pub async fn deployments_by_id(&mut self, ids: &[DeploymentId]) -> Result<Vec<Record>> {
        let rows: Vec<Row> = match self.conn() {
            Conn::Sqlite(conn) => {
                let mut query = sqlx::QueryBuilder::new(select!("where id in ("));
                let mut list = query.separated(", ");
                for id in ids {
                    list.push_bind(*id);
                }
                query.push(")");
                query.build_query_as().fetch_all(conn).await?
            }
            Conn::Postgres(conn) => {
                let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
                sqlx::query_as(select!("where id = any($1)")).bind(ids).fetch_all(conn).await?
            }
        };
        rows.into_iter().map(Record::try_from).collect()
    }

    /// Deployments with what a worker begins them with; those that are there. Nothing is locked.
    pub async fn deployments_to_begin(&mut self, ids: &[DeploymentId]) -> Result<Vec<ToBegin>> {
        macro_rules! text {
            ($which:literal) => {
                select!(
                    ", variables_sealed, state_lineage, state_serial, state_resources, \
                     state_artifact",
                    concat!(
                        "join (select id as its_stack, state_lineage, state_serial, \
                             state_resources, state_artifact from stacks) s \
                         on s.its_stack = stack_id where id ",
                        $which
                    )
                )
            };
        }
        let rows: Vec<ToBeginRow> = match self.conn() {
            Conn::Sqlite(_) => {
                let mut rows = Vec::with_capacity(ids.len());
                for id in ids {
                    rows.extend(sql!(maybe ToBeginRow, self, text!("= $1"), *id)?);
                }
                rows
            }
            Conn::Postgres(conn) => {
                let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
                sqlx::query_as(text!("= any($1)")).bind(ids).fetch_all(conn).await?
            }
        };
        let mut found = Vec::with_capacity(rows.len());
        for ToBeginRow { row, variables_sealed, state } in rows {
            let variables = self.open_variables(row.id, &variables_sealed).await?;
            found.push(ToBegin { record: Record::try_from(row)?, variables, state: state.kept() });
        }
        Ok(found)
    }

    /// Writes what may change of a deployment, appends events to it, and adds the audit records that
    /// tell of it. Refused ([`Error::Changed`]) when it is not any more what its record was read from.
    pub async fn change_deployment(&mut self, change: Changed<'_>) -> Result<()> {
        if self.is_postgres() {
            let prepared = self.prepare_each(&[&change])?;
            if let Conn::Postgres(conn) = self.conn() {
                changes::write(conn, &change, &prepared).await?;
            }
        } else {
            self.change_one(&change).await?;
        }
        change.record.version += 1;
        Ok(())
    }

    /// [`Tx::change_deployment`] in several statements; the version of the record stays.
    pub(super) async fn change_one(&mut self, change: &Changed<'_>) -> Result<()> {
        let last = self.update_one(change).await?;
        let d = &change.record.deployment;
        self.insert_events(&numbered(d.id, change.events, last, d.updated_at)).await?;
        let prepared = self.prepare_audit(change.audit)?;
        self.insert_prepared(&prepared).await
    }

    /// The row of [`Tx::change_deployment`]; gives the number of its last event.
    async fn update_one(&mut self, change: &Changed<'_>) -> Result<i64> {
        let record = &*change.record;
        let d = &record.deployment;
        let text = |json: Option<Result<String>>| json.transpose();
        let last = sql!(scalar_maybe i64, self,
            "update deployments set state = $4, reason = $5, source_artifact = $6,
                 source_root = $7, source_commit = $8, variables = $9, plan = $10, approval = $11,
                 failure = $12, cancel_requested_at = $13, phases = $14, updated_at = $15,
                 ended_at = $16, expires_at = $17, version = version + 1,
                 event_seq = event_seq + $18, approval_before = $19, cancel = $20
             where id = $1 and state = $2 and version = $3 returning event_seq",
            d.id, change.from.as_str(), record.version, d.state.as_str(),
            d.reason.as_deref().map(without_nul),
            record.source_artifact, record.source_root.as_deref(), d.commit.as_deref(),
            to_json(&d.variables)?, text(d.plan.as_ref().map(to_json))?,
            text(d.approval.as_ref().map(to_json))?, text(d.failure.as_ref().map(to_json))?,
            d.cancel_requested_at, to_json(&d.phases)?, d.updated_at, d.ended_at, d.expires_at,
            count(change.events), text(record.approval_before.as_ref().map(to_json))?,
            text(d.cancel.as_ref().map(to_json))?)?;
        last.ok_or(Error::Changed)
    }
}
