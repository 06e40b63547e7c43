//! Approvals: whose yes a plan needs, and whether it has them.
//!
//! [`ApprovalRules`] are what an operator writes for a project and environment. [`need`] reads them
//! against one plan, and gives what that plan needs, which is kept with it. [`standing`] compares a
//! need with the decisions on record. All of it is pure: nothing here knows of deployments' states.

mod facts;
mod freeze;
mod standing;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{Actor, Role};
use crate::fault::FieldError;
use crate::finding::{Finding, Verdict};
use crate::gate::{GateKind, GateResult, GateVerdict};

pub use facts::{PlanFacts, StatefulDelete, is_stateful, stateful_types};
pub use freeze::{FreezeWhen, FreezeWindow, Frozen, LocalTime, UtcOffset, Weekday, frozen};
pub use standing::{Approvals, Decision, Revocation, Standing, Verb, standing};

/// Most approvals that rules may ask for.
pub const MAX_APPROVALS: u32 = 20;
/// Most windows in which nothing is applied.
pub const MAX_WINDOWS: usize = 100;
/// The longest that an approval may be good for, in seconds.
pub const MAX_EXPIRES_IN_S: u32 = 2_592_000;

/// Whose yes plans need, in a project and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApprovalRules {
    /// How many people must approve a plan; 0 asks nobody.
    #[schema(maximum = 20)]
    #[schemars(range(max = 20))]
    pub approvals: u32,
    /// With which of these roles; with none, anybody who may approve.
    pub roles: Vec<Role>,
    /// Who submitted a deployment does not approve it.
    pub not_author: bool,
    /// An agent that submitted a deployment does not approve it. The person whose account it uses
    /// may, at another door.
    pub not_agent: bool,
    /// Whether agents may approve at all.
    pub agents_may_approve: bool,
    /// What is asked for when something that holds data is deleted or replaced.
    pub stateful_deletes: StatefulDeletes,
    /// What needs no approval under these rules. What other gates ask for is asked for all the same.
    pub auto_approve: AutoApprove,
    /// When nothing is applied. Plans can be approved meanwhile.
    pub freeze: Vec<FreezeWindow>,
    /// How long an approval is good for, in seconds; with none, as long as the plan may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 2_592_000)]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub expires_in_s: Option<u32>,
}

impl Default for ApprovalRules {
    fn default() -> Self {
        Self {
            approvals: 1,
            roles: Vec::new(),
            not_author: false,
            not_agent: false,
            agents_may_approve: true,
            stateful_deletes: StatefulDeletes::default(),
            auto_approve: AutoApprove::default(),
            freeze: Vec::new(),
            expires_in_s: None,
        }
    }
}

/// What is asked for when something that holds data is deleted or replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StatefulDeletes {
    /// How many people; 0 asks for no more than other plans need.
    #[schema(maximum = 20)]
    #[schemars(range(max = 20))]
    pub approvals: u32,
    /// With which of these roles; with none, anybody who may approve.
    pub roles: Vec<Role>,
}

impl Default for StatefulDeletes {
    fn default() -> Self {
        Self { approvals: 2, roles: Vec::new() }
    }
}

/// What needs no approval.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct AutoApprove {
    /// Plans that change no resource: outputs, reads and moves only.
    pub no_op: bool,
    /// Plans that only create.
    pub create_only: bool,
}

impl ApprovalRules {
    /// What is wrong with them, if anything; pointers begin with `at`.
    pub fn problems(&self, at: &str) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, why: String| {
            problems.push(FieldError::at(format!("{at}/{field}"), why));
        };
        for (field, given) in [
            ("approvals", self.approvals),
            ("stateful_deletes/approvals", self.stateful_deletes.approvals),
        ] {
            if given > MAX_APPROVALS {
                wrong(field, format!("at most {MAX_APPROVALS} approvals can be asked for"));
            }
        }
        if self.expires_in_s.is_some_and(|s| !(60..=MAX_EXPIRES_IN_S).contains(&s)) {
            wrong(
                "expires_in_s",
                format!("expires_in_s must be from 60 to {MAX_EXPIRES_IN_S} (30 days)"),
            );
        }
        if self.freeze.len() > MAX_WINDOWS {
            wrong("freeze", format!("at most {MAX_WINDOWS} windows can be given"));
        }
        for (n, window) in self.freeze.iter().enumerate() {
            problems.extend(window.problems(&format!("{at}/freeze/{n}")));
        }
        problems
    }
}

