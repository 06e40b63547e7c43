//! Submitting, seeing, applying and stopping deployments.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::{Principal, Scope};
use slipway_domain::artifact::{ArtifactKind, digest};
use slipway_domain::deployment::{Deployment, Operation, Options, Variables};
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::id::{ArtifactId, DeploymentId, StackId};
use slipway_domain::job::{Doorbell, JobKind, Priority};
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::plan::ToolChoice;
use slipway_domain::source::Source;
use slipway_domain::stack::{StackKey, is_name};
use slipway_domain::state::Move;
use slipway_store::Tx;
pub use slipway_store::deployment::Filter;
use slipway_store::deployment::Record;
use utoipa::ToSchema;

use crate::access::{self, lock_deployment};
pub use crate::approval::{approve, reject};
pub use crate::cancel::cancel;
use crate::change::{Change, audit, enqueue};
use crate::idempotency::Guard;
use crate::intake::{Archive, Entry, Outcome};
use crate::look::waiting;
use crate::setting::usage;
use crate::source::{self, Content, Resolved};
use crate::{Ctx, artifact, cancel as stopping, template};

/// A request to bring a stack to a desired state.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// Which stack; it is made with its first deployment.
    pub stack: StackKey,
    /// Where the configuration comes from. A `destroy` may leave it out: then the source and the
    /// variables of the stack's current deployment are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Values of the configuration's input variables. `${config.KEY}` and `${secret.KEY}` in a string
    /// stand for items of the central configuration, as the worker finds them when it makes the plan;
    /// `$${config.` and `$${secret.` for themselves, with one `$` less.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub variables: Variables,
    /// What it is for.
    #[serde(default)]
    pub operation: Operation,
    /// How to go about it.
    #[serde(default)]
    pub options: Options,
}

impl std::fmt::Debug for Submit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Nobody knows yet which variables are secrets.
        let names: Vec<_> = self.variables.keys().collect();
        f.debug_struct("Submit")
            .field("stack", &self.stack)
            .field("source", &self.source)
            .field("variables", &names)
            .field("operation", &self.operation)
            .field("options", &self.options)
            .finish()
    }
}

/// What a submitter gets.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The deployment, as it was when it was accepted.
    pub deployment: Deployment,
    /// Whether this is the stored answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Most variables in one request.
const MAX_VARIABLES: usize = 500;

/// Accepts a deployment: checks everything that can be checked without Terraform, records it, and
/// enqueues its plan.
pub async fn submit(
    cx: &Ctx,
    who: &Principal,
    request: Submit,
    idempotency_key: Option<&str>,
) -> Result<Accepted, Fault> {
    may_submit(who, &request)?;
    let guard = Guard::new(who, "deployment.submit", idempotency_key, &request)?;
    // A template costs nothing to look at, so it is not asked first whether that was done before:
    // the answer to its key comes up when it is recorded, or here when it cannot be.
    let cheap = matches!(request.source, Some(Source::Template { .. }));
    if !cheap && let Some(answered) = answered(cx, guard.as_ref()).await? {
        return Ok(answered);
    }
    let prepared = async {
        check(who, &request)?;
        prepare(cx, who, request).await
    };
    match prepared.await {
        Ok(prepared) => record(cx, who, prepared, guard).await,
        Err(fault) => answered(cx, guard.as_ref()).await?.ok_or(fault),
    }
}

/// Submits a deployment of what a stack runs now: with the source, the variables and the options of
/// its current deployment. It goes its way like any other, through every gate and approval.
pub async fn redeploy(
    cx: &Ctx,
    who: &Principal,
    of: StackId,
    idempotency_key: Option<&str>,
) -> Result<Accepted, Fault> {
    let mut tx = cx.store.read().await?;
    let stack = access::read_stack(&mut tx, who, of, Scope::DeploymentsWrite).await?.stack;
    drop(tx);
    let guard = Guard::new(who, "drift.reconcile", idempotency_key, &of)?;
    if let Some(answered) = answered(cx, guard.as_ref()).await? {
        return Ok(answered);
    }
    let mut tx = cx.store.read().await?;
    let current = match stack.current_deployment {
        Some(current) => tx.deployment(current).await?.map(|record| record.deployment),
        None => None,
    };
    drop(tx);
    let current = current.filter(|current| current.operation == Operation::Deploy);
    let Some(current) = current else {
        return Err(Fault::new(
            Code::NotReady,
            "The stack runs nothing that could be deployed again.",
        ));
    };
    let may_hurry = who.grants.may_in(&stack.key.project, Scope::QueuesOperate);
    let options = Options {
        // Whoever waits on this stack with another source is not meant.
        supersede: false,
        auto_apply: current.options.auto_apply
            && who.grants.may_in(&stack.key.project, Scope::DeploymentsApply),
        priority: match current.options.priority {
            Priority::High if !may_hurry => Priority::Normal,
            priority => priority,
        },
        ..current.options
    };
    let request = Submit {
        stack: stack.key,
        source: None,
        variables: Variables::new(),
        operation: Operation::Deploy,
        options,
    };
    let prepared = prepare(cx, who, request).await?;
    record(cx, who, prepared, guard).await
}

