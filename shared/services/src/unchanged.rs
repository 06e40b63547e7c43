//! The ends of plans that found nothing to do.

use async_trait::async_trait;
use slipway_domain::deployment::{Deployment, Output};
use slipway_domain::fault::{Fault, Kind};
use slipway_domain::job::{Job, Lease};
use slipway_domain::plan::StateMark;
use slipway_domain::state::{DeploymentState, Move};
use slipway_store::deployment::{HeldMove, NothingToDo, Record};

use crate::Ctx;
use crate::change::Change;
use crate::execution::system;
use crate::gather::Together;

/// A plan that found nothing to do.
#[derive(Debug)]
pub(crate) struct Unchanged {
    pub(crate) job: Job,
    pub(crate) lease: Lease,
    /// The deployment as it was when the plan was begun, where that is known.
    pub(crate) begun: Option<Record>,
    /// The state that it found nothing to do for.
    pub(crate) made_from: StateMark,
    pub(crate) outputs: Vec<Output>,
}

/// Records them together. `None`: there is more to it, and it must be recorded alone.
pub(crate) struct Ends;

#[async_trait]
impl Together for Ends {
    type House = Ctx;
    type Item = Unchanged;
    type Done = Option<Box<Deployment>>;
    const ROUNDS: usize = 1;
    const MOST: usize = 50;

    fn fits(taken: &[Unchanged], next: &Unchanged) -> bool {
        // What the stack runs is what ended last.
        taken.iter().all(|other| other.job.stack_id != next.job.stack_id)
    }

    async fn all(cx: Ctx, mut ends: Vec<Unchanged>) -> Vec<Result<Self::Done, Fault>> {
        match record(&cx, &mut ends).await {
            Ok(done) => done,
            Err(fault) if fault.kind() == Kind::Unavailable => {
                ends.iter().map(|_| Err(fault.echo())).collect()
            }
            // One of them may be at fault; each finds out for itself.
            Err(_) => ends.iter().map(|_| Ok(None)).collect(),
        }
    }
}

async fn record(
    cx: &Ctx,
    ends: &mut [Unchanged],
) -> Result<Vec<Result<Option<Box<Deployment>>, Fault>>, Fault> {
    let who = system();
    // Known or read without a lock: what is not as it was then is not moved.
    let mut records: Vec<_> = ends.iter_mut().filter_map(|end| end.begun.take()).collect();
    let is_known = |end: &&Unchanged| {
        records.iter().any(|record| record.deployment.id == end.job.deployment_id)
    };
    let unknown = ends.iter().filter(|end| !is_known(end)).map(|end| end.job.deployment_id);
    let unknown: Vec<_> = unknown.collect();
    if !unknown.is_empty() {
        records.extend(cx.store.read().await?.deployments_by_id(&unknown).await?);
    }
    let mut changes = Vec::with_capacity(records.len());
    for record in &mut records {
        let of = record.deployment.id;
        // Where somebody asked to stop it, that ends with it, too.
        let is_asked = record.deployment.cancel.is_some();
        if is_asked || record.deployment.state.next(Move::FindNoChanges).is_err() {
            continue;
        }
        let Some(end) = ends.iter().find(|end| end.job.deployment_id == of) else { continue };
        let d = &record.deployment;
        // Only who was applied before has some that are to go.
        let was_applied = d.phases.iter().any(|phase| phase.state == DeploymentState::Verifying);
        let nothing_to_do = NothingToDo {
            made_from: &end.made_from,
            outputs: (was_applied || !end.outputs.is_empty()).then_some(end.outputs.as_slice()),
            // What only plans is not what the stack runs.
            is_current: !d.options.plan_only,
        };
        let mut change = Change::by(cx, &who, record);
        change.step(Move::FindNoChanges, None, serde_json::json!({}))?;
        changes.push((change, end.lease, nothing_to_do));
    }
    let mut moves: Vec<_> = changes
        .iter_mut()
        .map(|(change, lease, end)| HeldMove {
            changed: change.changed(),
            lease: *lease,
            end: Some(*end),
        })
        .collect();
    let ended = cx.store.move_held(&mut moves).await?;
    drop(moves);
    drop(changes);
    records.retain(|record| ended.contains(&record.deployment.id));
    let mut done = Vec::with_capacity(ends.len());
    for end in ends {
        let at = records.iter().position(|r| r.deployment.id == end.job.deployment_id);
        done.push(Ok(match at {
            Some(at) => {
                let deployment = records.swap_remove(at).deployment;
                cx.tell(deployment.id).await;
                Some(Box::new(deployment))
            }
            None => None,
        }));
    }
    Ok(done)
}
