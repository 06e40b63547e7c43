//! `/api/v1/templates`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use slipway_domain::page::Page;
use slipway_domain::template::{Rendered, Template, TemplateVersion};
use slipway_services::template::{self, Deprecate, Render, Restore};
use utoipa::IntoParams;

use super::deployment::{idempotency_key, mark_replayed};
use super::upload::{Publication, PublishForm, PublishJson, TarGz};
use super::{page, tagged};
use crate::extract::{Caller, Json as Body, MaybeJson, NoQuery, Path, PathPair, Query};
use crate::openapi::{Always, Creating, Moving, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// List the template library
///
/// Every template with its typed inputs, by name.
#[utoipa::path(get, path = "/api/v1/templates", operation_id = "list_templates", tag = "templates",
    responses((status = 200, description = "All of them.", body = Page<Template>), Always))]
pub(crate) async fn list_templates(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    uri: Uri,
) -> Result<Response, Refused> {
    let items = template::list(&state.cx, &who).await?;
    Ok(page::answer(&uri, Page { items, next_cursor: None }))
}

/// Publish a template, or its next version
///
/// A Terraform root module as a `tar.gz`: a part of a multipart form, or in base64 inside the JSON.
/// It is unpacked, read and checked first; what is refused leaves nothing behind. Every input needs
/// a type, and there may be no symbolic links. When the content is that of the newest version, no
/// version is made and the answer is 200. The names of templates that come with the installation are
/// refused.
#[utoipa::path(post, path = "/api/v1/templates", operation_id = "publish_template",
    tag = "templates",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and the same \
            request give the same answer.", min_length = 1, max_length = 255,
            pattern = "^[ -~]+$"),
    ),
    request_body(
        description = "The template.",
        content(
            (PublishJson = "application/json"),
            (PublishForm = "multipart/form-data"),
        ),
    ),
    responses(
        (status = 201, description = "A version was made. It is offered from now on.",
            body = Template,
            headers(
                ("Location" = String, description = "Path of the template."),
                ("Idempotency-Replayed" = Option<String>, description = "`true` when this is the \
                    answer to an earlier request with the same key."),
            )),
        (status = 200, description = "The newest version has this content already.",
            body = Template),
        Always, Creating,
    ))]
pub(crate) async fn publish_template(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    headers: HeaderMap,
    Publication { request, archive }: Publication,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let published = template::publish(&state.cx, &who, request, archive, key).await?;
    let status = if published.created { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/api/v1/templates/{}", published.template.name);
    let mut response =
        (status, [(header::LOCATION, location)], Json(published.template)).into_response();
    mark_replayed(&mut response, published.replayed);
    Ok(response)
}

/// One template
#[utoipa::path(get, path = "/api/v1/templates/{name}", operation_id = "get_template",
    tag = "templates",
    params(("name" = String, Path, description = "Its name.",
        pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")),
    responses(
        (status = 200, description = "The template.", body = Template,
            headers(("ETag" = Option<String>, description = "For `If-None-Match`."))),
        (status = 304, description = "The caller has it already."),
        Always, OfOne,
    ))]
pub(crate) async fn get_template(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    Ok(tagged::answer(&headers, &template::get(&state.cx, &who, &name).await?)?)
}

/// The versions of a template, newest first
#[utoipa::path(get, path = "/api/v1/templates/{name}/versions",
    operation_id = "list_template_versions", tag = "templates",
    params(("name" = String, Path, description = "Its name.",
        pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")),
    responses(
        (status = 200, description = "All of them.", body = Page<TemplateVersion>),
        Always, OfOne,
    ))]
pub(crate) async fn list_template_versions(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    uri: Uri,
) -> Result<Response, Refused> {
    let items = template::versions(&state.cx, &who, &name).await?;
    Ok(page::answer(&uri, Page { items, next_cursor: None }))
}

/// One version of a template
#[utoipa::path(get, path = "/api/v1/templates/{name}/versions/{version}",
    operation_id = "get_template_version", tag = "templates",
    params(
        ("name" = String, Path, description = "Its name.",
            pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"),
        ("version" = i32, Path, description = "Its number.", minimum = 1),
    ),
    responses(
        (status = 200, description = "The version.", body = TemplateVersion,
            headers(("ETag" = Option<String>, description = "For `If-None-Match`."))),
        (status = 304, description = "The caller has it already."),
        Always, OfOne,
    ))]
