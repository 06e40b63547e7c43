//! No secret shows anywhere: answers, events, logs, the database, the disk.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use serde_json::json;
use slipway_domain::deployment::Operation;
use slipway_domain::setting::{ChangeSetting, NewSetting, SettingKind, SettingScope};
use slipway_domain::state::DeploymentState as S;
use slipway_services::deployment::Submit;
use slipway_services::log::Part;
use slipway_services::setting::Reveal;
use sqlx::Connection as _;

use crate::harness::{
    Broker, Database, PATIENCE, Redis, Server, digest, planned, request, soon, until, upload,
};

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

/// Everything that is secret in the journey below. The first one has what escapes change.
const PASSWORD: &str = "p&ss <w0rd>\"of+the/corpus";
const OLD_PASSWORD: &str = "0ld-password-of-the-corpus";
const TOKEN: &str = "t0ken-of-the-corpus";
const BUILT_IN: &str = "literal-s3cret-of-the-source";
const CLOUD_TOKEN: &str = "cl0ud-token-of-the-worker";
const DATABASE_PASSWORD: &str = "dat4base-password-of-the-house";
const CORPUS: &[&str] = &[PASSWORD, OLD_PASSWORD, TOKEN, BUILT_IN, CLOUD_TOKEN, DATABASE_PASSWORD];

/// The forms in which somebody could read a secret off something: a hand-made list, not that of the
/// redactor.
fn forms(secret: &str) -> Vec<String> {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let json = serde_json::to_string(secret).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let go = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let twice = |text: &String| {
        let twice = serde_json::to_string(text).unwrap();
        twice[1..twice.len() - 1].to_owned()
    };
    let url: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![
        secret.to_owned(),
        twice(&json),
        twice(&go),
        json,
        go,
        url.replace('+', "%20"),
        url,
        // Bytes in a dump of PostgreSQL, or in the text form of a column.
        secret.bytes().map(|b| format!("{b:02x}")).collect(),
    ];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in ["", "-", "--"] {
            // What does not depend on the bytes around it.
            let text = base64::Engine::encode(&engine, format!("{before}{secret}"));
            let whole = (before.len() + secret.len()) / 3 * 4;
            forms.push(text[if before.is_empty() { 0 } else { 4 }..whole].to_owned());
        }
    }
    forms
}

/// Fails when a secret is in `text`, and says where.
fn clean(place: &str, text: &[u8]) {
    for secret in CORPUS {
        for form in forms(secret) {
            let form = form.as_bytes();
            let Some(at) = text.windows(form.len()).position(|window| window == form) else {
                continue;
            };
            let around = &text[at.saturating_sub(200)..(at + form.len() + 100).min(text.len())];
            panic!(
                "{:?} (of {secret:?}) is in {place}: …{}…",
                String::from_utf8_lossy(form),
                String::from_utf8_lossy(around)
            );
        }
    }
}

#[test]
fn a_secret_would_be_found() {
    use base64::engine::general_purpose::STANDARD;
    for secret in CORPUS {
        let quoted = serde_json::to_string(&json!({ "a": secret })).unwrap();
        for text in [
            format!("x {secret} y"),
            serde_json::to_string(&quoted).unwrap(),
            quoted,
            base64::Engine::encode(&STANDARD, format!("user:{secret}@host")),
            base64::Engine::encode(&STANDARD, format!("{secret}@host")),
            form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        ] {
            let found = std::panic::catch_unwind(|| clean("a test", text.as_bytes()));
            assert!(found.is_err(), "{text}");
        }
    }
    clean("nothing", b"nothing at all");
}

/// Every file below a directory.
fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        // What is wiped while it is looked at holds nothing.
        for item in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = item.path();
            let link = path.symlink_metadata().is_ok_and(|about| about.is_symlink());
            if path.is_dir() && !link { todo.push(path) } else { found.push(path) }
        }
    }
    found
}

/// A collector that keeps what it is sent.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let app = axum::Router::new()
        .route(
            "/v1/traces",
            axum::routing::post(
                async |State(kept): State<Arc<Mutex<Vec<u8>>>>, body: bytes::Bytes| {
                    kept.lock().unwrap().extend_from_slice(&body);
                },
            ),
        )
        .with_state(kept.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, kept)
}

