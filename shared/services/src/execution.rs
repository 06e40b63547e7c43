//! What a worker does to a deployment while it runs a job of it. Every function here is fenced: a
//! worker whose lease is gone changes nothing.
//!
//! Rows are locked in one order everywhere: stack, deployment, job. And a worker repeats what it
//! does when the database goes away in the middle of a commit, so everything here may be called
//! again by the same lease after it has been done.

use bytes::Bytes;
use slipway_domain::access::Principal;
use slipway_domain::artifact::ArtifactKind;
use slipway_domain::cancel::CancelPhase;
use slipway_domain::deployment::{Deployment, Variables};
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::ArtifactId;
use slipway_domain::job::{Job, JobKind, JobState, Lease};
use slipway_domain::log::NewLogLine;
use slipway_domain::plan::ToolChoice;
use slipway_domain::port::driver::{
    Applied, ApplyInput, DriftInput, Health, PlanInput, RecoverInput, SourceInput, StateBlob,
    TestInput,
};
use slipway_domain::redact::Redactor;
use slipway_domain::secret::MASK;
use slipway_domain::source::Source;
use slipway_domain::state::{DeploymentState, Move};
use slipway_domain::state_version::StateOrigin;
use slipway_domain::variable::Hidden;
use slipway_store::Tx;
use slipway_store::deployment::{Record, ToBegin};
use slipway_store::stack::KeptState;
use slipway_store::state::NewStateVersion;

use crate::change::{Change, lock};
use crate::ending::fail;
pub use crate::ending::{Ending, ended, ring_waiting};
use crate::planned::{approved_before, variables_digest};
pub use crate::planned::{plan_finished, plan_finished_from};
use crate::setting::usage::{self, Filled};
use crate::taking::{Wanted, start_detail};
pub use crate::taking::{expected, take};
use crate::{Ctx, approval, cancel, deployment, drift, recovery, source, test};

/// When the state is locked by somebody else, it is looked at again after so long.
const STATE_LOCK_RETRY_MS: i64 = 3_000;

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
        /// The deployment as it is now, for [`plan_finished_from`].
        record: Box<Record>,
    },
    /// Apply this plan.
    Apply {
        /// What it is made of.
        input: Box<ApplyInput>,
        /// Knows the deployment's secrets.
        redactor: Redactor,
    },
    /// Find out what this lost apply did, and plan what is left.
    Recover {
        /// What it is made of.
        input: Box<RecoverInput>,
        /// Knows the deployment's secrets.
        redactor: Redactor,
    },
    /// Run these tests.
    Test {
        /// What they are made of.
        input: Box<TestInput>,
        /// Knows the deployment's secrets.
        redactor: Redactor,
    },
    /// Look whether this stack is still what its state says.
    Drift {
        /// What it is looked at with.
        input: Box<DriftInput>,
        /// Knows the deployment's secrets.
        redactor: Redactor,
    },
    /// There is nothing to do any more, or not yet; the job has been ended, or goes back to its
    /// queue.
    Nothing,
}

/// Locks the deployment of a job and then the job, if the lease is still the worker's.
pub(crate) async fn locked(tx: &mut Tx, job: &Job, lease: &Lease) -> Result<Record, Fault> {
    let record = lock(tx, job.deployment_id).await?;
    tx.fence(lease).await?;
    Ok(record)
}

/// Locks the stack of a job, for those who change it.
pub(crate) async fn lock_stack(
    tx: &mut Tx,
    job: &Job,
) -> Result<slipway_store::stack::Record, Fault> {
    tx.lock_stack(job.stack_id).await?.ok_or_else(|| Fault::not_found("stack", job.stack_id))
}

/// The current state of a stack, opened. It takes one connection at a time: as many jobs as there
/// are connections would wait for each other's second one.
pub(crate) async fn state_of(cx: &Ctx, record: &Record) -> Result<Option<StateBlob>, Fault> {
    let mut tx = cx.store.read().await?;
    let stack = tx
        .stack(record.deployment.stack_id)
        .await?
        .ok_or_else(|| Fault::not_found("stack", record.deployment.stack_id))?;
    drop(tx);
    opened(cx, stack.kept_state()).await
}

