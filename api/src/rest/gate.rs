//! `/api/v1/gates`: what the gates are to look for, by project and environment.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use slipway_domain::gate_settings::{GateScope, GateSettings, ResolvedSettings, ScopedSettings};
use slipway_domain::page::Page;
use slipway_services::gate::{self, Precondition};
use utoipa::IntoParams;

use super::conditional::precondition;
use crate::extract::{Caller, Json as Body, NoQuery, Query};
use crate::openapi::{Always, Deciding, OfOne, Removing};
use crate::problem::Refused;
use crate::state::ApiState;

/// For whom settings hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScopeQuery {
    /// Only for this project.
    project: Option<String>,
    /// Only for this environment.
    environment: Option<String>,
}

impl From<ScopeQuery> for GateScope {
    fn from(ScopeQuery { project, environment }: ScopeQuery) -> Self {
        Self { project, environment }
    }
}

/// List the settings of the gates
///
/// One entry for each scope for which something was said: everything, an environment, a project, or
/// an environment of a project.
#[utoipa::path(get, path = "/api/v1/gates/settings", operation_id = "list_gate_settings",
    tag = "gates",
    responses((status = 200, description = "All of them.", body = Page<ScopedSettings>), Always))]
pub(crate) async fn list_gate_settings(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<Page<ScopedSettings>>, Refused> {
    let items = gate::all(&state.cx, &who).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Set what the gates look for
///
/// In place of everything that was said for this scope before. A section that is left out is taken
/// from the next wider scope. With `If-Match` and the version that was read, a change that somebody
/// made meanwhile is not overwritten (412); `If-None-Match: *` wants that there is none yet.
/// Plans that wait keep what was said of them; `POST …/reconsider` judges them anew.
#[utoipa::path(put, path = "/api/v1/gates/settings", operation_id = "set_gate_settings",
    tag = "gates", params(ScopeQuery),
    request_body = GateSettings,
    responses(
        (status = 200, description = "They hold from now on.", body = ScopedSettings,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        Always, OfOne, Deciding,
    ))]
pub(crate) async fn set_gate_settings(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(scope): Query<ScopeQuery>,
    headers: HeaderMap,
    Body(settings): Body<GateSettings>,
) -> Result<Response, Refused> {
    let from = precondition(&headers)?.unwrap_or(Precondition::Any);
    let kept = gate::set(&state.cx, &who, scope.into(), settings, from).await?;
    let tag = format!("\"{}\"", kept.version);
    let mut response = Json(kept).into_response();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Forget the settings of a scope
///
/// Those of wider scopes hold then. Where there are none, nothing happens.
#[utoipa::path(delete, path = "/api/v1/gates/settings", operation_id = "delete_gate_settings",
    tag = "gates", params(ScopeQuery),
    responses((status = 204, description = "There are none."), Always, OfOne, Removing))]
pub(crate) async fn delete_gate_settings(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(scope): Query<ScopeQuery>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let from = precondition(&headers)?.unwrap_or(Precondition::Any);
    gate::forget(&state.cx, &who, &scope.into(), from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose settings are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StackQuery {
    /// The project.
    project: String,
    /// The environment.
    environment: String,
}

/// What the gates look for in a project and environment
///
/// Each section from the narrowest scope that has it, and where it comes from.
#[utoipa::path(get, path = "/api/v1/gates/resolved", operation_id = "resolve_gate_settings",
    tag = "gates", params(StackQuery),
    responses((status = 200, description = "What holds.", body = ResolvedSettings), Always,
        OfOne))]
pub(crate) async fn resolve_gate_settings(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(StackQuery { project, environment }): Query<StackQuery>,
) -> Result<Json<ResolvedSettings>, Refused> {
    Ok(Json(gate::resolved(&state.cx, &who, &project, &environment).await?))
}