pub(crate) async fn get_template_version(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(name, version): PathPair<String, i32>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let version = template::version(&state.cx, &who, &name, version).await?;
    Ok(tagged::answer(&headers, &version)?)
}

/// Delete a version of a template
///
/// Only one that no deployment names. With the last version the template goes.
#[utoipa::path(delete, path = "/api/v1/templates/{name}/versions/{version}",
    operation_id = "delete_template_version", tag = "templates",
    params(
        ("name" = String, Path, description = "Its name.",
            pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"),
        ("version" = i32, Path, description = "Its number.", minimum = 1),
    ),
    responses((status = 204, description = "It is gone."), Always, OfOne, Moving))]
pub(crate) async fn delete_template_version(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(name, version): PathPair<String, i32>,
    _: NoQuery,
) -> Result<StatusCode, Refused> {
    template::delete_version(&state.cx, &who, &name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which version.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionQuery {
    /// Its number; the newest active one when absent.
    #[param(minimum = 1)]
    version: Option<i32>,
}

/// Download the source of a template
#[utoipa::path(get, path = "/api/v1/templates/{name}/source", operation_id = "download_template",
    tag = "templates",
    params(
        ("name" = String, Path, description = "Its name.",
            pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"),
        VersionQuery,
    ),
    responses(
        (status = 200, description = "The source tree.", content_type = "application/gzip",
            body = inline(TarGz)),
        Always, OfOne,
    ))]
pub(crate) async fn download_template(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    Query(VersionQuery { version }): Query<VersionQuery>,
) -> Result<Response, Refused> {
    let (version, archive) = template::download(&state.cx, &who, &name, version).await?;
    let mut response = ([(header::CONTENT_TYPE, "application/gzip")], archive).into_response();
    // The name is one of a template that is there, so that it is plain.
    let file = format!("attachment; filename=\"{name}-{version}.tar.gz\"");
    if let Ok(file) = HeaderValue::from_str(&file) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, file);
    }
    Ok(response)
}

/// Show a template as it would be deployed
///
/// With values, which are checked as those of a deployment are: the configuration's files, and the
/// values as Terraform gets them, with sensitive ones masked. Nothing is kept.
#[utoipa::path(post, path = "/api/v1/templates/{name}/render", operation_id = "render_template",
    tag = "templates",
    params(("name" = String, Path, description = "Its name.",
        pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")),
    request_body(content = Render),
    responses(
        (status = 200, description = "The configuration and its values.", body = Rendered),
        Always, OfOne, WithBody,
    ))]
pub(crate) async fn render_template(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    Body(request): Body<Render>,
) -> Result<Json<Rendered>, Refused> {
    Ok(Json(template::render(&state.cx, &who, &name, request).await?))
}

/// Take a template out of offer
///
/// One version, or all of them: nobody gets it by default any more, and whoever names the version
/// still does. The body may be left out.
#[utoipa::path(post, path = "/api/v1/templates/{name}/deprecate",
    operation_id = "deprecate_template", tag = "templates",
    params(("name" = String, Path, description = "Its name.",
        pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")),
    request_body(content = Deprecate),
    responses(
        (status = 200, description = "The template.", body = Template),
        Always, OfOne, WithBody, Moving,
    ))]
pub(crate) async fn deprecate_template(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    MaybeJson(request): MaybeJson<Deprecate>,
) -> Result<Json<Template>, Refused> {
    Ok(Json(template::deprecate(&state.cx, &who, &name, request).await?))
}

/// Offer a template again
///
/// One version that was deprecated, or all of them. The body may be left out.
#[utoipa::path(post, path = "/api/v1/templates/{name}/restore", operation_id = "restore_template",
    tag = "templates",
    params(("name" = String, Path, description = "Its name.",
        pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")),
    request_body(content = Restore),
    responses(
        (status = 200, description = "The template.", body = Template),
        Always, OfOne, WithBody, Moving,
    ))]
pub(crate) async fn restore_template(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    MaybeJson(request): MaybeJson<Restore>,
) -> Result<Json<Template>, Refused> {
    Ok(Json(template::restore(&state.cx, &who, &name, request).await?))
}
