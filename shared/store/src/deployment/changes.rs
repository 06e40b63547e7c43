//! Changes of deployments. On PostgreSQL they are one statement: the rows, their events, the audit
//! records that tell of them; and of moves that workers make also whether they may, and the end of
//! their run.

use std::sync::LazyLock;

use slipway_domain::deployment::Output;
use slipway_domain::id::DeploymentId;
use slipway_domain::job::{JobState, Lease};
use slipway_domain::plan::StateMark;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::QueryAs;

use super::{Changed, Record, outputs_place, to_json};
use crate::audit::Prepared;
use crate::db::{Conn, Store, Tx};
use crate::dialect::{postgres, without_nul};
use crate::error::{Error, Result};
use crate::event::count;

/// A move of a deployment that a worker makes under its lease.
#[derive(Debug)]
pub struct HeldMove<'a> {
    /// The deployment, and what happened.
    pub changed: Changed<'a>,
    /// The right to it.
    pub lease: Lease,
    /// What the move ends: the run of its job, and so its lease.
    pub end: Option<NothingToDo<'a>>,
}

/// The end of a plan that found nothing to do.
#[derive(Debug, Clone, Copy)]
pub struct NothingToDo<'a> {
    /// The state of the stack that this is said of; without a lineage, of any.
    pub made_from: &'a StateMark,
    /// The outputs of the deployment; `None` leaves them as they are.
    pub outputs: Option<&'a [Output]>,
    /// Whether the deployment is what its stack runs now.
    pub is_current: bool,
}

impl Store {
    /// Makes moves of several deployments, each with its events and audit records, as a unit of
    /// work. All of them end a run, or none; and those that do are of different stacks. Gives those
    /// that were made. Of the others nothing is written: their lease is not the current, living one,
    /// they are not any more what their record was read from, the state of their stack is not that
    /// of their end, or somebody else has them locked right now (nobody is waited for).
    ///
    /// On PostgreSQL this is one statement, which needs no more than one round trip.
    pub async fn move_held(&self, moves: &mut [HeldMove<'_>]) -> Result<Vec<DeploymentId>> {
        if moves.is_empty() {
            return Ok(Vec::new());
        }
        let mut one = self.single().await?;
        let made = if one.is_postgres() {
            one.move_together(moves).await?
        } else {
            let mut made = Vec::with_capacity(moves.len());
            for held in moves.iter() {
                if one.move_one(held).await? {
                    made.push(held.changed.record.deployment.id);
                }
            }
            made
        };
        one.commit().await?;
        for HeldMove { changed: Changed { record, .. }, .. } in moves {
            record.version += i64::from(made.contains(&record.deployment.id));
        }
        Ok(made)
    }
}

/// The text of a change: `with` what it begins; what else it sets, from where, and when; and what
/// else follows from it.
macro_rules! change {
    ($with:expr, $set:expr, $from:expr, $when:expr, $more:expr) => {
        concat!(
            "with ",
            $with,
            "changed as (update deployments d set state = v.state, reason = v.reason,
                 source_artifact = v.source_artifact, source_root = v.source_root,
                 source_commit = v.source_commit, variables = v.variables, plan = v.plan,
                 approval = v.approval, failure = v.failure,
                 cancel_requested_at = v.cancel_requested_at, phases = v.phases,
                 updated_at = v.updated_at, ended_at = v.ended_at, expires_at = v.expires_at,
                 approval_before = v.approval_before, cancel = v.cancel, version = d.version + 1,
                 event_seq = d.event_seq + v.events",
            $set,
            " from {rows}($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[],
                     $6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                     $12::text[], $13::timestamptz[], $14::text[], $15::timestamptz[],
                     $16::timestamptz[], $17::timestamptz[], $18::bigint[], $19::text[],
                     $20::text[])
                 as v (id, from_state, version, state, reason, source_artifact, source_root,
                     source_commit, variables, plan, approval, failure, cancel_requested_at,
                     phases, updated_at, ended_at, expires_at, events, approval_before, cancel)",
            $from,
            " where d.id = v.id and d.state = v.from_state and d.version = v.version",
            $when,
            " returning d.id, d.event_seq),
             told as (insert into events (deployment_id, seq, kind, body, at)
                 select c.id, c.event_seq - e.after, e.kind, e.body, e.at
                 from {rows}($21::uuid[], $22::bigint[], $23::text[], $24::text[],
                         $25::timestamptz[]) as e (deployment_id, after, kind, body, at)
                 join changed c on c.id = e.deployment_id),
             audited as (
                 insert into audit (id, at, actor, address, action, target, result, detail,
                     trace_id, token, user_agent, reason, before_digest, after_digest, mark)
                 select a.id, a.at, a.actor, a.address, a.action, a.target, a.result, a.detail,
                     a.trace_id, a.token, a.user_agent, a.reason, a.before_digest,
                     a.after_digest, a.mark
                 from {rows}($26::uuid[], $27::uuid[], $28::timestamptz[], $29::text[],
                         $30::text[], $31::text[], $32::text[], $33::text[], $34::text[],
                         $35::text[], $36::text[], $37::text[], $38::text[], $39::text[],
                         $40::text[], $41::text[])
                     as a (deployment_id, id, at, actor, address, action, target, result, detail,
                         trace_id, token, user_agent, reason, before_digest, after_digest, mark)
                 join changed c on c.id = a.deployment_id)",
            $more,
            " select id from changed"
        )
    };
}

