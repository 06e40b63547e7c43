//! Approving, rejecting and revoking: decisions about plans, on the record, and what follows when
//! a plan has all that it needs. Who must say yes is worked out in `domain::approval`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use slipway_domain::access::{Principal, Role, Scope};
use slipway_domain::approval::{
    self as domain, ApprovalNeed, ApprovalRules, Approvals, Decision, Demand, FreezeWindow, Frozen,
    PlanFacts, Revocation, Standing, Verb,
};
use slipway_domain::deployment::{Approval, Deployment};
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{ApprovalId, DeploymentId, PlanId};
use slipway_domain::job::{Job, JobKind, JobState};
use slipway_domain::plan::PlanSummary;
use slipway_domain::state::{DeploymentState, Move};
use slipway_store::Tx;
use slipway_store::deployment::Record;

use crate::access::{lock_deployment, read_deployment};
use crate::change::{Change, audit};
use crate::deployment::{checked_comment, checked_text, get_after, in_time, replan_if_stale};
use crate::execution::system;
use crate::{Ctx, gate};

/// An apply that a freeze keeps waiting is looked at again after so long at the latest: windows can
/// be taken away.
const LOOK_AGAIN_MS: i64 = 15 * 60_000;

/// The rules for a deployment, as they are now.
async fn rules(cx: &Ctx, tx: &mut Tx, of: &Deployment) -> Result<ApprovalRules, Fault> {
    Ok(gate::resolved_in(cx, tx, &of.stack).await?.approval)
}

/// What the current plan of a deployment needs: what was worked out when it was judged.
async fn current_need(cx: &Ctx, tx: &mut Tx, of: &Deployment) -> Result<ApprovalNeed, Fault> {
    let Some(found) = tx.latest_plan(of.id).await? else { return Err(no_plan()) };
    if let Some(need) = found.judgement.and_then(|judgement| judgement.approval) {
        return Ok(need);
    }
    // It was made before that was kept.
    let plan = found.plan;
    let (facts, demands) = (PlanFacts::of(&plan.changes), Demand::of_gates(&plan.gates));
    Ok(domain::need(&rules(cx, tx, of).await?, &facts, &of.submitted_by, &demands, cx.now()))
}

/// Whether a deployment's current plan, which needs `need`, has all that it needs.
pub(crate) async fn is_complete(
    cx: &Ctx,
    tx: &mut Tx,
    of: &Deployment,
    need: &ApprovalNeed,
) -> Result<bool, Fault> {
    let Some(plan) = &of.plan else { return Ok(false) };
    let decisions = tx.approvals_of(of.id).await?;
    Ok(domain::standing(need, plan.id, &decisions, cx.now()).complete)
}

/// What somebody is in a deployment's project.
fn roles_of(who: &Principal, of: &Deployment) -> BTreeSet<Role> {
    who.grants.roles_in(&of.stack.project)
}

fn no_plan() -> Fault {
    Fault::new(Code::NotReady, "The deployment has no plan yet.")
}

/// Nobody says yes to what is never applied.
fn can_be_applied(record: &Record) -> Result<(), Fault> {
    if !record.deployment.options.plan_only {
        return Ok(());
    }
    Err(Fault::new(
        Code::IllegalTransition,
        "The deployment only plans, so there is nothing to approve. Submit it without plan_only to \
         have it applied.",
    ))
}