/// The answer that was given to the same request before, if any.
async fn answered(cx: &Ctx, guard: Option<&Guard>) -> Result<Option<Accepted>, Fault> {
    let Some(guard) = guard else { return Ok(None) };
    let mut tx = cx.store.read().await?;
    let answer = guard.answer(cx, &mut tx).await?;
    Ok(answer.map(|deployment| Accepted { deployment, replayed: true }))
}

/// Accepts a deployment whose source came with the request as a `tar.gz`, with its root module at
/// `path` (the top when `None`). `request.source` is not looked at. Archive, deployment and job
/// commit together: what is refused leaves nothing behind.
pub async fn submit_archive(
    cx: &Ctx,
    who: &Principal,
    mut request: Submit,
    archive: Bytes,
    path: Option<String>,
    idempotency_key: Option<&str>,
) -> Result<Accepted, Fault> {
    may_submit(who, &request)?;
    let guard = match idempotency_key {
        None => None,
        key => {
            request.source = None;
            let same = (&request, digest(&archive), &path);
            Guard::new(who, "deployment.submit", key, &same)?
        }
    };
    if let Some(answered) = answered(cx, guard.as_ref()).await? {
        return Ok(answered);
    }
    let id = ArtifactId::new(&*cx.mint);
    request.source = Some(Source::Archive { artifact_id: id, path: path.clone() });
    check(who, &request)?;
    let variables = usage::check(cx, &request.stack, &request.variables).await?;
    let (source, resolved) = source::resolve_sent(cx, id, archive, path, &variables).await?;
    record(cx, who, Prepared { request, source, resolved }, guard).await
}

/// Whether the caller may deploy in the project. To whom holds nothing there, there is no such
/// project; whether there is one for the others is seen when a stack is made in it.
fn may_submit(who: &Principal, request: &Submit) -> Result<(), Fault> {
    let project = &request.stack.project;
    if !is_name(project) {
        // Which says everything else that is wrong, too.
        check(who, request)?;
    }
    access::project(who, project, Scope::DeploymentsWrite)?;
    let applies = request.options.auto_apply && !request.options.plan_only;
    if applies && !who.grants.may_in(project, Scope::DeploymentsApply) {
        // A token that may only submit must not have things applied by leaving the word out.
        let why = format!(
            "{} lacks the scope {} in {project}: submit it with `auto_apply` off, and somebody who \
             has it starts the apply once it is approved.",
            who.actor.id,
            Scope::DeploymentsApply
        );
        return Err(Fault::new(Code::Forbidden, why));
    }
    Ok(())
}

