//! Who calls: the one place where what a request shows becomes a [`Principal`].
//!
//! [`identify`] stands around every route. A token in `Authorization` (Bearer, or the password of
//! Basic) or a browser's cookie is looked up; its principal travels on in the request's extensions.
//! Where callers must say who they are, a request without one is refused here, unless its route is
//! one of [`OPEN`].

use std::fmt::Write as _;
use std::net::IpAddr;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use slipway_domain::Secret;
use slipway_domain::access::{Door, Principal, Scope};
use slipway_domain::fault::{Code, Fault};
use slipway_services::auth::authenticate::{Place, Shown, authenticate};

use crate::credentials;
use crate::edge::csrf::check_cookie_session;
use crate::edge::peer::{self, Address};
use crate::problem::Refused;
use crate::state::{ApiState, AuthMode};

/// The cookie of a browser that has signed in. The prefix has browsers take it only over TLS (or on
/// this machine), for this host alone and for all paths.
pub(crate) const SESSION_COOKIE: &str = "__Host-slipway_session";
/// The cookie of a browser that is at a provider.
pub(crate) const VISIT_COOKIE: &str = "__Host-slipway_visit";
/// Longest cookie that is looked at, in bytes.
const MAX_COOKIE: usize = 256;

/// Routes that nobody has to sign in for: method and route. A test compares them with all routes.
pub(crate) const OPEN: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/.well-known/oauth-protected-resource/mcp"),
    ("GET", "/api/docs"),
    ("GET", "/api/docs/"),
    ("GET", "/api/docs/{file}"),
    ("GET", "/api/redoc"),
    ("GET", "/api/v1/auth/providers"),
    ("GET", "/api/v1/auth/providers/{name}/callback"),
    ("GET", "/api/v1/auth/providers/{name}/start"),
    ("GET", "/docs"),
    ("GET", "/docs/"),
    ("GET", "/docs/{file}"),
    ("GET", "/livez"),
    ("GET", "/openapi.json"),
    ("GET", "/problems/{code}"),
    ("GET", "/readyz"),
    ("POST", "/api/v1/auth/exchange"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("POST", "/api/v1/auth/register"),
];

/// Whether nobody has to sign in for this.
pub(crate) fn is_open(method: &Method, route: &str) -> bool {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    OPEN.contains(&(method, route))
}

/// Whether what the caller may do must be as of this moment, and not of a second ago: whatever
/// changes something, and whatever shows secrets or who there is.
fn must_be_fresh(method: &Method, route: &str) -> bool {
    const OF_NOW: &[&str] = &["/auth/", "/accounts", "/state", "/outputs", "/audit", "/config"];
    !method.is_safe() || OF_NOW.iter().any(|part| route.contains(part))
}

/// Finds out who calls, and refuses whom nobody knows.
pub(crate) async fn identify(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    // A body cannot be held while others are asked.
    let (mut parts, body) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mcp = route.as_deref().is_some_and(is_mcp);
    let known = parts.extensions.get::<Principal>().is_some();
    // What is nowhere is nowhere for everybody.
    if let (AuthMode::Required, false, Some(route)) = (state.options.auth, known, route.as_deref())
    {
        let open = is_open(&parts.method, route);
        match who_calls(&state, &parts, route, mcp).await {
            Ok(Some(who)) => {
                parts.extensions.insert(who);
            }
            Ok(None) if open => {}
            // Whoever shows something stale may still sign in.
            Err(fault) if open && fault.code == Code::Unauthenticated => {}
            Ok(None) => {
                let why = "Sign in first: show an access token or an API key in `Authorization`.";
                let fault = Fault::new(Code::Unauthenticated, why);
                return challenged(&state, Refused(fault).into_response(), route, None);
            }
            Err(fault) => {
                let error = match fault.code {
                    Code::Unauthenticated => Some("invalid_token"),
                    Code::Forbidden if mcp => Some("insufficient_scope"),
                    _ => None,
                };
                return challenged(&state, Refused(fault).into_response(), route, error);
            }
        }
    }
    let response = next.run(Request::from_parts(parts, body)).await;
    match route {
        Some(route) => challenged(&state, response, &route, None),
        None => response,
    }
}

fn is_mcp(route: &str) -> bool {
    route == "/mcp" || route.starts_with("/mcp/")
}

