//! Statements about several deployments at once.

use slipway_domain::audit::AuditRecord;
use slipway_domain::deployment::{Deployment, Output, Variables};
use slipway_domain::id::DeploymentId;
use slipway_domain::job::Lease;

use super::{Changed, New, Record, Row, outputs_place, to_json, variables_place};
use crate::audit::Prepared;
use crate::db::{Conn, Tx, sql};
use crate::dialect::{fill, without_nul};
use crate::error::{Error, Result};
use crate::event::{count, numbered};
use crate::rows::insert_rows;

/// A deployment and its variables, sealed.
#[derive(sqlx::FromRow)]
struct SealedRow {
    #[sqlx(flatten)]
    row: Row,
    variables_sealed: Vec<u8>,
}

impl Tx {
    /// Adds deployments, each with its variables in clear, which are sealed here, and its first
    /// events.
    pub async fn insert_deployments(&mut self, new: &[New<'_>]) -> Result<()> {
        struct Text<'a> {
            new: &'a New<'a>,
            d: &'a Deployment,
            source: String,
            variables: String,
            sealed: Vec<u8>,
            options: String,
            phases: String,
            submitted_by: String,
        }
        let mut rows = Vec::with_capacity(new.len());
        for new in new {
            let d = &new.record.deployment;
            let clear = to_json(new.variables)?;
            rows.push(Text {
                new,
                d,
                source: to_json(&d.source)?,
                variables: to_json(&d.variables)?,
                sealed: self.keys.seal(&variables_place(d.id), clear.as_bytes()).await?,
                options: to_json(&d.options)?,
                phases: to_json(&d.phases)?,
                submitted_by: to_json(&d.submitted_by)?,
            });
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

    /// Deployments, locked until the unit of work ends; those that are there.
    pub async fn lock_deployments(&mut self, ids: &[DeploymentId]) -> Result<Vec<Record>> {
        let rows: Vec<Row> = match self.conn() {
            Conn::Sqlite(_) => return self.deployments_by_id(ids).await,
            Conn::Postgres(conn) => {
                let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
                // In one order everywhere.
                sqlx::query_as(select!("where id = any($1) order by id for no key update"))
                    .bind(ids)
                    .fetch_all(conn)
                    .await?
            }
        };
        rows.into_iter().map(Record::try_from).collect()
    }

    /// The deployments of jobs that run under these leases, each with its variables in clear; they
    /// and their jobs are locked until the unit of work ends. Left out are those whose lease is not
    /// the current, living one, and those that somebody else has locked right now: nobody is waited
    /// for, so it does not matter in which order they are locked.
    pub async fn try_lock_held(
        &mut self,
        held: &[(DeploymentId, Lease)],
    ) -> Result<Vec<(Record, Variables)>> {
        let text = fill(
            self,
            select!(
                "with held as materialized (
                     select j.deployment_id from jobs j
                     join unnest($1::uuid[], $2::uuid[], $3::bigint[]) as l (id, worker_id, epoch)
                       on j.id = l.id and j.worker_id = l.worker_id and j.epoch = l.epoch
                     where j.state = 'running' and j.lease_until_ms > {now_ms}
                     for no key update of j skip locked) ",
                ", variables_sealed",
                "where id = any(array(select deployment_id from held)) {skip_locked}"
            ),
        );
        let rows: Vec<SealedRow> = match self.conn() {
            Conn::Sqlite(_) => self.held_one_by_one(held).await?,
            Conn::Postgres(conn) => {
                let column = |of: fn(&Lease) -> uuid::Uuid| {
                    held.iter().map(|(_, lease)| of(lease)).collect::<Vec<_>>()
                };
                sqlx::query_as(text)
                    .bind(column(|lease| lease.job_id.0))
                    .bind(column(|lease| lease.worker_id.0))
                    .bind(held.iter().map(|(_, lease)| lease.epoch).collect::<Vec<_>>())
                    .fetch_all(conn)
                    .await?
            }
        };
        let mut found = Vec::with_capacity(rows.len());
        for SealedRow { row, variables_sealed } in rows {
            let variables = self.open_variables(row.id, &variables_sealed).await?;
            found.push((Record::try_from(row)?, variables));
        }
        Ok(found)
    }

    /// [`Tx::try_lock_held`] where nobody else writes meanwhile.
    async fn held_one_by_one(&mut self, held: &[(DeploymentId, Lease)]) -> Result<Vec<SealedRow>> {
        let mut rows = Vec::with_capacity(held.len());
        for (of, lease) in held {
            match self.fence(lease).await {
                Ok(()) => {}
                Err(Error::LeaseLost) => continue,
                Err(error) => return Err(error),
            }
            let row =
                sql!(maybe SealedRow, self, select!(", variables_sealed", "where id = $1"), *of)?;
            rows.extend(row);
        }
        Ok(rows)
    }

    /// Writes what may change of deployments, appends events to them, and adds the audit records
    /// that tell of it. Refused ([`Error::Changed`]) when one of them is not any more what its
    /// record was read from.
    pub async fn update_deployments(
        &mut self,
        changes: &mut [Changed<'_>],
        audit: &[AuditRecord],
    ) -> Result<()> {
        let prepared = self.prepare_audit(audit)?;
        match self.conn() {
            Conn::Sqlite(_) => {
                for change in changes.iter() {
                    let last = self.update_one(change).await?;
                    let d = &change.record.deployment;
                    let events = numbered(d.id, change.events, last, d.updated_at);
                    self.insert_events(&events).await?;
                }
                self.insert_prepared(&prepared).await?;
            }
            Conn::Postgres(conn) => {
                if update_many(conn, changes, &prepared).await? != changes.len() {
                    return Err(Error::Changed);
                }
            }
        }
        for change in changes {
            change.record.version += 1;
        }
        Ok(())
    }

    /// One row of [`Tx::update_deployments`]; gives the number of its last event.
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

    /// Keeps the outputs of deployments, sealed.
    pub async fn set_outputs_of_many(
        &mut self,
        outputs: &[(DeploymentId, &[Output])],
    ) -> Result<()> {
        let mut sealed = Vec::with_capacity(outputs.len());
        for (id, outputs) in outputs {
            let clear = to_json(outputs)?;
            sealed.push(self.keys.seal(&outputs_place(*id), clear.as_bytes()).await?);
        }
        match self.conn() {
            Conn::Sqlite(_) => {
                for (id, outputs) in outputs {
                    self.set_outputs(*id, outputs).await?;
                }
            }
            Conn::Postgres(conn) => {
                sqlx::query(
                    "update deployments d set outputs_sealed = v.sealed
                     from unnest($1::uuid[], $2::bytea[]) as v (id, sealed) where d.id = v.id",
                )
                .bind(outputs.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
                .bind(sealed)
                .execute(conn)
                .await?;
            }
        }
        Ok(())
    }
}

/// All rows of [`Tx::update_deployments`], their events and the audit records in one statement;
/// gives how many deployments were what they were read from.
async fn update_many(
    conn: &mut sqlx::PgConnection,
    changes: &[Changed<'_>],
    audit: &[Prepared],
) -> Result<usize> {
    fn column<'a, T>(changes: &'a [Changed<'_>], value: impl Fn(&'a Changed<'_>) -> T) -> Vec<T> {
        changes.iter().map(value).collect()
    }
    fn json<'a>(
        changes: &'a [Changed<'_>],
        value: impl Fn(&'a Record) -> Option<Result<String>>,
    ) -> Result<Vec<Option<String>>> {
        changes.iter().map(|change| value(&*change.record).transpose()).collect()
    }
    fn said<'a, T>(audit: &'a [Prepared], value: impl Fn(&'a Prepared) -> T) -> Vec<T> {
        audit.iter().map(value).collect()
    }
    // Of each event: whose it is, how many of the same change come after it, and what it says.
    let mut events: (Vec<_>, Vec<i64>, Vec<&str>, Vec<String>, Vec<_>) = Default::default();
    for change in changes {
        let d = &change.record.deployment;
        for (after, body) in (0..).zip(change.events.iter().rev()) {
            events.0.push(d.id.0);
            events.1.push(after);
            events.2.push(body.kind());
            events.3.push(to_json(body)?);
            events.4.push(d.updated_at);
        }
    }
    let rows: Vec<(DeploymentId,)> = sqlx::query_as(
        "with changed as (update deployments d set state = v.state, reason = v.reason,
             source_artifact = v.source_artifact, source_root = v.source_root,
             source_commit = v.source_commit, variables = v.variables, plan = v.plan,
             approval = v.approval, failure = v.failure,
             cancel_requested_at = v.cancel_requested_at, phases = v.phases,
             updated_at = v.updated_at, ended_at = v.ended_at, expires_at = v.expires_at,
             approval_before = v.approval_before, cancel = v.cancel, version = d.version + 1, event_seq = d.event_seq + v.events
         from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::uuid[],
                 $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                 $13::timestamptz[], $14::text[], $15::timestamptz[], $16::timestamptz[],
                 $17::timestamptz[], $18::bigint[], $33::text[], $34::text[])
             as v (id, from_state, version, state, reason, source_artifact, source_root,
                 source_commit, variables, plan, approval, failure, cancel_requested_at, phases,
                 updated_at, ended_at, expires_at, events, approval_before, cancel)
         where d.id = v.id and d.state = v.from_state and d.version = v.version
         returning d.id, d.event_seq),
         told as (insert into events (deployment_id, seq, kind, body, at)
             select c.id, c.event_seq - e.after, e.kind, e.body, e.at
             from unnest($19::uuid[], $20::bigint[], $21::text[], $22::text[], $23::timestamptz[])
                 as e (deployment_id, after, kind, body, at)
             join changed c on c.id = e.deployment_id),
         audited as (
             insert into audit (id, at, actor, address, action, target, result, detail, trace_id,
                 token, user_agent, reason, before_digest, after_digest, mark)
             select * from unnest($24::uuid[], $25::timestamptz[], $26::text[], $27::text[],
                 $28::text[], $29::text[], $30::text[], $31::text[], $32::text[], $35::text[],
                 $36::text[], $37::text[], $38::text[], $39::text[], $40::text[]))
         select id from changed",
    )
    .bind(column(changes, |c| c.record.deployment.id.0))
    .bind(column(changes, |c| c.from.as_str()))
    .bind(column(changes, |c| c.record.version))
    .bind(column(changes, |c| c.record.deployment.state.as_str()))
    .bind(column(changes, |c| c.record.deployment.reason.as_deref().map(without_nul)))
    .bind(column(changes, |c| c.record.source_artifact.map(|id| id.0)))
    .bind(column(changes, |c| c.record.source_root.as_deref()))
    .bind(column(changes, |c| c.record.deployment.commit.as_deref()))
    .bind(json(changes, |r| Some(to_json(&r.deployment.variables)))?)
    .bind(json(changes, |r| r.deployment.plan.as_ref().map(to_json))?)
    .bind(json(changes, |r| r.deployment.approval.as_ref().map(to_json))?)
    .bind(json(changes, |r| r.deployment.failure.as_ref().map(to_json))?)
    .bind(column(changes, |c| c.record.deployment.cancel_requested_at))
    .bind(json(changes, |r| Some(to_json(&r.deployment.phases)))?)
    .bind(column(changes, |c| c.record.deployment.updated_at))
    .bind(column(changes, |c| c.record.deployment.ended_at))
    .bind(column(changes, |c| c.record.deployment.expires_at))
    .bind(column(changes, |c| count(c.events)))
    .bind(events.0)
    .bind(events.1)
    .bind(events.2)
    .bind(events.3)
    .bind(events.4)
    .bind(said(audit, |a| a.record.id.0))
    .bind(said(audit, |a| a.record.at))
    .bind(said(audit, |a| a.actor.as_str()))
    .bind(said(audit, |a| a.record.address.as_deref()))
    .bind(said(audit, |a| a.record.action.as_str()))
    .bind(said(audit, |a| a.record.target.as_str()))
    .bind(said(audit, |a| a.record.result.as_str()))
    .bind(said(audit, |a| a.detail.as_str()))
    .bind(said(audit, |a| a.record.trace_id.as_deref()))
    .bind(json(changes, |r| r.approval_before.as_ref().map(to_json))?)
    .bind(json(changes, |r| r.deployment.cancel.as_ref().map(to_json))?)
    .bind(said(audit, |a| a.record.token.as_deref()))
    .bind(said(audit, |a| a.record.user_agent.as_deref()))
    .bind(said(audit, |a| a.record.reason.as_deref()))
    .bind(said(audit, |a| a.record.before_digest.as_deref()))
    .bind(said(audit, |a| a.record.after_digest.as_deref()))
    .bind(said(audit, |a| a.mark.as_str()))
    .fetch_all(conn)
    .await?;
    Ok(rows.len())
}
