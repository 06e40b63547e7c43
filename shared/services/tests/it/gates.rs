//! The gates and their settings: what holds where, and what becomes of a plan that a gate stops,
//! lets wait or lets go.

use std::collections::BTreeMap;

use chrono::Duration;
use slipway_domain::Code;
use slipway_domain::access::Scope;
use slipway_domain::approval::{ApprovalRules, AutoApprove};
use slipway_domain::cost::{
    Amount, CostConsequence, CostLimit, CostLimits, CostSettings, InfracostSettings,
};
use slipway_domain::exemption::NewExemption;
use slipway_domain::gate::{GateKind, GateVerdict};
use slipway_domain::gate_settings::{CostRules, GateScope, GateSettings};
use slipway_domain::id::DeploymentId;
use slipway_domain::job::Queue;
use slipway_domain::plan::Action;
use slipway_domain::policy::{PackMode, PackUse, PolicyModule, PolicySettings, RuleOverride};
use slipway_domain::port::estimator::{EstimateStatus, Estimated};
use slipway_domain::report::Report;
use slipway_domain::scan::{ScanOutcome, ScanSettings, ScanStatus, ScannerName, ScannerSettings};
use slipway_domain::state::DeploymentState as S;
use slipway_domain::test_report::{TestCase, TestSettings, TestStatus, Tested};
use slipway_services::execution::{self, Begun};
use slipway_services::gate::{self, Precondition, Seen};
use slipway_services::policy::{DryRunRequest, NamedPack, Sent, UploadPolicy};
use slipway_services::{cancel, deployment, exemption, plan, policy, test};

use crate::rig::{Rig, code, instance_document, on_both_engines, plan_of};

on_both_engines! {
    settings_are_versions_and_the_narrowest_holds,
    settings_that_are_wrong_are_refused_whole,
    a_plan_that_only_creates_may_go_by_itself,
    a_plan_waits_for_the_tests_that_settings_ask_for,
    tests_that_fail_block_where_they_are_required,
    tests_of_other_settings_say_nothing_to_the_gate,
    what_an_exemption_let_through_ends_with_it,
    a_scanner_that_is_missing_is_never_a_pass,
    what_infracost_says_is_judged_in_place_of_the_book,
    the_book_judges_where_infracost_is_not_there_and_that_is_on_record,
    infracost_that_is_required_and_says_nothing_of_use_is_a_no,
    where_infracost_is_not_asked_nothing_of_it_counts,
    infracost_says_no_secret,
    a_gate_says_no_secret,
    what_is_blocked_can_be_judged_anew,
    rules_are_told_of_the_deployments_before,
}

fn for_project(project: &str) -> GateScope {
    GateScope { project: Some(project.to_owned()), environment: None }
}

async fn set(rig: &Rig, settings: GateSettings) {
    let scope = GateScope::default();
    gate::set(&rig.cx, &rig.who, scope, settings, Precondition::Any).await.unwrap();
}

/// A deployment whose plan is made and judged, of this kind of resource.
async fn judged(rig: &Rig, stack: &str, kind: &str, action: Action, seen: &Seen) -> DeploymentId {
    let id = rig.submit(stack).await;
    plan_again(rig, id, kind, action, seen).await;
    id
}

async fn plan_again(rig: &Rig, id: DeploymentId, kind: &str, action: Action, seen: &Seen) {
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    assert_eq!(job.deployment_id, id);
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let mut planned = plan_of(rig.mark(id).await);
    kind.clone_into(&mut planned.changes[0].kind);
    planned.changes[0].address = format!("{kind}.a");
    planned.changes[0].action = action;
    execution::plan_finished(&rig.cx, &job, &lease, planned, seen).await.unwrap();
}

/// A rule of the shipped pack that the plan of a deletion breaks, made to deny.
fn deletions_are_denied() -> GateSettings {
    let deny = BTreeMap::from([("stateful_delete".to_owned(), RuleOverride::Deny {})]);
    GateSettings {
        policy: Some(PolicySettings { rules: deny, ..PolicySettings::default() }),
        ..GateSettings::default()
    }
}

