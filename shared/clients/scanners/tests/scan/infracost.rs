//! infracost as a shell script in the place of the real one: what it is told, what it sees, and how it
//! may end.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slipway_client_scanners::{Infracost, InfracostOptions};
use slipway_domain::port::driver::Stop;
use slipway_domain::port::estimator::{Estimate as _, EstimateInput, EstimateStatus, Estimated};
use slipway_domain::redact::Redactor;
use slipway_process::Environment;

use crate::job::Job;

const KEY: &str = "ico-key-of-the-pricing-api";

/// An environment of a worker, with more in it than infracost needs.
fn environment() -> Environment {
    [
        ("INFRACOST_API_KEY", KEY),
        ("INFRACOST_PRICING_API_ENDPOINT", "https://prices.example"),
        ("INFRACOST_TLS_CA_CERT_FILE", "/etc/own-ca.pem"),
        ("HTTPS_PROXY", "http://user:proxy-passphrase@proxy.example:3128"),
        ("no_proxy", "localhost"),
        ("INFRACOST_ENABLE_CLOUD", "true"),
        ("INFRACOST_DASHBOARD_API_ENDPOINT", "https://elsewhere.example"),
        ("INFRACOST_CURRENCY", "CHF"),
        ("INFRACOST_LOG_LEVEL", "debug"),
        ("AWS_SECRET_ACCESS_KEY", "not-for-infracost"),
        ("DATABASE_URL", "postgres://not-for-infracost"),
    ]
    .into_iter()
    .fold(Environment::from_process(&["PATH"]), |env, (name, value)| env.with(name, value))
}

/// One that does what `script` says once it is asked for a cost.
async fn fake(dir: &Path, script: &str) -> Infracost {
    let program = dir.join("infracost");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Infracost v0.10.41' && exit 0\n{script}\n"
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = InfracostOptions { program: Some(program), ..InfracostOptions::default() };
    Infracost::discover(InfracostOptions { env: environment(), ..options }).await
}

fn input() -> EstimateInput {
    EstimateInput {
        document: Bytes::from_static(br#"{"format_version":"1.2","password":"hunter22"}"#),
        currency: "EUR".to_owned(),
        time_limit: Duration::from_mins(2),
    }
}

fn why(estimated: &Estimated) -> &str {
    match &estimated.status {
        EstimateStatus::Failed { why } => why,
        other => panic!("it did not fail: {other:?}"),
    }
}

/// A report in the shape that infracost writes.
fn report() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cost/golden/infracost.json")
}

#[tokio::test]
async fn it_is_told_what_to_do_and_sees_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("seen");
    let script = format!(
        "{{ env; echo \"CWD=$(pwd)\"; echo \"ARGS=$*\"; \
         stat -c %a=%n plan.json . .. \"$HOME\"; ls -A .; cat plan.json; }} > {}; cat {}",
        out.display(),
        report().display()
    );
    let job = Job::new();
    let infracost = fake(dir.path(), &script).await;
    assert_eq!(
        (infracost.version(), infracost.to_string().as_str()),
        (Some("0.10.41"), "infracost 0.10.41")
    );
    let estimated = infracost.estimate(&job, &input()).await;
    let EstimateStatus::Done { document } = &estimated.status else { panic!("{estimated:?}") };
    assert_eq!(*document, std::fs::read(report()).unwrap());
    assert_eq!(estimated.version.as_deref(), Some("0.10.41"));

    let seen = std::fs::read_to_string(out).unwrap();
    let has = |line: &str| seen.lines().any(|own| own == line);
    assert!(has("ARGS=diff --path plan.json --format json --no-color"), "{seen}");
    assert!(has(r#"{"format_version":"1.2","password":"hunter22"}"#), "{seen}");
    for variable in [
        "INFRACOST_CURRENCY=EUR",
        "INFRACOST_SKIP_UPDATE_CHECK=true",
        "INFRACOST_NO_COLOR=true",
        "INFRACOST_ENABLE_CLOUD=false",
        "INFRACOST_DISABLE_ENVFILE=true",
        "INFRACOST_PRICING_CACHE_DISABLED=true",
        "INFRACOST_API_KEY=ico-key-of-the-pricing-api",
        "INFRACOST_PRICING_API_ENDPOINT=https://prices.example",
        "INFRACOST_TLS_CA_CERT_FILE=/etc/own-ca.pem",
        "HTTPS_PROXY=http://user:proxy-passphrase@proxy.example:3128",
        "no_proxy=localhost",
    ] {
        assert!(has(variable), "{variable} is missing: {seen}");
    }
    for foreign in ["AWS_", "DATABASE_URL", "DASHBOARD", "LOG_LEVEL", "127.0.0.1", "CHF"] {
        assert!(!seen.contains(foreign), "{foreign} passes: {seen}");
    }
    assert!(has("600=plan.json"), "{seen}");
    assert_eq!(seen.lines().filter(|line| line.starts_with("700=")).count(), 3, "{seen}");
    assert!(seen.contains("/estimate-infracost/work"), "{seen}");
    assert_eq!(job.left(), 0, "the plan is gone");
}

#[tokio::test]
async fn what_is_no_report_is_a_failure_that_says_why() {
    let missing = "echo 'Error: INFRACOST_API_KEY is not set but is required' >&2; \
        echo 'See https://infracost.io/support' >&2; exit 1";
    let cases = [
        (missing, "exit code 1: Error: INFRACOST_API_KEY is not set but is required See https"),
        ("echo 'cannot open hunter22' >&2; exit 2", "exit code 2: cannot open ***"),
        ("echo 'unknown flag: --path' >&2; exit 1", "unknown flag: --path"),
        ("echo \"Error: no $PWD/plan.json\" >&2; exit 1", "Error: no plan.json"),
        ("kill -SEGV $$", "signal 11"),
        ("echo 'this is not JSON'", "no report"),
        ("echo '[]'", "no report"),
        ("echo '{\"version\":'", "no report"),
        ("true", "no report"),
        ("head -c 100000000 /dev/zero | tr '\\0' x", "more than"),
        ("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1", "exit code 1: xxx"),
    ];
    for (script, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Job::new();
        job.redactor = Redactor::new(["hunter22"]);
        let estimated = fake(dir.path(), script).await.estimate(&job, &input()).await;
        let why = why(&estimated);
        assert!(why.contains(expected), "{script}: {why}");
        assert!(why.chars().count() < 400, "{script}: it is bounded");
        assert_eq!(job.left(), 0, "{script}: the plan is gone");
        let said = job.said();
        assert!(said.last().unwrap().contains("failed after"), "{said:?}");
        assert!(!said.iter().any(|line| line.contains("hunter22")), "{said:?}");
    }
}

#[tokio::test]
async fn the_key_is_in_nothing_that_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo \"sent $INFRACOST_API_KEY through $HTTPS_PROXY\" >&2; \
        echo \"Error: the key $INFRACOST_API_KEY is not good\" >&2; exit 1";
    let job = Job::new();
    let estimated = fake(dir.path(), script).await.estimate(&job, &input()).await;
    assert!(why(&estimated).ends_with("Error: the key *** is not good"), "{estimated:?}");
    let said = job.said().join("\n");
    assert!(said.contains("sent *** through http://user:***@proxy.example"), "{said}");
    assert!(!said.contains(KEY) && !said.contains("proxy-passphrase"), "{said}");
    assert!(!format!("{estimated:?}").contains(KEY));
    let hidden = job.hidden();
    assert!(hidden.iter().any(|secret| secret == KEY), "the run knows it, for all that follows");
    assert!(hidden.iter().any(|secret| secret == "proxy-passphrase"));
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("trap '' INT TERM; sleep 300 & echo $! > {}; wait", pid.display());
    let job = Job::new();
    let began = Instant::now();
    let input = EstimateInput { time_limit: Duration::from_secs(1), ..input() };
    let estimated = fake(dir.path(), &script).await.estimate(&job, &input).await;
    assert_eq!(estimated.status, EstimateStatus::TimedOut { after_s: 1 });
    assert!(estimated.duration_ms >= 1000);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let child: u32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim().chars().next();
    assert!(matches!(state, None | Some('Z')), "the grandchild lives: {stat}");
    assert_eq!(job.left(), 0, "the plan is gone");
}

