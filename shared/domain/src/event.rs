//! What happens to a deployment, as a numbered list that anybody can follow and resume.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::approval::{Standing, Verb};
use crate::cancel::CancelProgress;
use crate::deployment::Stale;
use crate::drift::DriftTurn;
use crate::gate::GateResult;
use crate::id::{DeploymentId, TestRunId};
use crate::plan::{Action, Diagnostic, PlanSummary};
use crate::recovery::RecoveryVerdict;
use crate::source::Source;
use crate::stack::StackKey;
use crate::state::DeploymentState;
use crate::test_report::{TestCounts, TestStatus};

/// One event as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Event {
    /// Number in the deployment, from 1, without holes. The SSE `id`.
    pub seq: i64,
    /// Whose it is.
    pub deployment_id: DeploymentId,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub body: EventBody,
}

/// How far an operation on a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceStatus {
    /// It began.
    Started,
    /// It is done.
    Completed,
    /// It went wrong.
    Errored,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventBody {
    /// The deployment was accepted.
    Submitted {
        /// Of which stack.
        stack: StackKey,
        /// From where.
        source: Source,
        /// By whom.
        by: Actor,
    },
    /// It went from one state to another.
    StateChanged {
        /// From.
        from: DeploymentState,
        /// To.
        to: DeploymentState,
        /// Why, when there is more to say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Who did it, when it was a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
    },
    /// The driver is at this step (`fetch`, `init`, `plan`, `show`, `apply` …).
    Step {
        /// The step.
        step: String,
        /// More about it, e.g. the commit that was fetched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A plan is there.
    PlanReady {
        /// Its short form.
        plan: PlanSummary,
    },
    /// A gate answered.
    Gate {
        /// What it said.
        #[serde(flatten)]
        result: GateResult,
    },
    /// Somebody said yes or no to the plan, or took a yes back.
    Approval {
        /// What.
        decision: Verb,
        /// Who.
        by: Actor,
        /// The digest of the plan that they named.
        plan_digest: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
        /// How far the plan is from what it needs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        standing: Option<Standing>,
    },
    /// A resource of the apply moved.
    Resource {
        /// Its address.
        address: String,
        /// What is done to it.
        action: Action,
        /// How far it is.
        status: ResourceStatus,
        /// Seconds since it began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        elapsed_s: Option<u64>,
        /// The id that the provider gave it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource_id: Option<String>,
        /// The attribute that holds that id, when it is not `id`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id_key: Option<String>,
    },
    /// The tool complained.
    Diagnostic {
        /// About what.
        #[serde(flatten)]
        diagnostic: Diagnostic,
    },
    /// Somebody asked to stop it.
    CancelRequested {
        /// Who.
        by: Actor,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Whether it is to be killed.
        #[serde(default, skip_serializing_if = "is_false")]
        forced: bool,
    },
    /// The stopping has come to its next phase: what is in flight, done and left.
    CancelProgress {
        /// How far it is.
        #[serde(flatten)]
        cancel: CancelProgress,
    },
    /// A job of it will run again.
    JobRetried {
        /// Which attempt failed.
        attempt: i32,
        /// Why.
        error: String,
        /// When the next one may begin.
        run_at: DateTime<Utc>,
    },
    /// What a lost apply did was found out; see `…/recovery`.
    Recovery {
        /// What follows.
        verdict: RecoveryVerdict,
        /// One sentence.
        summary: String,
        /// Resources that are done.
        done: usize,
        /// Resources that were made and that the state does not know.
        lost: usize,
        /// Resources of which nobody knows.
        in_doubt: usize,
    },
    /// Tests have ended; see `…/tests`.
    Tests {
        /// Which.
        test_run_id: TestRunId,
        /// How.
        status: TestStatus,
        /// One sentence.
        summary: String,
        /// How many cases ended how.
        counts: TestCounts,
    },
    /// The stack begins to drift, drifts in another way, or drifts no more; see
    /// `/api/v1/stacks/{id}/drift`. It comes after the end of the deployment that the stack runs.
    Drift {
        /// Which of these.
        turn: DriftTurn,
        /// One sentence.
        summary: String,
        /// Since when it is known to drift.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<DateTime<Utc>>,
    },
    /// The state has moved on since this plan, which nobody applies, was made.
    PlanStale {
        /// To which.
        #[serde(flatten)]
        stale: Stale,
    },
    /// The outputs are there; see `…/outputs`.
    Outputs {
        /// Their names.
        names: Vec<String>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl EventBody {
    /// The text form of its type: the SSE `event`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::StateChanged { .. } => "state_changed",
            Self::Step { .. } => "step",
            Self::PlanReady { .. } => "plan_ready",
            Self::Gate { .. } => "gate",
            Self::Approval { .. } => "approval",
            Self::Resource { .. } => "resource",
            Self::Diagnostic { .. } => "diagnostic",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::CancelProgress { .. } => "cancel_progress",
            Self::JobRetried { .. } => "job_retried",
            Self::Recovery { .. } => "recovery",
            Self::Tests { .. } => "tests",
            Self::Drift { .. } => "drift",
            Self::PlanStale { .. } => "plan_stale",
            Self::Outputs { .. } => "outputs",
        }
    }
}
