//! What became of a run that was cut off: compares its journal with the state that was kept, says
//! what is done, lost, in doubt and untouched, and writes `import` blocks for what was made and is
//! lost. Decides nothing: what may follow is for the subset proof and for people.

mod address;
mod harmless;
mod judge;
mod state;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;
use slipway_domain::plan::Action;

use crate::journal::{Journal, Phase};
use crate::subset::{Document, Predecessor};

pub use address::{Address, InstanceKey};
pub(crate) use judge::{Facts, Judgement, judge};
pub use state::UnreadableState;
use state::{Instance, Recorded};

/// Types that are not imported by the id that the tool reports, or not at all, by the
/// documentation of their providers. An import by a wrong id fails or, worse, finds another thing.
const NOT_BY_ID: [&str; 33] = [
    "aws_api_gateway_deployment",
    "aws_api_gateway_integration",
    "aws_api_gateway_method",
    "aws_api_gateway_resource",
    "aws_api_gateway_stage",
    "aws_appautoscaling_policy",
    "aws_autoscaling_attachment",
    "aws_ecs_service",
    "aws_ecs_task_definition",
    "aws_iam_access_key",
    "aws_iam_group_policy_attachment",
    "aws_iam_policy_attachment",
    "aws_iam_role_policy_attachment",
    "aws_iam_user_policy_attachment",
    "aws_lambda_permission",
    "aws_network_acl_rule",
    "aws_network_interface_sg_attachment",
    "aws_route",
    "aws_route_table_association",
    "aws_security_group_rule",
    "aws_volume_attachment",
    "helm_release",
    "local_file",
    "local_sensitive_file",
    "null_resource",
    "random_integer",
    "random_password",
    "random_shuffle",
    "random_string",
    "time_sleep",
    "tls_cert_request",
    "tls_locally_signed_cert",
    "tls_private_key",
];

/// Something that was made and that the state does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Where it belongs.
    pub address: String,
    /// The attribute that identifies it, and its value, as far as they were told.
    pub id: Option<(String, String)>,
    /// Why no `import` block can be written for it; `None` when one can.
    pub obstacle: Option<Obstacle>,
}

/// Why something that was made cannot be imported by a generated block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The tool did not say what its id is.
    NoId,
    /// Its type is not imported by the attribute that was told.
    NotById,
    /// The state has another object at the address: its predecessor, or a stranger. An import
    /// would be passed over, and the object made again.
    PlaceTaken,
    /// The address cannot be read.
    BadAddress,
}

impl Obstacle {
    /// For a person.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoId => "its id is not known",
            Self::NotById => "things of its type are not imported by that id",
            Self::PlaceTaken => "the state has another object in its place, which must go first",
            Self::BadAddress => "its address cannot be written as HCL",
        }
    }
}

/// Something of which nobody knows whether it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// Where.
    pub address: String,
    /// What was begun.
    pub action: Action,
    /// Its id, where that is known (of what was there before).
    pub id: Option<String>,
}

impl Doubt {
    /// For a person.
    pub const fn words(&self) -> &'static str {
        match self.action {
            Action::Create => "may exist",
            Action::Delete => "may be gone",
            _ => "may be changed, in part or whole",
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// Done, and the state knows it or will learn it from its next refresh.
    pub done: Vec<String>,
    /// Made, and the state does not know it.
    pub lost: Vec<Lost>,
    /// Begun, and nobody knows how it ended.
    pub in_doubt: Vec<Doubt>,
    /// Half made and recorded as such: the next plan makes it anew.
    pub tainted: Vec<String>,
    /// Failed, and on record: there is nothing of it, or it is as it was.
    pub failed: Vec<String>,
    /// Not begun. What changes only the state (imports, moves, removals from it) is in no journal
    /// and so in none of these lists.
    pub untouched: Vec<String>,
}

/// An `import` block that was generated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Import {
    /// Where to.
    pub address: String,
    /// What.
    pub id: String,
}

impl Import {
    /// The block. Address and id are literals; nothing in them is evaluated.
    pub fn to_hcl(&self) -> String {
        format!("import {{\n  to = {}\n  id = {}\n}}\n", self.address, address::quoted(&self.id))
    }
}

