//! `/api/v1/config`: the central configuration.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use slipway_domain::fault::Fault;
use slipway_domain::id::SettingId;
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::setting::difference::SettingDifference;
use slipway_domain::setting::effective::EffectiveSettings;
use slipway_domain::setting::{
    ChangeSetting, NewSetting, Setting, SettingAudit, SettingScope, SettingVersion,
};
use slipway_services::setting::{self, Filter, Reveal, Revealed, RollBack, RotatedSetting};
use utoipa::IntoParams;

use super::conditional::precondition;
use super::deployment::{Name, idempotency_key, mark_replayed};
use super::{page, tagged};
use crate::extract::{Caller, Json as Body, NoQuery, Path, Query};
use crate::openapi::{Always, Changing, Creating, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// Which items.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SettingsQuery {
    /// Only those for this very project.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    project: Option<Name>,
    /// Only those for this very environment.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    environment: Option<Name>,
    /// Only those for this very service.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    service: Option<Name>,
    /// Only those with this key.
    key: Option<String>,
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List settings, newest first
///
/// Items of every scope; secrets are masked. What holds for a place is at `…/resolve`.
#[utoipa::path(get, path = "/api/v1/config", operation_id = "list_settings", tag = "config",
    params(SettingsQuery),
    responses(
        (status = 200, description = "A page.", body = Page<Setting>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_settings(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<SettingsQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    let filter = Filter {
        project: query.project.map(Name::into),
        environment: query.environment.map(Name::into),
        service: query.service.map(Name::into),
        key: query.key,
    };
    Ok(page::answer(&uri, setting::list(&state.cx, &who, &filter, ask).await?))
}

/// Make a setting
///
/// One living item for a key in a scope: another one is a conflict. A `secret` is sealed, and shown
/// as `***` from then on. Keys, scopes and precedence are in `docs/SETTINGS.md`.
#[utoipa::path(post, path = "/api/v1/config", operation_id = "create_setting", tag = "config",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and the same \
            request give the same answer.", min_length = 1, max_length = 255,
            pattern = "^[ -~]+$"),
    ),
    request_body(content = NewSetting),
    responses(
        (status = 201, description = "It holds.", body = Setting,
            headers(
                ("Location" = String, description = "Path of the item."),
                ("ETag" = String, description = "The version, for `If-Match`."),
                ("Idempotency-Replayed" = Option<String>, description = "`true` when this is the answer to an earlier request with the same key."),
            )),
        Always, OfOne, Creating,
    ))]
pub(crate) async fn create_setting(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    headers: HeaderMap,
    Body(request): Body<NewSetting>,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let made = setting::create(&state.cx, &who, request, key).await?;
    let location = [(header::LOCATION, format!("/api/v1/config/{}", made.setting.id))];
    let version = made.setting.version;
    let mut response = (StatusCode::CREATED, location, Json(made.setting)).into_response();
    tag(&mut response, version);
    mark_replayed(&mut response, made.replayed);
    Ok(response)
}

/// Says of which version an answer is.
fn tag(response: &mut Response, version: i32) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

fn tagged_setting(setting: Setting) -> Response {
    let version = setting.version;
    let mut response = Json(setting).into_response();
    tag(&mut response, version);
    response
}

/// One setting
///
/// A secret is masked; `…/reveal` shows it. With `If-None-Match` and its ETag: 304 as long as it is of
/// that version.
#[utoipa::path(get, path = "/api/v1/config/{id}", operation_id = "get_setting", tag = "config",
    params(
        ("id" = SettingId, Path, description = "The item."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag that is known."),
    ),
    responses(
        (status = 200, description = "The item.", body = Setting,
            headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 304, description = "It is as it was."),
        Always, OfOne,
    ))]
pub(crate) async fn get_setting(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SettingId>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let setting = setting::get(&state.cx, &who, id).await?;
    let body = serde_json::to_vec(&setting).map_err(Fault::internal)?;
    Ok(tagged::ready(&headers, &setting.version.to_string(), || body.into()))
}

/// Change a setting
///
/// What is said here holds from now on, as a new version; key, scope and type stay. Without `value`
/// it keeps its value. `If-Match` names the version that the change is made from: without it 428,
/// with another one 412.
#[utoipa::path(put, path = "/api/v1/config/{id}", operation_id = "update_setting", tag = "config",
    params(
        ("id" = SettingId, Path, description = "The item."),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read, or `*`."),
    ),
    request_body(content = ChangeSetting),
    responses(
        (status = 200, description = "It holds.", body = Setting,
            headers(("ETag" = String, description = "The new version."))),
        Always, OfOne, WithBody, Changing,
    ))]
pub(crate) async fn update_setting(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SettingId>,
    _: NoQuery,
    headers: HeaderMap,
    Body(request): Body<ChangeSetting>,
) -> Result<Response, Refused> {
    let from = precondition(&headers)?;
    Ok(tagged_setting(setting::update(&state.cx, &who, id, request, from).await?))
}

/// Delete a setting
///
/// It holds no longer; its history stays, and rolling back brings it back. Plans that were made with
/// it can still be applied. `If-Match` as for a change.
#[utoipa::path(delete, path = "/api/v1/config/{id}", operation_id = "delete_setting",
    tag = "config",
    params(
        ("id" = SettingId, Path, description = "The item."),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read, or `*`."),
    ),
    responses((status = 204, description = "It is deleted."), Always, OfOne, Changing))]
