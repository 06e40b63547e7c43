//! Approvals by several people: who counts, who is missing, what is taken back, and when nothing is
//! applied.

use std::sync::Arc;

use chrono::Duration;
use slipway_domain::access::{Actor, ActorKind, Door, Principal, Role, Scope};
use slipway_domain::approval::{ApprovalRules, FreezeWhen, FreezeWindow, StatefulDeletes, Verb};
use slipway_domain::deployment::{Options as How, Waiting};
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{ApprovalId, DeploymentId, PlanId, RandomMint};
use slipway_domain::job::{JobKind, JobState, Queue};
use slipway_domain::plan::{Action, PlanSummary};
use slipway_domain::port::driver::{AfterRecovery, Planned, Recovered};
use slipway_domain::recovery::RecoveryReport;
use slipway_domain::state::DeploymentState as S;
use slipway_services::execution::{self, Begun};
use slipway_services::gate::Seen;
use slipway_services::{approval, deployment, event, recovery};

use crate::rig::{Rig, code, on_both_engines, plan_of};

on_both_engines! {
    a_database_is_deleted_when_two_people_say_so,
    two_who_approve_at_once_both_count,
    who_may_not_is_told_who_may,
    a_yes_that_is_taken_back_asks_again,
    what_a_worker_has_taken_and_not_begun_is_taken_back,
    one_yes_too_many_can_be_taken_back,
    only_ones_own_yes_is_taken_back,
    a_plan_that_is_approved_in_a_freeze_waits_for_its_end,
    a_freeze_is_lifted_by_whom_it_excepts,
    a_yes_that_is_too_old_starts_nothing,
    decisions_stay_on_record_and_with_their_plan,
    decisions_are_carried_with_what_was_seen,
    an_apply_that_goes_on_after_a_loss_keeps_its_decisions,
}

fn person(id: &str, roles: &[Role]) -> Principal {
    let actor = Actor { id: id.to_owned(), kind: ActorKind::Person, via: Door::Rest };
    let mut who = Principal { actor, ..Principal::local(Door::Rest) };
    who.grants.house.roles = roles.iter().copied().collect();
    who
}

fn with_rules(mut rig: Rig, approvals: ApprovalRules) -> Rig {
    let mut settings = (*rig.cx.settings).clone();
    settings.gates.approval = Some(approvals);
    rig.cx.settings = Arc::new(settings);
    rig
}

fn two() -> ApprovalRules {
    ApprovalRules { approvals: 2, ..ApprovalRules::default() }
}

/// A deployment whose plan deletes a database.
async fn deleting(rig: &Rig, stack: &str) -> (DeploymentId, String) {
    let id = rig.submit(stack).await;
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let mut planned: Planned = plan_of(rig.mark(id).await);
    "aws_db_instance".clone_into(&mut planned.changes[0].kind);
    "aws_db_instance.main".clone_into(&mut planned.changes[0].address);
    planned.changes[0].action = Action::Delete;
    let ended =
        execution::plan_finished(&rig.cx, &job, &lease, planned, &Seen::default()).await.unwrap();
    (id, ended.plan.unwrap().digest)
}

async fn applies(rig: &Rig, id: DeploymentId, state: JobState) -> usize {
    let jobs = rig.jobs(id).await;
    jobs.iter().filter(|job| job.kind == JobKind::Apply && job.state == state).count()
}

async fn begin_apply(rig: &Rig, id: DeploymentId) -> Begun {
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    assert_eq!(job.deployment_id, id);
    execution::begin(&rig.cx, &job, &lease).await.unwrap()
}

async fn approvals(rig: &Rig, id: DeploymentId) -> slipway_domain::approval::Approvals {
    approval::list(&rig.cx, &rig.who, id).await.unwrap()
}

