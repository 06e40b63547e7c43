//! The client against the mock: what goes over the wire, what is repeated, what is refused.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::client::exit::Exit;
use crate::client::mock::{ARTIFACT_ID, ID, Mock, change};

fn id() -> DeploymentId {
    ID.parse().unwrap()
}

fn submit() -> Submit {
    serde_json::from_value(json!({
        "stack": {"project": "default", "name": "net", "environment": "dev"},
        "source": {"type": "template", "name": "net"},
        "variables": {"size": 3},
    }))
    .unwrap()
}

#[test]
fn a_base_url_is_checked() {
    for (base, word) in [
        ("127.0.0.1:8000", "URL"),
        ("ftp://h", "http://"),
        ("http://h/?a=b", "query"),
        ("http://user:hunter2@h", "credentials"),
    ] {
        let error = Client::new(base).unwrap_err().to_string();
        assert!(error.contains(word), "{base}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let client = Client::new("http://h:1/slipway/").unwrap();
    assert_eq!(client.base(), "http://h:1/slipway");
    let url = client.url(&["templates", "a/b"], &[("x", "1 2".to_owned())]);
    assert_eq!(url.as_str(), "http://h:1/slipway/api/v1/templates/a%2Fb?x=1+2");
}

#[tokio::test]
async fn a_submission_with_a_key_is_repeated_when_the_server_was_away() {
    let mock = Mock::start().await;
    mock.refuse("POST /api/v1/deployments", 503, json!({"code": "unavailable"}));
    mock.refuse("POST /api/v1/deployments", 409, json!({"code": "idempotency_in_flight"}));
    let deployment = mock.client().submit(&submit(), Some("k1")).await.unwrap();
    assert_eq!(deployment.id, id());
    assert_eq!(
        mock.seen("POST"),
        ["POST /api/v1/deployments idempotency-key=k1"; 3],
        "the same request with the same key"
    );
    let bodies = mock.house.lock().unwrap().bodies.clone();
    let sent: Submit = serde_json::from_slice(&bodies[0]).unwrap();
    assert_eq!(sent, submit());
}

#[tokio::test]
async fn a_server_that_is_down_says_so_and_a_refusal_is_no_health() {
    let mock = Mock::start().await;
    mock.refuse("GET /health", 503, json!({"status": "down", "version": "1", "dependencies": []}));
    let health = mock.client().health().await.unwrap();
    assert_eq!(serde_json::to_value(health.status).unwrap(), "down");
    let why = "Sign in first.";
    mock.refuse("GET /health", 401, json!({"code": "unauthenticated", "detail": why}));
    let error = mock.client().health().await.unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
}

#[tokio::test]
async fn a_post_without_a_key_is_sent_once() {
    let mock = Mock::start().await;
    mock.refuse("POST", 503, json!({"code": "unavailable", "detail": "the database is away"}));
    let error = mock.client().submit(&submit(), None).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert_eq!(error.to_string(), "the database is away");
    mock.refuse("POST", 502, json!("<html>"));
    let error = mock.client().approve(id(), "sha256:11", None).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert_eq!(mock.seen("POST").len(), 2);
}

#[tokio::test]
async fn a_get_is_repeated_but_not_for_ever_and_not_after_a_refusal() {
    let mock = Mock::start().await;
    mock.refuse("GET", 502, json!("<html>a proxy's page</html>"));
    assert!(mock.client().deployment(id()).await.is_ok());
    for _ in 0..5 {
        mock.refuse("GET", 503, json!({"code": "unavailable"}));
    }
    let error = mock.client().deployment(id()).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert_eq!(mock.seen("GET").len(), 2 + 3);
    mock.house.lock().unwrap().refusals.clear();
    mock.refuse("GET", 404, json!({"code": "not_found", "detail": "There is no deployment."}));
    let error = mock.client().deployment(id()).await.unwrap_err();
    assert_eq!(error.exit(), Exit::NotFound);
    assert!(error.problem().unwrap().is(slipway_domain::Code::NotFound));
    assert_eq!(mock.seen("GET").len(), 2 + 3 + 1);
}

#[tokio::test]
async fn what_is_no_slipway_is_called_so() {
    let mock = Mock::start().await;
    mock.refuse("GET", 200, json!(["something else"]));
    let error = mock.client().deployment(id()).await.unwrap_err();
    assert!(error.to_string().contains("does not answer like a Slipway server"), "{error}");
    mock.refuse("GET", 308, json!(""));
    let error = mock.client().deployment(id()).await.unwrap_err();
    assert!(error.to_string().contains("points to another place"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_said_kindly() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(&url).unwrap();
    for error in [
        client.deployment(id()).await.unwrap_err(),
        client.events(id(), 0).next().await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert_eq!(error.exit(), Exit::Unreachable);
        assert!(text.contains(&url) && text.contains("slipway dev"), "{text}");
        assert!(text.contains("refused"), "{text}");
    }
}

#[tokio::test]
async fn events_are_followed_over_broken_connections() {
    let mock = Mock::start().await;
    mock.house.lock().unwrap().cut_after = Some(2);
    mock.happen(&[change("submitted", "planning"), json!({"type": "step", "step": "init"})]);
    mock.happen(&[json!({"type": "from_the_future", "x": 1})]);
    let mut events = mock.client().events(id(), 0);
    assert_eq!(events.next().await.unwrap().unwrap().seq, 1);
    assert_eq!(events.next().await.unwrap().unwrap().seq, 2);
    let later = mock.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        later.happen(&[change("planning", "planned"), change("planned", "cancelled")]);
    });
    let mut rest = Vec::new();
    while let Some(event) = events.next().await.unwrap() {
        rest.push(event.seq);
    }
    assert_eq!(rest, [4, 5], "the unknown kind is left out");
    let opened = mock.seen("GET /api/v1/deployments/");
    assert!(opened.len() >= 3, "{opened:?}");
    assert!(!opened[0].contains("last-event-id"), "{opened:?}");
    assert!(opened[1].ends_with("last-event-id=2"), "{opened:?}");
}

#[tokio::test]
async fn a_stream_gives_up_after_a_refusal() {
    let mock = Mock::start().await;
    mock.refuse("GET", 404, json!({"code": "not_found"}));
    let error = mock.client().events(id(), 0).next().await.unwrap_err();
    assert_eq!(error.exit(), Exit::NotFound);
    mock.refuse("GET", 200, json!("no stream"));
    let error = mock.client().events(id(), 0).next().await.unwrap_err();
    assert!(error.to_string().contains("no event stream"), "{error}");
}

#[tokio::test]
async fn a_stream_can_be_collected() {
    use futures::TryStreamExt as _;
    let mock = Mock::start().await;
    mock.happen(&[change("submitted", "cancelled")]);
    let lines: Vec<_> = mock.client().log_lines(id(), 0).into_stream().try_collect().await.unwrap();
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["line 1", "line 2", "line 3"]);
}

#[tokio::test]
async fn lists_follow_their_cursors_up_to_the_limit() {
    let mock = Mock::start().await;
    let client = mock.client();
    let names =
        |page: Page<Stack>| page.items.into_iter().map(|stack| stack.key.name).collect::<Vec<_>>();
    let query = StackQuery::default();
    assert_eq!(names(client.stacks(&query, 50).await.unwrap()), ["a", "b"]);
    let one = client.stacks(&query, 1).await.unwrap();
    assert_eq!(one.next_cursor.as_deref(), Some("c1"));
    assert_eq!(
        mock.seen("GET"),
        [
            "GET /api/v1/stacks?limit=50",
            "GET /api/v1/stacks?limit=49&cursor=c1",
            "GET /api/v1/stacks?limit=1"
        ]
    );
}

#[tokio::test]
async fn a_directory_is_packed_without_its_state_and_uploaded() {
    let mock = Mock::start().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("main.tf"), "# hello").unwrap();
    std::fs::create_dir_all(dir.path().join(".terraform/x")).unwrap();
    std::fs::write(dir.path().join(".terraform/x/provider"), "binary").unwrap();
    let artifact = mock.client().upload_directory(dir.path(), Some("k")).await.unwrap();
    assert_eq!(artifact.id.to_string(), ARTIFACT_ID);
    let body = mock.house.lock().unwrap().bodies[0].clone();
    let tree = Tree::from_tar_gz(&body, Limits::default()).unwrap();
    assert_eq!(tree.entries().map(|(path, _)| path).collect::<Vec<_>>(), ["main.tf"]);
    assert_eq!(mock.seen("POST"), ["POST /api/v1/artifacts idempotency-key=k"]);
}

#[tokio::test]
async fn a_directory_that_is_no_source_is_not_uploaded() {
    let mock = Mock::start().await;
    let dir = tempfile::tempdir().unwrap();
    let client = mock.client();
    let error = client.upload_directory(dir.path(), None).await.unwrap_err();
    assert!(error.to_string().contains("holds no files"), "{error}");
    let error = client.upload_directory(&dir.path().join("none"), None).await.unwrap_err();
    assert!(error.to_string().contains("is not a directory"), "{error}");
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.tf")).unwrap();
    let error = client.upload_directory(dir.path(), None).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Invalid);
    assert!(mock.seen("").is_empty());
}