pub(crate) async fn delete_setting(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SettingId>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let from = precondition(&headers)?;
    setting::delete(&state.cx, &who, id, from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Versions of a setting, newest first
///
/// Also of one that was deleted. Secrets are masked.
#[utoipa::path(get, path = "/api/v1/config/{id}/versions", operation_id = "list_setting_versions",
    tag = "config",
    params(("id" = SettingId, Path, description = "The item."), HistoryQuery),
    responses(
        (status = 200, description = "A page.", body = Page<SettingVersion>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always, OfOne,
    ))]
pub(crate) async fn list_setting_versions(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SettingId>,
    Query(query): Query<HistoryQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, setting::versions(&state.cx, &who, id, ask).await?))
}

/// Which versions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffQuery {
    /// The older one; the one before `to` when absent.
    #[param(minimum = 1)]
    from: Option<i32>,
    /// The newer one; the current one when absent.
    #[param(minimum = 1)]
    to: Option<i32>,
}

/// What is different between two versions of a setting
///
/// Place by place. Of a secret's value only that it changed.
#[utoipa::path(get, path = "/api/v1/config/{id}/diff", operation_id = "diff_setting",
    tag = "config",
    params(("id" = SettingId, Path, description = "The item."), DiffQuery),
    responses(
        (status = 200, description = "The differences.", body = SettingDifference),
        Always, OfOne,
    ))]
pub(crate) async fn diff_setting(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SettingId>,
    Query(DiffQuery { from, to }): Query<DiffQuery>,
) -> Result<Json<SettingDifference>, Refused> {
    Ok(Json(setting::diff(&state.cx, &who, id, from, to).await?))
}

/// Go back to an older version of a setting
///
/// It gets that version's value, schema and description, as a new version. One that was deleted is back
/// then. `If-Match` as for a change.
#[utoipa::path(post, path = "/api/v1/config/{id}/rollback", operation_id = "rollback_setting",
    tag = "config",
    params(
        ("id" = SettingId, Path, description = "The item."),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read, or `*`."),
    ),
    request_body(content = RollBack),
    responses(
        (status = 200, description = "It holds.", body = Setting,
            headers(("ETag" = String, description = "The new version."))),
        Always, OfOne, WithBody, Changing,
    ))]
pub(crate) async fn rollback_setting(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SettingId>,
    _: NoQuery,
    headers: HeaderMap,
    Body(request): Body<RollBack>,
) -> Result<Response, Refused> {
    let from = precondition(&headers)?;
    Ok(tagged_setting(setting::roll_back(&state.cx, &who, id, request, from).await?))
}

/// What the audit log says about a setting, newest first
#[utoipa::path(get, path = "/api/v1/config/{id}/audit", operation_id = "list_setting_audit",
    tag = "config",
    params(("id" = SettingId, Path, description = "The item."), HistoryQuery),
    responses(
        (status = 200, description = "A page.", body = Page<SettingAudit>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always, OfOne,
    ))]
pub(crate) async fn list_setting_audit(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SettingId>,
    Query(query): Query<HistoryQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, setting::audit_of(&state.cx, &who, id, ask).await?))
}

/// Show a secret in clear
///
/// That it was shown, to whom and why is on the audit log before it is. Nothing keeps the answer.
#[utoipa::path(post, path = "/api/v1/config/{id}/reveal", operation_id = "reveal_setting",
    tag = "config",
    params(("id" = SettingId, Path, description = "The item.")),
    request_body(content = Reveal),
    responses(
        (status = 200, description = "The secret.", body = Revealed),
        Always, OfOne, WithBody,
    ))]
pub(crate) async fn reveal_setting(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SettingId>,
    _: NoQuery,
    Body(request): Body<Reveal>,
) -> Result<Response, Refused> {
    let revealed = setting::reveal(&state.cx, &who, id, request).await?;
    let mut response = Json(revealed).into_response();
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    Ok(response)
}

/// Give the secrets of a setting the key that seals now
///
/// The data keys of all its versions are wrapped anew; no value changes, and reads go on meanwhile.
#[utoipa::path(post, path = "/api/v1/config/{id}/rotate", operation_id = "rotate_setting",
    tag = "config",
    params(("id" = SettingId, Path, description = "The item.")),
    responses(
        (status = 200, description = "What was done.", body = RotatedSetting),
        Always, OfOne,
    ))]
pub(crate) async fn rotate_setting(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<SettingId>,
    _: NoQuery,
) -> Result<Json<RotatedSetting>, Refused> {
    Ok(Json(setting::rotate(&state.cx, &who, id).await?))
}

/// For whom.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PlaceQuery {
    /// The project.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    project: Option<Name>,
    /// The environment.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    environment: Option<Name>,
    /// The service of the project.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    service: Option<Name>,
}

/// What holds for a place
///
/// For each key the item of the narrowest scope that holds there, with its scope and version, and the
/// wider ones that it outweighs. What is left out of the place is in no item's scope. Secrets are
/// masked.
#[utoipa::path(get, path = "/api/v1/config/resolve", operation_id = "resolve_settings",
    tag = "config",
    params(
        PlaceQuery,
        ("If-None-Match" = Option<String>, Header, description = "The ETag that is known."),
    ),
    responses(
        (status = 200, description = "What holds.", body = EffectiveSettings,
            headers(("ETag" = String, description = "Changes with what holds."))),
        (status = 304, description = "It is as it was."),
        Always, OfOne,
    ))]
pub(crate) async fn resolve_settings(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<PlaceQuery>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let place = SettingScope {
        project: query.project.map(Name::into),
        environment: query.environment.map(Name::into),
        service: query.service.map(Name::into),
    };
    let effective = setting::resolve(&state.cx, &who, place).await?;
    Ok(tagged::ready(&headers, &effective.tag, || effective.body.clone()))
}
