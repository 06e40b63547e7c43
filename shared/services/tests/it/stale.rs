//! Plans that the state has overtaken: what becomes of their approvals.

use chrono::Duration;
use slipway_domain::deployment::{Deployment, Options as How};
use slipway_domain::event::EventBody;
use slipway_domain::fault::Code;
use slipway_domain::id::DeploymentId;
use slipway_domain::job::{Job, JobKind, JobState, Lease, Queue};
use slipway_domain::plan::StateMark;
use slipway_domain::port::driver::{Equality, PlanInput, Planned};
use slipway_domain::state::DeploymentState as S;
use slipway_services::execution::{self, Begun, Ending};
use slipway_services::gate::Seen;
use slipway_services::{deployment, event, plan};

use crate::rig::{Rig, blob, code, on_both_engines, plan_of};

on_both_engines! {
    an_approval_goes_on_to_an_equal_plan,
    an_apply_that_waited_for_the_word_goes_on_by_itself,
    what_differs_is_asked_and_shown,
    what_the_tool_finds_stale_is_compared_too,
    an_approval_that_is_too_old_is_not_carried,
    an_approval_is_not_carried_for_ever,
    what_nobody_compared_is_not_carried,
    a_plan_that_nobody_approved_is_compared_with_nothing,
    a_plan_that_is_handed_back_is_compared_when_it_is_made_again,
    what_begins_anew_begins_without_an_approval,
}

/// Somebody else writes the state of the deployment's stack.
async fn overtake(rig: &Rig, of: DeploymentId, serial: i64) {
    let stack = rig.get(of).await.stack_id;
    let sealed = {
        let id = slipway_domain::id::ArtifactId::new(&*rig.cx.mint);
        let kind = slipway_domain::artifact::ArtifactKind::State;
        let content = blob(serial, b"{}").content;
        rig.cx.store.seal_artifact(id, kind, &content, rig.cx.now()).await.unwrap()
    };
    let mut tx = rig.cx.store.begin().await.unwrap();
    tx.lock_stack(stack).await.unwrap().unwrap();
    tx.insert_artifact(&sealed).await.unwrap();
    let version = slipway_store::state::NewStateVersion {
        stack_id: stack,
        mark: StateMark { lineage: "line".into(), serial },
        resource_count: 1,
        artifact: sealed.artifact.id,
        origin: slipway_domain::state_version::StateOrigin::Backend,
        deployment_id: None,
        epoch: None,
        written_by: Some(rig.who.actor.clone()),
        restored_from: None,
    };
    tx.add_state_version(&version, rig.cx.now()).await.unwrap();
    tx.commit().await.unwrap();
}

/// Has the apply that is queued find that its plan is stale, and begins the new plan.
async fn replanning(rig: &Rig, id: DeploymentId) -> (Job, Lease, Box<PlanInput>) {
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(matches!(begun, Begun::Nothing), "a stale plan is never applied: {begun:?}");
    let after = rig.get(id).await;
    assert_eq!((after.state, after.approval, after.plan), (S::Submitted, None, None));
    begin_plan(rig, id).await
}

async fn begin_plan(rig: &Rig, id: DeploymentId) -> (Job, Lease, Box<PlanInput>) {
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    assert_eq!(job.deployment_id, id);
    match execution::begin(&rig.cx, &job, &lease).await.unwrap() {
        Begun::Plan { input, .. } => (job, lease, input),
        other => panic!("{other:?}"),
    }
}

async fn finish(
    rig: &Rig,
    id: DeploymentId,
    (job, lease): (&Job, &Lease),
    equality: Option<Equality>,
) -> Deployment {
    let planned = Planned { equality, ..plan_of(rig.mark(id).await) };
    execution::plan_finished(&rig.cx, job, lease, planned, &Seen::default()).await.unwrap()
}

fn different() -> Equality {
    Equality::Different(vec!["a.b: is another".to_owned(), "a.c: is gone".to_owned()])
}

fn active_applies(jobs: &[Job]) -> usize {
    jobs.iter().filter(|job| job.kind == JobKind::Apply && job.state.is_active()).count()
}

