//! What happens to every request before its handler and to every answer after it: request id,
//! trace, metrics, problems, host and origin, security headers, panics, time limits.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use slipway_domain::access::Door;
use slipway_domain::fault::{Code, Fault};
use slipway_services::Ctx;
use slipway_services::audit::{self, Attempt};
use slipway_telemetry::carrier;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use crate::edge::limit::limited;
use crate::edge::{cors, peer};
use crate::linger::linger;
use crate::problem::{self, About, Carried, Holder, Refused};
use crate::state::{ApiOptions, ApiState};

/// The id of a request, taken from the caller or given by us.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a caller.
const MAX_REQUEST_ID: usize = 128;

/// The policy of everything that is not a page.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Puts everything that holds for all routes around them.
pub(crate) fn around(router: Router<ApiState>, state: &ApiState) -> Router<ApiState> {
    // The last one added is the first to see a request.
    router
        .layer(axum::middleware::from_fn_with_state(state.clone(), limited))
        .layer(axum::middleware::from_fn_with_state(state.clone(), same_house))
        .layer(tower::util::option_layer(cors::layer(&state.options.cors_origins)))
        .layer(CatchPanicLayer::custom(caught))
        .layer(axum::middleware::map_response_with_state(state.clone(), secure))
        .layer(axum::middleware::from_fn_with_state(state.clone(), observe))
        .layer(axum::middleware::from_fn(linger))
}

/// Gives up on a handler that has not begun to answer after `limit`.
pub(crate) async fn in_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refused(Fault::new(
            Code::Timeout,
            format!(
                "The request was given up after {} s. A write may or may not have been done; look \
                 before repeating it, or repeat it with the same Idempotency-Key.",
                limit.as_secs()
            ),
        ))
        .into_response(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "this is how a panic is handed over")]
fn caught(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it did not say why");
    Refused(Fault::internal(format!("a handler panicked: {text}"))).into_response()
}

