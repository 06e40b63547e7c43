//! Queues: seeing them, stopping them, limiting them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use slipway_domain::access::{Principal, Reach, Scope};
use slipway_domain::fault::Fault;
use slipway_domain::job::Queue;
use slipway_domain::queue::{Pause, QueueSettings, QueueStats, QueueStatus};
use slipway_domain::worker::Worker;
pub use slipway_store::queue::QueueTotals;

use crate::change::audit;
use crate::{Ctx, access, upkeep, worker};

/// Longest reason for a pause, in characters.
const MAX_REASON: usize = 2000;
/// Largest cap.
pub const MAX_CAP: u32 = 100_000;

/// Totals of every queue that has jobs, for metrics.
pub async fn totals(cx: &Ctx) -> Result<Vec<QueueTotals>, Fault> {
    Ok(cx.store.read().await?.queue_totals(&Reach::Everywhere).await?)
}

/// Every queue, with what is in it of the projects that the caller may look into.
pub async fn list(cx: &Ctx, who: &Principal) -> Result<Vec<QueueStatus>, Fault> {
    let reach = access::reach(who, Scope::QueuesRead)?;
    let mut tx = cx.store.read().await?;
    let settings = tx.queue_settings().await?;
    let totals = tx.queue_totals(&reach).await?;
    let workers = tx.workers().await?;
    Ok(settings.into_iter().map(|queue| status(queue, &totals, &workers)).collect())
}

/// How much there is in every queue, by its name. Any process of the installation answers the
/// same, so an autoscaler may ask any.
pub async fn stats(cx: &Ctx, who: &Principal) -> Result<BTreeMap<Queue, QueueStats>, Fault> {
    let all = list(cx, who).await?;
    Ok(all.into_iter().map(|queue| (queue.name, queue.stats)).collect())
}

/// Stops a queue: its running jobs go on, nothing new is started. Stopping a stopped one changes
/// who stopped it and why.
pub async fn pause(
    cx: &Ctx,
    who: &Principal,
    queue: Queue,
    reason: Option<String>,
) -> Result<QueueStatus, Fault> {
    who.need(Scope::QueuesOperate)?;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        return Err(Fault::field("/reason", format!("at most {MAX_REASON} characters")));
    }
    let detail = serde_json::json!({ "reason": &reason });
    let pause = Pause { by: who.actor.clone(), at: micros(cx.now()), reason };
    let mut tx = cx.store.begin().await?;
    tx.set_pause(queue, Some(&pause)).await?;
    audit(cx, &mut tx, who, "queue.pause", queue.to_string(), detail).await?;
    tx.commit().await?;
    tracing::info!(%queue, by = who.actor.id, "queue paused");
    one(cx, queue).await
}

/// Lets a stopped queue go on.
pub async fn resume(cx: &Ctx, who: &Principal, queue: Queue) -> Result<QueueStatus, Fault> {
    who.need(Scope::QueuesOperate)?;
    let mut tx = cx.store.begin().await?;
    tx.set_pause(queue, None).await?;
    audit(cx, &mut tx, who, "queue.resume", queue.to_string(), serde_json::json!({})).await?;
    // Bells that rang meanwhile were answered by nobody.
    tx.forget_bells(queue).await?;
    tx.commit().await?;
    tracing::info!(%queue, by = who.actor.id, "queue resumed");
    upkeep::relay(cx).await?;
    one(cx, queue).await
}

/// Limits how many jobs of a queue run at a time over the whole installation; `None` for no limit.
/// What runs already is not stopped.
pub async fn set_cap(
    cx: &Ctx,
    who: &Principal,
    queue: Queue,
    cap: Option<u32>,
) -> Result<QueueStatus, Fault> {
    who.need(Scope::QueuesOperate)?;
    if cap.is_some_and(|cap| !(1..=MAX_CAP).contains(&cap)) {
        let detail =
            format!("cap must be from 1 to {MAX_CAP}, or null; pause the queue to stop it");
        return Err(Fault::field("/cap", detail));
    }
    let mut tx = cx.store.begin().await?;
    tx.set_cap(queue, cap.and_then(|cap| i32::try_from(cap).ok())).await?;
    let detail = serde_json::json!({ "cap": cap });
    audit(cx, &mut tx, who, "queue.cap", queue.to_string(), detail).await?;
    tx.forget_bells(queue).await?;
    tx.commit().await?;
    tracing::info!(%queue, ?cap, by = who.actor.id, "queue limited");
    upkeep::relay(cx).await?;
    one(cx, queue).await
}

async fn one(cx: &Ctx, queue: Queue) -> Result<QueueStatus, Fault> {
    let all = list(cx, &Principal::system("queues")).await?;
    all.into_iter()
        .find(|status| status.name == queue)
        .ok_or_else(|| Fault::not_found("queue", queue))
}

fn status(queue: QueueSettings, totals: &[QueueTotals], workers: &[Worker]) -> QueueStatus {
    let QueueSettings { name, paused, cap } = queue;
    let total = totals.iter().find(|total| total.queue == name.as_str());
    let (waiting, running, scheduled, dead, oldest_wait_ms, runnable) = total
        .map_or_else(Default::default, |t| {
            (t.waiting, t.running, t.scheduled, t.dead, t.oldest_wait_ms, t.runnable)
        });
    let wanted = if paused.is_some() { 0 } else { runnable };
    let most = cap.map_or(i64::MAX, i64::from);
    let capacity = workers
        .iter()
        .filter(|worker| worker::takes_jobs(worker))
        .map(|worker| i64::from(worker.queues.get(&name).copied().unwrap_or_default()))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of years fit")]
    let oldest_wait_s = oldest_wait_ms as f64 / 1000.0;
    let desired = running.max((running + wanted).min(most));
    let stats = QueueStats { waiting, running, scheduled, dead, oldest_wait_s, desired, capacity };
    QueueStatus { name, paused, cap, stats }
}

/// As precise as both databases keep it.
pub(crate) fn micros(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::access::Door;

    fn totals(running: i64, runnable: i64) -> Vec<QueueTotals> {
        vec![QueueTotals {
            queue: "plan".into(),
            waiting: runnable,
            running,
            scheduled: 0,
            dead: 0,
            oldest_wait_ms: 1500,
            runnable,
        }]
    }

    fn desired(paused: bool, cap: Option<u32>, running: i64, runnable: i64) -> i64 {
        let by = Principal::local(Door::Rest).actor;
        let paused = paused.then_some(Pause { by, at: DateTime::UNIX_EPOCH, reason: None });
        let queue = QueueSettings { name: Queue::Plan, paused, cap };
        status(queue, &totals(running, runnable), &[]).stats.desired
    }

    #[test]
    fn as_many_slots_are_desired_as_could_be_used() {
        assert_eq!(desired(false, None, 2, 3), 5);
        assert_eq!(desired(false, Some(4), 2, 3), 4, "not more than the cap");
        assert_eq!(desired(false, Some(1), 2, 3), 2, "what runs is not stopped");
        assert_eq!(desired(true, None, 2, 3), 2, "a paused queue starts nothing");
    }

    #[test]
    fn a_queue_without_jobs_is_empty() {
        let queue = QueueSettings { name: Queue::Apply, paused: None, cap: None };
        assert_eq!(status(queue, &totals(1, 1), &[]).stats, QueueStats::default());
    }
}