async fn an_approval_goes_on_to_an_equal_plan(rig: Rig) {
    let (id, first) = rig.planned("net").await;
    deployment::approve(&rig.cx, &rig.who, id, &first, Some("fine".into())).await.unwrap();
    let said = rig.get(id).await.approval.unwrap();
    overtake(&rig, id, 1).await;
    let (job, lease, input) = replanning(&rig, id).await;
    let approved = input.approved.unwrap();
    assert_eq!(approved.binding.digest(), first);
    assert_eq!(approved.variables_digest, approved.binding.variables, "they are the same");
    assert_eq!(approved.plan_file, plan_of(StateMark::default()).plan_file);
    let after = finish(&rig, id, (&job, &lease), Some(Equality::Equal)).await;
    assert_eq!(after.state, S::Approved);
    let (plan, carried) = (after.plan.unwrap(), after.approval.unwrap());
    assert_ne!(plan.digest, first);
    assert_eq!(carried, said.carried_to(&plan.digest));
    assert_eq!((carried.seen(), carried.carries), (first.as_str(), 1));
    assert_eq!(after.expires_at, Some(carried.holds_until(&after.options)));
    assert!(after.reason.unwrap().contains("is equal to the one"));
    assert!(plan::get(&rig.cx, &rig.who, id).await.unwrap().difference.is_empty());
    let approvals = rig.audited().await;
    assert_eq!(approvals.iter().filter(|action| *action == "deployment.approve").count(), 2);
    // Again: it is compared with the plan before it, and says what was seen.
    overtake(&rig, id, 2).await;
    let (job, lease, input) = replanning(&rig, id).await;
    assert_eq!(input.approved.unwrap().binding.digest(), plan.digest);
    let after = finish(&rig, id, (&job, &lease), Some(Equality::Equal)).await;
    let carried = after.approval.unwrap();
    assert_eq!((carried.seen(), carried.carries), (first.as_str(), 2));
    // And the new plan is applied.
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(matches!(begun, Begun::Apply { .. }), "{begun:?}");
    rig.check_events(id).await;
}

async fn an_apply_that_waited_for_the_word_goes_on_by_itself(rig: Rig) {
    let how = How { auto_apply: false, ..How::default() };
    let (id, digest) = rig.planned_with("net", how).await;
    deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    overtake(&rig, id, 1).await;
    deployment::apply(&rig.cx, &rig.who, id).await.unwrap();
    let (job, lease, _) = replanning(&rig, id).await;
    let after = finish(&rig, id, (&job, &lease), Some(Equality::Equal)).await;
    assert_eq!(after.state, S::Approved);
    assert_eq!(active_applies(&rig.jobs(id).await), 1, "the word was given");
}

async fn what_differs_is_asked_and_shown(rig: Rig) {
    let id = rig.approved("net").await;
    overtake(&rig, id, 1).await;
    let (job, lease, _) = replanning(&rig, id).await;
    let after = finish(&rig, id, (&job, &lease), Some(different())).await;
    assert_eq!((after.state, after.approval), (S::AwaitingApproval, None));
    let reason = after.reason.unwrap();
    assert!(reason.ends_with("a.b: is another; and 1 more"), "{reason}");
    let plan = plan::get(&rig.cx, &rig.who, id).await.unwrap();
    assert_eq!(plan.difference, ["a.b: is another", "a.c: is gone"]);
    assert!(plan.to_text().contains("a.c: is gone"));
    assert_eq!(active_applies(&rig.jobs(id).await), 0);
    // Nothing of the old approval is left: not even for a plan that would be equal.
    overtake(&rig, id, 2).await;
    let refused = deployment::approve(&rig.cx, &rig.who, id, &plan.digest, None).await;
    assert_eq!(code(refused), Code::PlanStale);
    let (job, lease, input) = begin_plan(&rig, id).await;
    assert!(input.approved.is_none());
    let after = finish(&rig, id, (&job, &lease), Some(Equality::Equal)).await;
    assert_eq!(after.state, S::AwaitingApproval);
    rig.check_events(id).await;
}

async fn what_the_tool_finds_stale_is_compared_too(rig: Rig) {
    let (id, job, lease) = rig.applying("net").await;
    let ending = Ending::Stale { summary: "the saved plan is stale".into() };
    let after = execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    assert_eq!((after.state, after.approval), (S::Submitted, None));
    let (job, lease, input) = begin_plan(&rig, id).await;
    assert!(input.approved.is_some());
    let after = finish(&rig, id, (&job, &lease), Some(Equality::Equal)).await;
    assert_eq!(after.state, S::Approved);
    assert_eq!(active_applies(&rig.jobs(id).await), 1);
}

