//! The shipped pack, prepared, says what it says when it is interpreted: also on plans that nobody
//! would write.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use slipway_policy::facts::UNKNOWN;
use slipway_policy::{Document, Engine, Evaluation, Finding, Limits, Pack};

use crate::cases::{shipped, table};
use crate::plan::Case;

fn interpreted(limits: Limits) -> Engine {
    Engine::compile_as_text(&Pack::shipped(), limits).expect("it compiles")
}

/// What stands where another thing is meant.
fn odd() -> Vec<Value> {
    vec![
        json!(UNKNOWN),
        json!(null),
        json!(""),
        json!("*"),
        json!("0.0.0.0/0"),
        json!("{\"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"*\"}, 7]}"),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(22.5),
        json!(65535),
        json!([]),
        json!({}),
        json!([UNKNOWN]),
        json!([null, 3, "22-23"]),
        json!([[]]),
        json!({"a": null}),
        json!([{"protocol": 6, "ports": [22], "from_port": "0", "cidr_blocks": "::/0"}]),
    ]
}

/// Every place inside a value, as a pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(inner, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (n, inner) in items.iter().enumerate() {
                places(inner, &format!("{at}/{n}"), found);
            }
        }
        _ => {}
    }
}

/// A case in which some values are others.
fn spoiled(case: &mut Case, picks: &[(usize, usize)]) {
    let mut plan: Value = serde_json::from_slice(&case.plan).expect("JSON");
    let odd = odd();
    for (place, value) in picks {
        let mut found = Vec::new();
        for n in 0..plan["resource_changes"].as_array().map_or(0, Vec::len) {
            for part in ["after", "after_unknown"] {
                let at = format!("/resource_changes/{n}/change/{part}");
                if let Some(inner) = plan.pointer(&at) {
                    places(inner, &at, &mut found);
                }
            }
        }
        if found.is_empty() {
            return;
        }
        let at = found[place % found.len()].clone();
        let marks = at.contains("after_unknown");
        let to = if marks { json!(value % 2 == 0) } else { odd[value % odd.len()].clone() };
        *plan.pointer_mut(&at).expect("a place") = to;
    }
    case.plan = serde_json::to_vec(&plan).expect("JSON");
}

fn is_broken(evaluation: &Evaluation) -> bool {
    evaluation.findings.iter().any(|f| f.rule == Finding::POLICY_ERROR)
}

#[test]
fn spoiled_cases_are_judged_alike() {
    let (prepared, interpreted) = (shipped(), interpreted(Limits::default()));
    let table = table();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let picks = prop::collection::vec((any::<usize>(), any::<usize>()), 1..4);
    proptest!(config, |(which in 0..table.len(), picks in picks)| {
        let mut case = Case::read(table[which].2);
        spoiled(&mut case, &picks);
        let (ours, theirs) = (case.judge(&prepared), case.judge(&interpreted));
        let same = if is_broken(&ours) || is_broken(&theirs) {
            is_broken(&ours) && is_broken(&theirs)
        } else {
            ours == theirs
        };
        let only = |a: &Evaluation, b: &Evaluation| -> Vec<Finding> {
            a.findings.iter().filter(|f| !b.findings.contains(f)).cloned().collect()
        };
        prop_assert!(same, "{}\nprepared: {:#?}\ninterpreted: {:#?}",
            String::from_utf8_lossy(&case.plan), only(&ours, &theirs), only(&theirs, &ours));
    });
}

#[test]
fn all_cases_as_one_plan_are_judged_alike() {
    let (mut changes, mut resources) = (Vec::new(), Vec::new());
    let mut kinds = BTreeSet::new();
    for (n, (_, _, text)) in table().into_iter().enumerate() {
        let plan: Value = serde_json::from_slice(&Case::read(text).plan).expect("JSON");
        let named = |mut one: Value| {
            let address = one["address"].as_str().expect("a text");
            let own = address.split('[').next().unwrap_or_default();
            one["address"] = json!(format!("{own}_{n}{}", &address[own.len()..]));
            one
        };
        let list = |part: &Value| part.as_array().cloned().unwrap_or_default();
        for change in list(&plan["resource_changes"]) {
            kinds.insert(change["type"].to_string());
            changes.push(named(change));
        }
        let root = &plan["configuration"]["root_module"];
        resources.extend(list(&root["resources"]).into_iter().map(named));
    }
    let plan = json!({"format_version": "1.2", "resource_changes": changes,
        "configuration": {"root_module": {"resources": resources}}});
    let plan = serde_json::to_vec(&plan).expect("JSON");
    let limits = Limits {
        findings: usize::MAX,
        time: std::time::Duration::from_mins(2),
        ..Limits::default()
    };
    let prepared = Engine::compile(&Pack::shipped(), limits).expect("it compiles");
    let context = slipway_policy::Context {
        settings: json!({"required_tags": ["owner"], "allowed_regions": ["eu-central-1"],
            "allowed_instance_types": ["t3.*"], "allowed_providers": ["hashicorp/azurerm"]}),
        ..slipway_policy::Context::default()
    };
    let document = Document { changes: &[], terraform: Some(&plan), context: &context };
    let (ours, theirs) = (prepared.evaluate(&document), interpreted(limits).evaluate(&document));
    assert!(ours.findings.len() > 1_000 && kinds.len() > 50);
    assert_eq!(ours, theirs);
}

/// A plan with many findings.
fn large() -> Vec<u8> {
    let changes: Vec<Value> = (0..400)
        .map(|n| {
            json!({"address": format!("aws_s3_bucket.b{n}"), "type": "aws_s3_bucket",
                "change": {"actions": ["create"], "after": {"acl": "public-read", "n": n}}})
        })
        .collect();
    serde_json::to_vec(&json!({"resource_changes": changes})).expect("JSON")
}

#[test]
fn limits_hold_as_they_do_for_others() {
    let plan = large();
    let context = slipway_policy::Context::default();
    let document = Document { changes: &[], terraform: Some(&plan), context: &context };
    for limits in [
        Limits { output_bytes: 100_000, ..Limits::default() },
        Limits { findings: 7, ..Limits::default() },
        Limits { text_bytes: 9, ..Limits::default() },
        Limits { input_bytes: 1_000, ..Limits::default() },
        Limits { resources: 399, ..Limits::default() },
    ] {
        let prepared = Engine::compile(&Pack::shipped(), limits).expect("it compiles");
        let ours = prepared.evaluate(&document);
        assert_eq!(ours, interpreted(limits).evaluate(&document), "{limits:?}");
        let broken = limits.findings == 1_000 && limits.text_bytes == 2_000;
        assert_eq!(is_broken(&ours), broken, "{limits:?}");
    }
    let late = shipped().evaluate_within(&document, std::time::Duration::ZERO);
    assert_eq!(late.findings.len(), 1);
    assert_eq!(late.findings[0].rule, Finding::POLICY_ERROR);
    assert!(late.findings[0].message.contains("took longer"), "{late:?}");
}

#[test]
fn what_is_no_plan_denies() {
    let context = slipway_policy::Context::default();
    let padding = " ".repeat(100_000);
    for text in ["", "{", "{}", r#"{"resource_changes": [{}]}"#, r#"{"resource_changes": 1}"#] {
        // Also on several threads.
        for plan in [text.to_owned(), format!("{text}{padding}")] {
            let document =
                Document { changes: &[], terraform: Some(plan.as_bytes()), context: &context };
            let evaluation = shipped().evaluate(&document);
            assert!(is_broken(&evaluation), "{text}");
            assert!(!evaluation.input_digest.is_empty(), "{text}");
        }
    }
}
