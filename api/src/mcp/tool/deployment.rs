//! Submitting, seeing, deciding on and stopping deployments.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use rmcp::model::ToolAnnotations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::Scope;
use slipway_domain::deployment::{Deployment, Failure, Operation, Options, Variables, Waiting};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{DeploymentId, StackId};
use slipway_domain::page::PageRequest;
use slipway_domain::plan::{Counts, Severity};
use slipway_domain::source::Source;
use slipway_domain::stack::StackKey;
use slipway_domain::state::{DeploymentState, Move};
use slipway_services::auth::authenticate;
use slipway_services::deployment::{self as verb, Filter, Submit};

use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, Refusal, answer, block, fenced, line};
use crate::mcp::consent::{self, Consent};

/// Items of a list when nobody says how many.
pub(super) const LIST_LIMIT: u32 = 20;
/// Diagnostics at most in one answer.
const MAX_DIAGNOSTICS: usize = 5;

/// A deployment as models see it.
#[derive(Serialize, JsonSchema)]
pub(super) struct View {
    deployment_id: DeploymentId,
    /// `project/name/environment`.
    stack: String,
    stack_id: StackId,
    operation: Operation,
    source: String,
    state: DeploymentState,
    ended: bool,
    waits_for_person: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureView>,
    created_at: DateTime<Utc>,
    /// How far the stopping of what runs is: what is in flight, done and left.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime<Utc>>,
    /// What can be done next.
    next: String,
}

#[derive(Serialize, JsonSchema)]
struct FailureView {
    during: DeploymentState,
    summary: String,
    /// The diagnostics are text from outside.
    untrusted: bool,
    diagnostics: Vec<DiagnosticView>,
}

#[derive(Serialize, JsonSchema)]
struct DiagnosticView {
    severity: Severity,
    summary: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

/// Whether it stands still until a person does something.
pub(super) fn waits_for_person(d: &Deployment) -> bool {
    d.state.waits_for_person() || matches!(d.waiting, Some(Waiting::Apply { .. }))
}

impl View {
    pub(super) fn of(d: &Deployment) -> Self {
        Self {
            deployment_id: d.id,
            stack: d.stack.to_string(),
            stack_id: d.stack_id,
            operation: d.operation,
            source: source(&d.source),
            state: d.state,
            ended: d.state.is_terminal(),
            waits_for_person: waits_for_person(d),
            reason: d.reason.as_deref().map(|text| line(text, 500)),
            waiting: d.waiting.as_ref().map(waiting),
            plan_digest: d.plan.as_ref().map(|plan| plan.digest.clone()),
            counts: d.plan.as_ref().map(|plan| plan.counts),
            approved_by: d.approval.as_ref().map(|approval| approval.by.id.clone()),
            failure: d.failure.as_ref().map(failure),
            created_at: d.created_at,
            cancel: d.cancel.as_ref().map(|cancel| line(&cancel.to_text(), 500)),
            ended_at: d.ended_at,
            next: next(d).to_owned(),
        }
    }