/// A yes that another gate asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The role that is asked for, as the gate names it; anybody's yes will do without one.
    pub role: Option<String>,
    /// Why, in a few words.
    pub reason: String,
}

impl Demand {
    /// What findings ask for: one demand for each rule and role. What an exemption covers asks for
    /// nothing.
    pub fn of_findings(findings: &[Finding]) -> Vec<Self> {
        let mut grouped: Vec<(&Finding, usize)> = Vec::new();
        for finding in findings {
            if finding.verdict != Verdict::RequireRole || finding.exemption.is_some() {
                continue;
            }
            let same = |(first, _): &&mut (&Finding, usize)| {
                first.rule == finding.rule && first.role == finding.role
            };
            match grouped.iter_mut().find(same) {
                Some((_, count)) => *count += 1,
                None => grouped.push((finding, 1)),
            }
        }
        let demand = |(first, count): (&Finding, usize)| {
            let at = match (first.address.as_str(), count - 1) {
                ("", _) => String::new(),
                (address, 0) => format!(" ({address})"),
                (address, more) => format!(" ({address} and {more} more)"),
            };
            let reason = format!("{}: {}{at}", first.rule, first.title);
            Self { role: first.role.clone(), reason }
        };
        grouped.into_iter().map(demand).collect()
    }

    /// What gates other than this one ask for, where they name no role.
    pub fn of_gates(gates: &[GateResult]) -> Vec<Self> {
        gates
            .iter()
            .filter(|g| g.gate != GateKind::Approval && g.verdict == GateVerdict::NeedsApproval)
            .map(|g| Self { role: None, reason: format!("{}: {}", g.gate.as_str(), g.detail) })
            .collect()
    }
}

/// So many people must say yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Requirement {
    /// How many.
    pub approvals: u32,
    /// With which of these roles; with none, anybody who may approve.
    pub roles: BTreeSet<Role>,
    /// Why.
    pub reasons: Vec<String>,
}

impl Requirement {
    /// Every role that counts for it; `None` when no role is asked for.
    fn circle(&self) -> Option<BTreeSet<Role>> {
        let counts = |role: &Role| self.roles.iter().any(|wanted| role.stands_for(*wanted));
        (!self.roles.is_empty()).then(|| Role::ALL.into_iter().filter(counts).collect())
    }

    /// Whether everybody who meets this one meets `wider` too.
    fn is_within(&self, wider: &Self) -> bool {
        match (self.circle(), wider.circle()) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(this), Some(wider)) => this.is_subset(&wider),
        }
    }

    /// Whether somebody with these roles counts for it.
    fn is_met_by(&self, roles: &BTreeSet<Role>) -> bool {
        self.circle().is_none_or(|circle| !circle.is_disjoint(roles))
    }

    /// `somebody`, or `an approver or admin`.
    fn who(&self) -> String {
        let names: Vec<_> = self.roles.iter().map(|role| role.as_str()).collect();
        match names.as_slice() {
            [] => "somebody".to_owned(),
            [first, ..] => {
                let article = if first.starts_with(['a', 'o']) { "an" } else { "a" };
                format!("{article} {}", names.join(" or "))
            }
        }
    }
}

/// Somebody whose yes does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Barred {
    /// The account.
    pub actor_id: String,
    /// Whether it is barred only as an agent.
    pub as_agent: bool,
    /// What they did: `submitted this deployment`.
    pub why: String,
}

