//! Versions of a stack's state, for people: look at them, compare them, put one back, bring one
//! along from elsewhere, take or drop one that was refused.
//!
//! Whoever sets a state names the serial that they have seen, and nobody may be writing meanwhile.
//! Nothing is overwritten: every change is a version with a new serial.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;
use slipway_domain::access::{Principal, Scope};
use slipway_domain::artifact::{ArtifactKind, digest};
use slipway_domain::fault::{Code, Fault, Kind};
use slipway_domain::id::{ArtifactId, OrphanId, StackId};
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::plan::StateMark;
use slipway_domain::stack::StateInfo;
use slipway_domain::state_diff::{self, StateDiff};
use slipway_domain::state_version::{MAX_SERIAL, StateHead, StateOrigin, StateVersion};
use slipway_store::stack::Record;
use slipway_store::state::NewStateVersion;

use crate::Ctx;
use crate::access::{lock_stack, read_stack};
use crate::change::audit;
use crate::setting::usage;
use crate::source::blocking;
use crate::state::{locked_stack, opened};

/// Versions, newest first.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    page: PageRequest,
) -> Result<Page<StateVersion>, Fault> {
    let mut tx = cx.store.read().await?;
    read_stack(&mut tx, who, of, Scope::StateRead).await?;
    let rows = tx.state_versions(of, page.below(), i64::from(page.limit) + 1).await?;
    Ok(Page::of_numbered(rows, page, |kept| kept.row.version).map(|kept| kept.row))
}

/// What is known of one version.
pub async fn get(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    version: i64,
) -> Result<StateVersion, Fault> {
    let mut tx = cx.store.read().await?;
    read_stack(&mut tx, who, of, Scope::StateRead).await?;
    let found = tx.state_version(of, version).await?;
    found.map(|kept| kept.row).ok_or_else(|| Fault::not_found("state version", version))
}

/// What differs between two versions. `to` is the current one when absent, `from` the one before
/// `to`; 0 stands for no state at all. Secrets are masked.
pub async fn diff(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    from: Option<i64>,
    to: Option<i64>,
) -> Result<StateDiff, Fault> {
    let mut tx = cx.store.read().await?;
    let stack = read_stack(&mut tx, who, of, Scope::StateRead).await?;
    let to = match to {
        Some(to) => to,
        None => match tx.state_versions(of, None, 1).await?.first() {
            Some(newest) => newest.row.version,
            None => return Err(Fault::new(Code::NotReady, "The stack has no state yet.")),
        },
    };
    let from = from.unwrap_or(to.saturating_sub(1));
    let mut artifacts = Vec::new();
    let mut deployments = Vec::from_iter(stack.stack.current_deployment);
    for version in [from, to] {
        if version == 0 {
            artifacts.push(None);
            continue;
        }
        let found = tx.state_version(of, version).await?;
        let found = found.ok_or_else(|| Fault::not_found("state version", version))?;
        deployments.extend(found.row.deployment_id);
        artifacts.push(Some(found.artifact));
    }
    deployments.sort_unstable();
    deployments.dedup();
    let mut secrets = Vec::new();
    for deployment in deployments {
        let Some(record) = tx.deployment(deployment).await? else { continue };
        secrets.extend(usage::known_secrets(&mut tx, &record.deployment).await?);
    }
    drop(tx);
    let mut contents = Vec::new();
    for artifact in artifacts {
        contents.push(match artifact {
            None => Bytes::new(),
            Some(artifact) => opened(cx, who, of, artifact).await?,
        });
    }
    blocking(move || state_diff::between((from, &contents[0]), (to, &contents[1]), &secrets))
        .await?
}

/// A state that is to become the current one.
struct Set<'a> {
    of: StackId,
    /// The serial that the caller has seen; `None` when they have seen that there is no state.
    seen: Option<i64>,
    content: &'a Bytes,
    origin: StateOrigin,
    restored_from: Option<i64>,
    orphan: Option<OrphanId>,
    action: &'static str,
}

/// Puts an older version back, as a new one with a new serial. `seen` is the serial that the caller
/// has seen; another one is a conflict. Nobody may be writing.
pub async fn restore(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    version: i64,
    seen: i64,
) -> Result<StateVersion, Fault> {
    let mut tx = cx.store.read().await?;
    read_stack(&mut tx, who, of, Scope::StateWrite).await?;
    let found = tx.state_version(of, version).await?;
    drop(tx);
    let found = found.ok_or_else(|| Fault::not_found("state version", version))?;
    let content = content_of(cx, of, found.artifact).await?;
    let set = Set {
        of,
        seen: Some(seen),
        content: &content,
        origin: StateOrigin::Restore,
        restored_from: Some(version),
        orphan: None,
        action: "state.restore",
    };
    make_current(cx, who, set).await
}