/// Says yes to one plan, named by its digest. When the plan has all that it needs, it is approved
/// and, with `auto_apply`, its apply is enqueued; the answer's `approvals` says who is missing.
pub async fn approve(
    cx: &Ctx,
    who: &Principal,
    id: DeploymentId,
    plan_digest: &str,
    comment: Option<String>,
) -> Result<Deployment, Fault> {
    let comment = checked_comment(comment)?;
    let mut tx = cx.store.begin().await?;
    let mut record = lock_deployment(&mut tx, who, id, Scope::DeploymentsApprove).await?;
    let mut decisions = tx.approvals_of(id).await?;
    // Whoever a freeze makes an exception for may let go what others have approved.
    let freeze = rules(cx, &mut tx, &record.deployment).await?.freeze;
    let lifts = lifts_freeze(&freeze, who, &record.deployment, &decisions, cx.now());
    if !(record.deployment.state == DeploymentState::Approved && lifts) {
        record.deployment.state.next(Move::Approve)?;
    }
    can_be_applied(&record)?;
    all_have_answered(&record)?;
    let plan = names_current(&record, plan_digest)?;
    in_time(cx, &record)?;
    if let Some(bell) = replan_if_stale(cx, &mut tx, who, &mut record).await? {
        tx.commit().await?;
        cx.ring(&bell).await;
        cx.tell(id).await;
        return Err(Fault::new(
            Code::PlanStale,
            "The stack's state changed since this plan was made, or an exemption that it rests on \
             has ended, so it was not approved. A new plan is being made; look at it and approve \
             that one.",
        ));
    }
    let now = cx.now();
    let need = current_need(cx, &mut tx, &record.deployment).await?;
    if let Some(before) = said_before(&decisions, who, plan, now) {
        if before.comment != comment {
            return Err(Fault::new(
                Code::AlreadyDecided,
                format!(
                    "{} approved this plan already ({}), with another comment. Revoke that one to \
                     say it anew.",
                    who.actor.id, before.id
                ),
            ));
        }
        drop(tx);
        let standing = domain::standing(&need, plan, &decisions, now);
        return Ok(answer(cx, record, standing).await);
    }
    if let Some(why) = need.refuses_actor(&who.actor) {
        return Err(Fault::new(Code::Forbidden, why));
    }
    if !lifts && let Some(why) = need.refuses(&who.actor, &roles_of(who, &record.deployment)) {
        return Err(Fault::new(Code::Forbidden, why));
    }
    let expires_at = need.expires_at(now);
    let decision =
        Decision { expires_at, ..decision(cx, who, &record, plan, plan_digest, comment.clone()) };
    tx.insert_approval(&decision).await?;
    let detail = serde_json::json!({"plan_digest": plan_digest, "comment": comment,
        "approval_id": decision.id});
    decisions.push(decision);
    let standing = domain::standing(&need, plan, &decisions, now);
    let was_approved = record.deployment.state == DeploymentState::Approved;
    let mut change = Change::by(cx, who, &mut record);
    change.event(said(who, Verb::Approve, plan_digest, comment.clone(), Some(&standing)));
    let mut bell = None;
    if standing.complete && !was_approved {
        change.record.deployment.approval = Some(Approval {
            plan_digest: plan_digest.to_owned(),
            by: who.actor.clone(),
            at: now,
            comment: comment.clone(),
            carried_from: None,
            carries: 0,
        });
        change.go(&mut tx, Move::Approve, comment, detail).await?;
        if change.record.deployment.options.auto_apply {
            bell = Some(change.enqueue(&mut tx, JobKind::Apply).await?);
        }
    } else {
        if !was_approved {
            change.record.deployment.reason = still_missing(&standing);
        }
        change.save(&mut tx).await?;
        audit(cx, &mut tx, who, "deployment.approve", id.to_string(), detail).await?;
        if was_approved {
            bell = tx.hasten_apply(id).await?;
        }
    }
    tx.commit().await?;
    if let Some(bell) = bell {
        cx.ring(&bell).await;
    }
    cx.tell(id).await;
    Ok(answer(cx, record, standing).await)
}

/// A plan that a gate has not answered for waits for that first: nobody's yes stands in for it.
fn all_have_answered(record: &Record) -> Result<(), Fault> {
    if record.deployment.state != DeploymentState::Planned {
        return Ok(());
    }
    let why = record.deployment.reason.as_deref().unwrap_or("a gate has not answered yet");
    Err(Fault::new(Code::NotReady, format!("The plan cannot be approved yet: {why}.")))
}

/// Says no to one plan, named by its digest; the deployment ends as `cancelled`.
pub async fn reject(
    cx: &Ctx,
    who: &Principal,
    id: DeploymentId,
    plan_digest: &str,
    comment: Option<String>,
) -> Result<Deployment, Fault> {
    let comment = checked_comment(comment)?;
    let mut tx = cx.store.begin().await?;
    let mut record = lock_deployment(&mut tx, who, id, Scope::DeploymentsApprove).await?;
    record.deployment.state.next(Move::Approve)?;
    let plan = names_current(&record, plan_digest)?;
    let reason = match &comment {
        Some(comment) => format!("plan rejected by {}: {comment}", who.actor.id),
        None => format!("plan rejected by {}", who.actor.id),
    };
    let no = decision(cx, who, &record, plan, plan_digest, comment.clone());
    let decision = Decision { decision: Verb::Reject, ..no };
    tx.insert_approval(&decision).await?;
    let detail = serde_json::json!({"plan_digest": plan_digest, "rejected": true,
        "comment": comment, "approval_id": decision.id});
    let mut change = Change::by(cx, who, &mut record);
    change.event(said(who, Verb::Reject, plan_digest, comment, None));
    change.go(&mut tx, Move::Cancel, Some(reason), detail).await?;
    tx.commit().await?;
    cx.tell(id).await;
    Ok(get_after(cx, record).await)
}