async fn settings_are_versions_and_the_narrowest_holds(rig: Rig) {
    let rules = |approvals| GateSettings {
        approval: Some(ApprovalRules { approvals, ..ApprovalRules::default() }),
        ..GateSettings::default()
    };
    let put =
        async |scope: GateScope, n, from| gate::set(&rig.cx, &rig.who, scope, rules(n), from).await;
    let first = put(GateScope::default(), 1, Precondition::New).await.unwrap();
    assert_eq!(first.version, 1);
    let late = put(GateScope::default(), 2, Precondition::New).await;
    assert_eq!(code(late), Code::PreconditionFailed);
    let second = put(GateScope::default(), 2, Precondition::Version(1)).await.unwrap();
    assert_eq!(second.version, 2);
    let late = put(GateScope::default(), 3, Precondition::Version(1)).await;
    assert_eq!(code(late), Code::PreconditionFailed);
    put(for_project("p"), 4, Precondition::Any).await.unwrap();
    let of = async |project| {
        gate::resolved(&rig.cx, &rig.who, project, "dev").await.unwrap().approval.approvals
    };
    assert_eq!((of("p").await, of("other").await), (4, 2));
    assert_eq!(gate::all(&rig.cx, &rig.who).await.unwrap().len(), 2);
    gate::forget(&rig.cx, &rig.who, &for_project("p"), Precondition::Version(1)).await.unwrap();
    gate::forget(&rig.cx, &rig.who, &for_project("p"), Precondition::Any).await.unwrap();
    assert_eq!(of("p").await, 2);
    let audited = rig.audited().await;
    assert_eq!(audited.iter().filter(|action| *action == "gates.set").count(), 3);
    assert_eq!(audited.iter().filter(|action| *action == "gates.forget").count(), 1);

    let mut who = rig.who.clone();
    who.grants.house.scopes.remove(&Scope::GatesWrite);
    let refused = gate::set(&rig.cx, &who, GateScope::default(), rules(1), Precondition::Any).await;
    assert_eq!(code(refused), Code::Forbidden);
}

async fn settings_that_are_wrong_are_refused_whole(rig: Rig) {
    let pack =
        |name: &str| PackUse { name: name.to_owned(), version: None, mode: PackMode::Enforce };
    let wrong = GateSettings {
        policy: Some(PolicySettings { packs: vec![pack("no-such")], ..PolicySettings::default() }),
        approval: Some(ApprovalRules { approvals: 99, ..ApprovalRules::default() }),
        ..GateSettings::default()
    };
    let refused =
        gate::set(&rig.cx, &rig.who, GateScope::default(), wrong.clone(), Precondition::Any);
    let fault = refused.await.unwrap_err();
    assert_eq!(fault.errors[0].pointer, "/approval/approvals");
    let only_pack = GateSettings { approval: None, ..wrong };
    let refused = gate::set(&rig.cx, &rig.who, GateScope::default(), only_pack, Precondition::Any);
    let fault = refused.await.unwrap_err();
    assert_eq!(fault.errors[0].pointer, "/policy/packs/0", "{fault:?}");
    assert!(gate::all(&rig.cx, &rig.who).await.unwrap().is_empty());
    let scope = GateScope { project: Some("No Name".to_owned()), environment: None };
    let refused = gate::set(&rig.cx, &rig.who, scope, GateSettings::default(), Precondition::Any);
    assert_eq!(refused.await.unwrap_err().errors[0].pointer, "/project");
}

async fn a_plan_that_only_creates_may_go_by_itself(rig: Rig) {
    let auto = AutoApprove { no_op: true, create_only: true };
    let rules = ApprovalRules { auto_approve: auto, ..ApprovalRules::default() };
    set(&rig, GateSettings { approval: Some(rules), ..GateSettings::default() }).await;
    let seen = Seen::default();
    let id = judged(&rig, "made", "null_resource", Action::Create, &seen).await;
    let approved = rig.get(id).await;
    assert_eq!(approved.state, S::Approved);
    assert_eq!(approved.approval.unwrap().by.id, "system:worker");
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    assert_eq!(job.deployment_id, id);
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(matches!(begun, Begun::Apply { .. }), "{begun:?}");
    let other = judged(&rig, "changed", "null_resource", Action::Update, &seen).await;
    assert_eq!(rig.get(other).await.state, S::AwaitingApproval);
}