    /// The short text.
    pub(super) fn text(&self, call: &Call<'_>) -> String {
        let mut text = format!("{} of {}: {}", self.deployment_id, self.stack, self.state.as_str());
        if let Some(waiting) = &self.waiting {
            let _ = write!(text, ", waits for {waiting}");
        }
        text.push('.');
        if let (Some(digest), Some(counts)) = (&self.plan_digest, &self.counts) {
            let _ = write!(text, " Plan: {counts}; plan_digest {digest}.");
        }
        if self.failure.is_none()
            && let Some(reason) = &self.reason
        {
            let _ = write!(text, " Reason: {reason}.");
        }
        if let Some(cancel) = &self.cancel {
            let _ = write!(text, " Stopping: {cancel}.");
        }
        let _ = write!(text, " {}", self.next);
        if let Some(failure) = &self.failure {
            let mut said = format!("{}\n", failure.summary);
            for d in &failure.diagnostics {
                let _ = writeln!(said, "{}", d.summary);
                if let (Some(file), Some(at)) = (&d.file, d.line) {
                    let _ = writeln!(said, "  at {file}:{at}");
                }
                if !d.detail.is_empty() {
                    let _ = writeln!(said, "  {}", line(&d.detail, 500));
                }
            }
            text.push('\n');
            text.push_str(&fenced(call.cx, "why it failed", &said));
        }
        text
    }
}

/// A deployment as the tools that move it answer: where it is now, and what comes next.
#[derive(Serialize, JsonSchema)]
pub(super) struct Moved {
    deployment_id: DeploymentId,
    stack: String,
    state: DeploymentState,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    next: String,
}

pub(super) fn moved(call: &Call<'_>, d: &Deployment) -> Outcome {
    let mut view = View::of(d);
    if d.approvals.as_ref().is_some_and(|standing| !standing.complete) {
        // Who, `reason` says.
        "This approval is on record. Others must approve too; do not call again, tell the person \
         who is missing."
            .clone_into(&mut view.next);
    }
    let text = view.text(call);
    let View { deployment_id, stack, state, reason, waiting, next, .. } = view;
    answer(&Moved { deployment_id, stack, state, reason, waiting, next }, text)
}

fn source(source: &Source) -> String {
    let text = match source {
        Source::Template { name, version: None } => format!("template {name}"),
        Source::Template { name, version: Some(version) } => {
            format!("template {name} version {version}")
        }
        Source::Archive { artifact_id, .. } => format!("archive {artifact_id}"),
        Source::Git { url, reference, .. } => match reference {
            Some(reference) => format!("git {url} at {reference}"),
            None => format!("git {url}"),
        },
        Source::Directory { path } => format!("directory {path}"),
    };
    line(&text, 300)
}

fn waiting(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Worker { queue, position, .. } => {
            format!("a worker of queue {queue}, place {position}")
        }
        Waiting::Stack { held_by, position } => {
            format!("the stack, which {held_by} is changing, place {position}")
        }
        Waiting::Approval { .. } => "approval of its plan".to_owned(),
        Waiting::Freeze { until, reason } => {
            format!("{until}, nothing is applied before: {}", line(reason, 300))
        }
        Waiting::Apply { .. } => "the start of its apply".to_owned(),
        Waiting::Attention { detail } => format!("a person to look at it: {}", line(detail, 500)),
    }
}

fn failure(failure: &Failure) -> FailureView {
    let diagnostics = failure.diagnostics.iter().take(MAX_DIAGNOSTICS).map(|d| DiagnosticView {
        severity: d.severity,
        summary: line(&d.summary, 300),
        detail: block(&d.detail, 1000),
        address: d.address.as_deref().map(|text| line(text, 300)),
        file: d.file.as_deref().map(|text| line(text, 300)),
        line: d.line,
    });
    FailureView {
        during: failure.during,
        summary: line(&failure.summary, 500),
        untrusted: true,
        diagnostics: diagnostics.collect(),
    }
}

