//! A tiny server with one deployment that behaves like the real one as far as the client can see,
//! for the client's own tests. The real server is met in the journeys.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};
use slipway_domain::deployment::Deployment;
use slipway_domain::plan::Plan;
use tokio::sync::watch;

pub(crate) const ID: &str = "dep_0192f1c0111170008000000000000000";
pub(crate) const STACK_ID: &str = "stk_0192f1c0111170008000000000000000";
pub(crate) const ARTIFACT_ID: &str = "art_0192f1c0111170008000000000000000";
pub(crate) const DIGEST: &str = "sha256:11";

pub(crate) fn deployment_json() -> Value {
    json!({
        "id": ID, "stack_id": STACK_ID,
        "stack": {"project": "default", "name": "net", "environment": "dev"},
        "driver": "terraform", "operation": "deploy", "state": "submitted",
        "source": {"type": "template", "name": "net"}, "variables": {},
        "options": {"auto_apply": true, "supersede": false, "expires_in_s": 3600},
        "plan": {"id": "pln_0192f1c0111170008000000000000000", "number": 1, "digest": DIGEST,
            "counts": counts()},
        "phases": [], "submitted_by": actor(),
        "created_at": "2025-11-21T07:00:00Z", "updated_at": "2025-11-21T07:00:00Z",
    })
}

pub(crate) fn deployment() -> Deployment {
    serde_json::from_value(deployment_json()).unwrap()
}

fn counts() -> Value {
    json!({"create": 1, "update": 0, "replace": 0, "delete": 0, "import": 0, "forget": 0,
        "move": 0, "read": 0})
}

fn actor() -> Value {
    json!({"id": "local", "kind": "person", "via": "rest"})
}

pub(crate) fn plan_json() -> Value {
    json!({
        "id": "pln_0192f1c0111170008000000000000000", "deployment_id": ID, "number": 1,
        "digest": DIGEST, "created_at": "2025-11-21T07:00:00Z",
        "tool": {"name": "terraform", "version": "1.11.4"},
        "state": {"lineage": "", "serial": 0}, "counts": counts(),
        "changes": [{"address": "null_resource.a", "type": "null_resource", "name": "a",
            "provider": "registry.terraform.io/hashicorp/null", "action": "create",
            "before": null, "after": {}, "unknown": ["/id"]}],
        "outputs": [], "drift": [], "warnings": [], "gates": [],
    })
}

pub(crate) fn plan() -> Plan {
    serde_json::from_value(plan_json()).unwrap()
}

/// The body of an event that changes the state.
pub(crate) fn change(from: &str, to: &str) -> Value {
    json!({"type": "state_changed", "from": from, "to": to})
}

/// What is behind the server.
pub(crate) struct House {
    pub(crate) deployment: Value,
    pub(crate) plan: Value,
    pub(crate) events: Vec<Value>,
    /// Decisions about its plans.
    pub(crate) approvals: Vec<Value>,
    /// What follows an approval: events, and the state that they lead to.
    pub(crate) after_approval: Vec<Value>,
    /// Refusals that are given before any answer, first in first out: method and path, status, body.
    pub(crate) refusals: VecDeque<(String, u16, Value)>,
    /// Streams are cut after so many events, each time.
    pub(crate) cut_after: Option<usize>,
    /// Every request: method, path with query, and what it had of `Last-Event-ID` or
    /// `Idempotency-Key`.
    pub(crate) seen: Vec<String>,
    /// Bodies of POST requests.
    pub(crate) bodies: Vec<Vec<u8>>,
}

#[derive(Clone)]
pub(crate) struct Mock {
    pub(crate) house: Arc<Mutex<House>>,
    news: Arc<watch::Sender<()>>,
    pub(crate) url: String,
}

