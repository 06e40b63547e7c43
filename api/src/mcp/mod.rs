//! The MCP door: the same verbs as REST, as tools for models, over Streamable HTTP.
//!
//! It holds no rules of its own. A tool reads its arguments, calls one verb of services with the
//! caller's [`Principal`] and writes the answer: `structuredContent` and a short text. A fault is a
//! tool error with the code that REST would give; a protocol error is only for what is wrong with
//! the protocol (an unknown tool, a forged `requestState`).
//!
//! # Revisions, and why any replica can answer any request
//! * **2026-07-28** is stateless: every request says all that is needed to answer it.
//! * **Older revisions** begin with `initialize`. They get no session (every later request is
//!   answered for itself) unless the client can ask its person (the `elicitation` capability): the
//!   question goes out on the open answer of a call and its reply comes in with another request, so
//!   the two need a session. Its id is sealed and holds what the client said in `initialize`
//!   ([`session`]): a process that does not know it, after a restart or behind a load balancer,
//!   opens the id and goes on. Only the reply to a question must reach the process that asked;
//!   a reply that does not is as good as none, and nothing is approved.
//!
//! # Who approves
//! `approve_deployment` asks the client's person first where the client can ask: by
//! `elicitation/create` in older revisions, by `input_required` with a sealed `requestState` in
//! 2026-07-28. A no, or no answer, changes nothing. Where the client cannot ask, the scope
//! `deployments:approve` alone decides; the operator of a loopback installation holds it, tokens for
//! agents better leave it out. The tools for what a caller has no
//! scope for are neither listed nor callable.
//!
//! # Who calls
//! Whoever authenticates puts a [`Principal`] into the request's extensions: of a bearer token that was
//! made for this door (its audience) and has `mcp:execute`. Without one it is the operator of a
//! loopback installation where nobody is asked, through an agent.

mod answer;
mod consent;
mod seal;
mod server;
mod session;
mod tool;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rmcp::model::InitializeRequestParams;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use slipway_domain::access::{ActorKind, Door as Through, Principal};
use slipway_domain::fault::{Code, Fault};
use tokio_util::sync::CancellationToken;

use crate::ApiState;
use crate::edge::peer;
use crate::extract::read;
use crate::problem::Refused;
use crate::state::AuthMode;
use server::{Called, Server};
use session::Sessions;

/// The header that names a session.
const SESSION: &str = "mcp-session-id";

/// How long streams may go on after the shutdown began: calls that wait end by themselves at once,
/// and their answers need a moment to go out.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);

/// The MCP endpoint, to be mounted at `/mcp`. Calls that wait end early when `shutdown` is
/// cancelled. No request timeout below 5 minutes may be put around it: `wait_for_deployment` waits
/// that long.
pub(crate) fn router(state: ApiState, shutdown: CancellationToken) -> Router {
    Router::new().fallback(serve).with_state(Arc::new(Endpoint::new(state, shutdown)))
}

/// The services that answer, each for its kind of request. They share the server behind them.
struct Endpoint {
    server: Server,
    /// One JSON answer, or a stream when there is progress to tell.
    plain: StreamableHttpService<Server, NeverSessionManager>,
    /// A stream from the start, kept alive, for calls that may say nothing for minutes.
    waiting: StreamableHttpService<Server, NeverSessionManager>,
    /// Requests that name a session.
    in_session: StreamableHttpService<Server, Sessions>,
    sessions: Sessions,
    session_config: StreamableHttpServerConfig,
    max_body_bytes: usize,
    /// Whether callers must say who they are.
    asks: bool,
}

impl Endpoint {
    fn new(state: ApiState, shutdown: CancellationToken) -> Self {
        let max_body_bytes = state.options.max_body_bytes;
        let asks = state.options.auth == AuthMode::Required;
        let config = config(&state, &shutdown);
        let stateless = config.clone().with_legacy_session_mode(false);
        let server = Server::new(state, shutdown);
        let make = |server: &Server| {
            let server = server.clone();
            move || Ok(server.clone())
        };
        let sessions = Sessions::new(server.seal().clone());
        let mut session_config = config;
        session_config.session_store = Some(Arc::new(sessions.clone()));
        let never = || Arc::new(NeverSessionManager::default());
        Self {
            plain: StreamableHttpService::new(
                make(&server),
                never(),
                stateless.clone().with_json_response(true),
            ),
            waiting: StreamableHttpService::new(make(&server), never(), stateless),
            in_session: StreamableHttpService::new(
                make(&server),
                Arc::new(sessions.clone()),
                session_config.clone(),
            ),
            sessions,
            session_config,
            server,
            max_body_bytes,
            asks,
        }
    }

