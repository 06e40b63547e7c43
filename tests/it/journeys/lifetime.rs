//! Stopping, in every way: cancel, drain, a second signal, a crash.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use slipway_domain::cancel::CancelPhase;
use slipway_domain::deployment::Deployment;
use slipway_domain::event::{EventBody, ResourceStatus};
use slipway_domain::plan::Action;
use slipway_domain::recovery::RecoveryVerdict;
use slipway_domain::state::DeploymentState as S;

use crate::harness::{
    Database, Server, command, digest, hello, planned, provider_mirror, refused, request, template,
    until, upload,
};

/// A slow apply that has begun.
async fn applying(server: &Server, seconds: u32) -> Deployment {
    begun(server, "slow", &[("seconds", seconds)], "terraform_data.step_1").await
}

/// An apply that is at a resource.
async fn begun(server: &Server, stack: &str, given: &[(&str, u32)], at: &str) -> Deployment {
    let client = &server.client;
    let source = upload(client, stack).await;
    let variables = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
    let first = planned(client, &request(stack, source, variables.collect())).await;
    client.approve(first.id, digest(&first), None).await.unwrap();
    until(client, first.id, &[S::Applying]).await;
    // Until that really runs.
    let end = Instant::now() + crate::harness::PATIENCE;
    loop {
        let events = client.event_page(first.id, 0, 1000).await.unwrap();
        let began = events.iter().any(|e| {
            matches!(&e.body,
            EventBody::Resource { address, .. } if address == at)
        });
        if began {
            return first;
        }
        assert!(Instant::now() < end, "the apply does not begin");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_running_apply_is_cancelled_gently_and_what_it_made_is_recorded() {
    let server = Server::start().await;
    let running = applying(&server, 60).await;
    let asked = Instant::now();
    let answer = server.client.cancel(running.id, Some("wrong stack")).await.unwrap();
    assert!(answer.state == S::Applying || answer.state == S::Cancelled);
    let ended = until(&server.client, running.id, &[S::Cancelled]).await;
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert!(ended.reason.unwrap().contains("wrong stack"));
    let stack = server.client.stack(running.stack_id).await.unwrap();
    assert_eq!(stack.state.unwrap().resource_count, 2, "one made, one tainted");
    let cancel = ended.cancel.unwrap();
    assert_eq!((cancel.phase, cancel.done, cancel.left), (CancelPhase::Stopped, 1, 3));
    assert!(cancel.in_flight.is_empty(), "{cancel:?}");
    assert_eq!(cancel.left_addresses.len(), 3);
    let events = server.client.event_page(running.id, 0, 1000).await.unwrap();
    let drained = events.iter().find_map(|event| match &event.body {
        EventBody::CancelProgress { cancel } => Some(cancel.clone()),
        _ => None,
    });
    let drained = drained.unwrap();
    assert_eq!(drained.phase, CancelPhase::Draining);
    assert_eq!(drained.in_flight, ["terraform_data.step_1"], "it is told what is in flight");
    assert_eq!(refused(server.client.cancel(running.id, None).await).0, 409);
}

#[tokio::test]
async fn an_apply_that_is_killed_on_request_is_found_out_and_never_silently_cancelled() {
    let server = Server::start().await;
    let running = applying(&server, 60).await;
    let asked = Instant::now();
    let forced = command()
        .args(["cancel", &running.id.to_string(), "--force", "--reason", "it hangs"])
        .env("SLIPWAY_URL", &server.url)
        .output()
        .unwrap();
    assert!(forced.status.success(), "{}", String::from_utf8_lossy(&forced.stderr));
    let waits = until(&server.client, running.id, &[S::NeedsAttention, S::Cancelled]).await;
    assert!(asked.elapsed() < Duration::from_secs(40), "{:?}", asked.elapsed());
    let cancel = waits.cancel.clone().unwrap();
    assert_eq!(cancel.phase, CancelPhase::Killed, "{waits:?}");
    assert!(cancel.forced_at.is_some());
    let recovery = server.client.recovery(running.id).await.unwrap();
    assert_eq!(recovery.recoveries.len(), 1, "it is found out: {recovery:?}");
    // Its provisioner was cut off: nobody knows what that did.
    assert_eq!(waits.state, S::NeedsAttention, "{waits:?}");
    assert_eq!(cancel.in_flight, ["terraform_data.step_1"]);
    let shown = command()
        .args(["status", &running.id.to_string()])
        .env("SLIPWAY_URL", &server.url)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("killed (by force): 1 in flight (terraform_data.step_1)"), "{shown}");
    // Once a person has said that, it ends: it was to be stopped.
    let absent = slipway_domain::recovery::Resolution {
        address: "terraform_data.step_1".to_owned(),
        outcome: slipway_domain::recovery::ResolutionOutcome::Absent,
        id: None,
    };
    server.client.resolve(running.id, &[absent]).await.unwrap();
    let ended = until(&server.client, running.id, &[S::Cancelled]).await;
    let cancel = ended.cancel.unwrap();
    assert_eq!((cancel.phase, cancel.in_flight.len()), (CancelPhase::Killed, 0));
    assert!(cancel.left >= 3, "{cancel:?}");
    assert_nothing_runs(&server).await;
}

#[tokio::test]
async fn the_first_signal_lets_jobs_finish_and_the_second_stops_them() {
    let mut server = Server::start().await;
    let running = applying(&server, 2).await;
    server.signal(Signal::TERM);
    assert!(server.ended().await, "{}", server.said.lock().unwrap());
    let server = server.restart().await;
    let done = server.client.deployment(running.id).await.unwrap();
    assert_eq!(done.state, S::Succeeded, "it was let finish");

    let running = applying_again(&server).await;
    let mut server = server;
    let asked = Instant::now();
    server.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.signal(Signal::TERM);
    assert!(server.ended().await, "{}", server.said.lock().unwrap());
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    let server = server.restart().await;
    let stopped = server.client.deployment(running.id).await.unwrap();
    assert_eq!(stopped.state, S::Failed, "{:?}", stopped.reason);
    assert!(stopped.reason.unwrap().contains("shut down"));
    assert_nothing_runs(&server).await;
}

/// A second slow apply of the same stack: the first one is there already, so it is destroyed.
async fn applying_again(server: &Server) -> Deployment {
    let client = &server.client;
    let source = upload(client, "slow").await;
    let variables = [("seconds".to_owned(), 60.into())].into();
    let mut submit = request("slow-again", source, variables);
    submit.stack.name = "slow-again".into();
    let first = planned(client, &submit).await;
    client.approve(first.id, digest(&first), None).await.unwrap();
    until(client, first.id, &[S::Applying]).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    first
}

async fn assert_nothing_runs(server: &Server) {
    use sqlx::Connection as _;
    let path = server.path("data/slipway.db");
    let mut c = sqlx::SqliteConnection::connect(&path.to_string_lossy()).await.unwrap();
    let running: i64 = sqlx::query_scalar(
        "select (select count(*) from jobs where state = 'running')
              + (select count(*) from deployments where state in ('planning', 'applying', 'verifying'))",
    )
    .fetch_one(&mut c)
    .await
    .unwrap();
    assert_eq!(running, 0);
}

#[tokio::test]
async fn a_plan_whose_process_was_killed_is_made_again() {
    let env = [("SLIPWAY_WORKER_LEASE_S", "3"), ("SLIPWAY_WORKER_HEARTBEAT_S", "1")];
    let server = Server::start_with(Database::Sqlite, &env).await;
    let submit = request("hello", template("hello"), hello("x"));
    let mut last = server.client.submit(&submit, None).await.unwrap();
    for _ in 0..10 {
        last = server.client.submit(&submit, None).await.unwrap();
    }
    until(&server.client, last.id, &[S::Submitted, S::Planning, S::AwaitingApproval]).await;
    let server = server.crash_and_restart().await;
    for deployment in server
        .client
        .deployments(&slipway_app::client::http::DeploymentQuery::default(), 100)
        .await
        .unwrap()
        .items
    {
        until(&server.client, deployment.id, &[S::AwaitingApproval]).await;
    }
    assert_nothing_runs(&server).await;
}

/// What is left goes on under the approval that there is.
fn went_on(begun: Deployment, done: Deployment) {
    let seen = begun.plan.unwrap().digest;
    let approval = done.approval.unwrap();
    assert_eq!((approval.carried_from.as_ref(), approval.carries), (Some(&seen), 1));
    assert_ne!(approval.plan_digest, seen);
}

#[tokio::test]
async fn an_apply_whose_process_was_killed_is_recovered() {
    let mirror = provider_mirror();
    let env = [
        ("SLIPWAY_WORKER_LEASE_S", "3"),
        ("SLIPWAY_WORKER_HEARTBEAT_S", "1"),
        ("SLIPWAY_TERRAFORM_PROVIDER_MIRROR", mirror.to_str().unwrap()),
    ];
    let server = Server::start_with(Database::Sqlite, &env).await;
    let running = begun(&server, "waits", &[("seconds", 3)], "time_sleep.wait").await;
    let server = server.crash_and_restart().await;
    // Its guard asked Terraform to stop, which wrote down what there is. Nothing is in doubt.
    let done = until(&server.client, running.id, &[S::Succeeded]).await;
    let id = running.id;
    went_on(running, done);
    let all = server.client.recovery(id).await.unwrap();
    let [recovery] = all.recoveries.as_slice() else { panic!("{all:?}") };
    assert_eq!(recovery.verdict, Some(RecoveryVerdict::Continued));
    let report = recovery.report.as_ref().unwrap();
    assert!(report.collected, "{report:?}");
    assert!(report.done.iter().any(|address| address == "terraform_data.before"), "{report:?}");
    assert_nothing_runs(&server).await;
}

/// What a provisioner did that was cut off nobody knows; a person does, and it is not run again.
#[tokio::test]
async fn a_provisioner_that_was_cut_off_runs_again_only_when_a_person_says_so() {
    let env = [("SLIPWAY_WORKER_LEASE_S", "3"), ("SLIPWAY_WORKER_HEARTBEAT_S", "1")];
    let server = Server::start_with(Database::Sqlite, &env).await;
    let running = applying(&server, 2).await;
    let server = server.crash_and_restart().await;
    until(&server.client, running.id, &[S::NeedsAttention]).await;
    let all = server.client.recovery(running.id).await.unwrap();
    let report = all.recoveries[0].report.as_ref().unwrap();
    assert!(report.collected && report.tainted.is_empty(), "{report:?}");
    let [doubt] = report.in_doubt.as_slice() else { panic!("{report:?}") };
    assert_eq!(doubt.address, "terraform_data.step_1");
    assert!(doubt.detail.contains("tainted"), "{doubt:?}");
    let said = command()
        .args(["recovery", &running.id.to_string(), "--exists", "terraform_data.step_1"])
        .env("SLIPWAY_URL", &server.url)
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let id = running.id;
    let done = until(&server.client, id, &[S::Succeeded]).await;
    went_on(running, done);
    let all = server.client.recovery(id).await.unwrap();
    let verdicts: Vec<_> =
        all.recoveries.iter().map(|recovery| recovery.verdict.unwrap()).collect();
    assert_eq!(verdicts, [RecoveryVerdict::Continued, RecoveryVerdict::NeedsAttention]);
    let events = server.client.event_page(id, 0, 1000).await.unwrap();
    let begun = events.iter().filter(|event| {
        matches!(&event.body, EventBody::Resource { address, action, status, .. }
            if address == "terraform_data.step_1"
                && *action == Action::Create
                && *status == ResourceStatus::Started)
    });
    assert_eq!(begun.count(), 1, "{events:?}");
    assert_nothing_runs(&server).await;
}

#[tokio::test]
async fn without_a_tool_it_says_so_and_writes_nothing() {
    for verb in ["dev", "demo"] {
        let dir = tempfile::tempdir().unwrap();
        let output = command()
            .args([verb, "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .env("PATH", dir.path())
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        for word in ["terraform", "tofu", "PATH", "SLIPWAY_TERRAFORM_BINARY"] {
            assert!(said.contains(word), "{verb}: {word:?} is not in {said}");
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert!(left.is_empty(), "{verb} wrote {left:?}");
    }
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = command()
        .args(["dev", "--listen", "0.0.0.0:0", "--data-dir"])
        .arg(dir.path().join("data"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("loopback"), "{said}");
    assert!(!dir.path().join("data").exists());
}
