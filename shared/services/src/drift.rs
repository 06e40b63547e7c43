//! Drift of stacks: seeing it, settings of its checks, asking for one, and a deployment that puts it
//! right. When checks are begun by themselves is in `schedule`, what becomes of them in `check`. A
//! check is a job beside the way of the deployment that the stack runs: it moves none, and takes no
//! lock that an apply would wait for.

pub(crate) mod check;
pub mod schedule;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use slipway_domain::access::{Principal, Scope};
use slipway_domain::deployment::Operation;
use slipway_domain::drift::schedule::{Schedule, next_wait_ms};
use slipway_domain::drift::{DriftOverview, DriftSettings, StackDrift, StackDriftSettings};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::StackId;
use slipway_domain::job::{Doorbell, JobKind, NewJob, Priority};
use slipway_domain::page::{Page, PageRequest};
use slipway_store::Tx;
pub use slipway_store::drift::Filter;
use slipway_store::drift::{Next, Record};
use slipway_store::stack::Record as StackRecord;

pub use crate::deployment::redeploy as reconcile;
pub use check::drift_finished;

use crate::Ctx;
use crate::access;
use crate::change::{audit, bell_of, next_job};
use crate::gate::Precondition;

/// What is known of the drift of all stacks that run something, newest stacks first.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<DriftOverview>, Fault> {
    let reach = access::reach(who, Scope::StacksRead)?;
    let rows = cx.store.read().await?.drifts(filter, &reach, page).await?;
    Ok(Page::from_surplus(rows, page, |row| row.stack_id.0))
}

/// What is known of a stack's drift.
pub async fn get(cx: &Ctx, who: &Principal, of: StackId) -> Result<StackDrift, Fault> {
    let mut tx = cx.store.read().await?;
    let stack = access::read_stack(&mut tx, who, of, Scope::StacksRead).await?;
    let row = tx.drift(of).await?.unwrap_or_else(|| Record::new(of));
    Ok(shown(cx, &stack, row))
}

/// How many stacks are known to drift.
pub async fn drifted(cx: &Ctx) -> Result<i64, Fault> {
    Ok(cx.store.read().await?.drifted_stacks().await?)
}

fn shown(cx: &Ctx, stack: &StackRecord, row: Record) -> StackDrift {
    let settings = settings_of(cx, &row);
    let report = row.report;
    // A deployment that found nothing to do is another one, and the state is as it was.
    let moved = report.as_ref().is_some_and(|report| {
        let known = !report.state.lineage.is_empty();
        if known {
            report.state != stack.state_mark()
        } else {
            row.deployment_id != stack.stack.current_deployment
        }
    });
    StackDrift {
        stack_id: stack.stack.id,
        stack: stack.stack.key.clone(),
        status: row.status,
        since: row.since,
        job_id: row.job_id,
        checked_at: row.checked_at,
        next_check_at: row.next_check_at.filter(|_| settings.enabled),
        deployment_id: row.deployment_id,
        out_of_date: moved,
        report,
        failure: row.failure,
        put_off: row.put_off,
        settings,
    }
}

/// What was said of a stack's checks, and what holds.
fn settings_of(cx: &Ctx, row: &Record) -> StackDriftSettings {
    let Schedule { enabled, interval_s, .. } = cx.settings.drift;
    StackDriftSettings {
        enabled: row.settings.enabled.unwrap_or(enabled),
        interval_s: row.settings.interval_s.unwrap_or(interval_s),
        settings: row.settings.clone(),
        version: row.settings_version,
    }
}

/// The settings of a stack's checks.
pub async fn settings(cx: &Ctx, who: &Principal, of: StackId) -> Result<StackDriftSettings, Fault> {
    let mut tx = cx.store.read().await?;
    access::read_stack(&mut tx, who, of, Scope::StacksRead).await?;
    let row = tx.drift(of).await?.unwrap_or_else(|| Record::new(of));
    Ok(settings_of(cx, &row))
}

/// Says how a stack is checked, in place of what was said before. The next check is planned anew.
pub async fn set_settings(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    settings: DriftSettings,
    from: Precondition,
) -> Result<StackDriftSettings, Fault> {
    let mut tx = cx.store.begin().await?;
    access::lock_stack(&mut tx, who, of, Scope::DeploymentsWrite).await?;
    let problems = settings.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let mut row = tx.lock_drift(of).await?;
    let version = row.settings_version;
    let expected = match from {
        Precondition::Any => true,
        Precondition::New => version == 0,
        Precondition::Version(expected) => expected == version,
    };
    if !expected || !tx.set_drift_settings(of, &settings, version).await? {
        return Err(Fault::new(
            Code::PreconditionFailed,
            format!(
                "The settings have version {version} now. Read them again and make the change from \
                 there."
            ),
        ));
    }
    let detail = serde_json::json!({"from_version": version, "before": row.settings,
        "after": settings});
    audit(cx, &mut tx, who, "drift.set", of.to_string(), detail).await?;
    row.settings = settings;
    row.settings_version += 1;
    let now = settings_of(cx, &row);
    let next = if now.enabled { Next::In(first_wait(cx, &now)) } else { Next::Never };
    tx.set_next_drift_check(of, next).await?;
    tx.commit().await?;
    tracing::info!(stack_id = %of, enabled = now.enabled, interval_s = now.interval_s,
        by = who.actor.id, "drift settings changed");
    Ok(now)
}

