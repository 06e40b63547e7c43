//! The command line: tables for people, JSON and exit codes for scripts.

use std::process::Output;

use serde_json::Value;

use crate::harness::{Server, command, stack_dir};

fn slipway(server: &Server, args: &[&str]) -> Output {
    command()
        .args(args)
        .env("SLIPWAY_URL", &server.url)
        .current_dir(server.dir.path())
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn code(output: &Output, wanted: i32) {
    assert_eq!(
        output.status.code(),
        Some(wanted),
        "stdout: {}\nstderr: {}",
        out(output),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_done_from_the_command_line() {
    let server = Server::start().await;
    let dir = server.path("my-stack");
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(stack_dir("slow").join("main.tf"), dir.join("main.tf")).unwrap();
    let deployed =
        slipway(&server, &["deploy", "my-stack", "--var", "seconds=0", "--auto-approve"]);
    code(&deployed, 0);
    assert!(out(&deployed).contains("succeeded"), "{}", out(&deployed));
    let again = slipway(&server, &["deploy", "my-stack", "--var", "seconds=0", "--wait", "--json"]);
    code(&again, 0);
    let json: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(json["state"], "no_changes");

    let waits = slipway(&server, &["deploy", "--template", "hello", "--var", "name=cli", "--wait"]);
    code(&waits, 5);
    let of = "default/hello/dev";
    let status = slipway(&server, &["status", of, "--json"]);
    code(&status, 0);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["state"], "awaiting_approval");
    let plan = slipway(&server, &["plan", of]);
    code(&plan, 0);
    let digest = status["plan"]["digest"].as_str().unwrap();
    assert!(out(&plan).contains(digest));
    code(&slipway(&server, &["approve", of, "--digest", "sha256:00"]), 7);
    code(&slipway(&server, &["approve", of, "--digest", digest, "--wait"]), 0);
    let outputs = slipway(&server, &["outputs", of, "--json"]);
    code(&outputs, 0);
    let logs = slipway(&server, &["logs", of]);
    assert!(out(&logs).contains("Apply complete"), "{}", out(&logs));
    code(&slipway(&server, &["logs", of, "-f"]), 0);
    let stacks = slipway(&server, &["stacks"]);
    assert!(
        out(&stacks).contains("hello") && out(&stacks).contains("my-stack"),
        "{}",
        out(&stacks)
    );
    code(&slipway(&server, &["destroy", of, "--auto-approve"]), 0);
    code(&slipway(&server, &["deployments", "--state", "succeeded"]), 0);

    code(&slipway(&server, &["deploy", "--template", "hello", "--wait"]), 2);
    code(&slipway(&server, &["status", "default/nothing/dev"]), 4);
    code(&slipway(&server, &["cancel", of]), 7);
    let failing = server.path("failing");
    std::fs::create_dir(&failing).unwrap();
    std::fs::copy(stack_dir("failing-plan").join("main.tf"), failing.join("main.tf")).unwrap();
    let failed = slipway(&server, &["deploy", "failing", "--wait"]);
    code(&failed, 3);
    assert!(out(&failed).contains("main.tf:14"), "{}", out(&failed));
    let nobody = command().args(["stacks", "--url", "http://127.0.0.1:9"]).output().unwrap();
    code(&nobody, 8);
    code(&slipway(&server, &["nonsense"]), 1);
}
