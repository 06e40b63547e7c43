//! Who is asking and what they may do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::{Code, Fault};
use crate::id::AccountId;

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// One right. Verbs check scopes; doors never do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Scope { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl Scope {
            /// Every scope.
            pub const ALL: &'static [Scope] = &[$(Scope::$name,)*];

            /// The text form, as it stands in tokens and docs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Scope::$name => $text,)* }
            }
        }
    };
}

scopes! {
    /// See deployments, their plans, logs and events.
    DeploymentsRead = "deployments:read";
    /// Submit and cancel deployments, upload sources.
    DeploymentsWrite = "deployments:write";
    /// Approve and reject plans.
    DeploymentsApprove = "deployments:approve";
    /// Start the apply of an approved plan.
    DeploymentsApply = "deployments:apply";
    /// See stacks.
    StacksRead = "stacks:read";
    /// Download states, with every secret in them, and list their versions.
    StateRead = "state:read";
    /// Lock, write, unlock and restore states.
    StateWrite = "state:write";
    /// See the template library.
    TemplatesRead = "templates:read";
    /// Publish, deprecate and delete templates.
    TemplatesWrite = "templates:write";
    /// See the settings of the gates.
    GatesRead = "gates:read";
    /// Change the settings of the gates.
    GatesWrite = "gates:write";
    /// See policy packs and exemptions, and try packs on past plans.
    PoliciesRead = "policies:read";
    /// Upload and remove policy packs; grant exemptions that hold in more than one place.
    PoliciesWrite = "policies:write";
    /// Grant and revoke exemptions for one project and environment.
    ExemptionsWrite = "exemptions:write";
    /// See the central configuration; secrets stay masked.
    ConfigRead = "config:read";
    /// Change the central configuration.
    ConfigWrite = "config:write";
    /// See sensitive values in clear.
    SecretsReveal = "secrets:reveal";
    /// See queues, jobs and workers.
    QueuesRead = "queues:read";
    /// Requeue, purge, pause and resume.
    QueuesOperate = "queues:operate";
    /// Read the audit log.
    AuditRead = "audit:read";
    /// Change a project and who its members are; make and remove projects when held in the house.
    AdminProjects = "admin:projects";
    /// See, make and stop accounts, and say who is what in the house.
    AdminAccounts = "admin:accounts";
    /// Use the MCP door.
    McpExecute = "mcp:execute";
}

