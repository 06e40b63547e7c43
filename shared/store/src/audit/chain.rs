//! The chain of the audit log: sealing what was committed, reading it in order, and letting go of its
//! front.
//!
//! Records are written without a place, so that units of work never wait for each other because of
//! them. The sealer takes what is committed and has no place yet, whenever it was begun, and puts it
//! behind the end of the chain; the row of `audit_chain` is its lock, which nobody else takes.

use chrono::{DateTime, Utc};
use slipway_domain::audit::{
    Anchor, AuditRecord, ChainHash, Checkpoint, Mark, Seal, SignedCheckpoint, Walked,
};
use slipway_domain::id::AuditId;

use super::{Row, select};
use crate::crypto::{is_signed, sign};
use crate::db::{Conn, Store, Tx, sql};
use crate::dialect::fill;
use crate::error::{Error, Result};

/// The end of the chain as it is kept.
#[derive(Debug, Clone)]
pub struct Head {
    /// What it says, and its signature.
    pub signed: SignedCheckpoint,
    /// Whether the signature is that of this installation, or nothing was sealed yet.
    pub genuine: bool,
}

impl Head {
    /// What it says.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.signed.checkpoint
    }
}

/// What one run of the sealer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedRun {
    /// Records that got their place.
    pub records: usize,
    /// Of these, those whose mark is not that of this installation.
    pub forged: usize,
    /// The end of the chain now.
    pub head: Anchor,
}

#[derive(sqlx::FromRow)]
struct CheckpointRow {
    seq: i64,
    hash: String,
    pruned_seq: i64,
    pruned_hash: String,
    unmarked: i64,
    at: DateTime<Utc>,
    public_key: String,
    signature: String,
}

impl TryFrom<CheckpointRow> for SignedCheckpoint {
    type Error = Error;

    fn try_from(row: CheckpointRow) -> Result<Self> {
        let hash = |text: &str| text.parse().map_err(|e| Error::corrupt("audit_chain", e));
        let checkpoint = Checkpoint {
            head: Anchor { seq: row.seq, hash: hash(&row.hash)? },
            pruned: Anchor { seq: row.pruned_seq, hash: hash(&row.pruned_hash)? },
            unmarked: row.unmarked,
            at: row.at,
        };
        Ok(Self { checkpoint, key: row.public_key, signature: row.signature })
    }
}

type SeqOnly = (i64,);