fn tests(required: bool) -> GateSettings {
    let asked = TestSettings { required, ..TestSettings::default() };
    GateSettings { test: Some(asked), ..GateSettings::default() }
}

async fn report(rig: &Rig, id: DeploymentId, status: TestStatus) {
    let (job, lease) = rig.claim(Queue::Test).await.unwrap();
    assert_eq!(job.deployment_id, id);
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let tested = Tested { cases: vec![TestCase::of("a", status)], ..Tested::default() };
    test::tests_finished(&rig.cx, &job, &lease, tested).await.unwrap();
}

async fn a_plan_waits_for_the_tests_that_settings_ask_for(rig: Rig) {
    set(&rig, tests(true)).await;
    let seen = Seen::default();
    let id = judged(&rig, "net", "null_resource", Action::Create, &seen).await;
    assert_eq!(rig.get(id).await.state, S::Planned);
    let digest = rig.get(id).await.plan.unwrap().digest;
    let early = deployment::approve(&rig.cx, &rig.who, id, &digest, None).await;
    assert_eq!(code(early), Code::NotReady, "nobody's yes stands in for a gate");
    assert!(rig.get(id).await.reason.unwrap().contains("the gate test"));
    report(&rig, id, TestStatus::Pass).await;
    let waits = rig.get(id).await;
    assert_eq!(waits.state, S::AwaitingApproval);
    let gates = plan::get(&rig.cx, &rig.who, id).await.unwrap().gates;
    let of = |kind| gates.iter().find(|gate| gate.gate == kind).unwrap().verdict;
    assert_eq!(of(GateKind::Test), GateVerdict::Pass);
    assert_eq!(of(GateKind::Approval), GateVerdict::NeedsApproval);
    rig.check_events(id).await;
}

/// A run of less than the gate wants opens nothing, before the plan and while it waits.
async fn tests_of_other_settings_say_nothing_to_the_gate(rig: Rig) {
    set(&rig, tests(true)).await;
    let seen = Seen::default();
    let id = judged(&rig, "net", "null_resource", Action::Create, &seen).await;
    report(&rig, id, TestStatus::Fail).await;
    assert_eq!(rig.get(id).await.state, S::Blocked);
    let less = TestSettings { validate: true, terraform_test: false, ..TestSettings::default() };
    test::request_tests(&rig.cx, &rig.who, id, less.clone()).await.unwrap();
    report(&rig, id, TestStatus::Pass).await;
    gate::reconsider(&rig.cx, &rig.who, id, None).await.unwrap();
    plan_again(&rig, id, "null_resource", Action::Create, &seen).await;
    assert_eq!(rig.get(id).await.state, S::Blocked, "what failed counts, not what was left out");

    let other = judged(&rig, "app", "null_resource", Action::Create, &seen).await;
    let (own, lease) = rig.claim(Queue::Test).await.unwrap();
    execution::begin(&rig.cx, &own, &lease).await.unwrap();
    let refused = test::request_tests(&rig.cx, &rig.who, other, less).await;
    assert_eq!(code(refused), Code::Conflict, "others are under way");
    let tested = Tested { cases: vec![TestCase::of("a", TestStatus::Fail)], ..Tested::default() };
    test::tests_finished(&rig.cx, &own, &lease, tested).await.unwrap();
    assert_eq!(rig.get(other).await.state, S::Blocked);
}

async fn tests_that_fail_block_where_they_are_required(rig: Rig) {
    set(&rig, tests(true)).await;
    let seen = Seen::default();
    let id = judged(&rig, "net", "null_resource", Action::Create, &seen).await;
    report(&rig, id, TestStatus::Fail).await;
    let blocked = rig.get(id).await;
    assert_eq!(blocked.state, S::Blocked);
    assert!(blocked.reason.unwrap().contains("gate test"));
    let report_of = gate::report(&rig.cx, &rig.who, id).await.unwrap();
    assert!(report_of.judgement.findings.iter().any(|f| f.rule == "test_failed"));
    set(&rig, tests(false)).await;
    let other = judged(&rig, "app", "null_resource", Action::Create, &seen).await;
    report(&rig, other, TestStatus::Fail).await;
    assert_eq!(rig.get(other).await.state, S::AwaitingApproval, "they only warn");
}

