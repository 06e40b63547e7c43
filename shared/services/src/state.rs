//! States of stacks, as the state backend keeps them: lock, write, unlock, read. What people do with
//! versions is in [`crate::state_version`].
//!
//! What must hold:
//! - Only the holder of the lock writes; a run only while its lease is alive. The check and the
//!   write are one unit of work, so a zombie that wakes up in between changes nothing.
//! - A state that is refused is kept as an orphan: it may be the only record of something.
//! - The lock of a run is given back by that run, or when its lease is dead; never because
//!   somebody asked while it may still be writing.
//!
//! Rows are locked in the order of the house: stack, then job.

use bytes::Bytes;
use slipway_domain::access::{Principal, Scope};
use slipway_domain::artifact::{ArtifactKind, digest};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{ArtifactId, OrphanId, StackId};
use slipway_domain::job::Lease;
use slipway_domain::plan::StateMark;
use slipway_domain::state_version::{
    LockInfo, LockStatus, OrphanState, StateHead, StateLock, StateOrigin, StateRefusal,
    StateVersion, lock_info,
};
use slipway_store::artifact::Sealed;
use slipway_store::stack::Record;
use slipway_store::state::{NewOrphan, NewStateVersion};
use slipway_store::{Error, Tx};

use crate::Ctx;
use crate::access::{lock_stack, read_stack};
use crate::change::audit;
use crate::deployment::checked_text;

/// Orphans that are kept of one stack.
pub(crate) const MAX_ORPHANS: i64 = 100;

/// What became of a request for the lock.
#[derive(Debug, Clone, PartialEq)]
pub enum Locked {
    /// It is the caller's.
    Taken(StateLock),
    /// Somebody else has it: what they said of themselves, in Terraform's own form.
    Held(serde_json::Value),
}

/// What became of a request to give the lock back.
#[derive(Debug, Clone, PartialEq)]
pub enum Unlocked {
    /// It is free now.
    Released,
    /// It was free.
    NotLocked,
    /// It stays with whoever has it.
    Held(serde_json::Value),
}

/// What became of a state that was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// It is the stack's current one.
    Kept {
        /// Its number.
        version: i64,
    },
    /// It was the current one already: an answer was lost, and the request repeated.
    Unchanged,
    /// It was refused.
    Refused {
        /// Why.
        reason: StateRefusal,
        /// Where it is kept. `None` when these very bytes are kept already, or too many are.
        orphan: Option<OrphanId>,
        /// Who holds the lock, in Terraform's own form, if anybody does.
        held: Option<serde_json::Value>,
    },
}

/// Takes the lock. `body` is what Terraform sends with LOCK. `run` is the lease of the run on whose
/// behalf it is asked, which the door has made sure of.
pub async fn lock(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    body: &[u8],
    run: Option<Lease>,
) -> Result<Locked, Fault> {
    let (lock_id, info) = lock_info(body)?;
    let mut tx = cx.store.begin().await?;
    lock_stack(&mut tx, who, of, Scope::StateWrite).await?;
    if let Some(lease) = &run {
        fence(&mut tx, of, lease).await?;
    }
    if let Some(held) = tx.state_lock(of).await? {
        // Its answer was lost, and it asks again.
        let same = held.lock_id == lock_id && held.lease == run && held.held_by.id == who.actor.id;
        return Ok(if same { Locked::Taken(held) } else { Locked::Held(held.info) });
    }
    if run.is_none()
        && let Some(deployment) = tx.running_apply(of).await?
    {
        // Its run may write without this lock; in any case it must not find it taken.
        return Ok(Locked::Held(serde_json::json!({
            "ID": deployment, "Operation": "apply", "Who": "slipway",
            "Info": format!("{deployment} is being applied"),
        })));
    }
    let lock = StateLock {
        stack_id: of,
        lock_id,
        info,
        lease: run,
        held_by: who.actor.clone(),
        acquired_at: cx.now(),
    };
    if !tx.take_state_lock(&lock).await? {
        return Err(Error::Changed.into());
    }
    let detail = serde_json::json!({"lock_id": lock.lock_id, "job_id": run.map(|l| l.job_id)});
    audit(cx, &mut tx, who, "state.lock", of.to_string(), detail).await?;
    tx.commit().await?;
    Ok(Locked::Taken(lock))
}

/// Gives the lock back. Without a `lock_id` (Terraform's `force-unlock` sends none), or for a lock
/// that is not the caller's, it is broken: only where no living run holds it.
pub async fn unlock(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    lock_id: Option<&str>,
    run: Option<Lease>,
) -> Result<Unlocked, Fault> {
    give_back(cx, who, of, lock_id, run, None).await
}

