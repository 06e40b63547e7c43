//! Everything wrong that can be sent: a clear 4xx, nothing queued, nothing left on disk.

use serde_json::{Value, json};
use slipway_app::client::http::{DeploymentQuery, StackQuery};
use slipway_domain::source::Source;
use slipway_domain::state::DeploymentState as S;

use crate::harness::{
    Entry, Server, digest, hello, planned, refused, request, stack_dir, tar_gz, template, until,
};

/// Sends a body as it is and returns status and problem.
async fn post(server: &Server, path: &str, content_type: &str, body: Vec<u8>) -> (u16, Value) {
    let answer = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(format!("{}{path}", server.url))
        .header("content-type", content_type)
        .body(body)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/problem+json", "{path}: {status}");
    (status, answer.json().await.unwrap())
}

/// Nothing was accepted: no deployment, no stack, no artifact file, no workspace.
async fn assert_untouched(server: &Server) {
    let client = &server.client;
    let deployments = client.deployments(&DeploymentQuery::default(), 10).await.unwrap();
    assert!(deployments.items.is_empty(), "{deployments:#?}");
    let stacks = client.stacks(&StackQuery::default(), 10).await.unwrap();
    assert!(stacks.items.is_empty(), "{stacks:#?}");
    let mut left = Vec::new();
    let mut todo = vec![server.path("data")];
    while let Some(dir) = todo.pop() {
        for item in std::fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let own = name.starts_with("slipway.db") || name == ".lock" || name == "keyring";
                if !own {
                    left.push(path);
                }
            }
        }
    }
    assert!(left.is_empty(), "left on disk: {left:?}");
    let rows: i64 = {
        use sqlx::Connection as _;
        let path = server.path("data/slipway.db");
        let mut c = sqlx::SqliteConnection::connect(&path.to_string_lossy()).await.unwrap();
        sqlx::query_scalar("select (select count(*) from jobs) + (select count(*) from artifacts)")
            .fetch_one(&mut c)
            .await
            .unwrap()
    };
    assert_eq!(rows, 0, "jobs and artifacts");
}

#[tokio::test]
async fn archives_that_are_not_safe_are_refused_and_leave_nothing() {
    let server = Server::start().await;
    let file = || Entry::File("main.tf", b"locals {}\n".to_vec());
    let bomb = {
        // Ten gigabytes of zeros in about ten megabytes, made without ever holding them.
        use std::io::Write as _;
        let mut header = tar::Header::new_gnu();
        header.set_path("zeros.tf").unwrap();
        header.set_size(10 << 30);
        header.set_mode(0o644);
        header.set_cksum();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(header.as_bytes()).unwrap();
        let zeros = vec![0u8; 1 << 20];
        for _ in 0..(10 << 10) {
            gz.write_all(&zeros).unwrap();
        }
        gz.finish().unwrap()
    };
    // The bomb itself must fit through the door, or it would be refused for its packed size.
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("dots", tar_gz(&[file(), Entry::File("../evil", b"x".to_vec())]), 422),
        ("inner dots", tar_gz(&[file(), Entry::File("a/../../evil", b"x".to_vec())]), 422),
        ("absolute", tar_gz(&[file(), Entry::File("/tmp/evil", b"x".to_vec())]), 422),
        ("link out", tar_gz(&[file(), Entry::Symlink("l", "../../etc/passwd")]), 422),
        ("link to root", tar_gz(&[file(), Entry::Symlink("l", "/etc/passwd")]), 422),
        ("hard link", tar_gz(&[file(), Entry::HardLink("l", "/etc/passwd")]), 422),
        ("device", tar_gz(&[file(), Entry::Device("l")]), 422),
        (
            "through a link",
            tar_gz(&[Entry::Symlink("a", "b"), Entry::File("a/x", b"x".to_vec())]),
            422,
        ),
        ("not gzip", b"hello".to_vec(), 422),
        ("cut", tar_gz(&[file()])[..40].to_vec(), 422),
        ("empty", tar_gz(&[]), 422),
        ("bomb", bomb, 422),
    ];
    for (name, archive, wanted) in cases {
        let before = server.peak_memory_kib();
        let (status, problem) =
            post(&server, "/api/v1/artifacts", "application/gzip", archive).await;
        assert!(
            status == wanted || (name == "bomb" && status == 413),
            "{name}: {status} {problem}"
        );
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{name}: {problem}");
        let grown = server.peak_memory_kib().saturating_sub(before);
        assert!(grown < 300 << 10, "{name} made the server grow by {grown} KiB");
    }
    assert_untouched(&server).await;
}