async fn exempt(rig: &Rig, days: i64) -> slipway_domain::exemption::Exemption {
    let request = NewExemption {
        rule: "stateful_delete".to_owned(),
        address: "aws_db_instance.*".to_owned(),
        project: None,
        environment: None,
        reason: "the data was moved elsewhere".to_owned(),
        owner: "dba".to_owned(),
        expires_at: rig.cx.now() + Duration::days(days),
    };
    exemption::create(&rig.cx, &rig.who, request, None).await.unwrap().exemption
}

async fn what_an_exemption_let_through_ends_with_it(rig: Rig) {
    let mut settings = deletions_are_denied();
    let mut rules = ApprovalRules::default();
    rules.stateful_deletes.approvals = 1;
    settings.approval = Some(rules);
    set(&rig, settings).await;
    exempt(&rig, 2).await;
    let seen = Seen::default();
    let id = judged(&rig, "db", "aws_db_instance", Action::Delete, &seen).await;
    let waits = rig.get(id).await;
    assert_eq!(waits.state, S::AwaitingApproval, "{:?}", waits.reason);
    let digest = waits.plan.unwrap().digest;
    deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    rig.clock.advance(Duration::days(3));
    // The apply finds it: nothing is applied, and a new plan goes before the gates.
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(matches!(begun, Begun::Nothing), "{begun:?}");
    assert_eq!(rig.get(id).await.state, S::Submitted);
    plan_again(&rig, id, "aws_db_instance", Action::Delete, &seen).await;
    assert_eq!(rig.get(id).await.state, S::Blocked);

    // So does one that is taken back.
    let given = exempt(&rig, 2).await;
    gate::reconsider(&rig.cx, &rig.who, id, None).await.unwrap();
    plan_again(&rig, id, "aws_db_instance", Action::Delete, &seen).await;
    let waits = rig.get(id).await;
    assert_eq!(waits.state, S::AwaitingApproval);
    exemption::revoke(&rig.cx, &rig.who, given.id, None).await.unwrap();
    let digest = waits.plan.unwrap().digest;
    let late = deployment::approve(&rig.cx, &rig.who, id, &digest, None).await;
    assert_eq!(code(late), Code::PlanStale);
    rig.check_events(id).await;
}

async fn a_scanner_that_is_missing_is_never_a_pass(rig: Rig) {
    let scanner = |required| GateSettings {
        scan: Some(ScanSettings {
            scanners: vec![ScannerSettings {
                required,
                ..ScannerSettings::new(ScannerName::Checkov)
            }],
            ..ScanSettings::default()
        }),
        ..GateSettings::default()
    };
    let missing = ScanStatus::Missing { why: "it is not installed here".to_owned() };
    let seen = Seen {
        scans: vec![ScanOutcome::without(ScannerName::Checkov, missing)],
        ..Seen::default()
    };
    let of = async |id| {
        let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
        let gates = report.judgement.gates;
        let scan = gates.into_iter().find(|gate| gate.gate == GateKind::Scan).unwrap();
        assert_eq!(report.judgement.skipped[0].tool, "checkov");
        scan.verdict
    };
    set(&rig, scanner(false)).await;
    let id = judged(&rig, "a", "null_resource", Action::Create, &seen).await;
    assert_eq!(of(id).await, GateVerdict::Warn);
    set(&rig, scanner(true)).await;
    let id = judged(&rig, "b", "null_resource", Action::Create, &seen).await;
    assert_eq!(of(id).await, GateVerdict::Deny);
    assert_eq!(rig.get(id).await.state, S::Blocked);
    // Nobody answered at all, e.g. because the scans broke down.
    let id = judged(&rig, "c", "null_resource", Action::Create, &Seen::default()).await;
    assert_eq!(of(id).await, GateVerdict::Deny);
}

