//! Tests of deployments and their reports.

use slipway_domain::access::Actor;
use slipway_domain::id::TestRunId;
use slipway_domain::test_report::{
    TestCase, TestReport, TestRun, TestRunState, TestSettings, TestStatus, Tested,
};

use super::*;

on_both_engines! {
    a_report_comes_back_as_it_was_put_in_and_is_kept_once,
    the_newest_tests_of_a_deployment_are_kept,
    where_tests_are_is_what_their_job_says,
    tests_are_not_what_a_deployment_waits_for,
}

fn run(of: &Record, job_id: JobId) -> TestRun {
    TestRun {
        id: TestRunId::new(&RandomMint),
        deployment_id: of.deployment.id,
        plan_id: None,
        job_id,
        state: TestRunState::Queued,
        settings: TestSettings { allow_apply: true, ..TestSettings::default() },
        requested_by: Actor::system("gate"),
        created_at: now(),
        ended_at: None,
        report: None,
    }
}

fn report(message: &str) -> TestReport {
    let case = TestCase::of("a", TestStatus::Fail).because(message);
    TestReport::new(Tested { cases: vec![case], ..Tested::default() }, now(), now())
}

async fn a_report_comes_back_as_it_was_put_in_and_is_kept_once(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let other = deployment(&rig.store, "db").await;
    let job_id = job(&rig.store, &record, JobKind::Test, 0).await;
    let put = run(&record, job_id);
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_test_run(&put, 20).await.unwrap();
    assert_eq!(tx.test_run_of(job_id).await.unwrap(), Some(put.clone()));
    let (first, at) = (report("it said \u{1F600} and \0"), now());
    assert!(tx.end_test_run(put.id, &first, at).await.unwrap());
    assert!(!tx.end_test_run(put.id, &report("another"), at).await.unwrap(), "the first counts");
    tx.commit().await.unwrap();

    let mut tx = rig.store.read().await.unwrap();
    let found = tx.test_runs(record.deployment.id).await.unwrap().remove(0);
    let wanted = TestRun {
        state: TestRunState::Finished,
        ended_at: Some(at),
        report: found.report.clone(),
        ..put
    };
    assert_eq!(found, wanted);
    let kept = found.report.unwrap();
    assert_eq!((kept.status, kept.counts.failed), (TestStatus::Fail, 1));
    assert!(kept.cases[0].message.as_deref().unwrap().starts_with("it said \u{1F600} and"));
    assert_eq!(tx.test_runs(record.deployment.id).await.unwrap(), [wanted]);
    assert_eq!(tx.test_runs(other.deployment.id).await.unwrap(), []);
    assert_eq!(tx.test_run_of(JobId::new(&RandomMint)).await.unwrap(), None);
}

async fn the_newest_tests_of_a_deployment_are_kept(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let other = deployment(&rig.store, "db").await;
    let mut ids = Vec::new();
    let mut tx = rig.store.begin().await.unwrap();
    let foreign = run(&other, JobId::new(&RandomMint));
    tx.insert_test_run(&foreign, 3).await.unwrap();
    for _ in 0..5 {
        let one = run(&record, JobId::new(&RandomMint));
        tx.insert_test_run(&one, 3).await.unwrap();
        ids.insert(0, one.id);
    }
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let kept = tx.test_runs(record.deployment.id).await.unwrap();
    assert_eq!(kept.iter().map(|run| run.id).collect::<Vec<_>>(), ids[..3]);
    assert_eq!(tx.test_runs(other.deployment.id).await.unwrap().len(), 1);
}

async fn where_tests_are_is_what_their_job_says(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let of = record.deployment.id;
    let job_id = job(&rig.store, &record, JobKind::Test, 0).await;
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_test_run(&run(&record, job_id), 20).await.unwrap();
    tx.commit().await.unwrap();
    let state = async || rig.store.read().await.unwrap().test_runs(of).await.unwrap()[0].state;
    assert_eq!(state().await, TestRunState::Queued);
    claim(&rig.store, Queue::Test, worker(), 60_000).await.unwrap();
    assert_eq!(state().await, TestRunState::Running);
    let mut tx = rig.store.begin().await.unwrap();
    tx.end_job(job_id, JobState::Cancelled, None, now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(state().await, TestRunState::Dropped);
}

async fn tests_are_not_what_a_deployment_waits_for(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let of = record.deployment.id;
    job(&rig.store, &record, JobKind::Test, 0).await;
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.queued_jobs(&[of]).await.unwrap(), []);
    assert_eq!(tx.queue_place(of).await.unwrap(), None);
    drop(tx);
    let plan = job(&rig.store, &record, JobKind::Plan, 0).await;
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.queued_jobs(&[of]).await.unwrap(), [(of, plan)]);
    assert_eq!(tx.queue_place(of).await.unwrap().unwrap().job_id, plan);
}
