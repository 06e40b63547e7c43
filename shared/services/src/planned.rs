//! A finished plan: kept with its artifacts, put before the gates, and what follows from what they
//! say.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use slipway_domain::access::Principal;
use slipway_domain::approval::Decision;
use slipway_domain::artifact::ArtifactKind;
use slipway_domain::cancel::CancelPhase;
use slipway_domain::deployment::{Approval, Deployment, Options, Variables};
use slipway_domain::event::EventBody;
use slipway_domain::fault::Fault;
use slipway_domain::gate::{GateVerdict, conclude};
use slipway_domain::id::{ArtifactId, PlanId};
use slipway_domain::job::{Doorbell, Job, JobKind, JobState, Lease};
use slipway_domain::plan::{Binding, Counts, Plan};
use slipway_domain::port::driver::{ApprovedPlan, Equality, Planned};
use slipway_domain::report::Judgement;
use slipway_domain::setting::SettingUse;
use slipway_domain::state::Move;
use slipway_domain::variable::{Hidden, masked};
use slipway_store::Tx;
use slipway_store::artifact::Sealed;
use slipway_store::deployment::Record;

use crate::change::Change;
use crate::ending::{Ending, settle};
use crate::execution::{lock_stack, locked, open, system};
use crate::gate::{self, Seen};
use crate::setting::usage::{self, Filled};
use crate::unchanged::Unchanged;
use crate::{Ctx, approval, cancel, stale};

/// Records a finished plan, and what the gates say of it. The many that find nothing to do (drift is
/// looked for in all stacks) and end at the same time share a unit of work.
pub async fn plan_finished(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    planned: Planned,
    seen: &Seen,
) -> Result<Deployment, Fault> {
    finished(cx, None, job, lease, planned, seen).await
}

/// [`plan_finished`] for who has the deployment as the plan was begun: it is read anew only when it
/// has changed since.
pub async fn plan_finished_from(
    cx: &Ctx,
    begun: &Record,
    job: &Job,
    lease: &Lease,
    planned: Planned,
    seen: &Seen,
) -> Result<Deployment, Fault> {
    finished(cx, Some(begun), job, lease, planned, seen).await
}

async fn finished(
    cx: &Ctx,
    begun: Option<&Record>,
    job: &Job,
    lease: &Lease,
    planned: Planned,
    seen: &Seen,
) -> Result<Deployment, Fault> {
    if !planned.no_changes || planned.fetched.is_some() {
        return Box::pin(plan_finished_alone(cx, job, lease, planned, seen)).await;
    }
    let end = Unchanged {
        job: job.clone(),
        lease: *lease,
        begun: begun.cloned(),
        made_from: planned.state.clone(),
        outputs: planned.current_outputs.clone(),
    };
    match cx.gathered.unchanged.ask(cx, end).await? {
        Some(deployment) => Ok(*deployment),
        None => Box::pin(plan_finished_alone(cx, job, lease, planned, seen)).await,
    }
}

