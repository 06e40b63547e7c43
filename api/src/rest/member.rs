//! `/api/v1/projects/{name}/members` and `/api/v1/members`: who is what in a project, and in the
//! house.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use slipway_domain::id::AccountId;
use slipway_domain::member::{Member, MemberRoles};
use slipway_domain::page::{Page, PageRequest};
use slipway_services::gate::Precondition;
use slipway_services::member;
use utoipa::IntoParams;

use super::conditional::precondition;
use super::page;
use super::project::versioned;
use crate::extract::{Caller, Json as Body, NoQuery, Path, PathPair, Query};
use crate::openapi::{Always, Deciding, Moving, OfOne, Removing};
use crate::problem::Refused;
use crate::state::ApiState;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MemberQuery {
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List the members of a project, newest accounts first
///
/// Who is something in the whole house is not among them; see `GET /api/v1/members`.
#[utoipa::path(get, path = "/api/v1/projects/{name}/members",
    operation_id = "list_project_members", tag = "projects",
    params(("name" = String, Path, description = "The project."), MemberQuery),
    responses(
        (status = 200, description = "A page.", body = Page<Member>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always, OfOne,
    ))]
pub(crate) async fn list_project_members(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    Query(query): Query<MemberQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, member::list(&state.cx, &who, Some(&name), ask).await?))
}

/// What an account is in a project
#[utoipa::path(get, path = "/api/v1/projects/{name}/members/{account}",
    operation_id = "get_project_member", tag = "projects",
    params(
        ("name" = String, Path, description = "The project."),
        ("account" = AccountId, Path, description = "The account."),
    ),
    responses(
        (status = 200, description = "The member.", body = Member,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        Always, OfOne,
    ))]
pub(crate) async fn get_project_member(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(name, account): PathPair<String, AccountId>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let member = member::get(&state.cx, &who, Some(&name), account).await?;
    Ok(versioned(&member, member.version))
}

/// Say what an account is in a project
///
/// In place of what it was. Nobody gives or takes rights that they do not have. With `If-Match` and
/// the version that was read, a change that somebody made meanwhile is not overwritten (412);
/// `If-None-Match: *` wants that it is no member yet.
#[utoipa::path(put, path = "/api/v1/projects/{name}/members/{account}",
    operation_id = "set_project_member", tag = "projects",
    params(
        ("name" = String, Path, description = "The project."),
        ("account" = AccountId, Path, description = "The account."),
    ),
    request_body(content = MemberRoles),
    responses(
        (status = 200, description = "It is that from now on.", body = Member,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        Always, OfOne, Deciding,
    ))]
pub(crate) async fn set_project_member(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(name, account): PathPair<String, AccountId>,
    _: NoQuery,
    headers: HeaderMap,
    Body(roles): Body<MemberRoles>,
) -> Result<Response, Refused> {
    let from = precondition(&headers)?.unwrap_or(Precondition::Any);
    let member = member::set(&state.cx, &who, Some(&name), account, roles, from).await?;
    Ok(versioned(&member, member.version))
}

/// Have an account be no member of a project any more
#[utoipa::path(delete, path = "/api/v1/projects/{name}/members/{account}",
    operation_id = "remove_project_member", tag = "projects",
    params(
        ("name" = String, Path, description = "The project."),
        ("account" = AccountId, Path, description = "The account."),
    ),
    responses((status = 204, description = "It is none."), Always, OfOne, Removing))]
pub(crate) async fn remove_project_member(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(name, account): PathPair<String, AccountId>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let from = precondition(&headers)?.unwrap_or(Precondition::Any);
    member::remove(&state.cx, &who, Some(&name), account, from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the members of the house, newest accounts first
///
/// What somebody is in the house they are in every project, and where things belong to no project.
#[utoipa::path(get, path = "/api/v1/members", operation_id = "list_members", tag = "projects",
    params(MemberQuery),
    responses(
        (status = 200, description = "A page.", body = Page<Member>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_members(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<MemberQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, member::list(&state.cx, &who, None, ask).await?))
}

/// What an account is in the house
#[utoipa::path(get, path = "/api/v1/members/{account}", operation_id = "get_member",
    tag = "projects",
    params(("account" = AccountId, Path, description = "The account.")),
    responses(
        (status = 200, description = "The member.", body = Member,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        Always, OfOne,
    ))]
pub(crate) async fn get_member(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(account): Path<AccountId>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let member = member::get(&state.cx, &who, None, account).await?;
    Ok(versioned(&member, member.version))
}

/// Say what an account is in the house
///
/// In place of what it was. Nobody gives or takes rights that they do not have, and the last admin
/// stays one (409). Preconditions as for members of a project.
#[utoipa::path(put, path = "/api/v1/members/{account}", operation_id = "set_member",
    tag = "projects",
    params(("account" = AccountId, Path, description = "The account.")),
    request_body(content = MemberRoles),
    responses(
        (status = 200, description = "It is that from now on.", body = Member,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        Always, OfOne, Moving, Deciding,
    ))]
pub(crate) async fn set_member(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(account): Path<AccountId>,
    _: NoQuery,
    headers: HeaderMap,
    Body(roles): Body<MemberRoles>,
) -> Result<Response, Refused> {
    let from = precondition(&headers)?.unwrap_or(Precondition::Any);
    let member = member::set(&state.cx, &who, None, account, roles, from).await?;
    Ok(versioned(&member, member.version))
}

/// Have an account be nothing in the house any more
///
/// What it is in projects stays. The last admin stays one (409).
#[utoipa::path(delete, path = "/api/v1/members/{account}", operation_id = "remove_member",
    tag = "projects",
    params(("account" = AccountId, Path, description = "The account.")),
    responses((status = 204, description = "It is none."), Always, OfOne, Moving, Removing))]
pub(crate) async fn remove_member(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(account): Path<AccountId>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let from = precondition(&headers)?.unwrap_or(Precondition::Any);
    member::remove(&state.cx, &who, None, account, from).await?;
    Ok(StatusCode::NO_CONTENT)
}
