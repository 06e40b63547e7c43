//! Tests of configurations: what is run, what is left out, and what is said of it.

use std::time::{Duration, Instant};

use serde_json::json;
use slipway_domain::event::ResourceStatus;
use slipway_domain::id::{DeploymentId, Mint as _, RandomMint, StackId};
use slipway_domain::port::driver::{Driver as _, DriverError, Stop, TestInput};
use slipway_domain::test_report::{Check, CheckKind, TestSettings, TestStatus, Tested};
use slipway_domain::tree::Tree;

use crate::job::{Job, Rig, key, permanent, tree, values};

const MAIN: &str = "variable \"name\" {\n  type    = string\n  default = \"a\"\n}\n\
                    resource \"terraform_data\" \"x\" {\n  input = var.name\n}\n";
const PLANS: &str = "run \"good\" {\n  command = plan\n  assert {\n    condition     = \
                     terraform_data.x.input == \"a\"\n    error_message = \"it is \
                     ${var.name}\"\n  }\n}\n\
                     run \"bad\" {\n  command = plan\n  assert {\n    condition     = var.name == \
                     \"b\"\n    error_message = \"it is ${var.name}\"\n  }\n}\n";

fn input(rig: &Rig, source: &Tree, settings: TestSettings) -> TestInput {
    TestInput {
        deployment_id: DeploymentId(RandomMint.uuid()),
        stack_id: StackId(RandomMint.uuid()),
        stack: key(),
        source: source.clone(),
        root: rig.root.clone(),
        variables: values(&[]),
        tool: None,
        settings,
    }
}

async fn tested(job: &Job, source: &Tree, settings: TestSettings) -> Result<Tested, DriverError> {
    let rig = Rig::new().await;
    rig.driver.test(job, input(&rig, source, settings)).await
}

fn allowed() -> TestSettings {
    TestSettings { allow_apply: true, ..TestSettings::default() }
}

fn seen(tested: &Tested) -> Vec<(&str, TestStatus)> {
    tested.cases.iter().map(|case| (case.name.as_str(), case.status)).collect()
}