/// Settings that ask infracost, if they do, and let a month become dearer by this much.
fn priced(infracost: Option<bool>, max: u32) -> GateSettings {
    let limit = CostLimit { max: Amount::whole(max), then: CostConsequence::Deny, role: None };
    let asked = |required| InfracostSettings { required, ..InfracostSettings::default() };
    let cost = CostRules {
        limits: CostLimits { max_monthly_increase: Some(limit), ..CostLimits::default() },
        infracost: infracost.map(asked),
        ..CostRules::default()
    };
    // No other gate says no.
    let policy = PolicySettings { packs: Vec::new(), ..PolicySettings::default() };
    GateSettings { cost: Some(cost), policy: Some(policy), ..GateSettings::default() }
}

/// A report in infracost's shape, of one new instance.
fn said_by_infracost(currency: &str, monthly: &str) -> serde_json::Value {
    let nothing = serde_json::json!({"resources": [], "totalMonthlyCost": "0"});
    serde_json::json!({"version": "0.2", "currency": currency,
        "metadata": {"infracostCommand": "diff"},
        "projects": [{"name": "plan.json", "metadata": {"type": "terraform_plan_json"},
            "pastBreakdown": nothing, "breakdown": {"totalMonthlyCost": monthly, "resources": [{
                "name": "aws_instance.a", "resourceType": "aws_instance", "metadata": {},
                "monthlyCost": monthly, "costComponents": [{
                    "name": "Instance usage (Linux/UNIX, on-demand, m5.large)", "unit": "hours",
                    "monthlyQuantity": "730", "price": "0.1", "monthlyCost": monthly,
                    "priceNotFound": false}]}]}}],
        "totalMonthlyCost": monthly, "pastTotalMonthlyCost": "0",
        "summary": {"unsupportedResourceCounts": {}, "noPriceResourceCounts": {}}})
}

fn ended(status: EstimateStatus) -> Seen {
    let version = Some("0.10.41".to_owned());
    Seen { estimate: Some(Estimated { version, status, duration_ms: 1 }), ..Seen::default() }
}

fn answered(document: &serde_json::Value) -> Seen {
    ended(EstimateStatus::Done { document: document.to_string().into() })
}

/// The report of a plan that makes an instance of some 70 USD a month by the price book.
async fn of_an_instance(rig: &Rig, stack: &str, seen: &Seen) -> Report {
    let id = rig.submit(stack).await;
    plan_of_an_instance(rig, id, seen).await;
    gate::report(&rig.cx, &rig.who, id).await.unwrap()
}

async fn plan_of_an_instance(rig: &Rig, id: DeploymentId, seen: &Seen) {
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    assert_eq!(job.deployment_id, id);
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let mut planned = plan_of(rig.mark(id).await);
    planned.document = instance_document();
    execution::plan_finished(&rig.cx, &job, &lease, planned, seen).await.unwrap();
}

fn cost_gate(report: &Report) -> (GateVerdict, String) {
    let gate = report.judgement.gates.iter().find(|gate| gate.gate == GateKind::Cost).unwrap();
    (gate.verdict, gate.detail.clone())
}

fn reckoned_by(report: &Report) -> &str {
    &report.judgement.cost.as_ref().unwrap().tool
}

fn cost_rules(report: &Report) -> Vec<&str> {
    let all = report.judgement.findings.iter();
    all.filter(|finding| finding.tool == "cost").map(|finding| finding.rule.as_str()).collect()
}

