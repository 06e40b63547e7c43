//! Subcommands against the mock, from the command line's words to the request and the exit code.

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::client::mock::{ARTIFACT_ID, DIGEST, ID, Mock, STACK_ID, change};

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: ClientCommand,
}

async fn run(mock: &Mock, words: &[&str]) -> Result<Exit, ClientError> {
    run_at(&Screen::kept(true), mock, words).await
}

async fn run_at(screen: &Screen, mock: &Mock, words: &[&str]) -> Result<Exit, ClientError> {
    let words = ["slipway"].iter().chain(words);
    let line = Line::try_parse_from(words).expect("the line must be well-formed");
    perform(&mock.client(), screen, line.command).await
}

fn posted(mock: &Mock) -> Value {
    let bodies = mock.house.lock().unwrap().bodies.clone();
    serde_json::from_slice(bodies.last().expect("something was posted")).unwrap()
}

#[tokio::test]
async fn a_template_is_submitted_with_its_variables() {
    let mock = Mock::start().await;
    let exit = run(
        &mock,
        &["deploy", "--template", "Net", "--var", "size=3", "--var", "zone=a", "--no-auto-apply"],
    );
    assert_eq!(exit.await.unwrap(), Exit::Success);
    let submit = posted(&mock);
    assert_eq!(submit["stack"], json!({"project": "default", "name": "net", "environment": "dev"}));
    assert_eq!(submit["source"], json!({"type": "template", "name": "Net"}));
    assert_eq!(submit["variables"], json!({"size": 3, "zone": "a"}));
    assert_eq!(submit["options"]["auto_apply"], false);
    run(&mock, &["deploy", "--template", "net", "--template-version", "2"]).await.unwrap();
    let source = posted(&mock)["source"].clone();
    assert_eq!(source, json!({"type": "template", "name": "net", "version": 2}));
}

#[tokio::test]
async fn a_directory_is_uploaded_under_the_key_of_its_submission() {
    let mock = Mock::start().await;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("My Net");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("main.tf"), "").unwrap();
    let words = ["deploy", dir.to_str().unwrap(), "--idempotency-key", "k", "--path", "envs/prod"];
    run(&mock, &words).await.unwrap();
    assert_eq!(
        mock.seen("POST"),
        ["POST /api/v1/artifacts idempotency-key=k", "POST /api/v1/deployments idempotency-key=k"]
    );
    let submit = posted(&mock);
    assert_eq!(submit["stack"]["name"], "prod");
    assert_eq!(
        submit["source"],
        json!({"type": "archive", "artifact_id": ARTIFACT_ID, "path": "envs/prod"})
    );
    run(&mock, &["deploy", dir.to_str().unwrap()]).await.unwrap();
    assert_eq!(posted(&mock)["stack"]["name"], "my-net");
}

#[tokio::test]
async fn a_bad_name_or_variable_is_found_before_anything_is_uploaded() {
    let mock = Mock::start().await;
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("main.tf"), "").unwrap();
    let dir = home.path().to_str().unwrap();
    let error = run(&mock, &["deploy", dir, "--name", "Not A Name"]).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Invalid);
    assert!(error.to_string().contains("/stack/name"), "{error}");
    let error = run(&mock, &["deploy", dir, "--name", "a", "--var", "x=[1"]).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Other);
    assert!(mock.seen("").is_empty());
}

#[tokio::test]
async fn a_removal_names_the_stack_and_no_source() {
    let mock = Mock::start().await;
    run(&mock, &["destroy", "shop/net/prod"]).await.unwrap();
    let submit = posted(&mock);
    assert_eq!(submit["operation"], "destroy");
    assert!(submit.get("source").is_none(), "{submit}");
    assert_eq!(submit["stack"]["environment"], "prod");
}

#[tokio::test]
async fn a_stack_stands_for_its_latest_deployment() {
    let mock = Mock::start().await;
    run(&mock, &["status", "default/net/dev"]).await.unwrap();
    assert_eq!(
        mock.seen("GET"),
        [
            "GET /api/v1/stacks?project=default&name=net&environment=dev&limit=1".to_owned(),
            format!("GET /api/v1/stacks/{STACK_ID}/deployments?limit=1"),
            format!("GET /api/v1/deployments/{ID}"),
        ]
    );
    let error = run(&mock, &["status", "default/none/dev"]).await.unwrap_err();
    assert_eq!(error.exit(), Exit::NotFound);
    assert!(error.to_string().contains("default/none/dev"), "{error}");
}