impl Mock {
    /// Serves on a free port until the test ends.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mock = Self {
            house: Arc::new(Mutex::new(House {
                deployment: deployment_json(),
                plan: plan_json(),
                events: Vec::new(),
                approvals: Vec::new(),
                after_approval: Vec::new(),
                refusals: VecDeque::new(),
                cut_after: None,
                seen: Vec::new(),
                bodies: Vec::new(),
            })),
            news: Arc::new(watch::Sender::new(())),
            url: format!("http://{}", listener.local_addr().unwrap()),
        };
        let one = "/api/v1/deployments/{id}";
        let router = Router::new()
            .route("/api/v1/deployments", post(submit).get(list))
            .route("/api/v1/artifacts", post(upload))
            .route("/api/v1/stacks", get(stacks))
            .route("/api/v1/stacks/{id}/deployments", get(list))
            .route(one, get(|State(m): State<Self>| async move { m.now().into_response() }))
            .route(
                &format!("{one}/plan"),
                get(|State(m): State<Self>| async move {
                    axum::Json(m.house.lock().unwrap().plan.clone())
                }),
            )
            .route(&format!("{one}/{{verb}}"), post(verb))
            .route(
                &format!("{one}/approvals"),
                get(|State(m): State<Self>| async move {
                    axum::Json(json!({"items": m.house.lock().unwrap().approvals.clone()}))
                }),
            )
            .route(
                &format!("{one}/approvals/{{approval}}"),
                delete(|State(m): State<Self>| async move {
                    m.happen(&[change("approved", "awaiting_approval")]);
                    m.now().into_response()
                }),
            )
            .route(&format!("{one}/events"), get(events))
            .route(&format!("{one}/logs"), get(logs))
            .route(
                &format!("{one}/outputs"),
                get(async || {
                    axum::Json(json!({"items": [
                        {"name": "id", "value": "42", "sensitive": false, "type": "string"}]}))
                }),
            )
            .layer(axum::middleware::from_fn_with_state(mock.clone(), watch_the_door))
            .with_state(mock.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        mock
    }

    /// Things happen: numbered events, and the deployment is where the last change leads.
    pub(crate) fn happen(&self, bodies: &[Value]) {
        let mut house = self.house.lock().unwrap();
        for body in bodies {
            let seq = house.events.len() + 1;
            let mut event = json!({"seq": seq, "deployment_id": ID,
                "at": format!("2025-11-21T07:00:{:02}Z", seq.min(59))});
            event.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            if let Some(to) = body.get("to") {
                house.deployment["state"] = to.clone();
            }
            house.events.push(event);
        }
        drop(house);
        self.news.send_replace(());
    }

    /// Refuses the next request like this one.
    pub(crate) fn refuse(&self, request: &str, status: u16, body: Value) {
        self.house.lock().unwrap().refusals.push_back((request.to_owned(), status, body));
    }

    /// The requests that begin like this.
    pub(crate) fn seen(&self, start: &str) -> Vec<String> {
        let house = self.house.lock().unwrap();
        house.seen.iter().filter(|line| line.starts_with(start)).cloned().collect()
    }

    pub(crate) fn client(&self) -> super::Client {
        super::Client::new(&self.url).unwrap()
    }

    fn now(&self) -> axum::Json<Value> {
        axum::Json(self.house.lock().unwrap().deployment.clone())
    }

    fn ended(&self) -> bool {
        let state = self.house.lock().unwrap().deployment["state"].clone();
        serde_json::from_value::<slipway_domain::state::DeploymentState>(state)
            .unwrap()
            .is_terminal()
    }
}