/// Breaks a lock that somebody left behind, and says why on the record. With a `lock_id`, only
/// that very lock. The lock of a living run stays.
pub async fn force_unlock(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    lock_id: Option<&str>,
    reason: Option<String>,
) -> Result<Unlocked, Fault> {
    let reason = checked_text("reason", reason)?;
    give_back(cx, who, of, lock_id, None, Some(Force { reason })).await
}

/// Somebody breaks a lock on purpose.
struct Force {
    reason: Option<String>,
}

async fn give_back(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    lock_id: Option<&str>,
    run: Option<Lease>,
    force: Option<Force>,
) -> Result<Unlocked, Fault> {
    let mut tx = cx.store.begin().await?;
    lock_stack(&mut tx, who, of, Scope::StateWrite).await?;
    let Some(held) = tx.state_lock(of).await? else { return Ok(Unlocked::NotLocked) };
    if lock_id.is_some_and(|id| id != held.lock_id) {
        return Ok(Unlocked::Held(held.info));
    }
    let may = match (&held.lease, &run) {
        // A zombie gives nothing back: its tool may be writing still.
        (Some(held), Some(run)) if held == run => is_fenced(&mut tx, of, run).await?,
        (Some(held), None) => !tx.is_lease_alive(held).await?,
        (None, None) => true,
        (_, Some(_)) => false,
    };
    if !may {
        return Ok(Unlocked::Held(held.info));
    }
    let broken = force.is_some()
        || lock_id.is_none()
        || held.held_by.id != who.actor.id
        || held.lease != run;
    tx.drop_state_lock(&held).await?;
    let action = if broken { "state.force_unlock" } else { "state.unlock" };
    let mut detail = serde_json::json!({"lock_id": held.lock_id, "held_by": held.held_by});
    if let Some(reason) = force.and_then(|force| force.reason) {
        detail["reason"] = reason.into();
    }
    audit(cx, &mut tx, who, action, of.to_string(), detail).await?;
    tx.commit().await?;
    Ok(Unlocked::Released)
}

/// Gives back the lock of a run whose lease is dead, for those who recover it. The caller knows
/// that the run's process group is gone, or that its hard limit has passed. `true` when there is
/// no lock any more.
pub async fn release_dead(cx: &Ctx, of: StackId) -> Result<bool, Fault> {
    let who = Principal::system("recovery");
    let mut tx = cx.store.begin().await?;
    locked_stack(&mut tx, of).await?;
    let Some(held) = tx.state_lock(of).await? else { return Ok(true) };
    let Some(lease) = held.lease else { return Ok(false) };
    if tx.is_lease_alive(&lease).await? {
        return Ok(false);
    }
    tx.drop_state_lock(&held).await?;
    let detail = serde_json::json!({"lock_id": held.lock_id, "job_id": lease.job_id,
        "epoch": lease.epoch});
    audit(cx, &mut tx, &who, "state.release", of.to_string(), detail).await?;
    tx.commit().await?;
    Ok(true)
}

/// Writes a new version of a stack's state.
pub async fn write(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    lock_id: Option<&str>,
    run: Option<Lease>,
    content: &Bytes,
) -> Result<Written, Fault> {
    // Before anything is kept of it.
    read_stack(&mut cx.store.read().await?, who, of, Scope::StateWrite).await?;
    let head = StateHead::read(content)?;
    let now = cx.now();
    let artifact = ArtifactId::new(&*cx.mint);
    let sealed = cx.store.seal_artifact(artifact, ArtifactKind::State, content, now).await?;
    let mut tx = cx.store.begin().await?;
    let stack = locked_stack(&mut tx, of).await?;
    let held = tx.state_lock(of).await?;
    let refusal = match held_by_writer(&mut tx, of, held.as_ref(), lock_id, run).await? {
        Some(refusal) => Some(refusal),
        None if is_current(&mut tx, &stack, &head.mark, &sealed.artifact.digest).await? => {
            drop(tx);
            cx.store.discard_artifact(sealed).await;
            return Ok(Written::Unchanged);
        }
        None => follows(&stack, &head.mark).err(),
    };
    if let Some(reason) = refusal {
        let orphan = OrphanState {
            id: OrphanId::new(&*cx.mint),
            stack_id: of,
            mark: head.mark,
            resource_count: head.resource_count,
            digest: sealed.artifact.digest.clone(),
            reason,
            written_by: who.actor.clone(),
            created_at: now,
        };
        let held = held.map(|held| held.info);
        return refuse(cx, tx, who, lock_id, run, sealed, orphan, held).await;
    }
    tx.insert_artifact(&sealed).await?;
    let deployment = match &run {
        Some(lease) => tx.job(lease.job_id).await?.map(|job| job.deployment_id),
        None => None,
    };
    let new = NewStateVersion {
        stack_id: of,
        mark: head.mark,
        resource_count: head.resource_count,
        artifact,
        origin: if run.is_some() { StateOrigin::Run } else { StateOrigin::Backend },
        deployment_id: deployment,
        epoch: run.map(|lease| lease.epoch),
        written_by: run.is_none().then(|| who.actor.clone()),
        restored_from: None,
    };
    let version = tx.add_state_version(&new, now).await?;
    let detail = serde_json::json!({"version": version, "state": new.mark});
    audit(cx, &mut tx, who, "state.write", of.to_string(), detail).await?;
    tx.commit().await?;
    Ok(Written::Kept { version })
}