    /// Answers an `initialize` of a client that can ask its person, with a session whose id says
    /// what the client said.
    async fn open_session(
        &self,
        client: &InitializeRequestParams,
        who: &Principal,
        request: Request,
    ) -> Response {
        let server = self.server.clone();
        StreamableHttpService::new(
            move || Ok(server.clone()),
            Arc::new(self.sessions.opening(client, who)),
            self.session_config.clone(),
        )
        .handle(request)
        .await
        .map(Body::new)
    }
}

fn config(state: &ApiState, shutdown: &CancellationToken) -> StreamableHttpServerConfig {
    let streams = CancellationToken::new();
    let (ends, asked) = (streams.clone(), shutdown.clone());
    tokio::spawn(async move {
        asked.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
        ends.cancel();
    });
    let loopback = ["localhost", "127.0.0.1", "[::1]"];
    let hosts: Vec<String> = loopback
        .into_iter()
        .map(str::to_owned)
        .chain(state.options.allowed_hosts.iter().cloned())
        .collect();
    let origins = hosts.iter().flat_map(|host| {
        let name = host.rsplit_once(']').map_or(host.as_str(), |(_, rest)| rest);
        let any = if name.contains(':') { "" } else { ":*" };
        ["http", "https"].map(|scheme| format!("{scheme}://{host}{any}"))
    });
    StreamableHttpServerConfig::default()
        .with_allowed_origins(origins.collect::<Vec<_>>())
        .enforce_origin_validation()
        .with_allowed_hosts(hosts)
        .with_max_request_body_bytes(state.options.max_body_bytes)
        .with_cancellation_token(streams)
}

/// As much of a message as decides who answers it.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow, default)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<PeekParams<'a>>,
}

#[derive(Deserialize)]
struct PeekParams<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Initialize {
    params: InitializeRequestParams,
}

async fn serve(State(endpoint): State<Arc<Endpoint>>, mut request: Request) -> Response {
    // Mounted at `/mcp`, or nested there.
    if !matches!(request.uri().path(), "" | "/" | "/mcp" | "/mcp/") {
        let nothing = "There is nothing here. The MCP endpoint is /mcp.";
        return Refused(Fault::new(Code::NotFound, nothing)).into_response();
    }
    if endpoint.asks && request.extensions().get::<Principal>().is_none() {
        return Refused(Fault::new(Code::Unauthenticated, "Sign in first.")).into_response();
    }
    let called = called(&request);
    request.extensions_mut().insert(called.clone());
    if let Some(id) = request.headers().get(SESSION) {
        let id = id.to_str().unwrap_or_default();
        if !endpoint.sessions.is_of(id, &called.who) {
            // As if it had ended, so a client of its owner begins anew.
            let none = "There is no such session. Begin one with `initialize`.";
            return Refused(Fault::new(Code::NotFound, none)).into_response();
        }
        if endpoint.sessions.is_full_for(id).await {
            return too_many_sessions();
        }
        let ends = request.method() == Method::DELETE;
        let mut response = endpoint.in_session.handle(request).await.map(Body::new);
        if ends && response.status() == StatusCode::ACCEPTED {
            // It is done, not begun; a client would warn that it failed.
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        return response;
    }
    if request.method() != Method::POST {
        return endpoint.plain.handle(request).await.map(Body::new);
    }
    let (parts, body) = request.into_parts();
    let body = match read(body, endpoint.max_body_bytes).await {
        Ok(body) => body,
        Err(fault) => return Refused(fault).into_response(),
    };
    let peek = serde_json::from_slice::<Peek<'_>>(&body).ok();
    let method = peek.as_ref().map(|peek| &*peek.method);
    let tool = peek.as_ref().and_then(|peek| peek.params.as_ref()?.name.as_deref());
    let waits = method == Some("tools/call") && tool == Some(tool::WAIT);
    let asks = (method == Some("initialize"))
        .then(|| serde_json::from_slice::<Initialize>(&body).ok())
        .flatten()
        .filter(|initialize| consent::can_ask(&initialize.params.capabilities));
    let request = Request::from_parts(parts, Body::from(body));
    if let Some(Initialize { params }) = asks {
        if endpoint.sessions.is_full_for("").await {
            return too_many_sessions();
        }
        return endpoint.open_session(&params, &called.who, request).await;
    }
    let service = if waits { &endpoint.waiting } else { &endpoint.plain };
    service.handle(request).await.map(Body::new)
}

fn too_many_sessions() -> Response {
    let mut fault = Fault::new(
        Code::Unavailable,
        "Too many MCP sessions are open. Close some, or try again in a few minutes.",
    );
    fault.retry_after_s = Some(60);
    Refused(fault).into_response()
}

/// Who calls, and in which span.
fn called(request: &Request) -> Called {
    let mut who = request.extensions().get::<Principal>().cloned().unwrap_or_else(|| {
        let mut who = Principal::local(Through::Mcp);
        who.actor.kind = ActorKind::Agent;
        who
    });
    peer::complete(&mut who, request.headers(), request.extensions());
    Called { who, span: tracing::Span::current() }
}
