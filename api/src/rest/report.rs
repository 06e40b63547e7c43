//! `/api/v1/deployments/{id}/report`: what the gates found in the current plan, and judging it anew.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::deployment::Deployment;
use slipway_domain::id::DeploymentId;
use slipway_domain::report::Report;
use slipway_services::gate;
use utoipa::{IntoParams, ToSchema};

use super::tagged;
use crate::extract::{Caller, MaybeJson, NoQuery, Path, Query};
use crate::openapi::{Always, Moving, OfOne};
use crate::problem::Refused;
use crate::state::ApiState;

/// The form of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReportFormat {
    /// All of it.
    #[default]
    Json,
    /// One page for a person.
    Markdown,
}

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportQuery {
    /// `json` when absent.
    #[param(inline)]
    format: Option<ReportFormat>,
}

/// The report
///
/// What the current plan changes, what the gates said and found, why it is blocked and what to do.
/// `format=markdown` is one page for a person. 409 `not_ready` when nothing was judged (yet).
#[utoipa::path(get, path = "/api/v1/deployments/{id}/report",
    operation_id = "get_deployment_report", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment."), ReportQuery),
    responses(
        (status = 200, description = "The report.",
            content((Report = "application/json"), (String = "text/markdown")),
            headers(("ETag" = Option<String>, description = "For `If-None-Match`."))),
        (status = 304, description = "The caller has it already."),
        Always, OfOne, Moving,
    ))]
pub(crate) async fn get_deployment_report(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    Query(query): Query<ReportQuery>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let report = gate::report(&state.cx, &who, id).await?;
    match query.format.unwrap_or_default() {
        ReportFormat::Json => Ok(tagged::answer(&headers, &report)?),
        ReportFormat::Markdown => {
            let kind = [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")];
            Ok((kind, report.to_page()).into_response())
        }
    }
}

/// Why it is to be judged anew.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reconsider {
    /// For the record.
    #[schema(max_length = 2000)]
    #[serde(default)]
    reason: Option<String>,
}

/// Have a plan made and judged anew
///
/// For a deployment that is blocked, or waits, when something outside of it is another now: an
/// exemption, a setting of the gates, a policy. Its new plan goes before the gates again. The body
/// may be left out.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/reconsider",
    operation_id = "reconsider_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    request_body(content = Reconsider),
    responses(
        (status = 202, description = "It is planned anew.", body = Deployment,
            headers(("Location" = String, description = "Path of the deployment."))),
        Always, OfOne, Moving, crate::openapi::WithBody,
    ))]
pub(crate) async fn reconsider_deployment(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
    MaybeJson(Reconsider { reason }): MaybeJson<Reconsider>,
) -> Result<Response, Refused> {
    let deployment = gate::reconsider(&state.cx, &who, id, reason).await?;
    let location = [(header::LOCATION, format!("/api/v1/deployments/{id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(deployment)).into_response())
}
