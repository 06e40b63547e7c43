//! `/api/v1/deployments/{id}/approve`, `…/reject` and `…/approvals`: decisions about a plan.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use slipway_domain::approval::Approvals;
use slipway_domain::deployment::Deployment;
use slipway_domain::id::{ApprovalId, DeploymentId};
use slipway_services::approval;
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Caller, Json as Body, NoQuery, Path, PathPair, Query};
use crate::openapi::{Always, Deciding, Moving, OfOne};
use crate::problem::Refused;
use crate::state::ApiState;

/// A yes or no to one plan.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// The digest of the plan that was looked at. Another than the current plan's is refused.
    #[schema(example = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    plan_digest: String,
    /// What to add, for the record.
    #[schema(max_length = 2000)]
    comment: Option<String>,
}

/// Approve the plan
///
/// When it has all the approvals that it needs, it is `approved` and, with `auto_apply` (the
/// default), its apply is enqueued. Until then it goes on waiting; `approvals` in the answer says
/// who is missing. The same yes said twice is one. 403 `forbidden` says who may approve when the
/// caller may not. When the stack's state moved since the plan was made, it is 412 `plan_stale` and
/// a new plan is being made.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/approve",
    operation_id = "approve_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    request_body = Decision,
    responses((status = 200, description = "It is on record.", body = Deployment),
        Always, OfOne, Moving, Deciding))]
pub(crate) async fn approve_deployment(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
    Body(decision): Body<Decision>,
) -> Result<Json<Deployment>, Refused> {
    let Decision { plan_digest, comment } = decision;
    Ok(Json(approval::approve(&state.cx, &who, id, &plan_digest, comment).await?))
}

/// Reject the plan
///
/// The deployment ends as `cancelled`.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/reject",
    operation_id = "reject_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    request_body = Decision,
    responses((status = 200, description = "Rejected.", body = Deployment),
        Always, OfOne, Moving, Deciding))]
pub(crate) async fn reject_deployment(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
    Body(decision): Body<Decision>,
) -> Result<Json<Deployment>, Refused> {
    let Decision { plan_digest, comment } = decision;
    Ok(Json(approval::reject(&state.cx, &who, id, &plan_digest, comment).await?))
}

/// The approvals
///
/// What the current plan needs, how far it is from that, and every decision about any plan of the
/// deployment with the digest that it named, oldest first.
#[utoipa::path(get, path = "/api/v1/deployments/{id}/approvals",
    operation_id = "list_deployment_approvals", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses((status = 200, description = "All of them.", body = Approvals), Always, OfOne))]
pub(crate) async fn list_deployment_approvals(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
) -> Result<Json<Approvals>, Refused> {
    Ok(Json(approval::list(&state.cx, &who, id).await?))
}

/// Why it is taken back.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RevokeQuery {
    /// For the record.
    #[param(max_length = 2000)]
    reason: Option<String>,
}

/// Take an approval back
///
/// One's own, or as an approver or admin anybody's, as long as the apply has not begun; then it is
/// 409, and the deployment is stopped with `…/cancel`. When the plan has then no longer all the
/// approvals that it needs, it is `awaiting_approval` again. It stays on record.
#[utoipa::path(delete, path = "/api/v1/deployments/{id}/approvals/{approval_id}",
    operation_id = "revoke_deployment_approval", tag = "deployments",
    params(
        ("id" = DeploymentId, Path, description = "The deployment."),
        ("approval_id" = ApprovalId, Path, description = "The approval."),
        RevokeQuery,
    ),
    responses((status = 200, description = "It does not count any more.", body = Deployment),
        Always, OfOne, Moving))]
pub(crate) async fn revoke_deployment_approval(
    State(state): State<ApiState>,
    Caller(who): Caller,
    PathPair(id, approval): PathPair<DeploymentId, ApprovalId>,
    Query(RevokeQuery { reason }): Query<RevokeQuery>,
) -> Result<Json<Deployment>, Refused> {
    Ok(Json(approval::revoke(&state.cx, &who, id, approval, reason).await?))
}