/// Checks what can be checked of a request on its face.
fn check(who: &Principal, request: &Submit) -> Result<(), Fault> {
    let mut problems = request.stack.problems();
    if request.variables.len() > MAX_VARIABLES {
        problems.push(FieldError::at(
            "/variables",
            format!("at most {MAX_VARIABLES} variables can be given"),
        ));
    }
    let expires = request.options.expires_in_s;
    if !(60..=2_592_000).contains(&expires) {
        problems.push(FieldError::at(
            "/options/expires_in_s",
            "expires_in_s must be from 60 to 2592000 (30 days)",
        ));
    }
    if request.options.tool.as_deref().is_some_and(|tool| ToolChoice::parse(tool).is_none()) {
        problems.push(FieldError::at(
            "/options/tool",
            "tool must be terraform or tofu, with a version after a space where it must be that one: \
             \"terraform 1.11.4\"",
        ));
    }
    if request.options.priority == Priority::High {
        access::project(who, &request.stack.project, Scope::QueuesOperate)?;
    }
    if request.options.plan_only && request.options.supersede {
        problems.push(FieldError::at(
            "/options/plan_only",
            "plan_only and supersede exclude each other: what is never applied takes nobody's place",
        ));
    }
    if request.source.is_none() && request.operation == Operation::Deploy {
        problems.push(FieldError::at("/source", "source is required"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Fault::fields(Code::InvalidInput, problems)) }
}

/// A request with everything found out that can be, and nothing written yet.
struct Prepared {
    request: Submit,
    source: Source,
    resolved: Resolved,
}

async fn prepare(cx: &Ctx, who: &Principal, mut request: Submit) -> Result<Prepared, Fault> {
    if let Some(mut source) = request.source.clone() {
        if let Source::Archive { artifact_id, .. } = &source
            && !artifact::may_use(cx, who, *artifact_id).await?
        {
            return Err(source::no_upload(*artifact_id));
        }
        let variables = usage::check(cx, &request.stack, &request.variables).await?;
        let resolved = source::resolve(cx, &source, &variables).await?;
        if let Source::Template { version, .. } = &mut source {
            // On record stands which one it got.
            *version = resolved.version;
        }
        return Ok(Prepared { request, source, resolved });
    }
    // A teardown of what runs now, or that once more, with what made it.
    let mut tx = cx.store.read().await?;
    let nothing = || {
        Fault::field(
            "/source",
            "the stack has no current deployment to take the source from; name one",
        )
    };
    let stack = tx.stack_by_key(&request.stack).await?.ok_or_else(nothing)?;
    let current = stack.stack.current_deployment.ok_or_else(nothing)?;
    let record = tx.deployment(current).await?.ok_or_else(nothing)?;
    let artifact = record.source_artifact.ok_or_else(nothing)?;
    let mut variables = tx.variables(current).await?;
    // One connection at a time: the archive is opened with one of its own.
    drop(tx);
    variables.append(&mut request.variables);
    request.variables = variables;
    let (root, before) = (record.source_root, record.deployment.variables);
    let variables = usage::check(cx, &request.stack, &request.variables).await?;
    let hidden = source::hidden_of_kept(cx, artifact, root.clone(), &variables, &before).await?;
    Ok(Prepared {
        source: record.deployment.source,
        resolved: Resolved { content: Content::Kept(artifact), root, hidden, version: None },
        request,
    })
}

async fn record(
    cx: &Ctx,
    who: &Principal,
    prepared: Prepared,
    guard: Option<Guard>,
) -> Result<Accepted, Fault> {
    let Prepared { request, source, resolved: Resolved { content, root, hidden, .. } } = prepared;
    let mut entry = Entry {
        who: who.clone(),
        request,
        source,
        archive: Archive::None,
        root,
        hidden,
        guard,
        span: tracing::Span::current(),
    };
    let seal = async |id, content: &[u8]| {
        let sealed = cx.store.seal_artifact(id, ArtifactKind::Source, content, cx.now()).await?;
        Ok::<_, Fault>(Archive::New(sealed))
    };
    let shared = match content {
        Content::Unfetched => None,
        Content::Kept(id) => {
            entry.archive = Archive::Kept(id);
            None
        }
        Content::New(id, content) => {
            entry.archive = seal(id, &content).await?;
            None
        }
        Content::Template(shared) => Some(shared),
    };
    let Some(shared) = shared else {
        let kept = match entry.archive {
            Archive::Kept(id) => Some(id),
            _ => None,
        };
        return match cx.gathered.intake.ask(cx, entry).await? {
            Outcome::Accepted(accepted) => Ok(*accepted),
            // It was old, and was swept since it was looked at.
            Outcome::ArchiveGone(back) => Err(match (kept, &back.source) {
                (_, Source::Template { name, version }) => {
                    template::gone(name, version.unwrap_or_default())
                }
                (Some(id), _) => source::no_upload(id),
                (None, _) => Fault::internal("an archive that was not kept is gone"),
            }),
        };
    };
    if let Some(id) = shared.kept() {
        entry.archive = Archive::Kept(id);
        match cx.gathered.intake.ask(cx, entry).await? {
            Outcome::Accepted(accepted) => return Ok(*accepted),
            Outcome::ArchiveGone(back) => entry = *back,
        }
    }
    let id = ArtifactId::new(&*cx.mint);
    entry.archive = seal(id, &shared.content).await?;
    match cx.gathered.intake.ask(cx, entry).await? {
        Outcome::Accepted(accepted) => {
            if !accepted.replayed {
                shared.is_kept_as(id);
            }
            Ok(*accepted)
        }
        Outcome::ArchiveGone(_) => Err(Fault::internal("an archive that was not kept is gone")),
    }
}

/// One deployment, with what it waits for.
pub async fn get(cx: &Ctx, who: &Principal, id: DeploymentId) -> Result<Deployment, Fault> {
    let look = cx.gathered.looks.ask(cx, id).await?;
    let record = look.as_ref().map(|look| &look.record);
    // A round answers for many: each one's right is looked at here.
    access::deployment(who, id, record, Scope::DeploymentsRead)?;
    let look = look.ok_or_else(|| Fault::not_found("deployment", id))?;
    let waiting = waiting(cx, &look).await?;
    let mut deployment = Deployment { waiting, ..look.record.deployment.clone() };
    stopping::look(cx, &mut deployment).await?;
    Ok(deployment)
}

/// Deployments, newest first.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<Deployment>, Fault> {
    let reach = access::reach(who, Scope::DeploymentsRead)?;
    let rows = cx.store.read().await?.deployments(filter, &reach, page).await?;
    Ok(Page::from_surplus(rows, page, |row| row.deployment.id.0).map(|row| row.deployment))
}

