//! What rules of approval look at in a plan, and which types of resources hold data.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::plan::{Action, Counts, ResourceChange};

/// The one list; see its head.
const STATEFUL: &str = include_str!("stateful_types.txt");

static SORTED: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let lines = STATEFUL.lines().map(str::trim);
    let mut types: Vec<_> = lines.filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    types.sort_unstable();
    types
});

/// Types of resources that hold data, in the order of their names.
pub fn stateful_types() -> &'static [&'static str] {
    &SORTED
}

/// Whether resources of this type hold data.
pub fn is_stateful(kind: &str) -> bool {
    SORTED.binary_search(&kind).is_ok()
}

/// Something that holds data and goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct StatefulDelete {
    /// Its address.
    pub address: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether another one, which begins empty, takes its place.
    pub replaced: bool,
}

/// What rules of approval look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct PlanFacts {
    /// Totals.
    pub counts: Counts,
    /// What holds data and is deleted or replaced.
    pub stateful_deletes: Vec<StatefulDelete>,
}

/// Addresses that a sentence names.
const NAMED: usize = 3;

impl PlanFacts {
    /// Reads them off a plan.
    pub fn of(changes: &[ResourceChange]) -> Self {
        let stateful_deletes = changes
            .iter()
            .filter_map(|change| {
                let replaced = match change.action {
                    Action::Delete => false,
                    Action::DeleteThenCreate | Action::CreateThenDelete => true,
                    _ => return None,
                };
                is_stateful(&change.kind).then(|| StatefulDelete {
                    address: change.address.clone(),
                    kind: change.kind.clone(),
                    replaced,
                })
            })
            .collect();
        Self { counts: Counts::of(changes), stateful_deletes }
    }

    /// Whether no resource changes, and none comes under or leaves Slipway's care.
    pub fn is_no_op(&self) -> bool {
        self.only(&Counts { read: self.counts.read, moved: self.counts.moved, ..Counts::default() })
    }

    /// Whether something is created, and nothing that is there is touched.
    pub fn is_create_only(&self) -> bool {
        let Counts { create, moved, read, .. } = self.counts;
        create > 0 && self.only(&Counts { create, moved, read, ..Counts::default() })
    }

    fn only(&self, these: &Counts) -> bool {
        self.counts == *these
    }

    /// The stateful things that go, in a few words; `None` when there are none.
    pub(super) fn stateful_text(&self) -> Option<String> {
        let named = self.stateful_deletes.iter().take(NAMED).map(|d| d.address.as_str());
        let named = named.collect::<Vec<_>>().join(", ");
        match self.stateful_deletes.len() {
            0 => None,
            n if n > NAMED => Some(format!("{named} and {} more", n - NAMED)),
            _ => Some(named),
        }
    }
}
