//! What becomes of a lost apply, whatever is found out about it.

use std::collections::BTreeMap;

use slipway_domain::event::{EventBody, ResourceStatus};
use slipway_domain::fault::Code;
use slipway_domain::id::DeploymentId;
use slipway_domain::job::{Job, JobKind, JobState, Lease, Queue};
use slipway_domain::plan::Action;
use slipway_domain::port::driver::{AfterRecovery, Applied, Health, Recovered, Salvage};
use slipway_domain::recovery::{
    InDoubt, JournalEntry, RecoveryReport, RecoveryVerdict, Resolution, ResolutionOutcome,
};
use slipway_domain::state::DeploymentState as S;
use slipway_services::execution::{self, Begun, Ending};
use slipway_services::gate::Seen;
use slipway_services::recovery::{self, AfterRecord, Collected, RecoveryChoice};
use slipway_services::{deployment, event, state, upkeep};

use crate::rig::{self, Rig, blob, on_both_engines, plan_of};

on_both_engines! {
    a_stale_apply_changes_nothing_beside_the_one_that_took_over,
    a_proved_rest_goes_on_under_the_approval_that_there_is,
    what_is_lost_twice_is_proved_against_what_a_person_saw,
    a_rest_that_is_another_plan_wants_an_approval_of_its_own,
    what_was_done_already_is_verified_and_ends,
    a_person_says_what_became_of_what_is_in_doubt,
    what_was_said_holds_until_it_is_begun_again,
    it_waits_for_what_the_lost_worker_left,
    what_a_machine_that_comes_back_left_is_taken_in,
    what_comes_too_late_changes_nothing_and_is_kept,
    what_was_found_out_of_an_older_state_is_found_out_again,
    a_recovery_that_fails_asks_a_person,
    what_is_lost_again_and_again_is_not_tried_for_ever,
    a_state_that_somebody_has_locked_is_waited_for,
}

fn entry(address: &str, status: ResourceStatus) -> JournalEntry {
    JournalEntry {
        address: address.to_owned(),
        action: Action::Create,
        status,
        resource_id: (status == ResourceStatus::Completed).then(|| format!("id-{address}")),
        id_key: None,
    }
}

fn told(address: &str, status: ResourceStatus) -> EventBody {
    let JournalEntry { address, action, status, resource_id, id_key } = entry(address, status);
    EventBody::Resource { address, action, status, elapsed_s: None, resource_id, id_key }
}

async fn lose(rig: &Rig, job: &Job, lease: &Lease) {
    let ending = Ending::Lost { summary: "killed".to_owned() };
    execution::ended(&rig.cx, job, lease, ending).await.unwrap();
}

async fn found(rig: &Rig, job: &Job, lease: &Lease, next: AfterRecovery) -> AfterRecord {
    let report = RecoveryReport { collected: true, ..RecoveryReport::default() };
    found_with(rig, job, lease, report, next).await
}

async fn found_with(
    rig: &Rig,
    job: &Job,
    lease: &Lease,
    report: RecoveryReport,
    next: AfterRecovery,
) -> AfterRecord {
    recovery::recovered(&rig.cx, job, lease, Recovered { report, next }, &Seen::default())
        .await
        .unwrap()
}

async fn continued(rig: &Rig, id: DeploymentId, job: &Job, lease: &Lease) {
    let mut plan = plan_of(rig.mark(id).await);
    plan.plan_file = format!("the rest of {}", job.id).into();
    found(rig, job, lease, AfterRecovery::Continue(Box::new(plan))).await;
}

fn doubt(address: &str) -> RecoveryReport {
    RecoveryReport {
        collected: true,
        in_doubt: vec![InDoubt {
            address: address.to_owned(),
            action: Action::Create,
            resource_id: None,
            detail: "may exist".to_owned(),
        }],
        ..RecoveryReport::default()
    }
}