/// Has a stack checked now. Asking for what is queued or runs gives just that.
pub async fn request_check(cx: &Ctx, who: &Principal, of: StackId) -> Result<StackDrift, Fault> {
    let mut tx = cx.store.begin().await?;
    let stack = access::lock_stack(&mut tx, who, of, Scope::DeploymentsWrite).await?;
    let row = tx.lock_drift(of).await?;
    if row.job_id.is_some() {
        return Ok(shown(cx, &stack, row));
    }
    if let Some(Obstacle { code, why, .. }) = obstacle(&mut tx, &stack).await? {
        return Err(Fault::new(code, why));
    }
    let bell = begin_check(cx, &mut tx, &stack, row, who.traceparent.clone()).await?;
    let detail = serde_json::json!({"job_id": bell.job_id});
    audit(cx, &mut tx, who, "drift.check", of.to_string(), detail).await?;
    let row = tx.drift(of).await?.unwrap_or_else(|| Record::new(of));
    tx.commit().await?;
    cx.ring(&bell).await;
    Ok(shown(cx, &stack, row))
}

/// Why a stack is not checked right now.
struct Obstacle {
    code: Code,
    why: String,
    /// Whether it goes away by itself.
    passes: bool,
}

/// Why a stack, which the caller has locked, is not checked right now.
async fn obstacle(tx: &mut Tx, stack: &StackRecord) -> Result<Option<Obstacle>, Fault> {
    let of = stack.stack.id;
    let lasting = |code, why: &str| Ok(Some(Obstacle { code, why: why.to_owned(), passes: false }));
    let current = match stack.stack.current_deployment {
        Some(current) => tx.deployment(current).await?,
        None => None,
    };
    let Some(current) = current else {
        return lasting(Code::NotReady, "Nothing was deployed yet that could have drifted.");
    };
    if current.deployment.operation == Operation::Destroy {
        return lasting(Code::NotReady, "The stack was destroyed: there is nothing to look at.");
    }
    if current.source_artifact.is_none() {
        return lasting(Code::NotReady, "The source of what the stack runs is not kept.");
    }
    let why = match tx.busy_with(of).await? {
        Some((by, state)) => Some(format!(
            "Deployment {by} is {state}: what the stack is cannot be told before it has ended."
        )),
        None => tx.state_lock(of).await?.map(|held| {
            format!(
                "The state is locked by {} since {}: what the stack is cannot be told before it is \
                 unlocked.",
                held.held_by.id, held.acquired_at
            )
        }),
    };
    Ok(why.map(|why| Obstacle { code: Code::Conflict, why, passes: true }))
}

/// Enqueues the check of a stack that nothing hinders; the caller has locked both rows. Returns the
/// bell to ring after the commit.
async fn begin_check(
    cx: &Ctx,
    tx: &mut Tx,
    stack: &StackRecord,
    mut row: Record,
    traceparent: Option<String>,
) -> Result<Doorbell, Fault> {
    let of = stack.stack.id;
    let gone = || Fault::internal(format!("what {of} runs is gone"));
    let current = stack.stack.current_deployment.ok_or_else(gone)?;
    let record = tx.deployment(current).await?.ok_or_else(gone)?;
    row.checks += 1;
    row.put_off = None;
    let job = NewJob {
        idempotency_key: format!("{of}/drift/{}", row.checks),
        // Whoever waits for a plan of their own goes first.
        priority: Priority::Low,
        traceparent,
        ..next_job(cx, &record, JobKind::Drift)
    };
    tx.insert_jobs(std::slice::from_ref(&job), cx.now()).await?;
    let settings = settings_of(cx, &row);
    let next = if settings.enabled { Next::In(next_wait(cx, &settings)) } else { Next::Never };
    tx.save_drift(&row, Some(job.id), next).await?;
    Ok(bell_of(&job))
}

/// Chance, from the house's one source of it.
fn chance(cx: &Ctx) -> u64 {
    let mut hasher = DefaultHasher::new();
    cx.mint.uuid().hash(&mut hasher);
    hasher.finish()
}

fn first_wait(cx: &Ctx, settings: &StackDriftSettings) -> i64 {
    slipway_domain::drift::schedule::first_wait_ms(settings.interval_s, chance(cx))
}

fn next_wait(cx: &Ctx, settings: &StackDriftSettings) -> i64 {
    next_wait_ms(settings.interval_s, cx.settings.drift.jitter_percent, chance(cx))
}

fn soon(cx: &Ctx, settings: &StackDriftSettings) -> Next {
    if settings.enabled {
        Next::In(slipway_domain::drift::schedule::soon_ms(settings.interval_s, chance(cx)))
    } else {
        Next::Never
    }
}
