//! The journal of a run: what `apply -json` said it began and finished, in order. It is the only
//! record of what was made when the state is lost.

use std::collections::{HashMap, HashSet};

use slipway_domain::plan::Action;

/// How far an operation on a resource came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It was begun (`apply_start`).
    Started,
    /// It ended well (`apply_complete`).
    Completed,
    /// It ended with an error (`apply_errored`).
    Failed,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Full address of the resource instance. A deposed object has that of its successor.
    pub address: String,
    /// What was done. Each half of a replacement has entries of its own.
    pub action: Action,
    /// How far it came.
    pub phase: Phase,
    /// The attribute that identifies it, as the tool says; `id` nearly always.
    pub id_key: Option<String>,
    /// That attribute's value.
    pub id_value: Option<String>,
}

/// Everything that a run did, across all of its applies, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    entries: Vec<Entry>,
    by_address: HashMap<String, Vec<usize>>,
    orderly: bool,
}

/// What the journal knows of one kind of operation at one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct History<'j> {
    /// How often it was begun.
    pub(crate) started: usize,
    /// How it ended the last time; `None` while it is not known to have ended.
    pub(crate) ended: Option<Phase>,
    /// The last that ended well.
    pub(crate) completed: Option<&'j Entry>,
}

impl Journal {
    /// A journal of a run whose tool was killed, or may have been.
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut by_address: HashMap<String, Vec<usize>> = HashMap::new();
        for (i, entry) in entries.iter().enumerate() {
            by_address.entry(entry.address.clone()).or_default().push(i);
        }
        Self { entries, by_address, orderly: false }
    }

    /// Says that the tool came to its own end and that its last state was kept: what it reported
    /// as failed is then on record, as tainted or as not there.
    #[must_use]
    pub fn ended_orderly(mut self) -> Self {
        self.orderly = true;
        self
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is known of `action` at `address`.
    pub(crate) fn history(&self, address: &str, action: Action) -> History<'_> {
        let mut history = History::default();
        let at = self.by_address.get(address).map_or([].as_slice(), Vec::as_slice);
        let of = at.iter().filter_map(|i| self.entries.get(*i));
        for entry in of.filter(|entry| entry.action == action) {
            match entry.phase {
                Phase::Started => {
                    history.started += 1;
                    history.ended = None;
                }
                Phase::Completed => {
                    // An end whose beginning was not kept began all the same.
                    history.started = history.started.max(1);
                    history.ended = Some(Phase::Completed);
                    history.completed = Some(entry);
                }
                Phase::Failed => {
                    history.started = history.started.max(1);
                    history.ended = Some(Phase::Failed);
                }
            }
        }
        history
    }

    /// Whether a making of `address` was begun whose outcome nobody knows.
    pub(crate) fn create_in_doubt(&self, address: &str) -> bool {
        let history = self.history(address, Action::Create);
        history.started > 0
            && match history.ended {
                None => true,
                Some(Phase::Failed) => !self.orderly,
                Some(_) => false,
            }
    }

    /// Addresses of what was made, in order, each once.
    pub(crate) fn created(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        let mut seen = HashSet::new();
        for entry in &self.entries {
            if entry.action == Action::Create
                && entry.phase == Phase::Completed
                && seen.insert(entry.address.as_str())
            {
                found.push(&entry.address);
            }
        }
        found
    }

    /// Whether anything ended well.
    pub(crate) fn has_completes(&self) -> bool {
        self.entries.iter().any(|entry| entry.phase == Phase::Completed)
    }
}
