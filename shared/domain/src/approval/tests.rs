use chrono::{Duration, TimeZone as _};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::access::{ActorKind, Door};
use crate::finding::{Severity, State};
use crate::id::{ApprovalId, DeploymentId, ExemptionId, PlanId};
use crate::plan::{Action, ResourceChange};

const PLAN: PlanId = PlanId(uuid::Uuid::from_u128(1));

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn now() -> DateTime<Utc> {
    at("2026-03-04T12:00:00Z")
}

fn person(id: &str) -> Actor {
    Actor { id: id.to_owned(), kind: ActorKind::Person, via: Door::Rest }
}

fn agent(id: &str) -> Actor {
    Actor { kind: ActorKind::Agent, via: Door::Mcp, ..person(id) }
}

fn yes(by: &Actor, roles: &[Role]) -> Decision {
    Decision {
        id: ApprovalId(uuid::Uuid::nil()),
        deployment_id: DeploymentId(uuid::Uuid::nil()),
        plan_id: PLAN,
        plan_digest: "sha256:1".to_owned(),
        decision: Verb::Approve,
        by: by.clone(),
        roles: roles.iter().copied().collect(),
        comment: None,
        at: now(),
        expires_at: None,
        revoked: None,
        carried_from: None,
    }
}

fn change(kind: &str, action: Action) -> ResourceChange {
    ResourceChange {
        address: format!("{kind}.a"),
        kind: kind.to_owned(),
        name: "a".to_owned(),
        provider: String::new(),
        action,
        reason: None,
        before: serde_json::Value::Null,
        after: serde_json::Value::Null,
        unknown: Vec::new(),
        sensitive: Vec::new(),
        replace_paths: Vec::new(),
        previous_address: None,
        deposed: None,
        importing_id: None,
    }
}

fn facts(changes: &[(&str, Action)]) -> PlanFacts {
    let changes: Vec<_> = changes.iter().map(|(kind, action)| change(kind, *action)).collect();
    PlanFacts::of(&changes)
}

fn update() -> PlanFacts {
    facts(&[("null_resource", Action::Update)])
}

fn needs(rules: &ApprovalRules, facts: &PlanFacts, demands: &[Demand]) -> ApprovalNeed {
    need(rules, facts, &person("ann"), demands, now())
}

fn by_role(role: &str) -> Demand {
    Demand { role: Some(role.to_owned()), reason: format!("a rule wants {role}") }
}

fn stands(need: &ApprovalNeed, decisions: &[Decision]) -> Standing {
    standing(need, PLAN, decisions, now())
}

#[test]
fn an_empty_document_is_the_default_and_asks_anybody_once() {
    let rules: ApprovalRules = serde_json::from_value(json!({})).unwrap();
    assert_eq!(rules, ApprovalRules::default());
    assert_eq!(rules.problems(""), []);
    let need = needs(&rules, &update(), &[]);
    assert_eq!((need.verdict, need.approvals), (GateVerdict::NeedsApproval, 1));
    assert_eq!(need.refuses(&person("ann"), &BTreeSet::new()), None, "the author may");
    assert_eq!(need.refuses(&agent("bot"), &BTreeSet::new()), None, "agents may");
    let none = stands(&need, &[]);
    assert_eq!((none.required, none.given, none.complete), (1, 0, false));
    assert_eq!(none.missing, ["one more person (every change needs one approval)"]);
    let one = stands(&need, &[yes(&person("ann"), &[])]);
    assert_eq!((one.required, one.given, one.complete), (1, 1, true));
    assert!(one.missing.is_empty());
}

#[test]
fn what_holds_data_is_not_deleted_by_one_person() {
    for action in [Action::Delete, Action::DeleteThenCreate, Action::CreateThenDelete] {
        let facts = facts(&[("aws_db_instance", action), ("null_resource", Action::Delete)]);
        let need = needs(&ApprovalRules::default(), &facts, &[]);
        assert_eq!(need.approvals, 2, "{action:?}");
        let one = stands(&need, &[yes(&person("ann"), &Role::ALL), yes(&person("ann"), &[])]);
        assert_eq!((one.given, one.complete), (1, false), "one person with every role is one");
        assert!(one.missing[0].contains("aws_db_instance.a"), "{one:?}");
        assert!(stands(&need, &[yes(&person("ann"), &[]), yes(&person("bob"), &[])]).complete);
    }
    let other = facts(&[("aws_db_instance", Action::Update), ("aws_s3_bucket", Action::Create)]);
    assert_eq!(needs(&ApprovalRules::default(), &other, &[]).approvals, 1);
    let forgotten = facts(&[("aws_db_instance", Action::Forget)]);
    assert_eq!(needs(&ApprovalRules::default(), &forgotten, &[]).approvals, 1, "it stays there");
}