async fn who_calls(
    state: &ApiState,
    parts: &Parts,
    route: &str,
    mcp: bool,
) -> Result<Option<Principal>, Fault> {
    let headers = &parts.headers;
    let (token, place) = match credentials::presented(headers)? {
        Some(token) => (token, Place::Header),
        None => match cookie(headers, SESSION_COOKIE) {
            // A page of somebody else must not act for whoever looks at it.
            Some(token) if !mcp => {
                let host = parts.uri.authority().map(Authority::as_str);
                let host = host.or_else(|| headers.get(header::HOST)?.to_str().ok());
                let host = host.unwrap_or_default();
                check_cookie_session(&state.options, &parts.method, host, headers)?;
                (token, Place::Cookie)
            }
            _ => return Ok(None),
        },
    };
    let shown = Shown {
        token: &token,
        place,
        door: if mcp { Door::Mcp } else { Door::Rest },
        fresh: must_be_fresh(&parts.method, route),
        address: address(&parts.extensions),
    };
    let mut who = authenticate(&state.cx, &shown).await?;
    // Also for the record, should it be refused.
    peer::complete(&mut who, headers, &parts.extensions);
    if mcp && !who.grants.may_somewhere(Scope::McpExecute) {
        let why = format!("{} lacks the scope {}.", who.actor.id, Scope::McpExecute);
        return Err(Fault::new(Code::Forbidden, why));
    }
    Ok(Some(who))
}

/// Says how to sign in, on every answer that asks for it.
fn challenged(
    state: &ApiState,
    mut response: Response,
    route: &str,
    error: Option<&str>,
) -> Response {
    let status = response.status();
    let asks = status == StatusCode::UNAUTHORIZED
        || (status == StatusCode::FORBIDDEN && error == Some("insufficient_scope"));
    if !asks || response.headers().contains_key(header::WWW_AUTHENTICATE) {
        return response;
    }
    let mut challenge = "Bearer realm=\"slipway\"".to_owned();
    if let Some(error) = error {
        let _ = write!(challenge, ", error=\"{error}\"");
    }
    if is_mcp(route) {
        let base = &state.cx.settings.auth.issuer;
        let _ = write!(
            challenge,
            ", resource_metadata=\"{base}/.well-known/oauth-protected-resource/mcp\", \
             scope=\"{}\"",
            Scope::McpExecute
        );
    }
    if let Ok(value) = HeaderValue::from_str(&challenge) {
        response.headers_mut().append(header::WWW_AUTHENTICATE, value);
    }
    // All that Terraform's `http` backend can show.
    if route.ends_with("/state") || route.ends_with("/state/lock") {
        let basic = HeaderValue::from_static("Basic realm=\"slipway\"");
        response.headers_mut().append(header::WWW_AUTHENTICATE, basic);
    }
    response
}

/// The address of whoever calls, behind trusted proxies.
fn address(extensions: &axum::http::Extensions) -> Option<IpAddr> {
    extensions.get::<Address>().map(|Address(address)| *address)
}

/// The value of a cookie; none when there are several of the name: one of them is not ours.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<Secret<String>> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let value = found.next().filter(|value| !value.is_empty() && value.len() <= MAX_COOKIE)?;
    found.next().is_none().then(|| Secret::new(value.to_owned()))
}

/// Has the browser keep a cookie for so long; for 0 seconds: forget it.
pub(crate) fn set_cookie(name: &str, value: &Secret<String>, seconds: i64) -> Option<HeaderValue> {
    let text = format!(
        "{name}={}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax",
        value.reveal()
    );
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whoever it is that has not signed in yet, as far as the request tells.
#[derive(Debug, Clone)]
pub(crate) struct Visitor(pub Principal);

impl FromRequestParts<ApiState> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Self::Rejection> {
        let mut who = Principal::anonymous(Door::Rest);
        peer::describe(&mut who, &parts.headers, &parts.extensions);
        who.traceparent = slipway_telemetry::carrier::current_traceparent();
        Ok(Self(who))
    }
}

/// The header that says for how long an answer may be kept.
pub(crate) const fn kept_for_minutes() -> (HeaderName, HeaderValue) {
    (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_is_ours_and_two_are_none() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::COOKIE, HeaderValue::from_str(value).unwrap());
            }
            cookie(&headers, SESSION_COOKIE).map(|value| value.reveal().clone())
        };
        let own = "__Host-slipway_session=sls_x";
        assert_eq!(of(&[own]).as_deref(), Some("sls_x"));
        assert_eq!(of(&["a=b; __Host-slipway_session=sls_x; c=d"]).as_deref(), Some("sls_x"));
        for none in [&[][..], &["a=b"], &[own, own], &["__Host-slipway_session="], &["xx; y"]] {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(of(&[&format!("{own}{}", "x".repeat(300))]), None);
    }
}