/// Takes a state that was kept elsewhere. `seen` is the serial of the state that it is to follow;
/// without one, the stack must have none. The same bytes again change nothing.
pub async fn import(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    seen: Option<i64>,
    content: &Bytes,
) -> Result<StateVersion, Fault> {
    let mut tx = cx.store.read().await?;
    read_stack(&mut tx, who, of, Scope::StateWrite).await?;
    StateHead::read(content)?;
    let newest = tx.state_versions(of, None, 1).await?.into_iter().next();
    drop(tx);
    if let Some(newest) = newest.filter(|newest| newest.row.digest == digest(content)) {
        return Ok(newest.row);
    }
    let set = Set {
        of,
        seen,
        content,
        origin: StateOrigin::Import,
        restored_from: None,
        orphan: None,
        action: "state.import",
    };
    make_current(cx, who, set).await
}

/// Takes a state that was refused, all the same: it becomes the current one, with a new serial and
/// in the lineage of the state that it follows.
pub async fn adopt(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    id: OrphanId,
    seen: Option<i64>,
) -> Result<StateVersion, Fault> {
    let mut tx = cx.store.read().await?;
    read_stack(&mut tx, who, of, Scope::StateWrite).await?;
    let found = tx.orphan(of, id).await?;
    drop(tx);
    let found = found.ok_or_else(|| Fault::not_found("orphan state", id))?;
    let content = content_of(cx, of, found.artifact).await?;
    let set = Set {
        of,
        seen,
        content: &content,
        origin: StateOrigin::Adopt,
        restored_from: None,
        orphan: Some(id),
        action: "state.adopt",
    };
    make_current(cx, who, set).await
}

/// Lets go of a state that was refused. What it alone recorded is forgotten.
pub async fn discard(cx: &Ctx, who: &Principal, of: StackId, id: OrphanId) -> Result<(), Fault> {
    let mut tx = cx.store.begin().await?;
    lock_stack(&mut tx, who, of, Scope::StateWrite).await?;
    let orphan = tx.orphan(of, id).await?.ok_or_else(|| Fault::not_found("orphan state", id))?;
    let left = tx.remove_orphan(of, id).await?.unwrap_or_default();
    let detail = serde_json::json!({"orphan": id, "state": orphan.row.mark,
        "digest": orphan.row.digest, "reason": orphan.row.reason});
    audit(cx, &mut tx, who, "state.discard", of.to_string(), detail).await?;
    tx.commit().await?;
    cx.store.delete_objects(left).await;
    Ok(())
}

async fn content_of(cx: &Ctx, of: StackId, artifact: ArtifactId) -> Result<Bytes, Fault> {
    let found = cx.store.open_artifact(artifact).await?;
    let (_, content) =
        found.ok_or_else(|| Fault::internal(format!("the state {artifact} of {of} is gone")))?;
    Ok(content)
}

async fn make_current(cx: &Ctx, who: &Principal, set: Set<'_>) -> Result<StateVersion, Fault> {
    let stack = cx.store.read().await?.stack(set.of).await?;
    let stack = stack.ok_or_else(|| Fault::not_found("stack", set.of))?;
    has_seen(&stack, set.seen)?;
    let content = following(set.content, stack.stack.state.as_ref())?;
    let head = StateHead::read(&content)?;
    let artifact = ArtifactId::new(&*cx.mint);
    let sealed = cx.store.seal_artifact(artifact, ArtifactKind::State, &content, cx.now()).await?;
    let mut tx = cx.store.begin().await?;
    match may_set(&mut tx, &set).await {
        Ok(()) => {}
        Err(fault) => {
            drop(tx);
            if fault.kind() != Kind::Internal {
                cx.store.discard_artifact(sealed).await;
            }
            return Err(fault);
        }
    }
    tx.insert_artifact(&sealed).await?;
    let new = NewStateVersion {
        stack_id: set.of,
        mark: head.mark,
        resource_count: head.resource_count,
        artifact,
        origin: set.origin,
        deployment_id: None,
        epoch: None,
        written_by: Some(who.actor.clone()),
        restored_from: set.restored_from,
    };
    let added = tx.add_state_version(&new, cx.now()).await?;
    let mut left = Vec::new();
    if let Some(orphan) = set.orphan {
        // Somebody else may have dropped it a moment ago.
        left = tx
            .remove_orphan(set.of, orphan)
            .await?
            .ok_or_else(|| Fault::not_found("orphan state", orphan))?;
    }
    let detail = serde_json::json!({"version": added, "state": new.mark, "replaced": set.seen,
        "restored_from": set.restored_from, "orphan": set.orphan});
    audit(cx, &mut tx, who, set.action, set.of.to_string(), detail).await?;
    let row = tx.state_version(set.of, added).await?;
    tx.commit().await?;
    cx.store.delete_objects(left).await;
    row.map(|kept| kept.row).ok_or_else(|| Fault::internal("a version vanished after its insert"))
}

