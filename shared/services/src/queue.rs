//! Queues, for metrics and operators.

use slipway_domain::fault::Fault;
pub use slipway_store::job::QueueTotals;

use crate::Ctx;

/// Totals of every queue that has jobs.
pub async fn totals(cx: &Ctx) -> Result<Vec<QueueTotals>, Fault> {
    Ok(cx.store.read().await?.queue_totals().await?)
}
