//! No secret shows anywhere: answers, events, logs, the database, the disk.

use serde_json::json;
use slipway_domain::state::DeploymentState as S;
use slipway_services::log::Part;

use crate::harness::{Database, Server, digest, planned, request, until, upload};

const SECRETS: &[&str] = &["hunter2-of-the-test", "t0ken-of-the-test"];

#[tokio::test]
async fn secrets_are_masked_in_answers_and_sealed_at_rest() {
    let server = Server::start_with(Database::Sqlite, &[]).await;
    let client = &server.client;
    let source = upload(client, "sensitive").await;
    let variables = [
        ("password".to_owned(), json!(SECRETS[0])),
        ("account".to_owned(), json!({"user": "svc", "token": SECRETS[1]})),
        ("leak".to_owned(), json!(true)),
    ]
    .into();
    let submit = request("sensitive", source, variables);
    let first = planned(client, &submit).await;
    assert_eq!(first.variables["password"], "***");
    assert_eq!(first.variables["account"], "***");
    assert_eq!(first.variables["leak"], true);
    client.approve(first.id, digest(&first), None).await.unwrap();
    until(client, first.id, &[S::Succeeded]).await;

    let mut seen = String::new();
    let http = reqwest::Client::builder().build().unwrap();
    for path in [
        "",
        "/plan",
        "/plan?format=text",
        "/logs?limit=1000",
        "/events?format=json&limit=200",
        "/outputs",
    ] {
        let url = format!("{}/api/v1/deployments/{}{path}", server.url, first.id);
        let answer = http.get(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}");
        seen.push_str(&answer.text().await.unwrap());
    }
    seen.push_str(&server.said.lock().unwrap());
    for secret in SECRETS {
        assert!(!seen.contains(secret), "{secret} is in an answer");
    }
    assert!(seen.contains("eu-north-1"), "what is no secret stays readable");
    let log = client.log_page(first.id, Part::After(0), 1000).await.unwrap();
    assert!(log.items.iter().any(|l| l.text.contains("logging in with ***")), "{log:#?}");

    // Whoever may, sees; and that they looked is on the record.
    let masked = client.outputs(first.id, false).await.unwrap();
    let masked = masked.iter().find(|o| o.name == "url").unwrap();
    assert_eq!((masked.value.as_str(), masked.sensitive), (Some("***"), true));
    let shown = client.outputs(first.id, true).await.unwrap();
    let shown = shown.iter().find(|o| o.name == "url").unwrap().value.to_string();
    assert!(shown.contains(SECRETS[1]), "{shown}");

    let mut looked = 0;
    let mut todo = vec![server.dir.path().to_owned()];
    while let Some(dir) = todo.pop() {
        for item in std::fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            looked += 1;
            let bytes = std::fs::read(&path).unwrap();
            for secret in SECRETS {
                let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                assert!(!found, "{secret} is in {}", path.display());
            }
        }
    }
    assert!(looked > 1, "the database at least");
}
