//! The phases of stopping something that runs: asked, draining, and stopped or killed; and what is
//! done and left.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::ResourceStatus;
use crate::plan::{Action, ResourceChange};
use crate::recovery::JournalEntry;

/// Most addresses that are shown of a kind; the rest is counted.
const MAX_ADDRESSES: usize = 100;
/// Addresses that a sentence names.
const NAMED: usize = 5;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelPhase {
    /// Somebody asked; the worker does not know it yet.
    Asked,
    /// The worker knows: it finishes what is in flight and begins nothing more.
    Draining,
    /// It has stopped in order, and recorded what it did.
    Stopped,
    /// It was killed, or its worker died, before it could record everything: what it did is found
    /// out as after every lost apply.
    Killed,
}

impl CancelPhase {
    /// The text form in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Killed => "killed",
        }
    }
}

/// How far the stopping of a deployment is, and what is done and left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct CancelProgress {
    /// How far it is.
    pub phase: CancelPhase,
    /// When somebody asked first.
    pub asked_at: DateTime<Utc>,
    /// When somebody asked to kill it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced_at: Option<DateTime<Utc>>,
    /// Resources that are worked on; at the end, those whose end is not known. At most 100.
    pub in_flight: Vec<String>,
    /// How many resources of the plan are done.
    pub done: usize,
    /// How many are neither done nor in flight.
    pub left: usize,
    /// The first 100 of those.
    pub left_addresses: Vec<String>,
}

impl CancelProgress {
    /// Somebody has just asked.
    pub const fn asked(at: DateTime<Utc>) -> Self {
        Self {
            phase: CancelPhase::Asked,
            asked_at: at,
            forced_at: None,
            in_flight: Vec::new(),
            done: 0,
            left: 0,
            left_addresses: Vec::new(),
        }
    }

    /// Shows how far the apply is.
    pub fn show(&mut self, mut progress: Progress) {
        self.done = progress.done.len();
        self.left = progress.left.len();
        progress.in_flight.truncate(MAX_ADDRESSES);
        progress.left.truncate(MAX_ADDRESSES);
        self.in_flight = progress.in_flight;
        self.left_addresses = progress.left;
    }

    /// One line for people.
    pub fn to_text(&self) -> String {
        let named = |addresses: &[String], all: usize| {
            let mut text = addresses.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            if all > NAMED {
                let _ = write!(text, " and {} more", all - NAMED);
            }
            if text.is_empty() { text } else { format!(" ({text})") }
        };
        let mut text = self.phase.as_str().to_owned();
        if self.forced_at.is_some() && self.phase != CancelPhase::Stopped {
            text.push_str(" (by force)");
        }
        let flying = named(&self.in_flight, self.in_flight.len());
        let left = named(&self.left_addresses, self.left);
        let (done, count) = (self.done, self.in_flight.len());
        let _ = write!(text, ": {count} in flight{flying}, {done} done, {} left{left}", self.left);
        text
    }
}

/// How far an apply is. Addresses are in the order of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Begun, and not known to have ended.
    pub in_flight: Vec<String>,
    /// Done.
    pub done: Vec<String>,
    /// Not begun, half done or failed.
    pub left: Vec<String>,
}

impl Progress {
    /// By what is planned and what the tool has said.
    pub fn of(changes: &[ResourceChange], journal: &[JournalEntry]) -> Self {
        #[derive(Default)]
        struct Count {
            planned: usize,
            completed: usize,
            flying: bool,
        }
        let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
        let mut order = Vec::new();
        for change in changes.iter().filter(|change| change.action.changes_the_world()) {
            let count = counts.entry(&change.address).or_default();
            if count.planned == 0 {
                order.push(change.address.as_str());
            }
            count.planned += match change.action {
                Action::DeleteThenCreate | Action::CreateThenDelete => 2,
                _ => 1,
            };
        }
        for entry in journal {
            let Some(count) = counts.get_mut(entry.address.as_str()) else { continue };
            count.flying = entry.status == ResourceStatus::Started;
            count.completed += usize::from(entry.status == ResourceStatus::Completed);
        }
        let mut progress = Self::default();
        for address in order {
            let Some(count) = counts.get(address) else { continue };
            let list = if count.flying {
                &mut progress.in_flight
            } else if count.completed >= count.planned {
                &mut progress.done
            } else {
                &mut progress.left
            };
            list.push(address.to_owned());
        }
        progress
    }

    /// After it was found out what was really done: nothing is in flight any more.
    #[must_use]
    pub fn settled(self, done: &[String]) -> Self {
        let Self { in_flight, done: known, left } = self;
        let all = known.into_iter().chain(in_flight).chain(left);
        let (done, left) = all.partition(|address| done.contains(address));
        Self { in_flight: Vec::new(), done, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn change(address: &str, action: Action) -> ResourceChange {
        ResourceChange {
            address: address.into(),
            kind: "t".into(),
            name: "n".into(),
            provider: "p".into(),
            action,
            reason: None,
            before: Value::Null,
            after: Value::Null,
            unknown: vec![],
            sensitive: vec![],
            replace_paths: vec![],
            previous_address: None,
            deposed: None,
            importing_id: None,
        }
    }

    fn told(address: &str, action: Action, status: ResourceStatus) -> JournalEntry {
        JournalEntry { address: address.into(), action, status, resource_id: None, id_key: None }
    }

    #[test]
    fn a_replacement_is_done_after_both_of_its_halves() {
        use ResourceStatus::{Completed, Errored, Started};
        let changes = [
            change("made", Action::Create),
            change("half", Action::DeleteThenCreate),
            change("whole", Action::DeleteThenCreate),
            change("flies", Action::Update),
            change("failed", Action::Delete),
            change("untouched", Action::Create),
            change("data.read", Action::Read),
        ];
        let mut journal = vec![
            told("made", Action::Create, Started),
            told("made", Action::Create, Completed),
            told("half", Action::Delete, Started),
            told("half", Action::Delete, Completed),
            told("flies", Action::Update, Started),
            told("failed", Action::Delete, Started),
            told("failed", Action::Delete, Errored),
            told("nobody.knows", Action::Create, Started),
        ];
        for action in [Action::Delete, Action::Create] {
            journal.push(told("whole", action, Started));
            journal.push(told("whole", action, Completed));
        }
        let progress = Progress::of(&changes, &journal);
        assert_eq!(progress.done, ["made", "whole"]);
        assert_eq!(progress.in_flight, ["flies"]);
        assert_eq!(progress.left, ["half", "failed", "untouched"]);
        let done = ["made", "whole", "flies"].map(str::to_owned);
        let settled = progress.settled(&done);
        assert_eq!((settled.done.as_slice(), settled.in_flight.len()), (&done[..], 0));
        assert_eq!(settled.left, ["half", "failed", "untouched"]);
    }

    #[test]
    fn what_is_shown_is_bounded_and_counted() {
        let changes: Vec<_> = (0..300).map(|n| change(&format!("t.{n}"), Action::Create)).collect();
        let mut cancel = CancelProgress::asked(DateTime::UNIX_EPOCH);
        cancel.show(Progress::of(&changes, &[]));
        assert_eq!((cancel.left, cancel.left_addresses.len()), (300, 100));
        let text = cancel.to_text();
        assert!(text.ends_with("300 left (t.0, t.1, t.2, t.3, t.4 and 295 more)"), "{text}");
    }
}