/// What one plan needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct ApprovalNeed {
    /// `pass`, `needs_approval` or `deny`.
    pub verdict: GateVerdict,
    /// How many people at least.
    pub approvals: u32,
    /// All that must be met. One person counts once; who meets a narrower requirement counts for
    /// the wider ones as well: of two approvals, one may have to be an admin's.
    pub requirements: Vec<Requirement>,
    /// Whose yes does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<Barred>,
    /// Whether agents may approve.
    pub agents_may_approve: bool,
    /// Why nobody can approve it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,
    /// How long an approval is good for, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u32>,
    /// The window in which the plan was made: nothing is applied before its end. Whether there is
    /// one is looked at again when the apply is to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
}

/// Reads rules against one plan.
///
/// Requirements for the same roles are one, with the larger number: two rules that want an approver
/// are content with the same one. Those for different roles are met by different people.
pub fn need(
    rules: &ApprovalRules,
    facts: &PlanFacts,
    author: &Actor,
    demands: &[Demand],
    now: DateTime<Utc>,
) -> ApprovalNeed {
    let mut requirements = Vec::new();
    let mut denied = Vec::new();
    let auto = &rules.auto_approve;
    let by_itself = auto.no_op && facts.is_no_op() || auto.create_only && facts.is_create_only();
    if !by_itself {
        let reason = match rules.approvals {
            1 => "every change needs one approval".to_owned(),
            n => format!("every change needs {n} approvals"),
        };
        add(&mut requirements, rules.approvals, rules.roles.iter().copied().collect(), reason);
    }
    if let Some(deleted) = facts.stateful_text() {
        let StatefulDeletes { approvals, roles } = &rules.stateful_deletes;
        let reason = format!("it deletes or replaces what holds data: {deleted}");
        add(&mut requirements, *approvals, roles.iter().copied().collect(), reason);
    }
    for Demand { role, reason } in demands {
        match role.as_deref().map(Role::parse) {
            None => add(&mut requirements, 1, BTreeSet::new(), reason.clone()),
            Some(Some(role)) => add(&mut requirements, 1, BTreeSet::from([role]), reason.clone()),
            // Nobody has it, so nobody could say yes; and it must not count as anybody's.
            Some(None) => denied.push(format!(
                "{reason} asks for the role {:?}, which is none of {}",
                role.as_deref().unwrap_or_default().chars().take(80).collect::<String>(),
                Role::ALL.map(Role::as_str).join(", ")
            )),
        }
    }
    let mut barred = Vec::new();
    let mut bar = |as_agent, why: &str| {
        barred.push(Barred { actor_id: author.id.clone(), as_agent, why: why.to_owned() });
    };
    if rules.not_author {
        bar(false, "submitted this deployment");
    } else if rules.not_agent && author.is_agent() {
        bar(true, "proposed this deployment as an agent");
    }
    let verdict = if !denied.is_empty() {
        GateVerdict::Deny
    } else if requirements.is_empty() {
        GateVerdict::Pass
    } else {
        GateVerdict::NeedsApproval
    };
    let mut need = ApprovalNeed {
        verdict,
        approvals: 0,
        requirements,
        barred,
        agents_may_approve: rules.agents_may_approve,
        denied,
        expires_in_s: rules.expires_in_s,
        frozen: frozen(&rules.freeze, &[], now),
    };
    need.approvals = need.slots().iter().map(|(_, count)| count).sum();
    need
}

fn add(to: &mut Vec<Requirement>, approvals: u32, roles: BTreeSet<Role>, reason: String) {
    if approvals == 0 {
        return;
    }
    match to.iter_mut().find(|r| r.roles == roles) {
        Some(same) => {
            same.approvals = same.approvals.max(approvals);
            same.reasons.push(reason);
        }
        None => to.push(Requirement { approvals, roles, reasons: vec![reason] }),
    }
}