#[test]
fn of_two_approvals_one_can_have_to_be_an_admins() {
    let rules = ApprovalRules { approvals: 2, ..ApprovalRules::default() };
    let need = needs(&rules, &update(), &[by_role("admin")]);
    assert_eq!(need.approvals, 2, "in total");
    assert_eq!(need.to_text(), "2 approvals, 1 of them by an admin");
    let (ann, bob) = (yes(&person("ann"), &[Role::Approver]), yes(&person("bob"), &[]));
    let two = stands(&need, &[ann.clone(), bob]);
    assert_eq!((two.given, two.complete), (1, false));
    assert_eq!(two.missing, ["an admin (a rule wants admin)"]);
    let admin = yes(&person("cat"), &[Role::Admin, Role::Approver]);
    let alone = stands(&need, std::slice::from_ref(&admin));
    assert_eq!((alone.given, alone.complete), (1, false), "two roles are not two people");
    assert_eq!(alone.missing, ["one more person (every change needs 2 approvals)"]);
    assert!(stands(&need, &[ann, admin]).complete);
}

#[test]
fn rules_that_want_the_same_role_are_content_with_the_same_person() {
    let twice = [by_role("approver"), by_role("approver")];
    let need = needs(&ApprovalRules::default(), &update(), &twice);
    assert_eq!((need.approvals, need.to_text().as_str()), (1, "1 approval by an approver"));
    assert!(stands(&need, &[yes(&person("ann"), &[Role::Approver])]).complete);
    assert!(stands(&need, &[yes(&person("ann"), &[Role::Admin])]).complete, "an admin can always");
    assert!(!stands(&need, &[yes(&person("ann"), &[Role::Operator])]).complete);
}

#[test]
fn rules_that_want_different_roles_want_different_people() {
    let two = [by_role("approver"), by_role("operator")];
    let need = needs(&ApprovalRules::default(), &update(), &two);
    assert_eq!(need.approvals, 2);
    let both = yes(&person("ann"), &[Role::Approver, Role::Operator]);
    assert!(!stands(&need, std::slice::from_ref(&both)).complete);
    let operator = yes(&person("bob"), &[Role::Operator]);
    assert!(stands(&need, &[both.clone(), operator]).complete);
    let approver = yes(&person("bob"), &[Role::Approver]);
    assert!(stands(&need, &[both, approver]).complete, "whichever of the two is left over");
}

#[test]
fn a_role_that_nobody_has_denies() {
    let need = needs(&ApprovalRules::default(), &update(), &[by_role("aprover")]);
    assert_eq!((need.verdict, need.gate().verdict), (GateVerdict::Deny, GateVerdict::Deny));
    let everybody = [yes(&person("ann"), &Role::ALL), yes(&person("bob"), &Role::ALL)];
    let standing = stands(&need, &everybody);
    assert!(!standing.complete && standing.missing[0].contains("\"aprover\""), "{standing:?}");
    assert!(need.refuses(&person("ann"), &Role::ALL.into()).unwrap().contains("aprover"));
}

#[test]
fn who_submitted_does_not_approve_where_rules_say_so() {
    let rules = ApprovalRules { not_author: true, ..ApprovalRules::default() };
    let need = needs(&rules, &update(), &[]);
    let why = need.refuses(&person("ann"), &Role::ALL.into()).unwrap();
    assert_eq!(
        why,
        "ann submitted this deployment, so it cannot approve it. Somebody else must: it needs 1 \
         approval."
    );
    assert!(need.refuses(&agent("ann"), &Role::ALL.into()).is_some(), "at no door");
    assert_eq!(need.refuses(&person("bob"), &BTreeSet::new()), None);
    assert!(!stands(&need, &[yes(&person("ann"), &Role::ALL)]).complete, "nor does it count");
}

