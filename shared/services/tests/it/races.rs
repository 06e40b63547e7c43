//! Two at the same time: doors against doors, doors against workers.

use std::time::Duration;

use slipway_domain::deployment::Options as How;
use slipway_domain::event::EventBody;
use slipway_domain::fault::Code;
use slipway_domain::job::{JobKind, JobState, Queue};
use slipway_domain::log::{LogStream, NewLogLine};
use slipway_domain::plan::StateMark;
use slipway_domain::port::driver::{Applied, Health};
use slipway_domain::state::DeploymentState as S;
use slipway_services::deployment::{self, Submit};
use slipway_services::execution::{self, Ending};
use slipway_services::gate::Seen;
use slipway_services::{event, upkeep};

use crate::rig::{Rig, blob, code, on_both_engines, plan_of};

on_both_engines! {
    a_worker_waits_for_the_deployment_before_it_holds_its_job,
    approve_and_cancel_leave_one_truth,
    two_approvals_make_one_apply,
    two_applies_make_one_job,
    cancel_and_claim_leave_nothing_running,
    expiry_and_approval_leave_one_truth,
    a_plan_past_its_time_is_not_approved,
    of_two_that_supersede_one_remains,
    the_same_key_at_the_same_time_gives_one_deployment,
    a_run_that_was_superseded_says_nothing_more,
    a_lost_apply_holds_its_stack_until_a_person_decides,
    a_change_wakes_who_waits_for_it,
}