impl ApprovalNeed {
    /// How many people each requirement adds to those who meet narrower ones, narrowest first.
    fn slots(&self) -> Vec<(&Requirement, u32)> {
        let mut sorted: Vec<_> = self.requirements.iter().collect();
        sorted.sort_by_key(|r| r.circle().map_or(usize::MAX, |circle| circle.len()));
        let mut slots: Vec<(&Requirement, u32)> = Vec::with_capacity(sorted.len());
        for requirement in sorted {
            let within = slots.iter().filter(|(narrower, _)| narrower.is_within(requirement));
            let covered: u32 = within.map(|(_, count)| count).sum();
            slots.push((requirement, requirement.approvals.saturating_sub(covered)));
        }
        slots
    }

    /// Whose yes it takes, in words: `2 approvals, 1 of them by an admin`.
    pub fn to_text(&self) -> String {
        let count =
            |n: u32| if n == 1 { "1 approval".to_owned() } else { format!("{n} approvals") };
        let mut text = match self.verdict {
            GateVerdict::Deny => return self.denied.join("; "),
            _ if self.approvals == 0 => return "no approval is needed".to_owned(),
            _ => count(self.approvals),
        };
        // Of those that everybody must meet, the narrowest says it all.
        let slots = self.slots();
        let all = slots.iter().find(|(r, _)| r.approvals == self.approvals);
        if let Some((all, _)) = all.filter(|(r, _)| !r.roles.is_empty()) {
            text = format!("{text} by {}", all.who());
        }
        for (some, _) in slots.iter().filter(|(r, _)| r.approvals < self.approvals) {
            if !some.roles.is_empty() {
                text = format!("{text}, {} of them by {}", some.approvals, some.who());
            }
        }
        text
    }

    /// What the gate `approval` says.
    pub fn gate(&self) -> GateResult {
        let reasons: Vec<_> = self.requirements.iter().flat_map(|r| &r.reasons).collect();
        let detail = match self.verdict {
            GateVerdict::NeedsApproval => {
                let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
                format!("{}: {}", self.to_text(), reasons.join("; "))
            }
            _ => self.to_text(),
        };
        GateResult { gate: GateKind::Approval, verdict: self.verdict, detail }
    }

    /// Why the yes of somebody does not count whatever their roles are, and who may say it instead.
    pub fn refuses_actor(&self, actor: &Actor) -> Option<String> {
        if self.verdict == GateVerdict::Deny {
            return Some(format!("Nobody can approve this plan: {}.", self.denied.join("; ")));
        }
        let wanted = self.to_text();
        if let Some(barred) = self.bars(actor) {
            let other = if barred.as_agent { "A person" } else { "Somebody else" };
            return Some(format!(
                "{} {}, so it cannot approve it. {other} must: it needs {wanted}.",
                actor.id, barred.why
            ));
        }
        (actor.is_agent() && !self.agents_may_approve).then(|| {
            format!(
                "{} is an agent, and agents approve nothing here. A person must: it needs {wanted}.",
                actor.id
            )
        })
    }

    /// Why the yes of somebody does not count, and who may say it instead; `None` when it counts.
    pub fn refuses(&self, actor: &Actor, roles: &BTreeSet<Role>) -> Option<String> {
        if let Some(why) = self.refuses_actor(actor) {
            return Some(why);
        }
        if self.requirements.is_empty() || self.requirements.iter().any(|r| r.is_met_by(roles)) {
            return None;
        }
        let has: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        let has = if has.is_empty() { "no role".to_owned() } else { has.join(", ") };
        Some(format!(
            "{} has {has}, which does not count here: the plan needs {}.",
            actor.id,
            self.to_text()
        ))
    }

    fn bars(&self, actor: &Actor) -> Option<&Barred> {
        let same = |b: &&Barred| b.actor_id == actor.id && (!b.as_agent || actor.is_agent());
        self.barred.iter().find(same)
    }

    /// When a yes that is said now ends to count.
    pub fn expires_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(now + chrono::Duration::seconds(self.expires_in_s?.into()))
    }
}

#[cfg(test)]
mod tests;
