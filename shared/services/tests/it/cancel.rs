//! Stopping what runs: the phases, what is in flight, done and left, and what follows a kill.

use slipway_domain::cancel::{CancelPhase as P, CancelProgress};
use slipway_domain::event::{EventBody, ResourceStatus};
use slipway_domain::id::DeploymentId;
use slipway_domain::job::{Job, JobKind, Lease, Queue};
use slipway_domain::plan::Action;
use slipway_domain::port::driver::{AfterRecovery, Applied, Health, Planned, Recovered, Salvage};
use slipway_domain::recovery::{LostResource, RecoveryReport};
use slipway_domain::state::DeploymentState as S;
use slipway_services::execution::{self, Ending};
use slipway_services::gate::Seen;
use slipway_services::{cancel, deployment, event, recovery};

use crate::rig::{Rig, on_both_engines, plan_of};

on_both_engines! {
    it_goes_through_its_phases,
    a_second_request_kills_what_drains,
    force_kills_at_once,
    after_a_kill_what_is_known_is_left_and_the_deployment_ends,
    after_a_kill_what_was_lost_is_asked_about,
    a_recovery_that_is_cancelled_ends_after_it_is_known,
    who_asks_too_late_sees_everything_done,
    a_plan_that_was_faster_is_not_gone_on_with,
}

/// A deployment of three resources that is being applied.
async fn applying(rig: &Rig) -> (DeploymentId, Job, Lease) {
    let id = rig.submit("net").await;
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let mut planned = plan_of(rig.mark(id).await);
    let one = planned.changes[0].clone();
    planned.changes = ["a", "b", "c"]
        .map(|name| {
            let mut change = one.clone();
            change.address = format!("null_resource.{name}");
            change
        })
        .into();
    let ended =
        execution::plan_finished(&rig.cx, &job, &lease, planned, &Seen::default()).await.unwrap();
    let digest = ended.plan.unwrap().digest;
    deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    (id, job, lease)
}

async fn tell(rig: &Rig, lease: &Lease, id: DeploymentId, name: &str, status: ResourceStatus) {
    let event = EventBody::Resource {
        address: format!("null_resource.{name}"),
        action: Action::Create,
        status,
        elapsed_s: None,
        resource_id: None,
        id_key: None,
    };
    execution::append(&rig.cx, lease, id, &[], &[event]).await.unwrap();
}

async fn ask(rig: &Rig, id: DeploymentId, force: bool) -> CancelProgress {
    let after = deployment::cancel(&rig.cx, &rig.who, id, None, force).await.unwrap();
    after.cancel.unwrap()
}