async fn an_approval_that_is_too_old_is_not_carried(rig: Rig) {
    let how = How { expires_in_s: 600, ..How::default() };
    // Too old when the comparison would begin, and when it ends.
    for wait_before in [true, false] {
        let stack = if wait_before { "net" } else { "db" };
        let (id, digest) = rig.planned_with(stack, how.clone()).await;
        deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
        overtake(&rig, id, 1).await;
        if wait_before {
            rig.clock.advance(Duration::seconds(600));
        }
        let (job, lease, input) = replanning(&rig, id).await;
        assert_eq!(input.approved.is_none(), wait_before);
        rig.clock.advance(Duration::seconds(600));
        let after = finish(&rig, id, (&job, &lease), Some(Equality::Equal)).await;
        assert_eq!(after.state, S::AwaitingApproval);
        let plan = plan::get(&rig.cx, &rig.who, id).await.unwrap();
        assert!(plan.difference[0].contains("older than `expires_in_s`"), "{plan:?}");
    }
}

async fn an_approval_is_not_carried_for_ever(rig: Rig) {
    let id = rig.approved("net").await;
    for serial in 1.. {
        assert!(serial < 20, "it is carried for ever");
        overtake(&rig, id, serial).await;
        let (job, lease, _) = replanning(&rig, id).await;
        let after = finish(&rig, id, (&job, &lease), Some(Equality::Equal)).await;
        if after.state == S::AwaitingApproval {
            assert!(after.reason.unwrap().contains("carried on 10 times"));
            assert_eq!(serial, 11);
            break;
        }
    }
}

async fn what_nobody_compared_is_not_carried(rig: Rig) {
    let id = rig.approved("net").await;
    overtake(&rig, id, 1).await;
    let (job, lease, _) = replanning(&rig, id).await;
    let after = finish(&rig, id, (&job, &lease), None).await;
    assert_eq!(after.state, S::AwaitingApproval);
    assert!(after.reason.unwrap().contains("was not compared"));
}

async fn a_plan_that_nobody_approved_is_compared_with_nothing(rig: Rig) {
    let (id, digest) = rig.planned("net").await;
    overtake(&rig, id, 1).await;
    let refused = deployment::approve(&rig.cx, &rig.who, id, &digest, None).await;
    assert_eq!(code(refused), Code::PlanStale);
    let (job, lease, input) = begin_plan(&rig, id).await;
    assert!(input.approved.is_none());
    let after = finish(&rig, id, (&job, &lease), Some(Equality::Equal)).await;
    assert_eq!((after.state, after.reason), (S::AwaitingApproval, None));
}

async fn a_plan_that_is_handed_back_is_compared_when_it_is_made_again(rig: Rig) {
    let id = rig.approved("net").await;
    overtake(&rig, id, 1).await;
    let (job, lease, _) = replanning(&rig, id).await;
    execution::ended(&rig.cx, &job, &lease, Ending::HandBack).await.unwrap();
    let (job, lease, input) = begin_plan(&rig, id).await;
    assert!(input.approved.is_some());
    finish(&rig, id, (&job, &lease), Some(Equality::Equal)).await;
    let events = event::page(&rig.cx, &rig.who, id, 0, 1000).await.unwrap();
    let approvals = events
        .iter()
        .filter(|event| matches!(event.body, EventBody::StateChanged { to: S::Approved, .. }));
    assert_eq!(approvals.count(), 2);
    rig.check_events(id).await;
}

async fn what_begins_anew_begins_without_an_approval(rig: Rig) {
    let id = rig.approved("net").await;
    overtake(&rig, id, 1).await;
    let (mut job, mut lease, _) = replanning(&rig, id).await;
    loop {
        let ending = Ending::Retry { error: "429".into(), delay_ms: 0 };
        execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
        if rig.get(id).await.state == S::Failed {
            break;
        }
        (job, lease, _) = begin_plan(&rig, id).await;
    }
    let dead = rig.jobs(id).await.into_iter().find(|job| job.state == JobState::Dead).unwrap();
    slipway_services::job::requeue(&rig.cx, &rig.who, dead.id).await.unwrap();
    let (.., input) = begin_plan(&rig, id).await;
    assert!(input.approved.is_none());
}
