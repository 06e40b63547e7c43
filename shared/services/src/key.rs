//! The keys that seal what is kept: which are in use, and giving everything the current one.
//!
//! Whoever can run this has the key ring and the database in hand, so no scope is asked for; that
//! it was done is on the record.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use slipway_domain::access::Principal;
use slipway_domain::audit::{AuditRecord, AuditResult};
use slipway_domain::clock::Clock;
use slipway_domain::fault::Fault;
use slipway_domain::id::Mint;
use slipway_store::Store;
use slipway_store::rotation::Walk;

/// Walks over everything that one rotation makes, at most. What it meets in the second one was
/// sealed by another process during the first.
const WALKS: u32 = 3;

/// Which keys are in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InUse {
    /// The key that seals now.
    pub current: String,
    /// Envelopes under each key.
    pub envelopes: BTreeMap<String, u64>,
    /// Envelopes under other keys than the current one.
    pub left: u64,
    /// Keys that envelopes need and this process does not have, and how many need each.
    pub keys_missing: BTreeMap<String, u64>,
    /// Artifacts whose object is not in the artifact store.
    pub objects_missing: u64,
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Envelopes that had another key when it began.
    pub total: u64,
    /// Envelopes that it has given the current one.
    pub rewrapped: u64,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// Envelopes that it gave the current key.
    pub rewrapped: u64,
    /// What is in use now.
    #[serde(flatten)]
    pub now: InUse,
}

/// Why nothing was rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// There is one key, and it is in use already.
    #[error(
        "the key ring has one key only, {current}, so there is nothing to rotate to. Make another \
         one with `slipway keys generate` and put it before {current} in the ring of every process"
    )]
    NoOtherKey {
        /// The key that there is.
        current: String,
    },
    /// Some envelopes cannot be opened.
    #[error(
        "nothing was changed: {}. Put what is missing back into the key ring (behind the current \
         key), or the key service back into the configuration, and start again",
        counted(.0)
    )]
    KeysMissing(BTreeMap<String, u64>),
    /// It failed on the way. It can be started again.
    #[error(transparent)]
    Fault(#[from] Fault),
}

fn counted(missing: &BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    for (key, count) in missing {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{count} envelopes need key {key}, which is not here");
    }
    text
}

/// Counts envelopes by key. Changes nothing.
pub async fn in_use(store: &Store) -> Result<InUse, Fault> {
    let current = store.keys().current().await?;
    let found = store.keys_in_use().await?;
    let left = found.under.iter().filter(|(key, _)| **key != current).map(|(_, n)| n).sum();
    let keys_missing = found
        .under
        .iter()
        .filter(|(key, _)| !store.keys().opens(key))
        .map(|(key, count)| (key.clone(), *count))
        .collect();
    Ok(InUse {
        current,
        envelopes: found.under,
        left,
        keys_missing,
        objects_missing: found.objects_missing,
    })
}

/// Gives every envelope the current key, while everybody else goes on reading and writing. It may
/// be cut off anywhere and started again.
pub async fn rotate(
    store: &Store,
    clock: &dyn Clock,
    mint: &dyn Mint,
    who: &Principal,
    mut progress: impl FnMut(Progress),
) -> Result<Rotated, RotateError> {
    let before = in_use(store).await?;
    if !before.keys_missing.is_empty() {
        return Err(RotateError::KeysMissing(before.keys_missing));
    }
    if before.left == 0 && !store.keys().can_rotate() {
        return Err(RotateError::NoOtherKey { current: before.current });
    }
    // Every key that is in use is here, so the house key opens; records are marked with it.
    let store = &store.clone().with_house().await.map_err(Fault::from)?;
    let record = |result, detail: serde_json::Value| {
        AuditRecord::of(clock, mint, who, "keys.rotate", before.current.clone(), detail)
            .ended(result)
    };
    put(store, record(AuditResult::Allowed, serde_json::json!({"envelopes": before.envelopes})))
        .await?;
    let mut rewrapped = 0;
    let mut walked = Ok(());
    'walks: for _ in 0..WALKS {
        let start = rewrapped;
        let mut walk = Some(Walk::default());
        while let Some(at) = walk {
            match store.rewrap_some(at, &before.current).await {
                Ok(step) => {
                    rewrapped += step.rewrapped;
                    walk = step.next;
                    progress(Progress { total: before.left, rewrapped });
                }
                Err(error) => {
                    walked = Err(Fault::from(error));
                    break 'walks;
                }
            }
        }
        if rewrapped == start {
            break;
        }
    }
    if let Err(fault) = walked {
        let detail = serde_json::json!({"rewrapped": rewrapped, "error": fault.to_string()});
        // The database may be what failed: the fault that ended it is the one to tell.
        if let Err(error) = put(store, record(AuditResult::Failed, detail)).await {
            tracing::warn!(%error, "the end of the rotation is not on the record");
        }
        return Err(fault.into());
    }
    let now = in_use(store).await?;
    let result = if now.left == 0 { AuditResult::Allowed } else { AuditResult::Failed };
    let detail = serde_json::json!({
        "rewrapped": rewrapped, "left": now.left, "envelopes": now.envelopes,
    });
    put(store, record(result, detail)).await?;
    Ok(Rotated { rewrapped, now })
}

async fn put(store: &Store, record: AuditRecord) -> Result<(), Fault> {
    let mut tx = store.begin().await?;
    tx.insert_audit(&[record]).await?;
    tx.commit().await?;
    Ok(())
}