/// Takes a yes back, before the apply has begun: one's own, or as an approver anybody's. When the
/// plan has then no longer all that it needs, it waits for approval again.
pub async fn revoke(
    cx: &Ctx,
    who: &Principal,
    id: DeploymentId,
    approval: ApprovalId,
    reason: Option<String>,
) -> Result<Deployment, Fault> {
    let reason = checked_text("reason", reason)?;
    let mut tx = cx.store.begin().await?;
    let mut record = lock_deployment(&mut tx, who, id, Scope::DeploymentsApprove).await?;
    let mut decisions = tx.approvals_of(id).await?;
    let Some(decision) = decisions.iter_mut().find(|decision| decision.id == approval) else {
        return Err(Fault::not_found("approval", approval));
    };
    let own = decision.by.id == who.actor.id;
    let roles = roles_of(who, &record.deployment);
    if !own && !roles.iter().any(|role| role.stands_for(Role::Approver)) {
        return Err(Fault::new(
            Code::Forbidden,
            format!(
                "The approval is {}'s. {} can take back its own only; an approver or admin can \
                 take back anybody's.",
                decision.by.id, who.actor.id
            ),
        ));
    }
    revocable(&record, decision)?;
    let (plan, digest) = (decision.plan_id, decision.plan_digest.clone());
    let now = cx.now();
    let again = decision.revoked.is_some();
    let how = Revocation { at: now, by: who.actor.clone(), reason: reason.clone() };
    if !again {
        decision.revoked = Some(how.clone());
    }
    let of = decision.by.clone();
    let need = current_need(cx, &mut tx, &record.deployment).await?;
    let standing = domain::standing(&need, plan, &decisions, now);
    if again {
        // It is taken back already, which is what was asked for.
        drop(tx);
        return Ok(answer(cx, record, standing).await);
    }
    tx.revoke_approval(approval, &how).await?;
    let detail = serde_json::json!({"plan_digest": digest, "approval_id": approval, "of": of,
        "reason": reason});
    let mut change = Change::by(cx, who, &mut record);
    change.event(said(who, Verb::Revoke, &digest, reason, Some(&standing)));
    if change.record.deployment.state == DeploymentState::Approved && !standing.complete {
        change.record.deployment.approval = None;
        tx.withdraw_apply(id, "an approval was revoked", now).await?;
        change.go(&mut tx, Move::Revoke, still_missing(&standing), detail).await?;
    } else {
        let d = &mut change.record.deployment;
        match d.state {
            DeploymentState::Approved => rename(d, &decisions, now),
            _ => d.reason = still_missing(&standing),
        }
        change.save(&mut tx).await?;
        audit(cx, &mut tx, who, "deployment.revoke", id.to_string(), detail).await?;
    }
    tx.commit().await?;
    cx.tell(id).await;
    Ok(answer(cx, record, standing).await)
}

/// Whether a decision can be taken back.
fn revocable(record: &Record, decision: &Decision) -> Result<(), Fault> {
    use DeploymentState as S;
    let d = &record.deployment;
    let refused = |why: &str| Err(Fault::new(Code::IllegalTransition, why));
    if decision.decision != Verb::Approve {
        return refused("It is a no, and has ended the deployment; submit a new one.");
    }
    match d.state {
        S::AwaitingApproval | S::Approved => {}
        S::Applying | S::Verifying => {
            return refused(
                "The apply has begun, so its approval stays. Cancel the deployment to stop it.",
            );
        }
        // The table says it.
        state => {
            state.next(Move::Revoke)?;
        }
    }
    match &d.plan {
        Some(plan) if plan.id == decision.plan_id => Ok(()),
        _ => refused("It names a plan that is not the current one, so it does not count any more."),
    }
}

