//! What others find at known places: the keys that our tokens are signed with, and who gives tokens
//! for which door (RFC 9728).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use slipway_domain::access::Scope;
use slipway_services::auth::signing_key::{self, Jwks};
use utoipa::ToSchema;

use crate::auth::kept_for_minutes;
use crate::extract::NoQuery;
use crate::openapi::Operating;
use crate::problem::Refused;
use crate::state::ApiState;

/// The public keys of access tokens
///
/// The one that signs, the one that will, and those that did (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "get_jwks", tag = "auth",

    responses((status = 200, description = "The keys.", body = Jwks), Operating))]
pub(crate) async fn get_jwks(
    State(state): State<ApiState>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let keys = signing_key::public(&state.cx).await?;
    Ok(([kept_for_minutes()], Json(keys)).into_response())
}

/// What a door is called, and who gives tokens for it (RFC 9728).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResourceMetadata {
    /// The door: `aud` of its tokens.
    #[schema(example = "https://slipway.example.com/mcp")]
    resource: String,
    /// Who gives tokens for it.
    authorization_servers: Vec<String>,
    /// The keys that tokens are signed with.
    jwks_uri: String,
    /// How tokens are shown.
    bearer_methods_supported: Vec<&'static str>,
    /// Scopes that tokens may have.
    scopes_supported: Vec<&'static str>,
    /// Where people read on.
    resource_documentation: String,
    /// What people call it.
    resource_name: &'static str,
}

fn metadata(state: &ApiState, path: &str) -> Json<ResourceMetadata> {
    let base = &state.cx.settings.auth.issuer;
    Json(ResourceMetadata {
        resource: format!("{base}{path}"),
        authorization_servers: vec![base.clone()],
        jwks_uri: format!("{base}/.well-known/jwks.json"),
        bearer_methods_supported: vec!["header"],
        scopes_supported: Scope::ALL.iter().map(|scope| scope.as_str()).collect(),
        resource_documentation: format!("{base}/docs"),
        resource_name: "Slipway",
    })
}

/// Who gives tokens for this API
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource",
    operation_id = "get_resource_metadata", tag = "auth",
    responses((status = 200, description = "The metadata.", body = ResourceMetadata), Operating))]
pub(crate) async fn get_resource_metadata(State(state): State<ApiState>, _: NoQuery) -> Response {
    ([kept_for_minutes()], metadata(&state, "")).into_response()
}

/// Who gives tokens for the MCP endpoint
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource/mcp",
    operation_id = "get_mcp_resource_metadata", tag = "auth",
    responses((status = 200, description = "The metadata.", body = ResourceMetadata), Operating))]
pub(crate) async fn get_mcp_resource_metadata(
    State(state): State<ApiState>,
    _: NoQuery,
) -> Response {
    ([kept_for_minutes()], metadata(&state, "/mcp")).into_response()
}
