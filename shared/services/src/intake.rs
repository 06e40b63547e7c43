//! Recording submissions: what was found out of a request becomes a stack, a deployment, its first
//! event, an audit record, a job and the answer to its idempotency key, all in one unit of work.
//! Submissions that come at the same time share it.

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use slipway_domain::access::{Principal, Scope};
use slipway_domain::audit::AuditRecord;
use slipway_domain::deployment::{Deployment, Phase};
use slipway_domain::event::EventBody;
use slipway_domain::fault::{Code, Fault, Kind};
use slipway_domain::id::{ArtifactId, DeploymentId, StackId};
use slipway_domain::job::{JobKind, NewJob};
use slipway_domain::project::Project;
use slipway_domain::source::Source;
use slipway_domain::stack::StackKey;
use slipway_domain::state::{DeploymentState, Move};
use slipway_domain::variable::{Hidden, masked};
use slipway_queue::Signal;
use slipway_store::Tx;
use slipway_store::artifact::Sealed;
use slipway_store::deployment::{New, Record, Submission};

use crate::Ctx;
use crate::access::no_project;
use crate::change::{Change, audit_record, bell_of, lock, next_job};
use crate::deployment::{Accepted, Submit};
use crate::gather::Together;
use crate::idempotency::Guard;
use crate::stack::Fixed;

/// Where the archive of a submission's source is.
pub(crate) enum Archive {
    /// There is none yet; a worker fetches it.
    None,
    /// It is kept already.
    Kept(ArtifactId),
    /// It is to be kept with the submission.
    New(Sealed),
}

/// A submission with everything found out that can be, and nothing written yet.
pub(crate) struct Entry {
    pub(crate) who: Principal,
    pub(crate) request: Submit,
    pub(crate) source: Source,
    pub(crate) archive: Archive,
    pub(crate) root: Option<String>,
    pub(crate) hidden: Hidden,
    pub(crate) guard: Option<Guard>,
    /// What it is logged in.
    pub(crate) span: tracing::Span,
}

/// What became of a submission that was not refused.
pub(crate) enum Outcome {
    /// It was accepted, now or earlier.
    Accepted(Box<Accepted>),
    /// The archive that it says is kept has been swept in the meantime; nothing was written.
    ArchiveGone(Box<Entry>),
}

/// Records submissions together.
pub(crate) struct Intake;

#[async_trait]
impl Together for Intake {
    type House = Ctx;
    type Item = Entry;
    type Done = Outcome;
    // One is at the database while the next one is put together.
    const ROUNDS: usize = 2;
    const MOST: usize = 64;

    fn fits(taken: &[Entry], next: &Entry) -> bool {
        // Who supersedes locks its stack, which only those who are alone may do in no order.
        let alone = |entry: &Entry| entry.request.options.supersede;
        // The second one with a key is answered what the first one was.
        let same_key = |entry: &Entry| match (&entry.guard, &next.guard) {
            (Some(one), Some(other)) => one.key() == other.key(),
            _ => false,
        };
        !alone(next) && !taken.iter().any(|entry| alone(entry) || same_key(entry))
    }

    async fn all(cx: Ctx, entries: Vec<Entry>) -> Vec<Result<Outcome, Fault>> {
        let verdicts = match record(&cx, &entries).await {
            Ok(Some(verdicts)) => verdicts,
            Ok(None) => one_by_one(&cx, &entries).await,
            // One of them may be at fault, and the others are not.
            Err(fault) if entries.len() > 1 && fault.kind() != Kind::Unavailable => {
                tracing::debug!(%fault, "submissions are recorded one by one");
                one_by_one(&cx, &entries).await
            }
            Err(fault) => entries.iter().map(|_| Verdict::Refused(fault.echo())).collect(),
        };
        let both = entries.into_iter().zip(verdicts);
        both.map(|(entry, verdict)| verdict.outcome(entry)).collect()
    }
}

/// Records entries each for itself.
async fn one_by_one(cx: &Ctx, entries: &[Entry]) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(entries.len());
    for entry in entries.chunks(1) {
        match record(cx, entry).await {
            Ok(Some(mut verdict)) => verdicts.append(&mut verdict),
            Ok(None) => verdicts.push(no_verdict()),
            Err(fault) => verdicts.push(Verdict::Refused(fault)),
        }
    }
    verdicts
}

fn no_verdict() -> Verdict {
    Verdict::Refused(Fault::internal("a submission without a verdict"))
}

