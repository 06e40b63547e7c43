//! Checks for drift: jobs beside the deployment that a stack runs, which move nothing.

use serde_json::json;
use slipway_domain::Code;
use slipway_domain::access::Scope;
use slipway_domain::deployment::{Deployment, Operation, Options as How};
use slipway_domain::drift::compare::differences;
use slipway_domain::drift::{
    DriftFound, DriftSettings, DriftStatus, DriftTurn, FoundResource, StackDrift,
};
use slipway_domain::event::EventBody;
use slipway_domain::id::{DeploymentId, StackId};
use slipway_domain::job::{Job, JobKind, JobState, Lease, Queue};
use slipway_domain::page::PageRequest;
use slipway_domain::plan::{Action, StateMark};
use slipway_domain::port::driver::{Applied, Health};
use slipway_domain::state::DeploymentState as S;
use slipway_services::execution::{self, Begun, Ending};
use slipway_services::gate::Precondition;
use slipway_services::{deployment, drift, event, upkeep};
use slipway_store::drift::Next;

use crate::rig::{Rig, SOURCE, blob, code, on_both_engines, plan_of};

on_both_engines! {
    a_check_looks_at_what_the_stack_runs_and_moves_nothing,
    drift_is_told_once_when_it_begins_changes_and_ends,
    a_check_is_put_off_while_an_apply_runs_or_waits,
    an_apply_that_begins_meanwhile_is_not_held_up_and_the_check_is_thrown_away,
    what_was_found_of_a_state_that_moved_is_thrown_away,
    two_processes_begin_one_check,
    lost_checks_run_again_and_fail_in_the_end,
    a_check_that_is_stopped_or_handed_back_leaves_what_was_known,
    settings_say_whether_and_how_often,
    what_is_due_is_begun_in_bounded_rounds,
    a_stack_that_is_put_right_is_looked_at_again_soon,
    what_was_destroyed_and_what_was_never_deployed_is_not_looked_at,
    a_reconcile_is_a_deployment_like_any_other,
    not_everybody_may_ask,
}

fn found(state: StateMark, value: Option<&str>) -> DriftFound {
    let change = plan_of(state.clone()).changes.remove(0);
    let resources = value.map(|value| {
        let (before, after) = (json!({"content": "a"}), json!({ "content": value }));
        FoundResource {
            differences: differences(&before, &after),
            configured: None,
            change: slipway_domain::plan::ResourceChange {
                action: Action::Update,
                before,
                after,
                sensitive: vec![],
                ..change
            },
        }
    });
    DriftFound {
        tool: plan_of(state.clone()).tool,
        resources: resources.into_iter().collect(),
        outputs: vec![],
        warnings: vec![],
        state,
        caveats: vec![],
    }
}

impl Rig {
    /// A stack whose first deployment was applied.
    pub(crate) async fn deployed(&self, stack: &str) -> (StackId, DeploymentId) {
        let id = self.apply(stack, 1).await;
        (self.get(id).await.stack_id, id)
    }

    /// Deploys, so that the state has this serial.
    async fn apply(&self, stack: &str, serial: i64) -> DeploymentId {
        let (id, job, lease) = self.applying(stack).await;
        self.end_apply(&job, &lease, serial).await;
        id
    }

    async fn end_apply(&self, job: &Job, lease: &Lease, serial: i64) {
        let state = blob(serial, b"{}");
        let mark = state.mark.clone();
        execution::save_state(&self.cx, job, lease, state).await.unwrap();
        let applied = Applied { outputs: vec![], state: mark };
        execution::apply_finished(&self.cx, job, lease, &applied).await.unwrap();
        execution::verified(&self.cx, job, lease, Health::Healthy).await.unwrap();
    }

    async fn drift(&self, of: StackId) -> StackDrift {
        drift::get(&self.cx, &self.who, of).await.unwrap()
    }

    /// Begins the check that is asked for.
    pub(crate) async fn checking(&self, of: StackId) -> (Job, Lease) {
        drift::request_check(&self.cx, &self.who, of).await.unwrap();
        let (job, lease) = self.claim(Queue::Plan).await.unwrap();
        let begun = execution::begin(&self.cx, &job, &lease).await.unwrap();
        assert!(matches!(begun, Begun::Drift { .. }), "{begun:?}");
        (job, lease)
    }