async fn what_infracost_says_is_judged_in_place_of_the_book(rig: Rig) {
    set(&rig, priced(Some(false), 100)).await;
    let dear = answered(&said_by_infracost("USD", "500"));
    let report = of_an_instance(&rig, "dear", &dear).await;
    assert_eq!(cost_gate(&report).0, GateVerdict::Deny, "the book would let it pass");
    assert_eq!(
        (reckoned_by(&report), cost_rules(&report)),
        ("infracost", vec!["cost_monthly_increase"])
    );
    assert!(report.judgement.skipped.is_empty());
    let id = report.deployment_id;
    assert_eq!(rig.get(id).await.state, S::Blocked);

    // Judged anew it is by what infracost says then.
    gate::reconsider(&rig.cx, &rig.who, id, None).await.unwrap();
    plan_of_an_instance(&rig, id, &answered(&said_by_infracost("USD", "50"))).await;
    assert_eq!(rig.get(id).await.state, S::AwaitingApproval);
    let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
    assert_eq!((cost_gate(&report).0, reckoned_by(&report)), (GateVerdict::Pass, "infracost"));

    // The other way round: the book would say no.
    set(&rig, priced(Some(true), 20)).await;
    let cheap = answered(&said_by_infracost("USD", "10"));
    let report = of_an_instance(&rig, "cheap", &cheap).await;
    assert_eq!((cost_gate(&report).0, reckoned_by(&report)), (GateVerdict::Pass, "infracost"));
    rig.check_events(id).await;
}

async fn the_book_judges_where_infracost_is_not_there_and_that_is_on_record(rig: Rig) {
    let missing = || EstimateStatus::Missing { why: "infracost is not on the PATH".to_owned() };
    let silent: [(&str, Seen, &str); 6] = [
        ("missing", ended(missing()), "not on the PATH"),
        ("slow", ended(EstimateStatus::TimedOut { after_s: 7 }), "its limit of 7 s"),
        ("failed", ended(EstimateStatus::Failed { why: "no key".to_owned() }), "no key"),
        ("unread", answered(&serde_json::json!({"version": "9"})), "cannot be used"),
        ("foreign", answered(&said_by_infracost("EUR", "10")), "in EUR, and USD was asked"),
        ("nobody", Seen::default(), "was not asked"),
    ];
    set(&rig, priced(Some(false), 100)).await;
    for (stack, seen, why) in &silent {
        let report = of_an_instance(&rig, stack, seen).await;
        let (verdict, detail) = cost_gate(&report);
        assert_eq!(verdict, GateVerdict::Warn, "{stack}: {detail}");
        assert!(detail.contains(why) && detail.contains("recorded as skipped"), "{detail}");
        assert_eq!(reckoned_by(&report), "slipway", "{stack}");
        assert!(cost_rules(&report).is_empty(), "{stack}: {:?}", cost_rules(&report));
        let [skipped] = report.judgement.skipped.as_slice() else { panic!("{stack}") };
        assert_eq!((skipped.gate, skipped.tool.as_str()), (GateKind::Cost, "infracost"));
        assert!(skipped.why.contains(why) && !skipped.denies, "{stack}: {}", skipped.why);
        assert_eq!(rig.get(report.deployment_id).await.state, S::AwaitingApproval);
    }
    // And it judges by the limits.
    set(&rig, priced(Some(false), 20)).await;
    let report = of_an_instance(&rig, "over", &ended(missing())).await;
    assert_eq!(cost_gate(&report).0, GateVerdict::Deny);
    assert_eq!(cost_rules(&report), ["cost_monthly_increase"]);
}

