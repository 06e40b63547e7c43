//! Looking at a deployment and at what it waits for. Pollers do that all the time: those who look at
//! the same time share a statement, and the order of a long queue is read once a second for all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use slipway_domain::approval::Frozen;
use slipway_domain::deployment::Waiting;
use slipway_domain::fault::Fault;
use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::job::{JobKind, Queue};
use slipway_domain::state::DeploymentState;
use slipway_store::deployment::Record;
use slipway_store::job::MAX_PLACE;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::gather::Together;
use crate::{Ctx, approval};

/// Reads deployments together.
pub(crate) struct Looks;

#[async_trait]
impl Together for Looks {
    type House = Ctx;
    type Item = DeploymentId;
    type Done = Option<Arc<Look>>;
    // As many as the machine may have at the database without one waiting for the other.
    const ROUNDS: usize = 3;
    const MOST: usize = 100;

    async fn all(cx: Ctx, ids: Vec<DeploymentId>) -> Vec<Result<Self::Done, Fault>> {
        match read(&cx, &ids).await {
            Ok(found) => ids.iter().map(|id| Ok(found.get(id).cloned())).collect(),
            Err(fault) => ids.iter().map(|_| Err(fault.echo())).collect(),
        }
    }
}

/// What is seen of a deployment.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) record: Record,
    /// Its job that waits in the queue of plans.
    queued: Option<JobId>,
}

async fn read(cx: &Ctx, ids: &[DeploymentId]) -> Result<HashMap<DeploymentId, Arc<Look>>, Fault> {
    let mut once = ids.to_vec();
    once.sort_unstable();
    once.dedup();
    let mut tx = cx.store.read().await?;
    let records = tx.deployments_by_id(&once).await?;
    let submitted: Vec<_> = records
        .iter()
        .filter(|record| record.deployment.state == DeploymentState::Submitted)
        .map(|record| record.deployment.id)
        .collect();
    let queued: HashMap<_, _> = if submitted.is_empty() {
        HashMap::new()
    } else {
        tx.queued_jobs(&submitted).await?.into_iter().collect()
    };
    let look = |record: Record| {
        let id = record.deployment.id;
        (id, Arc::new(Look { record, queued: queued.get(&id).copied() }))
    };
    Ok(records.into_iter().map(look).collect())
}

/// What the deployment waits for.
pub(crate) async fn waiting(cx: &Ctx, look: &Look) -> Result<Option<Waiting>, Fault> {
    let d = &look.record.deployment;
    Ok(match d.state {
        DeploymentState::Submitted => match look.queued {
            Some(job_id) => {
                let queue = JobKind::Plan.queue();
                let position = cx.gathered.line.place(cx, queue, job_id).await?;
                Some(Waiting::Worker { queue, position, job_id })
            }
            None => None,
        },
        DeploymentState::Approved => {
            if let Some(Frozen { until, reason }) = approval::frozen_now(cx, d).await? {
                return Ok(Some(Waiting::Freeze { until, reason }));
            }
            let place = cx.store.read().await?.queue_place(d.id).await?;
            match (place, &d.plan) {
                (Some(place), _) => Some(match place.held_by {
                    Some(held_by) => Waiting::Stack { held_by, position: place.key_position },
                    None => Waiting::Worker {
                        queue: place.queue,
                        position: place.position,
                        job_id: place.job_id,
                    },
                }),
                (None, Some(plan)) if !d.options.auto_apply => {
                    Some(Waiting::Apply { plan_id: plan.id })
                }
                _ => None,
            }
        }
        DeploymentState::AwaitingApproval => {
            d.plan.as_ref().map(|plan| Waiting::Approval { plan_digest: plan.digest.clone() })
        }
        DeploymentState::NeedsAttention => {
            Some(Waiting::Attention { detail: d.reason.clone().unwrap_or_default() })
        }
        _ => None,
    })
}

/// The order of a queue is read anew after this long when it is long; a short one every time.
const OLD: Duration = Duration::from_secs(1);
/// What a long queue is. Reading the order of a shorter one costs next to nothing.
const LONG: usize = 100;

/// The order of queues, as it was a moment ago.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(Arc<Mutex<HashMap<Queue, Order>>>);

#[derive(Debug)]
struct Order {
    read: Instant,
    places: HashMap<JobId, i64>,
}

impl Line {
    /// The place of a job in its queue, from 1; [`MAX_PLACE`] at most. One that is not in the line
    /// that was read last has come after it.
    async fn place(&self, cx: &Ctx, queue: Queue, job: JobId) -> Result<i64, Fault> {
        let mut orders = self.0.lock().await;
        let of = |order: &Order| {
            let behind = i64::try_from(order.places.len()).unwrap_or(MAX_PLACE) + 1;
            order.places.get(&job).copied().unwrap_or(behind).min(MAX_PLACE)
        };
        if let Some(order) = orders.get(&queue)
            && order.places.len() >= LONG
            && order.read.elapsed() < OLD
        {
            return Ok(of(order));
        }
        let line = cx.store.read().await?.line(queue, MAX_PLACE).await?;
        let order = Order { read: Instant::now(), places: line.into_iter().zip(1..).collect() };
        let place = of(&order);
        orders.insert(queue, order);
        Ok(place)
    }
}
