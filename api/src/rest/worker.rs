//! `/api/v1/workers`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use slipway_domain::worker::Worker;
use slipway_services::worker;
use utoipa::ToSchema;

use crate::extract::{Caller, NoQuery};
use crate::openapi::Always;
use crate::problem::Refused;
use crate::state::ApiState;

/// Every worker process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Workers {
    /// Oldest first.
    items: Vec<Worker>,
}

/// List the worker processes
///
/// Those that are alive, and for an hour those that were not heard of any more (`silent_s`).
#[utoipa::path(get, path = "/api/v1/workers", operation_id = "list_workers", tag = "queues",
    responses((status = 200, description = "All of them.", body = Workers), Always))]
pub(crate) async fn list_workers(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<Workers>, Refused> {
    Ok(Json(Workers { items: worker::list(&state.cx, &who).await? }))
}
