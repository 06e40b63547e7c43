//! The ends of plans that found nothing to do.

use async_trait::async_trait;
use slipway_domain::deployment::{Deployment, Output};
use slipway_domain::fault::{Code, Fault, Kind};
use slipway_domain::job::{Job, Lease};
use slipway_domain::plan::StateMark;
use slipway_domain::state::{DeploymentState, Move};

use crate::Ctx;
use crate::change::Change;
use crate::execution::system;
use crate::gather::Together;

/// A plan that found nothing to do.
#[derive(Debug)]
pub(crate) struct Unchanged {
    pub(crate) job: Job,
    pub(crate) lease: Lease,
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

    async fn all(cx: Ctx, ends: Vec<Unchanged>) -> Vec<Result<Self::Done, Fault>> {
        match record(&cx, &ends).await {
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
    ends: &[Unchanged],
) -> Result<Vec<Result<Option<Box<Deployment>>, Fault>>, Fault> {
    let who = system();
    let now = cx.now();
    let mut tx = cx.store.begin().await?;
    let stacks: Vec<_> = ends.iter().map(|end| end.job.stack_id).collect();
    let stacks = tx.lock_stacks(&stacks).await?;
    let ids: Vec<_> = ends.iter().map(|end| end.job.deployment_id).collect();
    let mut records = tx.lock_deployments(&ids).await?;
    let leases: Vec<_> = ends.iter().map(|end| end.lease).collect();
    let alive = tx.fence_each(&leases).await?;

    // Those for which it is as simple as that.
    let simple = |end: &&Unchanged| {
        let stack = stacks.iter().find(|stack| stack.stack.id == end.job.stack_id);
        let is_current = stack.is_some_and(|stack| {
            end.made_from.lineage.is_empty() || end.made_from == stack.state_mark()
        });
        is_current && alive.contains(&end.job.id)
    };
    records.retain(|record| {
        let end =
            ends.iter().filter(simple).find(|end| end.job.deployment_id == record.deployment.id);
        end.is_some() && record.deployment.state.next(Move::FindNoChanges).is_ok()
    });
    let mut changes = Vec::with_capacity(records.len());
    for record in &mut records {
        let mut change = Change::by(cx, &who, record);
        change.step(Move::FindNoChanges, None, serde_json::json!({}))?;
        changes.push(change);
    }
    Change::save_all(&mut tx, &mut changes).await?;
    drop(changes);
    let ended: Vec<_> = ends
        .iter()
        .filter(|end| records.iter().any(|r| r.deployment.id == end.job.deployment_id))
        .collect();
    let its = |end: &Unchanged, holds: fn(&Deployment) -> bool| {
        let its = records.iter().find(|r| r.deployment.id == end.job.deployment_id);
        its.is_some_and(|record| holds(&record.deployment))
    };
    // Only who was applied before has some that are to go.
    let was_applied = |end: &Unchanged| {
        its(end, |of| of.phases.iter().any(|phase| phase.state == DeploymentState::Verifying))
    };
    let outputs: Vec<_> = ended
        .iter()
        .filter(|end| !end.outputs.is_empty() || was_applied(end))
        .map(|end| (end.job.deployment_id, end.outputs.as_slice()))
        .collect();
    if !outputs.is_empty() {
        tx.set_outputs_of_many(&outputs).await?;
    }
    // What only plans is not what the stack runs.
    let current: Vec<_> = ended
        .iter()
        .filter(|end| !its(end, |of| of.options.plan_only))
        .map(|end| (end.job.stack_id, end.job.deployment_id))
        .collect();
    tx.set_current_deployments(&current, now).await?;
    let jobs: Vec<_> = ended.iter().map(|end| end.job.id).collect();
    tx.end_jobs(&jobs, now).await?;
    tx.commit().await?;

    let mut done = Vec::with_capacity(ends.len());
    for end in ends {
        let at = records.iter().position(|r| r.deployment.id == end.job.deployment_id);
        done.push(match at {
            Some(at) => {
                let deployment = records.swap_remove(at).deployment;
                cx.tell(deployment.id).await;
                Ok(Some(Box::new(deployment)))
            }
            None if !alive.contains(&end.job.id) => {
                Err(Fault::new(Code::LeaseLost, "The lease is no longer held."))
            }
            None => Ok(None),
        });
    }
    Ok(done)
}