/// A door locks the deployment and then asks its job to stop. A worker that locked them the other
/// way round would deadlock with it, and one of the two would lose its work.
async fn a_worker_waits_for_the_deployment_before_it_holds_its_job(rig: Rig) {
    let line = NewLogLine {
        at: rig.cx.now(),
        stream: LogStream::Stdout,
        step: "s".into(),
        text: "x".into(),
    };
    let step = EventBody::Step { step: "s".into(), detail: None };
    for what in ["append", "save_state", "plan_finished", "apply_finished", "verified", "ended"] {
        let stack = what.replace('_', "-");
        let applied = Applied { outputs: Vec::new(), state: StateMark::default() };
        let (id, job, lease) = match what {
            "append" | "plan_finished" | "ended" => rig.planning(&stack).await,
            _ => rig.applying(&stack).await,
        };
        if what == "verified" {
            execution::apply_finished(&rig.cx, &job, &lease, &applied).await.unwrap();
        }
        let mut door = rig.cx.store.begin().await.unwrap();
        door.lock_deployment(id).await.unwrap().unwrap();
        let (cx, line, step) = (rig.cx.clone(), line.clone(), step.clone());
        let work = tokio::spawn(async move {
            match what {
                "append" => execution::append(&cx, &lease, id, &[line], &[step]).await,
                "save_state" => execution::save_state(&cx, &job, &lease, blob(1, b"one")).await,
                "plan_finished" => {
                    let plan = plan_of(StateMark::default());
                    execution::plan_finished(&cx, &job, &lease, plan, &Seen::default())
                        .await
                        .map(|_| ())
                }
                "apply_finished" => execution::apply_finished(&cx, &job, &lease, &applied).await,
                "verified" => {
                    execution::verified(&cx, &job, &lease, Health::Healthy).await.map(|_| ())
                }
                _ => {
                    let ending = Ending::Retry { error: "x".into(), delay_ms: 0 };
                    execution::ended(&cx, &job, &lease, ending).await.map(|_| ())
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(150)).await;
        door.cancel_jobs(id, rig.cx.now()).await.unwrap_or_else(|e| panic!("{what}: door: {e:?}"));
        door.commit().await.unwrap();
        work.await.unwrap().unwrap_or_else(|e| panic!("{what}: worker: {e:?} {}", e.causes()));
    }
}

async fn approve_and_cancel_leave_one_truth(rig: Rig) {
    for round in 0..8 {
        let (id, digest) = rig.planned(&format!("s{round}")).await;
        let (approved, cancelled, rejected) = tokio::join!(
            deployment::approve(&rig.cx, &rig.who, id, &digest, None),
            deployment::cancel(&rig.cx, &rig.who, id, None, false),
            deployment::reject(&rig.cx, &rig.who, id, &digest, None),
        );
        let after = rig.get(id).await;
        // Cancelling is always possible, before or after; unless the rejection was first.
        assert_eq!(after.state, S::Cancelled, "{approved:?} {cancelled:?} {rejected:?}");
        assert!(cancelled.is_ok() != rejected.is_ok());
        let active = rig.jobs(id).await.iter().any(|job| job.state.is_active());
        assert!(!active, "an apply of a cancelled deployment is queued");
        rig.check_events(id).await;
    }
    assert!(rig.claim(Queue::Apply).await.is_none());
}

async fn two_approvals_make_one_apply(rig: Rig) {
    let (id, digest) = rig.planned("net").await;
    let both = futures::future::join_all(
        (0..4).map(|_| deployment::approve(&rig.cx, &rig.who, id, &digest, None)),
    )
    .await;
    assert_eq!(both.iter().filter(|r| r.is_ok()).count(), 1, "{both:?}");
    for refused in both.into_iter().filter(Result::is_err) {
        assert_eq!(code(refused), Code::IllegalTransition);
    }
    let applies = rig.jobs(id).await.into_iter().filter(|job| job.kind == JobKind::Apply);
    assert_eq!(applies.count(), 1);
    rig.check_events(id).await;
}

async fn two_applies_make_one_job(rig: Rig) {
    let how = How { auto_apply: false, ..How::default() };
    let (id, digest) = rig.planned_with("net", how).await;
    deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    let all =
        futures::future::join_all((0..4).map(|_| deployment::apply(&rig.cx, &rig.who, id))).await;
    assert_eq!(all.iter().filter(|r| r.is_ok()).count(), 1, "{all:?}");
    let applies = rig.jobs(id).await.into_iter().filter(|job| job.kind == JobKind::Apply);
    assert_eq!(applies.count(), 1);
}

async fn cancel_and_claim_leave_nothing_running(rig: Rig) {
    for round in 0..8 {
        let id = rig.approved(&format!("s{round}")).await;
        let worker = async {
            let Some((job, lease)) = rig.claim(Queue::Apply).await else { return };
            let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
            if !matches!(begun, execution::Begun::Nothing) {
                // The worker hears of it, and its tool has stopped.
                let asked = async {
                    loop {
                        let mut tx = rig.cx.store.read().await.unwrap();
                        if tx.cancel_requested(job.id).await.unwrap() {
                            return;
                        }
                        drop(tx);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap();
                execution::ended(&rig.cx, &job, &lease, Ending::Cancelled).await.unwrap();
            }
        };
        let (cancelled, ()) =
            tokio::join!(deployment::cancel(&rig.cx, &rig.who, id, None, false), worker);
        cancelled.unwrap();
        assert_eq!(rig.get(id).await.state, S::Cancelled);
        assert!(rig.jobs(id).await.iter().all(|job| !job.state.is_active()));
        rig.check_events(id).await;
    }
}

async fn expiry_and_approval_leave_one_truth(rig: Rig) {
    for round in 0..6 {
        let how = How { expires_in_s: 60, ..How::default() };
        let (id, digest) = rig.planned_with(&format!("s{round}"), how).await;
        rig.clock.advance(chrono::Duration::seconds(61));
        let (approved, expired) = tokio::join!(
            deployment::approve(&rig.cx, &rig.who, id, &digest, None),
            upkeep::expire(&rig.cx),
        );
        assert_eq!(code(approved), Code::IllegalTransition);
        expired.unwrap();
        assert_eq!(rig.get(id).await.state, S::Expired);
        assert!(rig.jobs(id).await.iter().all(|job| !job.state.is_active()));
        rig.check_events(id).await;
    }
}

async fn a_plan_past_its_time_is_not_approved(rig: Rig) {
    let how = How { expires_in_s: 60, auto_apply: false, ..How::default() };
    let (late, digest) = rig.planned_with("late", how.clone()).await;
    let (in_time, other) = rig.planned_with("in-time", how).await;
    deployment::approve(&rig.cx, &rig.who, in_time, &other, None).await.unwrap();
    rig.clock.advance(chrono::Duration::seconds(60));
    let approved = deployment::approve(&rig.cx, &rig.who, late, &digest, None).await;
    assert_eq!(code(approved), Code::IllegalTransition);
    assert_eq!(code(deployment::apply(&rig.cx, &rig.who, in_time).await), Code::IllegalTransition);
    assert_eq!(upkeep::expire(&rig.cx).await.unwrap().len(), 2);
}

async fn of_two_that_supersede_one_remains(rig: Rig) {
    rig.submit("net").await;
    let how = How { supersede: true, ..How::default() };
    let mut requests = Vec::new();
    for _ in 0..4 {
        requests.push(Submit { options: how.clone(), ..rig.request("net").await });
    }
    let all = requests.into_iter().map(|r| deployment::submit(&rig.cx, &rig.who, r, None));
    let all = futures::future::join_all(all).await;
    let mut alive = 0;
    for accepted in all {
        let id = accepted.unwrap().deployment.id;
        rig.check_events(id).await;
        alive += usize::from(rig.get(id).await.state == S::Submitted);
    }
    assert_eq!(alive, 1, "all but the last are superseded");
}

async fn the_same_key_at_the_same_time_gives_one_deployment(rig: Rig) {
    let request = rig.request("net").await;
    let all = (0..6).map(|_| deployment::submit(&rig.cx, &rig.who, request.clone(), Some("k1")));
    let all = futures::future::join_all(all).await;
    let ids: std::collections::BTreeSet<_> =
        all.iter().map(|a| a.as_ref().unwrap().deployment.id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(all.iter().filter(|a| !a.as_ref().unwrap().replayed).count(), 1);
    let mut other = request.clone();
    other.variables.insert("region".into(), "us".into());
    let reused = deployment::submit(&rig.cx, &rig.who, other.clone(), Some("k1")).await;
    assert_eq!(code(reused), Code::IdempotencyKeyReused);
    // Another caller's key is another key.
    let mut somebody = rig.who.clone();
    somebody.actor.id = "somebody".into();
    assert!(!deployment::submit(&rig.cx, &somebody, other, Some("k1")).await.unwrap().replayed);
    // And past its time it is forgotten.
    rig.clock.advance(chrono::Duration::hours(25));
    assert!(!deployment::submit(&rig.cx, &rig.who, request, Some("k1")).await.unwrap().replayed);
}

async fn a_run_that_was_superseded_says_nothing_more(rig: Rig) {
    let (old, job, lease) = rig.planning("net").await;
    rig.submit_with("net", How { supersede: true, ..How::default() }).await;
    assert_eq!(rig.get(old).await.state, S::Superseded);
    let step = EventBody::Step { step: "late".into(), detail: None };
    execution::append(&rig.cx, &lease, old, &[], &[step]).await.unwrap();
    let events = event::page(&rig.cx, &rig.who, old, 0, 100).await.unwrap();
    let last = &events.last().unwrap().body;
    assert!(matches!(last, EventBody::StateChanged { to: S::Superseded, .. }), "{last:?}");
    execution::plan_finished(
        &rig.cx,
        &job,
        &lease,
        plan_of(StateMark::default()),
        &Seen::default(),
    )
    .await
    .unwrap();
    assert_eq!(rig.get(old).await.state, S::Superseded);
    assert_eq!(rig.jobs(old).await[0].state, JobState::Cancelled);
}

async fn a_lost_apply_holds_its_stack_until_a_person_decides(rig: Rig) {
    let (lost, job, lease) = rig.applying("net").await;
    let waits = rig.approved("net").await;
    let elsewhere = rig.approved("db").await;
    let ending = Ending::Lost { summary: "gone".into() };
    execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    assert_eq!(rig.get(lost).await.state, S::Recovering);
    // Its recovery and the other stack's apply, and not that of its own stack.
    for _ in 0..2 {
        let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
        assert_ne!(job.deployment_id, waits, "nobody knows what is there");
        if job.deployment_id == elsewhere {
            assert_eq!(job.kind, JobKind::Apply, "another stack is not concerned");
            continue;
        }
        assert_eq!((job.deployment_id, job.kind), (lost, JobKind::Recover));
        let ending = Ending::Failed { summary: "it cannot be seen".into(), diagnostics: vec![] };
        execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    }
    assert_eq!(rig.get(lost).await.state, S::NeedsAttention);
    assert!(rig.claim(Queue::Apply).await.is_none(), "nobody knows what is there");
    let waiting = serde_json::to_value(rig.get(waits).await.waiting).unwrap();
    assert_eq!(waiting["held_by"], lost.to_string(), "{waiting}");
    deployment::cancel(&rig.cx, &rig.who, lost, None, false).await.unwrap();
    assert_eq!(rig.claim(Queue::Apply).await.unwrap().0.deployment_id, waits);
}

async fn a_change_wakes_who_waits_for_it(rig: Rig) {
    let (id, digest) = rig.planned("net").await;
    let mut follow = event::follow(&rig.cx, &rig.who, id, 0, false).await.unwrap();
    let began = std::time::Instant::now();
    let rejecting = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        deployment::reject(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    };
    let following = async {
        let mut seqs = Vec::new();
        while let Some(event) = follow.next().await.unwrap() {
            seqs.push(event.seq);
        }
        seqs
    };
    let waiting =
        event::wait(&rig.cx, &rig.who, id, Duration::from_secs(20), |d| d.state.is_terminal());
    let ((), seqs, (ended, done)) =
        tokio::join!(rejecting, following, async { waiting.await.unwrap() });
    assert!(done && ended.state == S::Cancelled);
    assert_eq!(seqs, (1..=i64::try_from(seqs.len()).unwrap()).collect::<Vec<_>>());
    assert!(began.elapsed() < Duration::from_secs(4), "woken, not polled: {:?}", began.elapsed());
}
