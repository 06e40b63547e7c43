//! API keys.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use slipway_domain::auth::api_key::{ApiKey, NewApiKey};
use slipway_domain::id::ApiKeyId;
use slipway_domain::page::{Page, PageRequest};
use slipway_services::auth::api_key;
use utoipa::ToSchema;

use super::session::PageQuery;
use crate::extract::{Caller, Json as Body, NoQuery, Path, Query};
use crate::openapi::{Always, Creating, OfOne};
use crate::problem::Refused;
use crate::rest::page;
use crate::state::ApiState;

/// A key that was made. It is shown here, and never again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeKey {
    /// What is known of it.
    #[serde(flatten)]
    key: ApiKey,
    /// The key itself: what to show as `Authorization: Bearer …`.
    #[schema(example = "slp_Zk81Lq0c_…")]
    token: String,
}

/// List one's API keys, newest first
#[utoipa::path(get, path = "/api/v1/auth/keys", operation_id = "list_api_keys", tag = "auth",
    params(PageQuery),
    responses(
        (status = 200, description = "A page.", body = Page<ApiKey>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always, OfOne,
    ))]
pub(crate) async fn list_api_keys(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, api_key::list(&state.cx, &who, None, ask).await?))
}

/// Make an API key
///
/// The key is in this answer only, and kept nowhere: so there is no `Idempotency-Key` here. Of one's own
/// account, by whoever has signed in; or of a service account, with `admin:accounts` and every scope
/// that the key gets.
#[utoipa::path(post, path = "/api/v1/auth/keys", operation_id = "create_api_key", tag = "auth",
    request_body(content = NewApiKey),
    responses((status = 201, description = "The key.", body = MadeKey), Always, OfOne, Creating))]
pub(crate) async fn create_api_key(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    Body(new): Body<NewApiKey>,
) -> Result<(StatusCode, Json<MadeKey>), Refused> {
    let made = api_key::create(&state.cx, &who, new).await?;
    let made = MadeKey { key: made.key, token: made.text.reveal().clone() };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Take an API key back
///
/// It is good for nothing from now on. Taking it back again changes nothing.
#[utoipa::path(delete, path = "/api/v1/auth/keys/{id}", operation_id = "revoke_api_key",
    tag = "auth",
    params(("id" = ApiKeyId, Path, description = "The key.")),
    responses((status = 204, description = "It is revoked."), Always, OfOne))]
pub(crate) async fn revoke_api_key(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<ApiKeyId>,
    _: NoQuery,
) -> Result<StatusCode, Refused> {
    api_key::revoke(&state.cx, &who, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