/// What becomes of one entry.
enum Verdict {
    Accepted(Box<Deployment>),
    Answered(Box<Deployment>),
    ArchiveGone,
    Refused(Fault),
}

impl Verdict {
    fn outcome(self, entry: Entry) -> Result<Outcome, Fault> {
        let accepted = |deployment: Box<Deployment>, replayed| {
            Ok(Outcome::Accepted(Box::new(Accepted { deployment: *deployment, replayed })))
        };
        match self {
            Self::Accepted(deployment) => accepted(deployment, false),
            Self::Answered(deployment) => accepted(deployment, true),
            Self::ArchiveGone => Ok(Outcome::ArchiveGone(Box::new(entry))),
            Self::Refused(fault) => Err(fault),
        }
    }
}

/// An entry that is being written.
struct Made<'a> {
    /// Its number among the entries.
    number: usize,
    entry: &'a Entry,
    record: Record,
    submitted: [EventBody; 1],
    audit: AuditRecord,
    job: NewJob,
}

/// Records entries. Those that have been answered before, and those whose archive is gone, are left
/// out. `None`: some of several are, and with them something would be written that is nobody's; nothing
/// was.
async fn record(cx: &Ctx, entries: &[Entry]) -> Result<Option<Vec<Verdict>>, Fault> {
    // Most add nothing but themselves to stacks that are there, which is one statement.
    let is_plain = |entry: &Entry| {
        !entry.request.options.supersede && !matches!(entry.archive, Archive::New(_))
    };
    if entries.iter().all(is_plain) {
        let mut tx = cx.store.single().await?;
        let keys: HashSet<_> = entries.iter().map(|entry| &entry.request.stack).collect();
        let known = cx.gathered.stacks.all(&keys);
        let were_known = known.is_some();
        let stacks = match known {
            Some(stacks) => stacks,
            None => stacks_there(cx, &mut tx, keys).await?,
        };
        if entries.iter().all(|entry| stack_of(&stacks, &entry.request.stack).is_some()) {
            match write(cx, tx, entries, &stacks).await {
                // Somebody has put another database in the place of the one that they were seen in.
                Err(fault) if were_known && fault.kind() == Kind::Internal => {
                    cx.gathered.stacks.forget();
                    tracing::warn!(%fault, "stacks that were known are looked for once more");
                }
                written => return written,
            }
        } else {
            tx.rollback().await?;
        }
    }
    let mut tx = cx.store.begin().await?;
    let stacks = stacks(cx, &mut tx, entries).await?;
    if let [Entry { request, .. }] = entries
        && request.options.supersede
        && let Some(stack) = stack_of(&stacks, &request.stack)
    {
        // Two at once must see each other, or both would remain.
        tx.lock_stack(stack.id).await?;
    }
    write(cx, tx, entries, &stacks).await
}

/// The stacks of these keys that are there. They are known from now on.
async fn stacks_there(
    cx: &Ctx,
    tx: &mut Tx,
    keys: HashSet<&StackKey>,
) -> Result<Vec<Fixed>, Fault> {
    let keys: Vec<_> = keys.into_iter().collect();
    let found = tx.stacks_by_key(&keys).await?;
    let found: Vec<_> = found.into_iter().map(|record| record.stack.into()).collect();
    cx.gathered.stacks.keep(&found);
    Ok(found)
}

/// The stacks of entries. Those that are new are made, where there is a project for them.
async fn stacks(cx: &Ctx, tx: &mut Tx, entries: &[Entry]) -> Result<Vec<Fixed>, Fault> {
    let now = cx.now();
    let mut keys: Vec<(StackId, &StackKey)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = &entry.request.stack;
        if !keys.iter().any(|(_, other)| *other == key) {
            keys.push((StackId::new(&*cx.mint), key));
        }
    }
    let wanted: Vec<_> = keys.iter().map(|(_, key)| *key).collect();
    let mut found = tx.stacks_by_key(&wanted).await?;
    keys.retain(|(_, key)| !found.iter().any(|record| record.stack.key == **key));
    if !keys.is_empty() {
        // Who has a stack has a project; only now is it asked for.
        let projects = projects(cx, tx, entries, &keys, now).await?;
        keys.retain(|(_, key)| projects.contains(&key.project));
        found.extend(tx.make_stacks(&keys, cx.inspector.kind(), now).await?);
    }
    Ok(found.into_iter().map(|record| record.stack.into()).collect())
}