/// Every column of every table: its text (bytes in hexadecimal).
async fn dump(database: &Database, server: &Server) -> String {
    let mut text = String::new();
    let mut add = |table: &str, column: &str, rows: Vec<(Option<String>,)>| {
        for (shown,) in rows {
            let _ = writeln!(text, "{table}.{column}: {}", shown.unwrap_or_default());
        }
    };
    let columns: Vec<(String, String)>;
    match database {
        Database::Postgres(url) => {
            let mut c = sqlx::PgConnection::connect(url).await.unwrap();
            let all = "select table_name::text, column_name::text from information_schema.columns
                       where table_schema = 'public' order by 1, 2";
            columns = sqlx::query_as(all).fetch_all(&mut c).await.unwrap();
            for (table, column) in &columns {
                let text = sqlx::AssertSqlSafe(format!("select \"{column}\"::text from {table}"));
                add(table, column, sqlx::query_as(text).fetch_all(&mut c).await.unwrap());
            }
        }
        Database::Sqlite => {
            let path = server.path("data/slipway.db").display().to_string();
            let mut c = sqlx::SqliteConnection::connect(&path).await.unwrap();
            let all = "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c
                       where m.type = 'table' and m.name not like 'sqlite%' order by 1, 2";
            columns = sqlx::query_as(all).fetch_all(&mut c).await.unwrap();
            for (table, column) in &columns {
                let text = sqlx::AssertSqlSafe(format!(
                    "select case typeof(\"{column}\") when 'blob' then lower(hex(\"{column}\"))
                         else cast(\"{column}\" as text) end from {table}"
                ));
                add(table, column, sqlx::query_as(text).fetch_all(&mut c).await.unwrap());
            }
        }
    }
    assert!(columns.len() > 80, "{columns:?}");
    text
}

async fn answer(url: &str, path: &str) -> String {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
    let answer = http.get(format!("{url}{path}")).send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success() || status == 409 || status == 404, "{path}: {status} {text}");
    text
}

#[tokio::test]
async fn no_secret_of_a_corpus_is_seen_anywhere_on_sqlite() {
    corpus(Database::Sqlite, None).await;
}

#[tokio::test]
async fn no_secret_of_a_corpus_is_seen_anywhere_on_postgres() {
    let Database::Postgres(url) = Database::postgres().await else { unreachable!() };
    // The server trusts its callers: any password will do, and this one must not be seen.
    let (scheme, rest) = url.split_once("://").unwrap();
    let (user, host) = rest.split_once('@').unwrap();
    let user = user.split(':').next().unwrap();
    let database = Database::Postgres(format!("{scheme}://{user}:{DATABASE_PASSWORD}@{host}"));
    let mut redis = Redis::stopped();
    redis.start().await;
    corpus(database, Some(redis)).await;
}

