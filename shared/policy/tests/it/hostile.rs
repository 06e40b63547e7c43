//! Plans that nobody's Terraform prints, made to be passed over, to end the process or to keep it busy:
//! each is judged or denied, soon.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slipway_domain::plan::ResourceChange;
use slipway_policy::{Context, Document, Evaluation, Verdict};

use crate::cases::shipped;

/// Long for a machine that does something else as well, and nothing to what these once took.
const SOON: Duration = Duration::from_secs(20);

fn judged(terraform: Option<&str>, changes: &[ResourceChange]) -> Evaluation {
    let context = Context::default();
    let terraform = terraform.map(str::as_bytes);
    let begin = Instant::now();
    let evaluation = shipped().evaluate(&Document { changes, terraform, context: &context });
    assert!(begin.elapsed() < SOON, "it took {:?}", begin.elapsed());
    evaluation
}

fn denies_as_error(evaluation: &Evaluation) {
    assert_eq!(evaluation.verdict, Verdict::Deny);
    assert_eq!(evaluation.findings[0].rule, "policy_error", "{:?}", evaluation.findings);
}

const PUBLIC: &str = r#"[{"address": "aws_s3_bucket.b", "type": "aws_s3_bucket",
    "change": {"actions": ["create"], "after": {"acl": "public-read"}}}]"#;

#[test]
fn a_part_that_is_there_twice_is_not_judged() {
    let version = r#""format_version": "1.2""#;
    for plan in [
        format!(r#"{{{version}, "resource_changes": {PUBLIC}, "resource_changes": []}}"#),
        format!(r#"{{{version}, "resource_changes": {PUBLIC}, "resource_changes": null}}"#),
        format!(
            r#"{{{version}, "configuration": {{}}, "resource_changes": {PUBLIC}, "configuration": {{}}}}"#
        ),
        format!(r#"{{{version}, {version}, "resource_changes": {PUBLIC}}}"#),
    ] {
        denies_as_error(&judged(Some(&plan), &[]));
    }
}

#[test]
fn of_two_marks_of_one_attribute_the_last_counts() {
    let plan = |marks: &str| {
        format!(
            r#"{{"format_version": "1.2", "resource_changes": [{{"address": "aws_s3_bucket.b",
            "type": "aws_s3_bucket", "change": {{"actions": ["create"],
            "after": {{"acl": "public-read"}}, "after_unknown": {{{marks}}}}}}}]}}"#
        )
    };
    let known = judged(Some(&plan(r#""acl": true, "acl": false"#)), &[]);
    assert_eq!(known.verdict, Verdict::Deny);
    assert!(known.findings.iter().any(|finding| finding.rule == "aws_s3_public_acl"));
    let unknown = judged(Some(&plan(r#""acl": false, "acl": true"#)), &[]);
    assert_ne!(unknown.verdict, Verdict::Pass);
    assert_eq!(unknown.findings, judged(Some(&plan(r#""acl": true"#)), &[]).findings);
}

#[test]
fn values_without_end_are_not_judged() {
    let change = |after: Value, unknown: Value| -> ResourceChange {
        serde_json::from_value(
            json!({"address": "x_y.z", "type": "x_y", "name": "z", "provider": "p",
            "action": "create", "before": null, "after": after, "unknown": unknown}),
        )
        .expect("a change")
    };
    denies_as_error(&judged(None, &[change(json!({}), json!(["/a".repeat(100_000)]))]));
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    denies_as_error(&judged(None, &[change(json!({"a": deep}), json!([]))]));
    let mut well = json!(1);
    for _ in 0..100 {
        well = json!({"a": well});
    }
    assert_ne!(judged(None, &[change(well, json!(["/a/b"]))]).verdict, Verdict::Deny);
}

/// Modules in one another, of which every output names every output of the next.
fn maze(levels: usize, outputs: usize) -> Value {
    let mut module = json!({"resources": [], "outputs": {}});
    for output in 0..outputs {
        module["outputs"][format!("o{output}")] =
            json!({"expression": {"references": ["aws_x.y.id", "aws_x.y"]}});
    }
    for _ in 0..levels {
        let all: Vec<String> = (0..outputs).map(|output| format!("module.m.o{output}")).collect();
        let mut around =
            json!({"module_calls": {"m": {"source": "./m", "module": module}}, "outputs": {}});
        for output in 0..outputs {
            around["outputs"][format!("o{output}")] = json!({"expression": {"references": all}});
        }
        module = around;
    }
    module
}

#[test]
fn references_that_fan_out_are_followed_once() {
    let root = json!({"module_calls": {"m": {"source": "./m", "module": maze(12, 8)}},
        "resources": [{"address": "aws_s3_bucket.b", "type": "aws_s3_bucket", "name": "b", "mode": "managed",
            "expressions": {"bucket": {"references": ["module.m.o0", "module.m"]}}}]});
    let changes: Value = serde_json::from_str(PUBLIC).expect("JSON");
    let plan = json!({"format_version": "1.2", "resource_changes": changes,
        "configuration": {"root_module": root}});
    let evaluation = judged(Some(&plan.to_string()), &[]);
    assert!(evaluation.findings.iter().any(|finding| finding.rule == "aws_s3_public_acl"));
}

#[test]
fn a_name_that_thousands_have_links_none_of_them() {
    let many: Vec<Value> = (0..3000)
        .map(|n| {
            json!({"address": format!("aws_db_instance.d{n}"), "type": "aws_db_instance",
                "change": {"actions": ["create"],
                    "after": {"identifier": "x", "name": "x", "publicly_accessible": true}}})
        })
        .collect();
    let plan = json!({"format_version": "1.2", "resource_changes": many});
    let evaluation = judged(Some(&plan.to_string()), &[]);
    assert!(evaluation.findings.iter().all(|finding| finding.rule != "policy_error"));
}
