//! Submissions: deployments that are added with all that comes with them. On PostgreSQL they are one
//! statement, however many they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use slipway_domain::audit::AuditRecord;
use slipway_domain::deployment::Deployment;
use slipway_domain::id::{ArtifactId, DeploymentId};
use slipway_domain::job::{JobState, NewJob};
use sqlx::postgres::Postgres;

use super::{New, to_json};
use crate::audit::Prepared;
use crate::db::{Conn, Tx};
use crate::dialect::postgres;
use crate::error::{Error, Result};
use crate::event::count;
use crate::idempotency::{Key, Stored, in_order};

/// A deployment that is submitted, with what comes with it.
#[derive(Debug)]
pub struct Submission<'a> {
    /// The deployment.
    pub new: New<'a>,
    /// What tells of it on the audit log.
    pub audit: &'a AuditRecord,
    /// Its first job.
    pub job: &'a NewJob,
    /// The answer that is kept for its request.
    pub answer: Option<(&'a Key, Stored)>,
}

impl Submission<'_> {
    fn deployment(&self) -> &Deployment {
        &self.new.record.deployment
    }

    fn archive(&self) -> Option<ArtifactId> {
        self.new.record.source_artifact
    }
}

impl Tx {
    /// Adds deployments, each with its variables in clear, which are sealed here, its first events,
    /// its audit record, its first job and the answer to its request; the keys of requests must
    /// differ. Gives those that were added. Of the others nothing is written: the archive of their
    /// source is not there any more, or their request has been answered in the meantime. It waits
    /// for units of work that are keeping an answer to the same key.
    ///
    /// Answers are kept until `until`. A job that is due at once counts as rung, as with
    /// [`Tx::insert_jobs`].
    ///
    /// On PostgreSQL this is one statement, which needs no unit of work around it.
    pub async fn submit(
        &mut self,
        submissions: &[Submission<'_>],
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<DeploymentId>> {
        if submissions.is_empty() {
            Ok(Vec::new())
        } else if self.is_postgres() {
            self.submit_together(submissions, now, until).await
        } else {
            self.submit_in_turn(submissions, now, until).await
        }
    }

    /// [`Tx::submit`] in several statements, where nobody else writes meanwhile.
    async fn submit_in_turn(
        &mut self,
        submissions: &[Submission<'_>],
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<DeploymentId>> {
        let archives: BTreeSet<_> = submissions.iter().filter_map(Submission::archive).collect();
        let archives: Vec<_> = archives.into_iter().collect();
        let kept =
            if archives.is_empty() { archives } else { self.keep_artifacts(&archives).await? };
        let is_kept = |one: &&Submission<'_>| one.archive().is_none_or(|id| kept.contains(&id));
        let mut left: Vec<_> = submissions.iter().filter(is_kept).collect();
        let answers: Vec<_> = left
            .iter()
            .filter_map(|one| one.answer.as_ref().map(|(key, stored)| (*key, stored)))
            .collect();
        if self.keep_answers(&answers, now, until).await? < answers.len() as u64 {
            let mut answered = Vec::new();
            for one in left {
                let is_ours = match &one.answer {
                    None => true,
                    Some((key, stored)) => {
                        self.idempotent_answer(key, now).await?.as_ref() == Some(stored)
                    }
                };
                if is_ours {
                    answered.push(one);
                }
            }
            left = answered;
        }
        let new: Vec<_> = left.iter().map(|one| one.new).collect();
        self.insert_deployments(&new).await?;
        let audit: Vec<_> = left.iter().map(|one| one.audit.clone()).collect();
        self.insert_audit(&audit).await?;
        let jobs: Vec<_> = left.iter().map(|one| one.job.clone()).collect();
        self.insert_jobs(&jobs, now).await?;
        Ok(left.iter().map(|one| one.deployment().id).collect())
    }

    /// [`Tx::submit`] in one statement.
    async fn submit_together(
        &mut self,
        submissions: &[Submission<'_>],
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<DeploymentId>> {
        let mut rows = Vec::with_capacity(submissions.len());
        let mut audit = Vec::with_capacity(submissions.len());
        for one in submissions {
            rows.push(self.text_of(&one.new).await?);
            audit.push((one.deployment().id, self.prepare_one(one.audit)?));
        }
        let archives: BTreeSet<_> =
            submissions.iter().filter_map(|one| one.archive().map(|id| id.0)).collect();
        let answers = in_order(submissions.iter().filter_map(|one| {
            one.answer.as_ref().map(|(key, stored)| (*key, (stored, one.archive())))
        }));
        let mut events: (Vec<_>, Vec<i64>, Vec<&str>, Vec<String>, Vec<_>) = Default::default();
        for one in submissions {
            for (seq, body) in (1..).zip(one.new.events) {
                events.0.push(one.deployment().id.0);
                events.1.push(seq);
                events.2.push(body.kind());
                events.3.push(to_json(body)?);
                events.4.push(one.deployment().created_at);
            }
        }
        // How many of the same queue, project and rank come before each job.
        let mut places = BTreeMap::new();
        let jobs: Vec<_> = submissions
            .iter()
            .map(|one| {
                let whose = (one.job.kind.queue(), &*one.job.project, one.job.priority.rank());
                let place: &mut i64 = places.entry(whose).or_default();
                *place += 1;
                (one.job, *place - 1)
            })
            .collect();

        macro_rules! columns {
            ($query:expr, $of:expr, |$row:ident| $($value:expr),+ $(,)?) => {
                $query$(.bind($of.iter().map(|$row| $value).collect::<Vec<_>>()))+
            };
        }
        let query = sqlx::query_as::<Postgres, (DeploymentId,)>(STATEMENT.as_str());
        let query = query.bind(archives.into_iter().collect::<Vec<_>>()).bind(until);
        let query = columns!(
            query,
            answers,
            |row| row.0.principal.as_str(),
            row.0.operation.as_str(),
            row.0.key.as_str(),
            row.1.0.request_hash.as_str(),
            row.1.0.answer.as_str(),
            row.1.1.map(|id| id.0)
        );
        let query = query.bind(now);
        let query = columns!(
            query,
            rows,
            |row| row.d.id.0,
            row.d.stack_id.0,
            row.d.stack.project.as_str(),
            row.d.stack.name.as_str(),
            row.d.stack.environment.as_str(),
            row.d.driver.as_str(),
            row.d.operation.as_str(),
            row.d.state.as_str(),
            row.d.reason.as_deref(),
            row.source.as_str(),
            row.new.record.source_artifact.map(|id| id.0),
            row.new.record.source_root.as_deref(),
            row.d.commit.as_deref(),
            row.variables.as_str(),
            row.sealed.as_slice(),
            row.options.as_str(),
            row.phases.as_str(),
            row.submitted_by.as_str(),
            row.new.record.traceparent.as_deref(),
            row.new.record.version,
            count(row.new.events),
            row.d.created_at,
            row.d.updated_at
        );
        let query = columns!(
            query,
            submissions,
            |one| one.answer.as_ref().map(|(key, _)| key.principal.as_str()),
            one.answer.as_ref().map(|(key, _)| key.operation.as_str()),
            one.answer.as_ref().map(|(key, _)| key.key.as_str())
        );
        let query =
            query.bind(events.0).bind(events.1).bind(events.2).bind(events.3).bind(events.4);
        let query = Prepared::bind_all(query, &audit);
        let query = columns!(
            query,
            places.keys().collect::<Vec<_>>(),
            |whose| whose.0.as_str(),
            whose.1,
            whose.2
        );
        let query = query.bind(JobState::Queued.as_str());
        let query = query.bind(now);
        let query = columns!(
            query,
            jobs,
            |row| row.0.id.0,
            row.0.kind.as_str(),
            row.0.kind.version(),
            row.0.kind.queue().as_str(),
            row.0.deployment_id.0,
            row.0.stack_id.0,
            row.0.project.as_str(),
            row.0.priority.rank(),
            row.1,
            row.0.limits.max_attempts,
            i64::from(row.0.delay_s),
            row.0.concurrency_key.as_deref(),
            row.0.idempotency_key.as_str(),
            row.0.limits.soft_limit_s,
            row.0.limits.hard_limit_s,
            row.0.traceparent.as_deref()
        );
        let Conn::Postgres(conn) = self.conn() else {
            return Err(Error::corrupt("deployments", "a statement of another engine"));
        };
        Ok(query.fetch_all(conn).await?.into_iter().map(|(id,)| id).collect())
    }
}

/// The statement of [`Tx::submit_together`]. Its parameters are numbered in the order in which they
/// stand there.
static STATEMENT: LazyLock<String> = LazyLock::new(|| numbered(TEXT));

/// Puts numbers into the places of parameters.
fn numbered(text: &str) -> String {
    let mut pieces = text.split('#');
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for (number, piece) in (1..).zip(pieces) {
        // Writing to a string does not fail.
        let _ = write!(whole, "${number}{piece}");
    }
    postgres(&whole)
}

const TEXT: &str = "with
    kept as materialized (select id from artifacts where id = any(#::uuid[]) for share),
    answered as (
        insert into idempotency (principal, operation, key, request_hash, answer, expires_at)
        select k.principal, k.operation, k.key, k.request_hash, k.answer, #
        from {rows}(#::text[], #::text[], #::text[], #::text[], #::text[], #::uuid[])
            as k (principal, operation, key, request_hash, answer, archive)
        where k.archive is null or exists (select from kept where kept.id = k.archive)
        on conflict (principal, operation, key) do update set
            request_hash = excluded.request_hash, answer = excluded.answer,
            expires_at = excluded.expires_at
        where idempotency.expires_at <= #
        returning principal, operation, key),
    made as (
        insert into deployments (id, stack_id, project, stack_name, environment, driver,
            operation, state, reason, source, source_artifact, source_root, source_commit,
            variables, variables_sealed, options, phases, submitted_by, traceparent, version,
            event_seq, log_seq, created_at, updated_at)
        select d.id, d.stack_id, d.project, d.stack_name, d.environment, d.driver,
            d.operation, d.state, d.reason, d.source, d.source_artifact, d.source_root,
            d.source_commit, d.variables, d.variables_sealed, d.options, d.phases,
            d.submitted_by, d.traceparent, d.version, d.event_seq, 0, d.created_at, d.updated_at
        from {rows}(#::uuid[], #::uuid[], #::text[], #::text[], #::text[], #::text[],
                #::text[], #::text[], #::text[], #::text[], #::uuid[], #::text[], #::text[],
                #::text[], #::bytea[], #::text[], #::text[], #::text[], #::text[], #::bigint[],
                #::bigint[], #::timestamptz[], #::timestamptz[], #::text[], #::text[], #::text[])
            as d (id, stack_id, project, stack_name, environment, driver, operation, state,
                reason, source, source_artifact, source_root, source_commit, variables,
                variables_sealed, options, phases, submitted_by, traceparent, version,
                event_seq, created_at, updated_at, principal, asked, key)
        where (d.source_artifact is null
                or exists (select from kept where kept.id = d.source_artifact))
            and (d.key is null
                or exists (select from answered a where a.key = d.key and a.operation = d.asked
                    and a.principal = d.principal))
        returning id),
    told as (
        insert into events (deployment_id, seq, kind, body, at)
        select e.deployment_id, e.seq, e.kind, e.body, e.at
        from {rows}(#::uuid[], #::bigint[], #::text[], #::text[], #::timestamptz[])
            as e (deployment_id, seq, kind, body, at)
        join made m on m.id = e.deployment_id),
    audited as (
        insert into audit (id, at, actor, address, action, target, result, detail, trace_id,
            token, user_agent, reason, before_digest, after_digest, mark)
        select a.id, a.at, a.actor, a.address, a.action, a.target, a.result, a.detail,
            a.trace_id, a.token, a.user_agent, a.reason, a.before_digest, a.after_digest, a.mark
        from {rows}(#::uuid[], #::uuid[], #::timestamptz[], #::text[], #::text[], #::text[],
                #::text[], #::text[], #::text[], #::text[], #::text[], #::text[], #::text[],
                #::text[], #::text[], #::text[])
            as a (deployment_id, id, at, actor, address, action, target, result, detail,
                trace_id, token, user_agent, reason, before_digest, after_digest, mark)
        join made m on m.id = a.deployment_id),
    turns as materialized (
        select w.queue, w.project, w.rank, greatest(0,
            (select j.turn + 1 from jobs j where j.state = 'queued' and j.queue = w.queue
                 and j.project = w.project and j.priority = w.rank
             order by j.turn desc limit 1),
            (select j.turn from jobs j where j.state = 'queued' and j.queue = w.queue
                 and j.priority = w.rank and j.run_at_ms <= {now_ms}
             order by j.turn, j.id limit 1)) as turn
        from unnest(#::text[], #::text[], #::integer[]) as w (queue, project, rank)),
    enqueued as (
        insert into jobs (id, kind, version, queue, state, deployment_id, stack_id, project,
            priority, turn, attempt, max_attempts, run_at_ms, rung_at_ms, concurrency_key,
            idempotency_key, epoch, cancel_requested, soft_limit_s, hard_limit_s, traceparent,
            created_at)
        select j.id, j.kind, j.version, j.queue, #, j.deployment_id, j.stack_id, j.project,
            j.rank, t.turn + j.place, 0, j.max_attempts, {now_ms} + j.delay_s * 1000,
            case when j.delay_s = 0 then {now_ms} end, j.concurrency_key, j.idempotency_key, 0,
            false, j.soft_limit_s, j.hard_limit_s, j.traceparent, #
        from {rows}(#::uuid[], #::text[], #::integer[], #::text[], #::uuid[], #::uuid[],
                #::text[], #::integer[], #::bigint[], #::integer[], #::bigint[], #::text[],
                #::text[], #::integer[], #::integer[], #::text[])
            as j (id, kind, version, queue, deployment_id, stack_id, project, rank, place,
                max_attempts, delay_s, concurrency_key, idempotency_key, soft_limit_s,
                hard_limit_s, traceparent)
        join made m on m.id = j.deployment_id
        join turns t on t.queue = j.queue and t.project = j.project and t.rank = j.rank
        on conflict (idempotency_key) do nothing)
    select id from made";
