//! What a worker does to a deployment while it runs a job of it. Every function here is fenced: a
//! worker whose lease is gone changes nothing.
//!
//! Rows are locked in one order everywhere: stack, deployment, job. And a worker repeats what it
//! does when the database goes away in the middle of a commit, so everything here may be called
//! again by the same lease after it has been done.

use bytes::Bytes;
use slipway_domain::access::Principal;
use slipway_domain::artifact::ArtifactKind;
use slipway_domain::deployment::{Deployment, Variables};
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::gate::{GateKind, GateResult, GateVerdict, conclude};
use slipway_domain::id::{ArtifactId, DeploymentId, PlanId, WorkerId};
use slipway_domain::job::{Job, JobKind, JobState, Lease, Queue};
use slipway_domain::log::NewLogLine;
use slipway_domain::plan::{Action, Binding, Counts, Plan};
use slipway_domain::port::driver::{
    Applied, ApplyInput, Health, PlanInput, Planned, SourceInput, StateBlob,
};
use slipway_domain::redact::Redactor;
use slipway_domain::secret::MASK;
use slipway_domain::source::Source;
use slipway_domain::state::{DeploymentState, Move};
use slipway_domain::state_version::StateOrigin;
use slipway_domain::variable::{Hidden, masked, secrets_in};
use slipway_store::deployment::Record;
use slipway_store::state::NewStateVersion;
use slipway_store::{Error, Tx};
use tokio::time::Instant;

use crate::change::{Change, lock};
pub use crate::ending::{Ending, ended, ring_waiting};
use crate::ending::{fail, settle};
use crate::unchanged::Unchanged;
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

/// Locks the deployment of a job and then the job, if the lease is still the worker's.
pub(crate) async fn locked(tx: &mut Tx, job: &Job, lease: &Lease) -> Result<Record, Fault> {
    let record = lock(tx, job.deployment_id).await?;
    tx.fence(lease).await?;
    Ok(record)
}

/// Locks the stack of a job, for those who change it.
async fn lock_stack(tx: &mut Tx, job: &Job) -> Result<slipway_store::stack::Record, Fault> {
    tx.lock_stack(job.stack_id).await?.ok_or_else(|| Fault::not_found("stack", job.stack_id))
}

/// The current state of a stack, opened. It takes one connection at a time: as many jobs as there
/// are connections would wait for each other's second one.
async fn state_of(cx: &Ctx, record: &Record) -> Result<Option<StateBlob>, Fault> {
    let mut tx = cx.store.read().await?;
    let stack = tx
        .stack(record.deployment.stack_id)
        .await?
        .ok_or_else(|| Fault::not_found("stack", record.deployment.stack_id))?;
    drop(tx);
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

/// A job that was taken from its queue.
#[derive(Debug)]
pub struct Taken {
    /// The job.
    pub job: Job,
    /// The worker's right to it.
    pub lease: Lease,
    /// Its deployment, if that was moved into its running state along with the claim. If not,
    /// [`begin`] does it.
    pub started: Option<Started>,
}

/// A deployment that has just been moved into its running state.
pub struct Started {
    record: Record,
    variables: Variables,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The variables are in clear.
        write!(f, "Started({})", self.record.deployment.id)
    }
}

/// Takes up to `most` due jobs of a queue for a worker, and begins plans at once. Gives them with
/// the moment from which their leases count at the earliest.
///
/// Here a job is locked before its deployment, against the order of everybody else; so deployments
/// are only tried for, and one that somebody else has is begun later.
pub async fn take(
    cx: &Ctx,
    queue: Queue,
    worker: WorkerId,
    lease_ms: i64,
    most: i64,
) -> Result<(Instant, Vec<Taken>), Error> {
    match take_and_start(cx, queue, worker, lease_ms, most, true).await {
        // One deployment that cannot be read must not keep the others from their workers: they are
        // begun one by one, and that one fails alone.
        Err(error) if !matches!(error, Error::Unavailable(_) | Error::Changed) => {
            tracing::warn!(%queue, %error, "jobs cannot be begun together");
            take_and_start(cx, queue, worker, lease_ms, most, false).await
        }
        done => done,
    }
}

