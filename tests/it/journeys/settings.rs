//! The central configuration as its users have it: from the command line into a deployment.

use std::io::Write as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use slipway_app::client::http::Client;
use slipway_domain::setting::{ChangeSetting, NewSetting, SettingKind, SettingScope};
use slipway_domain::state::DeploymentState as S;
use slipway_services::deployment::Submit;
use slipway_services::log::Part;

use crate::harness::{
    Broker as _, Installation, PATIENCE, Redis, Server, command, digest, planned, request, until,
    upload,
};

const SECRET: &str = "hunter2-of-the-settings";

fn slipway(server: &Server, args: &[&str], stdin: &str) -> Output {
    let mut child = command()
        .arg("settings")
        .args(args)
        .env("SLIPWAY_URL", &server.url)
        .current_dir(server.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {error}");
    out + &error
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_on_the_command_line_is_what_a_deployment_gets() {
    let server = Server::start().await;
    let run = |args: &[&str]| slipway(&server, args, "");
    said(&run(&["set", "region", "eu-west-9"]), 0);
    let narrow = ["--project", "tests", "--env", "dev"];
    said(&run(&[&["set", "region", "eu-north-7", "--comment", "nearer"][..], &narrow].concat()), 0);
    said(&run(&["set", "pool", "{\"size\": 3}", "--type", "json"]), 0);
    // A secret is not taken where others see it.
    said(&run(&["set", "db.password", "visible", "--type", "secret"]), 1);
    let file = ["set", "db.password", "--file", "-", "--type", "secret", "--project", "tests"];
    let shown = said(&slipway(&server, &file, &format!("{SECRET}\n")), 0);
    assert!(shown.contains("***") && !shown.contains(SECRET), "{shown}");
    let list = said(&run(&["list"]), 0);
    assert!(list.contains("eu-north-7") && !list.contains(SECRET), "{list}");
    let place = ["resolve", "--project", "tests", "--env", "dev", "--service", "sensitive"];
    let held = said(&run(&place), 0);
    assert!(held.contains("eu-north-7") && held.contains("project tests in dev"), "{held}");
    assert!(held.contains("everything"), "what it outweighs: {held}");

    let client = &server.client;
    let source = upload(client, "settings").await;
    let variables = [
        ("region".to_owned(), json!("${config.region}")),
        ("pool".to_owned(), json!("${config.pool}")),
        ("url".to_owned(), json!("db://app:${secret.db.password}@${config.region}")),
        ("literal".to_owned(), json!("$${config.region}")),
    ]
    .into();
    let submit = request("settings", source, variables);
    let unknown = Submit {
        variables: [("region".to_owned(), json!("${config.nowhere}"))].into(),
        ..submit.clone()
    };
    let refused = client.submit(&unknown, None).await.unwrap_err().to_string();
    assert!(refused.contains("nowhere") && refused.contains("everything"), "{refused}");

    let first = planned(client, &submit).await;
    assert_eq!(first.variables["url"], "***");
    assert_eq!(first.variables["region"], "${config.region}");
    let plan = client.plan(first.id).await.unwrap();
    let used: Vec<_> = plan.settings.iter().map(|used| (used.key.as_str(), used.version)).collect();
    assert_eq!(used, [("pool", 1), ("region", 1), ("db.password", 1)]);
    // Changed and deleted after the plan: what was approved is what is applied.
    said(&run(&[&["set", "region", "us-east-1"][..], &narrow].concat()), 0);
    said(&run(&["unset", "db.password", "--project", "tests"]), 0);
    client.approve(first.id, digest(&first), None).await.unwrap();
    until(client, first.id, &[S::Succeeded]).await;
    let outputs = client.outputs(first.id, false).await.unwrap();
    let value = |name: &str| outputs.iter().find(|o| o.name == name).unwrap().value.clone();
    assert_eq!(value("region"), "eu-north-7");
    assert_eq!(value("size"), 3);
    assert_eq!(value("literal"), "${config.region}");
    assert_eq!(value("length"), format!("db://app:{SECRET}@eu-north-7").len());
    // The variable is not sensitive in the configuration: the run hides it all the same.
    let log = client.log_page(first.id, Part::After(0), 1000).await.unwrap();
    let log: String = log.items.iter().map(|line| line.text.clone() + "\n").collect();
    assert!(log.contains("connecting to ***"), "{log}");
    let text = client.plan_text(first.id).await.unwrap();
    let events = format!("{plan:?} {text} {log} {}", server.said.lock().unwrap());
    assert!(!events.contains(SECRET), "{events}");

    // What runs now cannot be planned again without its secret; it says so, and what to do.
    let again = client.submit(&submit, None).await.unwrap_err().to_string();
    assert!(again.contains("there is no setting") && again.contains("db.password"), "{again}");
    let gone = run(&["get", "db.password", "--project", "tests"]);
    said(&gone, 4);
    let id = plan.settings[2].setting_id.to_string();
    let history = said(&run(&["history", &id]), 0);
    assert!(history.contains("deleted") && !history.contains(SECRET), "{history}");
    said(&run(&["rollback", &id, "--to", "1", "--comment", "still needed"]), 0);
    let shown = said(&run(&["reveal", &id, "--reason", "a test", "--json"]), 0);
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["value"], SECRET);
    let audit = said(&run(&["history", &id, "--audit"]), 0);
    assert!(audit.contains("setting.reveal") && !audit.contains(SECRET), "{audit}");
    let diff = said(&run(&[&["diff", "region"][..], &narrow].concat()), 0);
    assert!(diff.contains("\"eu-north-7\" -> \"us-east-1\""), "{diff}");
    said(&run(&["rotate", &id]), 0);
    let late = ["set", "region", "x", "--if-version", "1"];
    said(&run(&[&late[..], &narrow].concat()), 7);
    let again = planned(client, &submit).await;
    let plan = client.plan(again.id).await.unwrap();
    assert_eq!(plan.settings[1].version, 2, "a new plan takes what holds now");
}

/// What one API process is told, the others answer at once: over the transport, long before what they
/// remember would be too old.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_by_every_replica() {
    let mut redis = Redis::stopped();
    redis.start().await;
    let installation = Installation::new(redis.env()).await;
    let ((_a, first), (_b, second)) = (installation.api().await, installation.api().await);
    let new = NewSetting {
        key: "limit".to_owned(),
        scope: SettingScope::default(),
        kind: SettingKind::Number,
        value: json!(0),
        schema: None,
        description: None,
        comment: None,
    };
    let mut item = first.make_setting(&new, "limit").await.unwrap();
    let place = SettingScope::default();
    let seen_by = async |client: &Client| {
        let held = client.resolve_settings(&place).await.unwrap();
        held.settings.iter().find(|item| item.key == "limit").map(|item| item.value.clone())
    };
    let mut slowest = Duration::ZERO;
    for number in 1..=10 {
        let change = ChangeSetting { value: Some(json!(number)), ..ChangeSetting::default() };
        // Both remember what was before.
        for client in [&first, &second] {
            seen_by(client).await;
        }
        item = first.change_setting(item.id, &change, item.version).await.unwrap();
        let since = tokio::time::Instant::now();
        assert_eq!(seen_by(&first).await, Some(json!(number)));
        while seen_by(&second).await != Some(json!(number)) {
            assert!(since.elapsed() < PATIENCE, "the other one never sees it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        slowest = slowest.max(since.elapsed());
    }
    // Without the message it would take ten seconds.
    println!("{{\"seen_by_another_replica_ms_max\": {}}}", slowest.as_millis());
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}
