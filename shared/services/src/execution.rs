//! What a worker does to a deployment while it runs a job of it. Every function here is fenced: a
//! worker whose lease is gone changes nothing.

use bytes::Bytes;
use slipway_domain::access::Principal;
use slipway_domain::artifact::ArtifactKind;
use slipway_domain::deployment::{Deployment, Failure, Variables};
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::gate::{GateKind, GateResult, GateVerdict, conclude};
use slipway_domain::id::{ArtifactId, PlanId};
use slipway_domain::job::{Doorbell, Job, JobKind, JobState, Lease};
use slipway_domain::log::NewLogLine;
use slipway_domain::plan::{Action, Binding, Counts, Diagnostic, Plan};
use slipway_domain::port::driver::{
    Applied, ApplyInput, Health, PlanInput, Planned, SourceInput, StateBlob,
};
use slipway_domain::redact::Redactor;
use slipway_domain::secret::MASK;
use slipway_domain::source::Source;
use slipway_domain::state::{DeploymentState, Move};
use slipway_domain::variable::{Hidden, masked, secrets_in};
use slipway_store::Tx;
use slipway_store::deployment::Record;
use slipway_store::state::NewStateVersion;

use crate::change::{Change, lock};
use crate::{Ctx, deployment, source};

/// Slipway itself as the one who acts.
pub(crate) fn system() -> Principal {
    Principal::system("worker")
}

/// What a job turned out to be when it was begun.
#[derive(Debug)]
pub enum Begun {
    /// Make this plan.
    Plan {
        /// What it is made of.
        input: Box<PlanInput>,
        /// Knows the deployment's secrets.
        redactor: Redactor,
    },
    /// Apply this plan.
    Apply {
        /// What it is made of.
        input: Box<ApplyInput>,
        /// Knows the deployment's secrets.
        redactor: Redactor,
    },
    /// There is nothing to do any more; the job has been ended.
    Nothing,
}

/// The current state of a stack, opened.
async fn state_of(cx: &Ctx, tx: &mut Tx, record: &Record) -> Result<Option<StateBlob>, Fault> {
    let stack = tx
        .stack(record.deployment.stack_id)
        .await?
        .ok_or_else(|| Fault::not_found("stack", record.deployment.stack_id))?;
    let (Some(artifact), Some(info)) = (stack.state_artifact, &stack.stack.state) else {
        return Ok(None);
    };
    let (_, content) = open(cx, artifact).await?;
    Ok(Some(StateBlob { mark: stack.state_mark(), resource_count: info.resource_count, content }))
}

async fn open(cx: &Ctx, id: ArtifactId) -> Result<(ArtifactKind, Bytes), Fault> {
    let (artifact, content) = cx
        .store
        .open_artifact(id)
        .await?
        .ok_or_else(|| Fault::internal(format!("artifact {id} is gone")))?;
    Ok((artifact.kind, content))
}

/// Moves the deployment into its running state and gathers what the driver needs. When the
/// deployment has ended or changed its mind in the meantime, the job is ended instead.
pub async fn begin(cx: &Ctx, job: &Job, lease: &Lease) -> Result<Begun, Fault> {
    let who = system();
    let mut tx = cx.store.begin().await?;
    tx.fence(lease).await?;
    let mut record = lock(&mut tx, job.deployment_id).await?;
    let by = match job.kind {
        JobKind::Plan => Move::StartPlanning,
        JobKind::Apply => Move::StartApply,
    };
    if record.deployment.state.next(by).is_err() {
        tx.end_job(job.id, JobState::Cancelled, Some("the deployment has moved on"), cx.now())
            .await?;
        tx.commit().await?;
        return Ok(Begun::Nothing);
    }
    if job.kind == JobKind::Apply {
        if let Some(bell) = deployment::replan_if_stale(cx, &mut tx, &who, &mut record).await? {
            tx.end_job(job.id, JobState::Succeeded, Some("the plan was stale"), cx.now()).await?;
            tx.commit().await?;
            cx.ring(&bell).await;
            cx.tell(job.deployment_id).await;
            return Ok(Begun::Nothing);
        }
        approved(&record)?;
    }
    let detail =
        serde_json::json!({"job_id": job.id, "attempt": job.attempt, "epoch": lease.epoch});
    Change::by(cx, &who, &mut record).go(&mut tx, by, None, detail).await?;
    let variables = tx.variables(job.deployment_id).await?;
    tx.commit().await?;
    cx.tell(job.deployment_id).await;
    let redactor = Redactor::new(secrets_in(&variables, &hidden(&record.deployment)));
    Ok(match job.kind {
        JobKind::Plan => {
            let input = Box::new(plan_input(cx, &record, variables).await?);
            Begun::Plan { input, redactor }
        }
        JobKind::Apply => {
            let input = Box::new(apply_input(cx, &record, variables).await?);
            Begun::Apply { input, redactor }
        }
    })
}