#[expect(clippy::too_many_arguments, reason = "the rest of one verb")]
async fn refuse(
    cx: &Ctx,
    mut tx: Tx,
    who: &Principal,
    lock_id: Option<&str>,
    run: Option<Lease>,
    sealed: Sealed,
    orphan: OrphanState,
    held: Option<serde_json::Value>,
) -> Result<Written, Fault> {
    let (reason, id, of) = (orphan.reason, orphan.id, orphan.stack_id);
    let detail = serde_json::json!({"reason": reason, "state": orphan.mark, "orphan": id});
    let new = NewOrphan {
        orphan,
        artifact: sealed.artifact.id,
        lock_id: lock_id.map(|id| id.chars().take(200).collect()),
        lease: run,
    };
    tx.insert_artifact(&sealed).await?;
    let kept = tx.keep_orphan(&new, MAX_ORPHANS).await?;
    tracing::warn!(stack_id = %of, reason = reason.as_str(), kept, "a state was refused");
    if kept {
        audit(cx, &mut tx, who, "state.refuse", of.to_string(), detail).await?;
        tx.commit().await?;
    } else {
        // Neither the bytes nor a row: what is kept already is enough.
        tx.rollback().await?;
        cx.store.discard_artifact(sealed).await;
    }
    Ok(Written::Refused { reason, orphan: kept.then_some(id), held })
}

/// Whether the writer holds the lock, and its lease, until the unit of work ends.
async fn held_by_writer(
    tx: &mut Tx,
    of: StackId,
    held: Option<&StateLock>,
    lock_id: Option<&str>,
    run: Option<Lease>,
) -> Result<Option<StateRefusal>, Fault> {
    let Some(held) = held else { return Ok(Some(StateRefusal::NotLocked)) };
    if lock_id != Some(held.lock_id.as_str()) {
        return Ok(Some(StateRefusal::OtherLock));
    }
    Ok(match (&held.lease, &run) {
        (None, None) => None,
        (Some(lease), Some(run)) if lease == run => {
            (!is_fenced(tx, of, run).await?).then_some(StateRefusal::LeaseLost)
        }
        // The same lock, by another worker or another holding of the job.
        (Some(_), Some(_)) => Some(StateRefusal::LeaseLost),
        // Knowing a run's lock is not having its lease.
        (Some(_), None) | (None, Some(_)) => Some(StateRefusal::OtherLock),
    })
}

async fn is_current(
    tx: &mut Tx,
    stack: &Record,
    mark: &StateMark,
    digest: &str,
) -> Result<bool, Fault> {
    let Some(artifact) = stack.state_artifact else { return Ok(false) };
    if stack.state_mark() != *mark {
        return Ok(false);
    }
    Ok(tx.artifact(artifact).await?.is_some_and(|current| current.digest == digest))
}

fn follows(stack: &Record, mark: &StateMark) -> Result<(), StateRefusal> {
    match &stack.stack.state {
        None => Ok(()),
        Some(current) if current.lineage != mark.lineage => Err(StateRefusal::OtherLineage),
        Some(current) if current.serial >= mark.serial => Err(StateRefusal::OldSerial),
        Some(_) => Ok(()),
    }
}

/// The current state, in clear; `None` when there is none yet.
pub async fn read(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
) -> Result<Option<(StateMark, Bytes)>, Fault> {
    let stack = read_stack(&mut cx.store.read().await?, who, of, Scope::StateRead).await?;
    let Some(artifact) = stack.state_artifact else { return Ok(None) };
    let content = opened(cx, who, of, artifact).await?;
    Ok(Some((stack.state_mark(), content)))
}