/// Has the approval of an approved deployment name somebody whose yes still counts.
fn rename(d: &mut Deployment, decisions: &[Decision], now: DateTime<Utc>) {
    let (Some(approval), Some(plan)) = (&mut d.approval, &d.plan) else { return };
    let counts = |x: &&Decision| x.is_yes_to(plan.id) && !x.is_expired(now);
    if decisions.iter().filter(counts).any(|x| x.by == approval.by) {
        return;
    }
    if let Some(last) = decisions.iter().rev().find(counts) {
        approval.by = last.by.clone();
        approval.at = last.at;
        approval.comment.clone_from(&last.comment);
    }
}

/// Every decision about the plans of a deployment, and how far the current one is.
pub async fn list(cx: &Ctx, who: &Principal, id: DeploymentId) -> Result<Approvals, Fault> {
    let mut tx = cx.store.read().await?;
    let record = read_deployment(&mut tx, who, id, Scope::DeploymentsRead).await?;
    let items = tx.approvals_of(id).await?;
    let d = &record.deployment;
    let Some(plan) = &d.plan else {
        return Ok(Approvals { need: None, standing: None, frozen: None, items });
    };
    let need = current_need(cx, &mut tx, d).await?;
    let now = cx.now();
    let standing = domain::standing(&need, plan.id, &items, now);
    let waits = matches!(d.state, DeploymentState::AwaitingApproval | DeploymentState::Approved);
    let freeze = rules(cx, &mut tx, d).await?.freeze;
    let frozen = waits.then(|| frozen_with(&freeze, d, &items, now)).flatten();
    Ok(Approvals { need: Some(need), standing: Some(standing), frozen, items })
}

/// Has the decisions about one plan stand for another one, which was proved to be inside of it or
/// equal to it: they are the same people's yes, and no younger. Returns how many.
pub async fn carry(
    cx: &Ctx,
    tx: &mut Tx,
    of: DeploymentId,
    from: PlanId,
    to: &PlanSummary,
) -> Result<usize, Fault> {
    let now = cx.now();
    let decisions = tx.approvals_of(of).await?;
    let counts = |d: &&Decision| d.is_yes_to(from) && !d.is_expired(now);
    let carried: Vec<_> = decisions.iter().filter(counts).collect();
    for decision in &carried {
        let seen = decision.carried_from.as_ref().unwrap_or(&decision.plan_digest).clone();
        tx.insert_approval(&Decision {
            id: ApprovalId::new(&*cx.mint),
            plan_id: to.id,
            plan_digest: to.digest.clone(),
            carried_from: Some(seen),
            ..(*decision).clone()
        })
        .await?;
    }
    Ok(carried.len())
}

/// Until when nothing of this deployment is applied, given who approved its plan.
fn frozen_with(
    freeze: &[FreezeWindow],
    d: &Deployment,
    decisions: &[Decision],
    now: DateTime<Utc>,
) -> Option<Frozen> {
    let plan = d.plan.as_ref()?.id;
    let counts = |x: &&Decision| x.is_yes_to(plan) && !x.is_expired(now);
    let approvers: Vec<_> = decisions.iter().filter(counts).map(|x| &x.roles).collect();
    domain::frozen(freeze, &approvers, now)
}

/// Until when an approved deployment waits because nothing is applied now.
pub(crate) async fn frozen_now(cx: &Ctx, d: &Deployment) -> Result<Option<Frozen>, Fault> {
    let now = cx.now();
    let mut tx = cx.store.read().await?;
    let freeze = rules(cx, &mut tx, d).await?.freeze;
    if frozen_with(&freeze, d, &[], now).is_none() {
        return Ok(None);
    }
    let decisions = tx.approvals_of(d.id).await?;
    Ok(frozen_with(&freeze, d, &decisions, now))
}

/// Whether a yes of `who` would let a frozen deployment go, or go sooner.
fn lifts_freeze(
    freeze: &[FreezeWindow],
    who: &Principal,
    d: &Deployment,
    decisions: &[Decision],
    now: DateTime<Utc>,
) -> bool {
    let Some(frozen) = frozen_with(freeze, d, decisions, now) else { return false };
    let Some(plan) = &d.plan else { return false };
    let counts = |x: &&Decision| x.is_yes_to(plan.id) && !x.is_expired(now);
    let mut approvers: Vec<_> = decisions.iter().filter(counts).map(|x| &x.roles).collect();
    let own = roles_of(who, d);
    approvers.push(&own);
    let after = domain::frozen(freeze, &approvers, now);
    after.is_none_or(|after| after.until < frozen.until)
}