async fn take_and_start(
    cx: &Ctx,
    queue: Queue,
    worker: WorkerId,
    lease_ms: i64,
    most: i64,
    start: bool,
) -> Result<(Instant, Vec<Taken>), Error> {
    let mut tx = cx.store.begin().await?;
    // Not before: while the database was away, the wait for a connection was no part of the lease.
    let asked = Instant::now();
    let claimed = tx.claim_jobs(queue, worker, lease_ms, most, cx.now()).await?;
    let mut taken: Vec<_> =
        claimed.into_iter().map(|(job, lease)| Taken { job, lease, started: None }).collect();
    let plans: Vec<_> = taken
        .iter()
        .filter(|taken| start && taken.job.kind == JobKind::Plan)
        .map(|taken| taken.job.deployment_id)
        .collect();
    let started = match start_plans(cx, &mut tx, &taken, &plans).await {
        Ok(started) => started,
        Err(error) => {
            // Now, not some time later: whoever claims next would pass over what is locked.
            tx.rollback().await?;
            return Err(error);
        }
    };
    tx.commit().await?;
    for (record, variables) in started {
        let id = record.deployment.id;
        cx.tell(id).await;
        if let Some(taken) = taken.iter_mut().find(|taken| taken.job.deployment_id == id) {
            taken.started = Some(Started { record, variables });
        }
    }
    Ok((asked, taken))
}

/// Moves those of the deployments that wait for their plan, and that nobody else has in hand, into
/// `planning`; gives them.
async fn start_plans(
    cx: &Ctx,
    tx: &mut Tx,
    taken: &[Taken],
    plans: &[DeploymentId],
) -> Result<Vec<(Record, Variables)>, Error> {
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let who = system();
    let mut deployments = tx.try_lock_deployments(plans).await?;
    deployments.retain(|(record, _)| record.deployment.state.next(Move::StartPlanning).is_ok());
    let mut changes = Vec::with_capacity(deployments.len());
    for (record, _) in &mut deployments {
        let of = record.deployment.id;
        let Some(Taken { job, lease, .. }) = taken.iter().find(|t| t.job.deployment_id == of)
        else {
            continue;
        };
        let mut change = Change::by(cx, &who, record);
        change
            .step(Move::StartPlanning, None, start_detail(job, lease))
            .map_err(|_| Error::Changed)?;
        changes.push(change);
    }
    Change::save_all(tx, &mut changes).await?;
    drop(changes);
    Ok(deployments)
}

fn start_detail(job: &Job, lease: &Lease) -> serde_json::Value {
    serde_json::json!({"job_id": job.id, "attempt": job.attempt, "epoch": lease.epoch})
}

/// Gathers what the driver needs for a job whose deployment was started when it was taken. When the
/// database goes away meanwhile, [`begin`] does the same.
pub async fn ready(cx: &Ctx, started: Started) -> Result<Begun, Fault> {
    let Started { record, variables } = started;
    let redactor = Redactor::new(secrets_in(&variables, &hidden(&record.deployment)));
    let input = Box::new(plan_input(cx, &record, variables).await?);
    Ok(Begun::Plan { input, redactor })
}

/// Moves the deployment into its running state and gathers what the driver needs. When the
/// deployment has ended or changed its mind in the meantime, the job is ended instead.
///
/// It is repeated when the database goes away, also between its commit and the reading that
/// follows: a deployment that is in its running state already, under a lease that still holds, was
/// moved there by this very run, whose driver has not been started yet.
pub async fn begin(cx: &Ctx, job: &Job, lease: &Lease) -> Result<Begun, Fault> {
    let who = system();
    let mut tx = cx.store.begin().await?;
    let mut record = locked(&mut tx, job, lease).await?;
    let (by, running) = match job.kind {
        JobKind::Plan => (Move::StartPlanning, DeploymentState::Planning),
        JobKind::Apply => (Move::StartApply, DeploymentState::Applying),
    };
    let again = record.deployment.state == running;
    if !again && record.deployment.state.next(by).is_err() {
        tx.end_job(job.id, JobState::Cancelled, Some("the deployment has moved on"), cx.now())
            .await?;
        tx.commit().await?;
        return Ok(Begun::Nothing);
    }
    if job.kind == JobKind::Apply {
        let replanned = if again {
            None
        } else {
            deployment::replan_if_stale(cx, &mut tx, &who, &mut record).await?
        };
        if let Some(bell) = replanned {
            tx.end_job(job.id, JobState::Succeeded, Some("the plan was stale"), cx.now()).await?;
            tx.commit().await?;
            cx.ring(&bell).await;
            cx.tell(job.deployment_id).await;
            return Ok(Begun::Nothing);
        }
        approved(&record)?;
    }
    if !again {
        let detail = start_detail(job, lease);
        Change::by(cx, &who, &mut record).go(&mut tx, by, None, detail).await?;
    }
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
        Some(artifact) => SourceInput::Tree(source::kept(cx, artifact).await?),
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
    let state = state_of(cx, record).await?;
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
    drop(tx);
    // The approval names a digest; what it covers must be what is about to be applied.
    let digest = plan.binding.digest();
    if d.approval.as_ref().is_none_or(|approval| approval.plan_digest != digest) {
        return Err(Fault::internal(format!("the plan of {} has another digest", d.id)));
    }
    let state = state_of(cx, record).await?;
    let artifact = record.source_artifact.ok_or_else(|| gone("source"))?;
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
        source: source::kept(cx, artifact).await?,
        root: record.source_root.clone(),
        variables,
        tool: plan.plan.tool,
        plan_file,
        context,
        state,
    })
}

