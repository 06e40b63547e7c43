//! Every rule of the shipped pack on its cases, from `cases.txt`.

use std::collections::BTreeMap;

use slipway_policy::{Engine, Finding, Limits, Pack, Severity, State};

use crate::plan::Case;

/// `(rule, expected, text)` of every line.
pub(crate) fn table() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut rule = "";
    let mut table = Vec::new();
    for line in include_str!("cases.txt").lines() {
        if let Some(name) = line.strip_prefix('[') {
            rule = name.trim_end_matches(']');
        } else if !line.is_empty() && !line.starts_with('#') {
            let (expected, text) = line.split_once(' ').expect("a word and a case");
            table.push((rule, expected, text));
        }
    }
    table
}

pub(crate) fn shipped() -> Engine {
    Engine::compile(&Pack::shipped(), Limits::default()).expect("the shipped pack compiles")
}

#[test]
fn every_case_is_judged_as_it_says() {
    let engine = shipped();
    let mut wrong = Vec::new();
    for (rule, expected, text) in table() {
        let evaluation = Case::read(text).judge(&engine);
        let found: Vec<&Finding> = evaluation.findings.iter().filter(|f| f.rule == rule).collect();
        let broken = evaluation.findings.iter().find(|f| f.rule == Finding::POLICY_ERROR);
        let said = match (broken, found.iter().map(|f| f.state).max()) {
            (Some(broken), _) => broken.message.as_str(),
            (_, None) => "good",
            (_, Some(State::Fail)) => "bad",
            (_, Some(_)) => "open",
        };
        if said != expected {
            wrong.push(format!("{rule}: {said}, should be {expected}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn helpers_in_rust_and_in_rego_find_the_same() {
    let native = shipped();
    let text = Engine::compile_as_text(&Pack::shipped(), Limits::default()).expect("it compiles");
    for (rule, _, case) in table() {
        let plan = Case::read(case);
        assert_eq!(plan.judge(&native), plan.judge(&text), "{rule}: {case}");
    }
}

#[test]
fn every_rule_has_three_good_and_three_bad_cases() {
    let engine = shipped();
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (rule, expected, _) in table() {
        let count = counts.entry(rule).or_default();
        match expected {
            "good" => count.0 += 1,
            "bad" => count.1 += 1,
            other => assert_eq!(other, "open", "{rule}"),
        }
    }
    for (id, info) in engine.rules() {
        let (good, bad) = counts.remove(id.as_str()).unwrap_or_default();
        assert!(good >= 3 && bad >= 3, "{id}: {good} good, {bad} bad");
        assert!(!info.title.is_empty() && !info.rationale.is_empty(), "{id}");
        assert!(!info.remedy.is_empty() && !info.source.is_empty(), "{id}");
    }
    assert!(counts.is_empty(), "cases of rules that are not there: {counts:?}");
}

#[test]
fn what_harms_most_is_critical() {
    let engine = shipped();
    for id in [
        "aws_s3_public_acl",
        "aws_s3_public_policy",
        "aws_open_ssh",
        "aws_open_rdp",
        "gcp_open_ssh",
        "azure_open_rdp",
        "ncp_open_ssh",
        "aws_iam_admin",
        "aws_env_secret",
        "aws_user_data_secret",
        "provider_keys",
        "password_literal",
        "gcp_bucket_public",
        "azure_container_public",
        "aws_rds_public",
    ] {
        assert_eq!(engine.rules()[id].severity, Severity::Critical, "{id}");
    }
}

#[test]
fn a_finding_names_resource_rule_remedy_and_aliases() {
    let case = Case::read(r#"module.site.aws_s3_bucket.b["x"] {"acl":"public-read"}"#);
    let evaluation = case.judge(&shipped());
    let finding =
        evaluation.findings.iter().find(|f| f.rule == "aws_s3_public_acl").expect("the finding");
    assert_eq!(finding.address, r#"module.site.aws_s3_bucket.b["x"]"#);
    assert!(finding.remedy.contains("private"), "{finding:?}");
    assert!(finding.aliases.iter().any(|a| a == "CKV_AWS_20"), "{finding:?}");
    assert_eq!(evaluation.verdict, slipway_policy::Verdict::Deny);
    assert_eq!(evaluation, case.judge(&shipped()), "the same every time");
}

#[test]
fn the_normalised_plan_is_judged_without_terraforms_document() {
    use serde_json::json;
    let mut change: slipway_domain::plan::ResourceChange = serde_json::from_value(json!({
        "address": "module.a[0].aws_s3_bucket_acl.b", "type": "aws_s3_bucket_acl", "name": "b",
        "provider": "registry.terraform.io/hashicorp/aws", "action": "create", "before": null,
        "after": {"acl": "public-read"}}))
    .expect("a change");
    let engine = shipped();
    let judge = |change: &slipway_domain::plan::ResourceChange| {
        let context = slipway_policy::Context::default();
        let document = slipway_policy::Document {
            changes: std::slice::from_ref(change),
            terraform: None,
            context: &context,
        };
        engine.evaluate(&document).verdict
    };
    assert_eq!(judge(&change), slipway_policy::Verdict::Deny);
    change.after = json!({"acl": null});
    change.unknown = vec!["/acl".to_owned()];
    assert_eq!(judge(&change), slipway_policy::Verdict::Unknown);
    change.after = json!({"acl": "private"});
    change.unknown.clear();
    assert_eq!(judge(&change), slipway_policy::Verdict::Pass);
}
