//! The doors of Slipway to the outside world: REST under `/api/v1`, MCP under `/mcp`, health,
//! metrics and docs. A door reads a request, calls one verb of services and writes the answer; it
//! holds no rules and knows no tables.

mod auth;
mod credentials;
mod docs;
mod edge;
mod extract;
mod health;
mod linger;
mod live;
mod mcp;
mod middleware;
mod openapi;
pub mod problem;
mod rest;
mod serve;
pub mod state;

use axum::Router;
use slipway_domain::fault::{Code, Fault};

pub use edge::limit::{Class, Limiter, Limits};
pub use edge::tls::{Tls, TlsError};
pub use problem::Refused;
pub use serve::{serve, serve_operations};
pub use state::{ApiOptions, ApiState, AuthMode};

/// The OpenAPI document of everything that [`router`] serves.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let routes = rest::routes(&ApiOptions::default(), rest::Wanted::Document);
    openapi::finish(routes.describe(openapi::base()))
}

/// Every door, ready to be served.
pub fn router(state: ApiState) -> Router {
    let documented = rest::routes(&state.options, rest::Wanted::Router).into_router();
    let shutdown = state.shutdown.clone();
    let router = documented
        .merge(docs::routes())
        .nest_service("/mcp", mcp::router(state.clone(), shutdown))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_with_that_method);
    let router = router.layer(axum::middleware::from_fn_with_state(state.clone(), auth::identify));
    middleware::around(router, &state).with_state(state)
}

/// What a process without doors tells of itself: that it lives, how it is, and its metrics.
pub fn operations_router(state: ApiState) -> Router {
    let router =
        health::routes().fallback(nowhere).method_not_allowed_fallback(not_with_that_method);
    middleware::around(router, &state).with_state(state)
}

async fn nowhere(uri: axum::http::Uri) -> Refused {
    let path: String = uri.path().chars().take(200).collect();
    Refused(Fault::new(
        Code::NotFound,
        format!("There is nothing at {path}. The routes are listed at /openapi.json and /docs."),
    ))
}

async fn not_with_that_method(method: axum::http::Method) -> Refused {
    let method: String = method.as_str().chars().take(40).collect();
    Refused(Fault::new(
        Code::MethodNotAllowed,
        format!("{method} is not a method of this route; the header Allow lists those that are."),
    ))
}