/// Keeps log lines and events of a running job, in order. A deployment that has ended (superseded
/// while its plan was made) is told nothing more: its last event is its end.
pub async fn append(
    cx: &Ctx,
    lease: &Lease,
    of: slipway_domain::id::DeploymentId,
    lines: &[NewLogLine],
    events: &[EventBody],
) -> Result<(), Fault> {
    let mut tx = cx.store.begin().await?;
    let state = tx.lock_deployment_state(of).await?;
    tx.fence(lease).await?;
    if state.is_none_or(DeploymentState::is_terminal) {
        return Ok(());
    }
    tx.append_log(of, lines).await?;
    tx.append_events(of, events, cx.now()).await?;
    tx.commit().await?;
    cx.tell(of).await;
    Ok(())
}

/// Keeps a new version of the stack's state. The version that is current already is kept once.
pub async fn save_state(cx: &Ctx, job: &Job, lease: &Lease, blob: StateBlob) -> Result<(), Fault> {
    let id = ArtifactId::new(&*cx.mint);
    let now = cx.now();
    let sealed = cx.store.seal_artifact(id, ArtifactKind::State, &blob.content, now).await?;
    let mut tx = cx.store.begin().await?;
    let stack = lock_stack(&mut tx, job).await?;
    tx.fence(lease).await?;
    if stack.state_mark() == blob.mark
        && let Some(current) = stack.state_artifact
        && let Some(current) = tx.artifact(current).await?
        && current.digest == sealed.artifact.digest
    {
        // Its commit went through and the answer was lost.
        return Ok(());
    }
    tx.insert_artifact(&sealed).await?;
    let version = NewStateVersion {
        stack_id: job.stack_id,
        mark: blob.mark,
        resource_count: blob.resource_count,
        artifact: id,
        origin: StateOrigin::Run,
        deployment_id: Some(job.deployment_id),
        epoch: Some(lease.epoch),
        written_by: None,
        restored_from: None,
    };
    tx.add_state_version(&version, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Records a finished plan. The many that find nothing to do (drift is looked for in all stacks)
/// and end at the same time share a unit of work.
pub async fn plan_finished(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    planned: Planned,
) -> Result<Deployment, Fault> {
    if !planned.no_changes || planned.fetched.is_some() {
        return plan_finished_alone(cx, job, lease, planned).await;
    }
    let end = Unchanged {
        job: job.clone(),
        lease: *lease,
        made_from: planned.state.clone(),
        outputs: planned.current_outputs.clone(),
    };
    match cx.gathered.unchanged.ask(cx, end).await? {
        Some(deployment) => Ok(*deployment),
        None => plan_finished_alone(cx, job, lease, planned).await,
    }
}

/// Records a finished plan: the plan and its artifacts, what the gates say, and the state that
/// follows from that.
async fn plan_finished_alone(
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
    let stack = lock_stack(&mut tx, job).await?;
    let mut record = locked(&mut tx, job, lease).await?;
    if record.deployment.state.is_terminal() {
        // Superseded while the plan was made.
        tx.end_job(job.id, JobState::Cancelled, Some("the deployment has ended"), now).await?;
        tx.commit().await?;
        return Ok(record.deployment);
    }
    // "Nothing to do" is said of a state; when that has moved on meanwhile, it says nothing.
    let made_from = &planned.state;
    if planned.no_changes && !made_from.lineage.is_empty() && *made_from != stack.state_mark() {
        let (record, bell) = settle(cx, &mut tx, job, Ending::HandBack).await?;
        tx.commit().await?;
        if let Some(bell) = bell {
            cx.ring(&bell).await;
        }
        cx.tell(job.deployment_id).await;
        return Ok(record.deployment);
    }
    let variables = if planned.no_changes && fetched.is_none() {
        Variables::new()
    } else {
        tx.variables(job.deployment_id).await?
    };
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
        variables: cx.store.house().mac(
            "variables",
            serde_json::to_value(&variables).map_err(Fault::internal)?.to_string().as_bytes(),
        ),
        tool: planned.tool.clone(),
        state: planned.state.clone(),
        operation: record.deployment.operation.as_str().to_owned(),
    };
    let number = tx.latest_binding(job.deployment_id).await?.map_or(1, |(last, _)| last + 1);
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
    change.step(Move::FinishPlan, None, detail.clone())?;
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
    let mut record = locked(&mut tx, job, lease).await?;
    if record.deployment.state == DeploymentState::Verifying {
        // Its commit went through and the answer was lost.
        return Ok(());
    }
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
    lock_stack(&mut tx, job).await?;
    let mut record = locked(&mut tx, job, lease).await?;
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
