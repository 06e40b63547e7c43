//! Following against the mock: approvals given, asked for and left, and plans that move on.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::client::mock::{DIGEST, ID, Mock, change};

const PATIENCE: Duration = Duration::from_secs(20);

async fn wait(mock: &Mock, approval: Approval) -> Result<Outcome, ClientError> {
    wait_at(&Screen::kept(false), mock, approval).await
}

async fn wait_at(screen: &Screen, mock: &Mock, approval: Approval) -> Result<Outcome, ClientError> {
    let client = mock.client();
    let terms = Terms::from_the_start(approval);
    let follow = follow(&client, screen, ID.parse().unwrap(), terms);
    tokio::time::timeout(PATIENCE, follow).await.expect("it must come to an end")
}

async fn planned() -> Mock {
    let mock = Mock::start().await;
    mock.happen(&[
        change("submitted", "planning"),
        change("planning", "planned"),
        change("planned", "awaiting_approval"),
    ]);
    mock.house.lock().unwrap().after_approval = vec![
        change("awaiting_approval", "approved"),
        change("approved", "applying"),
        change("applying", "verifying"),
        change("verifying", "succeeded"),
    ];
    mock
}

fn asked(lines: &[&str]) -> Approval {
    Approval::Ask(Prompt::answered(lines))
}

#[tokio::test]
async fn auto_approval_names_the_digest_that_was_shown() {
    let mock = planned().await;
    let outcome = wait(&mock, Approval::Auto).await.unwrap();
    assert_eq!(outcome.exit, Exit::Success);
    assert_eq!(outcome.deployment.unwrap().state, DeploymentState::Succeeded);
    let bodies = mock.house.lock().unwrap().bodies.clone();
    let sent: serde_json::Value = serde_json::from_slice(&bodies[0]).unwrap();
    assert_eq!(sent, json!({"plan_digest": DIGEST}));
}

#[tokio::test]
async fn a_person_who_says_yes_approves() {
    let mock = planned().await;
    let screen = Screen::kept(false);
    assert_eq!(wait_at(&screen, &mock, asked(&["y"])).await.unwrap().exit, Exit::Success);
    let (out, shown) = (screen.out(), format!("Digest: {DIGEST}\n\nApply this plan?"));
    assert!(out.contains(&shown), "{out}");
    assert!(out.contains("\nOUTPUT  VALUE\nid      42\n"), "{out}");
    assert!(out.ends_with("describes it.\n"), "{out}");
    assert_eq!(screen.err(), "");
}

#[tokio::test]
async fn a_person_who_rejects_ends_it() {
    let mock = planned().await;
    assert_eq!(wait(&mock, asked(&["r"])).await.unwrap().exit, Exit::Stopped);
}

#[tokio::test]
async fn without_a_yes_it_goes_on_waiting() {
    for approval in [asked(&["n"]), asked(&[]), Approval::Ask(Prompt::nobody())] {
        let mock = planned().await;
        let outcome = wait(&mock, approval).await.unwrap();
        assert_eq!(outcome.exit, Exit::Waiting);
        assert_eq!(outcome.deployment.unwrap().state, DeploymentState::AwaitingApproval);
        assert!(mock.seen("POST").is_empty());
    }
}

#[tokio::test]
async fn a_plan_that_moved_on_is_followed_to_the_next_one() {
    let mock = planned().await;
    mock.refuse(
        "POST",
        412,
        json!({"code": "plan_stale", "detail": "The state changed. A new plan is being made."}),
    );
    let later = mock.clone();
    tokio::spawn(async move {
        while later.seen("POST").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        later.house.lock().unwrap().plan["digest"] = json!("sha256:22");
        later.happen(&[
            change("awaiting_approval", "submitted"),
            change("submitted", "planning"),
            change("planning", "planned"),
            change("planned", "awaiting_approval"),
        ]);
    });
    assert_eq!(wait(&mock, Approval::Auto).await.unwrap().exit, Exit::Success);
    let bodies = mock.house.lock().unwrap().bodies.clone();
    let sent: serde_json::Value = serde_json::from_slice(bodies.last().unwrap()).unwrap();
    assert_eq!(sent["plan_digest"], "sha256:22");
}

#[tokio::test]
async fn what_others_decide_ends_the_question() {
    let mock = planned().await;
    // Somebody who sits there and says nothing, as long as `_person` lives.
    let (_person, prompt) = Prompt::silent();
    let later = mock.clone();
    tokio::spawn(async move {
        while later.seen(&format!("GET /api/v1/deployments/{ID}/plan")).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        later.happen(&[change("awaiting_approval", "cancelled")]);
    });
    assert_eq!(wait(&mock, Approval::Ask(prompt)).await.unwrap().exit, Exit::Stopped);
}

#[tokio::test]
async fn each_end_has_its_exit_code() {
    for (state, exit) in [
        ("no_changes", Exit::Success),
        ("failed", Exit::Failed),
        ("superseded", Exit::Stopped),
        ("expired", Exit::Stopped),
        ("blocked", Exit::Waiting),
        ("needs_attention", Exit::Attention),
    ] {
        let mock = Mock::start().await;
        mock.happen(&[change("submitted", "planning"), change("planning", state)]);
        let outcome = wait(&mock, Approval::Auto).await.unwrap();
        assert_eq!(outcome.exit, exit, "{state}");
    }
}

#[tokio::test]
async fn an_approved_plan_that_nobody_starts_is_waited_for_no_longer() {
    let mock = planned().await;
    {
        let mut house = mock.house.lock().unwrap();
        house.after_approval = vec![change("awaiting_approval", "approved")];
        house.deployment["waiting"] =
            json!({"for": "apply", "plan_id": "pln_0192f1c0111170008000000000000000"});
    }
    let outcome = wait(&mock, Approval::Auto).await.unwrap();
    assert_eq!(outcome.exit, Exit::Waiting);
    assert_eq!(outcome.deployment.unwrap().state, DeploymentState::Approved);
}

#[tokio::test]
async fn who_started_the_apply_is_not_told_to_start_it() {
    let mock = planned().await;
    mock.happen(&[change("awaiting_approval", "approved")]);
    mock.house.lock().unwrap().deployment["waiting"] =
        json!({"for": "apply", "plan_id": "pln_0192f1c0111170008000000000000000"});
    let later = mock.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        later.happen(&[
            change("approved", "applying"),
            change("applying", "verifying"),
            change("verifying", "succeeded"),
        ]);
    });
    let (client, screen) = (mock.client(), Screen::kept(false));
    let terms = Terms {
        approval: Approval::Auto,
        // The fourth event is the approval.
        since: Some("2025-11-21T07:00:04Z".parse().unwrap()),
        apply_started: true,
    };
    let outcome = follow(&client, &screen, ID.parse().unwrap(), terms).await.unwrap();
    assert_eq!(outcome.exit, Exit::Success);
    assert!(screen.out().starts_with("applying\n"), "what is past is not told: {}", screen.out());
}
