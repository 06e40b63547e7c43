//! The real scanners, where they are installed (`checkov`, `tfsec` and `conftest` on the path). In
//! this house: checkov 3.3.30, tfsec 1.26.0, conftest 0.71.1.

use std::path::Path;

use slipway_client_scanners::{Choice, Options, Scanners};
use slipway_domain::finding::{Finding, Severity};
use slipway_domain::gate::GateVerdict;
use slipway_domain::port::scanner::Scan as _;
use slipway_domain::port::scanner::ScanInput;
use slipway_domain::scan::{RuleBook, ScanOutcome, ScanStatus, ScannerName, dedupe, judge};

use crate::job::{Job, fixture, input, scan, settings};

fn options(names: &[ScannerName]) -> Options {
    let mut rules = RuleBook::new();
    for (rule, aliases) in [
        ("aws_s3_public_acl", ["CKV_AWS_20", "AVD-AWS-0092"]),
        ("aws_open_ssh", ["CKV_AWS_24", "AVD-AWS-0107"]),
        ("aws_rds_public", ["CKV_AWS_17", "AVD-AWS-0180"]),
    ] {
        rules.add(rule, Severity::Critical, "Close it.", aliases);
    }
    Options {
        scanners: names.iter().copied().map(Choice::on_path).collect(),
        conftest_policies: vec![fixture("policies")],
        rules,
        ..Options::default()
    }
}

/// The options for a scanner that is there.
async fn installed(name: ScannerName) -> Option<Options> {
    let options = options(&[name]);
    if Scanners::discover(options.clone()).await.get(name).is_none() {
        println!("SKIPPED: no `{name}` on the path");
        return None;
    }
    Some(options)
}

fn of<'a>(outcome: &'a ScanOutcome, rule: &str, address: &str) -> &'a Finding {
    let found = outcome.findings.iter().find(|f| f.rule == rule && f.address == address);
    found.unwrap_or_else(|| panic!("no {rule} of {address} in {outcome:?}"))
}

fn write(dir: &Path, path: &str, text: &str) {
    let file = dir.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

const BUCKET: &str =
    "resource \"aws_s3_bucket\" \"data\" {\n  bucket = \"x\"\n  acl = \"public-read\"\n}\n";

#[tokio::test]
async fn checkov_on_a_source() {
    let Some(options) = installed(ScannerName::Checkov).await else { return };
    let job = Job::new();
    let outcome = scan(options, ScannerName::Checkov, &job, &input(&fixture("source"))).await;
    assert_eq!(outcome.status, ScanStatus::Done, "{:?}", job.said());
    let open = of(&outcome, "CKV_AWS_24", "aws_security_group.admin");
    assert_eq!((open.severity, open.file.as_deref()), (Severity::Critical, Some("main.tf")));
    let inner = of(&outcome, "CKV_AWS_17", "module.db.aws_db_instance.main[\"a\"]");
    assert_eq!((inner.severity, inner.file.as_deref()), (Severity::Critical, Some("db/main.tf")));
    let skipped = of(&outcome, "CKV_AWS_18", "aws_s3_bucket.logs");
    assert!(skipped.suppressed.as_deref().unwrap().contains("would loop"));
    let kept = String::from_utf8_lossy(&outcome.sarif).into_owned() + &format!("{outcome:?}");
    assert!(!kept.contains("not-a-real-one"), "a password of the source is in the report");
    assert!(!kept.contains("scan-checkov"), "a path of this machine is in the report");
    assert_eq!(judge(&settings(&[ScannerName::Checkov]), &[outcome]).verdict, GateVerdict::Deny);
    assert_eq!(job.left(), 0);
}

#[tokio::test]
async fn checkov_on_a_plan() {
    let Some(options) = installed(ScannerName::Checkov).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.json");
    let bucket = r#"{"address":"aws_s3_bucket.data","mode":"managed","type":"aws_s3_bucket","name":"data",
        "provider_name":"registry.terraform.io/hashicorp/aws","schema_version":0,
        "values":{"bucket":"x","acl":"public-read"}}"#;
    let text = format!(
        r#"{{"format_version":"1.2","terraform_version":"1.11.4",
            "planned_values":{{"root_module":{{"resources":[{bucket}]}}}},
            "resource_changes":[{{"address":"aws_s3_bucket.data","mode":"managed","type":"aws_s3_bucket","name":"data",
              "change":{{"actions":["create"],"before":null,"after":{{"bucket":"x","acl":"public-read"}},"after_unknown":{{}}}}}}],
            "configuration":{{"root_module":{{"resources":[]}}}}}}"#
    );
    std::fs::write(&plan, text).unwrap();
    let mut input = input(&fixture("source"));
    input.plan = Some(plan);
    let outcome = scan(options, ScannerName::Checkov, &Job::new(), &input).await;
    assert_eq!(outcome.status, ScanStatus::Done);
    let public = of(&outcome, "CKV_AWS_20", "aws_s3_bucket.data");
    assert_eq!((public.severity, public.file.as_deref()), (Severity::Critical, None));
    assert!(outcome.findings.iter().all(|f| f.address.starts_with("aws_s3_bucket")));
}