impl Scope {
    /// Whether it is about things that belong to no project, so that it is held in the house or
    /// not at all: being somebody in a project never gives it.
    pub const fn is_of_house(self) -> bool {
        matches!(self, Self::TemplatesWrite | Self::AdminAccounts)
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scope| scope.as_str() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What somebody is in a project. Rules of approval name roles; rights are [`Scope`]s.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Submits.
    Developer,
    /// Decides on plans.
    Approver,
    /// Runs the house.
    Operator,
    /// May do everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::Viewer, Self::Developer, Self::Approver, Self::Operator, Self::Admin];

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// What who has this role may do: the one table of rights, from which `docs/ACCESS.md` is drawn.
    ///
    /// - A viewer sees everything of a project but its secrets, and states are full of secrets.
    /// - A developer changes what is deployed, through the gates: may submit, and start what was
    ///   approved, which is never anything else than what was approved.
    /// - An approver decides: on plans, and on what a rule does not count for. It submits nothing,
    ///   so that whoever is only that never meets a plan of their own.
    /// - An operator keeps things running: queues, states, configuration, secrets. It decides on no
    ///   plan and changes no gate, so that who can reach everything still needs somebody's yes.
    /// - An admin may do everything, also what decides who may do what: gates, policies, members.
    pub fn scopes(self) -> BTreeSet<Scope> {
        use Scope as S;
        const VIEWER: &[Scope] = &[
            S::DeploymentsRead,
            S::StacksRead,
            S::TemplatesRead,
            S::GatesRead,
            S::PoliciesRead,
            S::QueuesRead,
            S::ConfigRead,
            // A door, which gives nobody more than they have.
            S::McpExecute,
        ];
        const DEVELOPER: &[Scope] = &[S::DeploymentsWrite, S::DeploymentsApply];
        const APPROVER: &[Scope] = &[S::DeploymentsApprove, S::ExemptionsWrite];
        const OPERATOR: &[Scope] = &[
            S::QueuesOperate,
            S::StateRead,
            S::StateWrite,
            S::SecretsReveal,
            S::ConfigWrite,
            S::AuditRead,
        ];
        let sets: &[&[Scope]] = match self {
            Self::Viewer => &[VIEWER],
            Self::Developer => &[VIEWER, DEVELOPER],
            Self::Approver => &[VIEWER, APPROVER],
            Self::Operator => &[VIEWER, DEVELOPER, OPERATOR],
            Self::Admin => &[Scope::ALL],
        };
        sets.concat().into_iter().collect()
    }

    /// The right without which nobody counts as this: a token that leaves it out does not speak for
    /// this role.
    const fn mark(self) -> Scope {
        match self {
            Self::Viewer => Scope::DeploymentsRead,
            Self::Developer => Scope::DeploymentsWrite,
            Self::Approver => Scope::DeploymentsApprove,
            Self::Operator => Scope::QueuesOperate,
            Self::Admin => Scope::AdminProjects,
        }
    }

    /// Whether who has this role can be asked where `wanted` is asked for: an admin can always.
    pub fn stands_for(self, wanted: Self) -> bool {
        self == wanted || self == Self::Admin
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of actor a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A human being.
    Person,
    /// A program that a model drives.
    Agent,
    /// A machine account.
    Service,
    /// Slipway itself: reapers, schedules, recovery.
    System,
}

/// Which door a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The REST API (the command line uses it too).
    Rest,
    /// The MCP endpoint.
    Mcp,
    /// Inside the house.
    Internal,
}

/// Who did something, as it is kept on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Actor {
    /// Stable id of the account, e.g. `local`.
    pub id: String,
    /// What kind of actor.
    pub kind: ActorKind,
    /// The door.
    pub via: Door,
}

impl Actor {
    /// Slipway itself.
    pub fn system(name: &str) -> Self {
        Self { id: format!("system:{name}"), kind: ActorKind::System, via: Door::Internal }
    }

    /// Whether a model drives it. Behind the MCP door there is always one, whosever account it
    /// uses.
    pub fn is_agent(&self) -> bool {
        self.kind == ActorKind::Agent || self.via == Door::Mcp
    }
}

/// What somebody may do and is, within one bound: a project, or the whole house.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hold {
    /// What they may do.
    pub scopes: BTreeSet<Scope>,
    /// What they are, for rules that ask for somebody with a role.
    pub roles: BTreeSet<Role>,
}

impl Hold {
    /// What roles give in the whole house.
    pub fn in_house(roles: &BTreeSet<Role>) -> Self {
        let scopes = roles.iter().flat_map(|role| role.scopes()).collect();
        Self { scopes, roles: roles.clone() }
    }

    /// What roles give in one project.
    pub fn in_project(roles: &BTreeSet<Role>) -> Self {
        Self::in_house(roles).of_project()
    }

    /// Without what can only be held in the house.
    fn of_project(mut self) -> Self {
        self.scopes.retain(|scope| !scope.is_of_house());
        self
    }

    /// Whether it is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// What is left of it where only `scopes` count.
    ///
    /// A role stays where the right that makes it is left, so a token that may not approve speaks for
    /// no approver, whosever it is. An admin stands for every role; a token of theirs that may
    /// approve, but not administer, still speaks for an approver, and only for that.
    fn narrowed(&self, scopes: &BTreeSet<Scope>) -> Self {
        let left: BTreeSet<_> = self.scopes.intersection(scopes).copied().collect();
        let speaks = |wanted: &Role| {
            left.contains(&wanted.mark()) && self.roles.iter().any(|role| role.stands_for(*wanted))
        };
        Self { roles: Role::ALL.into_iter().filter(speaks).collect(), scopes: left }
    }
}

