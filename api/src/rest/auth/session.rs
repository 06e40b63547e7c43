//! One's own sessions.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use slipway_domain::auth::session::Session;
use slipway_domain::id::SessionId;
use slipway_domain::page::{Page, PageRequest};
use slipway_services::auth::session;
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Caller, NoQuery, Path, Query};
use crate::openapi::{Always, OfOne};
use crate::problem::Refused;
use crate::rest::page;
use crate::state::ApiState;

/// A page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// How many sessions ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ended {
    /// How many.
    pub(crate) ended: u64,
}

/// List one's sessions, newest first
#[utoipa::path(get, path = "/api/v1/auth/sessions", operation_id = "list_sessions", tag = "auth",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of those that are good.", body = Page<Session>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always, OfOne,
    ))]
pub(crate) async fn list_sessions(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, session::list(&state.cx, &who, None, ask).await?))
}

/// End all one's other sessions
#[utoipa::path(delete, path = "/api/v1/auth/sessions", operation_id = "revoke_sessions",
    tag = "auth",
    responses((status = 200, description = "They have ended.", body = Ended), Always, OfOne))]
pub(crate) async fn revoke_sessions(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<Ended>, Refused> {
    Ok(Json(Ended { ended: session::revoke_all(&state.cx, &who, None).await? }))
}

/// End one of one's sessions
///
/// Its tokens are good for nothing from now on. Ending it again changes nothing.
#[utoipa::path(delete, path = "/api/v1/auth/sessions/{id}", operation_id = "revoke_session",
    tag = "auth",
    params(("id" = SessionId, Path, description = "The session.")),
    responses((status = 204, description = "It has ended."), Always, OfOne))]
pub(crate) async fn revoke_session(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SessionId>,
    _: NoQuery,
) -> Result<StatusCode, Refused> {
    session::revoke(&state.cx, &who, None, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
