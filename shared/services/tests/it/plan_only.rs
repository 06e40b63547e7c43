//! Deployments that only plan: judged and reported, never applied, and out of date in time.

use slipway_domain::Code;
use slipway_domain::deployment::Options as How;
use slipway_domain::event::EventBody;
use slipway_domain::id::DeploymentId;
use slipway_domain::job::Queue;
use slipway_domain::port::driver::Planned;
use slipway_domain::state::DeploymentState as S;
use slipway_services::execution;
use slipway_services::gate::{self, Seen};
use slipway_services::{deployment, event, upkeep};

use crate::rig::{Rig, blob, code, on_both_engines, plan_of};

on_both_engines! {
    a_plan_that_is_never_applied_is_judged_and_ends,
    one_that_finds_nothing_to_do_is_not_what_the_stack_runs,
    it_takes_nobodys_place,
    a_plan_is_marked_once_when_the_state_moves_on,
}

fn only_plan() -> How {
    How { plan_only: true, ..How::default() }
}

async fn a_plan_that_is_never_applied_is_judged_and_ends(rig: Rig) {
    let (id, digest) = rig.planned_with("net", only_plan()).await;
    let ended = rig.get(id).await;
    assert_eq!(ended.state, S::Succeeded);
    assert_eq!(ended.reason.as_deref(), Some("only planned: it would need an approval"));
    assert!(ended.ended_at.is_some() && ended.approval.is_none() && ended.waiting.is_none());
    assert!(ended.plan.is_some());
    let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
    assert!(report.summary.starts_with("Would wait for approval"), "{}", report.summary);
    assert_eq!(
        code(deployment::approve(&rig.cx, &rig.who, id, &digest, None).await),
        Code::IllegalTransition
    );
    assert_eq!(code(deployment::apply(&rig.cx, &rig.who, id).await), Code::IllegalTransition);
    assert!(rig.claim(Queue::Apply).await.is_none());
    let stack = rig.cx.store.read().await.unwrap().stack(ended.stack_id).await.unwrap().unwrap();
    assert_eq!(stack.stack.current_deployment, None);
    rig.check_events(id).await;
}

async fn one_that_finds_nothing_to_do_is_not_what_the_stack_runs(rig: Rig) {
    let id = rig.submit_with("net", only_plan()).await;
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let nothing = Planned { no_changes: true, changes: vec![], ..plan_of(rig.mark(id).await) };
    let ended =
        execution::plan_finished(&rig.cx, &job, &lease, nothing, &Seen::default()).await.unwrap();
    assert_eq!(ended.state, S::NoChanges);
    let stack = rig.cx.store.read().await.unwrap().stack(ended.stack_id).await.unwrap().unwrap();
    assert_eq!(stack.stack.current_deployment, None);
}

async fn it_takes_nobodys_place(rig: Rig) {
    let mut request = rig.request("net").await;
    request.options = How { supersede: true, ..only_plan() };
    let refused = deployment::submit(&rig.cx, &rig.who, request, None).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.errors[0].pointer.as_str()),
        (Code::InvalidInput, "/options/plan_only")
    );
}

async fn stale_events(rig: &Rig, id: DeploymentId) -> usize {
    let events = event::page(&rig.cx, &rig.who, id, 0, 1000).await.unwrap();
    events.iter().filter(|event| matches!(event.body, EventBody::PlanStale { .. })).count()
}

async fn a_plan_is_marked_once_when_the_state_moves_on(rig: Rig) {
    let (id, _) = rig.planned_with("net", only_plan()).await;
    let (other, _) = rig.planned_with("db", only_plan()).await;
    assert_eq!(upkeep::mark_stale(&rig.cx).await.unwrap(), []);
    let (_, job, lease) = rig.applying("net").await;
    execution::save_state(&rig.cx, &job, &lease, blob(3, b"{}")).await.unwrap();
    let rounds = (0..3).map(|_| {
        let cx = rig.cx.clone();
        tokio::spawn(async move { upkeep::mark_stale(&cx).await })
    });
    let mut marked = Vec::new();
    for one in rounds.collect::<Vec<_>>() {
        marked.extend(one.await.unwrap().unwrap());
    }
    assert_eq!(marked, [id]);
    execution::save_state(&rig.cx, &job, &lease, blob(4, b"{ }")).await.unwrap();
    assert_eq!(upkeep::mark_stale(&rig.cx).await.unwrap(), [], "once");
    let stale = rig.get(id).await.stale.unwrap();
    assert_eq!((stale.planned_serial, stale.serial), (0, 3));
    assert_eq!((stale_events(&rig, id).await, stale_events(&rig, other).await), (1, 0));
    assert_eq!(rig.get(other).await.stale, None);
    let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
    assert_eq!(report.stale, Some(stale));
    assert!(report.next_steps[0].contains("from serial 0 to 3"), "{:?}", report.next_steps);
    assert!(report.to_page().contains("**Out of date**"));
    assert!(rig.audited().await.contains(&"deployment.plan_stale".to_owned()));
    rig.check_events(id).await;
}
