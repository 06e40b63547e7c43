//! Pages of other origins that the operator allows to call the API from a browser. Without any there
//! is no such layer, and no browser shows an answer to a page that is not ours.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// The layer for `origins`; `None` when there are none. Cookies are never taken from such pages: they
/// show a token.
pub(crate) fn layer(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> =
        origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let named = HeaderName::from_static;
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_MATCH,
                header::IF_NONE_MATCH,
                named("idempotency-key"),
                named("last-event-id"),
                named("mcp-protocol-version"),
                named("mcp-session-id"),
                named("traceparent"),
                named("x-request-id"),
            ])
            .expose_headers([
                header::ETAG,
                header::LINK,
                header::LOCATION,
                header::RETRY_AFTER,
                named("idempotency-replayed"),
                named("mcp-session-id"),
                named("ratelimit"),
                named("ratelimit-policy"),
                named("x-request-id"),
            ])
            .max_age(Duration::from_mins(10)),
    )
}