#[tokio::test]
async fn an_approval_needs_a_digest_a_yes_or_a_person() {
    let mock = Mock::start().await;
    mock.happen(&[change("planned", "awaiting_approval")]);
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        let error = run(&mock, &["approve", ID]).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Other);
        assert!(error.to_string().contains("--digest"), "{error}");
        assert!(mock.seen("POST").is_empty());
    }
    let error = run(&mock, &["approve", ID, "--digest", "sha256:other"]).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Conflict);
    assert_eq!(
        run(&mock, &["approve", ID, "--yes", "--comment", "ok"]).await.unwrap(),
        Exit::Success
    );
    assert_eq!(posted(&mock), json!({"plan_digest": DIGEST, "comment": "ok"}));
    run(&mock, &["reject", ID]).await.unwrap();
    assert_eq!(posted(&mock), json!({"plan_digest": DIGEST}));
}

#[tokio::test]
async fn an_approval_that_waits_goes_to_the_end() {
    let mock = Mock::start().await;
    mock.happen(&[change("planned", "awaiting_approval")]);
    mock.house.lock().unwrap().after_approval =
        vec![change("awaiting_approval", "approved"), change("approved", "failed")];
    let exit = run(&mock, &["approve", ID, "--digest", DIGEST, "--wait"]).await.unwrap();
    assert_eq!(exit, Exit::Failed);
}

#[tokio::test]
async fn an_approval_that_is_not_enough_says_who_is_missing_and_does_not_wait() {
    let mock = Mock::start().await;
    mock.happen(&[change("planned", "awaiting_approval")]);
    mock.house.lock().unwrap().deployment["approvals"] = json!({"required": 2, "given": 1,
        "complete": false, "missing": ["an admin (the rules)"]});
    let screen = Screen::kept(false);
    let words = ["approve", ID, "--digest", DIGEST, "--wait"];
    assert_eq!(run_at(&screen, &mock, &words).await.unwrap(), Exit::Waiting);
    let out = screen.out();
    assert!(out.contains("1 of 2 approvals are given; still missing:\n  an admin"), "{out}");
}

#[tokio::test]
async fn an_approval_is_taken_back_by_its_id_or_as_the_only_one() {
    let mock = Mock::start().await;
    mock.happen(&[change("planned", "awaiting_approval")]);
    let error = run(&mock, &["revoke", ID]).await.unwrap_err();
    assert!(error.to_string().contains("no approval that could be taken back"), "{error}");
    let plan = mock.house.lock().unwrap().plan["id"].clone();
    let id = |n: u8| format!("apr_{n:032x}");
    let item = |n: u8, plan: &Value| {
        json!({"id": id(n), "deployment_id": ID, "plan_id": plan, "plan_digest": DIGEST,
            "decision": "approve", "by": {"id": "ann", "kind": "person", "via": "rest"},
            "roles": ["approver"], "at": "2025-11-21T07:00:00Z"})
    };
    let old = json!(format!("pln_{:032x}", 99));
    mock.house.lock().unwrap().approvals = vec![item(1, &old), item(2, &plan)];
    let words = ["revoke", ID, "--reason", "not today"];
    assert_eq!(run(&mock, &words).await.unwrap(), Exit::Success);
    let one = format!("/api/v1/deployments/{ID}/approvals");
    assert_eq!(mock.seen("DELETE"), [format!("DELETE {one}/{}?reason=not+today", id(2))]);
    mock.house.lock().unwrap().approvals.push(item(3, &plan));
    let error = run(&mock, &["revoke", ID]).await.unwrap_err();
    assert!(error.to_string().contains("several approvals"), "{error}");
    assert_eq!(run(&mock, &["revoke", ID, &id(3)]).await.unwrap(), Exit::Success);
    let screen = Screen::kept(false);
    assert_eq!(run_at(&screen, &mock, &["approvals", ID]).await.unwrap(), Exit::Success);
    let out = screen.out();
    assert!(out.contains(&id(2)) && out.contains("ann"), "{out}");
}