    /// Checks, and finds this.
    async fn check(&self, of: StackId, value: Option<&str>) -> StackDrift {
        let (job, lease) = self.checking(of).await;
        let mark = self.mark(job.deployment_id).await;
        let found = found(mark, value);
        drift::drift_finished(&self.cx, &job, &lease, found).await.unwrap();
        self.drift(of).await
    }

    async fn drift_events(&self, id: DeploymentId) -> Vec<(DriftTurn, String)> {
        let events = event::page(&self.cx, &self.who, id, 0, 1000).await.unwrap();
        let drift = events.into_iter().filter_map(|event| match event.body {
            EventBody::Drift { turn, summary, .. } => Some((turn, summary)),
            _ => None,
        });
        drift.collect()
    }

    async fn job_of(&self, job: &Job) -> Job {
        self.jobs(job.deployment_id).await.into_iter().find(|one| one.id == job.id).unwrap()
    }

    /// Makes the next check of a stack due.
    async fn make_due(&self, of: StackId) {
        let mut tx = self.cx.store.begin().await.unwrap();
        tx.lock_drift(of).await.unwrap();
        tx.set_next_drift_check(of, Next::In(0)).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn a_check_looks_at_what_the_stack_runs_and_moves_nothing(rig: Rig) {
    let (of, id) = rig.deployed("net").await;
    let before = rig.get(id).await;
    assert_eq!(rig.drift(of).await.status, DriftStatus::Unknown);
    let asked = drift::request_check(&rig.cx, &rig.who, of).await.unwrap();
    let again = drift::request_check(&rig.cx, &rig.who, of).await.unwrap();
    assert!(asked.job_id.is_some() && asked.job_id == again.job_id, "one check at a time");
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    assert_eq!((job.kind, Some(job.id)), (JobKind::Drift, asked.job_id));
    assert_eq!((job.concurrency_key.as_deref(), job.deployment_id), (None, id));
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let Begun::Drift { input, redactor } = begun else { panic!("{begun:?}") };
    assert_eq!(input.source.file("main.tf").unwrap(), SOURCE.as_bytes());
    assert_eq!(input.variables["password"], "hunter2");
    assert_eq!(input.state.unwrap().mark.serial, 1);
    assert_eq!(redactor.text("hunter2"), "***");
    let mark = rig.mark(id).await;
    drift::drift_finished(&rig.cx, &job, &lease, found(mark, None)).await.unwrap();
    let shown = rig.drift(of).await;
    assert_eq!((shown.status, shown.job_id, shown.since), (DriftStatus::InSync, None, None));
    assert_eq!((shown.deployment_id, shown.out_of_date), (Some(id), false));
    assert!(shown.checked_at.is_some() && shown.next_check_at.is_some());
    assert_eq!(rig.job_of(&job).await.state, JobState::Succeeded);
    assert_eq!(rig.get(id).await, before, "the deployment is as it was");
    assert_eq!(rig.drift_events(id).await, []);
    assert!(rig.audited().await.contains(&"drift.check".to_owned()));
    rig.check_events(id).await;
    // Its end may be told twice: the second time nothing is there to end.
    let late =
        drift::drift_finished(&rig.cx, &job, &lease, found(StateMark::default(), None)).await;
    assert_eq!(code(late), Code::LeaseLost);
}

async fn drift_is_told_once_when_it_begins_changes_and_ends(rig: Rig) {
    let (of, id) = rig.deployed("net").await;
    let one = "1 resource changed outside".to_owned();
    let first = rig.check(of, Some("b")).await;
    assert_eq!((first.status, first.since.is_some()), (DriftStatus::Drifted, true));
    assert_eq!(
        first.report.as_ref().unwrap().groups[0].resources[0].attributes[0].path,
        "/content"
    );
    assert_eq!(rig.drift_events(id).await, [(DriftTurn::Began, one.clone())]);
    assert_eq!(drift::drifted(&rig.cx).await.unwrap(), 1);
    rig.clock.advance(chrono::Duration::hours(1));
    let again = rig.check(of, Some("b")).await;
    assert_eq!(again.since, first.since);
    assert_eq!(rig.drift_events(id).await.len(), 1, "the same drift is told once");
    let other = rig.check(of, Some("c")).await;
    assert_eq!(other.since, first.since);
    let ended = rig.check(of, None).await;
    assert_eq!((ended.status, ended.since), (DriftStatus::InSync, None));
    let all = "everything is as the state says".to_owned();
    let turns =
        [(DriftTurn::Began, one.clone()), (DriftTurn::Changed, one), (DriftTurn::Ended, all)];
    assert_eq!(rig.drift_events(id).await, turns);
    assert_eq!(drift::drifted(&rig.cx).await.unwrap(), 0);
    let audited = rig.audited().await;
    for turn in ["drift.began", "drift.changed", "drift.ended"] {
        assert_eq!(audited.iter().filter(|action| *action == turn).count(), 1, "{turn}");
    }
    // Who follows on hears what comes after the end; who does not is done.
    let ended = event::follow(&rig.cx, &rig.who, id, 0, false).await;
    let mut stays = event::follow(&rig.cx, &rig.who, id, 0, true).await.unwrap();
    let mut told = 0;
    let mut follow = ended.unwrap();
    while follow.next().await.unwrap().is_some() {
        told += 1;
    }
    for _ in 0..told {
        stays.next().await.unwrap().unwrap();
    }
    let (next, _) = tokio::join!(stays.next(), rig.check(of, Some("d")));
    assert!(matches!(next.unwrap().unwrap().body, EventBody::Drift { turn: DriftTurn::Began, .. }));
    rig.check_events(id).await;
}

async fn a_check_is_put_off_while_an_apply_runs_or_waits(rig: Rig) {
    let (of, id) = rig.deployed("net").await;
    rig.make_due(of).await;
    let next = rig.approved("net").await;
    let refused = drift::request_check(&rig.cx, &rig.who, of).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.detail.contains(&next.to_string()), "{refused:?}");
    assert_eq!(upkeep::check_drift(&rig.cx).await.unwrap(), 0);
    let shown = rig.drift(of).await;
    assert!(shown.put_off.unwrap().contains("approved"), "it says why");
    assert!(shown.next_check_at.unwrap() > now(), "and is tried again soon");
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    rig.make_due(of).await;
    assert_eq!(upkeep::check_drift(&rig.cx).await.unwrap(), 0);
    assert!(rig.drift(of).await.put_off.unwrap().contains("applying"));
    rig.end_apply(&job, &lease, 2).await;
    rig.make_due(of).await;
    assert_eq!(upkeep::check_drift(&rig.cx).await.unwrap(), 1);
    let (job, _) = rig.claim(Queue::Plan).await.unwrap();
    assert_eq!((job.kind, job.deployment_id), (JobKind::Drift, next));
    assert_eq!(rig.drift_events(id).await, []);
}

async fn an_apply_that_begins_meanwhile_is_not_held_up_and_the_check_is_thrown_away(rig: Rig) {
    let (of, id) = rig.deployed("net").await;
    // Both wait: the check before it is begun, and the apply.
    let (next, digest) = rig.planned("net").await;
    drift::request_check(&rig.cx, &rig.who, of).await.unwrap();
    deployment::approve(&rig.cx, &rig.who, next, &digest, None).await.unwrap();
    let (check, lease) = rig.claim(Queue::Plan).await.unwrap();
    assert!(matches!(execution::begin(&rig.cx, &check, &lease).await.unwrap(), Begun::Nothing));
    assert_eq!(rig.job_of(&check).await.state, JobState::Cancelled);
    assert!(rig.drift(of).await.put_off.unwrap().contains(&next.to_string()));
    let (apply, lease) = rig.claim(Queue::Apply).await.unwrap();
    execution::begin(&rig.cx, &apply, &lease).await.unwrap();
    rig.end_apply(&apply, &lease, 2).await;
    // A check runs already when the apply comes: the apply goes on, the check finds nothing out.
    let (third, digest) = rig.planned("net").await;
    let (check, check_lease) = rig.checking(of).await;
    let seen = rig.mark(id).await;
    deployment::approve(&rig.cx, &rig.who, third, &digest, None).await.unwrap();
    let (apply, lease) = rig.claim(Queue::Apply).await.unwrap();
    let begun = execution::begin(&rig.cx, &apply, &lease).await.unwrap();
    assert!(matches!(begun, Begun::Apply { .. }), "a check holds nothing up: {begun:?}");
    let wrong = found(seen, Some("half applied"));
    drift::drift_finished(&rig.cx, &check, &check_lease, wrong).await.unwrap();
    let shown = rig.drift(of).await;
    assert_eq!((shown.status, shown.report), (DriftStatus::Unknown, None));
    assert!(shown.put_off.unwrap().contains(&third.to_string()));
    rig.end_apply(&apply, &lease, 3).await;
    for id in [id, next, third] {
        assert_eq!(rig.drift_events(id).await, []);
        rig.check_events(id).await;
    }
}

async fn what_was_found_of_a_state_that_moved_is_thrown_away(rig: Rig) {
    let (of, id) = rig.deployed("net").await;
    rig.check(of, Some("b")).await;
    let (check, lease) = rig.checking(of).await;
    let seen = rig.mark(id).await;
    rig.apply("net", 2).await;
    drift::drift_finished(&rig.cx, &check, &lease, found(seen, None)).await.unwrap();
    let shown = rig.drift(of).await;
    assert_eq!(
        shown.put_off.unwrap(),
        "The state moved from serial 1 to 2 while it was looked at."
    );
    assert_eq!(shown.status, DriftStatus::Drifted, "what was known before stays");
    assert!(shown.out_of_date);
    assert_eq!(rig.job_of(&check).await.state, JobState::Cancelled);
    assert_eq!(rig.drift_events(id).await.len(), 1);
}

async fn two_processes_begin_one_check(rig: Rig) {
    let (of, id) = rig.deployed("net").await;
    for round in 1..=3 {
        rig.make_due(of).await;
        let rounds = (0..4).map(|_| {
            let cx = rig.cx.clone();
            tokio::spawn(async move { upkeep::check_drift(&cx).await })
        });
        let mut begun = 0;
        for one in rounds.collect::<Vec<_>>() {
            begun += one.await.unwrap().unwrap();
        }
        assert_eq!(begun, 1, "round {round}");
        let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
        assert!(rig.claim(Queue::Plan).await.is_none());
        execution::begin(&rig.cx, &job, &lease).await.unwrap();
        let seen = found(rig.mark(id).await, None);
        drift::drift_finished(&rig.cx, &job, &lease, seen).await.unwrap();
    }
}

async fn lost_checks_run_again_and_fail_in_the_end(rig: Rig) {
    let (of, id) = rig.deployed("net").await;
    rig.check(of, Some("b")).await;
    drift::request_check(&rig.cx, &rig.who, of).await.unwrap();
    for attempt in 1..=3 {
        let (job, _) = rig.claim_for(Queue::Plan, 1).await.unwrap();
        assert_eq!(job.attempt, attempt);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert_eq!(upkeep::reap(&rig.cx).await.unwrap(), Some(job.id));
    }
    assert!(rig.claim(Queue::Plan).await.is_none());
    let shown = rig.drift(of).await;
    assert_eq!((shown.status, shown.job_id), (DriftStatus::Failed, None));
    assert!(shown.failure.unwrap().summary.ends_with("(attempt 3 of 3)"));
    assert!(shown.since.is_some() && shown.report.is_some(), "what was known stands beside it");
    assert_eq!(rig.get(id).await.state, S::Succeeded);
    // The same drift is no news after that.
    let after = rig.check(of, Some("b")).await;
    assert_eq!((after.status, after.failure), (DriftStatus::Drifted, None));
    assert_eq!(rig.drift_events(id).await.len(), 1);
}

async fn a_check_that_is_stopped_or_handed_back_leaves_what_was_known(rig: Rig) {
    let (of, id) = rig.deployed("net").await;
    rig.check(of, None).await;
    let (job, lease) = rig.checking(of).await;
    execution::ended(&rig.cx, &job, &lease, Ending::HandBack).await.unwrap();
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    assert_eq!((job.kind, job.attempt), (JobKind::Drift, 1));
    execution::ended(&rig.cx, &job, &lease, Ending::Cancelled).await.unwrap();
    let shown = rig.drift(of).await;
    assert_eq!((shown.status, shown.job_id), (DriftStatus::InSync, None));
    assert!(shown.put_off.unwrap().contains("stopped"));
    let (job, lease) = rig.checking(of).await;
    let broken = Ending::Failed { summary: "no credentials".to_owned(), diagnostics: vec![] };
    execution::ended(&rig.cx, &job, &lease, broken).await.unwrap();
    assert_eq!(rig.drift(of).await.failure.unwrap().summary, "no credentials");
    assert_eq!(rig.job_of(&job).await.state, JobState::Failed);
    assert_eq!(rig.get(id).await.state, S::Succeeded);
    // One that drifts, is deployed and cannot be checked is not checked over and over.
    rig.check(of, Some("b")).await;
    rig.apply("net", 2).await;
    let (job, lease) = rig.checking(of).await;
    let broken = Ending::Failed { summary: "no credentials".to_owned(), diagnostics: vec![] };
    execution::ended(&rig.cx, &job, &lease, broken).await.unwrap();
    assert_eq!(upkeep::check_drift(&rig.cx).await.unwrap(), 0);
    assert_eq!(drift::drifted(&rig.cx).await.unwrap(), 1, "what was known stays");
}

async fn settings_say_whether_and_how_often(rig: Rig) {
    let (of, _) = rig.deployed("net").await;
    let set =
        async |settings, from| drift::set_settings(&rig.cx, &rig.who, of, settings, from).await;
    let off = DriftSettings { enabled: Some(false), interval_s: None };
    let often = DriftSettings { enabled: None, interval_s: Some(600) };
    let before = drift::settings(&rig.cx, &rig.who, of).await.unwrap();
    assert_eq!((before.enabled, before.interval_s, before.version), (true, 86_400, 0));
    let kept = set(often.clone(), Precondition::New).await.unwrap();
    assert_eq!((kept.enabled, kept.interval_s, kept.version), (true, 600, 1));
    let next = rig.drift(of).await.next_check_at.unwrap();
    assert!(next <= now() + chrono::Duration::seconds(601));
    assert_eq!(code(set(off.clone(), Precondition::Version(0)).await), Code::PreconditionFailed);
    let kept = set(off, Precondition::Version(1)).await.unwrap();
    assert!(!kept.enabled);
    assert_eq!(rig.drift(of).await.next_check_at, None);
    rig.make_due(of).await;
    assert_eq!(upkeep::check_drift(&rig.cx).await.unwrap(), 0);
    // Whoever asks is answered all the same, and nothing is planned by that.
    rig.check(of, None).await;
    assert_eq!(rig.drift(of).await.next_check_at, None);
    let wrong = DriftSettings { enabled: None, interval_s: Some(299) };
    assert_eq!(code(set(wrong, Precondition::Any).await), Code::InvalidInput);
    assert!(rig.audited().await.contains(&"drift.set".to_owned()));
}

async fn what_is_due_is_begun_in_bounded_rounds(rig: Rig) {
    let mut rig = rig;
    let mut settings = (*rig.cx.settings).clone();
    settings.drift.per_round = 2;
    rig.cx.settings = std::sync::Arc::new(settings);
    let mut stacks = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        stacks.push(rig.deployed(name).await.0);
    }
    assert_eq!(upkeep::check_drift(&rig.cx).await.unwrap(), 0, "first they are spread");
    let mut planned = Vec::new();
    for of in &stacks {
        planned.push(rig.drift(*of).await.next_check_at.unwrap());
    }
    planned.sort_unstable();
    planned.dedup();
    assert_eq!(planned.len(), 5, "{planned:?}");
    for of in &stacks {
        rig.make_due(*of).await;
    }
    let mut begun = Vec::new();
    for _ in 0..4 {
        begun.push(upkeep::check_drift(&rig.cx).await.unwrap());
    }
    assert_eq!(begun, [2, 2, 1, 0]);
    // A plan that somebody waits for goes before all of them.
    let urgent = rig.submit("f").await;
    assert_eq!(rig.claim(Queue::Plan).await.unwrap().0.deployment_id, urgent);
    assert_eq!(rig.claim(Queue::Plan).await.unwrap().0.kind, JobKind::Drift);
}

