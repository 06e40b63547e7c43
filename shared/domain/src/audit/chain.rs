//! The chain: what is hashed, and in which form.
//!
//! `hash = SHA-256(previous hash ‖ canonical JSON of the record)`. The canonical JSON is that of the
//! record with its number `seq` in it: names in order of their bytes, no white space, times to the
//! microsecond, what is absent left out.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::AuditRecord;

/// A hash of the chain. Its text is hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What stands before the first record.
    pub const GENESIS: Self = Self([0; 32]);

    /// Reads bytes; `None` when they are not as many as they must be.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ChainHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| "a hash of the chain has 64 hexadecimal digits")?;
        Ok(Self(bytes))
    }
}

impl Serialize for ChainHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ChainHash {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ChainHash".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$"})
    }
}

impl utoipa::PartialSchema for ChainHash {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[0-9a-f]{64}$"))
            .description(Some("A SHA-256 in hexadecimal."))
            .build()
            .into()
    }
}

impl ToSchema for ChainHash {}

/// A record's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Seal {
    /// Its number, from 1, without holes.
    #[schema(minimum = 1)]
    pub seq: i64,
    /// The hash of the record before it; zeros before the first.
    pub prev_hash: ChainHash,
    /// Its own.
    pub hash: ChainHash,
}

impl Seal {
    /// The seal of `record` as the one that follows `before`.
    pub fn after(before: Anchor, record: &AuditRecord) -> Self {
        let seq = before.seq + 1;
        Self { seq, prev_hash: before.hash, hash: hash_of(before.hash, seq, record) }
    }

    /// The place that this is.
    pub const fn anchor(&self) -> Anchor {
        Anchor { seq: self.seq, hash: self.hash }
    }
}

/// A record in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Sealed {
    /// The place.
    #[serde(flatten)]
    pub seal: Seal,
    /// What was recorded.
    #[serde(flatten)]
    pub record: AuditRecord,
}

/// A place in the chain that something can go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Anchor {
    /// The number of the last record up to here; 0 before the first.
    #[schema(minimum = 0)]
    pub seq: i64,
    /// Its hash.
    pub hash: ChainHash,
}

impl Anchor {
    /// The beginning.
    pub const GENESIS: Self = Self { seq: 0, hash: ChainHash::GENESIS };
}

/// What the chain was at a moment. Signed and kept elsewhere, it shows when its end is cut off later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Checkpoint {
    /// The last record.
    pub head: Anchor,
    /// The last record that retention let go; the chain that is kept goes on from it.
    pub pruned: Anchor,
    /// Records from before there was a chain: the first ones of it, which carry no mark.
    #[schema(minimum = 0)]
    pub unmarked: i64,
    /// When.
    #[serde(serialize_with = "super::micros")]
    pub at: DateTime<Utc>,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!(
            "slipway audit checkpoint 1\n{} {}\n{} {}\n{}\n{}\n",
            self.head.seq,
            self.head.hash,
            self.pruned.seq,
            self.pruned.hash,
            self.unmarked,
            self.at.to_rfc3339_opts(SecondsFormat::Micros, true)
        )
    }
}

/// A checkpoint with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct SignedCheckpoint {
    /// What is signed.
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    /// The public key (Ed25519), in base64. It never changes in an installation.
    pub key: String,
    /// The signature of the checkpoint's text, in base64.
    pub signature: String,
}

/// The canonical JSON of a record; with its number, as it is hashed.
pub fn canonical(record: &AuditRecord, seq: Option<i64>) -> String {
    // Maps of serde_json are in order of their names. A test sees to it that they stay so.
    let mut value = serde_json::to_value(record).unwrap_or_default();
    if let Some(seq) = seq {
        value["seq"] = seq.into();
    }
    value.to_string()
}

/// The hash of `record` as number `seq` behind `prev`.
pub(super) fn hash_of(prev: ChainHash, seq: i64, record: &AuditRecord) -> ChainHash {
    let hash = Sha256::new().chain_update(prev.0).chain_update(canonical(record, Some(seq)));
    ChainHash(hash.finalize().into())
}
