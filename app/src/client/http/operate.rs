//! What operators ask of a server: queues, jobs, workers.

use reqwest::Method;
use serde::Serialize;
use slipway_domain::id::JobId;
use slipway_domain::job::{JobInfo, Queue};
use slipway_domain::page::Page;
use slipway_domain::queue::QueueStatus;
use slipway_domain::worker::Worker;
use slipway_services::job::{Bulk, BulkDone};

use super::transport::Call;
use super::{Client, ClientError, Items, Reason};

#[derive(Serialize)]
struct Cap {
    cap: Option<u32>,
}

impl Client {
    /// `GET /queues`.
    pub async fn queues(&self) -> Result<Vec<QueueStatus>, ClientError> {
        Ok(self.get(&["queues"], &[]).await?.json::<Items<QueueStatus>>().await?.items)
    }

    /// `POST /queues/{name}/pause`.
    pub async fn pause_queue(
        &self,
        queue: Queue,
        reason: Option<&str>,
    ) -> Result<QueueStatus, ClientError> {
        let path = ["queues", queue.as_str(), "pause"];
        let call = Call::new(Method::POST, &path).json(&Reason { reason })?;
        self.send(call).await?.json().await
    }

    /// `POST /queues/{name}/resume`.
    pub async fn resume_queue(&self, queue: Queue) -> Result<QueueStatus, ClientError> {
        let path = ["queues", queue.as_str(), "resume"];
        self.send(Call::new(Method::POST, &path)).await?.json().await
    }

    /// `PUT /queues/{name}`: at most `cap` jobs of it at a time, or as many as there are slots.
    pub async fn cap_queue(
        &self,
        queue: Queue,
        cap: Option<u32>,
    ) -> Result<QueueStatus, ClientError> {
        let call = Call::new(Method::PUT, &["queues", queue.as_str()]).json(&Cap { cap })?;
        self.send(call).await?.json().await
    }

    /// `GET /workers`.
    pub async fn workers(&self) -> Result<Vec<Worker>, ClientError> {
        Ok(self.get(&["workers"], &[]).await?.json::<Items<Worker>>().await?.items)
    }

    /// `GET /jobs`: at most `limit` of them, newest first, over as many pages as it takes.
    pub async fn jobs(&self, which: &Bulk, limit: u32) -> Result<Page<JobInfo>, ClientError> {
        let mut filters = Vec::new();
        filters.extend(which.queue.map(|queue| ("queue", queue.to_string())));
        filters.extend(which.kind.map(|kind| ("kind", kind.to_string())));
        filters.extend(which.state.map(|state| ("state", state.to_string())));
        filters.extend(which.deployment_id.map(|id| ("deployment_id", id.to_string())));
        filters.extend(which.project.clone().map(|project| ("project", project)));
        self.pages(&["jobs"], &filters, limit).await
    }

    /// `POST /jobs/{id}/requeue`.
    pub async fn requeue_job(&self, id: JobId) -> Result<JobInfo, ClientError> {
        let path = ["jobs", &id.to_string(), "requeue"];
        self.send(Call::new(Method::POST, &path)).await?.json().await
    }

    /// `POST /jobs/requeue`: every dead job that fits, up to what the server does at once.
    pub async fn requeue_jobs(&self, which: &Bulk) -> Result<BulkDone, ClientError> {
        let call = Call::new(Method::POST, &["jobs", "requeue"]).json(which)?;
        self.send(call).await?.json().await
    }

    /// `POST /jobs/purge`: every ended job that fits, up to what the server does at once.
    pub async fn purge_jobs(&self, which: &Bulk) -> Result<BulkDone, ClientError> {
        let call = Call::new(Method::POST, &["jobs", "purge"]).json(which)?;
        self.send(call).await?.json().await
    }
}
