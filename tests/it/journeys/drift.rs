//! Drift from one end to the other: something is changed outside, a check finds it, everybody who
//! listens hears of it once, and a deployment like any other puts it right.

use std::process::Output;

use serde_json::Value;
use slipway_domain::drift::{DriftCause, DriftStatus, DriftTurn};
use slipway_domain::event::{Event, EventBody};
use slipway_domain::id::DeploymentId;
use slipway_domain::state::DeploymentState as S;

use crate::harness::{Database, PATIENCE, Server, command, digest, provider_mirror, soon, until};

const OF: &str = "default/net/dev";

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

fn json(output: &Output) -> Value {
    serde_json::from_str(&said(output, 0)).unwrap()
}

/// Writes a configuration of one file outside of every workspace.
fn write(server: &Server, content: &str) {
    let file = server.path("outside/motd");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::create_dir_all(server.path("net")).unwrap();
    let main = format!(
        "terraform {{\n  required_providers {{\n    local = {{ source = \"hashicorp/local\" }}\n  \
         }}\n}}\nresource \"local_file\" \"motd\" {{\n  filename = \"{}\"\n  content  = \
         \"{content}\"\n}}\n",
        file.display()
    );
    std::fs::write(server.path("net/main.tf"), main).unwrap();
}

async fn drift_events(server: &Server, id: DeploymentId) -> Vec<DriftTurn> {
    let events = server.client.event_page(id, 0, 1000).await.unwrap();
    let drift = events.into_iter().filter_map(|event| match event.body {
        EventBody::Drift { turn, .. } => Some(turn),
        _ => None,
    });
    drift.collect()
}

/// Follows the events of a deployment beyond its end, over SSE, until one says this.
fn hears(
    server: &Server,
    id: DeploymentId,
    wanted: impl Fn(&EventBody) -> bool + Send + 'static,
) -> tokio::task::JoinHandle<Event> {
    let mut events = server.client.events_and_after(id, 0);
    tokio::spawn(async move {
        loop {
            let event = events.next().await.unwrap().expect("the stream has no end");
            if wanted(&event.body) {
                return event;
            }
        }
    })
}

async fn heard(following: tokio::task::JoinHandle<Event>) -> Event {
    tokio::time::timeout(PATIENCE, following).await.expect("nothing was told").unwrap()
}

