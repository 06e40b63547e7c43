//! The audit log: reading, exporting and verifying it, and what the house does for it by itself
//! (sealing, checkpoints, retention). Records are written by the verbs that they tell of; those of
//! refused requests by `denied.rs`.

mod denied;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_domain::access::{Principal, Scope};
use slipway_domain::audit::{
    Anchor, AuditEntry, Checkpoint, Filter, Finding, FindingKind, Sealed, SignedCheckpoint,
    Verdict, Verifier,
};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::page::{Page, PageRequest};
use slipway_store::Store;
use utoipa::ToSchema;

use crate::Ctx;
use crate::change::{audit, audit_record};

pub(crate) use denied::Denials;
pub use denied::{Attempt, denied, tell_left_out};

/// Records that one call verifies at most.
pub const MAX_VERIFIED: i64 = 10_000;
/// Records that are read at a time.
const READ: i64 = 500;
/// Records that get their place in one unit of work.
const SEALED_AT_ONCE: i64 = 500;
/// Records that retention lets go in one unit of work.
const PRUNED_AT_ONCE: i64 = 500;
/// Checkpoints that one call compares at most.
const CHECKPOINTS: i64 = 1_000;

/// A page of the log, newest first.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<AuditEntry>, Fault> {
    who.need(Scope::AuditRead)?;
    if filter.since.zip(filter.until).is_some_and(|(since, until)| since > until) {
        return Err(Fault::field("/since", "since is after until"));
    }
    let rows = cx.store.read().await?.audit_page(filter, page).await?;
    Ok(Page::from_surplus(rows, page, |entry| entry.record.id.0))
}

/// What an export begins with: behind which record it starts, where it ends, and what the chain is
/// now, signed. That it was asked for goes on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Behind this record.
    pub from: Anchor,
    /// Up to this one.
    pub to_seq: i64,
    /// The chain now.
    pub checkpoint: SignedCheckpoint,
}

/// Begins an export of the records `from_seq` to `to_seq`; without them, of all.
pub async fn export(
    cx: &Ctx,
    who: &Principal,
    from_seq: Option<i64>,
    to_seq: Option<i64>,
) -> Result<Export, Fault> {
    who.need(Scope::AuditRead)?;
    let mut tx = cx.store.begin().await?;
    let checkpoint = tx.audit_checkpoint(cx.now()).await?;
    let (from, to_seq) = range(&mut tx, &checkpoint.checkpoint, from_seq, to_seq).await?;
    let detail = serde_json::json!({"from_seq": from.seq + 1, "to_seq": to_seq});
    audit(cx, &mut tx, who, "audit.export", "audit".to_owned(), detail).await?;
    tx.commit().await?;
    Ok(Export { from, to_seq, checkpoint })
}

/// The next records of an export behind number `after`; empty when there are no more.
pub async fn export_some(cx: &Ctx, export: &Export, after: i64) -> Result<Vec<Sealed>, Fault> {
    let limit = READ.min(export.to_seq - after);
    if limit <= 0 {
        return Ok(Vec::new());
    }
    let rows = cx.store.read().await?.audit_chain(after, limit).await?;
    rows.into_iter()
        .take_while(|row| row.seal.seq <= export.to_seq)
        .map(|row| {
            let seq = row.seal.seq;
            let record = row.record.ok_or_else(|| {
                Fault::internal(format!("record {seq} of the audit log is not what was written"))
            })?;
            Ok(Sealed { seal: row.seal, record })
        })
        .collect()
}

/// A signed statement of what the chain is now, to be kept elsewhere.
pub async fn checkpoint(cx: &Ctx, who: &Principal) -> Result<SignedCheckpoint, Fault> {
    who.need(Scope::AuditRead)?;
    Ok(cx.store.read().await?.audit_checkpoint(cx.now()).await?)
}

/// What a check of a part of the chain came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    /// What was found.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Where to go on; absent when the end was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_seq: Option<i64>,
    /// The chain now, signed.
    pub checkpoint: SignedCheckpoint,
}

/// Verifies the records `from_seq` to `to_seq`, at most [`MAX_VERIFIED`] of them.
pub async fn verify(
    cx: &Ctx,
    who: &Principal,
    from_seq: Option<i64>,
    to_seq: Option<i64>,
) -> Result<Verified, Fault> {
    who.need(Scope::AuditRead)?;
    let mut tx = cx.store.read().await?;
    let signed = tx.audit_checkpoint(cx.now()).await?;
    let (from, to_seq) = range(&mut tx, &signed.checkpoint, from_seq, to_seq).await?;
    drop(tx);
    let to_seq = to_seq.min(from.seq + MAX_VERIFIED);
    let verdict = walk(&cx.store, from, to_seq).await?;
    let next = to_seq + 1;
    let next_seq = (next <= signed.checkpoint.head.seq).then_some(next);
    Ok(Verified { verdict, next_seq, checkpoint: signed })
}