/// What somebody may do where. What holds in the house holds in every project too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Everywhere.
    pub house: Hold,
    /// In single projects, by name.
    pub projects: BTreeMap<String, Hold>,
}

/// Where somebody may do a thing: which rows a list may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// In every project, those to come too.
    Everywhere,
    /// In these projects only; in none when it is empty.
    Projects(BTreeSet<String>),
}

impl Grants {
    /// Every scope and every role, everywhere.
    pub fn everything() -> Self {
        let house = Hold { scopes: Scope::ALL.iter().copied().collect(), roles: Role::ALL.into() };
        Self { house, projects: BTreeMap::new() }
    }

    /// What memberships give: those of no project are of the house.
    pub fn of<'a>(
        memberships: impl IntoIterator<Item = (Option<&'a str>, &'a BTreeSet<Role>)>,
    ) -> Self {
        let mut grants = Self::default();
        for (project, roles) in memberships {
            match project {
                None => grants.house = Hold::in_house(roles),
                Some(project) => {
                    grants.projects.insert(project.to_owned(), Hold::in_project(roles));
                }
            }
        }
        grants
    }

    /// What is left of it for a token that was given `scopes` only, and only for `project` if there
    /// is one. A token never has more than whoever it is of: scopes and a project narrow what they
    /// hold now, and what they lose later the token loses too.
    #[must_use]
    pub fn narrowed(&self, scopes: &BTreeSet<Scope>, project: Option<&str>) -> Self {
        let narrow = |hold: &Hold| hold.narrowed(scopes);
        let Some(project) = project else {
            let projects = self.projects.iter().map(|(name, hold)| (name.clone(), narrow(hold)));
            return Self {
                house: narrow(&self.house),
                projects: projects.filter(|(_, hold)| !hold.is_empty()).collect(),
            };
        };
        let mut all = self.projects.get(project).cloned().unwrap_or_default();
        all.scopes.extend(&self.house.scopes);
        all.roles.extend(&self.house.roles);
        let left = narrow(&all.of_project());
        let kept = (!left.is_empty()).then(|| (project.to_owned(), left));
        Self { house: Hold::default(), projects: kept.into_iter().collect() }
    }

    /// Whether anything at all is held in `project`: to whom this does not apply the project and all
    /// that is in it does not exist.
    pub fn sees(&self, project: &str) -> bool {
        !self.house.is_empty() || self.projects.get(project).is_some_and(|hold| !hold.is_empty())
    }

    /// Everything that is held in `project`.
    pub fn scopes_in(&self, project: &str) -> BTreeSet<Scope> {
        let own = self.projects.get(project).map(|hold| hold.scopes.iter().copied());
        self.house.scopes.iter().copied().chain(own.into_iter().flatten()).collect()
    }

    /// Whether `scope` is held in `project`.
    pub fn may_in(&self, project: &str, scope: Scope) -> bool {
        let own = self.projects.get(project);
        self.house.scopes.contains(&scope) || own.is_some_and(|hold| hold.scopes.contains(&scope))
    }

    /// Whether `scope` is held in at least one project, or everywhere.
    pub fn may_somewhere(&self, scope: Scope) -> bool {
        self.house.scopes.contains(&scope)
            || self.projects.values().any(|hold| hold.scopes.contains(&scope))
    }

    /// Where `scope` is held.
    pub fn reach(&self, scope: Scope) -> Reach {
        if self.house.scopes.contains(&scope) {
            return Reach::Everywhere;
        }
        let held = self.projects.iter().filter(|(_, hold)| hold.scopes.contains(&scope));
        Reach::Projects(held.map(|(project, _)| project.clone()).collect())
    }

    /// What they are in `project`.
    pub fn roles_in(&self, project: &str) -> BTreeSet<Role> {
        let own = self.projects.get(project).map(|hold| hold.roles.iter().copied());
        self.house.roles.iter().copied().chain(own.into_iter().flatten()).collect()
    }
}