/// The text of a change that a worker makes under its lease: `with` what is its own; what else it
/// sets, and what else follows.
macro_rules! held {
    ($mine:expr, $set:expr, $more:expr) => {
        change!(
            concat!(
                "held as materialized (
                     select j.id, j.deployment_id from jobs j
                     join {rows}($42::uuid[], $43::uuid[], $44::bigint[])
                         as l (id, worker_id, epoch)
                       on j.id = l.id and j.worker_id = l.worker_id and j.epoch = l.epoch
                     where j.state = 'running' and j.lease_until_ms > {now_ms}
                     for no key update of j skip locked),
                 mine as materialized (",
                $mine,
                "), "
            ),
            $set,
            ", mine m",
            " and m.id = d.id",
            $more
        )
    };
}

/// Moves that end nothing.
static BEGINS: LazyLock<String> = LazyLock::new(|| {
    postgres(held!(
        "select d.id from deployments d
         where d.id = any(array(select deployment_id from held))
         for no key update skip locked",
        "",
        ""
    ))
});

/// Moves that end a run.
static ENDS: LazyLock<String> = LazyLock::new(|| {
    postgres(held!(
        "select d.id, d.stack_id, e.outputs, e.is_current from deployments d
         join {rows}($45::uuid[], $46::text[], $47::bigint[], $48::bytea[], $49::boolean[])
             as e (id, lineage, serial, outputs, is_current)
           on e.id = d.id
         join stacks s on s.id = d.stack_id
         where d.id = any(array(select deployment_id from held))
           and (e.lineage = ''
                or e.lineage = s.state_lineage and e.serial = s.state_serial)
         for no key update of d, s skip locked",
        ", outputs_sealed = coalesce(m.outputs, d.outputs_sealed)",
        ", ended as (update jobs j set state = 'succeeded', last_error = null,
                 ended_at = $50, lease_until_ms = null
             from held h join changed c on c.id = h.deployment_id where j.id = h.id),
         current as (update stacks s set current_deployment = m.id, updated_at = $50
             from mine m join changed c on c.id = m.id
             where m.is_current and s.id = m.stack_id)"
    ))
});

type Found<'q> = QueryAs<'q, Postgres, (DeploymentId,), PgArguments>;

/// Writes a change in one statement.
pub(super) async fn write(
    conn: &mut sqlx::PgConnection,
    change: &Changed<'_>,
    audit: &[(DeploymentId, Prepared)],
) -> Result<()> {
    static TEXT: LazyLock<String> = LazyLock::new(|| postgres(change!("", "", "", "", "")));
    let query = sqlx::query_as(TEXT.as_str());
    let changed = bind(query, &[change], audit)?.fetch_optional(conn).await?;
    changed.map(drop).ok_or(Error::Changed)
}