/// Verifies the whole chain of a database, for its operator: whoever can run this has the database in
/// hand, so no scope is asked for. `kept` are checkpoints that were kept elsewhere.
pub async fn verify_all(store: &Store, kept: &[SignedCheckpoint]) -> Result<Verdict, Fault> {
    let head = store.read().await?.audit_head().await?;
    let checkpoint = *head.checkpoint();
    let mut verdict = walk(store, checkpoint.pruned, checkpoint.head.seq).await?;
    let mut found = Vec::new();
    let mut tx = store.read().await?;
    for signed in kept {
        found.extend(compare(&mut tx, &checkpoint, signed, "kept elsewhere").await?);
    }
    // What is newer than the end of the chain was sealed since, or its end was put back.
    let beyond = tx.audit_chain(checkpoint.head.seq, 1).await?;
    if let Some(row) = beyond.first() {
        let now = tx.audit_head().await?;
        if now.checkpoint().head.seq < row.seal.seq {
            let detail = format!(
                "Record {} is in the chain and its end is said to be record {}.",
                row.seal.seq, checkpoint.head.seq
            );
            found.push(Finding::at(FindingKind::OtherChain, row.seal.seq, detail));
        }
    }
    verdict.findings.append(&mut found);
    verdict.intact = verdict.findings.is_empty();
    Ok(verdict)
}

/// The range that is asked for, within what there is.
async fn range(
    tx: &mut slipway_store::Tx,
    chain: &Checkpoint,
    from_seq: Option<i64>,
    to_seq: Option<i64>,
) -> Result<(Anchor, i64), Fault> {
    let Checkpoint { head, pruned, .. } = *chain;
    let from_seq = from_seq.unwrap_or(pruned.seq + 1);
    if from_seq <= pruned.seq || from_seq > head.seq + 1 {
        return Err(Fault::field(
            "/from_seq",
            format!("the log holds the records {} to {}", pruned.seq + 1, head.seq),
        ));
    }
    let to_seq = to_seq.unwrap_or(head.seq).min(head.seq);
    if to_seq < from_seq - 1 {
        return Err(Fault::field("/to_seq", "to_seq is before from_seq"));
    }
    if from_seq == pruned.seq + 1 {
        return Ok((pruned, to_seq));
    }
    let from = tx.audit_anchor(from_seq - 1).await?;
    // A record that is not there is a finding of the walk, which begins before it.
    Ok((from.unwrap_or(pruned), to_seq))
}

/// Walks from a place to record `to_seq`, and compares what it sees with the signatures that are kept.
async fn walk(store: &Store, from: Anchor, to_seq: i64) -> Result<Verdict, Fault> {
    let head = store.read().await?.audit_head().await?;
    let chain = *head.checkpoint();
    let mut verifier = Verifier::new(from, chain.unmarked);
    if !head.genuine {
        verifier.note(Finding::at(
            FindingKind::BadSignature,
            chain.head.seq,
            "The end of the chain is not signed by this installation.",
        ));
    }
    let mut after = from.seq;
    while after < to_seq {
        let rows = store.read().await?.audit_chain(after, READ.min(to_seq - after)).await?;
        let Some(last) = rows.last().map(|row| row.seal.seq) else { break };
        for row in rows.iter().filter(|row| row.seal.seq <= to_seq) {
            verifier.walk(row);
        }
        // A place that says of itself that it is earlier would keep us here for ever.
        after = last.max(after + 1);
    }
    let mut tx = store.read().await?;
    if to_seq >= chain.head.seq {
        verifier.reached(&chain);
    } else if verifier.at().seq < to_seq {
        let missing = format!("Records {} to {to_seq} are not there.", verifier.at().seq + 1);
        verifier.note(Finding {
            to_seq: Some(to_seq),
            ..Finding::at(FindingKind::Missing, verifier.at().seq + 1, missing)
        });
    }
    let mut next = from.seq.max(chain.pruned.seq) + 1;
    loop {
        let kept = tx.audit_checkpoints(next, i64::MAX, CHECKPOINTS).await?;
        let Some(last) = kept.last() else { break };
        next = last.checkpoint.head.seq + 1;
        // One beyond the end shows that the end was put back, whatever is asked for.
        let of_interest = |signed: &&SignedCheckpoint| {
            let seq = signed.checkpoint.head.seq;
            seq <= to_seq || seq > chain.head.seq
        };
        for signed in kept.iter().filter(of_interest) {
            if let Some(finding) = compare(&mut tx, &chain, signed, "of this database").await? {
                verifier.note(finding);
            }
        }
    }
    let verdict = verifier.verdict();
    if !verdict.intact && tx.audit_head().await?.checkpoint().pruned.seq > from.seq {
        return Err(Fault::new(
            Code::Conflict,
            "Retention let go of records while they were verified. Verify again.",
        ));
    }
    Ok(verdict)
}

