//! Jobs, for operators: seeing them, requeueing dead ones, removing ended ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::{Principal, Reach, Scope};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::job::{Doorbell, JobInfo, JobKind, JobState, Queue};
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::state::Move;
pub use slipway_store::job_info::Filter;
use utoipa::ToSchema;

use crate::change::{Change, audit, lock};
use crate::{Ctx, access};

/// Jobs that one bulk request changes at most; `remaining` tells of the rest.
const BULK: u32 = 200;

/// Jobs, newest first.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<JobInfo>, Fault> {
    let reach = access::reach(who, Scope::QueuesRead)?;
    let rows = cx.store.read().await?.job_infos(filter, &reach, page).await?;
    Ok(Page::from_surplus(rows, page, |job| job.id.0))
}

/// One job.
pub async fn get(cx: &Ctx, who: &Principal, id: JobId) -> Result<JobInfo, Fault> {
    let found = cx.store.read().await?.job_info(id).await?;
    allowed(who, id, found, Scope::QueuesRead)
}

/// A job that was looked for, if there is one for the caller.
fn allowed(
    who: &Principal,
    id: JobId,
    found: Option<JobInfo>,
    scope: Scope,
) -> Result<JobInfo, Fault> {
    let missing = || Fault::not_found("job", id);
    let job = found.ok_or_else(missing)?;
    who.need_in(&job.project, scope, missing)?;
    Ok(job)
}

/// Which ended jobs a bulk request is about; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bulk {
    /// Only of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Only of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<JobKind>,
    /// Only in this state; `dead` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// Only for this deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<DeploymentId>,
    /// Only for stacks of this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

impl Bulk {
    fn filter(&self) -> Filter {
        Filter {
            queue: self.queue.map(|queue| queue.to_string()),
            kind: self.kind.map(|kind| kind.to_string()),
            state: Some(self.state.unwrap_or(JobState::Dead)),
            deployment_id: self.deployment_id,
            project: self.project.clone(),
        }
    }
}

/// A job that a bulk request left as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct LeftOut {
    /// Which.
    pub job_id: JobId,
    /// Why.
    pub detail: String,
}

/// What a bulk request did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct BulkDone {
    /// The jobs that were changed.
    pub job_ids: Vec<JobId>,
    /// Those that could not be.
    pub left_out: Vec<LeftOut>,
    /// Whether there are more that fit; send the request again.
    pub remaining: bool,
}

/// Puts a dead job back into its queue, with all its attempts; its deployment begins anew, with a
/// new plan that needs a new approval. Returns the job that is queued now: that of a dead apply is
/// a plan. Only dead jobs can be requeued; a lost apply may have had effects.
pub async fn requeue(cx: &Ctx, who: &Principal, id: JobId) -> Result<JobInfo, Fault> {
    let mut tx = cx.store.begin().await?;
    let found = tx.job_info(id).await?;
    let of = allowed(who, id, found, Scope::QueuesOperate)?.deployment_id;
    // The deployment first, like everybody who locks both.
    let mut record = lock(&mut tx, of).await?;
    let job = tx.lock_job_info(id).await?.ok_or_else(|| Fault::not_found("job", id))?;
    if job.state != JobState::Dead {
        let hint = match job.state {
            JobState::Lost => {
                " Its apply may have had effects: look at what was made, then submit a new \
                 deployment."
            }
            JobState::Failed => " Submit a new deployment once the cause is mended.",
            _ => "",
        };
        return Err(Fault::new(
            Code::JobNotDead,
            format!("The job is {}; only dead jobs can be requeued.{hint}", job.state),
        ));
    }
    let mut change = Change::by(cx, who, &mut record);
    let reason = format!("job {id} was requeued");
    let detail = serde_json::json!({ "job_id": id });
    change.step(Move::Requeue, Some(reason), detail)?;
    change.record.deployment.failure = None;
    change.save(&mut tx).await?;
    let bell = if job.kind == JobKind::Plan.as_str() {
        tx.revive_job(id).await?;
        let traceparent = record.traceparent.clone();
        Doorbell::new(id, JobKind::Plan.queue(), traceparent)
    } else {
        tx.delete_job(id).await?;
        change.enqueue(&mut tx, JobKind::Plan).await?
    };
    audit(cx, &mut tx, who, "job.requeue", id.to_string(), serde_json::json!({})).await?;
    let queued = tx.job_info(bell.job_id).await?;
    tx.commit().await?;
    cx.ring(&bell).await;
    cx.tell(of).await;
    tracing::info!(job_id = %id, deployment_id = %of, by = who.actor.id, "job requeued");
    queued.ok_or_else(|| Fault::internal("the requeued job is not there"))
}

/// Requeues every dead job that fits, up to 200.
pub async fn requeue_all(cx: &Ctx, who: &Principal, bulk: &Bulk) -> Result<BulkDone, Fault> {
    let reach = access::reach(who, Scope::QueuesOperate)?;
    if bulk.state.is_some_and(|state| state != JobState::Dead) {
        return Err(Fault::field("/state", "only dead jobs can be requeued"));
    }
    let (jobs, remaining) = fitting(cx, bulk, &reach).await?;
    let mut done = BulkDone { remaining, ..BulkDone::default() };
    for job in jobs {
        match requeue(cx, who, job.id).await {
            Ok(queued) => done.job_ids.push(queued.id),
            Err(fault) => {
                done.left_out.push(LeftOut { job_id: job.id, detail: fault.detail });
            }
        }
    }
    Ok(done)
}

/// Removes the records of ended jobs that fit, up to 200; their deployments stay as they are.
pub async fn purge(cx: &Ctx, who: &Principal, bulk: &Bulk) -> Result<BulkDone, Fault> {
    let reach = access::reach(who, Scope::QueuesOperate)?;
    if bulk.state.is_some_and(JobState::is_active) {
        return Err(Fault::field(
            "/state",
            "queued and running jobs cannot be purged; cancel their deployments",
        ));
    }
    let (jobs, remaining) = fitting(cx, bulk, &reach).await?;
    let mut done = BulkDone { remaining, ..BulkDone::default() };
    let mut tx = cx.store.begin().await?;
    for job in jobs {
        if tx.delete_job(job.id).await? {
            done.job_ids.push(job.id);
        }
    }
    let detail = serde_json::json!({ "filter": bulk, "jobs": &done.job_ids });
    audit(cx, &mut tx, who, "job.purge", "jobs".to_owned(), detail).await?;
    tx.commit().await?;
    tracing::info!(purged = done.job_ids.len(), by = who.actor.id, "jobs purged");
    Ok(done)
}

async fn fitting(cx: &Ctx, bulk: &Bulk, reach: &Reach) -> Result<(Vec<JobInfo>, bool), Fault> {
    let page = PageRequest { limit: BULK, after: None };
    let rows = cx.store.read().await?.job_infos(&bulk.filter(), reach, page).await?;
    let remaining = rows.len() > BULK as usize;
    Ok((rows.into_iter().take(BULK as usize).collect(), remaining))
}