impl Tx {
    /// The end of the chain.
    pub async fn audit_head(&mut self) -> Result<Head> {
        let row = sql!(maybe CheckpointRow, self,
            "select seq, hash, pruned_seq, pruned_hash, unmarked, at, public_key, signature
             from audit_chain where id = 1")?;
        self.head(row)
    }

    /// The end of the chain, for whoever is to change it.
    async fn lock_audit_head(&mut self) -> Result<Head> {
        let text = fill(
            self,
            "select seq, hash, pruned_seq, pruned_hash, unmarked, at, public_key, signature
             from audit_chain where id = 1 {for_update}",
        );
        let row = sql!(maybe CheckpointRow, self, text)?;
        self.head(row)
    }

    /// The same, unless somebody else is about to change it.
    async fn try_lock_audit_head(&mut self) -> Result<Option<Head>> {
        let text = fill(
            self,
            "select seq, hash, pruned_seq, pruned_hash, unmarked, at, public_key, signature
             from audit_chain where id = 1 {skip_locked}",
        );
        let row = sql!(maybe CheckpointRow, self, text)?;
        row.map(|row| self.head(Some(row))).transpose()
    }

    fn head(&self, row: Option<CheckpointRow>) -> Result<Head> {
        let row = row.ok_or_else(|| Error::corrupt("audit_chain", "its one row is not there"))?;
        let signed = SignedCheckpoint::try_from(row)?;
        let untouched = signed.checkpoint.head == Anchor::GENESIS && signed.signature.is_empty();
        let genuine = untouched || self.is_ours(&signed)?;
        Ok(Head { signed, genuine })
    }

    /// Whether a checkpoint is signed with this installation's key.
    pub fn is_ours(&self, signed: &SignedCheckpoint) -> Result<bool> {
        let key = sign(&self.house, signed.checkpoint)?.key;
        Ok(signed.key == key && is_signed(signed))
    }

    /// A signed statement of what the chain is now.
    pub async fn audit_checkpoint(&mut self, now: DateTime<Utc>) -> Result<SignedCheckpoint> {
        let head = self.audit_head().await?;
        sign(&self.house, Checkpoint { at: now, ..*head.checkpoint() })
    }

    /// Keeps a checkpoint of the chain as it is now; `None` when there is one already.
    pub async fn keep_audit_checkpoint(
        &mut self,
        now: DateTime<Utc>,
    ) -> Result<Option<SignedCheckpoint>> {
        let signed = self.audit_checkpoint(now).await?;
        let Checkpoint { head, pruned, unmarked, at } = signed.checkpoint;
        if head.seq == 0 {
            return Ok(None);
        }
        let kept = sql!(execute self,
            "insert into audit_checkpoints
                 (seq, hash, pruned_seq, pruned_hash, unmarked, at, public_key, signature)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (seq) do nothing",
            head.seq, head.hash.to_string(), pruned.seq, pruned.hash.to_string(), unmarked, at,
            signed.key.as_str(), signed.signature.as_str())?;
        Ok((kept == 1).then_some(signed))
    }

    /// Checkpoints that were kept of records `from` to `to`, oldest first, at most `limit`.
    pub async fn audit_checkpoints(
        &mut self,
        from: i64,
        to: i64,
        limit: i64,
    ) -> Result<Vec<SignedCheckpoint>> {
        let rows = sql!(all CheckpointRow, self,
            "select seq, hash, pruned_seq, pruned_hash, unmarked, at, public_key, signature
             from audit_checkpoints where seq >= $1 and seq <= $2 order by seq limit $3",
            from, to, limit)?;
        rows.into_iter().map(SignedCheckpoint::try_from).collect()
    }

    /// Records behind number `after`, in the order of the chain, at most `limit`.
    pub async fn audit_chain(&mut self, after: i64, limit: i64) -> Result<Vec<Walked>> {
        let rows = sql!(all Row, self,
            select!("where seq > $1 order by seq limit $2"), after, limit)?;
        let house = self.house.clone();
        let walked = rows.iter().map(|row| {
            let record = row.record();
            let mark = row.mark(&house, record.as_ref());
            // What is no hash fits to nothing.
            let seal = row.seal().unwrap_or(Seal {
                seq: row.seq.unwrap_or_default(),
                prev_hash: ChainHash([0xff; 32]),
                hash: ChainHash([0xff; 32]),
            });
            Walked { seal, id: Some(row.id), record, mark }
        });
        Ok(walked.collect())
    }

    /// The place of record `seq`; `None` when it is not there.
    pub async fn audit_anchor(&mut self, seq: i64) -> Result<Option<Anchor>> {
        let hash = sql!(scalar_maybe Option<String>, self,
            "select hash from audit where seq = $1", seq)?;
        let hash = hash.flatten().and_then(|hash| hash.parse().ok());
        Ok(hash.map(|hash| Anchor { seq, hash }))
    }

    /// When the oldest record was written that has no place yet.
    pub async fn oldest_unsealed_audit(&mut self) -> Result<Option<DateTime<Utc>>> {
        sql!(scalar_maybe DateTime<Utc>, self,
            "select at from audit where seq is null order by id limit 1")
    }

    /// Writes the end of the chain.
    async fn move_audit_head(&mut self, to: Checkpoint) -> Result<()> {
        let SignedCheckpoint { checkpoint, key, signature } = sign(&self.house, to)?;
        let Checkpoint { head, pruned, at, .. } = checkpoint;
        let moved = sql!(execute self,
            "update audit_chain set seq = $1, hash = $2, pruned_seq = $3, pruned_hash = $4, at = $5,
                 public_key = $6, signature = $7 where id = 1",
            head.seq, head.hash.to_string(), pruned.seq, pruned.hash.to_string(), at, key,
            signature)?;
        if moved == 1 { Ok(()) } else { Err(Error::Changed) }
    }

    /// Writes places of records.
    async fn place_audit(&mut self, seals: &[(AuditId, Seal)]) -> Result<()> {
        let placed = match self.conn() {
            Conn::Sqlite(conn) => {
                let mut placed = 0;
                for (id, seal) in seals {
                    let done = sqlx::query(
                        "update audit set seq = $2, prev_hash = $3, hash = $4
                         where id = $1 and seq is null",
                    )
                    .bind(id)
                    .bind(seal.seq)
                    .bind(seal.prev_hash.to_string())
                    .bind(seal.hash.to_string());
                    placed += done.execute(&mut *conn).await?.rows_affected();
                }
                placed
            }
            Conn::Postgres(conn) => {
                let column = |value: fn(&Seal) -> ChainHash| {
                    seals.iter().map(|(_, seal)| value(seal).to_string()).collect::<Vec<_>>()
                };
                sqlx::query(
                    "update audit a set seq = v.seq, prev_hash = v.prev_hash, hash = v.hash
                     from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[])
                         as v (id, seq, prev_hash, hash)
                     where a.id = v.id and a.seq is null",
                )
                .bind(seals.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
                .bind(seals.iter().map(|(_, seal)| seal.seq).collect::<Vec<_>>())
                .bind(column(|seal| seal.prev_hash))
                .bind(column(|seal| seal.hash))
                .execute(conn)
                .await?
                .rows_affected()
            }
        };
        if placed == seals.len() as u64 { Ok(()) } else { Err(Error::Changed) }
    }
}

impl Store {
    /// Gives up to `limit` committed records their place, unless another process is about to.
    pub async fn seal_audit(&self, now: DateTime<Utc>, limit: i64) -> Result<SealedRun> {
        let mut tx = self.begin().await?;
        let Some(head) = tx.try_lock_audit_head().await? else {
            return Ok(SealedRun { records: 0, forged: 0, head: Anchor::GENESIS });
        };
        let checkpoint = *head.checkpoint();
        let old = checkpoint.head.seq < checkpoint.unmarked;
        let rows = if old {
            // Records from before there was a chain stand at its front.
            sql!(all Row, &mut tx,
                select!("where seq is null and mark is null order by id limit $1"), limit)?
        } else {
            sql!(all Row, &mut tx, select!("where seq is null order by id limit $1"), limit)?
        };
        let mut last = checkpoint.head;
        let (mut seals, mut forged) = (Vec::with_capacity(rows.len()), 0);
        for row in &rows {
            let record = row.record();
            let genuine = match row.mark(&tx.house, record.as_ref()) {
                Mark::Right => true,
                Mark::None => last.seq < checkpoint.unmarked,
                Mark::Wrong | Mark::Unknown => false,
            };
            // It gets its place all the same: what was tampered with must not vanish.
            let seal = match &record {
                Some(record) => Seal::after(last, record),
                None => unreadable(last),
            };
            if !genuine {
                forged += 1;
                tracing::error!(audit_id = %row.id, seq = seal.seq, action = row.action,
                    "a record of the audit log was not written by this installation, or was changed \
                     before it was sealed");
            }
            last = seal.anchor();
            seals.push((row.id, seal));
        }
        if seals.is_empty() {
            // Not by dropping it: the lock would outlive this call, and the next run find it taken.
            tx.rollback().await?;
            return Ok(SealedRun { records: 0, forged: 0, head: last });
        }
        if !head.genuine {
            tracing::error!(
                seq = checkpoint.head.seq,
                "the end of the audit chain was not signed by this installation"
            );
            return Err(Error::corrupt(
                "audit_chain",
                "its signature is not ours; see `slipway audit \
                verify --database`",
            ));
        }
        tx.place_audit(&seals).await?;
        tx.move_audit_head(Checkpoint { head: last, at: now, ..checkpoint }).await?;
        tx.commit().await?;
        Ok(SealedRun { records: seals.len(), forged, head: last })
    }

