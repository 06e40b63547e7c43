//! The record of who did what, and the chain that shows when somebody touched it.
//!
//! A record is written in the unit of work that it tells of. Within about a second a sealer gives it
//! its place in the chain (`chain.rs`): a number without holes, the hash of the record before it, and
//! its own. `verify.rs` walks a chain and names what does not fit.

mod chain;
mod filter;
mod verify;

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::{Actor, Principal};
use crate::artifact::digest;
use crate::clock::Clock;
use crate::id::{AuditId, Mint};

pub use chain::{Anchor, ChainHash, Checkpoint, Seal, Sealed, SignedCheckpoint, canonical};
pub use filter::Filter;
pub use verify::{Finding, FindingKind, MAX_FINDINGS, Mark, Verdict, Verifier, Walked};

/// Longest user agent that is kept, in characters.
const MAX_USER_AGENT: usize = 256;
/// Longest action, token id or address that is kept, in characters.
const MAX_NAME: usize = 200;
/// Longest target that is kept, in characters.
const MAX_TARGET: usize = 500;
/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 2000;
/// Largest detail that is kept, in bytes of JSON. What is larger is kept as its digest.
const MAX_DETAIL: usize = 256 << 10;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    /// It was done.
    Allowed,
    /// It was refused: nobody knew who asked, or they might not.
    Denied,
    /// It was begun and did not come to its end.
    Failed,
}

impl AuditResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Failed];

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.as_str() == text)
    }
}

impl fmt::Display for AuditResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One record of the audit log. Records are never changed; only retention lets them go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct AuditRecord {
    /// The record.
    pub id: AuditId,
    /// When, to the microsecond.
    #[serde(serialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: Actor,
    /// With which session, API key or workload token: its id, never itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// From where, if over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// With what program, by its own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// What, as `noun.verb`, e.g. `deployment.approve`.
    #[schema(example = "deployment.approve")]
    pub action: String,
    /// On what: the text form of an id, or a name.
    pub target: String,
    /// How it ended.
    pub result: AuditResult,
    /// Why: what the person said, or what refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Facts that matter later: the digest approved, what was left.
    pub detail: Value,
    /// The trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Digest of what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_digest: Option<String>,
    /// Digest of what is there after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_digest: Option<String>,
}

fn micros<S: serde::Serializer>(at: &DateTime<Utc>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

impl AuditRecord {
    /// A record of something that `who` did. What `detail` says under `reason`, `before`, `after`,
    /// `digest` and `plan_digest` goes into the record's own fields too, as text or as digest.
    pub fn of(
        clock: &dyn Clock,
        mint: &dyn Mint,
        who: &Principal,
        action: &str,
        target: String,
        detail: Value,
    ) -> Self {
        let said = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
        let digest_of = |name: &str| {
            let value = detail.get(name).filter(|value| !value.is_null())?;
            Some(digest(value.to_string().as_bytes()))
        };
        Self {
            id: AuditId::new(mint),
            at: clock.now(),
            actor: who.actor.clone(),
            token: who.token.clone(),
            address: who.address.clone(),
            user_agent: who.user_agent.clone(),
            action: action.to_owned(),
            target,
            result: AuditResult::Allowed,
            reason: said("reason"),
            before_digest: digest_of("before"),
            after_digest: digest_of("after").or(said("digest")).or(said("plan_digest")),
            detail,
            trace_id: who.trace_id(),
        }
    }

    /// The same record with another ending.
    #[must_use]
    pub fn ended(self, result: AuditResult) -> Self {
        Self { result, ..self }
    }

    /// The same record, within what is kept: everything that a caller chose is cut to a length, and
    /// has no characters that a database or a terminal would trip over.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let cut_all = |text: Option<String>, most| text.map(|text| cut(&text, most));
        self.token = cut_all(self.token, MAX_NAME);
        self.address = cut_all(self.address, MAX_NAME);
        self.user_agent = cut_all(self.user_agent, MAX_USER_AGENT);
        self.action = cut(&self.action, MAX_NAME);
        self.target = cut(&self.target, MAX_TARGET);
        self.reason = cut_all(self.reason, MAX_REASON);
        self.trace_id = cut_all(self.trace_id, MAX_NAME);
        let text = self.detail.to_string();
        if text.len() > MAX_DETAIL {
            self.detail = serde_json::json!({"left_out_bytes": text.len(), "digest": digest(text.as_bytes())});
        }
        self
    }
}

/// The first `most` characters, without controls.
fn cut(text: &str, most: usize) -> String {
    let kept = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    kept.take(most).collect()
}

/// One row of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct AuditEntry {
    /// What was recorded.
    #[serde(flatten)]
    pub record: AuditRecord,
    /// Its place in the chain; absent for the second until it is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
}

/// One line of an export: first where it begins, then the records in the order of the chain, and at
/// the end a signed checkpoint. An export without it was cut off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExportLine {
    /// The record that the first one follows.
    Anchor(Anchor),
    /// A record.
    Record(Box<Sealed>),
    /// What the chain was when the export began.
    Checkpoint(SignedCheckpoint),
}

#[cfg(test)]
mod tests;