#[tokio::test]
async fn it_ends_with_the_run_and_leaves_no_plan_when_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let infracost = fake(dir.path(), "sleep 300").await;
    let job = Job::new();
    let began = Instant::now();
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        job.stop.send_replace(Some(Stop::Now));
    };
    let input = input();
    let (estimated, ()) = tokio::join!(infracost.estimate(&job, &input), stopping);
    assert!(why(&estimated).contains("stopped on request"));
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(job.left(), 0);

    let job = Job::new();
    let asking = infracost.estimate(&job, &input);
    let _ = tokio::time::timeout(Duration::from_millis(500), asking).await.unwrap_err();
    assert_eq!(job.left(), 0, "the plan is gone when it is dropped");
}

#[tokio::test]
async fn one_that_is_missing_says_so_and_gets_no_plan() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = InfracostOptions {
        program: Some(dir.path().join("infracost")),
        env: environment(),
        ..InfracostOptions::default()
    };
    let not_on_path = InfracostOptions {
        program: None,
        env: Environment::default().with("PATH", dir.path()),
        ..nowhere.clone()
    };
    let cases =
        [(nowhere, "not an executable file"), (not_on_path, "infracost is not on the PATH")];
    for (options, expected) in cases {
        let infracost = Infracost::discover(options).await;
        assert_eq!(infracost.version(), None);
        let job = Job::new();
        let estimated = infracost.estimate(&job, &input()).await;
        let EstimateStatus::Missing { why } = &estimated.status else { panic!("{estimated:?}") };
        assert!(why.contains(expected) && infracost.to_string().contains(expected), "{why}");
        assert!(job.said()[0].contains("not asked"), "{:?}", job.said());
        assert_eq!(job.left(), 0);
    }
    // What does not tell its version is none.
    std::fs::write(dir.path().join("infracost"), "#!/bin/sh\nexit 3\n").unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path().join("infracost"), mode).unwrap();
    let env = environment().with("PATH", dir.path());
    let broken = Infracost::discover(InfracostOptions { env, ..InfracostOptions::default() }).await;
    assert!(broken.to_string().contains("does not tell its version"), "{broken}");
}

/// The key is for the pricing API; a question for the version goes to nobody.
#[tokio::test]
async fn it_is_asked_its_version_without_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let (program, out) = (dir.path().join("infracost"), dir.path().join("seen"));
    let text = format!("#!/bin/sh\nenv > {}; echo v1.2.3\n", out.display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = InfracostOptions { program: Some(program), ..InfracostOptions::default() };
    let options = InfracostOptions { env: environment(), ..options };
    assert_eq!(Infracost::discover(options).await.version(), Some("1.2.3"));
    let seen = std::fs::read_to_string(out).unwrap();
    assert!(seen.contains("INFRACOST_SKIP_UPDATE_CHECK=true"), "{seen}");
    assert!(!seen.contains(KEY) && !seen.contains("proxy"), "{seen}");
}