/// What does not fit between the chain and a checkpoint.
async fn compare(
    tx: &mut slipway_store::Tx,
    chain: &Checkpoint,
    signed: &SignedCheckpoint,
    whose: &str,
) -> Result<Option<Finding>, Fault> {
    let Checkpoint { head, at, .. } = signed.checkpoint;
    let said = format!("the checkpoint {whose} of {at}");
    if !tx.is_ours(signed)? {
        let detail = format!("The signature of {said} is not that of this installation.");
        return Ok(Some(Finding::at(FindingKind::BadSignature, head.seq, detail)));
    }
    if head.seq > chain.head.seq {
        let detail = format!(
            "The chain ends with record {}; {said} knows record {}. What follows was cut off.",
            chain.head.seq, head.seq
        );
        return Ok(Some(Finding {
            to_seq: Some(head.seq),
            ..Finding::at(FindingKind::Truncated, chain.head.seq + 1, detail)
        }));
    }
    let here = match head.seq {
        0 => Some(Anchor::GENESIS),
        seq if seq == chain.pruned.seq => Some(chain.pruned),
        // Retention has let it go; nothing is left to compare.
        seq if seq < chain.pruned.seq => return Ok(None),
        seq => tx.audit_anchor(seq).await?,
    };
    Ok((here != Some(head)).then(|| {
        let detail = format!("Record {} is not the one that {said} knows.", head.seq);
        Finding::at(FindingKind::OtherChain, head.seq, detail)
    }))
}

/// Gives every committed record its place in the chain. Returns how many. Every process may do so
/// as often as it likes: one of them does it, and where there is nothing to do, nothing is written.
pub async fn seal(cx: &Ctx) -> Result<usize, Fault> {
    let mut sealed = 0;
    if cx.store.read().await?.oldest_unsealed_audit().await?.is_none() {
        return Ok(0);
    }
    loop {
        let run = cx.store.seal_audit(cx.now(), SEALED_AT_ONCE).await?;
        sealed += run.records;
        if run.records < usize::try_from(SEALED_AT_ONCE).unwrap_or(usize::MAX) {
            return Ok(sealed);
        }
    }
}

/// Keeps a checkpoint of the chain if it went on since the last one, and says it in the log, which is
/// kept elsewhere.
pub async fn keep_checkpoint(cx: &Ctx) -> Result<(), Fault> {
    let mut tx = cx.store.begin().await?;
    let kept = tx.keep_audit_checkpoint(cx.now()).await?;
    tx.commit().await?;
    if let Some(signed) = kept {
        let text = serde_json::to_string(&signed).map_err(Fault::internal)?;
        tracing::info!(seq = signed.checkpoint.head.seq, hash = %signed.checkpoint.head.hash,
            checkpoint = text, "audit checkpoint");
    }
    Ok(())
}

/// Lets go of records that are older than `keep`. Returns how many.
pub async fn prune(cx: &Ctx, keep: chrono::Duration) -> Result<usize, Fault> {
    let who = Principal::system("retention");
    let before = cx.now() - keep;
    let mut gone = 0;
    loop {
        let tell = |count: usize, last: Anchor| {
            let detail = serde_json::json!({"records": count, "to_seq": last.seq,
                "to_hash": last.hash, "older_than": before});
            audit_record(cx, &who, "audit.prune", "audit".to_owned(), detail)
        };
        let count = cx.store.prune_audit(cx.now(), before, PRUNED_AT_ONCE, tell).await?;
        gone += count;
        if count < usize::try_from(PRUNED_AT_ONCE).unwrap_or(usize::MAX) {
            return Ok(gone);
        }
    }
}

/// For how long the oldest record has been waiting for its place.
pub async fn unsealed_for(cx: &Ctx) -> Result<chrono::Duration, Fault> {
    let oldest: Option<DateTime<Utc>> = cx.store.read().await?.oldest_unsealed_audit().await?;
    let age = oldest.map_or(chrono::Duration::zero(), |at| cx.now() - at);
    Ok(age.max(chrono::Duration::zero()))
}