async fn a_database_is_deleted_when_two_people_say_so(rig: Rig) {
    let (id, digest) = deleting(&rig, "db").await;
    let (ann, bob) = (person("ann", &[Role::Admin]), person("bob", &[]));
    let say = |who, comment: Option<&'static str>| {
        deployment::approve(&rig.cx, who, id, &digest, comment.map(str::to_owned))
    };
    let first = say(&ann, Some("fine")).await.unwrap();
    assert_eq!((first.state, &first.approval), (S::AwaitingApproval, &None));
    let standing = first.approvals.clone().unwrap();
    assert_eq!((standing.required, standing.given, standing.complete), (2, 1, false));
    assert!(standing.missing[0].contains("aws_db_instance.main"), "{standing:?}");
    assert!(first.reason.unwrap().starts_with("1 of 2 approvals; still missing: one more person"));
    assert_eq!(applies(&rig, id, JobState::Queued).await, 0);

    let again = say(&ann, Some("fine")).await.unwrap();
    assert_eq!(again.approvals, Some(standing), "the same is said once");
    assert_eq!(code(say(&ann, Some("other")).await), Code::AlreadyDecided);
    assert_eq!(approvals(&rig, id).await.items.len(), 1);
    let wrong = deployment::approve(&rig.cx, &bob, id, "sha256:0", None).await;
    assert_eq!(code(wrong), Code::PlanDigestMismatch);

    let second = say(&bob, None).await.unwrap();
    assert_eq!(second.state, S::Approved);
    assert!(second.approvals.unwrap().complete);
    assert_eq!(second.approval.unwrap().by.id, "bob", "who completed it");
    assert_eq!(code(say(&person("cat", &[]), None).await), Code::IllegalTransition);
    let all = approvals(&rig, id).await;
    let said: Vec<_> = all.items.iter().map(|d| (d.by.id.as_str(), d.decision)).collect();
    assert_eq!(said, [("ann", Verb::Approve), ("bob", Verb::Approve)]);
    assert!(all.items.iter().all(|d| d.plan_digest == digest));
    let roles: Vec<_> = all.items.iter().map(|d| d.roles.len()).collect();
    assert_eq!(roles, [1, 0]);
    let audited = rig.audited().await;
    assert_eq!(audited.iter().filter(|action| *action == "deployment.approve").count(), 2);
    let events = event::page(&rig.cx, &rig.who, id, 0, 100).await.unwrap();
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Approval { by, standing: Some(standing), .. } => {
                Some((by.id.as_str(), standing.given, standing.complete))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [("ann", 1, false), ("bob", 2, true)]);
    rig.check_events(id).await;
    assert!(matches!(begin_apply(&rig, id).await, Begun::Apply { .. }));
}

async fn two_who_approve_at_once_both_count(rig: Rig) {
    for round in 0..6 {
        let (id, digest) = deleting(&rig, &format!("db{round}")).await;
        let people: Vec<_> = (0..4).map(|n| person(&format!("p{n}"), &[Role::Approver])).collect();
        let all = people.iter().map(|who| deployment::approve(&rig.cx, who, id, &digest, None));
        let all = futures::future::join_all(all).await;
        let (done, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
        assert_eq!(done.len(), 2, "the others come too late");
        assert!(refused.into_iter().all(|late| code(late) == Code::IllegalTransition));
        assert_eq!(rig.get(id).await.state, S::Approved);
        assert_eq!(applies(&rig, id, JobState::Queued).await, 1);
        assert_eq!(approvals(&rig, id).await.items.len(), 2);
        rig.check_events(id).await;
    }
}

fn forbidden<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    let fault = result.expect_err("it was to be refused");
    assert_eq!(fault.code, Code::Forbidden, "{fault}");
    fault.detail
}

async fn who_may_not_is_told_who_may(rig: Rig) {
    let rules = ApprovalRules {
        roles: vec![Role::Approver],
        not_author: true,
        agents_may_approve: false,
        ..ApprovalRules::default()
    };
    let rig = with_rules(rig, rules);
    let (id, digest) = rig.planned("net").await;
    let say = async |who: Principal| deployment::approve(&rig.cx, &who, id, &digest, None).await;
    let why = forbidden(say(rig.who.clone()).await);
    assert!(
        why.starts_with("local submitted this deployment") && why.contains("an approver"),
        "{why}"
    );
    let why = forbidden(say(person("dev", &[Role::Developer])).await);
    assert!(why.contains("1 approval by an approver"), "{why}");
    let mut bot = person("bot", &Role::ALL);
    bot.actor.kind = ActorKind::Agent;
    assert!(forbidden(say(bot).await).contains("is an agent"));
    let mut no_scope = person("eve", &Role::ALL);
    no_scope.grants.house.scopes.remove(&Scope::DeploymentsApprove);
    assert!(forbidden(say(no_scope).await).contains("deployments:approve"));
    assert!(approvals(&rig, id).await.items.is_empty(), "nothing of it is on record");
    assert_eq!(say(person("ann", &[Role::Approver])).await.unwrap().state, S::Approved);
}