/// Headers that every answer carries unless its handler set them.
async fn secure(State(state): State<ApiState>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    set(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(header::CONTENT_SECURITY_POLICY, NOTHING);
    set(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    set(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if state.options.tls.is_some() {
        // For a year; names below this one are not ours to speak for.
        set(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// Refuses requests for another host (DNS rebinding) and unsafe ones from another origin.
async fn same_house(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    match check_house(&state.options, request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(fault) => Refused(fault).into_response(),
    }
}

fn check_house(
    options: &ApiOptions,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Fault> {
    // A prober names the address it probes, and learns nothing here but that a process lives.
    if matches!(uri.path(), "/livez" | "/readyz") {
        return Ok(());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        (Some(authority), _, None) => authority.as_str(),
        (None, Some(host), None) => host.to_str().unwrap_or_default(),
        _ => "",
    };
    if !serves(options, host) {
        let shown: String = host.chars().take(100).collect();
        return Err(Fault::new(
            Code::Misdirected,
            format!(
                "This server is not {shown:?}. It serves localhost, 127.0.0.1, [::1] and the \
                 configured allowed hosts."
            ),
        ));
    }
    if method.is_safe() {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let named = options.cors_origins.iter().any(|allowed| allowed == origin);
    if named || is_same_origin(options, origin, host) {
        Ok(())
    } else {
        let shown: String = origin.chars().take(100).collect();
        Err(Fault::new(
            Code::Forbidden,
            format!("Pages of {shown:?} may not send this request (Origin check)."),
        ))
    }
}

/// Host name and port of an authority; the name in lower case.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (name, port) = match authority.rsplit_once(':') {
        // `[::1]` has colons of its own.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port.parse().ok()?)),
        _ => (authority, None),
    };
    (!name.is_empty()).then(|| (name.to_ascii_lowercase(), port))
}

fn serves(options: &ApiOptions, authority: &str) -> bool {
    let Some((name, port)) = host_and_port(authority) else { return false };
    matches!(name.as_str(), "localhost" | "127.0.0.1" | "[::1]") || listed(options, &name, port)
}

/// Whether the operator allowed this host, with this port or with any.
fn listed(options: &ApiOptions, name: &str, port: Option<u16>) -> bool {
    options.allowed_hosts.iter().any(|allowed| match host_and_port(allowed) {
        Some((host, None)) => host == name,
        Some((host, with)) => host == name && with == port,
        None => false,
    })
}

/// Whether a page of `origin` is one of ours: the host it calls is its own, or it is allowed.
pub(crate) fn is_same_origin(options: &ApiOptions, origin: &str, host: &str) -> bool {
    let (rest, usual) = match origin.split_once("://") {
        Some(("http", rest)) => (rest, 80),
        Some(("https", rest)) => (rest, 443),
        _ => return false,
    };
    let (Some((name, port)), Some((own, own_port))) = (host_and_port(rest), host_and_port(host))
    else {
        return false;
    };
    let same = name == own && port.unwrap_or(usual) == own_port.unwrap_or(usual);
    same || listed(options, &name, port)
}

/// Gives the request its id and its span, counts it, and completes a refusal with what only this
/// place knows.
async fn observe(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(&state.cx, request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!(
        "http.request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = %method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        request_id,
    );
    carrier::set_parent_from(&span, request.headers());
    let trace_id =
        carrier::traceparent_of(&span).as_deref().and_then(carrier::trace_id_of).map(str::to_owned);
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        request.headers_mut().insert(REQUEST_ID, value);
    }
    let asker = peer::announce(&mut request, &state.options);
    let response = next.run(request).instrument(span.clone()).await;
    if let Some(why) = denial(&response) {
        let attempt = Attempt {
            who: asker.who(Door::Rest),
            known: asker.is_known(),
            what: format!("{method} {route}"),
            path: Some(path.clone()),
            request_id: Some(request_id.clone()),
        };
        audit::denied(&state.cx, attempt, &why).instrument(span.clone()).await;
    }
    let _in_span = span.enter();
    let about = About { instance: path, request_id: request_id.clone(), trace_id };
    let mut response = complete(response, about, &route);
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let took = started.elapsed();
    state.metrics.http_request(method.as_str(), &route, status.as_u16(), took);
    tracing::info!(
        method = %method,
        route,
        status = status.as_u16(),
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "request answered"
    );
    response
}

/// Why a request was refused for who asked, if it was.
fn denial(response: &Response) -> Option<Arc<Fault>> {
    let status = response.status();
    match response.extensions().get::<Carried>() {
        Some(Carried(fault)) => fault.is_denial().then(|| fault.clone()),
        // A library refused it.
        None if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Some(Arc::new(Fault::new(problem::code_of(status), "")))
        }
        None => None,
    }
}

/// The caller's own id when it is one that can stand in logs and headers, else a new one.
fn request_id(cx: &Ctx, headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    headers
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(sane)
        .map_or_else(|| format!("req_{}", cx.mint.uuid().simple()), str::to_owned)
}

/// Writes a refusal again with its request's id, trace and path; logs the cause of ours.
fn complete(response: Response, about: About, route: &str) -> Response {
    let status = response.status();
    if let Some(Carried(fault)) = response.extensions().get::<Carried>() {
        let fault = fault.clone();
        if status.is_server_error() {
            tracing::error!(code = %fault.code, cause = fault.causes(), path = about.instance,
                "a request failed on our side");
        }
        return rewritten(&response, &fault, about);
    }
    let is_text = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if (status.is_client_error() || status.is_server_error()) && is_text && !is_mcp(route) {
        // A library answered for us: its status is right, its form is not ours.
        let fault = Fault::new(problem::code_of(status), "");
        return rewritten(&response, &fault, about);
    }
    response
}

/// MCP has error forms of its own.
fn is_mcp(route: &str) -> bool {
    route == "/mcp" || route.starts_with("/mcp/")
}

/// The problem in the place of `response`, whose other headers (`Allow`, security) it keeps.
fn rewritten(response: &Response, fault: &Fault, about: About) -> Response {
    let holder = response.extensions().get::<Holder>();
    let mut written = problem::answer(fault, about, holder.map(|Holder(holder)| &**holder));
    for (name, value) in response.headers() {
        if !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH | header::RETRY_AFTER) {
            // There may be several of a name, as of `WWW-Authenticate`.
            written.headers_mut().append(name.clone(), value.clone());
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ApiOptions {
        ApiOptions {
            allowed_hosts: ["slipway.example".to_owned(), "other.example:8443".to_owned()].into(),
            ..ApiOptions::default()
        }
    }

    #[test]
    fn only_our_hosts_are_served() {
        let options = options();
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:8000",
            "slipway.example",
            "slipway.example:99",
            "other.example:8443",
        ] {
            assert!(serves(&options, host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8000",
            "localhost:x",
            "localhost:8000:8000",
            "other.example",
            "other.example:1",
            "user@localhost",
            "[::1",
        ] {
            assert!(!serves(&options, host), "{host}");
        }
    }

    #[test]
    fn only_our_own_pages_may_write() {
        let options = options();
        let good = [
            ("http://localhost:8000", "localhost:8000"),
            ("http://127.0.0.1", "127.0.0.1:80"),
            ("https://slipway.example", "localhost:8000"),
        ];
        for (origin, host) in good {
            assert!(is_same_origin(&options, origin, host), "{origin} {host}");
        }
        let bad = [
            ("null", "localhost:8000"),
            ("", "localhost:8000"),
            ("http://localhost:3000", "localhost:8000"),
            ("http://evil.example", "localhost:8000"),
            ("http://evil.example", "evil.example"),
            ("file://localhost:8000", "localhost:8000"),
            ("https://other.example", "localhost:8000"),
        ];
        for (origin, host) in bad {
            let refused = !is_same_origin(&options, origin, host) || !serves(&options, host);
            assert!(refused, "{origin} {host}");
        }
    }
}
