//! `/api/v1/deployments/{id}/tests`: having a configuration tested, and the reports.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use slipway_domain::id::DeploymentId;
use slipway_domain::test_report::{TestRun, TestSettings};
use slipway_services::test::{self, TestRuns};

use crate::extract::{Caller, MaybeJson, NoQuery, Path};
use crate::openapi::{Always, Moving, OfOne};
use crate::problem::Refused;
use crate::state::ApiState;

/// Get a deployment's tests
///
/// Newest first, each with what was asked for, where it is and, once it has ended, its report. What
/// was `skipped` was not run and is no pass; its `message` says why.
#[utoipa::path(get, path = "/api/v1/deployments/{id}/tests",
    operation_id = "get_deployment_tests", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses((status = 200, description = "All tests that are kept, newest first.", body = TestRuns),
        Always, OfOne))]
pub(crate) async fn get_deployment_tests(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
) -> Result<Json<TestRuns>, Refused> {
    Ok(Json(test::list(&state.cx, &who, id).await?))
}

/// Test a deployment's configuration
///
/// `validate`, the configuration's own test files, and `checks`: test files that are given here. All of
/// it runs as a job on the queue `test`, with the deployment's source and variables and without its
/// state; the deployment goes on meanwhile as it would. A run that applies (which is what a `run` does
/// that does not say `command = plan`) makes real things: its file is left out unless every provider in
/// it is mocked and no provisioner would run, or `allow_apply` allows it (scope `deployments:apply`).
/// Asking for what is under way already gives just that. The body may be left out.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/tests",
    operation_id = "test_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    request_body(content = TestSettings),
    responses(
        (status = 202, description = "The tests are queued, or under way already.", body = TestRun,
            headers(("Location" = String, description = "Path of the tests."))),
        Always, OfOne, Moving, crate::openapi::WithBody,
    ))]
pub(crate) async fn test_deployment(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
    MaybeJson(settings): MaybeJson<TestSettings>,
) -> Result<Response, Refused> {
    let run = test::request_tests(&state.cx, &who, id, settings).await?;
    let location = [(header::LOCATION, format!("/api/v1/deployments/{id}/tests"))];
    Ok((StatusCode::ACCEPTED, location, Json(run)).into_response())
}