async fn a_yes_that_is_taken_back_asks_again(rig: Rig) {
    let (id, digest) = rig.planned("net").await;
    let ann = person("ann", &[]);
    for round in 1..=3 {
        let approved = deployment::approve(&rig.cx, &ann, id, &digest, None).await.unwrap();
        assert_eq!(approved.state, S::Approved);
        let yes = approvals(&rig, id).await.items.pop().unwrap();
        let why = Some("not today".to_owned());
        let revoked = approval::revoke(&rig.cx, &ann, id, yes.id, why).await.unwrap();
        assert_eq!((revoked.state, &revoked.approval), (S::AwaitingApproval, &None));
        assert!(!revoked.approvals.unwrap().complete);
        assert!(revoked.reason.unwrap().starts_with("0 of 1 approvals"));
        assert_eq!(applies(&rig, id, JobState::Queued).await, 0);
        assert_eq!(applies(&rig, id, JobState::Cancelled).await, round);
        assert!(rig.claim(Queue::Apply).await.is_none());
        let again = approval::revoke(&rig.cx, &ann, id, yes.id, None).await.unwrap();
        assert_eq!(again.state, S::AwaitingApproval);
        let kept = approvals(&rig, id).await.items.pop().unwrap().revoked.unwrap();
        assert_eq!((kept.by.id.as_str(), kept.reason.as_deref()), ("ann", Some("not today")));
    }
    deployment::approve(&rig.cx, &ann, id, &digest, None).await.unwrap();
    assert_eq!(applies(&rig, id, JobState::Queued).await, 1);
    assert!(matches!(begin_apply(&rig, id).await, Begun::Apply { .. }));
    let yes = approvals(&rig, id).await.items.pop().unwrap();
    let late = approval::revoke(&rig.cx, &ann, id, yes.id, None).await;
    assert_eq!(code(late), Code::IllegalTransition, "what has begun is cancelled, not revoked");
    let nobody = ApprovalId::new(&RandomMint);
    assert_eq!(code(approval::revoke(&rig.cx, &ann, id, nobody, None).await), Code::NotFound);
    let audited = rig.audited().await;
    assert_eq!(audited.iter().filter(|action| *action == "deployment.revoke").count(), 3);
    rig.check_events(id).await;
}

async fn what_a_worker_has_taken_and_not_begun_is_taken_back(rig: Rig) {
    let (id, digest) = rig.planned("net").await;
    deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    let yes = approvals(&rig, id).await.items.pop().unwrap();
    approval::revoke(&rig.cx, &rig.who, id, yes.id, None).await.unwrap();
    assert_eq!(code(execution::begin(&rig.cx, &job, &lease).await), Code::LeaseLost);
    deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    assert_eq!(code(execution::begin(&rig.cx, &job, &lease).await), Code::LeaseLost);
    assert!(matches!(begin_apply(&rig, id).await, Begun::Apply { .. }));
}

async fn one_yes_too_many_can_be_taken_back(rig: Rig) {
    // Two of anybody, one of them an admin: the first two do not do.
    let rules = ApprovalRules {
        stateful_deletes: StatefulDeletes { approvals: 1, roles: vec![Role::Admin] },
        ..two()
    };
    let rig = with_rules(rig, rules);
    let (id, digest) = deleting(&rig, "db").await;
    let people = [person("ann", &[]), person("bob", &[]), person("cat", &[Role::Admin])];
    let mut last = None;
    for who in &people {
        last = Some(deployment::approve(&rig.cx, who, id, &digest, None).await.unwrap());
    }
    assert_eq!(last.unwrap().state, S::Approved);
    let items = approvals(&rig, id).await.items;
    let back = approval::revoke(&rig.cx, &people[0], id, items[0].id, None).await.unwrap();
    assert_eq!(back.state, S::Approved, "two are left, one of them an admin");
    assert_eq!(applies(&rig, id, JobState::Queued).await, 1);
    let back = approval::revoke(&rig.cx, &people[2], id, items[2].id, None).await.unwrap();
    assert_eq!(back.state, S::AwaitingApproval);
    assert!(back.approvals.unwrap().missing[0].starts_with("an admin"));
}

async fn only_ones_own_yes_is_taken_back(rig: Rig) {
    let rig = with_rules(rig, two());
    let (id, digest) = rig.planned("net").await;
    deployment::approve(&rig.cx, &person("ann", &[]), id, &digest, None).await.unwrap();
    let yes = approvals(&rig, id).await.items.pop().unwrap();
    let dev = person("dev", &[Role::Developer]);
    let why = forbidden(approval::revoke(&rig.cx, &dev, id, yes.id, None).await);
    assert!(why.contains("ann's") && why.contains("an approver or admin"), "{why}");
    let approver = person("bob", &[Role::Approver]);
    let back = approval::revoke(&rig.cx, &approver, id, yes.id, None).await.unwrap();
    assert_eq!((back.state, back.approvals.unwrap().given), (S::AwaitingApproval, 0));
    // And it can be said anew.
    let again = deployment::approve(&rig.cx, &person("ann", &[]), id, &digest, None).await.unwrap();
    assert_eq!(again.approvals.unwrap().given, 1);
}