fn next(d: &Deployment) -> &'static str {
    use DeploymentState as S;
    match d.state {
        S::Approved if matches!(d.waiting, Some(Waiting::Apply { .. })) => {
            "Call apply_deployment to start its apply."
        }
        S::Submitted
        | S::Planning
        | S::Planned
        | S::Approved
        | S::Applying
        | S::Verifying
        | S::Interrupted
        | S::Recovering => "Call wait_for_deployment.",
        S::AwaitingApproval => {
            "Look at get_plan, then call approve_deployment or reject_deployment with plan_digest."
        }
        S::Blocked => "A gate denied the plan; get_plan says which and why.",
        S::NeedsAttention => "A person must look at what happened; get_recovery says at what.",
        S::Succeeded if d.options.plan_only => {
            "It was only planned, and nothing was applied; get_report says what the gates think."
        }
        S::Succeeded | S::NoChanges => "It has ended well; get_outputs has its outputs.",
        S::Failed => "It has ended; read_logs says more. Correct the cause and submit again.",
        S::Cancelled | S::Superseded | S::Expired | S::RolledBack => {
            "It has ended; submit a new deployment to try again."
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SubmitArguments {
    /// Which stack; it is made with its first deployment.
    stack: StackKey,
    /// Where the configuration comes from. A destroy may leave it out.
    #[serde(default)]
    source: Option<Source>,
    /// Values of the configuration's input variables, by name.
    #[serde(default)]
    variables: Variables,
    /// What it is for.
    #[serde(default)]
    operation: Operation,
    /// How to go about it.
    #[serde(default)]
    options: Options,
    /// The same key with the same arguments gives the same deployment: use one, so that a call can
    /// be repeated safely.
    #[serde(default)]
    idempotency_key: Option<String>,
}

pub(super) fn submit() -> Entry {
    entry::<SubmitArguments, Moved>(
        "submit_deployment",
        "Submit a deployment",
        "Starts a deployment of a stack (or its teardown) from a template, git repository or \
         uploaded archive; call it to change infrastructure. It only makes a plan: nothing is \
         applied before approval.",
        // `supersede` ends others; git and providers are out in the world.
        ToolAnnotations::new()
            .read_only(false)
            .destructive(true)
            .idempotent(false)
            .open_world(true),
        Scope::DeploymentsWrite,
        |call| submit_deployment(call).boxed(),
    )
}

async fn submit_deployment(call: Call<'_>) -> Outcome {
    let given: SubmitArguments = call.arguments()?;
    let request = Submit {
        stack: given.stack,
        source: given.source,
        variables: given.variables,
        operation: given.operation,
        options: given.options,
    };
    let accepted =
        verb::submit(call.cx, call.who, request, given.idempotency_key.as_deref()).await?;
    moved(&call, &accepted.deployment)
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetArguments {
    /// The deployment's id.
    deployment_id: DeploymentId,
}

pub(super) fn get() -> Entry {
    entry::<GetArguments, View>(
        "get_deployment",
        "Get a deployment",
        "Tells where a deployment is, what it waits for and why it failed; call it to check once, \
         without waiting.",
        reads(),
        Scope::DeploymentsRead,
        |call| get_deployment(call).boxed(),
    )
}

async fn get_deployment(call: Call<'_>) -> Outcome {
    let GetArguments { deployment_id } = call.arguments()?;
    let deployment = verb::get(call.cx, call.who, deployment_id).await?;
    let view = View::of(&deployment);
    let text = view.text(&call);
    answer(&view, text)
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DecideArguments {
    /// The deployment's id.
    deployment_id: DeploymentId,
    /// The `plan_digest` that `get_plan` showed.
    plan_digest: String,
    /// Why, for the record.
    #[serde(default)]
    comment: Option<String>,
}

pub(super) fn approve() -> Entry {
    entry::<DecideArguments, Moved>(
        "approve_deployment",
        "Approve a plan",
        "Approves one plan, named by its digest, which is then applied; call it only after \
         get_plan and with the person's consent. Clients that can ask the person are made to.",
        // A second call is refused and changes nothing.
        ToolAnnotations::new().read_only(false).destructive(true).idempotent(true).open_world(true),
        Scope::DeploymentsApprove,
        |call| approve_deployment(call).boxed(),
    )
}

async fn approve_deployment(call: Call<'_>) -> Outcome {
    let given: DecideArguments = call.arguments()?;
    let (mut comment, mut who) = (given.comment, call.who.clone());
    let client = call.context.client_capabilities().unwrap_or_default();
    if consent::can_ask(&client) {
        match ask(&call, given.deployment_id, &given.plan_digest).await? {
            Consent::Given => {
                // That may have taken minutes: the yes is worth what the caller may do now.
                who = authenticate::again(call.cx, call.who).await?;
                let mark = "confirmed by the person at the client";
                comment = Some(match comment.filter(|text| !text.trim().is_empty()) {
                    Some(text) => format!("{text} ({mark})"),
                    None => mark.to_owned(),
                });
            }
            Consent::Ask(question) => return Ok(question.into()),
        }
    }
    let deployment =
        verb::approve(call.cx, &who, given.deployment_id, &given.plan_digest, comment).await?;
    moved(&call, &deployment)
}

/// Asks the person, but not for what would be refused afterwards. The verb checks all of it again.
async fn ask(call: &Call<'_>, id: DeploymentId, named: &str) -> Result<Consent, Refusal> {
    let deployment = verb::get(call.cx, call.who, id).await?;
    deployment.state.next(Move::Approve)?;
    let plan = slipway_services::plan::get(call.cx, call.who, id).await?;
    if plan.digest != named {
        return Err(Fault::new(
            Code::PlanDigestMismatch,
            format!("The current plan is {}; the call names {:?}.", plan.digest, line(named, 80)),
        )
        .into());
    }
    consent::ask(call, &deployment, &plan).await
}

pub(super) fn reject() -> Entry {
    entry::<DecideArguments, Moved>(
        "reject_deployment",
        "Reject a plan",
        "Says no to one plan, named by its digest, and ends its deployment as cancelled; call it \
         when the plan is not what the person wants.",
        ToolAnnotations::new()
            .read_only(false)
            .destructive(true)
            .idempotent(true)
            .open_world(false),
        Scope::DeploymentsApprove,
        |call| reject_deployment(call).boxed(),
    )
}

async fn reject_deployment(call: Call<'_>) -> Outcome {
    let DecideArguments { deployment_id, plan_digest, comment } = call.arguments()?;
    let deployment = verb::reject(call.cx, call.who, deployment_id, &plan_digest, comment).await?;
    moved(&call, &deployment)
}

pub(super) fn apply() -> Entry {
    entry::<GetArguments, Moved>(
        "apply_deployment",
        "Start an apply",
        "Starts the apply of an approved plan that was submitted with auto_apply=false; in all \
         other cases the apply follows the approval by itself.",
        ToolAnnotations::new().read_only(false).destructive(true).idempotent(true).open_world(true),
        Scope::DeploymentsApply,
        |call| apply_deployment(call).boxed(),
    )
}

async fn apply_deployment(call: Call<'_>) -> Outcome {
    let GetArguments { deployment_id } = call.arguments()?;
    let deployment = verb::apply(call.cx, call.who, deployment_id).await?;
    moved(&call, &deployment)
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CancelArguments {
    /// The deployment's id.
    deployment_id: DeploymentId,
    /// Why, for the record.
    #[serde(default)]
    reason: Option<String>,
    /// Kill what runs, also while it finishes what is in flight; what it did is then found out.
    #[serde(default)]
    force: bool,
}

pub(super) fn cancel() -> Entry {
    entry::<CancelArguments, Moved>(
        "cancel_deployment",
        "Cancel a deployment",
        "Stops a deployment: one that waits ends at once, one that runs is asked to stop and \
         keeps what it has done; call it when the person no longer wants it. A second call while it \
         is draining kills it.",
        ToolAnnotations::new()
            .read_only(false)
            .destructive(true)
            .idempotent(false)
            .open_world(true),
        Scope::DeploymentsWrite,
        |call| cancel_deployment(call).boxed(),
    )
}

async fn cancel_deployment(call: Call<'_>) -> Outcome {
    let CancelArguments { deployment_id, reason, force } = call.arguments()?;
    let deployment = verb::cancel(call.cx, call.who, deployment_id, reason, force).await?;
    moved(&call, &deployment)
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArguments {
    /// Only of this stack.
    #[serde(default)]
    stack_id: Option<StackId>,
    /// Only of this project.
    #[serde(default)]
    project: Option<String>,
    /// Only of this environment.
    #[serde(default)]
    environment: Option<String>,
    /// Only in this state.
    #[serde(default)]
    state: Option<DeploymentState>,
    /// How many, 1 to 200; 20 when absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Deployments {
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Item {
    deployment_id: DeploymentId,
    stack: String,
    operation: Operation,
    state: DeploymentState,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<u32>,
    created_at: DateTime<Utc>,
}

pub(super) fn list() -> Entry {
    entry::<ListArguments, Deployments>(
        "list_deployments",
        "List deployments",
        "Lists deployments, newest first, by project, environment, stack or state; call it to \
         find one or to see what waits for approval (state awaiting_approval).",
        reads(),
        Scope::DeploymentsRead,
        |call| list_deployments(call).boxed(),
    )
}

async fn list_deployments(call: Call<'_>) -> Outcome {
    let given: ListArguments = call.arguments()?;
    let page = PageRequest::parse(given.limit.or(Some(LIST_LIMIT)), given.cursor.as_deref())?;
    let filter = Filter {
        stack_id: given.stack_id,
        project: given.project,
        environment: given.environment,
        state: given.state,
    };
    let page = verb::list(call.cx, call.who, &filter, page).await?;
    let page = page.map(|d| Item {
        deployment_id: d.id,
        stack: d.stack.to_string(),
        operation: d.operation,
        state: d.state,
        changes: d.plan.map(|plan| plan.counts.operations()),
        created_at: d.created_at,
    });
    let mut text = match page.items.len() {
        0 => "No deployments.".to_owned(),
        1 => "1 deployment:".to_owned(),
        n => format!("{n} deployments, newest first:"),
    };
    for item in &page.items {
        let Item { deployment_id, stack, state, .. } = item;
        let _ = write!(text, "\n{deployment_id} {stack} {state}");
    }
    if page.next_cursor.is_some() {
        text.push_str("\nThere are more: call again with next_cursor as cursor.");
    }
    answer(&Deployments { items: page.items, next_cursor: page.next_cursor }, text)
}
