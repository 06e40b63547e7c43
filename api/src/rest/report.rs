//! `/api/v1/deployments/{id}/report`: what the gates found in the current plan, and judging it anew.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::deployment::Deployment;
use slipway_domain::id::DeploymentId;
use slipway_domain::report::Report;
use slipway_services::gate;
use utoipa::{IntoParams, ToSchema};

use super::tagged;
use crate::docs::PAGE;
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

/// The report as a page
///
/// One page of HTML that a person reads in a minute: what changes, what it costs, what is wrong, who
/// must say yes, why it is blocked and what to do. It needs nothing else: no scripts, no other files.
/// 409 `not_ready` when nothing was judged (yet).
#[utoipa::path(get, path = "/api/v1/deployments/{id}/report.html",
    operation_id = "get_deployment_report_page", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses(
        (status = 200, description = "The page.", content_type = "text/html", body = String),
        Always, OfOne, Moving,
    ))]
pub(crate) async fn get_deployment_report_page(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let page = gate::report(&state.cx, &who, id).await?.to_html()?;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    Ok((headers, Html(page)).into_response())
}

/// What was found, as SARIF
///
/// One SARIF 2.1.0 log of everything that policies and scanners found in the current plan, with a run
/// for each tool: for code hosts and editors. What is known only after apply is `open`, and what an
/// exemption covers is suppressed. 409 `not_ready` when nothing was judged (yet).
#[utoipa::path(get, path = "/api/v1/deployments/{id}/report.sarif",
    operation_id = "get_deployment_report_sarif", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses(
        (status = 200, description = "The log.", content_type = "application/sarif+json",
            body = serde_json::Value),
        Always, OfOne, Moving,
    ))]
pub(crate) async fn get_deployment_report_sarif(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let log = gate::report(&state.cx, &who, id).await?.to_sarif();
    let kind = [(header::CONTENT_TYPE, "application/sarif+json")];
    Ok((kind, log.to_string()).into_response())
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
