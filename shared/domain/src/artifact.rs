//! Artifacts: encrypted blobs and what is known of them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::id::ArtifactId;

/// What a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactKind {
    /// A source tree as `tar.gz`.
    Source,
    /// A driver's own plan file.
    PlanFile,
    /// What a driver needs beside the plan file to apply it (lock file and the like), as `tar.gz`.
    PlanContext,
    /// A version of a stack's state.
    State,
}

impl ArtifactKind {
    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::PlanFile => "plan_file",
            Self::PlanContext => "plan_context",
            Self::State => "state",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Source, Self::PlanFile, Self::PlanContext, Self::State]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A blob's record. The bytes are elsewhere, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Artifact {
    /// Name it by this.
    pub id: ArtifactId,
    /// What it is.
    pub kind: ArtifactKind,
    /// SHA-256 of the bytes in clear, as `sha256:<hex>`.
    pub digest: String,
    /// Size in bytes, in clear.
    pub size_bytes: u64,
    /// When it was put here.
    pub created_at: DateTime<Utc>,
}

/// `sha256:<hex>` of some bytes: the one form of digest in the house.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
