use super::super::{BookAge, CostGap, CostGapReason, CostSide, UnsupportedType};
use super::*;

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

fn report(before: &str, after: &str) -> CostReport {
    let (before, after) = (amount(before), amount(after));
    let resource = |address: &str, before: Amount, after: Amount| ResourceCost {
        address: address.to_owned(),
        kind: "aws_instance".to_owned(),
        region: Some("us-east-1".to_owned()),
        monthly_before: before,
        monthly_after: after,
        monthly_delta: after.minus(before),
        components: Vec::new(),
        components_before: Vec::new(),
    };
    CostReport {
        tool: "slipway".to_owned(),
        currency: "USD".to_owned(),
        monthly_before: before,
        monthly_after: after,
        monthly_delta: after.minus(before),
        complete: true,
        resources: vec![
            resource("aws_instance.small", Amount::ZERO, amount("1")),
            resource("aws_instance.big", before, after.minus(amount("1"))),
        ],
        unpriced: Vec::new(),
        unsupported: Vec::new(),
        free: Vec::new(),
        usage_based: Vec::new(),
        assumptions: Vec::new(),
        book: BookAge::default(),
        rates: Vec::new(),
        warnings: Vec::new(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is what the fields of the limits hold")]
fn limit(max: &str, then: CostConsequence) -> Option<CostLimit> {
    Some(CostLimit { max: amount(max), then, role: None })
}

fn rules(judgement: &Judgement) -> Vec<&str> {
    judgement.findings.iter().map(|f| f.rule.as_str()).collect()
}

#[test]
fn without_limits_all_passes() {
    let said = judge(&report("0", "1000000"), &CostLimits::default());
    assert_eq!((said.verdict, said.findings.len()), (GateVerdict::Pass, 0));
    assert_eq!(said.detail, "1000000.00 USD a month (+1000000.00, from 0.00)");
}

#[test]
fn each_limit_is_crossed_above_it_and_not_at_it() {
    use CostConsequence::{Deny, NeedsApproval, Warn};
    let total =
        |max, then| CostLimits { max_monthly_total: limit(max, then), ..Default::default() };
    let more =
        |max, then| CostLimits { max_monthly_increase: limit(max, then), ..Default::default() };
    let percent =
        |max, then| CostLimits { max_increase_percent: limit(max, then), ..Default::default() };
    let given = report("100", "150");
    for (limits, verdict, rule) in [
        (total("150", Deny), GateVerdict::Pass, ""),
        (total("149.999", Deny), GateVerdict::Deny, "cost_monthly_total"),
        (total("149", NeedsApproval), GateVerdict::NeedsApproval, "cost_monthly_total"),
        (total("149", Warn), GateVerdict::Warn, "cost_monthly_total"),
        (more("50", Deny), GateVerdict::Pass, ""),
        (more("49.99", Deny), GateVerdict::Deny, "cost_monthly_increase"),
        (percent("50", Deny), GateVerdict::Pass, ""),
        (percent("49.9", NeedsApproval), GateVerdict::NeedsApproval, "cost_increase_percent"),
    ] {
        let said = judge(&given, &limits);
        assert_eq!(said.verdict, verdict, "{limits:?}");
        assert_eq!(rules(&said).join(","), rule, "{limits:?}");
        for finding in &said.findings {
            assert_eq!(finding.tool, "cost");
            assert_eq!(finding.address, "aws_instance.big");
            assert!(finding.message.contains("aws_instance.big ("), "{}", finding.message);
            assert!(!finding.remedy.is_empty());
        }
    }
}

#[test]
fn the_strictest_of_several_wins() {
    let limits = CostLimits {
        max_monthly_total: limit("10", CostConsequence::Warn),
        max_monthly_increase: limit("10", CostConsequence::Deny),
        max_increase_percent: limit("10", CostConsequence::NeedsApproval),
        ..Default::default()
    };
    let said = judge(&report("100", "150"), &limits);
    assert_eq!(said.verdict, GateVerdict::Deny);
    assert_eq!(
        rules(&said),
        ["cost_monthly_increase", "cost_increase_percent", "cost_monthly_total"]
    );
}

#[test]
fn percent_of_nothing_is_left_out_and_said_so() {
    let limits = CostLimits {
        max_increase_percent: limit("1", CostConsequence::Deny),
        ..Default::default()
    };
    let said = judge(&report("0", "150"), &limits);
    assert_eq!(said.verdict, GateVerdict::Pass);
    assert!(said.detail.ends_with("because nothing was paid before"), "{}", said.detail);
}

#[test]
fn a_plan_that_lowers_the_cost_is_only_warned_of() {
    let limits =
        CostLimits { max_monthly_total: limit("100", CostConsequence::Deny), ..Default::default() };
    assert_eq!(judge(&report("300", "200"), &limits).verdict, GateVerdict::Warn);
    assert_eq!(judge(&report("300", "300"), &limits).verdict, GateVerdict::Warn);
    assert_eq!(judge(&report("300", "301"), &limits).verdict, GateVerdict::Deny);
    // Unless something is not known: then it may well be raised.
    let incomplete = CostReport { complete: false, ..report("300", "200") };
    assert_eq!(judge(&incomplete, &limits).verdict, GateVerdict::Deny);
}

#[test]
fn another_currency_cannot_be_judged_and_is_a_no() {
    let limits = CostLimits {
        currency: "KRW".to_owned(),
        max_monthly_total: limit("100000", CostConsequence::Warn),
        ..Default::default()
    };
    let said = judge(&report("0", "1"), &limits);
    assert_eq!((said.verdict, rules(&said)), (GateVerdict::Deny, vec!["cost_error"]));
}

#[test]
fn what_has_no_price_is_as_bad_as_the_limits_say() {
    use CostTolerance::{Deny, Ignore, NeedsApproval, Warn};

    let mut given = report("0", "1");
    given.unsupported.push(UnsupportedType {
        kind: "aws_sagemaker_endpoint".to_owned(),
        count: 2,
        addresses: vec![
            "aws_sagemaker_endpoint.a".to_owned(),
            "aws_sagemaker_endpoint.b".to_owned(),
        ],
    });
    given.unpriced.push(CostGap {
        address: "aws_instance.x".to_owned(),
        kind: "aws_instance".to_owned(),
        component: "Instance".to_owned(),
        reason: CostGapReason::KnownAfterApply,
        detail: "`instance_type` is known only after apply.".to_owned(),
        side: CostSide::After,
    });
    let with = |given: &CostReport, on_unsupported, on_unpriced| {
        judge(given, &CostLimits { on_unsupported, on_unpriced, ..Default::default() })
    };
    assert_eq!(with(&given, Ignore, Ignore).verdict, GateVerdict::Pass);
    assert_eq!(with(&given, Warn, Ignore).verdict, GateVerdict::Warn);
    assert_eq!(with(&given, Ignore, NeedsApproval).verdict, GateVerdict::NeedsApproval);
    let said = with(&given, Deny, Warn);
    assert_eq!(
        (said.verdict, rules(&said)),
        (GateVerdict::Deny, vec!["cost_unsupported", "cost_unpriced"])
    );
    assert_eq!(said.findings[1].state, State::Unknown);
    assert!(said.detail.contains("3 without a price"), "{}", said.detail);

    // Thousands of them are not a finding each.
    let gap = given.unpriced[0].clone();
    given.unpriced.resize(5000, gap);
    let said = judge(&given, &CostLimits { on_unpriced: Deny, ..Default::default() });
    assert_eq!((said.verdict, said.findings.len()), (GateVerdict::Deny, 102));
    assert!(said.findings.iter().any(|f| f.message.starts_with("4900 more parts")));
}

#[test]
fn limits_are_checked_before_they_are_kept() {
    let limits: CostLimits = serde_json::from_str(
        r#"{"currency": "usd", "max_monthly_total": {"max": "-1", "then": "deny", "role": "x"},
            "on_unsupported": "deny"}"#,
    )
    .unwrap();
    let places: Vec<_> = limits.problems().into_iter().map(|p| p.pointer).collect();
    assert_eq!(places, ["/currency", "/max_monthly_total/max", "/max_monthly_total/role"]);
    assert_eq!(CostLimits::default().problems(), []);
    assert!(serde_json::from_str::<CostLimits>(r#"{"max_total": {}}"#).is_err());
    assert!(
        serde_json::from_str::<CostLimits>(
            r#"{"max_monthly_total": {"max": "NaN", "then": "deny"}}"#
        )
        .is_err()
    );
}