/// Which of the projects of new stacks there are; they stay until this unit of work ends. Those that
/// are missing are made for who may make projects.
async fn projects(
    cx: &Ctx,
    tx: &mut Tx,
    entries: &[Entry],
    keys: &[(StackId, &StackKey)],
    now: DateTime<Utc>,
) -> Result<BTreeSet<String>, Fault> {
    let names: BTreeSet<&str> = keys.iter().map(|(_, key)| key.project.as_str()).collect();
    let mut there = tx.hold_projects(&names).await?;
    let founder_of = |name: &str| {
        let may = |entry: &&Entry| {
            entry.request.stack.project == name && entry.who.may(Scope::AdminProjects)
        };
        entries.iter().find(may).map(|entry| &entry.who)
    };
    let mut audit = Vec::new();
    let mut made = BTreeSet::new();
    for name in names.into_iter().filter(|name| !there.contains(*name)) {
        let Some(who) = founder_of(name) else { continue };
        let project = Project {
            name: name.to_owned(),
            description: None,
            created_by: Some(who.actor.clone()),
            created_at: now,
            updated_at: now,
            version: 1,
        };
        // In the order of their names: two who make the same wait for each other, not both.
        if tx.insert_project(&project).await? {
            let detail = serde_json::json!({"with": "its first deployment"});
            audit.push(audit_record(cx, who, "project.create", name.to_owned(), detail));
        }
        made.insert(name);
    }
    if !made.is_empty() {
        tx.insert_audit(&audit).await?;
        there.extend(tx.hold_projects(&made).await?);
    }
    Ok(there)
}

fn stack_of<'a>(stacks: &'a [Fixed], key: &StackKey) -> Option<&'a Fixed> {
    stacks.iter().find(|stack| stack.key == *key)
}

fn make<'a>(
    cx: &Ctx,
    number: usize,
    entry: &'a Entry,
    stack: &Fixed,
    now: DateTime<Utc>,
) -> Made<'a> {
    let Entry { who, request, source, .. } = entry;
    let deployment = Deployment {
        id: DeploymentId::new(&*cx.mint),
        stack_id: stack.id,
        stack: stack.key.clone(),
        driver: stack.driver,
        operation: request.operation,
        state: DeploymentState::Submitted,
        reason: None,
        source: source.clone(),
        commit: None,
        variables: masked(&request.variables, &entry.hidden),
        options: request.options.clone(),
        plan: None,
        approval: None,
        stale: None,
        approvals: None,
        failure: None,
        cancel_requested_at: None,
        cancel: None,
        phases: vec![Phase { state: DeploymentState::Submitted, entered_at: now }],
        submitted_by: who.actor.clone(),
        trace_id: who.trace_id(),
        created_at: now,
        updated_at: now,
        ended_at: None,
        expires_at: None,
        waiting: None,
    };
    let submitted = EventBody::Submitted {
        stack: stack.key.clone(),
        source: source.clone(),
        by: who.actor.clone(),
    };
    let record = Record {
        deployment,
        source_artifact: match &entry.archive {
            Archive::None => None,
            Archive::Kept(id) => Some(*id),
            Archive::New(sealed) => Some(sealed.artifact.id),
        },
        source_root: entry.root.clone(),
        approval_before: None,
        traceparent: who.traceparent.clone(),
        version: 1,
    };
    let d = &record.deployment;
    let detail = serde_json::json!({ "stack": d.stack.to_string(), "operation": d.operation });
    let audit = audit_record(cx, who, "deployment.submit", d.id.to_string(), detail);
    let job = next_job(cx, &record, JobKind::Plan);
    Made { number, entry, record, submitted: [submitted], audit, job }
}