/// Nobody holds the lock, nothing is being applied, and the state is the one that was seen.
async fn may_set(tx: &mut slipway_store::Tx, set: &Set<'_>) -> Result<(), Fault> {
    let stack = locked_stack(tx, set.of).await?;
    has_seen(&stack, set.seen)?;
    if let Some(held) = tx.state_lock(set.of).await? {
        return Err(Fault::new(
            Code::StateLocked,
            format!("The state is locked by {} (lock {}).", held.held_by.id, held.lock_id),
        ));
    }
    if let Some(deployment) = tx.running_apply(set.of).await? {
        return Err(Fault::new(
            Code::StateLocked,
            format!("{deployment} is being applied to this stack."),
        ));
    }
    Ok(())
}

fn has_seen(stack: &Record, seen: Option<i64>) -> Result<(), Fault> {
    let conflict = |detail: String| Err(Fault::new(Code::Conflict, detail));
    match (&stack.stack.state, seen) {
        (None, None) => Ok(()),
        (Some(state), Some(seen)) if state.serial == seen => Ok(()),
        (None, Some(seen)) => {
            conflict(format!("The stack has no state, so none with serial {seen}."))
        }
        (Some(state), None) => conflict(format!(
            "The stack has a state already, with serial {}. Name that serial to replace it.",
            state.serial
        )),
        (Some(state), Some(seen)) => conflict(format!(
            "The state has serial {} now, not {seen}. Look at it again.",
            state.serial
        )),
    }
}

/// The state as one that follows the current one: as it is if it does, else in the current one's
/// lineage and with the next serial.
fn following(content: &Bytes, current: Option<&StateInfo>) -> Result<Bytes, Fault> {
    let head = StateHead::read(content)?;
    let Some(current) = current else { return Ok(content.clone()) };
    let same = head.mark.lineage == current.lineage;
    if same && head.mark.serial > current.serial {
        return Ok(content.clone());
    }
    if head.encrypted {
        return Err(Fault::new(
            Code::StateRefused,
            "The state is encrypted by the tool that wrote it, so it cannot be given another \
             serial. Write it with that tool.",
        ));
    }
    let serial = current.serial.checked_add(1).filter(|serial| *serial <= MAX_SERIAL);
    let serial = serial.ok_or_else(|| Fault::field("/serial", "There is no serial after that."))?;
    with_mark(content, &StateMark { lineage: current.lineage.clone(), serial })
}

/// The same state with another lineage and serial; everything else as it was written.
fn with_mark(content: &[u8], mark: &StateMark) -> Result<Bytes, Fault> {
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(content).map_err(|_| Fault::internal("a kept state is no JSON"))?;
    let raw = |text: String| RawValue::from_string(text).map_err(Fault::internal);
    fields.insert("serial".to_owned(), raw(mark.serial.to_string())?);
    fields.insert("lineage".to_owned(), raw(serde_json::json!(mark.lineage).to_string())?);
    Ok(serde_json::to_vec(&fields).map_err(Fault::internal)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(lineage: &str, serial: i64) -> Bytes {
        serde_json::json!({"version": 4, "lineage": lineage, "serial": serial}).to_string().into()
    }

    #[test]
    fn another_mark_changes_nothing_else() {
        let state =
            br#"{"version":4, "serial": 3,"lineage":"l","big":18446744073709551617,"f":1.10,
            "resources":[{"serial": 3, "x":"\u00e9\ud83d\ude00"}]}"#;
        let new = with_mark(state, &StateMark { lineage: "m\"".to_owned(), serial: 12 }).unwrap();
        let text = std::str::from_utf8(&new).unwrap();
        for part in [
            "\"serial\":12",
            r#""lineage":"m\"""#,
            "18446744073709551617",
            "1.10",
            r#"{"serial": 3, "x":"\u00e9\ud83d\ude00"}"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("\"serial\":12").count(), 1);
        assert!(with_mark(b"[]", &StateMark::default()).is_err());
    }

    #[test]
    fn what_follows_is_left_as_it_is() {
        let current = StateInfo { lineage: "l".into(), serial: 5, resource_count: 0 };
        assert_eq!(following(&state("m", 1), None).unwrap(), state("m", 1));
        assert_eq!(following(&state("l", 9), Some(&current)).unwrap(), state("l", 9));
        for other in [state("l", 5), state("l", 1), state("m", 9)] {
            let head = StateHead::read(&following(&other, Some(&current)).unwrap()).unwrap();
            assert_eq!((head.mark.lineage.as_str(), head.mark.serial), ("l", 6));
        }
        let sealed = Bytes::from(r#"{"lineage": "m", "serial": 1, "encrypted_data": "x"}"#);
        assert_eq!(following(&sealed, Some(&current)).unwrap_err().code, Code::StateRefused);
        let last = StateInfo { serial: MAX_SERIAL, ..current };
        assert_eq!(following(&state("l", 1), Some(&last)).unwrap_err().code, Code::InvalidInput);
    }
}
