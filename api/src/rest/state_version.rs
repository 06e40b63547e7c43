//! `/api/v1/stacks/{id}/state/…`: versions and refused states, for people.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use slipway_domain::id::{OrphanId, StackId};
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::state_diff::StateDiff;
use slipway_domain::state_version::{OrphanState, StateVersion};
use slipway_services::{state, state_version};
use utoipa::{IntoParams, ToSchema};

use super::page;
use super::state::{SentState, StateFile, raw_state};
use crate::extract::{Caller, Json as Body, MaybeJson, NoQuery, Path, PathPair, Query};
use crate::openapi::{Always, Locking, Moving, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// The number of a version in a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(i64);

impl FromStr for Number {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err("a version of a state has a number from 1"),
        }
    }
}

/// Which versions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionsQuery {
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List the versions of a state, newest first
#[utoipa::path(get, path = "/api/v1/stacks/{id}/state/versions",
    operation_id = "list_state_versions", tag = "states",
    params(("id" = StackId, Path, description = "The stack."), VersionsQuery),
    responses(
        (status = 200, description = "A page.", body = Page<StateVersion>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always, OfOne,
    ))]
pub(crate) async fn list_state_versions(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    Query(query): Query<VersionsQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, state_version::list(&state.cx, &who, id, ask).await?))
}

/// What is known of one version
#[utoipa::path(get, path = "/api/v1/stacks/{id}/state/versions/{version}",
    operation_id = "get_state_version", tag = "states",
    params(
        ("id" = StackId, Path, description = "The stack."),
        ("version" = i64, Path, description = "Its number.", minimum = 1),
    ),
    responses(
        (status = 200, description = "The version.", body = StateVersion),
        Always, OfOne,
    ))]
pub(crate) async fn get_state_version(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(id, Number(version)): PathPair<StackId, Number>,
    _: NoQuery,
) -> Result<Json<StateVersion>, Refused> {
    Ok(Json(state_version::get(&state.cx, &who, id, version).await?))
}

/// Download one version
///
/// The bytes as they were written, with every secret in clear. It goes on record.
#[utoipa::path(get, path = "/api/v1/stacks/{id}/state/versions/{version}/download",
    operation_id = "download_state_version", tag = "states",
    params(
        ("id" = StackId, Path, description = "The stack."),
        ("version" = i64, Path, description = "Its number.", minimum = 1),
    ),
    responses(
        (status = 200, description = "The state.", content_type = "application/json",
            body = StateFile),
        Always, OfOne,
    ))]
pub(crate) async fn download_state_version(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(id, Number(version)): PathPair<StackId, Number>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let (_, content) = state::read_version(&state.cx, &who, id, version).await?;
    Ok(raw_state(content))
}

/// Which versions to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffQuery {
    /// The older version; the one before `to` when absent, and no state at all when 0.
    #[param(minimum = 0)]
    from: Option<i64>,
    /// The newer version; the current one when absent.
    #[param(minimum = 0)]
    to: Option<i64>,
}

/// Compare two versions
///
/// By resource and attribute. Values that are marked sensitive, that have the name of a secret, or
/// that hold a secret known from elsewhere are `***`.
#[utoipa::path(get, path = "/api/v1/stacks/{id}/state/diff", operation_id = "diff_state",
    tag = "states",
    params(("id" = StackId, Path, description = "The stack."), DiffQuery),
    responses(
        (status = 200, description = "What differs.", body = StateDiff),
        Always, OfOne, Moving,
    ))]
pub(crate) async fn diff_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    Query(DiffQuery { from, to }): Query<DiffQuery>,
) -> Result<Json<StateDiff>, Refused> {
    Ok(Json(state_version::diff(&state.cx, &who, id, from, to).await?))
}

/// What the caller has seen.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreState {
    /// The serial of the current state. Another one than is current now is a conflict.
    #[schema(minimum = 0)]
    current_serial: i64,
}

/// Put an older version back
///
/// It becomes a new version with the next serial. Nobody may hold the lock, and nothing may be
/// applied meanwhile. Plans that were made before are stale.
#[utoipa::path(post, path = "/api/v1/stacks/{id}/state/versions/{version}/restore",
    operation_id = "restore_state_version", tag = "states",
    params(
        ("id" = StackId, Path, description = "The stack."),
        ("version" = i64, Path, description = "Its number.", minimum = 1),
    ),
    request_body(content = RestoreState),
    responses(
        (status = 200, description = "The new version.", body = StateVersion),
        Always, OfOne, Moving, WithBody, Locking,
    ))]
pub(crate) async fn restore_state_version(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(id, Number(version)): PathPair<StackId, Number>,
    _: NoQuery,
    Body(RestoreState { current_serial }): Body<RestoreState>,
) -> Result<Json<StateVersion>, Refused> {
    Ok(Json(state_version::restore(&state.cx, &who, id, version, current_serial).await?))
}

