//! What the clients of a run asked for and were told: one half of what is checked at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipway_domain::id::DeploymentId;

/// One deployment that somebody asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// What the ledger calls it.
    pub(super) name: String,
    /// Its stack's name.
    pub(super) stack: String,
    /// Resources that its apply makes.
    pub(super) resources: u32,
    /// The id in every answer that accepted it: all were asked with one idempotency key.
    pub(super) answers: Vec<DeploymentId>,
}

/// Everything that clients know.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// By name.
    pub(super) asked: BTreeMap<String, Asked>,
    /// Approvals that were answered with yes, and the digest they named.
    pub(super) approved: Vec<(DeploymentId, String)>,
    /// Requests to stop that were answered with yes.
    pub(super) cancelled: Vec<DeploymentId>,
    /// Those whose lost applies the careful person looked at before.
    pub(super) freed: BTreeSet<DeploymentId>,
    /// Answers that no client should ever get.
    pub(super) odd: Vec<String>,
}

/// A history that several clients write.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<History>>);

impl Notes {
    pub(super) fn write(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
