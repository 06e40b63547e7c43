//! `/api/v1/policies`: packs, their versions, and trying them.

use std::str::FromStr;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::policy::{DryRun, PolicyModule, PolicyPack, PolicyVersion};
use slipway_services::policy::{self, DryRunRequest, MAX_ARCHIVE_BYTES, Sent, UploadPolicy};
use utoipa::{IntoParams, ToSchema};

use super::deployment::{idempotency_key, mark_replayed};
use super::page;
use super::upload::{ARCHIVES, TarGz};
use crate::extract::{
    Caller, Json as Body, NoQuery, Path, PathPair, Query, content_type, from_json, read,
    unsupported,
};
use crate::openapi::{Always, Creating, Moving, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// Bytes of a pack as JSON: every sign may be written as six.
const MAX_JSON_BYTES: usize = 6 << 20;

/// The number of a version in a path; 0 is the built-in pack's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(i32);

impl FromStr for Number {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(number) if number >= 0 => Ok(Self(number)),
            _ => Err("a version of a policy pack has a number"),
        }
    }
}

/// List the policy packs
///
/// The built-in one, `slipway/terraform`, first; then those that were uploaded, by name.
#[utoipa::path(get, path = "/api/v1/policies", operation_id = "list_policies", tag = "policies",
    responses((status = 200, description = "All of them.", body = Page<PolicyPack>), Always))]
pub(crate) async fn list_policies(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    uri: Uri,
) -> Result<Response, Refused> {
    let items = policy::list(&state.cx, &who).await?;
    Ok(page::answer(&uri, Page { items, next_cursor: None }))
}

/// One policy pack, with the rules of its newest version
#[utoipa::path(get, path = "/api/v1/policies/{name}", operation_id = "get_policy",
    tag = "policies",
    params(("name" = String, Path, description = "Its name; a `/` in it is written `%2F`.")),
    responses((status = 200, description = "The pack.", body = PolicyPack), Always, OfOne))]
pub(crate) async fn get_policy(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
) -> Result<Json<PolicyPack>, Refused> {
    Ok(Json(policy::get(&state.cx, &who, &name).await?))
}

/// Which versions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PolicyVersionsQuery {
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List the versions of a policy pack, newest first
#[utoipa::path(get, path = "/api/v1/policies/{name}/versions",
    operation_id = "list_policy_versions", tag = "policies",
    params(("name" = String, Path, description = "The pack."), PolicyVersionsQuery),
    responses(
        (status = 200, description = "A page.", body = Page<PolicyVersion>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always, OfOne,
    ))]
pub(crate) async fn list_policy_versions(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    Query(query): Query<PolicyVersionsQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, policy::versions(&state.cx, &who, &name, ask).await?))
}

/// A pack that was sent: JSON, or an archive.
pub(crate) struct SentPolicy(Sent);

impl FromRequest<ApiState> for SentPolicy {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, Refused> {
        let kind = content_type(request.headers());
        if kind == "application/json" {
            let body = read(request.into_body(), MAX_JSON_BYTES).await?;
            return Ok(Self(Sent::Modules(from_json(&body)?)));
        }
        if !ARCHIVES.contains(&kind.as_str()) {
            let wanted = format!("application/json or one of {}", ARCHIVES.join(", "));
            return Err(unsupported(&kind, &wanted).into());
        }
        Ok(Self(Sent::Archive(read(request.into_body(), MAX_ARCHIVE_BYTES).await?)))
    }
}

/// Upload a policy pack
///
/// Rego files, as JSON or as a `tar.gz`. They are checked first: they must parse, live in packages
/// under `user`, call only what a policy may call, and all their tests (rules called `test_…`) must
/// pass. Everything that is wrong is in `errors`, with file, line and column, and nothing of a pack
/// that is refused is kept. The first upload makes the pack, each further one a version of it; the
/// text of the newest version again gives that version with 200.
#[utoipa::path(post, path = "/api/v1/policies/{name}/versions", operation_id = "upload_policy",
    tag = "policies",
    params(
        ("name" = String, Path, description = "Its name.",
            pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and the same \
            files give the same answer.", min_length = 1, max_length = 255, pattern = "^[ -~]+$"),
    ),
    request_body(
        description = "The files.",
        content(
            (UploadPolicy = "application/json"),
            (inline(TarGz) = "application/gzip"),
            (inline(TarGz) = "application/x-gzip"),
            (inline(TarGz) = "application/x-tar"),
            (inline(TarGz) = "application/octet-stream"),
        ),
    ),
    responses(
        (status = 200, description = "The newest version has this very text.",
            body = PolicyVersion),
        (status = 201, description = "It is a new version.", body = PolicyVersion,
            headers(
                ("Location" = String, description = "Path of the version."),
                ("Idempotency-Replayed" = Option<String>, description = "`true` when this is the answer to an earlier request with the same key."),
            )),
        Always, Creating, OfOne,
    ))]