async fn a_stack_that_is_put_right_is_looked_at_again_soon(rig: Rig) {
    let (of, _) = rig.deployed("net").await;
    rig.check(of, Some("b")).await;
    assert_eq!(upkeep::check_drift(&rig.cx).await.unwrap(), 0);
    let next = rig.apply("net", 2).await;
    assert_eq!(upkeep::check_drift(&rig.cx).await.unwrap(), 1);
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    assert_eq!(job.deployment_id, next);
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let now = found(rig.mark(next).await, None);
    drift::drift_finished(&rig.cx, &job, &lease, now).await.unwrap();
    assert_eq!(rig.drift_events(next).await[0].0, DriftTurn::Ended);
}

async fn what_was_destroyed_and_what_was_never_deployed_is_not_looked_at(rig: Rig) {
    let (id, _) = rig.planned("new").await;
    let of = rig.get(id).await.stack_id;
    let ask = async |of| code(drift::request_check(&rig.cx, &rig.who, of).await);
    assert_eq!(ask(of).await, Code::NotReady);
    let (of, _) = rig.deployed("net").await;
    rig.check(of, Some("b")).await;
    let mut request = rig.request("net").await;
    request.operation = Operation::Destroy;
    let id = deployment::submit(&rig.cx, &rig.who, request, None).await.unwrap().deployment.id;
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let plan = plan_of(rig.mark(id).await);
    let seen = slipway_services::gate::Seen::default();
    let planned = execution::plan_finished(&rig.cx, &job, &lease, plan, &seen).await.unwrap();
    let digest = planned.plan.unwrap().digest;
    deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    rig.end_apply(&job, &lease, 2).await;
    assert_eq!(ask(of).await, Code::NotReady);
    assert_eq!(drift::drifted(&rig.cx).await.unwrap(), 1);
    assert_eq!(upkeep::check_drift(&rig.cx).await.unwrap(), 0);
    assert_eq!(drift::drifted(&rig.cx).await.unwrap(), 0, "what is gone does not drift");
    assert_eq!(rig.drift(of).await.status, DriftStatus::Unknown);
    assert!(rig.drift(of).await.next_check_at.unwrap() > now());
    assert!(rig.drift(of).await.put_off.unwrap().contains("destroyed"));
    let refused = drift::reconcile(&rig.cx, &rig.who, of, None).await;
    assert_eq!(code(refused.map(|accepted| accepted.deployment.id)), Code::NotReady);
}

