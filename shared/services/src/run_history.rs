//! What past runs of a stack took, what the next one is likely to take, and how long it may.

use slipway_domain::fault::Fault;
use slipway_domain::id::StackId;
use slipway_domain::job::{Job, JobKind};
use slipway_domain::run_history::{Estimate, Estimates, Measure, PastRun};
use slipway_store::Tx;

use crate::Ctx;

/// Runs that are kept of each stack and kind.
const KEPT: i64 = 20;
/// With adaptive limits, a job may take so many times what nineteen of twenty took.
const SLACK: i64 = 3;
const MIB: i64 = 1 << 20;

/// Keeps what the run of a job took that finished its work. Runs that were stopped or failed say
/// nothing of how long the work takes, and are not told here.
pub async fn record(cx: &Ctx, job: &Job, measure: Measure) -> Result<(), Fault> {
    let mut tx = cx.store.begin().await?;
    tx.add_past_run(job, measure, KEPT, cx.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// What the runs of a stack are likely to take.
pub(crate) async fn estimates(tx: &mut Tx, of: StackId) -> Result<Estimates, Fault> {
    let runs = tx.past_runs(of).await?;
    Ok(Estimates { plan: estimate(&runs, JobKind::Plan), apply: estimate(&runs, JobKind::Apply) })
}

/// After how many seconds a job is asked to stop: what it was given, or, with adaptive limits,
/// longer where the stack's past runs took long.
pub async fn soft_limit_s(cx: &Ctx, job: &Job) -> i32 {
    if !cx.settings.adaptive_limits {
        return job.soft_limit_s;
    }
    let past = async { Ok::<_, Fault>(cx.store.read().await?.past_runs(job.stack_id).await?) };
    match past.await {
        Ok(runs) => adapted_s(job.soft_limit_s, job.hard_limit_s, &sorted_ms(&runs, job.kind)),
        Err(fault) => {
            tracing::warn!(%fault, "past runs could not be read; the limits stay as configured");
            job.soft_limit_s
        }
    }
}

/// Never shorter than what is configured, and half of the time that is configured for stopping in
/// order, between the soft and the hard limit, is left for it.
fn adapted_s(soft_s: i32, hard_s: i32, took_ms: &[i64]) -> i32 {
    let Some(p95_ms) = percentile(took_ms, 95) else { return soft_s };
    let wanted_s = i32::try_from(p95_ms.saturating_mul(SLACK) / 1000).unwrap_or(i32::MAX);
    let latest_s = hard_s - (hard_s - soft_s) / 2;
    wanted_s.min(latest_s).max(soft_s)
}

fn estimate(runs: &[PastRun], kind: JobKind) -> Option<Estimate> {
    let took_ms = sorted_ms(runs, kind);
    let of_kind = runs.iter().filter(|run| run.kind == kind);
    let peak = of_kind.filter_map(|run| run.measure.peak_rss_bytes).max();
    Some(Estimate {
        runs: u32::try_from(took_ms.len()).unwrap_or(u32::MAX),
        p50_s: seconds(percentile(&took_ms, 50)?),
        p95_s: seconds(percentile(&took_ms, 95)?),
        peak_mb: peak.map(|bytes| bytes.saturating_add(MIB - 1) / MIB),
    })
}

fn sorted_ms(runs: &[PastRun], kind: JobKind) -> Vec<i64> {
    let of_kind = runs.iter().filter(|run| run.kind == kind);
    let mut took: Vec<_> = of_kind.map(|run| run.measure.wall_ms).collect();
    took.sort_unstable();
    took
}

/// The smallest value that at least `percent` of all do not exceed.
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn seconds(ms: i64) -> f64 {
    f64::from(u32::try_from(ms).unwrap_or(u32::MAX)) / 1000.0
}

#[cfg(test)]
mod tests;