#[tokio::test]
async fn a_configuration_without_tests_is_validated() {
    let job = Job::new();
    let found = tested(&job, &tree(&[("main.tf", MAIN)]), TestSettings::default()).await.unwrap();
    assert_eq!(seen(&found), [("terraform validate", TestStatus::Pass)]);
    assert!(found.leftovers.is_empty() && found.tool.is_some());
    assert_eq!(job.steps(), ["init: not needed", "validate"]);
    let none = TestSettings { validate: false, ..TestSettings::default() };
    let job = Job::new();
    let found = tested(&job, &tree(&[("main.tf", MAIN)]), none).await.unwrap();
    assert_eq!((seen(&found), job.steps()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn what_passes_and_what_fails_is_told_with_its_place() {
    let source = tree(&[("main.tf", MAIN), ("tests/a.tftest.hcl", PLANS)]);
    let job = Job::new();
    let found = tested(&job, &source, TestSettings::default()).await.unwrap();
    assert_eq!(
        seen(&found),
        [
            ("terraform validate", TestStatus::Pass),
            ("tests/a.tftest.hcl: good", TestStatus::Pass),
            ("tests/a.tftest.hcl: bad", TestStatus::Fail),
        ]
    );
    let bad = &found.cases[2];
    assert_eq!(
        (bad.file.as_deref(), bad.run.as_deref()),
        (Some("tests/a.tftest.hcl"), Some("bad"))
    );
    assert_eq!(bad.message.as_deref(), Some("Test assertion failed: it is a"));
    assert_eq!(bad.diagnostics[0].file.as_deref(), Some("tests/a.tftest.hcl"));
    assert_eq!(bad.diagnostics[0].line, Some(11));
    assert!(job.states.lock().unwrap().is_empty(), "no state is written");
}

#[tokio::test]
async fn the_deployments_variables_are_tested_with() {
    let rig = Rig::new().await;
    let source = tree(&[("main.tf", MAIN), ("a.tftest.hcl", PLANS)]);
    let input = TestInput {
        variables: values(&[("name", json!("b"))]),
        ..input(&rig, &source, TestSettings::default())
    };
    let found = rig.driver.test(&Job::new(), input).await.unwrap();
    let statuses: Vec<_> = found.cases.iter().map(|case| case.status).collect();
    assert_eq!(statuses, [TestStatus::Pass, TestStatus::Fail, TestStatus::Pass]);
}

#[tokio::test]
async fn a_module_below_the_top_has_its_own_tests() {
    let mut rig = Rig::new().await;
    rig.root = Some("env/prod".into());
    let source = tree(&[
        ("env/prod/main.tf", MAIN),
        ("env/prod/tests/a.tftest.hcl", PLANS),
        ("tests/other.tftest.hcl", "run \"x\" {}\n"),
    ]);
    let input = input(&rig, &source, TestSettings::default());
    let found = rig.driver.test(&Job::new(), input).await.unwrap();
    assert_eq!(seen(&found)[2], ("env/prod/tests/a.tftest.hcl: bad", TestStatus::Fail));
    assert_eq!(found.cases[2].diagnostics[0].file.as_deref(), Some("env/prod/tests/a.tftest.hcl"));
    assert_eq!(found.cases.len(), 3);
}

#[tokio::test]
async fn what_would_make_real_things_is_not_run_unless_that_is_allowed() {
    let touched = tempfile::tempdir().unwrap();
    let mark = touched.path().join("made");
    let main = format!(
        "resource \"terraform_data\" \"x\" {{\n  provisioner \"local-exec\" {{\n    command = \
         \"touch {}\"\n  }}\n}}\n",
        mark.display()
    );
    // With a mock, too: a mocked resource runs its provisioners.
    let mocked = "mock_provider \"terraform\" {}\nrun \"b\" {}\n";
    let source = tree(&[
        ("main.tf", &main),
        ("tests/a.tftest.hcl", "run \"a\" {}\n"),
        ("tests/b.tftest.hcl", mocked),
    ]);
    let found = tested(&Job::new(), &source, TestSettings::default()).await.unwrap();
    assert_eq!(
        seen(&found),
        [
            ("terraform validate", TestStatus::Pass),
            ("tests/a.tftest.hcl", TestStatus::Skipped),
            ("tests/b.tftest.hcl", TestStatus::Skipped),
        ]
    );
    assert!(found.cases[2].message.as_deref().unwrap().contains("provisioners"));
    assert!(!mark.exists(), "nothing was made");
    let job = Job::new();
    let found = tested(&job, &source, allowed()).await.unwrap();
    let statuses: Vec<_> = found.cases.iter().map(|case| case.status).collect();
    assert_eq!(statuses, [TestStatus::Pass; 3], "{found:?}");
    assert!(mark.exists());
    for status in [ResourceStatus::Started, ResourceStatus::Completed] {
        assert!(job.resources(status).is_empty(), "the journal is the stack's");
    }
    assert!(job.states.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_mocked_apply_is_run() {
    let rig = Rig::with_mirror().await;
    let source = tree(&[
        (
            "main.tf",
            "resource \"null_resource\" \"x\" {}\nresource \"random_id\" \"r\" {\n  byte_length = 4\n}\n",
        ),
        (
            "tests/a.tftest.hcl",
            "mock_provider \"null\" {}\nmock_provider \"random\" {}\nrun \"a\" {\n  assert {\n    \
             condition     = random_id.r.hex != \"\"\n    error_message = \"no\"\n  }\n}\n",
        ),
        ("tests/b.tftest.hcl", "mock_provider \"null\" {}\nrun \"b\" {}\n"),
    ]);
    let input = input(&rig, &source, TestSettings::default());
    let found = rig.driver.test(&Job::new(), input).await.unwrap();
    assert_eq!(
        seen(&found),
        [
            ("terraform validate", TestStatus::Pass),
            ("tests/b.tftest.hcl", TestStatus::Skipped),
            ("tests/a.tftest.hcl: a", TestStatus::Pass),
        ]
    );
    assert!(found.cases[1].message.as_deref().unwrap().contains("hashicorp/random is not mocked"));
}

#[tokio::test]
async fn a_module_of_a_test_is_installed() {
    let rig = Rig::with_mirror().await;
    let source = tree(&[
        ("main.tf", MAIN),
        ("tests/setup/main.tf", "resource \"null_resource\" \"s\" {}\n"),
        (
            "tests/a.tftest.hcl",
            "run \"a\" {\n  command = plan\n  module {\n    source = \"./tests/setup\"\n  }\n}\n",
        ),
    ]);
    for _ in 0..2 {
        let input = input(&rig, &source, TestSettings::default());
        let found = rig.driver.test(&Job::new(), input).await.unwrap();
        assert_eq!(seen(&found)[1], ("tests/a.tftest.hcl: a", TestStatus::Pass), "{found:?}");
    }
    // The operator's list holds for it too.
    let mirror = crate::job::mirror();
    let strict = Rig::with(|options| {
        options.provider_mirror = Some(mirror);
        options.allowed_providers = vec!["hashicorp/random".into()];
    })
    .await;
    let input = input(&strict, &source, TestSettings::default());
    let (summary, _) = permanent(strict.driver.test(&Job::new(), input).await.unwrap_err());
    assert!(summary.contains("hashicorp/null is not allowed"), "{summary}");
}

#[tokio::test]
async fn checks_are_run_beside_the_configurations_own_tests() {
    let check = |name: &str, content: &str| Check {
        name: name.into(),
        kind: CheckKind::TerraformTest,
        content: content.into(),
    };
    let settings = TestSettings {
        checks: vec![check("mine", PLANS), check("broken", "run \"x\" {\n")],
        ..TestSettings::default()
    };
    let source = tree(&[("main.tf", MAIN)]);
    let found = tested(&Job::new(), &source, settings).await.unwrap();
    assert_eq!(
        seen(&found),
        [
            ("terraform validate", TestStatus::Pass),
            ("check broken", TestStatus::Error),
            ("check mine: good", TestStatus::Pass),
            ("check mine: bad", TestStatus::Fail),
        ]
    );
    let bad = &found.cases[3];
    assert_eq!((bad.file.as_deref(), bad.diagnostics[0].file.as_deref()), (None, None));
    assert_eq!(bad.diagnostics[0].line, Some(11));
}

#[tokio::test]
async fn a_configuration_that_is_not_valid_is_not_tested() {
    let source = tree(&[
        ("main.tf", "resource \"terraform_data\" \"x\" {\n  input = local.nothing\n}\n"),
        ("a.tftest.hcl", "run \"a\" {\n  command = plan\n}\n"),
    ]);
    let found = tested(&Job::new(), &source, TestSettings::default()).await.unwrap();
    assert_eq!(
        seen(&found),
        [("terraform validate", TestStatus::Fail), ("terraform test", TestStatus::Skipped)]
    );
    let said = &found.cases[0].diagnostics[0];
    assert_eq!((said.file.as_deref(), said.line), (Some("main.tf"), Some(2)));
    // What only the tests say is told by them.
    let only = TestSettings { validate: false, ..TestSettings::default() };
    let found = tested(&Job::new(), &source, only).await.unwrap();
    assert_eq!(seen(&found), [("a.tftest.hcl: a", TestStatus::Error)]);
    assert_eq!(found.cases[0].diagnostics[0].file.as_deref(), Some("main.tf"));
}

#[tokio::test]
async fn a_run_that_errs_is_an_error_and_the_backend_is_not_asked() {
    let main =
        format!("terraform {{\n  backend \"s3\" {{\n    bucket = \"none\"\n  }}\n}}\n{MAIN}");
    let test = "run \"errs\" {\n  command = plan\n  variables {\n    name = nothing.x\n  }\n}\n\
                run \"after\" {\n  command = plan\n}\n";
    let source = tree(&[("main.tf", &main), ("a.tftest.hcl", test)]);
    let only = TestSettings { validate: false, ..TestSettings::default() };
    let job = Job::new();
    let found = tested(&job, &source, only).await.unwrap();
    assert_eq!(seen(&found)[0], ("a.tftest.hcl: errs", TestStatus::Error), "{found:?}");
    assert_ne!(found.cases[1].status, TestStatus::Fail, "{found:?}");
    assert!(!job.text().contains("s3"), "{}", job.text());
}

#[tokio::test]
async fn what_cannot_be_removed_is_named() {
    let main = "resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    when    = \
                destroy\n    command = \"false\"\n  }\n}\n";
    let source = tree(&[("main.tf", main), ("a.tftest.hcl", "run \"a\" {}\n")]);
    let found = tested(&Job::new(), &source, allowed()).await.unwrap();
    assert_eq!(found.leftovers, ["terraform_data.x (a.tftest.hcl: a)"]);
    let report = slipway_domain::test_report::TestReport::new(
        found,
        chrono::DateTime::UNIX_EPOCH,
        chrono::DateTime::UNIX_EPOCH,
    );
    assert_eq!(report.status, TestStatus::Error);
}

const SLOW: &str = "resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"sleep 3\"\n  }\n}\n";
const TWO: &str = "run \"slow\" {}\nrun \"never\" {}\n";

/// Runs slow tests, and asks them to stop when they run.
async fn stopped(how: Stop) -> (Result<Tested, DriverError>, Duration) {
    let source = tree(&[("main.tf", SLOW), ("a.tftest.hcl", TWO)]);
    let job = Job::new();
    let only = TestSettings { validate: false, ..allowed() };
    let asked = async {
        while !job.text().contains("in progress") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        job.ask(how);
        Instant::now()
    };
    let (found, asked) = tokio::join!(tested(&job, &source, only), asked);
    (found, asked.elapsed())
}

#[tokio::test]
async fn tests_that_are_stopped_are_no_pass_although_the_tool_says_so() {
    let (found, _) = stopped(Stop::Gently).await;
    assert!(matches!(found, Err(DriverError::Stopped)), "{found:?}");
}

#[tokio::test]
async fn tests_that_are_killed_while_they_make_real_things_are_lost() {
    let (found, took) = stopped(Stop::Now).await;
    assert!(matches!(found, Err(DriverError::Lost { .. })), "{found:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}
