//! `/api/v1/exemptions`: rules that do not count for a resource, for a reason, until a day.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::exemption::{Exemption, ExemptionState, NewExemption};
use slipway_domain::id::ExemptionId;
use slipway_domain::page::{Page, PageRequest};
use slipway_services::exemption;
use utoipa::{IntoParams, ToSchema};

use super::deployment::{Name, idempotency_key, mark_replayed};
use super::page;
use crate::extract::{Caller, Json as Body, MaybeJson, NoQuery, Path, Query};
use crate::openapi::{Always, Creating, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// Which exemptions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExemptionQuery {
    /// Only those for this very project.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    project: Option<Name>,
    /// Only those for this very environment.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    environment: Option<Name>,
    /// Only from this rule, by the id that the exemption names.
    rule: Option<String>,
    /// Only those that this owner answers for.
    owner: Option<String>,
    /// Only those of which this has become.
    #[param(inline)]
    state: Option<ExemptionState>,
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List exemptions, newest first
#[utoipa::path(get, path = "/api/v1/exemptions", operation_id = "list_exemptions",
    tag = "policies",
    params(ExemptionQuery),
    responses(
        (status = 200, description = "A page.", body = Page<Exemption>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_exemptions(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<ExemptionQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    let filter = exemption::Filter {
        project: query.project.map(Name::into),
        environment: query.environment.map(Name::into),
        rule: query.rule,
        owner: query.owner,
        state: query.state,
    };
    Ok(page::answer(&uri, exemption::list(&state.cx, &who, &filter, ask).await?))
}

/// Grant an exemption
///
/// The rule does not count for resources whose address fits, until it expires: at most a year. Without
/// a project or an environment it holds in all of them, which needs `policies:write` too. A policy that
/// could not be evaluated cannot be exempted from.
#[utoipa::path(post, path = "/api/v1/exemptions", operation_id = "create_exemption",
    tag = "policies",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and the same \
            request give the same answer.", min_length = 1, max_length = 255,
            pattern = "^[ -~]+$"),
    ),
    request_body(content = NewExemption),
    responses(
        (status = 201, description = "It holds.", body = Exemption,
            headers(
                ("Location" = String, description = "Path of the exemption."),
                ("Idempotency-Replayed" = Option<String>, description = "`true` when this is the answer to an earlier request with the same key."),
            )),
        Always, OfOne, Creating,
    ))]
pub(crate) async fn create_exemption(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    headers: HeaderMap,
    Body(request): Body<NewExemption>,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let granted = exemption::create(&state.cx, &who, request, key).await?;
    let location = [(header::LOCATION, format!("/api/v1/exemptions/{}", granted.exemption.id))];
    let mut response = (StatusCode::CREATED, location, Json(granted.exemption)).into_response();
    mark_replayed(&mut response, granted.replayed);
    Ok(response)
}

/// One exemption
#[utoipa::path(get, path = "/api/v1/exemptions/{id}", operation_id = "get_exemption",
    tag = "policies",
    params(("id" = ExemptionId, Path, description = "The exemption.")),
    responses((status = 200, description = "The exemption.", body = Exemption), Always, OfOne))]
pub(crate) async fn get_exemption(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<ExemptionId>,
    _: NoQuery,
) -> Result<Json<Exemption>, Refused> {
    Ok(Json(exemption::get(&state.cx, &who, id).await?))
}

/// Why it is taken back.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeExemption {
    /// What to put on record with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    reason: Option<String>,
}

/// Take an exemption back
///
/// From now on it covers nothing. Taking it back again changes nothing.
#[utoipa::path(post, path = "/api/v1/exemptions/{id}/revoke", operation_id = "revoke_exemption",
    tag = "policies",
    params(("id" = ExemptionId, Path, description = "The exemption.")),
    request_body(content = RevokeExemption),
    responses(
        (status = 200, description = "It is revoked.", body = Exemption),
        Always, OfOne, WithBody,
    ))]
pub(crate) async fn revoke_exemption(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<ExemptionId>,
    _: NoQuery,
    MaybeJson(RevokeExemption { reason }): MaybeJson<RevokeExemption>,
) -> Result<Json<Exemption>, Refused> {
    Ok(Json(exemption::revoke(&state.cx, &who, id, reason).await?))
}