pub(crate) async fn upload_policy(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    headers: HeaderMap,
    SentPolicy(sent): SentPolicy,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let uploaded = policy::upload(&state.cx, &who, &name, sent, key).await?;
    let location = format!("/api/v1/policies/{name}/versions/{}", uploaded.version.version);
    let status = if uploaded.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response =
        (status, [(header::LOCATION, location)], Json(uploaded.version)).into_response();
    mark_replayed(&mut response, uploaded.replayed);
    Ok(response)
}

/// One version of a policy pack
#[utoipa::path(get, path = "/api/v1/policies/{name}/versions/{version}",
    operation_id = "get_policy_version", tag = "policies",
    params(
        ("name" = String, Path, description = "The pack."),
        ("version" = i32, Path, description = "Its number; 0 for the built-in pack.", minimum = 0),
    ),
    responses((status = 200, description = "The version.", body = PolicyVersion), Always, OfOne))]
pub(crate) async fn get_policy_version(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(name, Number(version)): PathPair<String, Number>,
    _: NoQuery,
) -> Result<Json<PolicyVersion>, Refused> {
    Ok(Json(policy::version(&state.cx, &who, &name, version).await?))
}

/// The files of a version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicySource {
    /// All of them, by path.
    modules: Vec<PolicyModule>,
}

/// The files of a version of a policy pack
#[utoipa::path(get, path = "/api/v1/policies/{name}/versions/{version}/source",
    operation_id = "get_policy_source", tag = "policies",
    params(
        ("name" = String, Path, description = "The pack."),
        ("version" = i32, Path, description = "Its number; 0 for the built-in pack.", minimum = 0),
    ),
    responses((status = 200, description = "The files.", body = PolicySource), Always, OfOne))]
pub(crate) async fn get_policy_source(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(name, Number(version)): PathPair<String, Number>,
    _: NoQuery,
) -> Result<Json<PolicySource>, Refused> {
    let modules = policy::modules(&state.cx, &who, &name, version).await?;
    Ok(Json(PolicySource { modules }))
}

/// Remove a version of a policy pack
///
/// Only one that no settings name; 409 `policy_in_use` says whose do. Its number is not given out
/// again.
#[utoipa::path(delete, path = "/api/v1/policies/{name}/versions/{version}",
    operation_id = "remove_policy_version", tag = "policies",
    params(
        ("name" = String, Path, description = "The pack."),
        ("version" = i32, Path, description = "Its number.", minimum = 0),
    ),
    responses((status = 204, description = "It is gone."), Always, OfOne, Moving))]
pub(crate) async fn remove_policy_version(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(name, Number(version)): PathPair<String, Number>,
    _: NoQuery,
) -> Result<StatusCode, Refused> {
    policy::remove(&state.cx, &who, &name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Try a policy pack on past plans
///
/// One that is kept, or one that is sent along, on the plans of up to 50 deployments or on the newest
/// ones of a project. Changes nothing. What is judged is the plan as everybody may see it (`form`):
/// only what changes, with secrets masked. Plans that time did not suffice for are in `skipped`.
#[utoipa::path(post, path = "/api/v1/policies/dry-run", operation_id = "dry_run_policy",
    tag = "policies",
    request_body(content = DryRunRequest),
    responses((status = 200, description = "What it says.", body = DryRun), Always, OfOne,
        WithBody))]
pub(crate) async fn dry_run_policy(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    Body(request): Body<DryRunRequest>,
) -> Result<Json<DryRun>, Refused> {
    Ok(Json(policy::dry_run(&state.cx, &who, request).await?))
}