async fn a_stack_is_put_right(database: Database) {
    let mirror = provider_mirror();
    let env = [
        ("SLIPWAY_TERRAFORM_PROVIDER_MIRROR", mirror.to_str().unwrap()),
        ("SLIPWAY_DRIFT_ENABLED", "true"),
    ];
    let server = Server::start_with(database, &env).await;
    let client = &server.client;
    write(&server, "welcome");
    said(&slipway(&server, &["deploy", "net", "--auto-approve", "--wait"]), 0);
    let file = server.path("outside/motd");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "welcome");
    let first = json(&slipway(&server, &["status", OF, "--json"]));
    let stack = first["stack_id"].as_str().unwrap().parse().unwrap();
    let first: DeploymentId = first["id"].as_str().unwrap().parse().unwrap();

    // As it was deployed.
    let text = said(&slipway(&server, &["drift", "check", OF, "--wait"]), 0);
    assert!(text.contains("in_sync") && text.contains("everything is as the state says"), "{text}");
    assert_eq!(drift_events(&server, first).await, []);

    // Somebody removes it by hand; who listens hears of it, once.
    let began = hears(&server, first, |body| {
        matches!(body, EventBody::Drift { turn: DriftTurn::Began, .. })
    });
    std::fs::remove_file(&file).unwrap();
    let text = said(&slipway(&server, &["drift", "check", OF, "--wait"]), 0);
    assert!(text.contains("drifted") && text.contains("local_file.motd"), "{text}");
    let EventBody::Drift { summary, since, .. } = heard(began).await.body else { unreachable!() };
    assert_eq!(summary, "1 resource deleted outside");
    assert!(since.is_some());
    said(&slipway(&server, &["drift", "check", OF, "--wait"]), 0);
    assert_eq!(drift_events(&server, first).await, [DriftTurn::Began]);
    let known = client.drift(stack).await.unwrap();
    assert_eq!((known.status, known.since), (DriftStatus::Drifted, since));
    assert_eq!(known.report.unwrap().groups[0].cause, DriftCause::DeletedOutside);
    assert!(!file.exists(), "a check puts nothing right");
    let listed = said(&slipway(&server, &["drift", "list", "--status", "drifted"]), 0);
    assert!(listed.contains(OF), "{listed}");
    let metrics = async || {
        reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap()
    };
    assert!(metrics().await.contains("slipway_drifted_stacks 1"));

    // One call submits what it runs; it is approved like any other.
    let key = ["drift", "reconcile", OF, "--idempotency-key", "k1", "--json"];
    let second = json(&slipway(&server, &key));
    assert_eq!(json(&slipway(&server, &key))["id"], second["id"]);
    let id: DeploymentId = second["id"].as_str().unwrap().parse().unwrap();
    let waits = until(client, id, &[S::AwaitingApproval]).await;
    assert!(!file.exists(), "nothing is put right that nobody approved");
    client.approve(id, digest(&waits), None).await.unwrap();
    until(client, id, &[S::Succeeded]).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "welcome");

    // That it is over is found out without anybody asking.
    let ended =
        hears(&server, id, |body| matches!(body, EventBody::Drift { turn: DriftTurn::Ended, .. }));
    heard(ended).await;
    let known = client.drift(stack).await.unwrap();
    assert_eq!((known.status, known.since, known.out_of_date), (DriftStatus::InSync, None, false));
    assert!(metrics().await.contains("slipway_drifted_stacks 0"));

    // Settings, from the version that was read.
    let kept = json(&slipway(&server, &["drift", "settings", OF, "--every", "600", "--json"]));
    assert_eq!((&kept["interval_s"], &kept["version"]), (&600.into(), &1.into()));
    said(&slipway(&server, &["drift", "settings", OF, "--disable", "--if-version", "0"]), 7);
    let off = said(&slipway(&server, &["drift", "settings", OF, "--disable"]), 0);
    assert!(off.contains("checked by itself: no"), "{off}");
    assert_eq!(client.drift(stack).await.unwrap().next_check_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_outside_is_found_told_and_put_right() {
    a_stack_is_put_right(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_outside_is_found_told_and_put_right_on_postgres() {
    a_stack_is_put_right(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_nobody_applies_is_judged_and_turns_out_of_date() {
    let server = Server::start_with_providers(Database::Sqlite).await;
    let client = &server.client;
    write(&server, "welcome");
    let planned = ["deploy", "net", "--plan-only", "--wait", "--json"];
    let planned = json(&slipway(&server, &planned));
    assert_eq!((&planned["state"], &planned["stale"]), (&"succeeded".into(), &Value::Null));
    let id: DeploymentId = planned["id"].as_str().unwrap().parse().unwrap();
    let file = server.path("outside/motd");
    assert!(!file.exists(), "nothing is applied");
    said(&slipway(&server, &["approve", &id.to_string(), "--yes"]), 7);
    let stack = client.deployment(id).await.unwrap().stack_id;
    assert_eq!(client.stack(stack).await.unwrap().current_deployment, None);

    let stale = hears(&server, id, |body| matches!(body, EventBody::PlanStale { .. }));
    said(&slipway(&server, &["deploy", "net", "--auto-approve", "--wait"]), 0);
    assert!(file.exists());
    heard(stale).await;
    soon("the plan is marked", PATIENCE, async || {
        client.deployment(id).await.unwrap().stale.is_some()
    })
    .await;
    let report = said(&slipway(&server, &["report", &id.to_string()]), 0);
    assert!(report.contains("since the plan was made"), "{report}");
    let status = said(&slipway(&server, &["status", &id.to_string()]), 0);
    assert!(status.contains("out of date"), "{status}");
}