fn freeze(rig: &Rig, until: Duration) -> ApprovalRules {
    let now = rig.cx.now();
    let when = FreezeWhen::Once { from: now - Duration::hours(1), to: now + until };
    let window = FreezeWindow {
        when,
        reason: "the big sale".to_owned(),
        except_roles: vec![Role::Operator],
    };
    ApprovalRules { freeze: vec![window], ..ApprovalRules::default() }
}

async fn a_plan_that_is_approved_in_a_freeze_waits_for_its_end(rig: Rig) {
    let rules = freeze(&rig, Duration::seconds(1));
    let rig = with_rules(rig, rules);
    let (id, digest) = rig.planned("net").await;
    let approved = deployment::approve(&rig.cx, &person("ann", &[]), id, &digest, None).await;
    let waits = |waiting: Option<Waiting>| match waiting {
        Some(Waiting::Freeze { until, reason }) => (until - rig.cx.now(), reason),
        other => panic!("{other:?}"),
    };
    let expected = (Duration::seconds(1), "the big sale".to_owned());
    let approved = approved.unwrap();
    assert_eq!(approved.state, S::Approved);
    assert_eq!(waits(approved.waiting), expected);
    assert_eq!(waits(rig.get(id).await.waiting), expected);
    assert!(approvals(&rig, id).await.frozen.is_some());
    assert!(matches!(begin_apply(&rig, id).await, Begun::Nothing));
    let job = rig.jobs(id).await.pop().unwrap();
    assert_eq!((job.state, job.attempt), (JobState::Queued, 0), "it costs no attempt");
    assert!(job.last_error.unwrap().contains("the big sale"));
    assert!(rig.claim(Queue::Apply).await.is_none(), "it is not due before");
    rig.clock.advance(Duration::seconds(2));
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert!(matches!(begin_apply(&rig, id).await, Begun::Apply { .. }));
    rig.check_events(id).await;
}

async fn a_freeze_is_lifted_by_whom_it_excepts(rig: Rig) {
    let rules = freeze(&rig, Duration::hours(5));
    let rig = with_rules(rig, rules);
    let (id, digest) = rig.planned("net").await;
    let say = async |who: Principal| deployment::approve(&rig.cx, &who, id, &digest, None).await;
    say(person("ann", &[Role::Admin])).await.unwrap();
    assert!(matches!(begin_apply(&rig, id).await, Begun::Nothing));
    let late = say(person("bob", &[Role::Approver])).await;
    assert_eq!(code(late), Code::IllegalTransition, "it is approved, and that changes nothing");
    let lifted = say(person("op", &[Role::Operator])).await.unwrap();
    assert_eq!(lifted.state, S::Approved);
    assert!(!matches!(lifted.waiting, Some(Waiting::Freeze { .. })), "{:?}", lifted.waiting);
    assert_eq!(lifted.approval.unwrap().by.id, "ann");
    assert_eq!(applies(&rig, id, JobState::Queued).await, 1);
    assert!(matches!(begin_apply(&rig, id).await, Begun::Apply { .. }));
    assert_eq!(approvals(&rig, id).await.items.len(), 2);
    // Whoever it excepts can also be the one who completes it.
    let (other, digest) = rig.planned("db").await;
    let op = person("op", &[Role::Operator]);
    deployment::approve(&rig.cx, &op, other, &digest, None).await.unwrap();
    assert!(matches!(begin_apply(&rig, other).await, Begun::Apply { .. }));
}

async fn a_yes_that_is_too_old_starts_nothing(rig: Rig) {
    let rig = with_rules(rig, ApprovalRules { expires_in_s: Some(60), ..two() });
    let (id, digest) = rig.planned_with("net", How { auto_apply: false, ..How::default() }).await;
    let (ann, bob) = (person("ann", &[]), person("bob", &[]));
    deployment::approve(&rig.cx, &ann, id, &digest, None).await.unwrap();
    rig.clock.advance(Duration::seconds(60));
    let one = deployment::approve(&rig.cx, &bob, id, &digest, None).await.unwrap();
    assert_eq!(one.approvals.unwrap().given, 1, "the first one is too old");
    let two = deployment::approve(&rig.cx, &ann, id, &digest, None).await.unwrap();
    assert_eq!(two.state, S::Approved);
    rig.clock.advance(Duration::seconds(60));
    deployment::apply(&rig.cx, &rig.who, id).await.unwrap();
    assert!(matches!(begin_apply(&rig, id).await, Begun::Nothing));
    let after = rig.get(id).await;
    assert_eq!((after.state, &after.approval), (S::AwaitingApproval, &None));
    assert!(after.reason.unwrap().contains("too old"));
    assert_eq!(applies(&rig, id, JobState::Queued).await, 0);
    for who in [&ann, &bob] {
        deployment::approve(&rig.cx, who, id, &digest, None).await.unwrap();
    }
    deployment::apply(&rig.cx, &rig.who, id).await.unwrap();
    assert!(matches!(begin_apply(&rig, id).await, Begun::Apply { .. }));
    rig.check_events(id).await;
}

