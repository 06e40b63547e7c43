//! `/api/v1/drift` and `/api/v1/stacks/{id}/drift`: what is other in the world than the state says.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use slipway_domain::deployment::Deployment;
use slipway_domain::drift::{
    DriftOverview, DriftSettings, DriftStatus, StackDrift, StackDriftSettings,
};
use slipway_domain::id::StackId;
use slipway_domain::page::{Page, PageRequest};
use slipway_services::drift;
use slipway_services::gate::Precondition;
use utoipa::IntoParams;

use super::deployment::{Name, idempotency_key, submitted};
use super::{conditional, page};
use crate::extract::{Caller, Json as Body, NoQuery, Path, Query};
use crate::openapi::{Always, Deciding, Moving, OfOne};
use crate::problem::Refused;
use crate::state::ApiState;

/// Which stacks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DriftQuery {
    /// Only with this status.
    #[param(inline)]
    status: Option<DriftStatus>,
    /// Only of this project.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    project: Option<Name>,
    /// Only of this environment.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    environment: Option<Name>,
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List what is known of the drift of all stacks
///
/// Of all that run something, newest stacks first.
#[utoipa::path(get, path = "/api/v1/drift", operation_id = "list_drift", tag = "drift",
    params(DriftQuery),
    responses(
        (status = 200, description = "A page.", body = Page<DriftOverview>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_drift(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<DriftQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    let filter = drift::Filter {
        status: query.status,
        project: query.project.map(Name::into),
        environment: query.environment.map(Name::into),
    };
    Ok(page::answer(&uri, drift::list(&state.cx, &who, &filter, ask).await?))
}

/// What is known of a stack's drift
///
/// What the last check found, by cause, with the values before and after; sensitive ones are masked.
/// `status` says what the last check came to, `out_of_date` that the stack has moved on since.
#[utoipa::path(get, path = "/api/v1/stacks/{id}/drift", operation_id = "get_stack_drift",
    tag = "drift", params(("id" = StackId, Path, description = "The stack.")),
    responses((status = 200, description = "What is known.", body = StackDrift), Always, OfOne))]
pub(crate) async fn get_stack_drift(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
) -> Result<Json<StackDrift>, Refused> {
    Ok(Json(drift::get(&state.cx, &who, id).await?))
}

/// Check a stack for drift now
///
/// A refresh-only plan, made by a worker of the queue `plan` when nothing else waits there. It changes
/// nothing and holds nothing up: it is refused while an apply of the stack runs or waits (409), and
/// what it finds is thrown away when the state moves meanwhile. Asking for a check that is queued or
/// runs gives just that.
#[utoipa::path(post, path = "/api/v1/stacks/{id}/drift/check", operation_id = "check_stack_drift",
    tag = "drift", params(("id" = StackId, Path, description = "The stack.")),
    responses(
        (status = 202, description = "The check is queued, or under way already.",
            body = StackDrift,
            headers(("Location" = String, description = "Path of what is known."))),
        Always, OfOne, Moving,
    ))]
pub(crate) async fn check_stack_drift(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let known = drift::request_check(&state.cx, &who, id).await?;
    let location = [(header::LOCATION, format!("/api/v1/stacks/{id}/drift"))];
    Ok((StatusCode::ACCEPTED, location, Json(known)).into_response())
}

/// Put a stack right
///
/// Submits a deployment with the source, the variables and the options of the stack's current one. It
/// goes its way like any other: it is planned, judged by the gates and, where they want that, approved.
#[utoipa::path(post, path = "/api/v1/stacks/{id}/drift/reconcile",
    operation_id = "reconcile_stack_drift", tag = "drift",
    params(
        ("id" = StackId, Path, description = "The stack."),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key gives the same \
            answer.", min_length = 1, max_length = 255, pattern = "^[ -~]+$"),
    ),
    responses(
        (status = 202, description = "The deployment was accepted.",
            headers(
                ("Location" = String, description = "Path of the deployment."),
                ("Idempotency-Replayed" = Option<String>, description = "`true` when this is the \
                    answer to an earlier request with the same key."),
            ),
            body = Deployment),
        Always, OfOne, Moving,
    ))]
pub(crate) async fn reconcile_stack_drift(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    Ok(submitted(drift::reconcile(&state.cx, &who, id, key).await?))
}

/// How a stack is checked for drift
#[utoipa::path(get, path = "/api/v1/stacks/{id}/drift/settings",
    operation_id = "get_stack_drift_settings", tag = "drift",
    params(("id" = StackId, Path, description = "The stack.")),
    responses(
        (status = 200, description = "What was said, and what holds.", body = StackDriftSettings,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        Always, OfOne,
    ))]
pub(crate) async fn get_stack_drift_settings(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
) -> Result<Response, Refused> {
    Ok(versioned(drift::settings(&state.cx, &who, id).await?))
}

/// Say how a stack is checked for drift
///
/// In place of what was said before; what is left out is as the installation has it. With `If-Match`
/// and the version that was read, a change that somebody made meanwhile is not overwritten (412).
#[utoipa::path(put, path = "/api/v1/stacks/{id}/drift/settings",
    operation_id = "set_stack_drift_settings", tag = "drift",
    params(("id" = StackId, Path, description = "The stack.")),
    request_body = DriftSettings,
    responses(
        (status = 200, description = "They hold from now on.", body = StackDriftSettings,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        Always, OfOne, Deciding,
    ))]
pub(crate) async fn set_stack_drift_settings(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
    headers: HeaderMap,
    Body(settings): Body<DriftSettings>,
) -> Result<Response, Refused> {
    let from = conditional::precondition(&headers)?.unwrap_or(Precondition::Any);
    Ok(versioned(drift::set_settings(&state.cx, &who, id, settings, from).await?))
}

fn versioned(settings: StackDriftSettings) -> Response {
    let tag = format!("\"{}\"", settings.version);
    let mut response = Json(settings).into_response();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