#[tokio::test]
async fn checkov_does_not_pass_what_it_cannot_read_or_was_told_to_pass() {
    let Some(options) = installed(ScannerName::Checkov).await else { return };
    let source = tempfile::tempdir().unwrap();
    let marker = source.path().join("ran");
    write(source.path(), "main.tf", BUCKET);
    let config = "skip-check:\n  - CKV_AWS_20\nexternal-checks-dir:\n  - checks\n";
    write(source.path(), ".checkov.yaml", config);
    write(
        source.path(),
        "checks/__init__.py",
        &format!("open({:?}, 'w')\n", marker.display().to_string()),
    );
    let call = "module \"m\" {\n  source = \"./node_modules/.m\"\n}\n";
    write(source.path(), "call.tf", call);
    write(source.path(), "node_modules/.m/main.tf", BUCKET);
    let outcome =
        scan(options.clone(), ScannerName::Checkov, &Job::new(), &input(source.path())).await;
    assert_eq!(outcome.status, ScanStatus::Done);
    of(&outcome, "CKV_AWS_20", "aws_s3_bucket.data");
    of(&outcome, "CKV_AWS_20", "module.m.aws_s3_bucket.data");
    assert!(!marker.exists(), "code of the source was run");
    write(source.path(), "bad.tf", "resource \"x\" {{{\n");
    let outcome = scan(options, ScannerName::Checkov, &Job::new(), &input(source.path())).await;
    let ScanStatus::Failed { why } = &outcome.status else { panic!("{:?}", outcome.status) };
    assert!(why.ends_with("could not read bad.tf"), "{why}");
    of(&outcome, "CKV_AWS_20", "aws_s3_bucket.data");
}

#[tokio::test]
async fn what_is_beside_the_root_module_does_not_deny() {
    let Some(options) = installed(ScannerName::Checkov).await else { return };
    let source = tempfile::tempdir().unwrap();
    write(source.path(), "stack/main.tf", "module \"m\" {\n  source = \"../modules/m\"\n}\n");
    write(source.path(), "modules/m/main.tf", BUCKET);
    write(source.path(), "stack/examples/main.tf", &BUCKET.replace("data", "example"));
    write(source.path(), "other/main.tf", &BUCKET.replace("data", "other"));
    let mut input = input(source.path());
    input.root = Some("stack".into());
    let outcome = scan(options, ScannerName::Checkov, &Job::new(), &input).await;
    let inner = of(&outcome, "CKV_AWS_20", "module.m.aws_s3_bucket.data");
    assert_eq!(
        (inner.severity, inner.file.as_deref()),
        (Severity::Critical, Some("modules/m/main.tf"))
    );
    let example = of(&outcome, "CKV_AWS_20", "aws_s3_bucket.example");
    assert_eq!(example.severity, Severity::Medium);
    assert!(outcome.findings.iter().all(|f| !f.address.contains("other")));
}

