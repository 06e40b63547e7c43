//! How this process and what it needs are: for people, for probes, for Prometheus.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::job::Queue;
use slipway_services::health::{self, Health, Status};
use slipway_services::queue::{self, QueueTotals};
use slipway_services::{audit, drift};
use slipway_telemetry::metrics::Metrics;
use utoipa::ToSchema;

use crate::extract::NoQuery;
use crate::openapi::Operating;
use crate::problem::Refused;
use crate::state::ApiState;

/// The routes of this file, for a process that has no others.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/health", get(get_health))
        .route("/metrics", get(get_metrics))
}

/// A short yes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    /// Always `ok`; otherwise there is a problem instead.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process lives
///
/// Looks at nothing else. A supervisor restarts a process that does not answer.
#[utoipa::path(get, path = "/livez", operation_id = "livez", tag = "operations",
    responses((status = 200, description = "It lives.", body = Alive), Operating))]
pub(crate) async fn livez(_: NoQuery) -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Whether requests may be sent here
///
/// 503 before everything is wired, while the process drains, and when the database is down.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "operations",
    responses((status = 200, description = "It is ready.", body = Alive), Operating))]
pub(crate) async fn readyz(
    State(state): State<ApiState>,
    _: NoQuery,
) -> Result<Json<Alive>, Refused> {
    let refused = |why: &str| Refused(Fault::new(Code::Unavailable, why));
    if state.shutdown.is_cancelled() {
        return Err(refused("The process is shutting down."));
    }
    if !state.is_ready() {
        return Err(refused("The process is starting."));
    }
    match health::check(&state.cx).await.status {
        Status::Down => Err(refused("The database is down.")),
        Status::Ok | Status::Degraded => Ok(Json(Alive { status: "ok" })),
    }
}

/// How every dependency is
#[utoipa::path(get, path = "/health", operation_id = "get_health", tag = "operations",
    responses(
        (status = 200, description = "All is well, or works slower (`degraded`).", body = Health),
        Operating,
        (status = 503, description = "Nothing can be accepted.", body = Health),
    ))]
pub(crate) async fn get_health(State(state): State<ApiState>, _: NoQuery) -> Response {
    let health = health::check(&state.cx).await;
    let status = match health.status {
        Status::Down => StatusCode::SERVICE_UNAVAILABLE,
        Status::Ok | Status::Degraded => StatusCode::OK,
    };
    (status, Json(health)).into_response()
}

/// Counters for Prometheus
///
/// Text exposition format. The queues are counted when this is read.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "operations",
    responses((status = 200, description = "Every metric of this process.",
        content_type = "text/plain", body = String), Operating))]
pub(crate) async fn get_metrics(State(state): State<ApiState>, _: NoQuery) -> Response {
    match queue::totals(&state.cx).await {
        Ok(totals) => count_queues(&state.metrics, &totals),
        // The other figures are worth the more when the database is away.
        Err(fault) => tracing::warn!(%fault, cause = fault.causes(), "queues were not counted"),
    }
    match drift::drifted(&state.cx).await {
        Ok(stacks) => state.metrics.set_drifted_stacks(stacks),
        Err(fault) => tracing::warn!(%fault, cause = fault.causes(), "drift was not counted"),
    }
    match audit::unsealed_for(&state.cx).await {
        Ok(waited) => state.metrics.set_audit_unsealed(waited.to_std().unwrap_or_default()),
        Err(fault) => tracing::warn!(%fault, cause = fault.causes(), "the audit log was not asked"),
    }
    state.metrics.set_quarantined(state.cx.transport.quarantined());
    let (kind, text) = state.metrics.render();
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn count_queues(metrics: &Metrics, totals: &[QueueTotals]) {
    for queue in Queue::ALL {
        // A queue without jobs has no totals, and zero is what they are.
        let of = totals.iter().find(|totals| totals.queue == queue.as_str());
        let count = |of: Option<i64>| of.unwrap_or(0);
        let depths = [
            ("waiting", count(of.map(|t| t.waiting))),
            ("running", count(of.map(|t| t.running))),
            ("scheduled", count(of.map(|t| t.scheduled))),
            ("dead", count(of.map(|t| t.dead))),
        ];
        for (state, jobs) in depths {
            metrics.set_queue_depth(queue.as_str(), state, jobs);
        }
        let waited_ms = count(of.map(|t| t.oldest_wait_ms));
        let waited = Duration::from_millis(u64::try_from(waited_ms).unwrap_or(0));
        metrics.set_queue_oldest_wait(queue.as_str(), waited);
    }
}
