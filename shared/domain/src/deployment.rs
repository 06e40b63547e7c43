//! Deployments: one attempt each to bring a stack to a desired state.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::approval::Standing;
use crate::cancel::CancelProgress;
use crate::id::{DeploymentId, JobId, PlanId, StackId};
use crate::job::{Priority, Queue};
use crate::plan::{Diagnostic, PlanSummary};
use crate::source::Source;
use crate::stack::{DriverKind, StackKey};
use crate::state::DeploymentState;

/// Values for a configuration's input variables, by name.
pub type Variables = BTreeMap<String, serde_json::Value>;

/// What a deployment is for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Bring the stack to what the source says.
    #[default]
    Deploy,
    /// Remove everything that the stack's state records.
    Destroy,
}

impl Operation {
    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Destroy => "destroy",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Deploy, Self::Destroy].into_iter().find(|o| o.as_str() == text)
    }
}

/// How a deployment is to go about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Start the apply as soon as the plan is approved. Without it, `POST …/apply` starts it. Whoever
    /// submits with it needs `deployments:apply`.
    pub auto_apply: bool,
    /// Let earlier deployments of the same stack that are not being applied yet end as
    /// `superseded`.
    pub supersede: bool,
    /// Only plan: the plan is made, judged and reported, and can never be applied. The deployment ends
    /// as `succeeded` once the gates have judged it, or as `no_changes`.
    #[serde(skip_serializing_if = "is_false")]
    pub plan_only: bool,
    /// How long a plan may wait for approval or for its apply, in seconds; then it is `expired`.
    #[schema(minimum = 60, maximum = 2_592_000)]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub expires_in_s: u32,
    /// What its jobs go before in their queues. `high` needs the scope `queues:operate`.
    pub priority: Priority,
    /// The program that plans and applies it: `terraform` or `tofu`, with a version after a space
    /// where it must be that one (`terraform 1.11.4`). Without it, the worker's own choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(terraform|tofu)( [0-9][0-9A-Za-z.+-]*)?$", max_length = 80)]
    pub tool: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auto_apply: true,
            supersede: false,
            plan_only: false,
            expires_in_s: 7 * 24 * 3600,
            priority: Priority::Normal,
            tool: None,
        }
    }
}

/// When a deployment entered a state. The list of these is its history; the difference of two
/// neighbours is how long the phase took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Phase {
    /// The state.
    pub state: DeploymentState,
    /// When it was entered.
    pub entered_at: DateTime<Utc>,
}

/// The state of the stack has moved on since a plan was made that nobody applies: what it says may
/// not hold any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Stale {
    /// When that was seen.
    pub since: DateTime<Utc>,
    /// The serial of the state that the plan was made against; 0: there was none.
    pub planned_serial: i64,
    /// The serial of the state then.
    pub serial: i64,
}

impl std::fmt::Display for Stale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { planned_serial, serial, .. } = self;
        write!(
            f,
            "the state moved from serial {planned_serial} to {serial} since the plan was made"
        )
    }
}

/// Why a deployment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Failure {
    /// In which state it was.
    pub during: DeploymentState,
    /// One sentence.
    pub summary: String,
    /// What the tool said, with file and line.
    pub diagnostics: Vec<Diagnostic>,
}

/// A yes to one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Approval {
    /// The digest of the plan that was approved.
    pub plan_digest: String,
    /// Who said so.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
    /// What they added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The digest of the plan that they saw, when it is not this one: this one was proved to be
    /// inside it, or equal to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_from: Option<String>,
    /// How often it was carried on to another plan.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub carries: u32,
}

impl Approval {
    /// How often an approval may be carried on. Every time is on the record.
    pub const MAX_CARRIES: u32 = 10;

    /// The digest of the plan that a person saw.
    pub fn seen(&self) -> &str {
        self.carried_from.as_deref().unwrap_or(&self.plan_digest)
    }

    /// Until when it may be carried on, in a deployment with these options.
    pub fn holds_until(&self, options: &Options) -> DateTime<Utc> {
        self.at + chrono::Duration::seconds(options.expires_in_s.into())
    }

    /// The same yes to another plan, which was proved to be inside the one that was seen, or equal
    /// to it.
    #[must_use]
    pub fn carried_to(&self, plan_digest: &str) -> Self {
        Self {
            plan_digest: plan_digest.to_owned(),
            carried_from: Some(self.seen().to_owned()),
            carries: self.carries.saturating_add(1),
            ..self.clone()
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A deployment as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The stack's id.
    pub stack_id: StackId,
    /// What names the stack.
    pub stack: StackKey,
    /// How it is deployed.
    pub driver: DriverKind,
    /// What it is for.
    pub operation: Operation,
    /// Where it is.
    pub state: DeploymentState,
    /// Why it is there, when there is more to say than the state's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where its configuration comes from.
    pub source: Source,
    /// The commit that was fetched, for a git source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Its variables; sensitive ones are masked.
    #[schema(value_type = Object)]
    pub variables: Variables,
    /// How it is to go about it.
    pub options: Options,
    /// The current plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanSummary>,
    /// That the plan of a `plan_only` deployment is out of date, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Stale>,
    /// The approval that completed what the current plan needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// How far the current plan is from what it needs; only in the answer to a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Standing>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When somebody asked to stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// How far the stopping of what runs is, and what is done and left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelProgress>,
    /// Its history.
    pub phases: Vec<Phase>,
    /// Who submitted it.
    pub submitted_by: Actor,
    /// The trace that leads from the request to the last subprocess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When something last changed.
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// When a plan that waits turns `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What it waits for right now; absent in lists and when it waits for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// What a deployment waits for right now, in words that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Waiting {
    /// A worker of this queue.
    Worker {
        /// The queue.
        queue: Queue,
        /// Place in the queue, from 1; places are counted to 1000. In a queue of 100 and more it may
        /// be a second old.
        position: i64,
        /// The job that waits.
        job_id: JobId,
    },
    /// Another deployment of the same stack that is being applied.
    Stack {
        /// The deployment that holds the stack.
        held_by: DeploymentId,
        /// Place among those that wait for the same stack, from 1.
        position: i64,
    },
    /// A person who approves or rejects the plan.
    Approval {
        /// The digest that they must name.
        plan_digest: String,
    },
    /// The end of a time in which nothing is applied.
    Freeze {
        /// Not before this moment.
        until: DateTime<Utc>,
        /// Why.
        reason: String,
    },
    /// A person who starts the apply (`auto_apply` is off).
    Apply {
        /// The plan.
        plan_id: PlanId,
    },
    /// A person who looks at what happened.
    Attention {
        /// What to look at.
        detail: String,
    },
}

/// An output value of a stack.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its value; `"***"` when it is sensitive and not revealed.
    #[schema(value_type = Value)]
    pub value: serde_json::Value,
    /// Whether the configuration marks it as sensitive.
    pub sensitive: bool,
    /// Terraform's type, e.g. `"string"` or `["list","string"]`.
    #[serde(rename = "type", default)]
    #[schema(value_type = Value)]
    pub kind: serde_json::Value,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = serde_json::Value::from(crate::secret::MASK);
        f.debug_struct("Output")
            .field("name", &self.name)
            .field("value", if self.sensitive { &hidden } else { &self.value })
            .field("sensitive", &self.sensitive)
            .finish_non_exhaustive()
    }
}
