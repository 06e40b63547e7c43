//! `/api/v1/deployments/{id}/recovery`: what became of a lost apply, and what a person says about it.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::deployment::Deployment;
use slipway_domain::id::DeploymentId;
use slipway_domain::recovery::{MAX_RESOLUTIONS, Resolution};
use slipway_services::recovery::{self, Recoveries};
use utoipa::ToSchema;

use crate::extract::{Caller, Json as Body, NoQuery, Path};
use crate::openapi::{Always, Moving, OfOne};
use crate::problem::Refused;
use crate::state::ApiState;

/// What became of a lost apply
///
/// An apply whose worker is gone is never repeated. What it did is found out: `done` is recorded in
/// the state, `lost` was made and is not recorded, `in_doubt` was begun and nobody knows how it
/// ended. The list is empty for a deployment whose apply was never lost. `choices` says what a person
/// can do now.
#[utoipa::path(get, path = "/api/v1/deployments/{id}/recovery",
    operation_id = "get_deployment_recovery", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses((status = 200, description = "All recoveries, newest first.", body = Recoveries),
        Always, OfOne))]
pub(crate) async fn get_deployment_recovery(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
) -> Result<Json<Recoveries>, Refused> {
    Ok(Json(recovery::list(&state.cx, &who, id).await?))
}

/// What a person says about resources that are lost or in doubt.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resolve {
    /// One for each resource; what was said before holds for the others. Empty: just look again.
    #[schema(max_items = 10_000)]
    #[serde(default)]
    resolutions: Vec<Resolution>,
}

const _: () = assert!(MAX_RESOLUTIONS == 10_000, "the schema says so");

/// Say what became of resources, and have the recovery done again
///
/// `absent`: it is not there, and is made (changed, removed) anew. `exists` with its `id`: it is taken
/// into the state. The rest goes on under the approval that there is where it is proved to be inside
/// what was approved; otherwise a new plan waits for an approval. Follow the deployment's events.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/recovery",
    operation_id = "resolve_deployment_recovery", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    request_body(content = Resolve),
    responses(
        (status = 202, description = "It is found out again.", body = Deployment,
            headers(("Location" = String, description = "Path of the deployment."))),
        Always, OfOne, Moving, crate::openapi::WithBody,
    ))]
pub(crate) async fn resolve_deployment_recovery(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
    Body(Resolve { resolutions }): Body<Resolve>,
) -> Result<Response, Refused> {
    let deployment = recovery::resolve(&state.cx, &who, id, resolutions).await?;
    let location = [(header::LOCATION, format!("/api/v1/deployments/{id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(deployment)).into_response())
}
