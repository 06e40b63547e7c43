//! Decisions on record, and whether they are what a plan needs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApprovalNeed, Frozen, Requirement};
use crate::access::{Actor, Role};
use crate::gate::GateVerdict;
use crate::id::{ApprovalId, DeploymentId, PlanId};

/// What was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DecisionVerb)]
#[schemars(rename = "DecisionVerb")]
pub enum Verb {
    /// Yes.
    Approve,
    /// No.
    Reject,
    /// A yes was taken back.
    Revoke,
}

impl Verb {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Approve, Self::Reject, Self::Revoke];

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Revoke => "revoke",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }
}

/// When and why a yes was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Revocation {
    /// When.
    pub at: DateTime<Utc>,
    /// By whom.
    pub by: Actor,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One person's yes or no to one plan, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[schema(as = PlanDecision)]
#[schemars(rename = "PlanDecision")]
pub struct Decision {
    /// Its id.
    pub id: ApprovalId,
    /// Of which deployment.
    pub deployment_id: DeploymentId,
    /// The plan that it is about.
    pub plan_id: PlanId,
    /// The digest of that plan, which was named.
    pub plan_digest: String,
    /// What was said: `approve` or `reject`.
    pub decision: Verb,
    /// By whom.
    pub by: Actor,
    /// What they were then.
    pub roles: BTreeSet<Role>,
    /// What they added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// When it ends to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When and why it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
    /// The digest of the plan that they saw, when it is not this one: this one was proved to be
    /// inside it, or equal to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_from: Option<String>,
}

impl Decision {
    /// Whether it is a yes to this plan that was not taken back, however old it is.
    pub fn is_yes_to(&self, plan: PlanId) -> bool {
        self.decision == Verb::Approve && self.revoked.is_none() && self.plan_id == plan
    }

    /// Whether it is too old to count.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// How far a plan is from what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[schema(as = ApprovalStanding)]
#[schemars(rename = "ApprovalStanding")]
pub struct Standing {
    /// How many people must approve.
    pub required: u32,
    /// How many of them have.
    pub given: u32,
    /// Who is missing, in words; empty when nobody is.
    pub missing: Vec<String>,
    /// Whether it has all that it needs.
    pub complete: bool,
}

/// All about the approvals of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Approvals {
    /// What the current plan needs; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<ApprovalNeed>,
    /// How far it is from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// Nothing is applied now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
    /// Every decision about any plan of the deployment, oldest first.
    pub items: Vec<Decision>,
}

/// Compares what a plan needs with what was decided. Counted is who said yes to this very plan, has
/// not taken it back, is not too old and not barred; everybody once, whatever roles they have.
pub fn standing(
    need: &ApprovalNeed,
    plan: PlanId,
    decisions: &[Decision],
    now: DateTime<Utc>,
) -> Standing {
    // By account. Who said it twice, with other roles, may be taken for either.
    let mut people: BTreeMap<&str, Vec<&BTreeSet<Role>>> = BTreeMap::new();
    for d in decisions.iter().filter(|d| d.is_yes_to(plan) && !d.is_expired(now)) {
        let is_agent = d.by.is_agent() && !need.agents_may_approve;
        if !is_agent && need.bars(&d.by).is_none() {
            people.entry(d.by.id.as_str()).or_default().push(&d.roles);
        }
    }
    let people: Vec<_> = people.into_values().collect();
    let slots: Vec<&Requirement> = need
        .slots()
        .into_iter()
        .flat_map(|(requirement, count)| std::iter::repeat_n(requirement, count as usize))
        .collect();
    let meets = |person: usize, slot: usize| {
        people[person].iter().any(|roles| slots[slot].is_met_by(roles))
    };
    let filled = fill(slots.len(), people.len(), &meets);
    let open: Vec<_> = (0..slots.len()).filter(|slot| !filled[*slot]).map(|s| slots[s]).collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut missing = need.denied.clone();
    missing.extend(in_words(&open));
    Standing {
        required: count(slots.len()),
        given: count(slots.len() - open.len()),
        complete: missing.is_empty() && need.verdict != GateVerdict::Deny,
        missing,
    }
}

/// Gives as many slots as possible to different people; who comes first in `slots` is served first,
/// and stays so. Says which are filled. (Augmenting paths; there are few of both.)
fn fill(slots: usize, people: usize, meets: &dyn Fn(usize, usize) -> bool) -> Vec<bool> {
    fn place(
        slot: usize,
        meets: &dyn Fn(usize, usize) -> bool,
        seen: &mut [bool],
        taken: &mut [Option<usize>],
    ) -> bool {
        for person in 0..taken.len() {
            if seen[person] || !meets(person, slot) {
                continue;
            }
            seen[person] = true;
            let moves = match taken[person] {
                None => true,
                Some(other) => place(other, meets, seen, taken),
            };
            if moves {
                taken[person] = Some(slot);
                return true;
            }
        }
        false
    }
    let mut taken = vec![None; people];
    (0..slots).map(|slot| place(slot, meets, &mut vec![false; people], &mut taken)).collect()
}

/// `an admin (…)`, `2 more of any role (…)`: one line for each requirement.
fn in_words(open: &[&Requirement]) -> Vec<String> {
    let mut lines: Vec<(&Requirement, usize)> = Vec::new();
    for requirement in open {
        match lines.iter_mut().find(|(same, _)| std::ptr::eq(*same, *requirement)) {
            Some((_, count)) => *count += 1,
            None => lines.push((requirement, 1)),
        }
    }
    let line = |(requirement, count): (&Requirement, usize)| {
        let who = match (count, requirement.roles.is_empty()) {
            (1, true) => "one more person".to_owned(),
            (1, false) => requirement.who(),
            (n, true) => format!("{n} more people"),
            (n, false) => {
                let names: Vec<_> = requirement.roles.iter().map(|role| role.as_str()).collect();
                format!("{n} people who are {}", names.join(" or "))
            }
        };
        format!("{who} ({})", requirement.reasons.join("; "))
    };
    lines.into_iter().map(line).collect()
}