/// Which state is to be followed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// The serial of the current state, to replace it; without it the stack must have none.
    #[param(minimum = 0)]
    current_serial: Option<i64>,
}

/// Bring along a state that was kept elsewhere
///
/// The body is the state file. Into a stack without a state it goes as it is; where there is one,
/// its serial must be named, and the imported state goes on in its lineage. The same bytes again
/// change nothing.
#[utoipa::path(post, path = "/api/v1/stacks/{id}/state/import", operation_id = "import_state",
    tag = "states",
    params(
        ("id" = StackId, Path, description = "The stack."),
        ImportQuery,
        ("Content-MD5" = Option<String>, Header, description = "Base64 of the body's MD5; checked \
            when it is there."),
    ),
    request_body(content = StateFile, content_type = "application/json"),
    responses(
        (status = 200, description = "The version that it is.", body = StateVersion),
        Always, OfOne, Moving, WithBody, Locking,
    ))]
pub(crate) async fn import_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    Query(ImportQuery { current_serial }): Query<ImportQuery>,
    SentState(content): SentState,
) -> Result<Json<StateVersion>, Refused> {
    Ok(Json(state_version::import(&state.cx, &who, id, current_serial, &content).await?))
}

/// States that were refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrphanStates {
    /// Newest first; at most 100 are kept of a stack.
    items: Vec<OrphanState>,
}

/// List the states that were refused and kept
#[utoipa::path(get, path = "/api/v1/stacks/{id}/state/orphans", operation_id = "list_orphan_states",
    tag = "states",
    params(("id" = StackId, Path, description = "The stack.")),
    responses(
        (status = 200, description = "All of them.", body = OrphanStates),
        Always, OfOne,
    ))]
pub(crate) async fn list_orphan_states(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
) -> Result<Json<OrphanStates>, Refused> {
    Ok(Json(OrphanStates { items: state::orphans(&state.cx, &who, id).await? }))
}

/// Download a state that was refused
///
/// The bytes as they were sent, with every secret in clear. It goes on record.
#[utoipa::path(get, path = "/api/v1/stacks/{id}/state/orphans/{orphan}/download",
    operation_id = "download_orphan_state", tag = "states",
    params(
        ("id" = StackId, Path, description = "The stack."),
        ("orphan" = OrphanId, Path, description = "The refused state."),
    ),
    responses(
        (status = 200, description = "The state.", content_type = "application/json",
            body = StateFile),
        Always, OfOne,
    ))]
pub(crate) async fn download_orphan_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(id, orphan): PathPair<StackId, OrphanId>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let (_, content) = state::read_orphan(&state.cx, &who, id, orphan).await?;
    Ok(raw_state(content))
}

/// What the caller has seen.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdoptState {
    /// The serial of the current state; absent when the stack has none.
    #[serde(default)]
    #[schema(minimum = 0)]
    current_serial: Option<i64>,
}

/// Take a refused state all the same
///
/// It becomes the current state, as a new version that follows the current one. Nobody may hold the
/// lock, and nothing may be applied meanwhile.
#[utoipa::path(post, path = "/api/v1/stacks/{id}/state/orphans/{orphan}/adopt",
    operation_id = "adopt_orphan_state", tag = "states",
    params(
        ("id" = StackId, Path, description = "The stack."),
        ("orphan" = OrphanId, Path, description = "The refused state."),
    ),
    request_body(content = AdoptState),
    responses(
        (status = 200, description = "The new version.", body = StateVersion),
        Always, OfOne, Moving, WithBody, Locking,
    ))]
pub(crate) async fn adopt_orphan_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(id, orphan): PathPair<StackId, OrphanId>,
    _: NoQuery,
    MaybeJson(AdoptState { current_serial }): MaybeJson<AdoptState>,
) -> Result<Json<StateVersion>, Refused> {
    Ok(Json(state_version::adopt(&state.cx, &who, id, orphan, current_serial).await?))
}

/// Let go of a refused state
///
/// What it alone recorded is forgotten; that it was dropped stays on record.
#[utoipa::path(delete, path = "/api/v1/stacks/{id}/state/orphans/{orphan}",
    operation_id = "discard_orphan_state", tag = "states",
    params(
        ("id" = StackId, Path, description = "The stack."),
        ("orphan" = OrphanId, Path, description = "The refused state."),
    ),
    responses((status = 204, description = "It is gone."), Always, OfOne))]
pub(crate) async fn discard_orphan_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(id, orphan): PathPair<StackId, OrphanId>,
    _: NoQuery,
) -> Result<StatusCode, Refused> {
    state_version::discard(&state.cx, &who, id, orphan).await?;
    Ok(StatusCode::NO_CONTENT)
}