#[tokio::test]
async fn configurations_and_variables_that_do_not_fit_are_refused_with_their_place() {
    let server = Server::start().await;
    let client = &server.client;
    // Broken HCL in an archive that is safe: the archive is kept, the deployment is not.
    let broken = client.upload_directory(&stack_dir("broken-hcl"), None).await.unwrap();
    let source = Source::Archive { artifact_id: broken.id, path: None };
    let error = client.submit(&request("x", source, [].into()), None).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.status, problem.code.as_str()), (422, "invalid_configuration"));
    let at = &problem.errors[0];
    assert_eq!(at.file.as_deref(), Some("main.tf"), "{problem:?}");
    assert!(at.line.is_some_and(|l| (8..=9).contains(&l)) && at.column.is_some(), "{at:?}");
    for (variables, pointer) in [
        (json!({}), "/variables/name"),
        (json!({"name": "x", "nmae": "y"}), "/variables/nmae"),
        (json!({"name": ["x"]}), "/variables/name"),
        (json!({"name": "x", "copies": "many"}), "/variables/copies"),
        (json!({"name": "x", "tags": {"a": {}}}), "/variables/tags/a"),
        (json!({"name": null}), "/variables/name"),
    ] {
        let variables: slipway_domain::deployment::Variables =
            serde_json::from_value(variables).unwrap();
        let submit = request("x", template("hello"), variables.clone());
        let error = client.submit(&submit, None).await.unwrap_err();
        let problem = error.problem().unwrap();
        assert_eq!(problem.status, 422, "{variables:?}: {problem:?}");
        assert!(problem.errors.iter().any(|e| e.pointer == pointer), "{variables:?}: {problem:?}");
    }
    let unknown =
        client.submit(&request("x", template("nope"), [].into()), None).await.unwrap_err();
    let problem = unknown.problem().unwrap();
    assert_eq!((problem.status, problem.errors[0].pointer.as_str()), (422, "/source/name"));
    assert!(problem.errors[0].detail.contains("hello"), "it names the known ones: {problem:?}");
    let deployments = client.deployments(&DeploymentQuery::default(), 10).await.unwrap();
    assert!(deployments.items.is_empty());
}

