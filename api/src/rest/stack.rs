//! `/api/v1/stacks`.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::Deserialize;
use slipway_domain::deployment::Deployment;
use slipway_domain::id::StackId;
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::stack::{Stack, StackDetails};
use slipway_domain::state::DeploymentState;
use slipway_services::{deployment, stack};
use utoipa::IntoParams;

use super::deployment::Name;
use super::{page, tagged};
use crate::extract::{Caller, NoQuery, Path, Query};
use crate::openapi::{Always, OfOne};
use crate::problem::Refused;
use crate::state::ApiState;

/// Which stacks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StackQuery {
    /// Only of this project.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    project: Option<Name>,
    /// Only with this name.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: Option<Name>,
    /// Only of this environment.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    environment: Option<Name>,
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List stacks, newest first
#[utoipa::path(get, path = "/api/v1/stacks", operation_id = "list_stacks", tag = "stacks",
    params(StackQuery),
    responses(
        (status = 200, description = "A page.", body = Page<Stack>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_stacks(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<StackQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    let filter = stack::Filter {
        project: query.project.map(Name::into),
        name: query.name.map(Name::into),
        environment: query.environment.map(Name::into),
    };
    Ok(page::answer(&uri, stack::list(&state.cx, &who, &filter, ask).await?))
}

/// One stack
#[utoipa::path(get, path = "/api/v1/stacks/{id}", operation_id = "get_stack", tag = "stacks",
    params(("id" = StackId, Path, description = "The stack.")),
    responses(
        (status = 200, description = "The stack.", body = StackDetails,
            headers(("ETag" = Option<String>, description = "For `If-None-Match`."))),
        (status = 304, description = "The caller has it already."),
        Always, OfOne,
    ))]
pub(crate) async fn get_stack(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    Ok(tagged::answer(&headers, &stack::details(&state.cx, &who, id).await?)?)
}

/// Which deployments of a stack.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Only in this state.
    #[param(inline)]
    state: Option<DeploymentState>,
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List the deployments of a stack, newest first
#[utoipa::path(get, path = "/api/v1/stacks/{id}/deployments",
    operation_id = "list_stack_deployments", tag = "stacks",
    params(("id" = StackId, Path, description = "The stack."), HistoryQuery),
    responses(
        (status = 200, description = "A page.", body = Page<Deployment>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always, OfOne,
    ))]
pub(crate) async fn list_stack_deployments(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    Query(query): Query<HistoryQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    // A stack that does not exist is not one without deployments.
    stack::get(&state.cx, &who, id).await?;
    let filter = deployment::Filter {
        stack_id: Some(id),
        state: query.state,
        ..deployment::Filter::default()
    };
    Ok(page::answer(&uri, deployment::list(&state.cx, &who, &filter, ask).await?))
}
