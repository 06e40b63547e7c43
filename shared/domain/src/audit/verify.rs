//! Walking a chain, record by record, and naming what does not fit. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chain::{Anchor, Checkpoint, Seal, hash_of};
use crate::audit::AuditRecord;
use crate::id::AuditId;

/// Findings that one walk names at most; more are counted.
pub const MAX_FINDINGS: usize = 100;

/// What does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The record is not the one that was sealed.
    Changed,
    /// Records are not there.
    Missing,
    /// The record stands in another place than its number says, or is there twice.
    Reordered,
    /// The record does not follow the one before it: one of the two was replaced and sealed anew.
    Broken,
    /// The record cannot be read.
    Unreadable,
    /// The record was not written by this installation, or was changed before it was sealed.
    Forged,
    /// The end of the chain is not where the checkpoint says.
    Truncated,
    /// The chain and a checkpoint disagree about the same record.
    OtherChain,
    /// A signature is not that of this installation.
    BadSignature,
}

/// Something that does not fit, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[schema(as = ChainFinding)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// The number of the record, or of the first one of several.
    pub seq: i64,
    /// The last one, where it is about several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_seq: Option<i64>,
    /// The record's id, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<AuditId>,
    /// The same for people.
    pub detail: String,
}

impl Finding {
    /// A finding about the record `seq`.
    pub fn at(kind: FindingKind, seq: i64, detail: impl Into<String>) -> Self {
        Self { kind, seq, to_seq: None, id: None, detail: detail.into() }
    }
}

/// What is known of the mark that a record got when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is right.
    Right,
    /// It is not the one that this record has.
    Wrong,
    /// There is none.
    None,
    /// Nobody can tell here: the key is elsewhere.
    Unknown,
}

/// One row of a chain, as it was found.
#[derive(Debug, Clone)]
pub struct Walked {
    /// Its place.
    pub seal: Seal,
    /// Its id.
    pub id: Option<AuditId>,
    /// What was recorded; `None` when it cannot be read.
    pub record: Option<AuditRecord>,
    /// Its mark.
    pub mark: Mark,
}

/// What a walk came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Verdict {
    /// Whether nothing was found.
    pub intact: bool,
    /// Records that were looked at.
    pub records: i64,
    /// Behind which record the walk began.
    pub from: Anchor,
    /// Where it ended.
    pub to: Anchor,
    /// What does not fit; the first [`MAX_FINDINGS`] of it.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: i64,
}

/// Walks a chain.
#[derive(Debug)]
pub struct Verifier {
    from: Anchor,
    last: Anchor,
    /// Records up to this number carry no mark.
    unmarked: i64,
    records: i64,
    findings: Vec<Finding>,
    more: i64,
}

impl Verifier {
    /// Begins behind `from`. Records up to number `unmarked` need no mark.
    pub const fn new(from: Anchor, unmarked: i64) -> Self {
        Self { from, last: from, unmarked, records: 0, findings: Vec::new(), more: 0 }
    }

    /// Where the walk is.
    pub const fn at(&self) -> Anchor {
        self.last
    }

    /// Notes a finding of somebody else.
    pub fn note(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Looks at the next row.
    pub fn walk(&mut self, row: &Walked) {
        let Seal { seq, prev_hash, hash } = row.seal;
        self.records += 1;
        let about = |kind, detail: String| Finding { id: row.id, ..Finding::at(kind, seq, detail) };
        let next = self.last.seq + 1;
        if seq < next {
            self.note(about(
                FindingKind::Reordered,
                format!("Record {seq} comes after record {}.", self.last.seq),
            ));
        } else if seq > next {
            let detail = if seq == next + 1 {
                format!("Record {next} is not there.")
            } else {
                format!("Records {next} to {} are not there.", seq - 1)
            };
            self.note(Finding {
                to_seq: Some(seq - 1),
                ..Finding::at(FindingKind::Missing, next, detail)
            });
        } else if prev_hash != self.last.hash {
            self.note(about(
                FindingKind::Broken,
                format!(
                    "Record {seq} does not follow record {}: one of the two was replaced.",
                    self.last.seq
                ),
            ));
        }
        let wrong = match &row.record {
            None => Some((FindingKind::Unreadable, format!("Record {seq} cannot be read."))),
            Some(record) if hash_of(prev_hash, seq, record) != hash => Some((
                FindingKind::Changed,
                format!("Record {seq} is not the one that was sealed."),
            )),
            Some(_) => match row.mark {
                Mark::Wrong => Some((
                    FindingKind::Forged,
                    format!(
                        "Record {seq} does not carry the mark of this installation: it was put in \
                         or changed before it was sealed."
                    ),
                )),
                Mark::None if seq > self.unmarked => Some((
                    FindingKind::Forged,
                    format!("Record {seq} carries no mark of this installation: it was put in."),
                )),
                Mark::None | Mark::Right | Mark::Unknown => None,
            },
        };
        if let Some((kind, detail)) = wrong {
            self.note(about(kind, detail));
        }
        // Going on from what the row says of itself names each fault once, and not the whole rest.
        if seq >= next {
            self.last = Anchor { seq, hash };
        }
    }

    /// Compares the walk with a checkpoint whose place it has reached, or should have.
    pub fn reached(&mut self, checkpoint: &Checkpoint) {
        let head = checkpoint.head;
        if self.last.seq < head.seq {
            let detail = format!(
                "The chain ends with record {}; a checkpoint of {} knows record {}. What follows was \
                 cut off.",
                self.last.seq, checkpoint.at, head.seq
            );
            self.note(Finding {
                to_seq: Some(head.seq),
                ..Finding::at(FindingKind::Truncated, self.last.seq + 1, detail)
            });
        } else if self.last.seq == head.seq && self.last.hash != head.hash {
            self.note(Finding::at(
                FindingKind::OtherChain,
                head.seq,
                format!(
                    "Record {} is not the one that the checkpoint of {} knows.",
                    head.seq, checkpoint.at
                ),
            ));
        }
    }

    /// What it came to.
    pub fn verdict(self) -> Verdict {
        Verdict {
            intact: self.findings.is_empty(),
            records: self.records,
            from: self.from,
            to: self.last,
            findings: self.findings,
            more_findings: self.more,
        }
    }
}