#[tokio::test]
async fn requests_that_are_not_well_formed_are_problems_not_faults() {
    let server = Server::start().await;
    let json = "application/json";
    let good = json!({"stack": {"project": "p", "name": "n", "environment": "e"},
        "source": {"type": "template", "name": "hello"}, "variables": {"name": "x"}});
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body.to_string().into_bytes()
    };
    let mut extra = good.clone();
    extra["stat"] = json!("succeeded");
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        ("not JSON", json, b"{".to_vec(), 400, "malformed_request"),
        ("empty", json, Vec::new(), 400, "malformed_request"),
        ("a list", json, b"[]".to_vec(), 422, "invalid_input"),
        ("wrong type", json, with("/stack/project", json!(1)), 422, "invalid_input"),
        ("bad name", json, with("/stack/name", json!("../x")), 422, "invalid_input"),
        ("unknown source", json, with("/source", json!({"type": "ftp"})), 422, "invalid_input"),
        ("unknown field", json, extra.to_string().into_bytes(), 422, "invalid_input"),
        (
            "bad url",
            json,
            with("/source", json!({"type": "git", "url": "ext::sh -c id"})),
            422,
            "invalid_input",
        ),
        (
            "path out",
            json,
            with("/source", json!({"type": "git", "url": "https://h/r", "path": "../x"})),
            422,
            "invalid_input",
        ),
        (
            "wrong content type",
            "text/plain",
            with("/variables", json!({})),
            415,
            "unsupported_media_type",
        ),
        ("too large", json, vec![b' '; 3 << 20], 413, "too_large"),
        ("deep", json, "[".repeat(100_000).into_bytes(), 400, "malformed_request"),
    ];
    for (name, content_type, body, status, code) in cases {
        let (got, problem) = post(&server, "/api/v1/deployments", content_type, body).await;
        assert_eq!((got, problem["code"].as_str().unwrap()), (status, code), "{name}: {problem}");
        for field in ["type", "title", "detail", "instance", "request_id"] {
            assert!(problem[field].is_string(), "{name}: no {field} in {problem}");
        }
    }
    let http = reqwest::Client::builder().build().unwrap();
    let status = |method: reqwest::Method, path: &str| {
        let request = http.request(method, format!("{}{path}", server.url));
        async move {
            let answer = request.send().await.unwrap();
            let allow = answer.headers().get("allow").map(|v| v.to_str().unwrap().to_owned());
            let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
            (answer.status().as_u16(), kind, allow)
        }
    };
    let problem = "application/problem+json";
    let nowhere = status(reqwest::Method::GET, "/api/v1/nope").await;
    assert_eq!((nowhere.0, nowhere.1.as_str()), (404, problem));
    let wrong = status(reqwest::Method::PUT, "/api/v1/deployments").await;
    assert_eq!((wrong.0, wrong.1.as_str()), (405, problem));
    assert!(
        wrong.2.as_deref().is_some_and(|a| a.contains("GET") && a.contains("POST")),
        "{wrong:?}"
    );
    for path in [
        "/api/v1/deployments/nope",
        "/api/v1/deployments/dep_00000000000070008000000000000000",
        "/api/v1/stacks/stk_00000000000070008000000000000000",
    ] {
        assert_eq!(status(reqwest::Method::GET, path).await.0, 404, "{path}");
    }
    for path in [
        "/api/v1/deployments?limit=0",
        "/api/v1/deployments?cursor=zzz",
        "/api/v1/deployments?state=done",
        "/api/v1/deployments?nope=1",
    ] {
        let got = status(reqwest::Method::GET, path).await.0;
        assert!(got == 400 || got == 422, "{path}: {got}");
    }
    // A foreign name that resolves here (DNS rebinding), and a foreign page's script.
    let rebound = http.get(format!("{}/api/v1/stacks", server.url)).header("host", "evil.example");
    assert_eq!(rebound.send().await.unwrap().status().as_u16(), 421);
    let foreign = http
        .post(format!("{}/api/v1/deployments", server.url))
        .header("origin", "https://evil.example")
        .header("content-type", json)
        .body(good.to_string());
    assert_eq!(foreign.send().await.unwrap().status().as_u16(), 403);
    assert_untouched(&server).await;
}

#[tokio::test]
async fn decisions_that_do_not_fit_are_refused() {
    let server = Server::start().await;
    let client = &server.client;
    let submit = request("hello", template("hello"), hello("x"));
    let first = planned(client, &submit).await;
    let wrong = format!("sha256:{}", "0".repeat(64));
    for digest in [wrong.as_str(), ""] {
        let refusal = refused(client.approve(first.id, digest, None).await);
        assert!(refusal.0 == 412 || refusal.0 == 422, "{refusal:?}");
        let refusal = refused(client.reject(first.id, digest, None).await);
        assert!(refusal.0 == 412 || refusal.0 == 422, "{refusal:?}");
    }
    assert_eq!(client.deployment(first.id).await.unwrap().state, S::AwaitingApproval);
    client.cancel(first.id, Some("no")).await.unwrap();
    let cancelled = client.deployment(first.id).await.unwrap();
    assert_eq!(cancelled.state, S::Cancelled);
    assert!(cancelled.reason.unwrap().contains("no"));
    for refusal in [
        refused(client.approve(first.id, digest(&first), None).await),
        refused(client.apply(first.id).await),
        refused(client.cancel(first.id, None).await),
        refused(client.reject(first.id, digest(&first), None).await),
    ] {
        assert_eq!(refusal, (409, "illegal_transition".to_owned()));
    }
    let second = planned(client, &submit).await;
    client.reject(second.id, digest(&second), Some("too much")).await.unwrap();
    let rejected = client.deployment(second.id).await.unwrap();
    assert_eq!(rejected.state, S::Cancelled);
    assert!(rejected.reason.unwrap().contains("too much"));
    let third = planned(client, &submit).await;
    client.approve(third.id, digest(&third), None).await.unwrap();
    assert_eq!(
        refused(client.approve(third.id, digest(&third), None).await).0,
        409,
        "approve twice"
    );
    until(client, third.id, &[S::Succeeded]).await;
}
