//! Who is asking and what they may do.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::{Code, Fault};

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
    /// See sensitive values in clear.
    SecretsReveal = "secrets:reveal";
    /// See queues, jobs and workers.
    QueuesRead = "queues:read";
    /// Requeue, purge, pause and resume.
    QueuesOperate = "queues:operate";
    /// Read, export and verify the audit log.
    AuditRead = "audit:read";
    /// Use the MCP door.
    McpExecute = "mcp:execute";
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

/// An authenticated caller with the scopes of this request.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Who.
    pub actor: Actor,
    /// What they may do.
    pub scopes: BTreeSet<Scope>,
    /// What they are, for rules that ask for somebody with a role.
    pub roles: BTreeSet<Role>,
    /// The session, API key or workload token that it came with: its id, for the record.
    pub token: Option<String>,
    /// Network address of the caller, if it came over the network.
    pub address: Option<String>,
    /// What the caller's program calls itself.
    pub user_agent: Option<String>,
    /// Trace context of this request (W3C `traceparent`).
    pub traceparent: Option<String>,
}

impl Principal {
    /// The operator of a loopback installation, before identity is built: everything is allowed.
    pub fn local(via: Door) -> Self {
        Self {
            actor: Actor { id: "local".to_owned(), kind: ActorKind::Person, via },
            scopes: Scope::ALL.iter().copied().collect(),
            roles: Role::ALL.into(),
            token: None,
            address: None,
            user_agent: None,
            traceparent: None,
        }
    }

    /// Slipway itself, acting on nobody's behalf.
    pub fn system(name: &str) -> Self {
        Self {
            actor: Actor::system(name),
            scopes: Scope::ALL.iter().copied().collect(),
            roles: BTreeSet::new(),
            token: None,
            address: None,
            user_agent: None,
            traceparent: None,
        }
    }

    /// The id of the trace that this request belongs to.
    pub fn trace_id(&self) -> Option<String> {
        // `00-<trace id>-<span id>-<flags>`
        self.traceparent.as_deref()?.split('-').nth(1).map(str::to_owned)
    }

    /// Whether the caller holds `scope`.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Refuses a caller without `scope`.
    pub fn need(&self, scope: Scope) -> Result<(), Fault> {
        if self.may(scope) {
            Ok(())
        } else {
            Err(Fault::new(Code::Forbidden, format!("{} lacks the scope {scope}.", self.actor.id)))
        }
    }
}