async fn a_reconcile_is_a_deployment_like_any_other(rig: Rig) {
    let how = How { auto_apply: false, expires_in_s: 4242, ..How::default() };
    let (first, digest) = rig.planned_with("net", how).await;
    deployment::approve(&rig.cx, &rig.who, first, &digest, None).await.unwrap();
    deployment::apply(&rig.cx, &rig.who, first).await.unwrap();
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    rig.end_apply(&job, &lease, 1).await;
    let of = rig.get(first).await.stack_id;
    let again = async |key| drift::reconcile(&rig.cx, &rig.who, of, key).await.unwrap();
    let accepted = again(Some("k1")).await;
    let replayed = again(Some("k1")).await;
    assert_eq!((replayed.replayed, replayed.deployment.id), (true, accepted.deployment.id));
    let before: Deployment = rig.get(first).await;
    let d = accepted.deployment;
    assert_eq!((d.state, d.operation, &d.stack), (S::Submitted, Operation::Deploy, &before.stack));
    assert_eq!(
        (&d.source, &d.variables, &d.options),
        (&before.source, &before.variables, &before.options)
    );
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    assert_eq!(job.deployment_id, d.id);
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let Begun::Plan { input, .. } = begun else { panic!("{begun:?}") };
    assert_eq!(input.variables["password"], "hunter2", "the values themselves, not what is shown");
    let plan = plan_of(rig.mark(d.id).await);
    let seen = slipway_services::gate::Seen::default();
    let planned = execution::plan_finished(&rig.cx, &job, &lease, plan, &seen).await.unwrap();
    assert_eq!(planned.state, S::AwaitingApproval, "it goes through the gates");
}

