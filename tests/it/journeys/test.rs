//! Tests of a deployment: over REST and from the command line, on a real Terraform.

use std::process::Output;

use serde_json::Value;
use slipway_domain::event::EventBody;
use slipway_domain::job::Queue;
use slipway_domain::state::DeploymentState as S;
use slipway_domain::test_report::{TestRunState, TestSettings, TestStatus};

use crate::harness::{PATIENCE, Server, command, refused, soon, until};

const SECRET: &str = "correct-horse-battery";

fn slipway(server: &Server, args: &[&str]) -> Output {
    command()
        .args(args)
        .env("SLIPWAY_URL", &server.url)
        .current_dir(server.dir.path())
        .output()
        .unwrap()
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "stdout: {text}\nstderr: {complained}");
    text
}

fn write(server: &Server, path: &str, content: &str) {
    let path = server.path(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_tested_while_it_waits() {
    let server = Server::start().await;
    let client = &server.client;
    write(
        &server,
        "net/main.tf",
        "variable \"region\" {\n  type = string\n}\nvariable \"password\" {\n  type      = string\n  \
         sensitive = true\n}\nresource \"terraform_data\" \"net\" {\n  input = var.region\n}\n",
    );
    let test = |wanted: &str| {
        format!(
            "run \"region\" {{\n  command = plan\n  assert {{\n    condition     = \
             terraform_data.net.input == \"{wanted}\"\n    error_message = \"the password is \
             ${{nonsensitive(var.password)}}\"\n  }}\n}}\n"
        )
    };
    write(&server, "net/tests/region.tftest.hcl", &test("eu"));
    write(&server, "net/tests/real.tftest.hcl", "run \"real\" {}\n");
    write(&server, "wrong.tftest.hcl", &test("us"));
    write(&server, "values.json", &format!(r#"{{"password": "{SECRET}", "region": "eu"}}"#));
    let of = "default/net/dev";
    said(&slipway(&server, &["deploy", "net", "--var-file", "values.json", "--wait"]), 5);
    said(&slipway(&server, &["test", of, "--show"]), 4);

    // Its own tests: one holds, one would make real things and is left out.
    let text = said(&slipway(&server, &["test", of]), 0);
    for part in
        ["terraform validate", "tests/region.tftest.hcl: region", "allow_apply", "Tests pass"]
    {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    let shown = said(&slipway(&server, &["test", of, "--show", "--json"]), 0);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let counts = &shown["report"]["counts"];
    assert_eq!((&counts["passed"], &counts["skipped"]), (&2.into(), &1.into()), "{shown}");

    // A check beside them that does not hold, and says a secret.
    let text = said(&slipway(&server, &["test", of, "--check", "wrong.tftest.hcl"]), 3);
    assert!(text.contains("check wrong: region") && text.contains("the password is ***"), "{text}");
    assert!(!text.contains(SECRET), "{text}");
    said(&slipway(&server, &["test", of, "--check", "net/main.tf"]), 1);

    // Over REST.
    let id = shown["deployment_id"].as_str().unwrap().parse().unwrap();
    let settings = TestSettings { allow_apply: true, ..TestSettings::default() };
    let asked = client.request_tests(id, &settings).await.unwrap();
    soon("the tests end", PATIENCE, async || {
        let newest = client.tests(id).await.unwrap().items.remove(0);
        newest.id == asked.id && newest.state == TestRunState::Finished
    })
    .await;
    let all = client.tests(id).await.unwrap().items;
    assert_eq!(all.len(), 3, "newest first, all of them");
    let report = all[0].report.as_ref().unwrap();
    assert_eq!((report.status, report.counts.passed), (TestStatus::Pass, 3), "{report:?}");
    assert!(!serde_json::to_string(&all).unwrap().contains(SECRET));
    let wrong = TestSettings { time_limit_s: 1, ..TestSettings::default() };
    let refusal = refused(client.request_tests(id, &wrong).await);
    assert_eq!(refusal, (422, "invalid_input".to_owned()));

    // The deployment waits as before, and what happened to it says that it was tested.
    let deployment = client.deployment(id).await.unwrap();
    assert_eq!(deployment.state, S::AwaitingApproval);
    let events = client.event_page(id, 0, 1000).await.unwrap();
    let tested: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Tests { status, .. } => Some(*status),
            EventBody::Resource { address, .. } => panic!("{address} is of a test"),
            _ => None,
        })
        .collect();
    assert_eq!(tested, [TestStatus::Pass, TestStatus::Fail, TestStatus::Pass]);
    let jobs = said(&slipway(&server, &["jobs", "--queue", Queue::Test.as_str()]), 0);
    assert!(jobs.contains("test") && jobs.contains("succeeded"), "{jobs}");
    let log = said(&slipway(&server, &["logs", of]), 0);
    assert!(log.contains("2 passed, 0 failed") && !log.contains(SECRET), "{log}");

    said(&slipway(&server, &["approve", of, "--yes", "--wait"]), 0);
    until(client, id, &[S::Succeeded]).await;
    said(&slipway(&server, &["test", of]), 7);
}
