//! One way to change a deployment: through the state table, with its event, its audit record and
//! the job that follows, in the caller's unit of work.

use chrono::{DateTime, Utc};
use slipway_domain::access::{ActorKind, Principal};
use slipway_domain::audit::AuditRecord;
use slipway_domain::deployment::{Deployment, Phase};
use slipway_domain::event::EventBody;
use slipway_domain::fault::Fault;
use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::job::{Doorbell, JobKind, NewJob};
use slipway_domain::state::{DeploymentState, Move};
use slipway_store::Tx;
use slipway_store::deployment::{Changed, Record};

use crate::Ctx;

/// Reads a deployment and locks it, or says that there is none.
pub(crate) async fn lock(tx: &mut Tx, id: DeploymentId) -> Result<Record, Fault> {
    tx.lock_deployment(id).await?.ok_or_else(|| Fault::not_found("deployment", id))
}

/// A change of one deployment in the making.
pub(crate) struct Change<'a> {
    cx: &'a Ctx,
    who: &'a Principal,
    pub(crate) record: &'a mut Record,
    pub(crate) now: DateTime<Utc>,
    /// The state in which the row is now.
    stored: DeploymentState,
    events: Vec<EventBody>,
    audit: Vec<AuditRecord>,
}

impl<'a> Change<'a> {
    /// Begins to change `record`, which must be locked in the unit of work it is saved in.
    pub(crate) fn by(cx: &'a Ctx, who: &'a Principal, record: &'a mut Record) -> Self {
        let stored = record.deployment.state;
        Self { cx, who, record, now: cx.now(), stored, events: Vec::new(), audit: Vec::new() }
    }

    /// Adds an event.
    pub(crate) fn event(&mut self, event: EventBody) {
        self.events.push(event);
    }

    /// Makes one move and writes it, with its event and its audit record and what waits to be
    /// written. `detail` goes on the audit record.
    pub(crate) async fn go(
        &mut self,
        tx: &mut Tx,
        by: Move,
        reason: Option<String>,
        detail: serde_json::Value,
    ) -> Result<(), Fault> {
        self.step(by, reason, detail)?;
        self.save(tx).await
    }

    /// Makes one move, which waits for [`Change::save`] or the next [`Change::go`] to be written:
    /// moves that follow each other at once are written together.
    pub(crate) fn step(
        &mut self,
        by: Move,
        reason: Option<String>,
        detail: serde_json::Value,
    ) -> Result<(), Fault> {
        let d = &mut self.record.deployment;
        let from = d.state;
        let to = from.next(by)?;
        d.state = to;
        d.reason.clone_from(&reason);
        d.phases.push(Phase { state: to, entered_at: self.now });
        d.ended_at = to.is_terminal().then_some(self.now);
        d.expires_at = match to {
            DeploymentState::Planned
            | DeploymentState::Blocked
            | DeploymentState::AwaitingApproval
            | DeploymentState::Approved => d
                .expires_at
                .or(Some(self.now + chrono::Duration::seconds(d.options.expires_in_s.into()))),
            _ => None,
        };
        if to == DeploymentState::Submitted {
            // What was said about the old plan does not hold for the next one, unless that is proved
            // to be equal. What a rule has said, it says anew.
            d.plan = None;
            let approval = d.approval.take().filter(|yes| yes.by.kind != ActorKind::System);
            match by {
                Move::Replan if approval.is_some() => self.record.approval_before = approval,
                // From the start.
                Move::Requeue => self.record.approval_before = None,
                _ => {}
            }
        }
        if matches!(by, Move::Requeue | Move::Approve) {
            // It goes on after all.
            d.cancel_requested_at = None;
            d.cancel = None;
        }
        let person = self.who.actor.kind != ActorKind::System;
        self.events.push(EventBody::StateChanged {
            from,
            to,
            reason: reason.clone(),
            by: person.then(|| self.who.actor.clone()),
        });
        let target = self.record.deployment.id.to_string();
        let told = audit_record(self.cx, self.who, &format!("deployment.{by}"), target, detail);
        self.audit.push(AuditRecord {
            at: self.now,
            trace_id: self.record.deployment.trace_id.clone(),
            reason: told.reason.clone().or(reason),
            ..told
        });
        Ok(())
    }