/// An authenticated caller with what it may do in this request.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Who.
    pub actor: Actor,
    /// What they may do where, as far as the token of this request lets them.
    pub grants: Grants,
    /// Network address of the caller, if it came over the network.
    pub address: Option<String>,
    /// What the caller's program calls itself (`User-Agent`), cut to a bounded length.
    pub user_agent: Option<String>,
    /// The id of the token that was shown: of a session, an API key or an exchanged workload token.
    pub token: Option<String>,
    /// Trace context of this request (W3C `traceparent`).
    pub traceparent: Option<String>,
}

impl Principal {
    /// Whoever `actor` is, with `grants`, and nothing known of the call.
    pub fn new(actor: Actor, grants: Grants) -> Self {
        Self { actor, grants, address: None, user_agent: None, token: None, traceparent: None }
    }

    /// The operator of a loopback installation, where nobody has an account: everything is allowed.
    pub fn local(via: Door) -> Self {
        let actor = Actor { id: "local".to_owned(), kind: ActorKind::Person, via };
        Self::new(actor, Grants::everything())
    }

    /// Somebody who has shown nothing: may do nothing, and is on record as nobody.
    pub fn anonymous(via: Door) -> Self {
        let actor = Actor { id: "anonymous".to_owned(), kind: ActorKind::Person, via };
        Self::new(actor, Grants::default())
    }

    /// The account that acts, where one does: neither Slipway itself nor whoever is alone on a
    /// loopback installation has one.
    pub fn account(&self) -> Option<AccountId> {
        self.actor.id.parse().ok()
    }

    /// Slipway itself, acting on nobody's behalf.
    pub fn system(name: &str) -> Self {
        let mut grants = Grants::everything();
        grants.house.roles.clear();
        Self::new(Actor::system(name), grants)
    }

    /// The id of the trace that this request belongs to.
    pub fn trace_id(&self) -> Option<String> {
        // `00-<trace id>-<span id>-<flags>`
        self.traceparent.as_deref()?.split('-').nth(1).map(str::to_owned)
    }

    /// Whether the caller holds `scope` everywhere.
    pub fn may(&self, scope: Scope) -> bool {
        self.grants.house.scopes.contains(&scope)
    }

    /// Refuses a caller who does not hold `scope` everywhere.
    pub fn need(&self, scope: Scope) -> Result<(), Fault> {
        if self.may(scope) { Ok(()) } else { Err(self.lacks(scope)) }
    }

    /// Refuses a caller who holds `scope` nowhere.
    pub fn need_somewhere(&self, scope: Scope) -> Result<(), Fault> {
        if self.grants.may_somewhere(scope) { Ok(()) } else { Err(self.lacks(scope)) }
    }

    /// Refuses a caller who does not hold `scope` in `project`. To one who holds nothing at all
    /// there the answer is `missing`, that of a thing that does not exist.
    pub fn need_in(
        &self,
        project: &str,
        scope: Scope,
        missing: impl FnOnce() -> Fault,
    ) -> Result<(), Fault> {
        if self.grants.may_in(project, scope) {
            Ok(())
        } else if self.grants.sees(project) {
            let why = format!("{} lacks the scope {scope} in {project}.", self.actor.id);
            Err(Fault::new(Code::Forbidden, why))
        } else {
            Err(missing().hiding())
        }
    }

    fn lacks(&self, scope: Scope) -> Fault {
        Fault::new(Code::Forbidden, format!("{} lacks the scope {scope}.", self.actor.id))
    }
}

#[cfg(test)]
mod tests;
