//! Checks that are begun by themselves, one round at a time. Any process may call this; a loop lease
//! makes sure that one of them does, and the rows make sure that a check is begun once.

use slipway_domain::fault::{Fault, Kind};
use slipway_domain::id::StackId;
use slipway_domain::job::Doorbell;
use slipway_store::drift::{Next, Record};

use super::{begin_check, first_wait, next_wait, obstacle, settings_of, soon};
use crate::Ctx;
use crate::state::locked_stack;

/// Stacks whose first check is planned in one round, and in one unit of work.
const PLANNED: i64 = 500;
const TOGETHER: usize = 50;
/// A stack that was deployed since it was found to drift is checked within this time.
const HASTEN_MS: i64 = 30_000;

/// Plans the first checks of stacks that have none yet, and begins those that are due. Returns how
/// many were begun.
pub async fn begin_due(cx: &Ctx) -> Result<usize, Fault> {
    plan_first(cx).await?;
    let mut tx = cx.store.begin().await?;
    tx.hasten_drift_checks(HASTEN_MS).await?;
    tx.commit().await?;
    let mut tx = cx.store.read().await?;
    let due = tx.drift_due(i64::from(cx.settings.drift.per_round)).await?;
    drop(tx);
    let mut begun = 0;
    for stack in due {
        match begin_one(cx, stack).await {
            Ok(Some(bell)) => {
                cx.ring(&bell).await;
                begun += 1;
            }
            Ok(None) => {}
            Err(fault) if fault.kind() == Kind::Unavailable => return Err(fault),
            // One that cannot be begun does not keep the others from theirs, in this round or the next.
            Err(fault) => {
                tracing::error!(stack_id = %stack, %fault, cause = fault.causes(),
                    "a stack cannot be checked for drift");
                put_off(cx, stack).await?;
            }
        }
    }
    Ok(begun)
}

async fn plan_first(cx: &Ctx) -> Result<(), Fault> {
    let mut tx = cx.store.read().await?;
    let found = tx.drift_unplanned(cx.settings.drift.enabled, PLANNED).await?;
    drop(tx);
    for stacks in found.chunks(TOGETHER) {
        let mut tx = cx.store.begin().await?;
        for stack in stacks {
            let row = tx.lock_drift(*stack).await?;
            let settings = settings_of(cx, &row);
            if settings.enabled && row.next_check_at.is_none() {
                let wait = first_wait(cx, &settings);
                tx.set_next_drift_check(*stack, Next::In(wait)).await?;
            }
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Begins the check of a stack, if it is due and nothing hinders it.
async fn begin_one(cx: &Ctx, of: StackId) -> Result<Option<Doorbell>, Fault> {
    let mut tx = cx.store.begin().await?;
    let stack = locked_stack(&mut tx, of).await?;
    let mut row = tx.lock_drift(of).await?;
    // Somebody else may have begun it since it was looked for.
    if !tx.is_drift_due(of).await? {
        return Ok(None);
    }
    let settings = settings_of(cx, &row);
    if !settings.enabled {
        tx.set_next_drift_check(of, Next::Never).await?;
        tx.commit().await?;
        return Ok(None);
    }
    if row.job_id.is_some() {
        // The one before has not found a worker yet.
        let next = Next::In(next_wait(cx, &settings));
        tx.set_next_drift_check(of, next).await?;
        tx.commit().await?;
        return Ok(None);
    }
    let Some(obstacle) = obstacle(&mut tx, &stack).await? else {
        let bell = begin_check(cx, &mut tx, &stack, row, None).await?;
        tx.commit().await?;
        return Ok(Some(bell));
    };
    let next = if obstacle.passes {
        soon(cx, &settings)
    } else {
        // What is not there any more does not drift.
        row = Record { checks: row.checks, ..Record::new(of) };
        Next::In(next_wait(cx, &settings))
    };
    row.put_off = Some(obstacle.why);
    tx.save_drift(&row, None, next).await?;
    tx.commit().await?;
    Ok(None)
}

async fn put_off(cx: &Ctx, of: StackId) -> Result<(), Fault> {
    let wait = i64::from(cx.settings.drift.interval_s) * 1000;
    let mut tx = cx.store.begin().await?;
    tx.set_next_drift_check(of, Next::In(wait)).await?;
    tx.commit().await?;
    Ok(())
}
