//! The requests of both sides: the same stacks, the same variables, an `Idempotency-Key` in each.

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::json;
use slipway_domain::deployment::{Operation, Options};
use slipway_domain::id::{Mint as _, RandomMint};
use slipway_domain::source::Source;
use slipway_domain::stack::StackKey;
use slipway_services::deployment::Submit;

use crate::load::Shape;

/// Stacks that are deployed again and again, as stacks are.
const STACKS: u64 = 1000;

/// What is common to the submissions of one measurement.
pub(super) struct Batch {
    project: String,
    /// What the names of stacks begin with.
    stack: &'static str,
    keys: Option<String>,
    first: u64,
}

impl Batch {
    /// Submissions in `project`, each with an idempotency key that was never used.
    pub(super) fn new(project: impl Into<String>) -> Self {
        Self { project: project.into(), stack: "stack", keys: Some(unique()), first: 0 }
    }

    /// Without idempotency keys.
    pub(super) fn without_keys(self) -> Self {
        Self { keys: None, ..self }
    }

    /// Of jobs that do not end by themselves.
    pub(super) fn held(self) -> Self {
        Self { stack: super::HELD, ..self }
    }

    /// Beginning with another number than 0.
    pub(super) fn from(self, first: u64) -> Self {
        Self { first, ..self }
    }

    fn stack(&self, number: u64) -> String {
        format!("{}-{}", self.stack, (self.first + number) % STACKS)
    }

    fn key(&self, number: u64) -> Option<String> {
        self.keys.as_ref().map(|keys| format!("{keys}-{}", self.first + number))
    }
}

/// A word that nobody used before.
pub(super) fn unique() -> String {
    RandomMint.uuid().simple().to_string()
}

/// `POST /api/v1/deployments`.
pub(super) struct OurSubmits(pub(super) Batch);

impl Shape for OurSubmits {
    const METHOD: &'static str = "POST";
    const STATUS: StatusCode = StatusCode::ACCEPTED;

    fn request(&self, number: u64) -> anyhow::Result<(String, Bytes)> {
        let request = Submit {
            stack: StackKey {
                project: self.0.project.clone(),
                name: self.0.stack(number),
                environment: "dev".to_owned(),
            },
            source: Some(Source::Template { name: "hello".to_owned(), version: None }),
            variables: [("name".to_owned(), "bench".into())].into(),
            operation: Operation::Deploy,
            options: Options::default(),
        };
        Ok(("/api/v1/deployments".to_owned(), serde_json::to_vec(&request)?.into()))
    }

    fn idempotency_key(&self, number: u64) -> Option<String> {
        self.0.key(number)
    }
}

/// `POST /deployments` of the peer.
pub(super) struct PeerSubmits(pub(super) Batch);

impl Shape for PeerSubmits {
    const METHOD: &'static str = "POST";
    const STATUS: StatusCode = StatusCode::ACCEPTED;

    fn request(&self, number: u64) -> anyhow::Result<(String, Bytes)> {
        let request = json!({
            "project": self.0.project,
            "stack": self.0.stack(number),
            "environment": "dev",
            "variables": {"name": "bench"},
        });
        Ok(("/deployments".to_owned(), serde_json::to_vec(&request)?.into()))
    }

    fn idempotency_key(&self, number: u64) -> Option<String> {
        self.0.key(number)
    }
}
