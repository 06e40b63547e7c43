//! The subcommands for operators: queues, jobs, workers.

use slipway_services::job::Bulk;

use super::{Desk, Items};
use crate::cli::{JobFilterArgs, JobVerb, JobsArgs, QueueVerb, QueuesArgs};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::view;

/// `slipway queues`.
pub(super) async fn queues(desk: &Desk<'_>, args: QueuesArgs) -> Result<Exit, ClientError> {
    let Some(verb) = args.verb else {
        let queues = desk.client.queues().await?;
        desk.screen.result(&Items { items: &queues }, |_| view::queues(&queues))?;
        return Ok(Exit::Success);
    };
    let queue = match verb {
        QueueVerb::Pause { queue, reason } => {
            desk.client.pause_queue(queue, reason.as_deref()).await?
        }
        QueueVerb::Resume { queue } => desk.client.resume_queue(queue).await?,
        QueueVerb::Cap { queue, cap } => desk.client.cap_queue(queue, cap.0).await?,
    };
    desk.screen.result(&queue, |_| view::queues(std::slice::from_ref(&queue)))?;
    Ok(Exit::Success)
}

/// `slipway jobs`.
pub(super) async fn jobs(desk: &Desk<'_>, args: JobsArgs) -> Result<Exit, ClientError> {
    match args.verb {
        None => {
            let page = desk.client.jobs(&bulk(args.which), args.limit).await?;
            desk.screen.result(&page, |_| {
                view::jobs(&page.items, Desk::now()) + super::show::more(page.next_cursor.is_some())
            })?;
        }
        Some(JobVerb::Requeue { job: Some(id), .. }) => {
            let job = desk.client.requeue_job(id).await?;
            desk.screen.result(&job, |_| view::jobs(std::slice::from_ref(&job), Desk::now()))?;
        }
        Some(JobVerb::Requeue { filter, .. }) => {
            let done = desk.client.requeue_jobs(&bulk(filter)).await?;
            desk.screen.result(&done, |_| view::bulk("requeued", &done))?;
        }
        Some(JobVerb::Purge { filter }) => {
            let done = desk.client.purge_jobs(&bulk(filter)).await?;
            desk.screen.result(&done, |_| view::bulk("removed", &done))?;
        }
    }
    Ok(Exit::Success)
}

fn bulk(filter: JobFilterArgs) -> Bulk {
    Bulk {
        queue: filter.queue,
        kind: filter.kind,
        state: filter.state,
        deployment_id: filter.deployment,
        project: filter.project,
    }
}

/// `slipway workers`.
pub(super) async fn workers(desk: &Desk<'_>) -> Result<Exit, ClientError> {
    let workers = desk.client.workers().await?;
    desk.screen.result(&Items { items: &workers }, |_| view::workers(&workers, Desk::now()))?;
    Ok(Exit::Success)
}
