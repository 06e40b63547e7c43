//! `/api/v1/projects`: what stacks belong to.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::page::{NamedPageRequest, Page};
use slipway_domain::project::{NewProject, Project, ProjectChange};
use slipway_services::gate::Precondition;
use slipway_services::project;
use utoipa::IntoParams;

use super::conditional::precondition;
use super::deployment::{idempotency_key, mark_replayed};
use super::page;
use crate::extract::{Caller, Json as Body, NoQuery, Path, Query};
use crate::openapi::{Always, Creating, Deciding, Moving, OfOne, Removing};
use crate::problem::Refused;
use crate::state::ApiState;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProjectQuery {
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A thing with its version as its entity tag.
pub(super) fn versioned<T: Serialize>(thing: &T, version: i64) -> Response {
    let mut response = Json(thing).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// List the projects, by name
///
/// Those in which the caller may look.
#[utoipa::path(get, path = "/api/v1/projects", operation_id = "list_projects", tag = "projects",
    params(ProjectQuery),
    responses(
        (status = 200, description = "A page.", body = Page<Project>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_projects(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<ProjectQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = NamedPageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, project::list(&state.cx, &who, &ask).await?))
}

/// Make a project
///
/// Whoever may do that may also just deploy to a project that is not there: it is made then.
#[utoipa::path(post, path = "/api/v1/projects", operation_id = "create_project", tag = "projects",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and the same \
            request give the same answer.", min_length = 1, max_length = 255,
            pattern = "^[ -~]+$"),
    ),
    request_body(content = NewProject),
    responses(
        (status = 201, description = "It is there.", body = Project,
            headers(
                ("ETag" = String, description = "The version, for `If-Match`."),
                ("Location" = String, description = "Path of the project."),
                ("Idempotency-Replayed" = Option<String>, description = "`true` when this is the answer to an earlier request with the same key."),
            )),
        Always, Creating,
    ))]
pub(crate) async fn create_project(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    headers: HeaderMap,
    Body(request): Body<NewProject>,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let made = project::create(&state.cx, &who, request, key).await?;
    let location = [(header::LOCATION, format!("/api/v1/projects/{}", made.project.name))];
    let body = versioned(&made.project, made.project.version);
    let mut response = (StatusCode::CREATED, location, body).into_response();
    mark_replayed(&mut response, made.replayed);
    Ok(response)
}

/// One project
#[utoipa::path(get, path = "/api/v1/projects/{name}", operation_id = "get_project",
    tag = "projects",
    params(("name" = String, Path, description = "The project.")),
    responses(
        (status = 200, description = "The project.", body = Project,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        Always, OfOne,
    ))]
pub(crate) async fn get_project(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let project = project::get(&state.cx, &who, &name).await?;
    Ok(versioned(&project, project.version))
}

/// Change what is said of a project
///
/// With `If-Match` and the version that was read, a change that somebody made meanwhile is not
/// overwritten (412).
#[utoipa::path(patch, path = "/api/v1/projects/{name}", operation_id = "change_project",
    tag = "projects",
    params(("name" = String, Path, description = "The project.")),
    request_body(content = ProjectChange),
    responses(
        (status = 200, description = "It is changed.", body = Project,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        Always, OfOne, Deciding,
    ))]
pub(crate) async fn change_project(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    headers: HeaderMap,
    Body(change): Body<ProjectChange>,
) -> Result<Response, Refused> {
    let from = precondition(&headers)?.unwrap_or(Precondition::Any);
    let project = project::change(&state.cx, &who, &name, change, from).await?;
    Ok(versioned(&project, project.version))
}

/// Remove a project
///
/// Its memberships end. One that has stacks, settings of gates or exemptions that hold is not
/// removed (409).
#[utoipa::path(delete, path = "/api/v1/projects/{name}", operation_id = "remove_project",
    tag = "projects",
    params(("name" = String, Path, description = "The project.")),
    responses((status = 204, description = "It is gone."), Always, OfOne, Moving, Removing))]
pub(crate) async fn remove_project(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let from = precondition(&headers)?.unwrap_or(Precondition::Any);
    project::remove(&state.cx, &who, &name, from).await?;
    Ok(StatusCode::NO_CONTENT)
}