async fn infracost_that_is_required_and_says_nothing_of_use_is_a_no(rig: Rig) {
    let failed = EstimateStatus::Failed { why: "no key".to_owned() };
    let missing = EstimateStatus::Missing { why: "infracost is not on the PATH".to_owned() };
    let of_an_error = serde_json::json!({"version": "0.2", "currency": "USD", "projects": [{
        "metadata": {"type": "error", "errors": [{"message": "the quota is used up"}]},
        "breakdown": {"resources": []}}]});
    let silent: [(&str, Seen, &str, &str); 7] = [
        ("missing", ended(missing), "not on the PATH", "Install infracost"),
        ("slow", ended(EstimateStatus::TimedOut { after_s: 7 }), "limit of 7 s", "time_limit_s"),
        ("failed", ended(failed), "no key", "log"),
        ("unread", answered(&serde_json::json!({"version": "9"})), "cannot be used", "made again"),
        ("errored", answered(&of_an_error), "the quota is used up", "made again"),
        ("foreign", answered(&said_by_infracost("EUR", "10")), "in EUR", "estimate.currency"),
        ("nobody", Seen::default(), "was not asked", "made again"),
    ];
    set(&rig, priced(Some(true), 100)).await;
    for (stack, seen, why, remedy) in &silent {
        let report = of_an_instance(&rig, stack, seen).await;
        let (verdict, detail) = cost_gate(&report);
        assert_eq!(verdict, GateVerdict::Deny, "{stack}: {detail}");
        assert!(detail.contains(why) && detail.contains("which denies"), "{detail}");
        assert_eq!(cost_rules(&report), ["cost_error"], "{stack}");
        let found = report.judgement.findings.iter().find(|f| f.rule == "cost_error").unwrap();
        assert!(found.message.contains(why), "{stack}: {}", found.message);
        assert!(found.remedy.contains(remedy), "{stack}: {}", found.remedy);
        assert!(found.remedy.contains("infracost.required"), "{stack}: {}", found.remedy);
        assert!(report.judgement.skipped[0].denies, "{stack}");
        assert_eq!(rig.get(report.deployment_id).await.state, S::Blocked, "{stack}");
    }

    // Nor is it exempted, or a pass for a plan of which there is nothing to ask.
    let request = NewExemption {
        rule: "cost_error".to_owned(),
        address: "*".to_owned(),
        project: None,
        environment: None,
        reason: "it is never there".to_owned(),
        owner: "finance".to_owned(),
        expires_at: rig.cx.now() + Duration::days(1),
    };
    // Whether one may be asked for at all is not what is tested.
    let _ = exemption::create(&rig.cx, &rig.who, request, None).await;
    let report = of_an_instance(&rig, "exempt", &Seen::default()).await;
    assert_eq!(cost_gate(&report).0, GateVerdict::Deny);
    let mut without = priced(Some(true), 100);
    without.cost.as_mut().unwrap().limits = CostLimits::default();
    set(&rig, without).await;
    let id = judged(&rig, "bare", "null_resource", Action::Create, &Seen::default()).await;
    let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
    assert_eq!(cost_gate(&report).0, GateVerdict::Deny);
    assert!(report.judgement.skipped[0].why.contains("no document"));
}

async fn where_infracost_is_not_asked_nothing_of_it_counts(rig: Rig) {
    set(&rig, priced(None, 100)).await;
    let dear = answered(&said_by_infracost("USD", "500"));
    for (stack, seen) in [("said", dear), ("silent", Seen::default())] {
        let report = of_an_instance(&rig, stack, &seen).await;
        assert_eq!((cost_gate(&report).0, reckoned_by(&report)), (GateVerdict::Pass, "slipway"));
        assert!(report.judgement.skipped.is_empty());
    }
    let asked = InfracostSettings { time_limit_s: 0, ..InfracostSettings::default() };
    let wrong = CostRules {
        estimate: CostSettings::default(),
        infracost: Some(asked),
        ..CostRules::default()
    };
    let wrong = GateSettings { cost: Some(wrong), ..GateSettings::default() };
    let refused = gate::set(&rig.cx, &rig.who, GateScope::default(), wrong, Precondition::Any);
    assert_eq!(refused.await.unwrap_err().errors[0].pointer, "/cost/infracost/time_limit_s");
    // Whoever plans asks for it by these.
    let id = rig.submit("asked").await;
    assert_eq!(gate::wanted_estimate(&rig.cx, id).await.unwrap().infracost, None);
    set(&rig, priced(Some(true), 100)).await;
    let wanted = gate::wanted_estimate(&rig.cx, id).await.unwrap().infracost.unwrap();
    assert_eq!((wanted.required, wanted.time_limit_s), (true, 120));
}

