//! What the proof says: what is left of an approved plan, or why a new plan is not inside it.
//! Everything here can be shown: secrets are masked before they come here.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// Most refusals that are kept; the rest is counted.
const MAX_REFUSALS: usize = 200;

/// What was checked. The numbers are those of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// 1: both plans are of the same tree, lock file, variables, tool, mode and state, are whole,
    /// and no check fails anew.
    Header,
    /// 2: everything that the run made is in the state, and is the same thing.
    LostState,
    /// 4: every change of the new plan is one that was approved, or the rest of one.
    Change,
    /// 5: what is changed or removed is as it was when it was approved.
    Before,
    /// 6: what was known of the result is the same; only what was unknown may be filled in.
    After,
    /// 7: what was hidden is hidden.
    Sensitivity,
    /// 8: what is not to be done any more was done, as approved, and by this run.
    Finished,
    /// 9: nothing else has changed in the world.
    Drift,
    /// 10: outputs change as approved.
    Outputs,
    /// 11: it gets somewhere, and not for ever.
    Progress,
    /// Everything that the plan leaves alone, and everything that it reads, is as it was: the
    /// unknown values can only come from what the approved plan covers.
    Bystander,
}

impl Rule {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Header,
        Self::LostState,
        Self::Change,
        Self::Before,
        Self::After,
        Self::Sensitivity,
        Self::Finished,
        Self::Drift,
        Self::Outputs,
        Self::Progress,
        Self::Bystander,
    ];

    /// A few words for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Header => "not the same configuration, inputs, tool or state",
            Self::LostState => "the state has lost something",
            Self::Change => "a change that was not approved",
            Self::Before => "changed by somebody else",
            Self::After => "another result than approved",
            Self::Sensitivity => "no longer hidden",
            Self::Finished => "not done as approved",
            Self::Drift => "new drift",
            Self::Outputs => "another output than approved",
            Self::Progress => "no progress",
            Self::Bystander => "something else has changed",
        }
    }
}

/// A value as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// JSON, clipped; `***` when it is secret, `(known after apply)`, or `(absent)`.
    pub text: String,
    /// For a secret: HMAC-SHA256 under the run's key over its place and value, so that equal and
    /// different ones can be told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// One reason why the new plan is not inside the approved one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Which rule.
    pub rule: Rule,
    /// The resource instance, output (`output.x`), variable (`var.x`) or check; empty for the
    /// whole plan.
    pub address: String,
    /// JSON pointer into its values; empty for all of it.
    pub path: String,
    /// What was approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<Shown>,
    /// What the new plan says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Shown>,
    /// One sentence.
    pub detail: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.address.is_empty() {
            write!(f, "{}", self.address)?;
            if !self.path.is_empty() {
                write!(f, " {}", self.path)?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.detail)?;
        match (&self.approved, &self.new) {
            (Some(a), Some(b)) => write!(f, ": approved {}, now {}", a.text, b.text),
            (Some(a), None) => write!(f, ": approved {}", a.text),
            (None, Some(b)) => write!(f, ": now {}", b.text),
            (None, None) => Ok(()),
        }
    }
}

/// Why a new plan needs a new approval. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The reasons, in the order of addresses; at most 200.
    pub refusals: Vec<Refusal>,
    /// How many more there are.
    pub more: usize,
}

impl Refused {
    pub(super) fn of(mut refusals: Vec<Refusal>) -> Self {
        refusals.sort_by(|a, b| (&a.address, a.rule, &a.path).cmp(&(&b.address, b.rule, &b.path)));
        refusals.dedup();
        let more = refusals.len().saturating_sub(MAX_REFUSALS);
        refusals.truncate(MAX_REFUSALS);
        Self { refusals, more }
    }

    /// One line each, bounded.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.refusals.iter().map(ToString::to_string).collect();
        if self.more > 0 {
            lines.push(format!("and {} more", self.more));
        }
        lines
    }

    /// Whether one of the reasons is this rule.
    pub fn has(&self, rule: Rule) -> bool {
        self.refusals.iter().any(|refusal| refusal.rule == rule)
    }

    /// The difference between the approved and the new plan, for a person.
    pub fn to_text(&self) -> String {
        let mut out = String::from("The new plan is not inside the approved one:\n");
        let mut last: Option<&str> = None;
        for refusal in &self.refusals {
            if last != Some(refusal.address.as_str()) {
                last = Some(&refusal.address);
                let name = if refusal.address.is_empty() { "the plan" } else { &refusal.address };
                let _ = writeln!(out, "\n  {name}");
            }
            let path =
                if refusal.path.is_empty() { String::new() } else { format!(" {}", refusal.path) };
            let _ = writeln!(out, "    {}:{path} {}", refusal.rule.title(), refusal.detail);
            if let Some(approved) = &refusal.approved {
                let _ = writeln!(out, "      - {}", approved.text);
            }
            if let Some(new) = &refusal.new {
                let _ = writeln!(out, "      + {}", new.text);
            }
        }
        if self.more > 0 {
            let _ = writeln!(out, "\n  and {} more.", self.more);
        }
        out
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refusals.as_slice() {
            [] => f.write_str("the new plan is not inside the approved one"),
            [one] if self.more == 0 => write!(f, "{one}"),
            [first, rest @ ..] => write!(f, "{first}; and {} more", rest.len() + self.more),
        }
    }
}

impl std::error::Error for Refused {}

/// A change that is left to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The resource instance; with its deposed key when it is a deposed object.
    pub address: String,
    /// What will happen to it, in words.
    pub action: String,
    /// Whether this is the second half of a replacement, or the replacement of what this run
    /// left half made.
    pub rest_of_a_change: bool,
}

/// A value that was unknown when the plan was approved and is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// The resource instance or output.
    pub address: String,
    /// JSON pointer into its values.
    pub path: String,
}

/// The new plan is inside the approved one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inside {
    /// What is left to do, in the order of addresses.
    pub left: Vec<Left>,
    /// Addresses of what is done.
    pub done: Vec<String>,
    /// Addresses of what the new plan makes although a making of it was begun and its end is not
    /// known: it may exist already, and would then exist twice.
    pub in_doubt: Vec<String>,
    /// Addresses of what this run made, whose record was lost, and which the new plan imports.
    pub rescued: Vec<String>,
    /// Values that were unknown at the approval.
    pub filled: Vec<Filled>,
}

impl Inside {
    /// Whether the rest may be applied under the old approval without asking anybody. It may not
    /// when something could be made a second time, or is imported.
    pub fn may_continue(&self) -> bool {
        self.in_doubt.is_empty() && self.rescued.is_empty()
    }
}