    /// Writes everything that waits.
    pub(crate) async fn save(&mut self, tx: &mut Tx) -> Result<(), Fault> {
        tx.change_deployment(self.changed()).await?;
        self.stored = self.record.deployment.state;
        self.events.clear();
        self.audit.clear();
        Ok(())
    }

    /// What waits to be written.
    pub(crate) fn changed(&mut self) -> Changed<'_> {
        self.record.deployment.updated_at = self.now;
        Changed { record: self.record, from: self.stored, events: &self.events, audit: &self.audit }
    }

    /// Enqueues the job that follows, and returns the bell to ring after the commit.
    pub(crate) async fn enqueue(&self, tx: &mut Tx, kind: JobKind) -> Result<Doorbell, Fault> {
        enqueue(self.cx, tx, self.record, kind, self.now).await
    }
}

/// Enqueues a job of a deployment, and returns the bell to ring after the commit.
pub(crate) async fn enqueue(
    cx: &Ctx,
    tx: &mut Tx,
    record: &Record,
    kind: JobKind,
    now: DateTime<Utc>,
) -> Result<Doorbell, Fault> {
    let job = next_job(cx, record, kind);
    tx.insert_jobs(std::slice::from_ref(&job), now).await?;
    Ok(bell_of(&job))
}

/// The job of a kind that a deployment needs next.
pub(crate) fn next_job(cx: &Ctx, record: &Record, kind: JobKind) -> NewJob {
    let d = &record.deployment;
    NewJob {
        id: JobId::new(&*cx.mint),
        kind,
        deployment_id: d.id,
        stack_id: d.stack_id,
        project: d.stack.project.clone(),
        delay_s: 0,
        priority: d.options.priority,
        // A plan follows a number of events, an apply a plan and, when approvals were revoked, how
        // often it was asked for them: the same step twice is one job.
        idempotency_key: match (kind, &d.plan) {
            (JobKind::Apply, Some(plan)) => match times_asked(d) {
                0 | 1 => format!("{}/apply/{}", d.id, plan.id),
                times => format!("{}/apply/{}/{times}", d.id, plan.id),
            },
            _ => format!("{}/{kind}/{}", d.id, record.version),
        },
        // One apply a stack, or its recovery; plans of one stack may run side by side.
        concurrency_key: kind.holds_stack().then(|| d.stack_id.to_string()),
        traceparent: record.traceparent.clone(),
        limits: cx.settings.job_limits(kind),
    }
}

/// How often a deployment has waited for approval.
fn times_asked(d: &Deployment) -> usize {
    d.phases.iter().filter(|phase| phase.state == DeploymentState::AwaitingApproval).count()
}

/// The bell of a job that has been enqueued.
pub(crate) fn bell_of(job: &NewJob) -> Doorbell {
    Doorbell::new(job.id, job.kind.queue(), job.traceparent.clone())
}

/// Puts a record about something that is no move of a deployment on the audit log.
pub(crate) async fn audit(
    cx: &Ctx,
    tx: &mut Tx,
    who: &Principal,
    action: &str,
    target: String,
    detail: serde_json::Value,
) -> Result<(), Fault> {
    tx.insert_audit(&[audit_record(cx, who, action, target, detail)]).await?;
    Ok(())
}

/// A record about something that is no move of a deployment.
pub(crate) fn audit_record(
    cx: &Ctx,
    who: &Principal,
    action: &str,
    target: String,
    detail: serde_json::Value,
) -> AuditRecord {
    AuditRecord::of(&*cx.clock, &*cx.mint, who, action, target, detail)
}