async fn decisions_stay_on_record_and_with_their_plan(rig: Rig) {
    let rig = with_rules(rig, two());
    let (id, digest) = rig.planned("net").await;
    let ann = person("ann", &[]);
    deployment::approve(&rig.cx, &ann, id, &digest, None).await.unwrap();
    let bob = person("bob", &[]);
    let no = deployment::reject(&rig.cx, &bob, id, &digest, Some("no".into())).await.unwrap();
    assert_eq!(no.state, S::Cancelled);
    let all = approvals(&rig, id).await;
    let said: Vec<_> = all.items.iter().map(|d| (d.decision, d.comment.as_deref())).collect();
    assert_eq!(said, [(Verb::Approve, None), (Verb::Reject, Some("no"))]);
    for item in &all.items {
        let back = approval::revoke(&rig.cx, &rig.who, id, item.id, None).await;
        assert_eq!(code(back), Code::IllegalTransition);
    }
    assert_eq!(all.standing.unwrap().given, 1);
    let fresh = rig.submit("other").await;
    let none = approvals(&rig, fresh).await;
    assert!(none.need.is_none() && none.items.is_empty());
}

async fn decisions_are_carried_with_what_was_seen(rig: Rig) {
    let rig = with_rules(rig, two());
    let (id, digest) = rig.planned("net").await;
    for who in ["ann", "bob"] {
        deployment::approve(&rig.cx, &person(who, &[]), id, &digest, None).await.unwrap();
    }
    let items = approvals(&rig, id).await.items;
    approval::revoke(&rig.cx, &rig.who, id, items[0].id, None).await.unwrap();
    let mut tx = rig.cx.store.begin().await.unwrap();
    let current = rig.get(id).await.plan.unwrap();
    let next = |digest: &str| {
        let id = PlanId::new(&RandomMint);
        PlanSummary { id, digest: digest.to_owned(), ..current.clone() }
    };
    let (second, third) = (next("sha256:2"), next("sha256:3"));
    let carried = approval::carry(&rig.cx, &mut tx, id, current.id, &second).await.unwrap();
    assert_eq!(carried, 1, "what was revoked is not carried");
    assert_eq!(approval::carry(&rig.cx, &mut tx, id, second.id, &third).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let last = approvals(&rig, id).await.items.pop().unwrap();
    assert_eq!((last.plan_digest.as_str(), last.by.id.as_str()), ("sha256:3", "bob"));
    assert_eq!(last.carried_from.as_deref(), Some(digest.as_str()), "what was seen");
    assert_eq!(last.at, items[1].at, "it gets no younger");
}

async fn an_apply_that_goes_on_after_a_loss_keeps_its_decisions(rig: Rig) {
    let (id, job, lease) = rig.recovering("net").await;
    let seen = approvals(&rig, id).await.items.pop().unwrap();
    let mut rest = plan_of(rig.mark(id).await);
    rest.plan_file = "the rest".into();
    let next = AfterRecovery::Continue(Box::new(rest));
    let report = RecoveryReport { collected: true, ..RecoveryReport::default() };
    recovery::recovered(&rig.cx, &job, &lease, Recovered { report, next }, &Seen::default())
        .await
        .unwrap();
    assert_eq!(rig.get(id).await.state, S::Approved);
    let all = approvals(&rig, id).await;
    assert!(all.standing.unwrap().complete);
    let carried = all.items.last().unwrap();
    assert_eq!((carried.at, &carried.by), (seen.at, &seen.by));
    assert_eq!(carried.carried_from.as_deref(), Some(seen.plan_digest.as_str()));
    assert_eq!(Some(carried.plan_id), rig.get(id).await.plan.map(|plan| plan.id));
    assert!(matches!(begin_apply(&rig, id).await, Begun::Apply { .. }));
}
