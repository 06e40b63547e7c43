//! `/api/v1/jobs`: for operators.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::job::{JobInfo, JobKind, JobState, Queue};
use slipway_domain::page::{Page, PageRequest};
use slipway_services::job::{self, Bulk, BulkDone};
use utoipa::IntoParams;

use super::deployment::Name;
use super::page;
use crate::extract::{Caller, Json as Body, NoQuery, Path, Query};
use crate::openapi::{Always, Moving, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// Only of this queue.
    #[param(inline)]
    queue: Option<Queue>,
    /// Only of this kind.
    #[param(inline)]
    kind: Option<JobKind>,
    /// Only in this state.
    #[param(inline)]
    state: Option<JobState>,
    /// Only for this deployment.
    deployment_id: Option<DeploymentId>,
    /// Only for stacks of this project.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    project: Option<Name>,
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List jobs, newest first
#[utoipa::path(get, path = "/api/v1/jobs", operation_id = "list_jobs", tag = "queues",
    params(JobQuery),
    responses(
        (status = 200, description = "A page.", body = Page<JobInfo>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_jobs(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<JobQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    let filter = job::Filter {
        queue: query.queue.map(|queue| queue.to_string()),
        kind: query.kind.map(|kind| kind.to_string()),
        state: query.state,
        deployment_id: query.deployment_id,
        project: query.project.map(Name::into),
    };
    Ok(page::answer(&uri, job::list(&state.cx, &who, &filter, ask).await?))
}

/// One job
#[utoipa::path(get, path = "/api/v1/jobs/{id}", operation_id = "get_job", tag = "queues",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = JobInfo), Always, OfOne))]
pub(crate) async fn get_job(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<JobId>,
    _: NoQuery,
) -> Result<Json<JobInfo>, Refused> {
    Ok(Json(job::get(&state.cx, &who, id).await?))
}

/// Requeue a dead job
///
/// It gets all its attempts again, and its deployment begins anew: with a new plan, which needs a
/// new approval. The answer is the job that is queued now. 409 `job_not_dead` for any other; a lost
/// apply is never repeated.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/requeue", operation_id = "requeue_job",
    tag = "queues",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, description = "The job that is queued now.", body = JobInfo),
        Always, OfOne, Moving))]
pub(crate) async fn requeue_job(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<JobId>,
    _: NoQuery,
) -> Result<Json<JobInfo>, Refused> {
    Ok(Json(job::requeue(&state.cx, &who, id).await?))
}

/// Requeue many dead jobs
///
/// Up to 200 that fit the filter; `{}` is all dead ones. `remaining` tells that there are more.
#[utoipa::path(post, path = "/api/v1/jobs/requeue", operation_id = "requeue_jobs",
    tag = "queues",
    request_body(content = Bulk),
    responses((status = 200, description = "What was done.", body = BulkDone),
        Always, WithBody))]
pub(crate) async fn requeue_jobs(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    Body(bulk): Body<Bulk>,
) -> Result<Json<BulkDone>, Refused> {
    Ok(Json(job::requeue_all(&state.cx, &who, &bulk).await?))
}

/// Remove the records of ended jobs
///
/// Up to 200 that fit the filter; dead ones unless `state` says otherwise. Their deployments stay
/// as they are.
#[utoipa::path(post, path = "/api/v1/jobs/purge", operation_id = "purge_jobs", tag = "queues",
    request_body(content = Bulk),
    responses((status = 200, description = "What was done.", body = BulkDone),
        Always, WithBody))]
pub(crate) async fn purge_jobs(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    Body(bulk): Body<Bulk>,
) -> Result<Json<BulkDone>, Refused> {
    Ok(Json(job::purge(&state.cx, &who, &bulk).await?))
}