#[test]
fn an_agent_does_not_approve_what_it_proposed_but_its_person_may() {
    let rules = ApprovalRules { not_agent: true, ..ApprovalRules::default() };
    let proposed = need(&rules, &update(), &agent("ann"), &[], now());
    assert!(proposed.refuses(&agent("ann"), &Role::ALL.into()).unwrap().contains("A person must"));
    assert_eq!(proposed.refuses(&agent("other"), &BTreeSet::new()), None);
    assert_eq!(proposed.refuses(&person("ann"), &BTreeSet::new()), None);
    assert!(!stands(&proposed, &[yes(&agent("ann"), &[])]).complete);
    assert!(stands(&proposed, &[yes(&person("ann"), &[])]).complete);
    let by_person = need(&rules, &update(), &person("ann"), &[], now());
    assert_eq!(by_person.barred, []);

    let rules = ApprovalRules { agents_may_approve: false, ..ApprovalRules::default() };
    let need = needs(&rules, &update(), &[]);
    assert!(need.refuses(&agent("other"), &Role::ALL.into()).unwrap().contains("is an agent"));
    assert!(!stands(&need, &[yes(&agent("other"), &[])]).complete);
    let behind_mcp = Actor { via: Door::Mcp, ..person("local") };
    assert!(need.refuses(&behind_mcp, &BTreeSet::new()).is_some());
}

#[test]
fn without_the_role_the_refusal_says_who_may() {
    let rules = ApprovalRules {
        approvals: 2,
        roles: vec![Role::Operator, Role::Approver],
        ..ApprovalRules::default()
    };
    let need = needs(&rules, &update(), &[by_role("admin")]);
    let why = need.refuses(&person("bob"), &BTreeSet::from([Role::Developer])).unwrap();
    assert_eq!(
        why,
        "bob has developer, which does not count here: the plan needs 2 approvals by an approver \
         or operator, 1 of them by an admin."
    );
    assert_eq!(need.refuses(&person("bob"), &BTreeSet::from([Role::Operator])), None);
}

#[test]
fn what_only_creates_or_does_nothing_can_pass_by_itself() {
    let rules = ApprovalRules {
        auto_approve: AutoApprove { no_op: true, create_only: true },
        ..ApprovalRules::default()
    };
    let verdict = |changes: &[(&str, Action)]| needs(&rules, &facts(changes), &[]).verdict;
    assert_eq!(verdict(&[]), GateVerdict::Pass);
    assert_eq!(verdict(&[("a", Action::Read), ("a", Action::Move)]), GateVerdict::Pass);
    assert_eq!(
        verdict(&[("a", Action::Create), ("a", Action::Read), ("a", Action::Move)]),
        GateVerdict::Pass
    );
    for other in [
        Action::Update,
        Action::Delete,
        Action::DeleteThenCreate,
        Action::CreateThenDelete,
        Action::Forget,
        Action::Import,
    ] {
        assert_eq!(verdict(&[("a", Action::Create), ("a", other)]), GateVerdict::NeedsApproval);
        assert_eq!(verdict(&[("a", other)]), GateVerdict::NeedsApproval);
    }
    // What others ask for is asked for all the same.
    let need = needs(&rules, &facts(&[("a", Action::Create)]), &[by_role("approver")]);
    assert_eq!(need.to_text(), "1 approval by an approver");
    let pass = needs(&rules, &facts(&[("a", Action::Create)]), &[]);
    assert_eq!(pass.gate().detail, "no approval is needed");
    let standing = stands(&pass, &[]);
    assert_eq!((standing.required, standing.complete), (0, true));
}

#[test]
fn what_is_revoked_old_rejected_or_about_another_plan_does_not_count() {
    let need = needs(&ApprovalRules::default(), &update(), &[]);
    let good = yes(&person("ann"), &[]);
    let by = person("bob");
    let revoked = Some(Revocation { at: now(), by, reason: None });
    for bad in [
        Decision { revoked, ..good.clone() },
        Decision { expires_at: Some(now()), ..good.clone() },
        Decision { decision: Verb::Reject, ..good.clone() },
        Decision { plan_id: PlanId(uuid::Uuid::from_u128(2)), ..good.clone() },
    ] {
        assert_eq!(stands(&need, std::slice::from_ref(&bad)).given, 0, "{bad:?}");
        assert!(stands(&need, &[bad, good.clone()]).complete);
    }
    let young = Decision { expires_at: Some(now() + Duration::seconds(1)), ..good };
    assert!(stands(&need, &[young]).complete);
    let rules = ApprovalRules { expires_in_s: Some(60), ..ApprovalRules::default() };
    let need = needs(&rules, &update(), &[]);
    assert_eq!(need.expires_at(now()), Some(now() + Duration::seconds(60)));
}