impl Recovery {
    /// Compares what a run did with the state that was kept of it. `approved` is the plan that was
    /// approved: what it would change and the journal does not name is untouched.
    pub fn of(
        journal: &Journal,
        state: Option<&[u8]>,
        approved: &Document,
    ) -> Result<Self, UnreadableState> {
        let recorded = state::read(state)?;
        let none = Recorded::default();
        let mut recovery = Self::default();
        let mut addresses: BTreeSet<&str> =
            journal.entries().iter().map(|entry| entry.address.as_str()).collect();
        addresses.extend(approved.changing());
        for text in addresses {
            let parsed = Address::parse(text);
            if parsed.as_ref().is_some_and(|address| address.data) {
                continue;
            }
            let known = parsed.as_ref().and_then(|address| recorded.get(address)).unwrap_or(&none);
            let predecessor = approved.predecessor(text);
            recovery.one(journal, text, parsed.as_ref(), known, predecessor.as_ref());
        }
        Ok(recovery)
    }

    fn one(
        &mut self,
        journal: &Journal,
        text: &str,
        parsed: Option<&Address>,
        known: &Recorded,
        predecessor: Option<&Predecessor>,
    ) {
        let of = |action| journal.history(text, action);
        let (create, update, delete) = (of(Action::Create), of(Action::Update), of(Action::Delete));
        let begun = create.started + update.started + delete.started > 0;
        if !begun {
            self.untouched.push(text.to_owned());
            return;
        }
        let before = self.lost.len() + self.in_doubt.len() + self.tainted.len() + self.failed.len();
        if create.started > 0 {
            if let Some(made) = create.completed {
                let id = made.id_key.clone().zip(made.id_value.clone());
                if !has(known, id.as_ref(), predecessor) {
                    let obstacle = obstacle(parsed, id.as_ref(), known);
                    self.lost.push(Lost { address: text.to_owned(), id, obstacle });
                }
            }
            let ours = known.current.as_ref().filter(|now| is_successor(now, predecessor));
            if create.ended == Some(Phase::Completed) {
                // Looked at above.
            } else if let Some(ours) = ours {
                if ours.tainted {
                    self.tainted.push(text.to_owned());
                }
                // Else the journal lost its last line, and the state did not.
            } else if journal.create_in_doubt(text) {
                self.doubt(text, Action::Create, None);
            } else {
                self.failed.push(text.to_owned());
            }
        }
        for (history, action) in [(update, Action::Update), (delete, Action::Delete)] {
            match history.ended {
                _ if history.started == 0 => {}
                Some(Phase::Completed) => {}
                None => {
                    let current = known.current.as_ref();
                    let id = current.and_then(|instance| instance.text("id"));
                    self.doubt(text, action, id);
                }
                Some(_) => self.failed.push(text.to_owned()),
            }
        }
        let after = self.lost.len() + self.in_doubt.len() + self.tainted.len() + self.failed.len();
        if before == after {
            self.done.push(text.to_owned());
        }
    }

    fn doubt(&mut self, address: &str, action: Action, id: Option<String>) {
        self.in_doubt.push(Doubt { address: address.to_owned(), action, id });
    }

    /// The `import` blocks for what was made and is lost, as far as they can be written.
    pub fn imports(&self) -> Vec<Import> {
        let importable = self.lost.iter().filter(|lost| lost.obstacle.is_none());
        importable
            .filter_map(|lost| {
                let (_, id) = lost.id.clone()?;
                // Written anew, so that what is in the file is what was understood.
                let address = Address::parse(&lost.address)?.to_string();
                Some(Import { address, id })
            })
            .collect()
    }

    /// A file with the `import` blocks; `None` when there are none.
    pub fn import_file(&self) -> Option<String> {
        import_file(&self.imports())
    }

    /// Whether the rest can be planned and proved without asking anybody: nothing is lost and
    /// nothing may exist that the state does not know.
    pub fn is_clear(&self) -> bool {
        self.lost.is_empty() && self.in_doubt.is_empty()
    }