/// Two applies of one stack, each of which believes that it holds it: one was lost, and its worker
/// does not know.
async fn a_stale_apply_changes_nothing_beside_the_one_that_took_over(rig: Rig) {
    let id = rig.approved("net").await;
    let (stale, its_lease) = rig.claim_for(Queue::Apply, 1000).await.unwrap();
    execution::begin(&rig.cx, &stale, &its_lease).await.unwrap();
    execution::save_state(&rig.cx, &stale, &its_lease, blob(1, b"one")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    while upkeep::reap(&rig.cx).await.unwrap().is_some() {}
    recovery::collect(&rig.cx, stale.id, stale.epoch, Salvage::default()).await.unwrap();
    let (job, lease, _) = rig.begin_recovery(id).await;
    continued(&rig, id, &job, &lease).await;
    let (now, lease) = rig.claim(Queue::Apply).await.unwrap();
    execution::begin(&rig.cx, &now, &lease).await.unwrap();
    execution::save_state(&rig.cx, &now, &lease, blob(2, b"two")).await.unwrap();

    let before = (rig.dump(id).await, rig.mark(id).await, rig.get(id).await);
    let lost = |fault| assert_eq!(rig::code::<()>(Err(fault)), Code::LeaseLost);
    let (cx, job, old) = (&rig.cx, &stale, &its_lease);
    let applied = Applied { outputs: Vec::new(), state: blob(3, b"").mark };
    lost(execution::save_state(cx, job, old, blob(3, b"zombie")).await.unwrap_err());
    let event = told("z", ResourceStatus::Started);
    lost(execution::append(cx, old, id, &[], &[event]).await.unwrap_err());
    lost(execution::apply_finished(cx, job, old, &applied).await.unwrap_err());
    lost(execution::verified(cx, job, old, Health::Healthy).await.unwrap_err());
    for ending in [Ending::Lost { summary: "x".into() }, Ending::HandBack, Ending::Cancelled] {
        lost(execution::ended(cx, job, old, ending).await.unwrap_err());
    }
    let report = RecoveryReport::default();
    let found = Recovered { report, next: AfterRecovery::Ask };
    lost(recovery::recovered(cx, job, old, found, &Seen::default()).await.unwrap_err());
    // Nor by the state backend, with whatever lock it names.
    let stack = stale.stack_id;
    let body =
        bytes::Bytes::from_static(br#"{"version":4,"lineage":"line","serial":9,"resources":[]}"#);
    let taken = state::lock(cx, &rig.who, stack, br#"{"ID":"z"}"#, Some(its_lease)).await;
    lost(taken.unwrap_err());
    let written = state::write(cx, &rig.who, stack, Some("z"), Some(its_lease), &body).await;
    assert!(matches!(written.unwrap(), state::Written::Refused { .. }));
    let after = (rig.dump(id).await, rig.mark(id).await, rig.get(id).await);
    assert_eq!(after, before);
    // What it wrote is kept aside, for a person.
    assert_eq!(state::orphans(cx, &rig.who, stack).await.unwrap().len(), 1);
    // And the one who took over goes on.
    execution::save_state(cx, &now, &lease, blob(4, b"four")).await.unwrap();
    execution::apply_finished(cx, &now, &lease, &applied).await.unwrap();
    execution::verified(cx, &now, &lease, Health::Healthy).await.unwrap();
    assert_eq!(rig.get(id).await.state, S::Succeeded);
    rig.check_events(id).await;
}

async fn a_proved_rest_goes_on_under_the_approval_that_there_is(rig: Rig) {
    let (id, job, lease) = rig.recovering("net").await;
    let seen = rig.get(id).await.approval.unwrap();
    continued(&rig, id, &job, &lease).await;
    let after = rig.get(id).await;
    assert_eq!(after.state, S::Approved);
    let approval = after.approval.unwrap();
    assert_eq!(approval.plan_digest, after.plan.unwrap().digest);
    assert_ne!(approval.plan_digest, seen.plan_digest);
    assert_eq!(approval.carried_from.as_ref(), Some(&seen.plan_digest));
    assert_eq!((approval.carries, &approval.by), (1, &seen.by));
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    assert_eq!(job.kind, JobKind::Apply);
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let Begun::Apply { input, .. } = begun else { panic!("{begun:?}") };
    assert!(input.plan_file.starts_with(b"the rest"));
    let all = recovery::list(&rig.cx, &rig.who, id).await.unwrap();
    assert_eq!(all.recoveries[0].verdict, Some(RecoveryVerdict::Continued));
    assert!(all.choices.is_empty());
    rig.check_events(id).await;
}

async fn what_is_lost_twice_is_proved_against_what_a_person_saw(rig: Rig) {
    let (id, job, lease) = rig.recovering("net").await;
    let seen = rig.get(id).await.approval.unwrap().plan_digest;
    continued(&rig, id, &job, &lease).await;
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let started = told("a", ResourceStatus::Started);
    execution::append(&rig.cx, &lease, id, &[], &[started]).await.unwrap();
    lose(&rig, &job, &lease).await;
    recovery::collect(&rig.cx, job.id, job.epoch, Salvage::default()).await.unwrap();
    let (job, lease, input) = rig.begin_recovery(id).await;
    assert_eq!(input.approved.digest(), seen);
    assert_eq!(input.carries, 1);
    assert_eq!(input.plan_file.as_ref(), b"plan with hunter2 in it");
    assert_eq!(input.journal, [entry("a", ResourceStatus::Started)]);
    continued(&rig, id, &job, &lease).await;
    let approval = rig.get(id).await.approval.unwrap();
    assert_eq!((approval.carried_from.unwrap(), approval.carries), (seen, 2));
}

async fn a_rest_that_is_another_plan_wants_an_approval_of_its_own(rig: Rig) {
    let (id, job, lease) = rig.recovering("net").await;
    let old = rig.get(id).await.approval.unwrap().plan_digest;
    let mut plan = plan_of(rig.mark(id).await);
    plan.plan_file = "with imports".into();
    let report = RecoveryReport {
        collected: true,
        imports: BTreeMap::from([("a".to_owned(), "id".to_owned())]),
        ..RecoveryReport::default()
    };
    let next = AfterRecovery::Propose(Box::new(plan));
    found_with(&rig, &job, &lease, report, next).await;
    let after = rig.get(id).await;
    assert_eq!(after.state, S::AwaitingApproval);
    assert_eq!(after.approval, None, "nobody has seen this plan");
    let stale = deployment::approve(&rig.cx, &rig.who, id, &old, None).await;
    assert_eq!(rig::code(stale), Code::PlanDigestMismatch);
    let digest = after.plan.unwrap().digest;
    deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    let (job, _) = rig.claim(Queue::Apply).await.unwrap();
    assert_eq!((job.deployment_id, job.kind), (id, JobKind::Apply));
    rig.check_events(id).await;
}

async fn what_was_done_already_is_verified_and_ends(rig: Rig) {
    let (id, job, lease) = rig.recovering("net").await;
    let applied = Applied { outputs: Vec::new(), state: rig.mark(id).await };
    for _ in 0..2 {
        // The answer to the first may have been lost.
        let next = AfterRecovery::Finished(applied.clone());
        let after = found(&rig, &job, &lease, next).await;
        assert!(matches!(after, AfterRecord::Verify(_)), "{after:?}");
        assert_eq!(rig.get(id).await.state, S::Verifying);
    }
    execution::verified(&rig.cx, &job, &lease, Health::Healthy).await.unwrap();
    assert_eq!(rig.get(id).await.state, S::Succeeded);
    rig.check_events(id).await;
}

async fn a_person_says_what_became_of_what_is_in_doubt(rig: Rig) {
    let (id, job, lease) = rig.recovering("net").await;
    found_with(&rig, &job, &lease, doubt("a.b"), AfterRecovery::Ask).await;
    let waits = rig.get(id).await;
    assert_eq!(waits.state, S::NeedsAttention);
    assert!(waits.reason.unwrap().contains("a.b may exist"));
    let all = recovery::list(&rig.cx, &rig.who, id).await.unwrap();
    assert_eq!(all.choices, [RecoveryChoice::Resolve, RecoveryChoice::Cancel]);
    let absent = |address: &str| Resolution {
        address: address.to_owned(),
        outcome: ResolutionOutcome::Absent,
        id: None,
    };
    let strange = recovery::resolve(&rig.cx, &rig.who, id, vec![absent("a.c")]).await;
    assert_eq!(rig::code(strange), Code::InvalidInput);
    let after = recovery::resolve(&rig.cx, &rig.who, id, vec![absent("a.b")]).await.unwrap();
    assert_eq!(after.state, S::Recovering);
    let twice = recovery::resolve(&rig.cx, &rig.who, id, vec![absent("a.b")]).await;
    assert_eq!(rig::code(twice), Code::IllegalTransition);
    let (job, lease, input) = rig.begin_recovery(id).await;
    assert_eq!(input.resolutions, [absent("a.b")]);
    // What was said is kept, and may be said anew.
    found_with(&rig, &job, &lease, doubt("a.d"), AfterRecovery::Ask).await;
    let there =
        Resolution { outcome: ResolutionOutcome::Exists, id: Some("x".into()), ..absent("a.b") };
    let said = vec![there.clone(), absent("a.d")];
    recovery::resolve(&rig.cx, &rig.who, id, said.clone()).await.unwrap();
    let (.., input) = rig.begin_recovery(id).await;
    assert_eq!(input.resolutions, said);
    assert!(rig.audited().await.iter().any(|action| action == "deployment.start_recovery"));
    rig.check_events(id).await;
}

async fn what_was_said_holds_until_it_is_begun_again(rig: Rig) {
    let (id, job, lease) = rig.recovering("net").await;
    let mut report = doubt("a");
    report.in_doubt.extend(doubt("b").in_doubt);
    found_with(&rig, &job, &lease, report, AfterRecovery::Ask).await;
    let absent = |address: &str| Resolution {
        address: address.to_owned(),
        outcome: ResolutionOutcome::Absent,
        id: None,
    };
    let said = vec![absent("a"), absent("b")];
    recovery::resolve(&rig.cx, &rig.who, id, said.clone()).await.unwrap();
    let (job, lease, input) = rig.begin_recovery(id).await;
    assert_eq!(input.resolutions, said);
    continued(&rig, id, &job, &lease).await;
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let started = told("a", ResourceStatus::Started);
    execution::append(&rig.cx, &lease, id, &[], &[started]).await.unwrap();
    lose(&rig, &job, &lease).await;
    recovery::collect(&rig.cx, job.id, job.epoch, Salvage::default()).await.unwrap();
    let (job, lease, input) = rig.begin_recovery(id).await;
    assert_eq!(input.resolutions, said[1..], "the other one was begun again");
    // Until a person says so anew.
    found_with(&rig, &job, &lease, doubt("a"), AfterRecovery::Ask).await;
    let there = Resolution { outcome: ResolutionOutcome::Exists, ..absent("a") };
    recovery::resolve(&rig.cx, &rig.who, id, vec![there.clone()]).await.unwrap();
    let (.., input) = rig.begin_recovery(id).await;
    assert_eq!(input.resolutions, [absent("b"), there]);
}

async fn it_waits_for_what_the_lost_worker_left(rig: Rig) {
    let (id, job, lease) = rig.applying("net").await;
    let events = [told("a", ResourceStatus::Started), told("a", ResourceStatus::Started)];
    execution::append(&rig.cx, &lease, id, &[], &events).await.unwrap();
    lose(&rig, &job, &lease).await;
    let (waits, its_lease) = rig.claim(Queue::Apply).await.unwrap();
    let begun = execution::begin(&rig.cx, &waits, &its_lease).await.unwrap();
    assert!(matches!(begun, Begun::Nothing), "{begun:?}");
    let again = rig.jobs(id).await.into_iter().find(|j| j.id == waits.id).unwrap();
    assert_eq!((again.state, again.attempt), (JobState::Queued, 0));
    let left = Salvage {
        journal: Some(vec![
            entry("a", ResourceStatus::Started),
            entry("a", ResourceStatus::Completed),
            entry("b", ResourceStatus::Started),
            entry("hunter2", ResourceStatus::Started),
        ]),
        state: Some(blob(7, br#"{"version":4}"#)),
    };
    for _ in 0..2 {
        let kept = recovery::collect(&rig.cx, job.id, job.epoch, left.clone()).await.unwrap();
        assert_eq!(kept, Collected::Kept);
    }
    assert_eq!(rig.mark(id).await.serial, 7);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let (.., input) = rig.begin_recovery(id).await;
    assert!(input.collected);
    let mut journal = left.journal.unwrap();
    "***".clone_into(&mut journal[3].address);
    assert_eq!(input.journal, journal, "the rest once, without secrets");
    assert_eq!(input.state.unwrap().mark.serial, 7);
    rig.check_events(id).await;
}

async fn what_a_machine_that_comes_back_left_is_taken_in(mut rig: Rig) {
    let mut settings = (*rig.cx.settings).clone();
    settings.recovery_grace = chrono::Duration::zero();
    rig.cx.settings = std::sync::Arc::new(settings);
    let (id, lost, lease) = rig.applying("net").await;
    lose(&rig, &lost, &lease).await;
    let (job, lease, input) = rig.begin_recovery(id).await;
    assert!(!input.collected, "the machine is gone");
    let report = RecoveryReport { collected: false, ..doubt("a") };
    found_with(&rig, &job, &lease, report, AfterRecovery::Ask).await;
    assert_eq!(rig.get(id).await.state, S::NeedsAttention);
    let left = Salvage { journal: Some(Vec::new()), state: Some(blob(3, b"{}")) };
    let kept = recovery::collect(&rig.cx, lost.id, lost.epoch, left).await.unwrap();
    assert_eq!(kept, Collected::Kept);
    assert_eq!(rig.get(id).await.state, S::Recovering, "now more is known");
    let (.., input) = rig.begin_recovery(id).await;
    assert!(input.collected && input.state.unwrap().mark.serial == 3);
}

async fn what_comes_too_late_changes_nothing_and_is_kept(rig: Rig) {
    let (id, lost, lease) = rig.applying("net").await;
    lose(&rig, &lost, &lease).await;
    deployment_of_attention(&rig, id).await;
    deployment::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
    let before = event::page(&rig.cx, &rig.who, id, 0, 1000).await.unwrap();
    let left = Salvage {
        journal: Some(vec![entry("a", ResourceStatus::Started)]),
        state: Some(blob(9, b"{}")),
    };
    for epoch in [lost.epoch, lost.epoch + 1] {
        let late = recovery::collect(&rig.cx, lost.id, epoch, left.clone()).await.unwrap();
        assert_eq!(late, Collected::TooLate);
    }
    assert_eq!(rig.mark(id).await.serial, 0);
    assert_eq!(event::page(&rig.cx, &rig.who, id, 0, 1000).await.unwrap(), before);
    let orphans = state::orphans(&rig.cx, &rig.who, lost.stack_id).await.unwrap();
    assert_eq!(orphans.iter().map(|o| o.mark.serial).collect::<Vec<_>>(), [9]);
}

/// Brings a deployment that is being recovered before a person.
async fn deployment_of_attention(rig: &Rig, id: DeploymentId) {
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    let ending = Ending::Failed { summary: "it cannot be seen".into(), diagnostics: vec![] };
    let after = execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    assert_eq!((after.id, after.state), (id, S::NeedsAttention));
}

async fn what_was_found_out_of_an_older_state_is_found_out_again(rig: Rig) {
    let (id, job, lease) = rig.recovering("net").await;
    let mut plan = plan_of(rig.mark(id).await);
    "line".clone_into(&mut plan.state.lineage);
    plan.state.serial = 4;
    found(&rig, &job, &lease, AfterRecovery::Continue(Box::new(plan))).await;
    assert_eq!(rig.get(id).await.state, S::Recovering);
    let again = rig.jobs(id).await.into_iter().find(|j| j.id == job.id).unwrap();
    assert_eq!(again.state, JobState::Queued);
}

async fn a_recovery_that_fails_asks_a_person(rig: Rig) {
    let (id, mut job, mut lease) = rig.recovering("net").await;
    for attempt in 1..=job.max_attempts {
        assert_eq!(job.attempt, attempt);
        let ending = Ending::Retry { error: "429".into(), delay_ms: 0 };
        let after = execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
        if attempt < job.max_attempts {
            assert_eq!(after.state, S::Recovering);
            (job, lease, _) = rig.begin_recovery(id).await;
        } else {
            assert_eq!(after.state, S::NeedsAttention);
            assert!(after.reason.unwrap().contains("429"));
        }
    }
    // It can be tried again without saying anything.
    recovery::resolve(&rig.cx, &rig.who, id, Vec::new()).await.unwrap();
    let (job, lease, _) = rig.begin_recovery(id).await;
    continued(&rig, id, &job, &lease).await;
    assert_eq!(rig.get(id).await.state, S::Approved);
    rig.check_events(id).await;
}

async fn what_is_lost_again_and_again_is_not_tried_for_ever(rig: Rig) {
    let (id, mut job, mut lease) = rig.applying("net").await;
    for round in 1.. {
        assert!(round < 20, "it is tried for ever");
        lose(&rig, &job, &lease).await;
        if rig.get(id).await.state == S::NeedsAttention {
            break;
        }
        recovery::collect(&rig.cx, job.id, job.epoch, Salvage::default()).await.unwrap();
        let (finding, its_lease, _) = rig.begin_recovery(id).await;
        continued(&rig, id, &finding, &its_lease).await;
        (job, lease) = rig.claim(Queue::Apply).await.unwrap();
        execution::begin(&rig.cx, &job, &lease).await.unwrap();
    }
    assert!(rig.claim(Queue::Apply).await.is_none());
    let all = recovery::list(&rig.cx, &rig.who, id).await.unwrap();
    assert!(all.recoveries[0].summary.contains("times in a row"), "{:?}", all.recoveries[0]);
    rig.check_events(id).await;
}

async fn a_state_that_somebody_has_locked_is_waited_for(rig: Rig) {
    let id = rig.approved("net").await;
    let stack = rig.get(id).await.stack_id;
    let body = br#"{"ID":"mine"}"#;
    state::lock(&rig.cx, &rig.who, stack, body, None).await.unwrap();
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(matches!(begun, Begun::Nothing), "{begun:?}");
    let waits = &rig.jobs(id).await[1];
    assert_eq!((waits.state, waits.attempt), (JobState::Queued, 0));
    assert!(waits.last_error.as_ref().unwrap().contains("locked by"));
    assert_eq!(rig.get(id).await.state, S::Approved);
    assert!(rig.claim(Queue::Apply).await.is_none(), "not at once");
    state::unlock(&rig.cx, &rig.who, stack, Some("mine"), None).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(matches!(begun, Begun::Apply { .. }), "{begun:?}");
    // And while it runs, nobody else gets the lock.
    let held = state::lock(&rig.cx, &rig.who, stack, body, None).await.unwrap();
    assert!(matches!(held, state::Locked::Held(_)), "{held:?}");
}