/// Which variables are hidden: those that are shown masked.
fn hidden(deployment: &Deployment) -> Hidden {
    let masked = |value: &serde_json::Value| value.as_str() == Some(MASK);
    let names = deployment.variables.iter().filter(|(_, shown)| masked(shown));
    Hidden::Names(names.map(|(name, _)| name.clone()).collect())
}

/// Applied is what was approved: the approval must name the plan that is about to be applied.
fn approved(record: &Record) -> Result<(), Fault> {
    let d = &record.deployment;
    match (&d.plan, &d.approval) {
        (Some(plan), Some(approval)) if plan.digest == approval.plan_digest => Ok(()),
        _ => Err(Fault::new(
            Code::IllegalTransition,
            "The current plan of the deployment has no approval that names it.",
        )),
    }
}

async fn plan_input(cx: &Ctx, record: &Record, variables: Variables) -> Result<PlanInput, Fault> {
    let d = &record.deployment;
    let source = match record.source_artifact {
        Some(artifact) => {
            let (_, archive) = open(cx, artifact).await?;
            SourceInput::Tree(source::unpack(cx, archive).await?)
        }
        None => match &d.source {
            Source::Git { url, reference, path } => SourceInput::Git {
                url: url.clone(),
                reference: reference.clone(),
                path: path.clone(),
            },
            other => {
                return Err(Fault::internal(format!("{} source without archive", other.kind())));
            }
        },
    };
    let mut tx = cx.store.read().await?;
    let state = state_of(cx, &mut tx, record).await?;
    Ok(PlanInput {
        deployment_id: d.id,
        stack_id: d.stack_id,
        stack: d.stack.clone(),
        operation: d.operation,
        source,
        root: record.source_root.clone(),
        variables,
        state,
    })
}

async fn apply_input(cx: &Ctx, record: &Record, variables: Variables) -> Result<ApplyInput, Fault> {
    let d = &record.deployment;
    let gone = |what: &str| Fault::internal(format!("the {what} of {} is gone", d.id));
    let mut tx = cx.store.read().await?;
    let plan = tx.latest_plan(d.id).await?.ok_or_else(|| gone("plan"))?;
    let state = state_of(cx, &mut tx, record).await?;
    drop(tx);
    let artifact = record.source_artifact.ok_or_else(|| gone("source"))?;
    let (_, archive) = open(cx, artifact).await?;
    let (_, plan_file) = open(cx, plan.plan_file).await?;
    let (_, context) = open(cx, plan.context).await?;
    if slipway_domain::artifact::digest(&plan_file) != plan.binding.plan_file {
        return Err(Fault::internal(format!("the plan file of {} has another digest", d.id)));
    }
    Ok(ApplyInput {
        deployment_id: d.id,
        stack_id: d.stack_id,
        stack: d.stack.clone(),
        operation: d.operation,
        source: source::unpack(cx, archive).await?,
        root: record.source_root.clone(),
        variables,
        tool: plan.plan.tool,
        plan_file,
        context,
        state,
    })
}