    /// Lets go of up to `limit` records at the front of the chain that are older than `before`, and
    /// puts on record that it did: `tell` makes that record of their number and of the last of them.
    /// Gives how many.
    pub async fn prune_audit(
        &self,
        now: DateTime<Utc>,
        before: DateTime<Utc>,
        limit: i64,
        tell: impl FnOnce(usize, Anchor) -> AuditRecord,
    ) -> Result<usize> {
        let mut tx = self.begin().await?;
        let head = tx.lock_audit_head().await?;
        let checkpoint = *head.checkpoint();
        let rows = sql!(all Row, &mut tx,
            select!("where seq > $1 order by seq limit $2"), checkpoint.pruned.seq, limit)?;
        let mut last = checkpoint.pruned;
        let mut count = 0;
        for row in rows.iter().take_while(|row| row.at < before) {
            // What does not fit is kept for whoever looks into it.
            let Some(seal) = row.seal().filter(|seal| seal.prev_hash == last.hash) else { break };
            last = seal.anchor();
            count += 1;
        }
        if count == 0 || !head.genuine {
            tx.rollback().await?;
            return Ok(0);
        }
        tx.move_audit_head(Checkpoint { pruned: last, at: now, ..checkpoint }).await?;
        // The guard of the table lets go only what the end of the chain says is gone.
        let gone = sql!(all SeqOnly, &mut tx,
            "delete from audit where seq <= $1 returning seq", last.seq)?;
        if gone.len() != count {
            return Err(Error::Changed);
        }
        tx.insert_audit(&[tell(count, last)]).await?;
        tx.commit().await?;
        Ok(count)
    }
}

/// The place of a record that cannot be read: it fits to nothing, and is named by whoever verifies.
fn unreadable(last: Anchor) -> Seal {
    Seal { seq: last.seq + 1, prev_hash: last.hash, hash: ChainHash([0xff; 32]) }
}