async fn forced(rig: &Rig, job: &Job) -> bool {
    let mut tx = rig.cx.store.begin().await.unwrap();
    let beats = tx.beat_jobs(rig.worker, 60_000, &[job.id]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(beats[0].cancel_requested);
    beats[0].cancel_forced
}

/// The phases that were told.
async fn told(rig: &Rig, id: DeploymentId) -> Vec<P> {
    let events = event::page(&rig.cx, &rig.who, id, 0, 1000).await.unwrap();
    let phases = events.into_iter().filter_map(|event| match event.body {
        EventBody::CancelProgress { cancel } => Some(cancel.phase),
        _ => None,
    });
    phases.collect()
}

async fn it_goes_through_its_phases(rig: Rig) {
    let (id, job, lease) = applying(&rig).await;
    tell(&rig, &lease, id, "a", ResourceStatus::Started).await;
    tell(&rig, &lease, id, "a", ResourceStatus::Completed).await;
    tell(&rig, &lease, id, "b", ResourceStatus::Started).await;
    let asked = ask(&rig, id, false).await;
    assert_eq!((asked.phase, asked.done, asked.left), (P::Asked, 1, 1));
    assert_eq!(asked.in_flight, ["null_resource.b"]);
    // Somebody who asks again before anybody knows of it has asked once.
    assert_eq!(ask(&rig, id, false).await, asked);
    assert!(!forced(&rig, &job).await);
    for _ in 0..2 {
        cancel::draining(&rig.cx, &job, &lease).await.unwrap();
    }
    assert_eq!(rig.get(id).await.cancel.unwrap().phase, P::Draining);
    tell(&rig, &lease, id, "b", ResourceStatus::Errored).await;
    let now = rig.get(id).await.cancel.unwrap();
    assert_eq!((now.in_flight.len(), now.done, now.left), (0, 1, 2), "it is live");
    execution::ended(&rig.cx, &job, &lease, Ending::Cancelled).await.unwrap();
    let after = rig.get(id).await;
    let end = after.cancel.unwrap();
    assert_eq!((after.state, end.phase, end.done, end.left), (S::Cancelled, P::Stopped, 1, 2));
    assert_eq!(end.left_addresses, ["null_resource.b", "null_resource.c"]);
    assert_eq!(told(&rig, id).await, [P::Draining, P::Stopped]);
    rig.check_events(id).await;
}

async fn a_second_request_kills_what_drains(rig: Rig) {
    let (id, job, lease) = applying(&rig).await;
    ask(&rig, id, false).await;
    cancel::draining(&rig.cx, &job, &lease).await.unwrap();
    assert!(!forced(&rig, &job).await);
    assert!(ask(&rig, id, false).await.forced_at.is_some());
    assert!(forced(&rig, &job).await);
    let asked = rig.audited().await;
    assert_eq!(asked.iter().filter(|action| *action == "deployment.cancel").count(), 2);
    rig.check_events(id).await;
}

async fn force_kills_at_once(rig: Rig) {
    let (id, job, lease) = rig.planning("net").await;
    let asked = ask(&rig, id, true).await;
    assert!(asked.forced_at.is_some() && asked.phase == P::Asked);
    assert!(forced(&rig, &job).await);
    // A plan has nothing to lose.
    let ending = Ending::Lost { summary: "killed".into() };
    execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    assert_eq!(rig.get(id).await.state, S::Cancelled);
}

/// An apply that was killed on request, with `a` done and `b` begun, and is being found out.
async fn killed(rig: &Rig) -> (DeploymentId, Job, Lease) {
    let (id, job, lease) = applying(rig).await;
    tell(rig, &lease, id, "a", ResourceStatus::Started).await;
    tell(rig, &lease, id, "a", ResourceStatus::Completed).await;
    tell(rig, &lease, id, "b", ResourceStatus::Started).await;
    ask(rig, id, true).await;
    let ending = Ending::Lost { summary: "killed on request".into() };
    let after = execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    assert_eq!(after.state, S::Recovering, "never silently cancelled");
    let killed = after.cancel.unwrap();
    assert_eq!((killed.phase, killed.in_flight.len(), killed.left), (P::Killed, 1, 1));
    recovery::collect(&rig.cx, job.id, job.epoch, Salvage::default()).await.unwrap();
    let (job, lease, _) = rig.begin_recovery(id).await;
    (id, job, lease)
}

fn report(done: &[&str]) -> RecoveryReport {
    RecoveryReport {
        collected: true,
        done: done.iter().map(|name| format!("null_resource.{name}")).collect(),
        ..RecoveryReport::default()
    }
}

async fn rest(rig: &Rig, id: DeploymentId) -> Box<Planned> {
    Box::new(plan_of(rig.mark(id).await))
}

async fn after_a_kill_what_is_known_is_left_and_the_deployment_ends(rig: Rig) {
    let (id, job, lease) = killed(&rig).await;
    let next = AfterRecovery::Continue(rest(&rig, id).await);
    let found = Recovered { report: report(&["a", "b"]), next };
    recovery::recovered(&rig.cx, &job, &lease, found, &Seen::default()).await.unwrap();
    let after = rig.get(id).await;
    assert_eq!(after.state, S::Cancelled, "the rest is not applied");
    let cancel = after.cancel.unwrap();
    assert_eq!((cancel.phase, cancel.done, cancel.left), (P::Killed, 2, 1));
    assert_eq!(cancel.left_addresses, ["null_resource.c"]);
    assert!(cancel.in_flight.is_empty());
    assert!(after.reason.unwrap().contains("2 done, 1 left"));
    assert!(rig.jobs(id).await.iter().all(|job| !job.state.is_active()));
    rig.check_events(id).await;
}

async fn after_a_kill_what_was_lost_is_asked_about(rig: Rig) {
    let (id, job, lease) = killed(&rig).await;
    let mut report = report(&["a"]);
    report.lost.push(LostResource {
        address: "null_resource.b".into(),
        resource_id: Some("i-1".into()),
        obstacle: None,
    });
    report.imports.insert("null_resource.b".into(), "i-1".into());
    let next = AfterRecovery::Propose(rest(&rig, id).await);
    recovery::recovered(&rig.cx, &job, &lease, Recovered { report, next }, &Seen::default())
        .await
        .unwrap();
    let asks = rig.get(id).await;
    assert_eq!(asks.state, S::AwaitingApproval);
    // Whoever says yes to that wants it to go on.
    let digest = asks.plan.unwrap().digest;
    let after = deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    assert!(after.cancel.is_none() && after.cancel_requested_at.is_none());
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    assert_eq!(job.kind, JobKind::Apply);
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(!ask(&rig, id, false).await.phase.as_str().is_empty());
    assert!(!forced(&rig, &job).await, "it is asked anew, gently");
}

async fn a_recovery_that_is_cancelled_ends_after_it_is_known(rig: Rig) {
    let (id, job, lease) = rig.recovering("net").await;
    ask(&rig, id, true).await;
    assert_eq!(rig.get(id).await.state, S::Recovering);
    let next = AfterRecovery::Continue(rest(&rig, id).await);
    let found = Recovered { report: report(&[]), next };
    recovery::recovered(&rig.cx, &job, &lease, found, &Seen::default()).await.unwrap();
    let after = rig.get(id).await;
    assert_eq!((after.state, after.cancel.unwrap().phase), (S::Cancelled, P::Stopped));
    rig.check_events(id).await;
}

async fn who_asks_too_late_sees_everything_done(rig: Rig) {
    let (id, job, lease) = applying(&rig).await;
    for name in ["a", "b", "c"] {
        tell(&rig, &lease, id, name, ResourceStatus::Started).await;
        tell(&rig, &lease, id, name, ResourceStatus::Completed).await;
    }
    ask(&rig, id, false).await;
    let applied = Applied { outputs: Vec::new(), state: rig.mark(id).await };
    execution::apply_finished(&rig.cx, &job, &lease, &applied).await.unwrap();
    execution::verified(&rig.cx, &job, &lease, Health::Healthy).await.unwrap();
    let after = rig.get(id).await;
    let cancel = after.cancel.unwrap();
    assert_eq!((after.state, cancel.phase), (S::Succeeded, P::Stopped));
    assert_eq!((cancel.done, cancel.left), (3, 0));
}

async fn a_plan_that_was_faster_is_not_gone_on_with(rig: Rig) {
    let (id, job, lease) = rig.planning("net").await;
    ask(&rig, id, false).await;
    let planned = plan_of(rig.mark(id).await);
    let after =
        execution::plan_finished(&rig.cx, &job, &lease, planned, &Seen::default()).await.unwrap();
    assert_eq!((after.state, after.cancel.unwrap().phase), (S::Cancelled, P::Stopped));
    rig.check_events(id).await;
}
