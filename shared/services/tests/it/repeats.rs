//! A commit whose answer was lost is repeated by the worker: the second time must not undo, double
//! or misread the first.

use slipway_domain::job::{JobState, Queue};
use slipway_domain::plan::StateMark;
use slipway_domain::port::driver::Applied;
use slipway_domain::state::DeploymentState as S;
use slipway_services::execution::{self, Begun};
use slipway_services::gate::Seen;

use crate::rig::{Rig, blob, code, on_both_engines, plan_of};

on_both_engines! {
    a_begin_that_failed_after_its_commit_is_repeated,
    an_apply_that_is_recorded_twice_is_recorded_once,
    a_state_that_is_saved_twice_is_saved_once,
    a_plan_made_from_an_older_state_cannot_say_that_there_is_nothing_to_do,
}

async fn a_begin_that_failed_after_its_commit_is_repeated(rig: Rig) {
    let (id, job, lease) = rig.planning("net").await;
    let again = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(matches!(again, Begun::Plan { .. }), "{again:?}");
    assert_eq!(rig.get(id).await.state, S::Planning);
    execution::plan_finished(
        &rig.cx,
        &job,
        &lease,
        plan_of(StateMark::default()),
        &Seen::default(),
    )
    .await
    .unwrap();
    rig.check_events(id).await;

    let (id, job, lease) = rig.applying("db").await;
    let again = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(matches!(again, Begun::Apply { .. }), "{again:?}");
    assert_eq!(rig.get(id).await.state, S::Applying);
    assert_eq!(rig.jobs(id).await[1].state, JobState::Running);
    rig.check_events(id).await;
}

async fn an_apply_that_is_recorded_twice_is_recorded_once(rig: Rig) {
    let (id, job, lease) = rig.applying("net").await;
    let applied = Applied { outputs: Vec::new(), state: StateMark::default() };
    for _ in 0..2 {
        execution::apply_finished(&rig.cx, &job, &lease, &applied).await.unwrap();
    }
    assert_eq!(rig.get(id).await.state, S::Verifying);
    rig.check_events(id).await;
}

async fn a_state_that_is_saved_twice_is_saved_once(rig: Rig) {
    let (id, job, lease) = rig.applying("net").await;
    for _ in 0..2 {
        execution::save_state(&rig.cx, &job, &lease, blob(3, b"three")).await.unwrap();
    }
    assert_eq!(rig.mark(id).await.serial, 3);
    let other = execution::save_state(&rig.cx, &job, &lease, blob(3, b"another three")).await;
    assert_eq!(code(other), slipway_domain::Code::Conflict);
    execution::save_state(&rig.cx, &job, &lease, blob(4, b"four")).await.unwrap();
}

async fn a_plan_made_from_an_older_state_cannot_say_that_there_is_nothing_to_do(rig: Rig) {
    let (_, apply, apply_lease) = rig.applying("net").await;
    execution::save_state(&rig.cx, &apply, &apply_lease, blob(1, b"one")).await.unwrap();
    let (id, job, lease) = rig.planning("net").await;
    let seen = rig.mark(id).await;
    execution::save_state(&rig.cx, &apply, &apply_lease, blob(2, b"two")).await.unwrap();
    let nothing = |state| {
        let mut plan = plan_of(state);
        plan.no_changes = true;
        plan.changes.clear();
        plan
    };
    execution::plan_finished(&rig.cx, &job, &lease, nothing(seen), &Seen::default()).await.unwrap();
    let after = rig.get(id).await;
    assert_eq!(after.state, S::Submitted, "it is planned again: {:?}", after.reason);
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let now = rig.mark(id).await;
    execution::plan_finished(&rig.cx, &job, &lease, nothing(now), &Seen::default()).await.unwrap();
    assert_eq!(rig.get(id).await.state, S::NoChanges);
    rig.check_events(id).await;
}
