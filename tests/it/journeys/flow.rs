//! The good way: plan, look, approve, apply, and again.

use std::process::Stdio;

use slipway_domain::deployment::{Operation, Options, Waiting};
use slipway_domain::event::EventBody;
use slipway_domain::plan::Action;
use slipway_domain::source::Source;
use slipway_domain::state::DeploymentState as S;
use slipway_services::deployment::Submit;

use crate::harness::{
    Database, Server, command, deployed, digest, hello, key, planned, refused, request, stack_dir,
    template, until, upload,
};

#[tokio::test]
async fn the_demo_runs_from_nothing_to_succeeded() {
    let dir = tempfile::tempdir().unwrap();
    let output = command()
        .args(["demo", "--exit", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path().join("data"))
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    for step in [
        "planning",
        "needs approval",
        "Plan:",
        "approved",
        "applying",
        "created",
        "succeeded",
        "url",
        "/api/v1/deployments/dep_",
        "Try next",
    ] {
        assert!(said.contains(step), "{step:?} is not in the transcript:\n{said}");
    }
    assert!(
        !said.contains("correct-horse-battery-staple"),
        "the sample's secret is shown:\n{said}"
    );
    // A second run finds everything as it should be.
    let again = command()
        .args(["demo", "--exit", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path().join("data"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("no changes"), "{said}");
}

#[tokio::test]
async fn a_template_is_planned_approved_and_applied_on_sqlite() {
    template_journey(Database::Sqlite).await;
}

#[tokio::test]
async fn a_template_is_planned_approved_and_applied_on_postgres() {
    template_journey(Database::postgres().await).await;
}

async fn template_journey(database: Database) {
    let server = Server::start_with(database, &[]).await;
    let client = &server.client;
    let mut variables = hello("world");
    variables.insert("copies".into(), 3.into());
    let submit = request("hello", template("hello"), variables);
    let accepted = client.submit(&submit, None).await.unwrap();
    assert_eq!(accepted.state, S::Submitted);
    assert!(accepted.trace_id.is_some(), "it belongs to a trace");
    let planned_one = until(client, accepted.id, &[S::AwaitingApproval]).await;
    let waiting = planned_one.waiting.clone().unwrap();
    assert_eq!(waiting, Waiting::Approval { plan_digest: digest(&planned_one).to_owned() });
    let plan = client.plan(planned_one.id).await.unwrap();
    assert!(plan.counts.create >= 3 && plan.counts.delete == 0, "{:?}", plan.counts);
    assert!(plan.changes.iter().all(|c| c.action == Action::Create && c.before.is_null()));
    assert_eq!(plan.digest, digest(&planned_one));
    let text = client.plan_text(planned_one.id).await.unwrap();
    assert!(text.contains(&plan.digest) && text.contains("to create"), "{text}");
    let approved =
        client.approve(planned_one.id, digest(&planned_one), Some("fine")).await.unwrap();
    assert_eq!(approved.approval.unwrap().comment.as_deref(), Some("fine"));
    let done = until(client, planned_one.id, &[S::Succeeded]).await;
    let states: Vec<_> = done.phases.iter().map(|p| p.state).collect();
    assert_eq!(
        states,
        [
            S::Submitted,
            S::Planning,
            S::Planned,
            S::AwaitingApproval,
            S::Approved,
            S::Applying,
            S::Verifying,
            S::Succeeded
        ]
    );
    assert!(!client.outputs(done.id, false).await.unwrap().is_empty());
    let stack = client.stack_by_key(&key("hello")).await.unwrap().unwrap();
    assert_eq!(stack.current_deployment, Some(done.id));
    assert_eq!(stack.state.unwrap().resource_count, i64::from(plan.counts.create));

    // The events tell the whole story, numbered without holes, and nothing follows the end.
    let mut events = client.events(done.id, 0);
    let mut all = Vec::new();
    while let Some(event) = events.next().await.unwrap() {
        all.push(event);
    }
    let seqs: Vec<_> = all.iter().map(|e| e.seq).collect();
    assert_eq!(seqs, (1..=i64::try_from(all.len()).unwrap()).collect::<Vec<_>>());
    assert!(
        matches!(all.last().unwrap().body, EventBody::StateChanged { to: S::Succeeded, .. }),
        "{:?}",
        all.last()
    );
    let mut rest = client.events(done.id, 5);
    assert_eq!(rest.next().await.unwrap().unwrap(), all[5], "resumed where it was left");
    let completed = all.iter().filter(|e| matches!(&e.body,
        EventBody::Resource { status, .. } if *status == slipway_domain::event::ResourceStatus::Completed));
    assert_eq!(completed.count(), plan.counts.create as usize, "a line a resource");

    // The same again changes nothing; another value does; and then everything goes.
    let same = client.submit(&submit, None).await.unwrap();
    let same = until(client, same.id, &[S::NoChanges]).await;
    assert_eq!(
        client.outputs(same.id, false).await.unwrap().len(),
        client.outputs(done.id, false).await.unwrap().len()
    );
    let mut other = submit.clone();
    other.variables.insert("name".into(), "moon".into());
    let other = planned(client, &other).await;
    assert!(client.plan(other.id).await.unwrap().counts.operations() > 0);
    client.approve(other.id, digest(&other), None).await.unwrap();
    until(client, other.id, &[S::Succeeded]).await;
    let destroy = Submit {
        stack: key("hello"),
        source: None,
        variables: [].into(),
        operation: Operation::Destroy,
        options: Options::default(),
    };
    let gone = deployed(client, &destroy).await;
    assert_eq!(client.plan(gone.id).await.unwrap().counts.delete, plan.counts.create);
    let stack = client.stack_by_key(&key("hello")).await.unwrap().unwrap();
    assert_eq!(stack.state.unwrap().resource_count, 0);
}

#[tokio::test]
async fn fifty_resources_over_two_providers_and_then_no_changes() {
    let server = Server::start_with_providers(Database::Sqlite).await;
    let client = &server.client;
    let source = upload(client, "fifty").await;
    let submit = request("fifty", source, [].into());
    let done = deployed(client, &submit).await;
    assert_eq!(client.plan(done.id).await.unwrap().counts.create, 50);
    let again = client.submit(&submit, None).await.unwrap();
    until(client, again.id, &[S::NoChanges]).await;
    // The second plan found the first one's `init` and did not call it again.
    let steps = |events: Vec<slipway_domain::event::Event>| {
        events
            .into_iter()
            .filter_map(|e| match e.body {
                EventBody::Step { step, detail } if step == "init" => Some(detail),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let first = steps(client.event_page(done.id, 0, 1000).await.unwrap());
    let second = steps(client.event_page(again.id, 0, 1000).await.unwrap());
    // The apply finds what the plan installed.
    assert_eq!(first, [Some("running".to_owned()), Some("cached".to_owned())]);
    assert_eq!(second, [Some("cached".to_owned())]);
}

#[tokio::test]
async fn a_git_repository_is_fetched_and_its_commit_recorded() {
    let server = Server::start().await;
    let repo = server.path("repo");
    std::fs::create_dir_all(repo.join("infra")).unwrap();
    std::fs::copy(stack_dir("failing-plan").join("main.tf"), repo.join("infra/main.tf")).unwrap();
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
            .args(args)
            .current_dir(&repo)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "first"]);
    git(&["tag", "v1"]);
    let commit = git(&["rev-parse", "HEAD"]);
    std::fs::write(repo.join("infra/main.tf"), "this is not HCL {").unwrap();
    git(&["commit", "-qam", "second, broken"]);
    let source = |reference: Option<&str>, path: &str| Source::Git {
        url: format!("file://{}", repo.display()),
        reference: reference.map(str::to_owned),
        path: Some(path.to_owned()),
    };
    let client = &server.client;
    let index = |n: i64| [("index".to_owned(), serde_json::Value::from(n))].into();
    let done = deployed(client, &request("git", source(Some("v1"), "infra"), index(1))).await;
    assert_eq!(done.commit.as_deref(), Some(commit.as_str()));
    for (reference, path, says) in [
        (None, "infra", "main.tf"),
        (Some("nope"), "infra", "could not be fetched"),
        (Some("v1"), "elsewhere", "elsewhere"),
    ] {
        let bad = client.submit(&request("git", source(reference, path), index(1)), None).await;
        let failed = until(client, bad.unwrap().id, &[S::Failed]).await;
        let text = serde_json::to_string(&failed.failure).unwrap();
        assert!(text.contains(says), "{reference:?} {path}: {text}");
    }
}

#[tokio::test]
async fn a_directory_is_taken_only_below_the_allowed_root() {
    let server = Server::start().await;
    let root = server.dir.path();
    std::fs::create_dir(root.join("stack")).unwrap();
    std::fs::write(root.join("stack/main.tf"), "resource \"terraform_data\" \"a\" {}\n").unwrap();
    std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
    let client = &server.client;
    let directory = |path: &str| Source::Directory { path: path.into() };
    deployed(client, &request("dir", directory("stack"), [].into())).await;
    for path in ["/etc", "../..", "out", "stack/../out", "nope"] {
        let refusal =
            refused(client.submit(&request("dir", directory(path), [].into()), None).await);
        assert_eq!(refusal, (403, "source_not_allowed".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn without_auto_apply_the_apply_waits_for_the_word() {
    let server = Server::start().await;
    let client = &server.client;
    let mut submit = request("hello", template("hello"), hello("x"));
    submit.options.auto_apply = false;
    let planned = planned(client, &submit).await;
    let early = refused(client.apply(planned.id).await);
    assert_eq!(early, (409, "illegal_transition".to_owned()), "apply before the approval");
    let approved = client.approve(planned.id, digest(&planned), None).await.unwrap();
    assert!(matches!(approved.waiting, Some(Waiting::Apply { .. })), "{:?}", approved.waiting);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(client.deployment(planned.id).await.unwrap().state, S::Approved);
    client.apply(planned.id).await.unwrap();
    let twice = refused(client.apply(planned.id).await);
    assert_eq!(twice, (409, "illegal_transition".to_owned()), "apply twice");
    until(client, planned.id, &[S::Succeeded]).await;
}

#[tokio::test]
async fn a_plan_that_the_state_has_overtaken_is_never_applied() {
    let server = Server::start().await;
    let client = &server.client;
    let of = |name: &str| request("hello", template("hello"), hello(name));
    let first = planned(client, &of("one")).await;
    let second = planned(client, &of("two")).await;
    let stale = digest(&second).to_owned();
    client.approve(first.id, digest(&first), None).await.unwrap();
    until(client, first.id, &[S::Succeeded]).await;
    let refusal = refused(client.approve(second.id, &stale, None).await);
    assert_eq!(refusal, (412, "plan_stale".to_owned()));
    // A new plan is made at once; it has another digest, and the old one is not taken any more.
    let end = tokio::time::Instant::now() + crate::harness::PATIENCE;
    let fresh = loop {
        let fresh = client.deployment(second.id).await.unwrap();
        if fresh.state == S::AwaitingApproval {
            break fresh;
        }
        assert!(tokio::time::Instant::now() < end, "{:?}", fresh.state);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_ne!(digest(&fresh), stale);
    assert_eq!(fresh.plan.as_ref().unwrap().number, 2);
    let refusal = refused(client.approve(second.id, &stale, None).await);
    assert_eq!(refusal, (412, "plan_digest_mismatch".to_owned()));
    client.approve(second.id, digest(&fresh), None).await.unwrap();
    until(client, second.id, &[S::Succeeded]).await;
}

/// A second deployment of a stack that runs, approved and not begun; the stack's first state
/// version is there to be restored.
async fn approved_change(server: &Server) -> slipway_domain::deployment::Deployment {
    let client = &server.client;
    deployed(client, &request("hello", template("hello"), hello("one"))).await;
    let mut change = request("hello", template("hello"), hello("two"));
    change.options.auto_apply = false;
    let second = planned(client, &change).await;
    client.approve(second.id, digest(&second), None).await.unwrap()
}

#[tokio::test]
async fn an_approval_goes_on_to_a_plan_that_is_equal() {
    let server = Server::start().await;
    let client = &server.client;
    let change = approved_change(&server).await;
    let seen = digest(&change).to_owned();
    // The same state again, as a newer one.
    let stack = client.stack(change.stack_id).await.unwrap();
    let serial = stack.state.unwrap().serial;
    let versions = client.state_versions(change.stack_id, 10).await.unwrap();
    let newest = versions.items[0].version;
    client.restore_state(change.stack_id, newest, serial).await.unwrap();
    client.apply(change.id).await.unwrap();
    let done = until(client, change.id, &[S::Succeeded]).await;
    let approval = done.approval.unwrap();
    assert_eq!(approval.carried_from.as_deref(), Some(seen.as_str()));
    assert_eq!((done.plan.unwrap().number, approval.carries), (2, 1));
    let plan = client.plan(change.id).await.unwrap();
    assert!(plan.difference.is_empty() && plan.state.serial == serial + 1, "{plan:?}");
}

#[tokio::test]
async fn an_approval_does_not_go_on_to_a_plan_that_differs() {
    let server = Server::start().await;
    let client = &server.client;
    let change = approved_change(&server).await;
    let seen = digest(&change).to_owned();
    deployed(client, &request("hello", template("hello"), hello("three"))).await;
    client.apply(change.id).await.unwrap();
    let asks = until(client, change.id, &[S::AwaitingApproval]).await;
    assert!(asks.approval.is_none());
    assert!(asks.reason.as_ref().unwrap().contains("not proved to be the same"), "{asks:?}");
    let plan = client.plan(change.id).await.unwrap();
    assert!(!plan.difference.is_empty());
    let shown = crate::harness::command()
        .args(["plan", &change.id.to_string()])
        .env("SLIPWAY_URL", &server.url)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("Not the same as the plan that was approved before:"), "{shown}");
    assert!(shown.contains("one") && shown.contains("three"), "{shown}");
    let refusal = refused(client.approve(change.id, &seen, None).await);
    assert_eq!(refusal, (412, "plan_digest_mismatch".to_owned()));
    client.approve(change.id, digest(&asks), None).await.unwrap();
    client.apply(change.id).await.unwrap();
    until(client, change.id, &[S::Succeeded]).await;
}

#[tokio::test]
async fn one_apply_a_stack_and_who_waits_sees_for_whom() {
    let server = Server::start().await;
    let client = &server.client;
    let source = upload(client, "slow").await;
    let of = |seconds: u32| {
        request("slow", source.clone(), [("seconds".to_owned(), seconds.into())].into())
    };
    let (first, second) = (planned(client, &of(2)).await, planned(client, &of(1)).await);
    client.approve(first.id, digest(&first), None).await.unwrap();
    until(client, first.id, &[S::Applying]).await;
    client.approve(second.id, digest(&second), None).await.unwrap();
    let waiting = until(client, second.id, &[S::Approved]).await.waiting;
    assert_eq!(waiting, Some(Waiting::Stack { held_by: first.id, position: 1 }));
    until(client, first.id, &[S::Succeeded]).await;
    // Its plan is stale now, so it is made anew; the seconds are no input of any resource.
    until(client, second.id, &[S::NoChanges]).await;
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_deployment() {
    let server = Server::start().await;
    let client = &server.client;
    let submit = request("hello", template("hello"), hello("x"));
    let all = (0..8).map(|_| client.submit(&submit, Some("key-1")));
    let mut ids = Vec::new();
    for result in futures::future::join_all(all).await {
        match result {
            Ok(deployment) => ids.push(deployment.id),
            Err(error) => assert_eq!(error.problem().unwrap().status, 409, "{error}"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let again = client.submit(&submit, Some("key-1")).await.unwrap();
    assert_eq!(again.id, ids[0]);
    let other = request("hello", template("hello"), hello("y"));
    let refusal = refused(client.submit(&other, Some("key-1")).await);
    assert_eq!(refusal, (422, "idempotency_key_reused".to_owned()));
    let all = client.deployments(&slipway_app::client::http::DeploymentQuery::default(), 100).await;
    assert_eq!(all.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_newer_deployment_may_take_the_place_of_those_that_wait() {
    let server = Server::start().await;
    let client = &server.client;
    let old = planned(client, &request("hello", template("hello"), hello("old"))).await;
    let mut newer = request("hello", template("hello"), hello("new"));
    newer.options.supersede = true;
    let new = planned(client, &newer).await;
    let old = client.deployment(old.id).await.unwrap();
    assert_eq!(old.state, S::Superseded);
    assert!(old.reason.unwrap().contains(&new.id.to_string()));
}