#[tokio::test]
async fn tfsec_on_a_source() {
    let Some(options) = installed(ScannerName::Tfsec).await else { return };
    let job = Job::new();
    let outcome = scan(options.clone(), ScannerName::Tfsec, &job, &input(&fixture("source"))).await;
    assert_eq!(outcome.status, ScanStatus::Done, "{:?}", job.said());
    let open = of(&outcome, "AVD-AWS-0107", "aws_security_group.admin");
    assert_eq!((open.severity, open.line), (Severity::High, Some(29)));
    assert_eq!(of(&outcome, "AVD-AWS-0092", "aws_s3_bucket.data").severity, Severity::Critical);
    assert!(of(&outcome, "AVD-AWS-0089", "aws_s3_bucket.logs").suppressed.is_some());
    // What configures it is of no use, and what it cannot read is no pass.
    let source = tempfile::tempdir().unwrap();
    write(source.path(), "main.tf", BUCKET);
    write(source.path(), ".tfsec/config.yml", "exclude:\n  - aws-s3-no-public-access-with-acl\n");
    let outcome =
        scan(options.clone(), ScannerName::Tfsec, &Job::new(), &input(source.path())).await;
    of(&outcome, "AVD-AWS-0092", "aws_s3_bucket.data");
    write(source.path(), "bad.tf", "resource \"x\" {{{\n");
    let outcome = scan(options, ScannerName::Tfsec, &Job::new(), &input(source.path())).await;
    assert!(matches!(outcome.status, ScanStatus::Failed { .. }), "{:?}", outcome.status);
}

#[tokio::test]
async fn conftest_with_policies_of_the_operator() {
    let Some(options) = installed(ScannerName::Conftest).await else { return };
    let name = ScannerName::Conftest;
    let outcome = scan(options.clone(), name, &Job::new(), &input(&fixture("source"))).await;
    assert_eq!(outcome.status, ScanStatus::Done);
    let public = of(&outcome, "s3_public", "aws_s3_bucket.data");
    assert_eq!((public.severity, public.file.as_deref()), (Severity::Critical, Some("main.tf")));
    // The same policy on a plan, which is no file of the source.
    let source = tempfile::tempdir().unwrap();
    let plan = r#"{"resource":{"aws_s3_bucket":{"data":[{"acl":"public-read"}]},"aws_security_group":{}}}"#;
    write(source.path(), "plan.json", plan);
    let on_plan =
        ScanInput { plan: Some(source.path().join("plan.json")), ..input(&fixture("source")) };
    let outcome = scan(options.clone(), name, &Job::new(), &on_plan).await;
    let public = of(&outcome, "s3_public", "aws_s3_bucket.data");
    assert_eq!((public.severity, public.file.as_deref()), (Severity::Critical, None));
    write(source.path(), "main.tf", "resource \"x\" {{{\n");
    let outcome = scan(options, name, &Job::new(), &input(source.path())).await;
    let ScanStatus::Failed { why } = &outcome.status else { panic!("{:?}", outcome.status) };
    assert!(why.contains("no report"), "{why}");
}

#[tokio::test]
async fn what_two_scanners_saw_is_told_once() {
    let names = [ScannerName::Checkov, ScannerName::Tfsec];
    for name in names {
        if installed(name).await.is_none() {
            return;
        }
    }
    let scanners = Scanners::discover(options(&names)).await;
    let settings = settings(&names);
    let outcomes = scanners.scan_all(&settings, &Job::new(), &input(&fixture("source"))).await;
    let judged = judge(&settings, &outcomes);
    assert_eq!(judged.verdict, GateVerdict::Deny);
    let all = judged.findings.len();
    let joined = dedupe(Vec::new(), judged.findings);
    assert!(joined.len() < all, "{all} are still {}", joined.len());
    let public = joined
        .iter()
        .find(|f| f.address == "aws_s3_bucket.data" && f.is_of_rule("aws_s3_public_acl"))
        .unwrap();
    assert_eq!(public.also_found_by.len(), 1, "{public:?}");
}