async fn not_everybody_may_ask(rig: Rig) {
    let (of, _) = rig.deployed("net").await;
    let mut who = rig.who.clone();
    who.grants.house.scopes.remove(&Scope::DeploymentsWrite);
    let off = DriftSettings::default();
    assert_eq!(code(drift::request_check(&rig.cx, &who, of).await), Code::Forbidden);
    assert_eq!(
        code(drift::set_settings(&rig.cx, &who, of, off, Precondition::Any).await),
        Code::Forbidden
    );
    let reconciled = drift::reconcile(&rig.cx, &who, of, None).await;
    assert_eq!(code(reconciled.map(|accepted| accepted.deployment.id)), Code::Forbidden);
    assert!(drift::get(&rig.cx, &who, of).await.is_ok());
    who.grants.house.scopes.remove(&Scope::StacksRead);
    assert_eq!(code(drift::get(&rig.cx, &who, of).await), Code::Forbidden);
    let page = PageRequest { limit: 10, after: None };
    let listed = drift::list(&rig.cx, &who, &drift::Filter::default(), page).await;
    assert_eq!(code(listed), Code::Forbidden);
    let nobody = StackId::new(&slipway_domain::id::RandomMint);
    assert_eq!(code(drift::get(&rig.cx, &rig.who, nobody).await), Code::NotFound);
}

/// When checks are due is told by the database, whose clock is this machine's.
#[expect(clippy::disallowed_methods, reason = "the database's clock, not the rig's")]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