/// Writes entries of stacks that are there, and what follows from them, and ends the unit of work; as
/// [`record`].
async fn write(
    cx: &Ctx,
    mut tx: Tx,
    entries: &[Entry],
    stacks: &[Fixed],
) -> Result<Option<Vec<Verdict>>, Fault> {
    let now = cx.now();
    let mut verdicts: Vec<Option<Verdict>> = entries.iter().map(|_| None).collect();
    let mut made = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        if let Some(stack) = stack_of(stacks, &entry.request.stack) {
            made.push(make(cx, number, entry, stack, now));
        } else {
            let fault = no_project(&entry.request.stack.project);
            verdicts[number] = Some(Verdict::Refused(fault));
        }
    }
    for made in &made {
        if let Archive::New(sealed) = &made.entry.archive {
            tx.insert_artifact(sealed).await?;
        }
    }
    let submissions = made.iter().map(|made| made.submission(cx)).collect::<Result<Vec<_>, _>>()?;
    let bells: Vec<_> = made.iter().map(|made| bell_of(&made.job)).collect();
    let is_single = tx.is_single();
    let submit =
        async { Ok(tx.submit(&submissions, now, now + cx.settings.idempotency_ttl).await?) };
    let added = if is_single { cx.ringing(&bells, submit).await? } else { submit.await? };
    drop(submissions);
    let leaves_out = added.len() < made.len();
    if leaves_out && !is_single && entries.len() > 1 {
        // Among what was made before them may be an archive, a stack and a project for them alone.
        tx.rollback().await?;
        return Ok(None);
    }
    let mut superseded = Vec::new();
    for Made { number, entry, record, .. } in &made {
        let d = &record.deployment;
        if !added.contains(&d.id) {
            let verdict = match left_out(cx, &mut tx, entry).await {
                // The others are there already, and whoever does this again would add them twice.
                Err(fault) if is_single => Verdict::Refused(fault),
                verdict => verdict?,
            };
            verdicts[*number] = Some(verdict);
        } else if d.options.supersede {
            superseded.extend(supersede(cx, &mut tx, &entry.who, d.stack_id, d.id).await?);
        }
    }
    made.retain(|made| added.contains(&made.record.deployment.id));
    if is_single {
        drop(tx);
    } else if made.is_empty() {
        tx.rollback().await?;
    } else {
        let bells: Vec<_> = made.iter().map(|made| bell_of(&made.job)).collect();
        cx.commit_with_jobs(tx, &bells).await?;
    }
    for made in made {
        let deployment = made.record.deployment;
        made.entry.span.in_scope(|| {
            tracing::info!(deployment_id = %deployment.id, stack = %deployment.stack,
                source = deployment.source.kind(), "deployment accepted");
        });
        verdicts[made.number] = Some(Verdict::Accepted(Box::new(deployment)));
    }
    // The bells go out before the answers are put together.
    tokio::task::yield_now().await;
    for other in superseded {
        cx.signal(Signal::Cancel(other)).await;
        cx.tell(other).await;
    }
    Ok(Some(verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(no_verdict)).collect()))
}

impl Made<'_> {
    fn submission(&self, cx: &Ctx) -> Result<Submission<'_>, Fault> {
        let guard = self.entry.guard.as_ref();
        Ok(Submission {
            new: New {
                record: &self.record,
                variables: &self.entry.request.variables,
                events: &self.submitted,
            },
            audit: &self.audit,
            job: &self.job,
            answer: guard.map(|guard| guard.stored(cx, &self.record.deployment)).transpose()?,
        })
    }
}

/// What becomes of an entry that was not added: somebody else was answered first, or its archive is
/// gone.
async fn left_out(cx: &Ctx, tx: &mut Tx, entry: &Entry) -> Result<Verdict, Fault> {
    if let Archive::Kept(id) = entry.archive
        && tx.artifact(id).await?.is_none()
    {
        return Ok(Verdict::ArchiveGone);
    }
    let Some(guard) = &entry.guard else {
        return Err(Fault::internal("a submission was not added, for no reason"));
    };
    match guard.answer::<Deployment>(cx, tx).await {
        Ok(Some(deployment)) => Ok(Verdict::Answered(Box::new(deployment))),
        Ok(None) => Ok(Verdict::Refused(Fault::new(
            Code::IdempotencyInFlight,
            "A request with this idempotency key is being answered. Try again in a moment.",
        ))),
        Err(fault) if fault.code == Code::IdempotencyKeyReused => Ok(Verdict::Refused(fault)),
        Err(fault) => Err(fault),
    }
}

/// Ends earlier deployments of the stack that are not being applied.
async fn supersede(
    cx: &Ctx,
    tx: &mut Tx,
    who: &Principal,
    stack: StackId,
    by: DeploymentId,
) -> Result<Vec<DeploymentId>, Fault> {
    use DeploymentState as S;
    let before_apply =
        [S::Submitted, S::Planning, S::Planned, S::Blocked, S::AwaitingApproval, S::Approved];
    let mut ended = Vec::new();
    for id in tx.deployments_in(stack, &before_apply).await? {
        if id == by {
            continue;
        }
        let mut record = lock(tx, id).await?;
        if record.deployment.state.next(Move::Supersede).is_err() {
            continue;
        }
        let reason = format!("superseded by {by}");
        let detail = serde_json::json!({"by": by});
        Change::by(cx, who, &mut record).go(tx, Move::Supersede, Some(reason), detail).await?;
        tx.cancel_jobs(id, cx.now()).await?;
        ended.push(id);
    }
    Ok(ended)
}