async fn watch_the_door(State(mock): State<Mock>, request: Request, next: Next) -> Response {
    if let Some((_, status, body)) = note(&mock, &request) {
        let kind = if body.get("code").is_some() {
            "application/problem+json"
        } else {
            "application/json"
        };
        let kind = [(axum::http::header::CONTENT_TYPE, kind)];
        return (StatusCode::from_u16(status).unwrap(), kind, body.to_string()).into_response();
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    if parts.method == "POST" {
        mock.house.lock().unwrap().bodies.push(body.to_vec());
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// Writes a request down, and gives the refusal that waits for it.
fn note(mock: &Mock, request: &Request) -> Option<(String, u16, Value)> {
    let header = |name: &str| {
        let value = request.headers().get(name)?.to_str().ok()?.to_owned();
        Some(format!(" {name}={value}"))
    };
    let line = format!("{} {}", request.method(), request.uri());
    let marks = [header("last-event-id"), header("idempotency-key")];
    let marks: String = marks.into_iter().flatten().collect();
    let mut house = mock.house.lock().unwrap();
    house.seen.push(format!("{line}{marks}"));
    let at = house.refusals.iter().position(|(like, _, _)| line.starts_with(like))?;
    house.refusals.remove(at)
}

async fn submit(State(mock): State<Mock>) -> Response {
    (StatusCode::ACCEPTED, mock.now()).into_response()
}

async fn list(State(mock): State<Mock>) -> Response {
    axum::Json(json!({"items": [mock.now().0]})).into_response()
}

async fn upload() -> Response {
    let artifact = json!({"id": ARTIFACT_ID, "kind": "source", "digest": "sha256:0",
        "size_bytes": 1, "created_at": "2025-11-21T07:00:00Z"});
    (StatusCode::CREATED, axum::Json(artifact)).into_response()
}

/// Two pages of stacks, to see that cursors are followed.
async fn stacks(Query(query): Query<Vec<(String, String)>>) -> Response {
    let value = |wanted: &str| query.iter().find(|(name, _)| name == wanted).map(|(_, v)| &**v);
    let stack = |name: &str| {
        json!({"id": STACK_ID, "project": "default", "name": name, "environment": "dev",
            "driver": "terraform", "current_deployment": null, "state": null,
            "created_at": "2025-11-21T07:00:00Z", "updated_at": "2025-11-21T07:00:00Z"})
    };
    axum::Json(match (value("name"), value("cursor")) {
        (Some("net"), _) => json!({"items": [stack("net")]}),
        (Some(_), _) => json!({"items": []}),
        (None, None) => json!({"items": [stack("a")], "next_cursor": "c1"}),
        (None, Some(_)) => json!({"items": [stack("b")]}),
    })
    .into_response()
}

async fn verb(
    State(mock): State<Mock>,
    Path((_, verb)): Path<(String, String)>,
    body: String,
) -> Response {
    let digest = serde_json::from_str::<Value>(&body).ok().map(|b| b["plan_digest"].clone());
    let wanted = mock.house.lock().unwrap().plan["digest"].clone();
    match verb.as_str() {
        "approve" | "reject" if digest.as_ref() != Some(&wanted) => {
            let problem = json!({"code": "plan_digest_mismatch", "detail": "another plan"});
            return (StatusCode::PRECONDITION_FAILED, axum::Json(problem)).into_response();
        }
        "approve" => {
            let then = std::mem::take(&mut mock.house.lock().unwrap().after_approval);
            mock.happen(&then);
        }
        "reject" | "cancel" => mock.happen(&[change("awaiting_approval", "cancelled")]),
        _ => {}
    }
    mock.now().into_response()
}

async fn events(
    State(mock): State<Mock>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let number = |text: Option<&str>| text.and_then(|t| t.parse::<usize>().ok()).unwrap_or(0);
    if headers[header::ACCEPT] == "application/json" {
        let after = query.iter().find(|(name, _)| name == "after").map(|(_, v)| &**v);
        let house = mock.house.lock().unwrap();
        let items: Vec<_> = house.events.iter().skip(number(after)).take(2).collect();
        return axum::Json(json!({"items": items, "next_after": 0, "complete": false}))
            .into_response();
    }
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let frames = |house: &House, at: usize| {
        house.events.get(at).map(|event| {
            format!(
                "id: {}\nevent: {}\ndata: {event}\n\n",
                event["seq"],
                event["type"].as_str().unwrap()
            )
        })
    };
    stream(mock, number(last), frames)
}

async fn logs(State(mock): State<Mock>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let line = |seq: usize| {
        json!({"seq": seq, "at": "2025-11-21T07:00:00Z", "stream": "stdout", "step": "plan",
            "text": format!("line {seq}")})
    };
    if query.iter().any(|(name, _)| name == "follow") {
        let frames = move |_: &House, at: usize| {
            (at < 3).then(|| format!("id: {0}\nevent: line\ndata: {1}\n\n", at + 1, line(at + 1)))
        };
        return stream(mock, 0, frames);
    }
    axum::Json(json!({"items": [line(1), line(2)], "next_after": 2, "complete": false}))
        .into_response()
}

fn stream(
    mock: Mock,
    after: usize,
    frame: impl Fn(&House, usize) -> Option<String> + Send + 'static,
) -> Response {
    let news = mock.news.subscribe();
    let start = (mock, news, after, 0usize, frame, false);
    let pieces =
        futures::stream::unfold(start, |(mock, mut news, at, sent, frame, over)| async move {
            loop {
                if over {
                    return None;
                }
                let (next, cut) = {
                    let house = mock.house.lock().unwrap();
                    (frame(&house, at), house.cut_after.is_some_and(|most| sent >= most))
                };
                if cut {
                    return None;
                }
                if let Some(text) = next {
                    return Some((
                        Ok::<_, std::io::Error>(text),
                        (mock, news, at + 1, sent + 1, frame, false),
                    ));
                }
                if mock.ended() {
                    let end = "event: end\ndata: {}\n\n".to_owned();
                    return Some((Ok(end), (mock, news, at, sent, frame, true)));
                }
                news.changed().await.ok()?;
            }
        });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(pieces)).into_response()
}