/// A state that is kept, opened.
async fn opened(cx: &Ctx, kept: Option<KeptState>) -> Result<Option<StateBlob>, Fault> {
    let Some(kept) = kept else { return Ok(None) };
    let (_, content) = open(cx, kept.artifact).await?;
    let resource_count = kept.info.resource_count;
    Ok(Some(StateBlob { mark: kept.mark(), resource_count, content }))
}

pub(crate) async fn open(cx: &Ctx, id: ArtifactId) -> Result<(ArtifactKind, Bytes), Fault> {
    let (artifact, content) = cx
        .store
        .open_artifact(id)
        .await?
        .ok_or_else(|| Fault::internal(format!("artifact {id} is gone")))?;
    Ok((artifact.kind, content))
}

/// Moves the deployment into its running state and gathers what the driver needs. When the
/// deployment has ended or changed its mind in the meantime, the job is ended instead.
///
/// It is repeated when the database goes away, also between its commit and the reading that
/// follows: a deployment that is in its running state already, under a lease that still holds, was
/// moved there by this very run, whose driver has not been started yet.
pub async fn begin(cx: &Ctx, job: &Job, lease: &Lease) -> Result<Begun, Fault> {
    let (by, running) = match job.kind {
        JobKind::Plan => (Move::StartPlanning, DeploymentState::Planning),
        JobKind::Apply => (Move::StartApply, DeploymentState::Applying),
        JobKind::Recover => return recovery::begin(cx, job, lease).await,
        JobKind::Test => return test::begin(cx, job, lease).await,
        JobKind::Drift => return drift::check::begin(cx, job, lease).await,
    };
    if job.kind == JobKind::Plan {
        let wanted = Wanted { job: job.clone(), lease: *lease };
        if let Some(begun) = cx.gathered.starts.ask(cx, wanted).await? {
            let ToBegin { record, variables, state } = *begun;
            let state = opened(cx, state).await?;
            return begun_plan(cx, record, variables, state).await;
        }
    }
    let who = system();
    let mut tx = cx.store.begin().await?;
    let mut record = locked(&mut tx, job, lease).await?;
    let again = record.deployment.state == running;
    if !again && record.deployment.state.next(by).is_err() {
        tx.end_job(job.id, JobState::Cancelled, Some("the deployment has moved on"), cx.now())
            .await?;
        tx.commit().await?;
        return Ok(Begun::Nothing);
    }
    if job.kind == JobKind::Apply {
        if wait_for_state_lock(&mut tx, job).await? {
            tx.commit().await?;
            return Ok(Begun::Nothing);
        }
        if !again && approval::keeps_waiting(cx, &mut tx, &mut record, job).await? {
            tx.commit().await?;
            cx.tell(job.deployment_id).await;
            return Ok(Begun::Nothing);
        }
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
    let given = tx.variables(job.deployment_id).await?;
    tx.commit().await?;
    cx.tell(job.deployment_id).await;
    if job.kind == JobKind::Plan {
        let state = state_of(cx, &record).await?;
        return begun_plan(cx, record, given, state).await;
    }
    apply_input(cx, &record, given).await
}

/// When somebody with a tool of their own holds the lock of the stack's state: puts the job back,
/// to be tried again soon. While a job runs, nobody else gets the lock.
pub(crate) async fn wait_for_state_lock(tx: &mut Tx, job: &Job) -> Result<bool, Fault> {
    let Some(held) = tx.state_lock(job.stack_id).await? else { return Ok(false) };
    let why = format!("the state is locked by {} since {}", held.held_by.id, held.acquired_at);
    tracing::info!(why, "the job waits");
    tx.requeue_job(job.id, STATE_LOCK_RETRY_MS, false, Some(&why)).await?;
    Ok(true)
}

/// Which variables are hidden: those that are shown masked.
pub(crate) fn hidden(deployment: &Deployment) -> Hidden {
    let masked = |value: &serde_json::Value| value.as_str() == Some(MASK);
    let names = deployment.variables.iter().filter(|(_, shown)| masked(shown));
    Hidden::Names(names.map(|(name, _)| name.clone()).collect())
}

/// Applied is what was approved: the approval must name the plan that is about to be applied.
fn approved(record: &Record) -> Result<(), Fault> {
    let d = &record.deployment;
    if d.options.plan_only {
        return Err(Fault::new(
            Code::IllegalTransition,
            "The deployment only plans; its plan is never applied.",
        ));
    }
    match (&d.plan, &d.approval) {
        (Some(plan), Some(approval)) if plan.digest == approval.plan_digest => Ok(()),
        _ => Err(Fault::new(
            Code::IllegalTransition,
            "The current plan of the deployment has no approval that names it.",
        )),
    }
}

/// Fills the variables of a plan with what holds now, and gathers the rest.
pub(crate) async fn begun_plan(
    cx: &Ctx,
    record: Record,
    given: Variables,
    state: Option<StateBlob>,
) -> Result<Begun, Fault> {
    let filled = usage::filled_newest(cx, &record.deployment.stack, given).await?;
    let redactor = filled.redactor(&record.deployment);
    let input = Box::new(plan_input(cx, &record, filled, state).await?);
    Ok(Begun::Plan { input, redactor, record: Box::new(record) })
}

async fn plan_input(
    cx: &Ctx,
    record: &Record,
    filled: Filled,
    state: Option<StateBlob>,
) -> Result<PlanInput, Fault> {
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
    let approved = approved_before(cx, record, &filled).await?;
    Ok(PlanInput {
        deployment_id: d.id,
        stack_id: d.stack_id,
        stack: d.stack.clone(),
        operation: d.operation,
        source,
        root: record.source_root.clone(),
        variables: filled.variables,
        settings: filled.uses,
        tool: d.options.tool.as_deref().and_then(ToolChoice::parse),
        state,
        approved,
    })
}

async fn apply_input(cx: &Ctx, record: &Record, given: Variables) -> Result<Begun, Fault> {
    let d = &record.deployment;
    let gone = |what: &str| Fault::internal(format!("the {what} of {} is gone", d.id));
    let mut tx = cx.store.read().await?;
    let plan = tx.latest_plan(d.id).await?.ok_or_else(|| gone("plan"))?;
    let filled = usage::fill_planned(&mut tx, &plan.plan.settings, given).await?;
    drop(tx);
    // The approval names a digest; what it covers must be what is about to be applied.
    let digest = plan.binding.digest();
    if d.approval.as_ref().is_none_or(|approval| approval.plan_digest != digest) {
        return Err(Fault::internal(format!("the plan of {} has another digest", d.id)));
    }
    if variables_digest(cx, &plan.binding, &filled)? != plan.binding.variables {
        return Err(Fault::internal(format!("the variables of {} have another digest", d.id)));
    }
    let redactor = filled.redactor(d);
    let state = state_of(cx, record).await?;
    let artifact = record.source_artifact.ok_or_else(|| gone("source"))?;
    let (_, plan_file) = open(cx, plan.plan_file).await?;
    let (_, context) = open(cx, plan.context).await?;
    if slipway_domain::artifact::digest(&plan_file) != plan.binding.plan_file {
        return Err(Fault::internal(format!("the plan file of {} has another digest", d.id)));
    }
    let input = Box::new(ApplyInput {
        deployment_id: d.id,
        stack_id: d.stack_id,
        stack: d.stack.clone(),
        operation: d.operation,
        source: source::kept(cx, artifact).await?,
        root: record.source_root.clone(),
        variables: filled.variables,
        tool: plan.plan.tool,
        plan_file,
        context,
        state,
    });
    Ok(Begun::Apply { input, redactor })
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
    // Whoever asked to stop it came too late.
    cancel::enter(&mut change, &mut tx, CancelPhase::Stopped, None).await?;
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