/// Records a finished plan: the plan and its artifacts, what the gates say, and the state that
/// follows from that.
async fn plan_finished_alone(
    cx: &Ctx,
    job: &Job,
    lease: &Lease,
    planned: Planned,
    seen: &Seen,
) -> Result<Deployment, Fault> {
    let who = system();
    let now = cx.now();
    let judged = Judged::by_gates(cx, job, &planned, seen).await?;
    let fetched = match &planned.fetched {
        Some(fetched) => {
            let id = ArtifactId::new(&*cx.mint);
            let archive = fetched.archive.clone();
            let sealed = cx.store.seal_artifact(id, ArtifactKind::Source, &archive, now).await?;
            Some((sealed, &fetched.commit))
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
    // "Nothing to do" is said of a state; when that has moved on meanwhile, it says nothing. And what
    // somebody asked to stop is not gone on with, also when the plan was faster.
    let made_from = &planned.state;
    let is_old =
        planned.no_changes && !made_from.lineage.is_empty() && *made_from != stack.state_mark();
    if is_old || !planned.no_changes && record.deployment.cancel_requested_at.is_some() {
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
    let before = record.approval_before.take();
    let kept =
        before.map(|approval| still_holds(approval, &planned, &record.deployment.options, now));
    let (holds, difference) = match kept {
        None => (None, Vec::new()),
        Some(Ok(approval)) => (Some(approval), Vec::new()),
        Some(Err(difference)) => (None, difference),
    };
    let plan = judged.keep(cx, &mut tx, &record, &variables, planned, difference).await?;
    let mut change = Change::by(cx, &who, &mut record);
    let bell = present(cx, &mut change, &mut tx, Move::FinishPlan, &plan, holds).await?;
    tx.end_job(job.id, JobState::Succeeded, None, now).await?;
    cx.commit_with_jobs(tx, bell.as_slice()).await?;
    cx.tell(job.deployment_id).await;
    Ok(record.deployment)
}

/// Most lines of a difference that are kept.
const MAX_DIFFERENCE: usize = 200;

/// Whether the approval of a plan that turned stale holds for the one that was made in its place; if
/// not, why.
fn still_holds(
    approval: Approval,
    planned: &Planned,
    options: &Options,
    now: DateTime<Utc>,
) -> Result<Approval, Vec<String>> {
    if let Some(why) = has_ended(&approval, options, now) {
        return Err(vec![why]);
    }
    match &planned.equality {
        Some(Equality::Equal) => Ok(approval),
        Some(Equality::Different(lines)) => {
            Err(lines.iter().take(MAX_DIFFERENCE).cloned().collect())
        }
        None => Err(vec!["it was not compared with the plan that was approved".to_owned()]),
    }
}

/// Why an approval is not carried on to another plan, whatever that is.
fn has_ended(approval: &Approval, options: &Options, now: DateTime<Utc>) -> Option<String> {
    if approval.holds_until(options) <= now {
        let Options { expires_in_s, .. } = options;
        return Some(format!("the approval is older than `expires_in_s` ({expires_in_s} s)"));
    }
    (approval.carries >= Approval::MAX_CARRIES)
        .then(|| format!("the approval was carried on {} times already", approval.carries))
}

/// What the new plan of a deployment is compared with: the plan whose approval may go on.
pub(crate) async fn approved_before(
    cx: &Ctx,
    record: &Record,
    filled: &Filled,
) -> Result<Option<Box<ApprovedPlan>>, Fault> {
    let d = &record.deployment;
    let approval = record.approval_before.as_ref();
    let Some(approval) = approval.filter(|a| has_ended(a, &d.options, cx.now()).is_none()) else {
        return Ok(None);
    };
    // The one that is named, not the one that was seen: of what was carried on after a lost apply,
    // only the rest may still be done.
    let mut tx = cx.store.read().await?;
    let plan = tx.plan_by_digest(d.id, &approval.plan_digest).await?;
    drop(tx);
    let Some(plan) = plan else {
        return Err(Fault::internal(format!("the approved plan of {} is gone", d.id)));
    };
    let (_, plan_file) = open(cx, plan.plan_file).await?;
    let (_, context) = open(cx, plan.context).await?;
    let variables_digest = variables_digest(cx, &plan.binding, filled)?;
    let key = cx.store.house().derived("equality", d.id.to_string().as_bytes());
    let binding = plan.binding;
    Ok(Some(Box::new(ApprovedPlan { binding, plan_file, context, variables_digest, key })))
}

/// What variables come to in the binding of a plan that is to be compared with one that is bound to
/// `before`, which may have been made under an older key.
pub(crate) fn variables_digest(
    cx: &Ctx,
    before: &Binding,
    filled: &Filled,
) -> Result<String, Fault> {
    let (keys, bytes) = (cx.store.house(), usage::bound(&filled.given, &filled.uses)?);
    let same = keys.is_mac_of(&before.variables, VARIABLES, &bytes);
    Ok(if same { before.variables.clone() } else { keys.mac(VARIABLES, &bytes) })
}

/// What the digest of variables is made for.
const VARIABLES: &str = "variables";

/// What the gates say of a plan, and its files, sealed; both outside of the unit of work that keeps
/// them.
pub(crate) struct Judged {
    judgement: Judgement,
    settings: Vec<SettingUse>,
    plan_file: Sealed,
    context: Sealed,
}

impl Judged {
    pub(crate) async fn by_gates(
        cx: &Ctx,
        job: &Job,
        planned: &Planned,
        seen: &Seen,
    ) -> Result<Self, Fault> {
        let now = cx.now();
        let seal = |kind, content: Bytes| async move {
            let id = ArtifactId::new(&*cx.mint);
            cx.store.seal_artifact(id, kind, &content, now).await
        };
        Ok(Self {
            // It is large: boxed, those that hold it are not.
            judgement: Box::pin(gate::judge(cx, job, planned, seen)).await?,
            settings: seen.settings.clone(),
            plan_file: seal(ArtifactKind::PlanFile, planned.plan_file.clone()).await?,
            context: seal(ArtifactKind::PlanContext, planned.context.clone()).await?,
        })
    }

    /// Keeps the plan as the deployment's newest, with what the gates say about it.
    pub(crate) async fn keep(
        self,
        cx: &Ctx,
        tx: &mut Tx,
        record: &Record,
        variables: &Variables,
        planned: Planned,
        difference: Vec<String>,
    ) -> Result<Kept, Fault> {
        let of = record.deployment.id;
        tx.insert_artifact(&self.plan_file).await?;
        tx.insert_artifact(&self.context).await?;
        let binding = Binding {
            plan_file: self.plan_file.artifact.digest.clone(),
            source: planned.source_digest,
            lock_file: planned.lock_file_digest,
            variables: cx.store.house().mac(VARIABLES, &usage::bound(variables, &self.settings)?),
            tool: planned.tool.clone(),
            state: planned.state.clone(),
            operation: record.deployment.operation.as_str().to_owned(),
        };
        let number = tx.latest(of).await?.map_or(1, |last| last.number + 1);
        let plan = Plan {
            id: PlanId::new(&*cx.mint),
            deployment_id: of,
            number,
            digest: binding.digest(),
            created_at: cx.now(),
            tool: planned.tool,
            state: planned.state,
            counts: Counts::of(&planned.changes),
            changes: planned.changes,
            outputs: planned.outputs,
            drift: planned.drift,
            warnings: planned.warnings,
            gates: self.judgement.gates.clone(),
            holds_until: self.judgement.holds_until,
            settings: self.settings,
            difference,
        };
        let stored = slipway_store::plan::Record {
            plan: plan.clone(),
            judgement: Some(self.judgement.clone()),
            binding,
            plan_file: self.plan_file.artifact.id,
            context: self.context.artifact.id,
        };
        tx.insert_plan(&stored).await?;
        let rests_on: Vec<_> = self.judgement.exemptions.iter().map(|used| used.id).collect();
        tx.note_exemptions(plan.id, &rests_on).await?;
        Ok(Kept { plan, judgement: self.judgement })
    }
}

/// A plan that was kept, and what the gates said of it.
pub(crate) struct Kept {
    pub(crate) plan: Plan,
    judgement: Judgement,
}

/// Makes a plan the deployment's current one, by `arrival` (a move to `planned`), and goes on as its
/// gates say. Returns the bell to ring after the commit.
///
/// `holds` is the approval of a plan that this one is proved to be equal to. It stands in for the
/// people who gave it, and for nothing else: a gate that denies wins, and so does one that now wants
/// more people.
pub(crate) async fn present(
    cx: &Ctx,
    change: &mut Change<'_>,
    tx: &mut Tx,
    arrival: Move,
    Kept { plan, judgement }: &Kept,
    holds: Option<Approval>,
) -> Result<Option<Doorbell>, Fault> {
    change.record.deployment.plan = Some(plan.summary());
    change.record.deployment.approval = None;
    change.event(EventBody::PlanReady { plan: plan.summary() });
    change.step(arrival, None, serde_json::json!({"plan_digest": plan.digest}))?;
    for gate in &plan.gates {
        change.event(EventBody::Gate { result: gate.clone() });
    }
    if let Some(bell) = gate::ask_tests(cx, tx, change.record, judgement).await? {
        // It stays `planned` until they have ended.
        let why = "it waits for its tests (the gate test), which a worker of the queue test runs";
        change.record.deployment.reason = Some(why.to_owned());
        change.save(tx).await?;
        return Ok(Some(bell));
    }
    let carried = match holds {
        Some(approval) => carried(cx, change, tx, plan, judgement, approval).await?,
        None => None,
    };
    proceed(change, tx, plan, carried).await
}

/// The decisions about a plan that this one is proved to be equal to, entered for this one; the
/// approval, if they are all that this one needs.
async fn carried(
    cx: &Ctx,
    change: &mut Change<'_>,
    tx: &mut Tx,
    plan: &Plan,
    judgement: &Judgement,
    approval: Approval,
) -> Result<Option<Approval>, Fault> {
    let id = change.record.deployment.id;
    // Two plans of a deployment may have one digest; the decisions know which was meant.
    let decisions = tx.approvals_of(id).await?;
    let about = |d: &&Decision| d.plan_digest == approval.plan_digest && d.plan_id != plan.id;
    let Some(from) = decisions.iter().rev().find(about) else { return Ok(None) };
    approval::carry(cx, tx, id, from.plan_id, &plan.summary()).await?;
    let Some(need) = &judgement.approval else { return Ok(None) };
    let complete = approval::is_complete(cx, tx, &change.record.deployment, need).await?;
    Ok(complete.then_some(approval))
}

/// Goes on with a plan that was presented, as its gates say.
pub(crate) async fn proceed(
    change: &mut Change<'_>,
    tx: &mut Tx,
    plan: &Plan,
    holds: Option<Approval>,
) -> Result<Option<Doorbell>, Fault> {
    let mut detail = serde_json::json!({"plan_digest": plan.digest});
    let mut verdict = conclude(&plan.gates);
    let passes = matches!(verdict, GateVerdict::Pass | GateVerdict::Warn);
    if passes && change.record.deployment.cancel_requested_at.is_some() {
        // No rule knows that somebody wanted it to stop.
        verdict = GateVerdict::NeedsApproval;
    }
    if change.record.deployment.options.plan_only && verdict != GateVerdict::Pending {
        return stale::conclude(change, tx, plan, verdict).await;
    }
    if let (GateVerdict::NeedsApproval, Some(approval)) = (verdict, &holds) {
        return carry_on(change, tx, plan, approval).await;
    }
    let (by, reason) = match verdict {
        GateVerdict::Deny => (Move::Block, Some(denied(plan))),
        GateVerdict::NeedsApproval => (Move::AskApproval, differs(plan)),
        // It stays `planned` until the last gate has answered.
        GateVerdict::Pending => {
            change.save(tx).await?;
            return Ok(None);
        }
        GateVerdict::Pass | GateVerdict::Warn => {
            (Move::Approve, Some("no gate asks for an approval".to_owned()))
        }
    };
    if by == Move::Approve {
        change.record.deployment.approval = Some(Approval {
            plan_digest: plan.digest.clone(),
            by: system().actor,
            at: change.now,
            comment: Some("no gate asks for an approval".to_owned()),
            carried_from: None,
            carries: 0,
        });
    }
    if !plan.difference.is_empty() {
        detail["difference"] = plan.difference.len().into();
    }
    change.go(tx, by, reason, detail).await?;
    if by == Move::Approve && change.record.deployment.options.auto_apply {
        change.enqueue(tx, JobKind::Apply).await.map(Some)
    } else {
        Ok(None)
    }
}

/// Which gates deny, and why.
pub(crate) fn denied(plan: &Plan) -> String {
    let denies = plan.gates.iter().filter(|gate| gate.verdict == GateVerdict::Deny);
    let said: Vec<String> =
        denies.map(|gate| format!("the gate {} denies it: {}", gate.gate, gate.detail)).collect();
    if said.is_empty() { "no gate has looked at it".to_owned() } else { said.join("; ") }
}

/// The approval of an equal plan goes on to this one, and so does the apply: it is the apply that
/// found the old plan stale.
async fn carry_on(
    change: &mut Change<'_>,
    tx: &mut Tx,
    plan: &Plan,
    approval: &Approval,
) -> Result<Option<Doorbell>, Fault> {
    let carried = approval.carried_to(&plan.digest);
    let reason = format!(
        "the new plan is equal to the one that {} approved, so that approval holds",
        carried.by.id
    );
    let detail = serde_json::json!({"plan_digest": plan.digest,
        "approved_plan_digest": carried.seen(), "approved_by": carried.by});
    let d = &mut change.record.deployment;
    // A new plan makes an approval no younger.
    d.expires_at = Some(carried.holds_until(&d.options));
    d.approval = Some(carried);
    change.go(tx, Move::Approve, Some(reason), detail).await?;
    change.enqueue(tx, JobKind::Apply).await.map(Some)
}

/// Why a plan wants an approval although the one before it had one.
fn differs(plan: &Plan) -> Option<String> {
    let first = plan.difference.first()?;
    let more = match plan.difference.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(format!(
        "the new plan is not proved to be the same as the one that was approved, so it needs an \
         approval of its own: {first}{more}"
    ))
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
    // Whoever asked to stop it came too late.
    cancel::enter(&mut change, tx, CancelPhase::Stopped, None).await?;
    change.go(tx, Move::FindNoChanges, None, serde_json::json!({})).await?;
    if !record.deployment.options.plan_only {
        tx.set_current_deployment(job.stack_id, job.deployment_id, now).await?;
    }
    tx.end_job(job.id, JobState::Succeeded, None, now).await?;
    Ok(())
}