/// Looks whether the apply of an approved plan may begin. When nothing is applied now, the job goes
/// back to its queue until the end of that; when an approval has become too old meanwhile, the plan
/// waits for approval again. `true` when the job is done with.
pub(crate) async fn keeps_waiting(
    cx: &Ctx,
    tx: &mut Tx,
    record: &mut Record,
    job: &Job,
) -> Result<bool, Fault> {
    let now = cx.now();
    let d = &record.deployment;
    let Some(plan) = &d.plan else { return Ok(false) };
    let decisions = tx.approvals_of(d.id).await?;
    let too_old = |x: &Decision| x.is_yes_to(plan.id) && x.is_expired(now);
    if decisions.iter().any(too_old) {
        let need = current_need(cx, tx, d).await?;
        let standing = domain::standing(&need, plan.id, &decisions, now);
        if !standing.complete {
            let detail = serde_json::json!({"plan_digest": plan.digest, "expired": true});
            let missing = still_missing(&standing).unwrap_or_default();
            let reason = format!("an approval became too old before the apply began; {missing}");
            let who = system();
            record.deployment.approval = None;
            let mut change = Change::by(cx, &who, record);
            change.go(tx, Move::Revoke, Some(reason.clone()), detail).await?;
            tx.end_job(job.id, JobState::Cancelled, Some(&reason), now).await?;
            return Ok(true);
        }
    }
    let freeze = rules(cx, tx, d).await?.freeze;
    let Some(Frozen { until, reason }) = frozen_with(&freeze, d, &decisions, now) else {
        return Ok(false);
    };
    let why = format!("nothing is applied until {until}: {reason}");
    let delay_ms = (until - now).num_milliseconds().clamp(1, LOOK_AGAIN_MS);
    tracing::info!(why, "the apply waits");
    tx.requeue_job(job.id, delay_ms, false, Some(&why)).await?;
    Ok(true)
}

/// A decision must name the current plan, whose id this gives.
fn names_current(record: &Record, plan_digest: &str) -> Result<PlanId, Fault> {
    match &record.deployment.plan {
        Some(plan) if plan.digest == plan_digest => Ok(plan.id),
        Some(plan) => Err(Fault::new(
            Code::PlanDigestMismatch,
            format!(
                "The current plan is {}; the request names {:?}. Look at the current plan and \
                 name its digest.",
                plan.digest,
                plan_digest.chars().take(80).collect::<String>()
            ),
        )),
        None => Err(no_plan()),
    }
}

/// The yes of the same account to the same plan, if there is one that counts.
fn said_before<'a>(
    decisions: &'a [Decision],
    who: &Principal,
    plan: PlanId,
    now: DateTime<Utc>,
) -> Option<&'a Decision> {
    let own = |d: &&Decision| d.by.id == who.actor.id && d.is_yes_to(plan) && !d.is_expired(now);
    decisions.iter().find(own)
}

/// A yes that does not end to count.
fn decision(
    cx: &Ctx,
    who: &Principal,
    record: &Record,
    plan_id: PlanId,
    plan_digest: &str,
    comment: Option<String>,
) -> Decision {
    Decision {
        id: ApprovalId::new(&*cx.mint),
        deployment_id: record.deployment.id,
        plan_id,
        plan_digest: plan_digest.to_owned(),
        decision: Verb::Approve,
        by: who.actor.clone(),
        roles: roles_of(who, &record.deployment),
        comment,
        at: cx.now(),
        expires_at: None,
        revoked: None,
        carried_from: None,
    }
}

fn said(
    who: &Principal,
    decision: Verb,
    plan_digest: &str,
    comment: Option<String>,
    standing: Option<&Standing>,
) -> EventBody {
    EventBody::Approval {
        decision,
        by: who.actor.clone(),
        plan_digest: plan_digest.to_owned(),
        comment,
        standing: standing.cloned(),
    }
}

/// `1 of 2 approvals; still missing: an admin (…)`.
fn still_missing(standing: &Standing) -> Option<String> {
    (!standing.complete).then(|| {
        let Standing { given, required, missing, .. } = standing;
        format!("{given} of {required} approvals; still missing: {}", missing.join(", and "))
    })
}

async fn answer(cx: &Ctx, record: Record, standing: Standing) -> Deployment {
    Deployment { approvals: Some(standing), ..get_after(cx, record).await }
}