async fn corpus(database: Database, redis: Option<Redis>) {
    let (endpoint, spans) = collector().await;
    let broker = redis.as_ref().map(Broker::env).unwrap_or_default();
    let mut env = vec![
        ("CLOUD_TOKEN", CLOUD_TOKEN),
        ("SLIPWAY_TERRAFORM_ENV_ALLOW", "CLOUD_TOKEN"),
        ("SLIPWAY_TELEMETRY_OTLP_ENDPOINT", &endpoint),
        ("SLIPWAY_TELEMETRY_LOG_LEVEL", "debug"),
    ];
    env.extend(broker.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let watched = redis.as_ref().map(Redis::watch);
    let server = Server::start_with(database.clone(), &env).await;
    let client = &server.client;
    let source = upload(client, "secrets").await;
    // One of them is kept in the central configuration, and older versions of it are secrets too.
    let item = |value: &str| NewSetting {
        key: "db.password".to_owned(),
        scope: SettingScope::default(),
        kind: SettingKind::Secret,
        value: json!(value),
        schema: None,
        description: None,
        comment: None,
    };
    let item = client.make_setting(&item(OLD_PASSWORD), "corpus").await.unwrap();
    let change = ChangeSetting { value: Some(json!(PASSWORD)), ..ChangeSetting::default() };
    client.change_setting(item.id, &change, item.version).await.unwrap();
    let submit = |mode: &str| {
        let variables = [
            ("password".to_owned(), json!("${secret.db.password}")),
            ("account".to_owned(), json!({"user": "svc", "token": TOKEN})),
            ("mode".to_owned(), json!(mode)),
        ]
        .into();
        request("secrets", source.clone(), variables)
    };

    // One that goes well; its plan file and state are sealed, and everything is said in its log.
    let well = planned(client, &submit("well")).await;
    client.approve(well.id, digest(&well), None).await.unwrap();
    until(client, well.id, &[S::Succeeded]).await;
    let log = client.log_page(well.id, Part::After(0), 1000).await.unwrap();
    let said: Vec<_> = log.items.iter().filter(|l| l.text.contains("said: ")).collect();
    assert!(said.iter().any(|l| l.text.contains("*** | *** | ***")), "{:#?}", log.items);

    // One whose plan fails with secrets in the message, one whose apply does, one that is cancelled.
    let no_plan = client.submit(&submit("plan_error"), None).await.unwrap();
    let no_plan = until(client, no_plan.id, &[S::Failed]).await;
    let why = format!("{:?}", no_plan.failure);
    assert!(why.contains("the password *** and *** are wrong"), "{why}");
    let failing = planned(client, &submit("fail")).await;
    client.approve(failing.id, digest(&failing), None).await.unwrap();
    let failed = until(client, failing.id, &[S::Failed]).await;
    let why = format!("{:?}", failed.failure);
    assert!(why.contains("cannot log in with ***"), "{why}");
    let slow = planned(client, &submit("slow")).await;
    client.approve(slow.id, digest(&slow), None).await.unwrap();
    until(client, slow.id, &[S::Applying]).await;
    soon("the slow one is slow", PATIENCE, async || {
        let log = client.log_page(slow.id, Part::After(0), 1000).await.unwrap();
        log.items.iter().any(|line| line.text.contains("terraform_data.slow[0]"))
    })
    .await;
    client.cancel(slow.id, Some("enough")).await.unwrap();
    let cancelled = until(client, slow.id, &[S::Cancelled, S::NeedsAttention, S::Failed]).await;
    // A destroy of what there is reads secrets out of the state alone.
    let destroy = Submit { operation: Operation::Destroy, ..submit("well") };
    let destroy = planned(client, &destroy).await;

    let mut ids = vec![well.id, no_plan.id, failing.id, cancelled.id, destroy.id];
    ids.dedup();
    let stack = well.stack_id;
    let mut paths: Vec<String> = [
        "/api/v1/deployments",
        "/api/v1/jobs",
        "/api/v1/queues",
        "/api/v1/queues/stats",
        "/api/v1/stacks",
        "/api/v1/templates",
        "/api/v1/workers",
        "/health",
        "/livez",
        "/metrics",
        "/readyz",
        "/openapi.json",
    ]
    .map(ToOwned::to_owned)
    .into();
    // Somebody looks at a secret; that is on the record, and nothing of it is.
    let reveal = Reveal { reason: "the corpus".to_owned(), version: Some(1) };
    let revealed = client.reveal_setting(item.id, &reveal).await.unwrap();
    assert_eq!(revealed.value, OLD_PASSWORD);
    client.rotate_setting(item.id).await.unwrap();
    let of = format!("/api/v1/config/{}", item.id);
    paths.extend(["", "/versions", "/diff", "/audit"].map(|below| format!("{of}{below}")));
    paths.push("/api/v1/config".to_owned());
    paths.push("/api/v1/config/resolve?project=default&environment=dev".to_owned());
    paths.push(format!("/api/v1/stacks/{stack}"));
    paths.push(format!("/api/v1/stacks/{stack}/deployments"));
    for id in &ids {
        let of = format!("/api/v1/deployments/{id}");
        for below in [
            "",
            "/plan",
            "/plan?format=text",
            "/logs?limit=1000",
            "/events?format=json&limit=200",
            "/outputs",
        ] {
            paths.push(format!("{of}{below}"));
        }
        paths.push(format!("/api/v1/jobs?deployment_id={id}"));
        if *id != destroy.id {
            // Streams of what has ended end too.
            paths.push(format!("{of}/events"));
            paths.push(format!("{of}/logs?follow=true"));
        }
    }
    for path in &paths {
        clean(path, answer(&server.url, path).await.as_bytes());
    }
    let jobs: serde_json::Value =
        serde_json::from_str(&answer(&server.url, "/api/v1/jobs?limit=200").await).unwrap();
    for job in jobs["items"].as_array().unwrap() {
        let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
        clean(&path, answer(&server.url, &path).await.as_bytes());
    }
    let tables = dump(&database, &server).await;
    assert!(tables.contains("eu-north-1"), "what is no secret is readable");
    clean("the database", tables.as_bytes());
    if let (Some(redis), Some(watched)) = (&redis, &watched) {
        clean("a dump of Redis", &redis.dump());
        let asked = watched.lock().unwrap().clone();
        assert!(asked.len() > 1000, "what is asked of Redis is heard");
        clean("what was asked of Redis", &asked);
    }
    on_disk(&server);

    // The rest of the spans are sent at the end, and the end wipes what is left of workspaces.
    server.signal(rustix::process::Signal::TERM);
    let mut server = server;
    assert!(server.ended().await);
    let said = server.said.lock().unwrap().clone();
    assert!(said.contains("job started"), "{said}");
    clean("the log of the process", said.as_bytes());
    let spans = spans.lock().unwrap().clone();
    assert!(spans.windows(10).any(|w| w == b"deployment"), "{} bytes of spans", spans.len());
    clean("the spans", &spans);
    on_disk(&server);
}

fn on_disk(server: &Server) {
    let found = files(server.dir.path());
    assert!(found.len() > 1, "{found:?}");
    let work: Vec<_> = found
        .iter()
        .filter(|path| path.to_string_lossy().contains("/work/") && !path.ends_with(".lock"))
        .collect();
    assert!(work.is_empty(), "workspaces are wiped: {work:?}");
    for path in found {
        if let Ok(bytes) = std::fs::read(&path) {
            clean(&path.display().to_string(), &bytes);
        }
    }
}