/// One version, in clear.
pub async fn read_version(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    version: i64,
) -> Result<(StateVersion, Bytes), Fault> {
    let mut tx = cx.store.read().await?;
    read_stack(&mut tx, who, of, Scope::StateRead).await?;
    let found = tx.state_version(of, version).await?;
    drop(tx);
    let found = found.ok_or_else(|| Fault::not_found("state version", version))?;
    let content = opened(cx, who, of, found.artifact).await?;
    Ok((found.row, content))
}

/// One state that was refused, in clear.
pub async fn read_orphan(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    id: OrphanId,
) -> Result<(OrphanState, Bytes), Fault> {
    let mut tx = cx.store.read().await?;
    read_stack(&mut tx, who, of, Scope::StateRead).await?;
    let found = tx.orphan(of, id).await?;
    drop(tx);
    let found = found.ok_or_else(|| Fault::not_found("orphan state", id))?;
    let content = opened(cx, who, of, found.artifact).await?;
    Ok((found.row, content))
}

/// Who holds the lock, and what is being applied.
pub async fn lock_status(cx: &Ctx, who: &Principal, of: StackId) -> Result<LockStatus, Fault> {
    let mut tx = cx.store.read().await?;
    read_stack(&mut tx, who, of, Scope::StacksRead).await?;
    let held = tx.state_lock(of).await?;
    let applying = tx.running_apply(of).await?;
    Ok(LockStatus {
        locked: held.is_some(),
        lock: held.as_ref().map(|held| LockInfo::of(&held.info)),
        job_id: held.as_ref().and_then(|held| held.lease).map(|lease| lease.job_id),
        acquired_at: held.as_ref().map(|held| held.acquired_at),
        held_by: held.map(|held| held.held_by),
        applying,
    })
}

/// What a tool asks for when it is to delete a state. Nothing is ever deleted: whoever would plan
/// after that would make every resource a second time.
pub async fn remove(cx: &Ctx, who: &Principal, of: StackId) -> Result<(), Fault> {
    let stack = read_stack(&mut cx.store.read().await?, who, of, Scope::StateWrite).await?;
    match stack.stack.state {
        None => Ok(()),
        Some(state) => Err(Fault::new(
            Code::StateRefused,
            format!(
                "The state with serial {} records {} resource instances, and Slipway deletes no \
                 state. Destroy the stack to remove what it records; its versions stay readable.",
                state.serial, state.resource_count
            ),
        )),
    }
}

/// States that were refused, newest first.
pub async fn orphans(cx: &Ctx, who: &Principal, of: StackId) -> Result<Vec<OrphanState>, Fault> {
    let mut tx = cx.store.read().await?;
    read_stack(&mut tx, who, of, Scope::StateRead).await?;
    let rows = tx.orphans(of, MAX_ORPHANS).await?;
    Ok(rows.into_iter().map(|kept| kept.row).collect())
}

pub(crate) async fn opened(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    artifact: ArtifactId,
) -> Result<Bytes, Fault> {
    let (kept, content) = cx
        .store
        .open_artifact(artifact)
        .await?
        .ok_or_else(|| Fault::internal(format!("the state {artifact} of {of} is gone")))?;
    debug_assert_eq!(kept.digest, digest(&content));
    let mut tx = cx.store.begin().await?;
    let detail = serde_json::json!({"digest": kept.digest});
    audit(cx, &mut tx, who, "state.read", of.to_string(), detail).await?;
    tx.commit().await?;
    Ok(content)
}

pub(crate) async fn locked_stack(tx: &mut Tx, of: StackId) -> Result<Record, Fault> {
    tx.lock_stack(of).await?.ok_or_else(|| Fault::not_found("stack", of))
}

/// Refuses a run whose lease is not alive, or is of another stack's job.
async fn fence(tx: &mut Tx, of: StackId, lease: &Lease) -> Result<(), Fault> {
    if is_fenced(tx, of, lease).await? { Ok(()) } else { Err(Error::LeaseLost.into()) }
}

async fn is_fenced(tx: &mut Tx, of: StackId, lease: &Lease) -> Result<bool, Fault> {
    match tx.fence(lease).await {
        Ok(()) => Ok(tx.job(lease.job_id).await?.is_some_and(|job| job.stack_id == of)),
        Err(Error::LeaseLost) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