/// A plan that waited too long is not gone on with, also before the loop that ends it comes by.
pub(crate) fn in_time(cx: &Ctx, record: &Record) -> Result<(), Fault> {
    match record.deployment.expires_at {
        Some(at) if at <= cx.now() => Err(Fault::new(
            Code::IllegalTransition,
            "The plan waited longer than `expires_in_s` and has expired. Submit a new deployment.",
        )),
        _ => Ok(()),
    }
}

pub(crate) fn checked_comment(comment: Option<String>) -> Result<Option<String>, Fault> {
    checked_text("comment", comment)
}

/// A text that somebody puts on record: bounded, and none when it says nothing.
pub(crate) fn checked_text(field: &str, text: Option<String>) -> Result<Option<String>, Fault> {
    let wrong = |why: &str| Err(Fault::field(format!("/{field}"), format!("{field} {why}")));
    match text {
        Some(text) if text.chars().count() > 2000 => wrong("is longer than 2000 characters"),
        Some(text) if text.contains('\0') => wrong("contains a NUL character"),
        other => Ok(other.filter(|text| !text.trim().is_empty())),
    }
}

/// When the state moved on since the plan was made, or what the gates said of it does not hold any
/// more: makes a new plan instead, and returns the bell to ring after the commit.
pub(crate) async fn replan_if_stale(
    cx: &Ctx,
    tx: &mut Tx,
    who: &Principal,
    record: &mut Record,
) -> Result<Option<Doorbell>, Fault> {
    let stack = tx
        .stack(record.deployment.stack_id)
        .await?
        .ok_or_else(|| Fault::not_found("stack", record.deployment.stack_id))?;
    let latest = tx
        .latest(record.deployment.id)
        .await?
        .ok_or_else(|| Fault::new(Code::NotReady, "The deployment has no plan yet."))?;
    let now = stack.state_mark();
    let then = &latest.binding.state;
    let mut reason = if now != *then {
        format!(
            "the state moved from serial {} to {} since the plan was made",
            then.serial, now.serial
        )
    } else if let Some(until) = latest.holds_until.filter(|until| *until <= cx.now()) {
        format!("what the gates said about the plan held until {until}, with an exemption")
    } else {
        return Ok(None);
    };
    if record.deployment.approval.is_some() {
        reason.push_str("; its approval holds for the new plan if that is proved to be equal");
    }
    let mut change = Change::by(cx, who, record);
    let detail = serde_json::json!({"planned_at": then, "now": now});
    change.go(tx, Move::Replan, Some(reason), detail).await?;
    change.enqueue(tx, JobKind::Plan).await.map(Some)
}

/// Starts the apply of an approved plan that was submitted without `auto_apply`.
pub async fn apply(cx: &Ctx, who: &Principal, id: DeploymentId) -> Result<Deployment, Fault> {
    let mut tx = cx.store.begin().await?;
    let record = lock_deployment(&mut tx, who, id, Scope::DeploymentsApply).await?;
    record.deployment.state.next(Move::StartApply)?;
    in_time(cx, &record)?;
    let started =
        tx.jobs_of(id).await?.iter().any(|job| job.kind == JobKind::Apply && job.state.is_active());
    if started {
        return Err(Fault::new(
            Code::IllegalTransition,
            "The apply of this deployment has been started already.",
        ));
    }
    let bell = enqueue(cx, &mut tx, &record, JobKind::Apply, cx.now()).await?;
    let detail =
        serde_json::json!({"plan_digest": record.deployment.plan.as_ref().map(|p| &p.digest)});
    audit(cx, &mut tx, who, "deployment.apply", id.to_string(), detail).await?;
    cx.commit_with_jobs(tx, &[bell]).await?;
    cx.tell(id).await;
    Ok(get_after(cx, record).await)
}

/// The deployment after a change that is committed: whatever goes wrong now, the change was made,
/// and must not be answered like one that was not.
pub(crate) async fn get_after(cx: &Ctx, record: Record) -> Deployment {
    let looked = async {
        let look = cx.gathered.looks.ask(cx, record.deployment.id).await?;
        match look {
            Some(look) if look.record.version == record.version => waiting(cx, &look).await,
            // It has gone on already.
            _ => Ok(None),
        }
    };
    let waiting = looked.await.unwrap_or_else(|fault| {
        tracing::warn!(deployment_id = %record.deployment.id, %fault,
            "what the deployment waits for could not be read");
        None
    });
    let mut deployment = Deployment { waiting, ..record.deployment };
    if let Err(fault) = stopping::look(cx, &mut deployment).await {
        tracing::warn!(deployment_id = %deployment.id, %fault,
            "how far the deployment is could not be read");
    }
    deployment
}
