//! The reaper, the sweep, and what they must leave alone.

use std::time::Duration;

use slipway_domain::job::{JobState, Queue};
use slipway_domain::log::{LogStream, NewLogLine};
use slipway_domain::state::DeploymentState as S;
use slipway_services::log::{self, Part};
use slipway_services::{deployment, event, execution, upkeep};

use crate::rig::{self, Rig, blob, on_both_engines};

on_both_engines! {
    the_reaper_closes_by_kind,
    a_log_that_was_let_go_has_an_end,
    an_upload_stays_as_long_as_the_answer_that_names_it,
}

async fn the_reaper_closes_by_kind(rig: Rig) {
    // Claimed, never begun; planning; approved and claimed; applying.
    let idle = rig.submit("a").await;
    rig.claim_for(Queue::Plan, 1).await.unwrap();
    let planning = rig.submit("b").await;
    let (job, lease) = rig.claim_for(Queue::Plan, 300).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let claimed = rig.approved("c").await;
    rig.claim_for(Queue::Apply, 1).await.unwrap();
    let applying = rig.approved("d").await;
    let (job, lease) = rig.claim_for(Queue::Apply, 600).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut closed = 0;
    while upkeep::reap(&rig.cx).await.unwrap().is_some() {
        closed += 1;
    }
    assert_eq!(closed, 4);
    for (id, state, job) in [
        (idle, S::Submitted, JobState::Queued),
        (planning, S::Submitted, JobState::Queued),
        (claimed, S::Approved, JobState::Queued),
        (applying, S::Recovering, JobState::Queued),
    ] {
        assert_eq!(rig.get(id).await.state, state);
        assert_eq!(rig.jobs(id).await.last().unwrap().state, job);
        rig.check_events(id).await;
    }
    let late = execution::save_state(&rig.cx, &job, &lease, blob(1, b"one")).await;
    assert_eq!(rig::code(late), slipway_domain::Code::LeaseLost, "a zombie writes nothing");
}

async fn a_log_that_was_let_go_has_an_end(rig: Rig) {
    let (id, job, lease) = rig.planning("net").await;
    let line = NewLogLine {
        at: rig.cx.now(),
        stream: LogStream::Stdout,
        step: "s".into(),
        text: "x".into(),
    };
    execution::append(&rig.cx, &lease, id, &[line.clone(), line], &[]).await.unwrap();
    let ending = execution::Ending::Failed { summary: "x".into(), diagnostics: Vec::new() };
    execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    let page = log::page(&rig.cx, &rig.who, id, Part::After(0), 1).await.unwrap();
    assert!(!page.complete, "one is left");
    let page = log::page(&rig.cx, &rig.who, id, Part::After(1), 1).await.unwrap();
    assert!(page.complete);
    rig.clock.advance(chrono::Duration::days(31));
    assert_eq!(upkeep::sweep(&rig.cx).await.unwrap().log_lines, 2);
    let page = log::page(&rig.cx, &rig.who, id, Part::After(0), 10).await.unwrap();
    assert!(page.items.is_empty() && page.complete, "who follows it must not wait for ever");
    let mut follow = event::follow_log(&rig.cx, &rig.who, id, 0).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(2), follow.next()).await.unwrap();
    assert_eq!(end.unwrap(), None);
}

async fn an_upload_stays_as_long_as_the_answer_that_names_it(mut rig: Rig) {
    let mut settings = (*rig.cx.settings).clone();
    settings.idempotency_ttl = chrono::Duration::hours(100);
    rig.cx.settings = std::sync::Arc::new(settings);
    let upload = async || {
        slipway_services::artifact::upload(&rig.cx, &rig.who, rig::packed(), Some("k")).await
    };
    let first = upload().await.unwrap();
    rig.clock.advance(chrono::Duration::hours(48));
    upkeep::sweep(&rig.cx).await.unwrap();
    let again = upload().await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.artifact.id, first.artifact.id);
    slipway_services::artifact::get(&rig.cx, &rig.who, first.artifact.id).await.unwrap();
    rig.clock.advance(chrono::Duration::hours(53));
    assert_eq!(upkeep::sweep(&rig.cx).await.unwrap().artifacts, 1);
    let request = deployment::Submit {
        source: Some(slipway_domain::source::Source::Archive {
            artifact_id: first.artifact.id,
            path: None,
        }),
        ..rig.request("net").await
    };
    let gone = deployment::submit(&rig.cx, &rig.who, request, None).await.unwrap_err();
    assert_eq!(gone.errors[0].pointer, "/source/artifact_id");
}

/// One row that is held up must not hold up the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reaper_passes_over_what_somebody_holds() {
    let rig = rig::postgres(8).await;
    let first = rig.submit("a").await;
    rig.claim_for(Queue::Plan, 1).await.unwrap();
    let second = rig.submit("b").await;
    rig.claim_for(Queue::Plan, 5).await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let mut holder = rig.cx.store.begin().await.unwrap();
    holder.lock_deployment(first).await.unwrap().unwrap();
    let reaped = tokio::time::timeout(Duration::from_secs(3), upkeep::reap(&rig.cx)).await;
    let reaped = reaped.expect("the reaper waits for somebody else's row").unwrap().unwrap();
    assert_eq!(rig.jobs(second).await[0].id, reaped);
    assert!(upkeep::reap(&rig.cx).await.unwrap().is_none());
    drop(holder);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(upkeep::reap(&rig.cx).await.unwrap().is_some());
}

/// Beginning a job with a state to open must not need two connections at once: as many jobs as
/// there are connections would wait for each other.
async fn one_connection_is_enough(rig: Rig) {
    let (first, job, lease) = rig.applying("net").await;
    execution::save_state(&rig.cx, &job, &lease, blob(1, b"one")).await.unwrap();
    execution::ended(&rig.cx, &job, &lease, execution::Ending::Cancelled).await.unwrap();
    assert_eq!(rig.get(first).await.state, S::Cancelled);
    let (_, job, lease) = rig.planning("net").await;
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_is_enough_on_sqlite() {
    one_connection_is_enough(rig::sqlite(1).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_is_enough_on_postgres() {
    one_connection_is_enough(rig::postgres(1).await).await;
}
