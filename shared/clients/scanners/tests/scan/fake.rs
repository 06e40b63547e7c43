//! Scanners that misbehave: shell scripts in the place of the real ones.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use slipway_client_scanners::{Choice, Options, Scanners};
use slipway_domain::finding::Severity;
use slipway_domain::gate::GateVerdict;
use slipway_domain::port::driver::Stop;
use slipway_domain::port::scanner::Scan as _;
use slipway_domain::redact::Redactor;
use slipway_domain::scan::{RuleBook, ScanStatus, ScannerName, judge};

use crate::job::{Job, fixture, input, scan, settings};

/// A scanner that does what `script` says once it is asked to scan.
fn fake(dir: &Path, name: ScannerName, script: &str) -> Options {
    let program = dir.join(name.as_str());
    let text = format!("#!/bin/sh\n[ \"$1\" = --version ] && echo v9.9.9 && exit 0\n{script}\n");
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut rules = RuleBook::new();
    rules.add("aws_s3_public_acl", Severity::Critical, "Make it private.", ["AVD-AWS-0092"]);
    Options { scanners: vec![Choice::at(program).unwrap()], rules, ..Options::default() }
}

fn tfsec(dir: &tempfile::TempDir, script: &str) -> Options {
    fake(dir.path(), ScannerName::Tfsec, script)
}

fn print_fixture(name: &str) -> String {
    // What was recorded names another directory.
    format!("sed \"s#/tmp/source#$1#\" {}", fixture(name).display())
}

fn why(status: &ScanStatus) -> &str {
    match status {
        ScanStatus::Failed { why } => why,
        other => panic!("it did not fail: {other:?}"),
    }
}

#[tokio::test]
async fn a_report_becomes_findings_of_the_house() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{}; exit 1", print_fixture("tfsec.json"));
    let job = Job::new();
    let outcome =
        scan(tfsec(&dir, &script), ScannerName::Tfsec, &job, &input(&fixture("source"))).await;
    assert_eq!(outcome.status, ScanStatus::Done);
    assert_eq!(outcome.version.as_deref(), Some("9.9.9"));
    let public = outcome.findings.iter().find(|f| f.rule == "AVD-AWS-0092").unwrap();
    assert_eq!((public.tool.as_str(), public.address.as_str()), ("tfsec", "aws_s3_bucket.data"));
    assert_eq!((public.file.as_deref(), public.line), (Some("main.tf"), Some(12)));
    assert_eq!(public.severity, Severity::Critical, "ours, not the scanner's HIGH");
    assert!(public.aliases.contains(&"aws_s3_public_acl".to_owned()));
    let inner = outcome.findings.iter().find(|f| f.rule == "AVD-AWS-0080").unwrap();
    assert_eq!((inner.address.as_str(), inner.file.as_deref()), ("module.db", Some("db/main.tf")));
    let sarif: serde_json::Value = serde_json::from_slice(&outcome.sarif).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), outcome.findings.len());
    assert_eq!(job.left(), 0, "it cleared up");
    let judged = judge(&settings(&[ScannerName::Tfsec]), &[outcome]);
    assert_eq!(judged.verdict, GateVerdict::Deny);
}

#[tokio::test]
async fn stack_traces_on_standard_error_are_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let trace = "for i in $(seq 1000); do echo \"Traceback line $i hunter22\" >&2; done";
    let script = format!("{trace}; {}; exit 1", print_fixture("tfsec.json"));
    let mut job = Job::new();
    job.redactor = Redactor::new(["hunter22"]);
    let outcome =
        scan(tfsec(&dir, &script), ScannerName::Tfsec, &job, &input(&fixture("source"))).await;
    assert_eq!(outcome.status, ScanStatus::Done);
    let said = job.said();
    assert!(said.iter().any(|line| line.contains("Traceback line 1 ***")), "{said:?}");
    assert!(said.len() < 210, "{} lines", said.len());
    assert!(!said.iter().any(|line| line.contains("hunter22")));
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("trap '' INT TERM; sleep 300 & echo $! > {}; wait", pid.display());
    let job = Job::new();
    let mut input = input(&fixture("source"));
    input.time_limit = Duration::from_secs(1);
    let began = Instant::now();
    let outcome = scan(tfsec(&dir, &script), ScannerName::Tfsec, &job, &input).await;
    assert_eq!(outcome.status, ScanStatus::TimedOut { after_s: 1 });
    assert!(outcome.sarif.is_empty() && outcome.duration_ms >= 1000);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let child: u32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim().chars().next();
    assert!(matches!(state, None | Some('Z')), "the grandchild lives: {stat}");
    assert_eq!(job.left(), 0);
}