#[test]
fn findings_ask_once_for_each_rule_and_role() {
    let finding = |rule: &str, address: &str, verdict, role: &str| Finding {
        tool: Finding::POLICY.to_owned(),
        rule: rule.to_owned(),
        title: "Data goes".to_owned(),
        severity: Severity::High,
        address: address.to_owned(),
        message: String::new(),
        remedy: String::new(),
        aliases: Vec::new(),
        state: State::Fail,
        verdict,
        role: Some(role.to_owned()),
        file: None,
        line: None,
        exemption: None,
        also_found_by: Vec::new(),
        suppressed: None,
    };
    let exempt = Finding {
        exemption: Some(ExemptionId(uuid::Uuid::nil())),
        ..finding("other", "a.b", Verdict::RequireRole, "admin")
    };
    let demands = Demand::of_findings(&[
        finding("stateful_delete", "a.b", Verdict::RequireRole, "approver"),
        finding("stateful_delete", "a.c", Verdict::RequireRole, "approver"),
        finding("blast_radius", "", Verdict::RequireRole, "admin"),
        finding("denied", "a.b", Verdict::Deny, "admin"),
        exempt,
    ]);
    let text: Vec<_> = demands.iter().map(|d| (d.role.as_deref(), d.reason.as_str())).collect();
    assert_eq!(
        text,
        [
            (Some("approver"), "stateful_delete: Data goes (a.b and 1 more)"),
            (Some("admin"), "blast_radius: Data goes"),
        ]
    );
    let gate = |gate, verdict| GateResult { gate, verdict, detail: "much".to_owned() };
    let demands = Demand::of_gates(&[
        gate(GateKind::Cost, GateVerdict::NeedsApproval),
        gate(GateKind::Policy, GateVerdict::Warn),
        gate(GateKind::Approval, GateVerdict::NeedsApproval),
    ]);
    assert_eq!(demands, [Demand { role: None, reason: "cost: much".to_owned() }]);
}