/// Keeps log lines and events of a running job, in order.
pub async fn append(
    cx: &Ctx,
    lease: &Lease,
    of: slipway_domain::id::DeploymentId,
    lines: &[NewLogLine],
    events: &[EventBody],
) -> Result<(), Fault> {
    let mut tx = cx.store.begin().await?;
    tx.fence(lease).await?;
    tx.append_log(of, lines).await?;
    tx.append_events(of, events, cx.now()).await?;
    tx.commit().await?;
    cx.tell(of).await;
    Ok(())
}

/// Keeps a new version of the stack's state.
pub async fn save_state(cx: &Ctx, job: &Job, lease: &Lease, blob: StateBlob) -> Result<(), Fault> {
    let id = ArtifactId::new(&*cx.mint);
    let now = cx.now();
    let sealed = cx.store.seal_artifact(id, ArtifactKind::State, &blob.content, now).await?;
    let mut tx = cx.store.begin().await?;
    tx.fence(lease).await?;
    tx.lock_stack(job.stack_id).await?.ok_or_else(|| Fault::not_found("stack", job.stack_id))?;
    tx.insert_artifact(&sealed).await?;
    let version = NewStateVersion {
        stack_id: job.stack_id,
        mark: blob.mark,
        resource_count: blob.resource_count,
        artifact: id,
        deployment_id: job.deployment_id,
        epoch: lease.epoch,
    };
    tx.add_state_version(&version, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Records a finished plan: the plan and its artifacts, what the gates say, and the state that
/// follows from that.
pub async fn plan_finished(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    planned: Planned,
) -> Result<Deployment, Fault> {
    let who = system();
    let now = cx.now();
    let seal = |kind, content: Bytes| async move {
        let id = ArtifactId::new(&*cx.mint);
        cx.store.seal_artifact(id, kind, &content, now).await
    };
    let plan_file = seal(ArtifactKind::PlanFile, planned.plan_file.clone()).await?;
    let context = seal(ArtifactKind::PlanContext, planned.context.clone()).await?;
    let fetched = match &planned.fetched {
        Some(fetched) => {
            Some((seal(ArtifactKind::Source, fetched.archive.clone()).await?, &fetched.commit))
        }
        None => None,
    };

    let mut tx = cx.store.begin().await?;
    tx.fence(lease).await?;
    let mut record = lock(&mut tx, job.deployment_id).await?;
    let variables = tx.variables(job.deployment_id).await?;
    if let Some((archive, commit)) = &fetched {
        // From here on the deployment is what was fetched, whatever the branch does next.
        tx.insert_artifact(archive).await?;
        record.source_artifact = Some(archive.artifact.id);
        record.deployment.commit = Some((*commit).clone());
        let hidden = Hidden::Names(planned.sensitive_variables.clone());
        record.deployment.variables = masked(&variables, &hidden);
    }
    if planned.no_changes {
        finish_without_changes(cx, &mut tx, &who, &mut record, job, &planned).await?;
        tx.commit().await?;
        cx.tell(job.deployment_id).await;
        return Ok(record.deployment);
    }
    tx.insert_artifact(&plan_file).await?;
    tx.insert_artifact(&context).await?;
    let binding = Binding {
        plan_file: plan_file.artifact.digest.clone(),
        source: planned.source_digest,
        lock_file: planned.lock_file_digest,
        variables: cx.store.keys().mac(
            "variables",
            serde_json::to_value(&variables).map_err(Fault::internal)?.to_string().as_bytes(),
        ),
        tool: planned.tool.clone(),
        state: planned.state.clone(),
        operation: record.deployment.operation.as_str().to_owned(),
    };
    let number = tx.latest_plan(job.deployment_id).await?.map_or(1, |old| old.plan.number + 1);
    let mut plan = Plan {
        id: PlanId::new(&*cx.mint),
        deployment_id: job.deployment_id,
        number,
        digest: binding.digest(),
        created_at: now,
        tool: planned.tool,
        state: planned.state,
        counts: Counts::of(&planned.changes),
        changes: planned.changes,
        outputs: planned.outputs,
        drift: planned.drift,
        warnings: planned.warnings,
        gates: Vec::new(),
    };
    plan.gates = gates(&plan);
    let verdict = conclude(&plan.gates);
    let stored = slipway_store::plan::Record {
        plan: plan.clone(),
        binding,
        plan_file: plan_file.artifact.id,
        context: context.artifact.id,
    };
    tx.insert_plan(&stored).await?;

    let mut change = Change::by(cx, &who, &mut record);
    change.record.deployment.plan = Some(plan.summary());
    change.event(EventBody::PlanReady { plan: plan.summary() });
    let detail = serde_json::json!({"plan_digest": plan.digest});
    change.go(&mut tx, Move::FinishPlan, None, detail.clone()).await?;
    for gate in &plan.gates {
        change.event(EventBody::Gate { result: gate.clone() });
    }
    let (by, reason) = match verdict {
        GateVerdict::Deny => (Move::Block, Some("a gate denied the plan".to_owned())),
        GateVerdict::NeedsApproval => (Move::AskApproval, None),
        GateVerdict::Pass => (Move::Approve, Some("every gate passed".to_owned())),
    };
    if by == Move::Approve {
        change.record.deployment.approval = Some(slipway_domain::deployment::Approval {
            plan_digest: plan.digest.clone(),
            by: who.actor.clone(),
            at: now,
            comment: Some("every gate passed".to_owned()),
        });
    }
    change.go(&mut tx, by, reason, detail).await?;
    let bell = if by == Move::Approve && change.record.deployment.options.auto_apply {
        Some(change.enqueue(&mut tx, JobKind::Apply).await?)
    } else {
        None
    };
    tx.end_job(job.id, JobState::Succeeded, None, now).await?;
    tx.commit().await?;
    if let Some(bell) = bell {
        cx.ring(&bell).await;
    }
    cx.tell(job.deployment_id).await;
    Ok(record.deployment)
}

/// What the gates say about a plan. Approval is the only one so far: every change needs a person.
fn gates(plan: &Plan) -> Vec<GateResult> {
    let deletes = plan
        .changes
        .iter()
        .filter(|c| {
            matches!(c.action, Action::Delete | Action::DeleteThenCreate | Action::CreateThenDelete)
        })
        .count();
    let detail = match deletes {
        0 => "every change needs one approval".to_owned(),
        n => format!("every change needs one approval; this one deletes or replaces {n}"),
    };
    vec![GateResult { gate: GateKind::Approval, verdict: GateVerdict::NeedsApproval, detail }]
}

async fn finish_without_changes(
    cx: &Ctx,
    tx: &mut Tx,
    who: &Principal,
    record: &mut Record,
    job: &Job,
    planned: &Planned,
) -> Result<(), Fault> {
    let now = cx.now();
    tx.set_outputs(job.deployment_id, &planned.current_outputs).await?;
    let mut change = Change::by(cx, who, record);
    change.go(tx, Move::FindNoChanges, None, serde_json::json!({})).await?;
    tx.set_current_deployment(job.stack_id, job.deployment_id, now).await?;
    tx.end_job(job.id, JobState::Succeeded, None, now).await?;
    Ok(())
}

/// Records that the driver has applied everything; what follows is the look at its health.
pub async fn apply_finished(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    applied: &Applied,
) -> Result<(), Fault> {
    let mut tx = cx.store.begin().await?;
    tx.fence(lease).await?;
    let mut record = lock(&mut tx, job.deployment_id).await?;
    tx.set_outputs(job.deployment_id, &applied.outputs).await?;
    let who = system();
    let mut change = Change::by(cx, &who, &mut record);
    let names: Vec<_> = applied.outputs.iter().map(|o| o.name.clone()).collect();
    change.event(EventBody::Outputs { names });
    let detail = serde_json::json!({"state": applied.state});
    change.go(&mut tx, Move::FinishApply, None, detail).await?;
    tx.commit().await?;
    cx.tell(job.deployment_id).await;
    Ok(())
}

/// Ends a verified deployment.
pub async fn verified(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    health: Health,
) -> Result<Deployment, Fault> {
    let now = cx.now();
    let mut tx = cx.store.begin().await?;
    tx.fence(lease).await?;
    let mut record = lock(&mut tx, job.deployment_id).await?;
    let who = system();
    let mut change = Change::by(cx, &who, &mut record);
    match health {
        Health::Healthy => {
            change.go(&mut tx, Move::Succeed, None, serde_json::json!({})).await?;
            tx.set_current_deployment(job.stack_id, job.deployment_id, now).await?;
        }
        Health::Unhealthy(why) => {
            fail(&mut change, &mut tx, why, Vec::new()).await?;
        }
    }
    tx.end_job(job.id, JobState::Succeeded, None, now).await?;
    tx.commit().await?;
    cx.tell(job.deployment_id).await;
    Ok(record.deployment)
}

async fn fail(
    change: &mut Change<'_>,
    tx: &mut Tx,
    summary: String,
    diagnostics: Vec<Diagnostic>,
) -> Result<(), Fault> {
    let during = change.record.deployment.state;
    change.record.deployment.failure =
        Some(Failure { during, summary: summary.clone(), diagnostics });
    change.go(tx, Move::Fail, Some(summary), serde_json::json!({})).await
}

/// How a run of a job ended, other than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It will not work: the deployment fails.
    Failed {
        /// One sentence.
        summary: String,
        /// What the tool said.
        diagnostics: Vec<Diagnostic>,
    },
    /// A passing fault. A job that may repeat and has attempts left goes back to its queue after
    /// `delay_ms`; otherwise the deployment fails and the job is dead.
    Retry {
        /// One sentence.
        error: String,
        /// How long to wait.
        delay_ms: i64,
    },
    /// Given back untouched, because the worker is shutting down.
    HandBack,
    /// Stopped because a person asked for it.
    Cancelled,
    /// Stopped by the house (limit reached, shutdown) after it had begun to change the world; what
    /// was done is recorded.
    Stopped {
        /// One sentence.
        summary: String,
    },
    /// It may have had effects that nobody recorded.
    Lost {
        /// One sentence.
        summary: String,
    },
    /// The plan no longer fits the state.
    Stale {
        /// One sentence.
        summary: String,
    },
}

/// Ends a run of a job that did not end well.
pub async fn ended(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    ending: Ending,
) -> Result<Deployment, Fault> {
    let mut tx = cx.store.begin().await?;
    tx.fence(lease).await?;
    let (record, bell) = settle(cx, &mut tx, job, ending).await?;
    tx.commit().await?;
    if let Some(bell) = bell {
        cx.ring(&bell).await;
    }
    cx.tell(job.deployment_id).await;
    Ok(record.deployment)
}

/// Settles job and deployment in one unit of work. The caller has made sure that it may: by a
/// fence, or because the lease has run out.
pub(crate) async fn settle(
    cx: &Ctx,
    tx: &mut Tx,
    job: &Job,
    ending: Ending,
) -> Result<(Record, Option<Doorbell>), Fault> {
    let who = system();
    let now = cx.now();
    let mut record = lock(tx, job.deployment_id).await?;
    let cancelled = record.deployment.cancel_requested_at.is_some();
    let mut change = Change::by(cx, &who, &mut record);
    let none = serde_json::json!({});
    if change.record.deployment.state.is_terminal() {
        // Superseded or cancelled while it ran: the deployment has its end already.
        tx.end_job(job.id, JobState::Cancelled, Some("the deployment has ended"), now).await?;
        return Ok((record, None));
    }
    match ending {
        Ending::Failed { summary, diagnostics } => {
            fail(&mut change, tx, summary.clone(), diagnostics).await?;
            tx.end_job(job.id, JobState::Failed, Some(&summary), now).await?;
        }
        Ending::Retry { error, delay_ms } => {
            if cancelled {
                let reason = Some("stopped on request".to_owned());
                change.go(tx, Move::Cancel, reason, none).await?;
                tx.end_job(job.id, JobState::Cancelled, Some(&error), now).await?;
            } else if may_repeat(job, change.record.deployment.state)
                && job.attempt < job.max_attempts
            {
                let run_at = now + chrono::Duration::milliseconds(delay_ms);
                change.event(EventBody::JobRetried {
                    attempt: job.attempt,
                    error: error.clone(),
                    run_at,
                });
                hand_back(&mut change, tx, job, Some(error.clone())).await?;
                tx.requeue_job(job.id, delay_ms, true, Some(&error)).await?;
            } else {
                let summary = format!("{error} (attempt {} of {})", job.attempt, job.max_attempts);
                fail(&mut change, tx, summary.clone(), Vec::new()).await?;
                tx.end_job(job.id, JobState::Dead, Some(&summary), now).await?;
            }
        }
        Ending::HandBack => {
            hand_back(&mut change, tx, job, Some("handed back by its worker".to_owned())).await?;
            tx.requeue_job(job.id, 0, false, None).await?;
            let bell =
                Doorbell { job_id: job.id, queue: job.queue, traceparent: job.traceparent.clone() };
            return Ok((record, Some(bell)));
        }
        Ending::Cancelled => {
            let reason = change.record.deployment.reason.clone();
            let reason = reason
                .as_deref()
                .and_then(|r| r.strip_prefix("stopping: "))
                .map_or_else(|| "stopped on request".to_owned(), str::to_owned);
            change.go(tx, Move::Cancel, Some(reason), none).await?;
            tx.end_job(job.id, JobState::Cancelled, None, now).await?;
        }
        Ending::Stopped { summary } => {
            fail(&mut change, tx, summary.clone(), Vec::new()).await?;
            tx.end_job(job.id, JobState::Failed, Some(&summary), now).await?;
        }
        Ending::Lost { summary } => {
            change.go(tx, Move::Interrupt, Some(summary.clone()), none.clone()).await?;
            let detail = format!(
                "{summary}. Resources may exist that the recorded state does not know. Compare \
                 them with the log, then cancel this deployment and submit a new one."
            );
            change.go(tx, Move::AskAttention, Some(detail), none).await?;
            tx.end_job(job.id, JobState::Lost, Some(&summary), now).await?;
        }
        Ending::Stale { summary } => {
            // Nothing was applied: back to before it began, then a new plan.
            change.go(tx, Move::HandBack, None, none.clone()).await?;
            change.go(tx, Move::Replan, Some(summary.clone()), none).await?;
            let bell = change.enqueue(tx, JobKind::Plan).await?;
            tx.end_job(job.id, JobState::Succeeded, Some(&summary), now).await?;
            return Ok((record, Some(bell)));
        }
    }
    Ok((record, None))
}

/// Whether a job may run again by itself: one that only looks, or one that had not begun to touch
/// anything.
fn may_repeat(job: &Job, state: DeploymentState) -> bool {
    job.kind.may_repeat() || (job.kind == JobKind::Apply && state == DeploymentState::Approved)
}

/// Back to where the deployment was before the job began, if it had begun.
async fn hand_back(
    change: &mut Change<'_>,
    tx: &mut Tx,
    job: &Job,
    reason: Option<String>,
) -> Result<(), Fault> {
    let running = match job.kind {
        JobKind::Plan => DeploymentState::Planning,
        JobKind::Apply => DeploymentState::Applying,
    };
    if change.record.deployment.state == running {
        change.go(tx, Move::HandBack, reason, serde_json::json!({})).await
    } else {
        change.save(tx).await
    }
}