#[tokio::test]
async fn everything_that_only_looks_asks_for_the_right_thing() {
    let mock = Mock::start().await;
    mock.happen(&[
        change("submitted", "planning"),
        json!({"type": "step", "step": "init"}),
        change("planning", "cancelled"),
    ]);
    let one = format!("GET /api/v1/deployments/{ID}");
    for (words, request) in [
        (vec!["plan", ID], format!("{one}/plan")),
        (vec!["outputs", ID, "--reveal"], format!("{one}/outputs?reveal=true")),
        (vec!["logs", ID, "--tail", "2"], format!("{one}/logs?tail=2&limit=1000")),
        (vec!["logs", ID], format!("{one}/logs?after=0&limit=1000")),
        (vec!["logs", ID, "-f"], format!("{one}/logs?follow=true")),
        (vec!["logs", ID, "-f", "--tail", "2"], format!("{one}/logs?follow=true last-event-id=2")),
        (vec!["events", ID], format!("{one}/events?after=3&limit=200")),
        (vec!["events", ID, "-f"], format!("{one}/events")),
        (
            vec!["deployments", "--stack", STACK_ID, "--state", "failed", "--limit", "5"],
            format!("GET /api/v1/deployments?stack_id={STACK_ID}&state=failed&limit=5"),
        ),
        (
            vec!["stacks", "--project", "shop", "--env", "dev"],
            "GET /api/v1/stacks?project=shop&environment=dev&limit=50".to_owned(),
        ),
    ] {
        assert_eq!(run(&mock, &words).await.unwrap(), Exit::Success, "{words:?}");
        assert!(mock.seen("GET").contains(&request), "{request} is not in {:?}", mock.seen("GET"));
    }
}

#[tokio::test]
async fn a_cancellation_carries_its_reason() {
    let mock = Mock::start().await;
    assert_eq!(
        run(&mock, &["cancel", ID, "--reason", "wrong region"]).await.unwrap(),
        Exit::Success
    );
    assert_eq!(posted(&mock), json!({"reason": "wrong region"}));
}

#[tokio::test]
async fn a_cancellation_by_force_says_so() {
    let mock = Mock::start().await;
    assert_eq!(run(&mock, &["cancel", ID, "--force"]).await.unwrap(), Exit::Success);
    assert_eq!(posted(&mock), json!({"force": true}));
}

#[tokio::test]
async fn json_is_one_document_on_standard_output_and_the_rest_is_elsewhere() {
    let mock = Mock::start().await;
    mock.house.lock().unwrap().after_approval =
        vec![change("awaiting_approval", "approved"), change("approved", "succeeded")];
    mock.happen(&[change("submitted", "planned"), change("planned", "awaiting_approval")]);
    let screen = Screen::kept(true);
    let exit = run_at(&screen, &mock, &["deploy", "--template", "net", "--auto-approve"]).await;
    assert_eq!(exit.unwrap(), Exit::Success);
    let document: Value = serde_json::from_str(&screen.out()).unwrap();
    assert_eq!(document["state"], "succeeded");
    assert!(screen.err().contains("awaiting approval\n"), "{}", screen.err());

    let screen = Screen::kept(true);
    run_at(&screen, &mock, &["logs", ID, "-f"]).await.unwrap();
    let lines: Vec<Value> =
        screen.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);

    let screen = Screen::kept(true);
    let error = run_at(&screen, &mock, &["status", "a/none/b"]).await.unwrap_err();
    screen.error(&error);
    let document: Value = serde_json::from_str(&screen.out()).unwrap();
    assert_eq!(document["error"]["code"], "not_found");
    assert!(screen.err().starts_with("error: There is no stack"), "{}", screen.err());
}

#[tokio::test]
async fn text_for_a_person_goes_to_standard_output() {
    let mock = Mock::start().await;
    for (words, part) in [
        (vec!["deploy", "--template", "net"], "slipway wait dep_"),
        (vec!["status", ID], "state       submitted"),
        (vec!["outputs", ID], "id      42"),
        (vec!["plan", ID], "Plan: 1 to create"),
        (vec!["logs", ID], "[plan] line 1\n[plan] line 2\n"),
        (vec!["stacks"], "default/a/dev"),
        (vec!["stacks", "--limit", "1"], "There are more"),
        (vec!["deployments"], ID),
    ] {
        let screen = Screen::kept(false);
        run_at(&screen, &mock, &words).await.unwrap();
        assert!(screen.out().contains(part), "{words:?}: {}", screen.out());
        assert_eq!(screen.err(), "", "{words:?}");
    }
}