    /// What to tell a person, in one sentence. Names every resource that needs a look.
    pub fn sentence(&self) -> String {
        let mut parts = vec![format!("{} done", count(self.done.len()))];
        if !self.untouched.is_empty() {
            parts.push(format!("{} not begun", count(self.untouched.len())));
        }
        if !self.tainted.is_empty() {
            parts.push(format!("{} half made and recorded as tainted", count(self.tainted.len())));
        }
        if !self.failed.is_empty() {
            parts.push(format!("{} failed", count(self.failed.len())));
        }
        let mut out = format!("The apply was cut off: {}.", parts.join(", "));
        if self.is_clear() {
            out.push_str(" Nothing is lost and nothing is in doubt.");
        }
        let named = |out: &mut String, what: &str, names: Vec<String>| {
            if !names.is_empty() {
                let _ = write!(out, " {what}: {}.", names.join(", "));
            }
        };
        let lost = self.lost.iter().map(|lost| match &lost.id {
            Some((key, id)) => format!("{} ({key} {id})", lost.address),
            None => lost.address.clone(),
        });
        named(&mut out, "Made, and missing in the state", lost.collect());
        for words in ["may exist", "may be gone", "may be changed, in part or whole"] {
            let of = self.in_doubt.iter().filter(|doubt| doubt.words() == words);
            let names = of.map(|doubt| match &doubt.id {
                Some(id) => format!("{} ({id})", doubt.address),
                None => doubt.address.clone(),
            });
            named(
                &mut out,
                &format!("Begun, with an end that nobody knows; {words}"),
                names.collect(),
            );
        }
        out
    }

    /// The whole of it, a line a resource, with what to do.
    pub fn to_text(&self) -> String {
        let mut out = self.sentence();
        out.push('\n');
        let mut list = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let _ = write!(out, "\n{title}:\n");
                for line in lines {
                    let _ = writeln!(out, "  {line}");
                }
            }
        };
        let lost = self.lost.iter().map(|lost| {
            let id = lost.id.as_ref().map_or(String::new(), |(key, id)| format!(" ({key} {id})"));
            match lost.obstacle {
                None => format!("{}{id}: can be imported", lost.address),
                Some(obstacle) => format!("{}{id}: {}", lost.address, obstacle.words()),
            }
        });
        list("Made, and missing in the state", lost.collect());
        let doubts = self.in_doubt.iter().map(|doubt| {
            let id = doubt.id.as_ref().map_or(String::new(), |id| format!(" ({id})"));
            format!("{}{id}: {}", doubt.address, doubt.words())
        });
        list("In doubt: look whether it happened", doubts.collect());
        list("Half made, will be made anew", self.tainted.clone());
        list("Failed", self.failed.clone());
        list("Done", self.done.clone());
        list("Not begun", self.untouched.clone());
        out
    }
}

/// A file with these blocks; `None` when there are none.
pub(crate) fn import_file(imports: &[Import]) -> Option<String> {
    if imports.is_empty() {
        return None;
    }
    let mut out = String::from(
        "# Written by Slipway: made by an apply that was cut off, and not in the state.\n",
    );
    for import in imports {
        out.push('\n');
        out.push_str(&import.to_hcl());
    }
    Some(out)
}

/// Whether what is at the address now may be what the run made: it is not what was there before.
fn is_successor(current: &Instance, predecessor: Option<&Predecessor>) -> bool {
    match predecessor {
        None => true,
        Some(Predecessor { id: Some(id) }) => {
            current.text("id").is_some_and(|current| current != *id)
        }
        Some(Predecessor { id: None }) => false,
    }
}

/// Whether the state records the object that was made.
fn has(known: &Recorded, id: Option<&(String, String)>, predecessor: Option<&Predecessor>) -> bool {
    match (&known.current, id) {
        (None, _) => false,
        (Some(current), Some((key, id))) => current.text(key).as_ref() == Some(id),
        (Some(current), None) => is_successor(current, predecessor),
    }
}

fn obstacle(
    parsed: Option<&Address>,
    id: Option<&(String, String)>,
    known: &Recorded,
) -> Option<Obstacle> {
    let Some(address) = parsed else { return Some(Obstacle::BadAddress) };
    if known.current.is_some() {
        return Some(Obstacle::PlaceTaken);
    }
    match id {
        None => Some(Obstacle::NoId),
        Some((_, id)) if id.is_empty() => Some(Obstacle::NoId),
        Some((key, _)) if key != "id" => Some(Obstacle::NotById),
        Some(_) if NOT_BY_ID.contains(&address.kind.as_str()) => Some(Obstacle::NotById),
        Some(_) => None,
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 change is".to_owned() } else { format!("{n} changes are") }
}

#[cfg(test)]
mod tests;
