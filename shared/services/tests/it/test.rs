//! Tests of deployments: jobs beside a deployment's way that move nothing and leave a report.

use slipway_domain::Code;
use slipway_domain::access::Scope;
use slipway_domain::cancel::CancelPhase;
use slipway_domain::event::EventBody;
use slipway_domain::job::{JobState, Queue};
use slipway_domain::state::DeploymentState as S;
use slipway_domain::test_report::{
    TestCase, TestRun, TestRunState, TestSettings, TestStatus, Tested,
};
use slipway_services::execution::{self, Begun, Ending};
use slipway_services::{cancel, deployment, event, test, upkeep};

use crate::rig::{Rig, SOURCE, code, on_both_engines};

on_both_engines! {
    tests_are_run_beside_the_deployments_way,
    who_asks_for_what_is_under_way_gets_just_that,
    some_deployments_are_not_tested_and_not_by_everybody,
    lost_tests_run_again_and_leave_a_report_in_the_end,
    lost_tests_that_may_have_made_things_do_not_run_again,
    tests_of_a_deployment_that_ended_are_dropped,
    tests_do_not_hold_up_and_do_not_stop_what_they_are_beside_of,
    a_report_is_kept_once,
}

fn found(status: TestStatus) -> Tested {
    Tested { cases: vec![TestCase::of("a", status)], ..Tested::default() }
}

fn real() -> TestSettings {
    TestSettings { allow_apply: true, ..TestSettings::default() }
}

impl Rig {
    async fn newest(&self, id: slipway_domain::id::DeploymentId) -> TestRun {
        test::list(&self.cx, &self.who, id).await.unwrap().items.remove(0)
    }

    async fn told(&self, id: slipway_domain::id::DeploymentId) -> Vec<(TestStatus, String)> {
        let events = event::page(&self.cx, &self.who, id, 0, 1000).await.unwrap();
        let tests = events.into_iter().filter_map(|event| match event.body {
            EventBody::Tests { status, summary, .. } => Some((status, summary)),
            _ => None,
        });
        tests.collect()
    }
}

async fn tests_are_run_beside_the_deployments_way(rig: Rig) {
    let (id, _) = rig.planned("net").await;
    let asked = TestSettings { time_limit_s: 20, ..TestSettings::default() };
    let run = test::request_tests(&rig.cx, &rig.who, id, asked.clone()).await.unwrap();
    assert_eq!((run.state, &run.requested_by), (TestRunState::Queued, &rig.who.actor));
    assert_eq!(run.plan_id, rig.get(id).await.plan.map(|plan| plan.id));
    assert_eq!(rig.newest(id).await, run);
    assert!(rig.audited().await.contains(&"deployment.test".to_owned()));

    assert!(rig.claim(Queue::Plan).await.is_none());
    let (job, lease) = rig.claim(Queue::Test).await.unwrap();
    assert_eq!((job.id, job.soft_limit_s, job.hard_limit_s), (run.job_id, 20, 80));
    assert_eq!(job.concurrency_key, None);
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let Begun::Test { input, redactor } = begun else { panic!("{begun:?}") };
    assert_eq!(input.settings, asked);
    assert_eq!(input.source.file("main.tf").unwrap(), SOURCE.as_bytes());
    assert_eq!(input.variables["password"], "hunter2");
    assert_eq!(redactor.text("hunter2"), "***");
    assert_eq!(rig.newest(id).await.state, TestRunState::Running);
    assert_eq!(rig.get(id).await.state, S::AwaitingApproval);

    let after = test::tests_finished(&rig.cx, &job, &lease, found(TestStatus::Fail)).await.unwrap();
    assert_eq!(after.state, S::AwaitingApproval, "it moves nothing");
    let run = rig.newest(id).await;
    let report = run.report.unwrap();
    assert_eq!((run.state, report.status), (TestRunState::Finished, TestStatus::Fail));
    let told = [(TestStatus::Fail, "0 passed, 1 failed, 0 errored, 0 skipped".to_owned())];
    assert_eq!(rig.told(id).await, told);
    let ended = rig.jobs(id).await.into_iter().find(|j| j.id == job.id).unwrap();
    assert_eq!(ended.state, JobState::Succeeded, "tests that fail are no failure of the job");
    rig.check_events(id).await;
}

async fn who_asks_for_what_is_under_way_gets_just_that(rig: Rig) {
    let (id, job, lease) = rig.testing("net").await;
    let ask = async |settings| test::request_tests(&rig.cx, &rig.who, id, settings).await;
    assert_eq!(ask(TestSettings::default()).await.unwrap().job_id, job.id);
    assert_eq!(code(ask(real()).await), Code::Conflict);
    test::tests_finished(&rig.cx, &job, &lease, found(TestStatus::Pass)).await.unwrap();
    let next = ask(real()).await.unwrap();
    assert_ne!(next.job_id, job.id);
    assert_eq!(test::list(&rig.cx, &rig.who, id).await.unwrap().items.len(), 2);
}

async fn some_deployments_are_not_tested_and_not_by_everybody(rig: Rig) {
    let (id, _) = rig.planned("net").await;
    let mut who = rig.who.clone();
    who.grants.house.scopes.remove(&Scope::DeploymentsApply);
    let refused = test::request_tests(&rig.cx, &who, id, real()).await;
    assert_eq!(code(refused), Code::Forbidden, "it makes real things");
    test::request_tests(&rig.cx, &who, id, TestSettings::default()).await.unwrap();
    let wrong = TestSettings { time_limit_s: 1, ..TestSettings::default() };
    assert_eq!(code(test::request_tests(&rig.cx, &rig.who, id, wrong).await), Code::InvalidInput);
    deployment::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
    let late = test::request_tests(&rig.cx, &rig.who, id, TestSettings::default()).await;
    assert_eq!(code(late), Code::IllegalTransition);
    assert_eq!(rig.newest(id).await.state, TestRunState::Dropped);
}