impl Tx {
    /// Bounds and marks the audit records of changes.
    pub(super) fn prepare_each(
        &self,
        changes: &[&Changed<'_>],
    ) -> Result<Vec<(DeploymentId, Prepared)>> {
        let mut all = Vec::new();
        for change in changes {
            let prepared = self.prepare_audit(change.audit)?;
            all.extend(prepared.into_iter().map(|one| (change.record.deployment.id, one)));
        }
        Ok(all)
    }

    /// [`Store::move_held`] in one statement. What is locked is locked first, and waits for nobody;
    /// so it does not matter that others lock in another order.
    async fn move_together(&mut self, moves: &[HeldMove<'_>]) -> Result<Vec<DeploymentId>> {
        let ends: Vec<_> = moves
            .iter()
            .filter_map(|held| Some((held.changed.record.deployment.id, held.end?)))
            .collect();
        debug_assert!(ends.is_empty() || ends.len() == moves.len(), "all end a run, or none");
        let text = if ends.is_empty() { &BEGINS } else { &ENDS };
        let changes: Vec<_> = moves.iter().map(|held| &held.changed).collect();
        let prepared = self.prepare_each(&changes)?;
        let mut outputs = Vec::with_capacity(ends.len());
        for (id, end) in &ends {
            outputs.push(match end.outputs {
                Some(outputs) => {
                    let clear = to_json(&outputs)?;
                    Some(self.keys.seal(&outputs_place(*id), clear.as_bytes()).await?)
                }
                None => None,
            });
        }
        let mut query = bind(sqlx::query_as(text.as_str()), &changes, &prepared)?
            .bind(moves.iter().map(|held| held.lease.job_id.0).collect::<Vec<_>>())
            .bind(moves.iter().map(|held| held.lease.worker_id.0).collect::<Vec<_>>())
            .bind(moves.iter().map(|held| held.lease.epoch).collect::<Vec<_>>());
        if !ends.is_empty() {
            query = query
                .bind(ends.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
                .bind(
                    ends.iter().map(|(_, end)| end.made_from.lineage.as_str()).collect::<Vec<_>>(),
                )
                .bind(ends.iter().map(|(_, end)| end.made_from.serial).collect::<Vec<_>>())
                .bind(outputs)
                .bind(ends.iter().map(|(_, end)| end.is_current).collect::<Vec<_>>())
                .bind(changes.iter().map(|change| change.record.deployment.updated_at).max());
        }
        let Conn::Postgres(conn) = self.conn() else {
            return Err(Error::corrupt("deployments", "a statement of another engine"));
        };
        Ok(query.fetch_all(conn).await?.into_iter().map(|(id,)| id).collect())
    }

    /// One of [`Store::move_held`], where nobody else writes meanwhile; whether it was made.
    async fn move_one(&mut self, held: &HeldMove<'_>) -> Result<bool> {
        let d = &held.changed.record.deployment;
        match self.fence(&held.lease).await {
            Ok(()) => {}
            Err(Error::LeaseLost) => return Ok(false),
            Err(error) => return Err(error),
        }
        if let Some(end) = &held.end {
            let stack = self.stack(d.stack_id).await?;
            let now = stack.map(|stack| stack.state_mark());
            if !end.made_from.lineage.is_empty() && now.as_ref() != Some(end.made_from) {
                return Ok(false);
            }
        }
        match self.change_one(&held.changed).await {
            Ok(()) => {}
            Err(Error::Changed) => return Ok(false),
            Err(error) => return Err(error),
        }
        if let Some(end) = &held.end {
            if let Some(outputs) = end.outputs {
                self.set_outputs(d.id, outputs).await?;
            }
            if end.is_current {
                self.set_current_deployment(d.stack_id, d.id, d.updated_at).await?;
            }
            self.end_job(held.lease.job_id, JobState::Succeeded, None, d.updated_at).await?;
        }
        Ok(true)
    }
}

/// Gives a statement of [`change!`] its first parameters.
fn bind<'q>(
    query: Found<'q>,
    changes: &'q [&'q Changed<'q>],
    audit: &'q [(DeploymentId, Prepared)],
) -> Result<Found<'q>> {
    fn column<'q, T>(changes: &'q [&'q Changed<'q>], value: impl Fn(&'q Record) -> T) -> Vec<T> {
        changes.iter().map(|change| value(change.record)).collect()
    }
    fn json(
        changes: &[&Changed<'_>],
        value: impl Fn(&Record) -> Option<Result<String>>,
    ) -> Result<Vec<Option<String>>> {
        changes.iter().map(|change| value(change.record).transpose()).collect()
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
    let query = query
        .bind(column(changes, |r| r.deployment.id.0))
        .bind(changes.iter().map(|change| change.from.as_str()).collect::<Vec<_>>())
        .bind(column(changes, |r| r.version))
        .bind(column(changes, |r| r.deployment.state.as_str()))
        .bind(column(changes, |r| r.deployment.reason.as_deref().map(without_nul)))
        .bind(column(changes, |r| r.source_artifact.map(|id| id.0)))
        .bind(column(changes, |r| r.source_root.as_deref()))
        .bind(column(changes, |r| r.deployment.commit.as_deref()))
        .bind(json(changes, |r| Some(to_json(&r.deployment.variables)))?)
        .bind(json(changes, |r| r.deployment.plan.as_ref().map(to_json))?)
        .bind(json(changes, |r| r.deployment.approval.as_ref().map(to_json))?)
        .bind(json(changes, |r| r.deployment.failure.as_ref().map(to_json))?)
        .bind(column(changes, |r| r.deployment.cancel_requested_at))
        .bind(json(changes, |r| Some(to_json(&r.deployment.phases)))?)
        .bind(column(changes, |r| r.deployment.updated_at))
        .bind(column(changes, |r| r.deployment.ended_at))
        .bind(column(changes, |r| r.deployment.expires_at))
        .bind(changes.iter().map(|change| count(change.events)).collect::<Vec<_>>())
        .bind(json(changes, |r| r.approval_before.as_ref().map(to_json))?)
        .bind(json(changes, |r| r.deployment.cancel.as_ref().map(to_json))?)
        .bind(events.0)
        .bind(events.1)
        .bind(events.2)
        .bind(events.3)
        .bind(events.4);
    Ok(Prepared::bind_all(query, audit))
}