#[test]
fn rules_out_of_bounds_are_told_at_their_place() {
    let rules: ApprovalRules = serde_json::from_value(json!({
        "approvals": 21, "stateful_deletes": {"approvals": 99}, "expires_in_s": 5,
        "freeze": [
            {"when": {"kind": "once", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
             "reason": " "},
            {"when": {"kind": "weekly", "days": [], "from": "18:00", "to": "08:00"}, "reason": "x"},
        ],
    }))
    .unwrap();
    let pointers: Vec<_> = rules.problems("/approval").into_iter().map(|p| p.pointer).collect();
    assert_eq!(
        pointers,
        [
            "/approval/approvals",
            "/approval/stateful_deletes/approvals",
            "/approval/expires_in_s",
            "/approval/freeze/0/reason",
            "/approval/freeze/0/when/to",
            "/approval/freeze/1/when/days",
        ]
    );
    for bad in [
        json!({"surplus": 1}),
        json!({"roles": ["king"]}),
        json!({"approvals": -1}),
        json!({"auto_approve": {"all": true}}),
        json!({"freeze": [{"when": {"kind": "weekly", "days": ["fri"], "from": "25:00", "to": "08:00"},
            "reason": "x"}]}),
        json!({"freeze": [{"when": {"kind": "weekly", "days": ["fri"], "from": "1:00", "to": "08:00"},
            "reason": "x"}]}),
        json!({"freeze": [{"when": {"kind": "weekly", "days": ["fri"], "from": "18:00", "to": "08:00",
            "utc_offset": "+15:00"}, "reason": "x"}]}),
        json!({"freeze": [{"when": {"kind": "weekly", "days": ["fri"], "from": "18:00", "to": "08:00",
            "zone": "Asia/Seoul"}, "reason": "x"}]}),
        json!({"freeze": [{"when": {"kind": "monthly"}, "reason": "x"}]}),
    ] {
        assert!(serde_json::from_value::<ApprovalRules>(bad.clone()).is_err(), "{bad}");
    }
}

fn weekly(days: &[Weekday], from: &str, to: &str, offset: &str) -> FreezeWindow {
    serde_json::from_value(json!({
        "when": {"kind": "weekly", "days": days, "from": from, "to": to, "utc_offset": offset},
        "reason": "the weekend",
    }))
    .unwrap()
}

fn until(windows: &[FreezeWindow], moment: &str) -> Option<DateTime<Utc>> {
    frozen(windows, &[], at(moment)).map(|frozen| frozen.until)
}

#[test]
fn weekly_windows_go_over_midnight_and_mean_local_times() {
    // Friday 6 March 2026, 18:00 in Seoul, is 09:00 UTC.
    let friday = [weekly(&[Weekday::Fri], "18:00", "08:00", "+09:00")];
    assert_eq!(until(&friday, "2026-03-06T08:59:59Z"), None);
    let end = Some(at("2026-03-06T23:00:00Z"));
    assert_eq!(until(&friday, "2026-03-06T09:00:00Z"), end);
    assert_eq!(until(&friday, "2026-03-06T22:59:59Z"), end, "Saturday morning in Seoul");
    assert_eq!(until(&friday, "2026-03-06T23:00:00Z"), None);
    assert_eq!(until(&friday, "2026-03-07T09:00:00Z"), None);
    let whole = [weekly(&[Weekday::Sun], "00:00", "24:00", "-03:30")];
    assert_eq!(until(&whole, "2026-03-08T03:29:00Z"), None);
    assert_eq!(until(&whole, "2026-03-08T03:30:00Z"), Some(at("2026-03-09T03:30:00Z")));
}

#[test]
fn windows_that_follow_each_other_are_one() {
    let days = [Weekday::Fri, Weekday::Sat, Weekday::Sun];
    let weekend = [weekly(&days, "00:00", "00:00", "Z")];
    assert_eq!(until(&weekend, "2026-03-06T10:00:00Z"), Some(at("2026-03-09T00:00:00Z")));
    let once: FreezeWindow = serde_json::from_value(json!({
        "when": {"kind": "once", "from": "2026-03-08T12:00:00Z", "to": "2026-03-10T06:00:00Z"},
        "reason": "the move",
    }))
    .unwrap();
    let both = [weekend[0].clone(), once];
    let found = frozen(&both, &[], at("2026-03-06T10:00:00Z")).unwrap();
    assert_eq!((found.until, found.reason.as_str()), (at("2026-03-10T06:00:00Z"), "the weekend"));
    // Always: it ends somewhere, and is looked at again then.
    let always = [weekly(&Weekday::ALL, "00:00", "24:00", "Z")];
    assert!(until(&always, "2026-03-06T10:00:00Z").unwrap() > at("2026-04-06T10:00:00Z"));
}

#[test]
fn a_freeze_spares_what_certain_people_approved() {
    let mut window = weekly(&[Weekday::Wed], "00:00", "24:00", "Z");
    window.except_roles = vec![Role::Operator];
    let windows = [window];
    let (operator, admin) = (BTreeSet::from([Role::Operator]), BTreeSet::from([Role::Admin]));
    assert!(frozen(&windows, &[], now()).is_some());
    assert!(frozen(&windows, &[&admin], now()).is_some(), "only who is named");
    assert!(frozen(&windows, &[&admin, &operator], now()).is_none());
    let rules = ApprovalRules { freeze: windows.to_vec(), ..ApprovalRules::default() };
    let need = needs(&rules, &update(), &[]);
    assert_eq!(need.frozen.map(|f| f.until), Some(at("2026-03-05T00:00:00Z")));
}

#[test]
fn types_that_hold_data_are_listed_once() {
    let types = stateful_types();
    assert!(types.len() > 100 && types.windows(2).all(|two| two[0] < two[1]), "{types:?}");
    for kind in ["aws_db_instance", "google_storage_bucket", "azurerm_managed_disk", "ncloud_mysql"]
    {
        assert!(is_stateful(kind), "{kind}");
    }
    assert!(!is_stateful("aws_instance") && !is_stateful("") && !is_stateful("#"));
}

fn some_roles() -> impl Strategy<Value = BTreeSet<Role>> {
    prop::collection::btree_set(prop::sample::select(Role::ALL.to_vec()), 0..3)
}

fn some_need() -> impl Strategy<Value = ApprovalNeed> {
    let requirement = (1_u32..3, some_roles());
    prop::collection::vec(requirement, 0..4).prop_map(|given| {
        let mut requirements = Vec::new();
        for (approvals, roles) in given {
            add(&mut requirements, approvals, roles, "because".to_owned());
        }
        let mut need = needs(
            &ApprovalRules { approvals: 0, ..ApprovalRules::default() },
            &PlanFacts::default(),
            &[],
        );
        need.requirements = requirements;
        need.verdict = GateVerdict::NeedsApproval;
        need.approvals = need.slots().iter().map(|(_, count)| count).sum();
        need
    })
}

fn some_people() -> impl Strategy<Value = Vec<(String, BTreeSet<Role>)>> {
    prop::collection::vec(("[a-e]", some_roles()), 0..6)
}

fn said(people: &[(String, BTreeSet<Role>)]) -> Vec<Decision> {
    let said = |(id, roles): &(String, BTreeSet<Role>)| Decision {
        roles: roles.clone(),
        ..yes(&person(id), &[])
    };
    people.iter().map(said).collect()
}

/// Tries every way to give slots to different people; the largest number that can be filled.
fn most(slots: &[&Requirement], people: &[BTreeSet<Role>], used: &mut Vec<bool>) -> usize {
    let Some((slot, rest)) = slots.split_first() else { return 0 };
    let mut best = most(rest, people, used);
    for n in 0..people.len() {
        if !used[n] && slot.is_met_by(&people[n]) {
            used[n] = true;
            best = best.max(1 + most(rest, people, used));
            used[n] = false;
        }
    }
    best
}

proptest! {
    /// The matching is as good as trying everything.
    #[test]
    fn as_many_are_counted_as_can_be(need in some_need(), people in some_people()) {
        let mut once = std::collections::BTreeMap::<String, BTreeSet<Role>>::new();
        for (id, roles) in &people {
            once.entry(id.clone()).or_insert_with(|| roles.clone());
        }
        let distinct: Vec<_> = once.clone().into_iter().collect();
        let found = stands(&need, &said(&distinct));
        let slots: Vec<_> = need.slots().into_iter()
            .flat_map(|(r, count)| std::iter::repeat_n(r, count as usize)).collect();
        let roles: Vec<_> = once.into_values().collect();
        let best = most(&slots, &roles, &mut vec![false; roles.len()]);
        prop_assert_eq!(found.given as usize, best);
        prop_assert_eq!(found.complete, best == slots.len());
        prop_assert_eq!(found.missing.is_empty(), found.complete);
        prop_assert_eq!(found.required, need.approvals);
    }

    /// Whatever is complete has enough different people for every single requirement.
    #[test]
    fn complete_means_that_each_requirement_is_met(need in some_need(), people in some_people()) {
        let found = stands(&need, &said(&people));
        if found.complete {
            for requirement in &need.requirements {
                let met: BTreeSet<_> = people.iter()
                    .filter(|(_, roles)| requirement.is_met_by(roles))
                    .map(|(id, _)| id).collect();
                prop_assert!(met.len() >= requirement.approvals as usize, "{requirement:?}");
            }
        }
        let distinct: BTreeSet<_> = people.iter().map(|(id, _)| id).collect();
        prop_assert!(found.given as usize <= distinct.len(), "nobody counts twice");
    }

    /// One more yes never makes it worse, and the order of them does not matter.
    #[test]
    fn another_yes_never_takes_away(
        need in some_need(), people in some_people(), id in "[a-f]", roles in some_roles()
    ) {
        let mut decisions = said(&people);
        let before = stands(&need, &decisions);
        decisions.push(Decision { roles, ..yes(&person(&id), &[]) });
        let after = stands(&need, &decisions);
        prop_assert!(after.given >= before.given);
        prop_assert!(after.complete || !before.complete);
        decisions.reverse();
        prop_assert_eq!(stands(&need, &decisions).given, after.given);
    }

    /// While a freeze is said to hold, it does at every moment of it.
    #[test]
    fn a_freeze_holds_to_its_end(start in 0_i64..1_000_000, days in prop::collection::vec(
        prop::sample::select(Weekday::ALL.to_vec()), 1..4), from in 0_u16..24, to in 0_u16..=24)
    {
        let window = weekly(&days, &format!("{from:02}:00"), &format!("{to:02}:00"), "+09:00");
        let windows = [window];
        let moment = Utc.timestamp_opt(1_767_225_600 + start, 0).unwrap();
        if let Some(found) = frozen(&windows, &[], moment) {
            prop_assert!(found.until > moment);
            let half = moment + (found.until - moment) / 2;
            let last = found.until - Duration::seconds(1);
            prop_assert!(frozen(&windows, &[], half).is_some());
            prop_assert!(frozen(&windows, &[], last).is_some());
            prop_assert!(frozen(&windows, &[], found.until).is_none());
        }
    }

    /// Documents go there and back.
    #[test]
    fn a_need_survives_its_document(need in some_need()) {
        let text = serde_json::to_string(&need).unwrap();
        prop_assert_eq!(serde_json::from_str::<ApprovalNeed>(&text).unwrap(), need);
    }
}