#[tokio::test]
async fn a_stop_of_the_job_stops_the_scan() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new();
    job.stop.send_replace(Some(Stop::Now));
    let began = Instant::now();
    let outcome =
        scan(tfsec(&dir, "sleep 300"), ScannerName::Tfsec, &job, &input(&fixture("source"))).await;
    assert!(why(&outcome.status).contains("stopped on request"));
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn what_is_no_report_is_no_pass() {
    let cases = [
        ("head -c 100000000 /dev/zero | tr '\\0' x", "more than"),
        ("echo 'this is not JSON'", "no report"),
        ("head -c 4096 /dev/urandom", "no report"),
        ("true", "no report"),
        ("echo '{}'", "no results"),
        ("echo 'cannot open hunter22' >&2; exit 2", "exit code 2: cannot open ***"),
        ("kill -SEGV $$", "signal 11"),
        ("echo '[[[[[['; exit 1", "no report"),
    ];
    for (script, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Job::new();
        job.redactor = Redactor::new(["hunter22"]);
        let input = input(&fixture("source"));
        let outcome = scan(tfsec(&dir, script), ScannerName::Tfsec, &job, &input).await;
        assert!(why(&outcome.status).contains(expected), "{script}: {:?}", outcome.status);
        let mut settings = settings(&[ScannerName::Tfsec]);
        assert_eq!(judge(&settings, std::slice::from_ref(&outcome)).verdict, GateVerdict::Warn);
        settings.scanners[0].required = true;
        assert_eq!(judge(&settings, &[outcome]).verdict, GateVerdict::Deny);
    }
}

#[tokio::test]
async fn one_that_is_missing_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let choice = Choice { name: ScannerName::Checkov, program: Some(dir.path().join("checkov")) };
    let broken = fake(dir.path(), ScannerName::Trivy, "").scanners.remove(0);
    std::fs::write(dir.path().join("trivy"), "#!/bin/sh\nexit 3\n").unwrap();
    let conftest = fake(dir.path(), ScannerName::Conftest, "").scanners.remove(0);
    let options = Options { scanners: vec![choice, broken, conftest], ..Options::default() };
    let scanners = Scanners::discover(options).await;
    assert_eq!(scanners.installed().count(), 0);
    let settings = settings(&ScannerName::ALL);
    let outcomes = scanners.scan_all(&settings, &Job::new(), &input(&fixture("source"))).await;
    let whys: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match &outcome.status {
            ScanStatus::Missing { why } => why.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = ["not an executable file", "not set up", "no directory of policies", "version"];
    for (why, expected) in whys.iter().zip(expected) {
        assert!(why.contains(expected), "{whys:?}");
    }
    let judged = judge(&settings, &outcomes);
    assert_eq!((judged.verdict, judged.not_scanned.len()), (GateVerdict::Warn, 4));
}

#[tokio::test]
async fn one_that_is_installed_later_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = fake(dir.path(), ScannerName::Tfsec, "echo '{\"results\":null}'");
    let (program, aside) = (dir.path().join("tfsec"), dir.path().join("aside"));
    std::fs::rename(&program, &aside).unwrap();
    let scanners = Scanners::new(options);
    let settings = settings(&[ScannerName::Tfsec]);
    let status = async || {
        let outcomes = scanners.scan_all(&settings, &Job::new(), &input(&fixture("source"))).await;
        outcomes[0].status.clone()
    };
    assert!(matches!(status().await, ScanStatus::Missing { .. }));
    std::fs::rename(&aside, &program).unwrap();
    assert_eq!(status().await, ScanStatus::Done);
}

#[tokio::test]
async fn it_sees_no_secret_of_ours_and_a_clean_place() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("seen");
    let script = format!(
        "{{ env; echo \"PWD=$(pwd)\"; echo \"ARGS=$*\"; stat -c MODE=%a \"$HOME\" .; ls -A .; }} > {}; echo '{{\"results\":null}}'",
        out.display()
    );
    let mut options = tfsec(&dir, &script);
    options.env_allow = vec!["CARGO_PKG_NAME".into(), "SLIPWAY_*".into()];
    let job = Job::new();
    let outcome = scan(options, ScannerName::Tfsec, &job, &input(&fixture("source"))).await;
    assert_eq!(outcome.status, ScanStatus::Done);
    let seen = std::fs::read_to_string(out).unwrap();
    let names: Vec<&str> =
        seen.lines().filter_map(|line| line.split_once('=')).map(|(n, _)| n).collect();
    for name in &names {
        let known = ["PATH", "HOME", "TMPDIR", "PWD", "OLDPWD", "_", "SHLVL", "LANG", "TZ"];
        let ours = ["NO_COLOR", "ARGS", "MODE", "CARGO_PKG_NAME"];
        assert!(
            known.contains(name)
                || ours.contains(name)
                || name.starts_with("LC_")
                || name.to_ascii_lowercase().ends_with("_proxy"),
            "{name} passes"
        );
    }
    assert!(names.contains(&"CARGO_PKG_NAME"), "what is allowed passes");
    assert!(seen.contains("HTTPS_PROXY=http://127.0.0.1:9"), "{seen}");
    assert_eq!(seen.matches("MODE=700").count(), 2, "{seen}");
    assert!(seen.contains("/scan-tfsec/work"), "{seen}");
}