async fn lost_tests_run_again_and_leave_a_report_in_the_end(rig: Rig) {
    let (id, _) = rig.planned("net").await;
    test::request_tests(&rig.cx, &rig.who, id, TestSettings::default()).await.unwrap();
    for attempt in 1..=3 {
        let (job, _) = rig.claim_for(Queue::Test, 1).await.unwrap();
        assert_eq!(job.attempt, attempt);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert_eq!(upkeep::reap(&rig.cx).await.unwrap(), Some(job.id));
    }
    assert!(rig.claim(Queue::Test).await.is_none());
    let run = rig.newest(id).await;
    let report = run.report.unwrap();
    assert_eq!((run.state, report.status), (TestRunState::Finished, TestStatus::Error));
    assert!(report.summary.contains("lost"), "{report:?}");
    assert_eq!(rig.told(id).await.len(), 1);
    assert_eq!(rig.get(id).await.state, S::AwaitingApproval);
    rig.check_events(id).await;
}

async fn lost_tests_that_may_have_made_things_do_not_run_again(rig: Rig) {
    let (id, _) = rig.planned("net").await;
    test::request_tests(&rig.cx, &rig.who, id, real()).await.unwrap();
    let (job, _) = rig.claim_for(Queue::Test, 1).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert_eq!(upkeep::reap(&rig.cx).await.unwrap(), Some(job.id));
    assert!(rig.claim(Queue::Test).await.is_none());
    let report = rig.newest(id).await.report.unwrap();
    assert_eq!(report.status, TestStatus::Error);
    assert!(report.summary.contains("may still be there"), "{report:?}");
    // What began nothing may be tried again.
    let (id, job, lease) = rig.testing_with("db", real()).await;
    let ending = Ending::Retry { error: "the registry is away".into(), delay_ms: 0 };
    execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    assert_eq!(rig.newest(id).await.state, TestRunState::Queued);
}

async fn tests_of_a_deployment_that_ended_are_dropped(rig: Rig) {
    // They run.
    let (id, job, lease) = rig.testing("net").await;
    deployment::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
    assert_eq!(rig.get(id).await.state, S::Cancelled);
    execution::ended(&rig.cx, &job, &lease, Ending::Cancelled).await.unwrap();
    assert_eq!(rig.newest(id).await.state, TestRunState::Dropped);
    // Or end before anybody stopped them.
    let (id, job, lease) = rig.testing("db").await;
    deployment::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
    test::tests_finished(&rig.cx, &job, &lease, found(TestStatus::Pass)).await.unwrap();
    assert!(rig.told(id).await.is_empty(), "its last event is its end");
    assert!(rig.jobs(id).await.iter().all(|job| !job.state.is_active()));
    // Or were claimed when it ended.
    let (id, _) = rig.planned("web").await;
    test::request_tests(&rig.cx, &rig.who, id, TestSettings::default()).await.unwrap();
    let (job, lease) = rig.claim(Queue::Test).await.unwrap();
    deployment::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(matches!(begun, Begun::Nothing), "{begun:?}");
    assert_eq!(rig.newest(id).await.state, TestRunState::Dropped);
    rig.check_events(id).await;
}

async fn tests_do_not_hold_up_and_do_not_stop_what_they_are_beside_of(rig: Rig) {
    let (id, digest) = rig.planned("net").await;
    test::request_tests(&rig.cx, &rig.who, id, TestSettings::default()).await.unwrap();
    let approved = deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    let waiting = format!("{:?}", approved.waiting);
    assert!(waiting.contains("Apply"), "it waits for its apply: {waiting}");
    let (apply, apply_lease) = rig.claim(Queue::Apply).await.unwrap();
    execution::begin(&rig.cx, &apply, &apply_lease).await.unwrap();
    let (job, lease) = rig.claim(Queue::Test).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    deployment::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
    cancel::draining(&rig.cx, &job, &lease).await.unwrap();
    let asked = rig.get(id).await;
    assert_eq!(asked.cancel.unwrap().phase, CancelPhase::Asked, "the apply does not know yet");
    // Whatever ends the tests, the apply goes on, and they do not begin again.
    execution::ended(&rig.cx, &job, &lease, Ending::HandBack).await.unwrap();
    assert_eq!(rig.get(id).await.state, S::Applying);
    assert!(rig.claim(Queue::Test).await.is_none());
    assert_eq!(rig.newest(id).await.report.unwrap().status, TestStatus::Error);
    cancel::draining(&rig.cx, &apply, &apply_lease).await.unwrap();
    assert_eq!(rig.get(id).await.cancel.unwrap().phase, CancelPhase::Draining);
    rig.check_events(id).await;
}

async fn a_report_is_kept_once(rig: Rig) {
    let (id, job, lease) = rig.testing("net").await;
    test::tests_finished(&rig.cx, &job, &lease, found(TestStatus::Pass)).await.unwrap();
    let again = test::tests_finished(&rig.cx, &job, &lease, found(TestStatus::Fail)).await;
    assert_eq!(code(again), Code::LeaseLost);
    assert_eq!(rig.newest(id).await.report.unwrap().status, TestStatus::Pass);
    assert_eq!(rig.told(id).await.len(), 1);
}