async fn infracost_says_no_secret(rig: Rig) {
    set(&rig, priced(Some(true), 100)).await;
    let redactor = slipway_domain::redact::Redactor::new(["m5.large", "hunter22"]);
    let quoted = answered(&said_by_infracost("USD", "10"));
    let failed = ended(EstimateStatus::Failed { why: "hunter22 is no key".to_owned() });
    for (stack, seen) in [("quoted", quoted), ("failed", failed)] {
        let seen = Seen { redactor: redactor.clone(), ..seen };
        let report = of_an_instance(&rig, stack, &seen).await;
        let judgement = &report.judgement;
        let text = serde_json::to_string(&(&judgement.gates, &judgement.findings)).unwrap();
        let skipped = serde_json::to_string(&judgement.skipped).unwrap();
        assert!(!text.contains("hunter22") && !skipped.contains("hunter22"), "{text}");
        if stack == "quoted" {
            let cost = serde_json::to_string(&judgement.cost).unwrap();
            assert!(!cost.contains("m5.large") && cost.contains("on-demand, ***"), "{cost}");
        }
    }
}

async fn a_gate_says_no_secret(rig: Rig) {
    set(&rig, deletions_are_denied()).await;
    let redactor = slipway_domain::redact::Redactor::new(["is deleted"]);
    let seen = Seen { redactor, ..Seen::default() };
    let id = judged(&rig, "db", "aws_db_instance", Action::Delete, &seen).await;
    let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains("is deleted") && text.contains("***"), "{text}");
}

async fn what_is_blocked_can_be_judged_anew(rig: Rig) {
    set(&rig, deletions_are_denied()).await;
    let seen = Seen::default();
    let id = judged(&rig, "db", "aws_db_instance", Action::Delete, &seen).await;
    let blocked = rig.get(id).await;
    assert_eq!(blocked.state, S::Blocked);
    let digest = blocked.plan.unwrap().digest;
    let refused = deployment::approve(&rig.cx, &rig.who, id, &digest, None).await;
    assert_eq!(code(refused), Code::IllegalTransition);
    let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
    assert_eq!(report.verdict, GateVerdict::Deny);
    assert!(report.next_steps.iter().any(|step| step.contains("aws_db_instance.a")));
    set(&rig, GateSettings::default()).await;
    gate::reconsider(&rig.cx, &rig.who, id, Some("the rule was changed".to_owned())).await.unwrap();
    let again = gate::reconsider(&rig.cx, &rig.who, id, None).await;
    assert_eq!(code(again), Code::IllegalTransition, "its plan is under way");
    plan_again(&rig, id, "aws_db_instance", Action::Delete, &seen).await;
    assert_eq!(rig.get(id).await.state, S::AwaitingApproval);
    rig.check_events(id).await;
}

async fn rules_are_told_of_the_deployments_before(rig: Rig) {
    let text = "package user.h\n\nimport rego.v1\n\nwarn contains {\"message\": text} if {\n\t\
                h := input.context.history\n\tstates := [one.state | some one in h.last]\n\t\
                text := sprintf(\"%v, %d failed in a row\", [states, h.failures_in_a_row])\n}\n";
    let modules = vec![PolicyModule { path: "h.rego".to_owned(), text: text.to_owned() }];
    let sent = Sent::Modules(UploadPolicy { modules });
    policy::upload(&rig.cx, &rig.who, "h", sent, None).await.unwrap();
    let pack = PackUse { name: "h".to_owned(), version: None, mode: PackMode::Enforce };
    let policy = PolicySettings { packs: vec![pack], ..PolicySettings::default() };
    set(&rig, GateSettings { policy: Some(policy), ..GateSettings::default() }).await;
    let mut said = Vec::new();
    for _ in 0..3 {
        let id = judged(&rig, "web", "null_resource", Action::Create, &Seen::default()).await;
        let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
        said.push(report.judgement.findings[0].message.clone());
        cancel::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
    }
    assert_eq!(
        said,
        [
            "[], 0 failed in a row",
            "[\"cancelled\"], 0 failed in a row",
            "[\"cancelled\", \"cancelled\"], 0 failed in a row"
        ]
    );
    let tried = DryRunRequest {
        pack: Some(NamedPack { name: "h".to_owned(), version: None }),
        modules: None,
        deployments: None,
        project: Some("shop".to_owned()),
        environment: None,
        last: None,
        settings: slipway_domain::policy::RuleSettings::default(),
    };
    let run = policy::dry_run(&rig.cx, &rig.who, tried).await.unwrap();
    let newest = &run.results[0].findings[0].message;
    assert_eq!(*newest, said[2], "as it was then");
}