#[tokio::test]
async fn several_are_asked_next_to_each_other_and_answer_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let slow = "sleep 1; echo '{\"results\":null}'";
    let mut options = fake(dir.path(), ScannerName::Tfsec, slow);
    let checkov = "sleep 1; echo '{\"resource_count\":0}'";
    options.scanners.extend(fake(dir.path(), ScannerName::Checkov, checkov).scanners);
    let trivy = "sleep 1; echo '{\"SchemaVersion\":2}'";
    options.scanners.extend(fake(dir.path(), ScannerName::Trivy, trivy).scanners);
    options.parallel = 3;
    let scanners = Scanners::discover(options).await;
    let names = [ScannerName::Trivy, ScannerName::Tfsec, ScannerName::Checkov];
    let job = Job::new();
    let began = Instant::now();
    let outcomes = scanners.scan_all(&settings(&names), &job, &input(&fixture("source"))).await;
    assert!(began.elapsed() < Duration::from_millis(2900), "{:?}", began.elapsed());
    for (outcome, name) in outcomes.iter().zip(names) {
        assert_eq!((outcome.tool, &outcome.status), (name, &ScanStatus::Done));
    }
    assert_eq!(job.left(), 0);
}

#[tokio::test]
async fn what_the_source_brings_for_scanners_does_not_reach_them() {
    let dir = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("main.tf"), "# tfsec:ignore:*\n#trivy:ignore:AWS-0107\n")
        .unwrap();
    std::fs::write(source.path().join(".trivyignore"), "AWS-0107").unwrap();
    let out = dir.path().join("seen");
    let entry = r#"{"ID":"AWS-0107","Severity":"CRITICAL","Status":"FAIL","CauseMetadata":{"Resource":"sg.x","StartLine":3,"EndLine":4}}"#;
    let script = format!(
        "for last; do :; done; {{ ls -A $last; cat $last/main.tf; }} > {}; \
         echo '{{\"SchemaVersion\":2,\"Results\":[{{\"Target\":\"main.tf\",\"Misconfigurations\":[{entry}]}}]}}'",
        out.display()
    );
    let options = fake(dir.path(), ScannerName::Trivy, &script);
    let outcome = scan(options, ScannerName::Trivy, &Job::new(), &input(source.path())).await;
    assert_eq!(outcome.status, ScanStatus::Done);
    let seen = std::fs::read_to_string(out).unwrap();
    assert!(!seen.contains("ignore:") && !seen.contains(".trivyignore"), "{seen}");
    assert_eq!(outcome.findings[0].suppressed.as_deref(), Some("trivy:ignore:AWS-0107"));
    let mut settings = settings(&[ScannerName::Trivy]);
    settings.scanners[0].deny_from = Some(Severity::Medium);
    assert_eq!(judge(&settings, std::slice::from_ref(&outcome)).verdict, GateVerdict::Deny);
    settings.honour_inline_skips = true;
    assert_eq!(judge(&settings, &[outcome]).verdict, GateVerdict::Pass);
}

#[tokio::test]
async fn a_hostile_source_is_refused_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    let script = format!("touch {}; echo '{{\"results\":null}}'", ran.display());
    let source = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", source.path().join("modules")).unwrap();
    let options = tfsec(&dir, &script);
    let outcome =
        scan(options.clone(), ScannerName::Tfsec, &Job::new(), &input(source.path())).await;
    assert!(why(&outcome.status).contains("could not be read"), "{:?}", outcome.status);
    let huge = tempfile::tempdir().unwrap();
    std::fs::File::create(huge.path().join("a.tf")).unwrap().set_len(1 << 40).unwrap();
    let outcome = scan(options, ScannerName::Tfsec, &Job::new(), &input(huge.path())).await;
    assert!(why(&outcome.status).contains("holds more than"), "{:?}", outcome.status);
    assert!(!ran.exists());
}

#[tokio::test]
async fn files_that_a_scanner_does_not_read_are_no_pass() {
    let dir = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("main.tofu"), "").unwrap();
    let options = tfsec(&dir, "echo '{\"results\":null}'");
    let outcome = scan(options, ScannerName::Tfsec, &Job::new(), &input(source.path())).await;
    assert!(why(&outcome.status).contains("main.tofu"), "{:?}", outcome.status);
}
