//! `/api/v1/queues`: for operators and autoscalers.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use slipway_domain::job::Queue;
use slipway_domain::queue::{QueueStats, QueueStatus};
use slipway_services::queue;
use utoipa::ToSchema;

use crate::extract::{Caller, Json as Body, MaybeJson, NoQuery, Path};
use crate::openapi::{Always, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// Every queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queues {
    /// By name.
    items: Vec<QueueStatus>,
}

/// List the queues with what is in them
#[utoipa::path(get, path = "/api/v1/queues", operation_id = "list_queues", tag = "queues",
    responses((status = 200, description = "All of them.", body = Queues), Always))]
pub(crate) async fn list_queues(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<Queues>, Refused> {
    Ok(Json(Queues { items: queue::list(&state.cx, &who).await? }))
}

/// How much there is in every queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AllStats {
    /// By the queue's name.
    #[schema(value_type = BTreeMap<String, QueueStats>)]
    queues: BTreeMap<Queue, QueueStats>,
}

/// How much there is in every queue, for autoscalers
///
/// Made for KEDA's `metrics-api` scaler: `valueLocation: queues.plan.desired`. Every process of an
/// installation answers the same.
#[utoipa::path(get, path = "/api/v1/queues/stats", operation_id = "get_queue_stats",
    tag = "queues",
    responses((status = 200, description = "By the queue's name.", body = AllStats), Always))]
pub(crate) async fn get_queue_stats(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<AllStats>, Refused> {
    Ok(Json(AllStats { queues: queue::stats(&state.cx, &who).await? }))
}

/// Why to stop.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseQueue {
    /// For the next operator, and for the record.
    #[schema(max_length = 2000)]
    #[serde(default)]
    reason: Option<String>,
}

/// Stop a queue
///
/// Its running jobs go on; nothing new is started until it is resumed. The body may be left out.
#[utoipa::path(post, path = "/api/v1/queues/{name}/pause", operation_id = "pause_queue",
    tag = "queues",
    params(("name" = Queue, Path, description = "The queue.")),
    request_body(content = PauseQueue),
    responses((status = 200, description = "The queue, stopped.", body = QueueStatus),
        Always, OfOne, WithBody))]
pub(crate) async fn pause_queue(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<Queue>,
    _: NoQuery,
    MaybeJson(PauseQueue { reason }): MaybeJson<PauseQueue>,
) -> Result<Json<QueueStatus>, Refused> {
    Ok(Json(queue::pause(&state.cx, &who, name, reason).await?))
}

/// Let a stopped queue go on
#[utoipa::path(post, path = "/api/v1/queues/{name}/resume", operation_id = "resume_queue",
    tag = "queues",
    params(("name" = Queue, Path, description = "The queue.")),
    responses((status = 200, description = "The queue.", body = QueueStatus), Always, OfOne))]
pub(crate) async fn resume_queue(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<Queue>,
    _: NoQuery,
) -> Result<Json<QueueStatus>, Refused> {
    Ok(Json(queue::resume(&state.cx, &who, name).await?))
}

/// What is set for a queue.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetQueue {
    /// Jobs of it that may run at a time over the whole installation; `null` for no limit.
    // With a reader of its own a field is required, even where it may be null.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(minimum = 1, maximum = 100_000, required = true)]
    cap: Option<u32>,
}

/// Limit a queue
///
/// How many of its jobs run at a time over the whole installation, whatever workers there are.
/// What runs already is not stopped.
#[utoipa::path(put, path = "/api/v1/queues/{name}", operation_id = "set_queue", tag = "queues",
    params(("name" = Queue, Path, description = "The queue.")),
    request_body(content = SetQueue),
    responses((status = 200, description = "The queue.", body = QueueStatus),
        Always, OfOne, WithBody))]
pub(crate) async fn set_queue(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<Queue>,
    _: NoQuery,
    Body(SetQueue { cap }): Body<SetQueue>,
) -> Result<Json<QueueStatus>, Refused> {
    Ok(Json(queue::set_cap(&state.cx, &who, name, cap).await?))
}
