//! The typed client of the REST API: one method a route. It knows paths and bodies, and leaves
//! deadlines, repetitions and refusals to `transport` and following to `follow`. No rules of
//! deployments, nothing about terminals.

mod audit;
pub mod auth;
mod drift;
mod follow;
mod gate;
mod operate;
mod policy;
mod price;
mod project;
mod setting;
mod state;
mod transport;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slipway_domain::approval::Approvals;
use slipway_domain::artifact::Artifact;
use slipway_domain::deployment::{Deployment, Output};
use slipway_domain::event::Event;
use slipway_domain::id::{ApprovalId, DeploymentId, Mint as _, RandomMint, StackId};
use slipway_domain::log::LogLine;
use slipway_domain::page::Page;
use slipway_domain::plan::Plan;
use slipway_domain::recovery::Resolution;
use slipway_domain::report::Report;
use slipway_domain::stack::{Stack, StackKey};
use slipway_domain::state::DeploymentState;
use slipway_domain::template::{Rendered, Template};
use slipway_domain::test_report::{TestRun, TestSettings};
use slipway_domain::tree::{Limits, Tree};
use slipway_services::deployment::Submit;
use slipway_services::health::Health;
use slipway_services::log::{LogPage, Part};
use slipway_services::recovery::Recoveries;
use slipway_services::template::{Deprecate, Publish, Render, Restore};
use slipway_services::test::TestRuns;

pub use self::drift::DriftQuery;
pub use self::follow::{Follow, Numbered};
pub use self::policy::ExemptionQuery;
pub use self::state::{LockBroken, MAX_STATE_BYTES, Which};
pub use self::transport::Client;
use self::transport::{Answer, Call};
use super::error::ClientError;

/// An upload may take this long.
const UPLOAD_DEADLINE: Duration = Duration::from_mins(10);
/// Items at most in one page of a list.
const PAGE: u32 = slipway_domain::page::MAX_LIMIT;

/// Which deployments a list shows; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeploymentQuery {
    /// Of this stack.
    pub stack: Option<StackId>,
    /// Of this project.
    pub project: Option<String>,
    /// Of this environment.
    pub environment: Option<String>,
    /// In this state.
    pub state: Option<DeploymentState>,
}

/// Which stacks a list shows; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackQuery {
    /// Of this project.
    pub project: Option<String>,
    /// With this name.
    pub name: Option<String>,
    /// Of this environment.
    pub environment: Option<String>,
}

#[derive(Serialize)]
struct Decision<'a> {
    plan_digest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
}

#[derive(Serialize)]
struct Reason<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Cancel<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force: bool,
}

/// A list that has no pages.
#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

/// A fresh idempotency key.
pub fn mint_idempotency_key() -> String {
    RandomMint.uuid().to_string()
}

impl Client {
    /// `POST /deployments`. With an idempotency key the request is repeated when the connection
    /// fails, because the server then does it once at most; without one it is sent once.
    pub async fn submit(
        &self,
        request: &Submit,
        idempotency_key: Option<&str>,
    ) -> Result<Deployment, ClientError> {
        let mut call = Call::new(Method::POST, &["deployments"]).json(request)?;
        if let Some(key) = idempotency_key {
            call = call.idempotent(key);
        }
        self.send(call).await?.json().await
    }

    /// `POST /artifacts`: uploads a `tar.gz`. With an idempotency key (the same as that of the
    /// submission will do) the same archive gives the same artifact.
    pub async fn upload_archive(
        &self,
        archive: Bytes,
        idempotency_key: Option<&str>,
    ) -> Result<Artifact, ClientError> {
        let mut call = Call::new(Method::POST, &["artifacts"])
            .bytes("application/gzip", archive)
            .deadline(UPLOAD_DEADLINE);
        if let Some(key) = idempotency_key {
            call = call.idempotent(key);
        }
        self.send(call).await?.json().await
    }

    /// Packs a directory of this machine and uploads it. Version control, provider caches and
    /// local Terraform state are left out.
    pub async fn upload_directory(
        &self,
        directory: &Path,
        idempotency_key: Option<&str>,
    ) -> Result<Artifact, ClientError> {
        let path = directory.to_owned();
        let packed = tokio::task::spawn_blocking(move || pack(&path)).await;
        let packed = packed.map_err(|e| ClientError::Input(format!("packing stopped: {e}")))??;
        self.upload_archive(packed, idempotency_key).await
    }

    /// `GET /deployments/{id}`.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Deployment, ClientError> {
        self.get(&["deployments", &id.to_string()], &[]).await?.json().await
    }

    /// `GET /deployments/{id}/plan`: the current plan.
    pub async fn plan(&self, id: DeploymentId) -> Result<Plan, ClientError> {
        self.get(&["deployments", &id.to_string(), "plan"], &[]).await?.json().await
    }

    /// `GET /deployments/{id}/plan?format=text`: the current plan for a terminal.
    pub async fn plan_text(&self, id: DeploymentId) -> Result<String, ClientError> {
        let query = [("format", "text".to_owned())];
        let path = ["deployments", &id.to_string(), "plan"];
        self.send(Call::new(Method::GET, &path).query(&query).accept("text/plain, */*"))
            .await?
            .text()
            .await
    }

    /// `POST /deployments/{id}/approve`: says yes to the plan with this digest.
    pub async fn approve(
        &self,
        id: DeploymentId,
        plan_digest: &str,
        comment: Option<&str>,
    ) -> Result<Deployment, ClientError> {
        self.verb(id, "approve", &Decision { plan_digest, comment }).await
    }

    /// `GET /deployments/{id}/approvals`.
    pub async fn approvals(&self, id: DeploymentId) -> Result<Approvals, ClientError> {
        self.get(&["deployments", &id.to_string(), "approvals"], &[]).await?.json().await
    }

    /// `DELETE /deployments/{id}/approvals/{approval_id}`.
    pub async fn revoke(
        &self,
        id: DeploymentId,
        approval: ApprovalId,
        reason: Option<&str>,
    ) -> Result<Deployment, ClientError> {
        let path = ["deployments", &id.to_string(), "approvals", &approval.to_string()];
        let query: Vec<_> = reason.map(|text| ("reason", text.to_owned())).into_iter().collect();
        self.send(Call::new(Method::DELETE, &path).query(&query)).await?.json().await
    }

    /// `POST /deployments/{id}/reject`: says no to the plan with this digest.
    pub async fn reject(
        &self,
        id: DeploymentId,
        plan_digest: &str,
        comment: Option<&str>,
    ) -> Result<Deployment, ClientError> {
        self.verb(id, "reject", &Decision { plan_digest, comment }).await
    }

    /// `POST /deployments/{id}/apply`: starts the apply of an approved plan.
    pub async fn apply(&self, id: DeploymentId) -> Result<Deployment, ClientError> {
        let path = ["deployments", &id.to_string(), "apply"];
        self.send(Call::new(Method::POST, &path)).await?.json().await
    }

    /// `POST /deployments/{id}/cancel`.
    pub async fn cancel(
        &self,
        id: DeploymentId,
        reason: Option<&str>,
    ) -> Result<Deployment, ClientError> {
        self.verb(id, "cancel", &Cancel { reason, force: false }).await
    }

    /// `POST /deployments/{id}/cancel` with `force`: kills what runs.
    pub async fn kill(
        &self,
        id: DeploymentId,
        reason: Option<&str>,
    ) -> Result<Deployment, ClientError> {
        self.verb(id, "cancel", &Cancel { reason, force: true }).await
    }

    /// `GET /deployments/{id}/report`.
    pub async fn report(&self, id: DeploymentId) -> Result<Report, ClientError> {
        self.get(&["deployments", &id.to_string(), "report"], &[]).await?.json().await
    }

    /// `POST /deployments/{id}/reconsider`: has its plan made and judged anew.
    pub async fn reconsider(
        &self,
        id: DeploymentId,
        reason: Option<&str>,
    ) -> Result<Deployment, ClientError> {
        self.verb(id, "reconsider", &serde_json::json!({"reason": reason})).await
    }

    /// `GET /deployments/{id}/tests`.
    pub async fn tests(&self, id: DeploymentId) -> Result<TestRuns, ClientError> {
        self.get(&["deployments", &id.to_string(), "tests"], &[]).await?.json().await
    }

    /// `POST /deployments/{id}/tests`: has it tested.
    pub async fn request_tests(
        &self,
        id: DeploymentId,
        settings: &TestSettings,
    ) -> Result<TestRun, ClientError> {
        self.verb(id, "tests", settings).await
    }

    /// `GET /deployments/{id}/recovery`.
    pub async fn recovery(&self, id: DeploymentId) -> Result<Recoveries, ClientError> {
        self.get(&["deployments", &id.to_string(), "recovery"], &[]).await?.json().await
    }

    /// `POST /deployments/{id}/recovery`: says what became of resources.
    pub async fn resolve(
        &self,
        id: DeploymentId,
        resolutions: &[Resolution],
    ) -> Result<Deployment, ClientError> {
        self.verb(id, "recovery", &serde_json::json!({"resolutions": resolutions})).await
    }

    async fn verb<T: Serialize, A: DeserializeOwned>(
        &self,
        id: DeploymentId,
        verb: &str,
        body: &T,
    ) -> Result<A, ClientError> {
        let path = ["deployments", &id.to_string(), verb];
        self.send(Call::new(Method::POST, &path).json(body)?).await?.json().await
    }

    /// Follows the events with numbers above `after` (0 for all) until the deployment has ended.
    /// Connections that break are made again; no event is given twice and none is left out.
    pub fn events(&self, id: DeploymentId, after: i64) -> Follow<Event> {
        let path = ["deployments", &id.to_string(), "events"];
        Follow::new(self.clone(), self.url(&path, &[]), after)
    }

    /// Like [`Client::events`], and goes on after the end of the deployment, without an end of its own.
    pub fn events_and_after(&self, id: DeploymentId, after: i64) -> Follow<Event> {
        let path = ["deployments", &id.to_string(), "events"];
        Follow::new(self.clone(), self.url(&path, &[("stay", "true".to_owned())]), after)
    }

    /// `GET /deployments/{id}/events`: at most `limit` of those with numbers above `after` that are
    /// there now, over as many pages as it takes.
    pub async fn event_page(
        &self,
        id: DeploymentId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Event>, ClientError> {
        let path = ["deployments", &id.to_string(), "events"];
        let mut events: Vec<Event> = Vec::new();
        loop {
            let missing = limit.saturating_sub(u32::try_from(events.len()).unwrap_or(limit));
            if missing == 0 {
                return Ok(events);
            }
            let after = events.last().map_or(after, |event| event.seq);
            let query = [("after", after.to_string()), ("limit", missing.min(PAGE).to_string())];
            let page = self.get(&path, &query).await?.json::<Items<Event>>().await?.items;
            if page.is_empty() {
                return Ok(events);
            }
            events.extend(page);
        }
    }

    /// Follows the log lines with numbers above `after` (0 for all) until the deployment has ended.
    pub fn log_lines(&self, id: DeploymentId, after: i64) -> Follow<LogLine> {
        let path = ["deployments", &id.to_string(), "logs"];
        Follow::new(self.clone(), self.url(&path, &[("follow", "true".to_owned())]), after)
    }

    /// `GET /deployments/{id}/logs`: at most `limit` lines, now.
    pub async fn log_page(
        &self,
        id: DeploymentId,
        part: Part,
        limit: u32,
    ) -> Result<LogPage, ClientError> {
        let from = match part {
            Part::After(after) => ("after", after.to_string()),
            Part::Tail(lines) => ("tail", lines.to_string()),
        };
        let query = [from, ("limit", limit.to_string())];
        self.get(&["deployments", &id.to_string(), "logs"], &query).await?.json().await
    }

    /// `GET /deployments/{id}/outputs`; sensitive values are masked unless `reveal`.
    pub async fn outputs(
        &self,
        id: DeploymentId,
        reveal: bool,
    ) -> Result<Vec<Output>, ClientError> {
        let query: &[_] = if reveal { &[("reveal", "true".to_owned())] } else { &[] };
        let answer = self.get(&["deployments", &id.to_string(), "outputs"], query).await?;
        Ok(answer.json::<Items<Output>>().await?.items)
    }

    /// `GET /deployments`: at most `limit` of them, newest first, over as many pages as it takes.
    pub async fn deployments(
        &self,
        query: &DeploymentQuery,
        limit: u32,
    ) -> Result<Page<Deployment>, ClientError> {
        let mut filters = Vec::new();
        filters.extend(query.stack.map(|id| ("stack_id", id.to_string())));
        filters.extend(query.project.clone().map(|project| ("project", project)));
        filters.extend(query.environment.clone().map(|env| ("environment", env)));
        filters.extend(query.state.map(|state| ("state", state.to_string())));
        self.pages(&["deployments"], &filters, limit).await
    }

    /// `GET /stacks`: at most `limit` of them, newest first, over as many pages as it takes.
    pub async fn stacks(&self, query: &StackQuery, limit: u32) -> Result<Page<Stack>, ClientError> {
        let mut filters = Vec::new();
        filters.extend(query.project.clone().map(|project| ("project", project)));
        filters.extend(query.name.clone().map(|name| ("name", name)));
        filters.extend(query.environment.clone().map(|env| ("environment", env)));
        self.pages(&["stacks"], &filters, limit).await
    }

    /// `GET /stacks/{id}`.
    pub async fn stack(&self, id: StackId) -> Result<Stack, ClientError> {
        self.get(&["stacks", &id.to_string()], &[]).await?.json().await
    }

    /// The stack that `key` names, if it exists.
    pub async fn stack_by_key(&self, key: &StackKey) -> Result<Option<Stack>, ClientError> {
        let query = StackQuery {
            project: Some(key.project.clone()),
            name: Some(key.name.clone()),
            environment: Some(key.environment.clone()),
        };
        Ok(self.stacks(&query, 1).await?.items.into_iter().next())
    }

    /// `GET /stacks/{id}/deployments`: at most `limit` of them, newest first.
    pub async fn stack_deployments(
        &self,
        id: StackId,
        limit: u32,
    ) -> Result<Page<Deployment>, ClientError> {
        self.pages(&["stacks", &id.to_string(), "deployments"], &[], limit).await
    }

    /// `GET /templates`.
    pub async fn templates(&self) -> Result<Vec<Template>, ClientError> {
        Ok(self.get(&["templates"], &[]).await?.json::<Items<Template>>().await?.items)
    }

    /// `GET /templates/{name}`.
    pub async fn template(&self, name: &str) -> Result<Template, ClientError> {
        self.get(&["templates", name], &[]).await?.json().await
    }

    /// `POST /templates`: packs a directory of this machine and publishes it. Says whether a
    /// version was made.
    pub async fn publish(
        &self,
        request: &Publish,
        directory: &Path,
        idempotency_key: &str,
    ) -> Result<(Template, bool), ClientError> {
        let path = directory.to_owned();
        let packed = tokio::task::spawn_blocking(move || pack(&path)).await;
        let packed = packed.map_err(|e| ClientError::Input(format!("packing stopped: {e}")))??;
        let request = serde_json::to_vec(request)
            .map_err(|why| ClientError::Input(format!("the request cannot be written: {why}")))?;
        let call = Call::new(Method::POST, &["templates"])
            .form(&[
                ("request", "application/json", &request),
                ("archive", "application/gzip", &packed),
            ])
            .idempotent(idempotency_key)
            .deadline(UPLOAD_DEADLINE);
        let answer = self.send(call).await?;
        let created = answer.is_created();
        Ok((answer.json().await?, created))
    }

    /// `POST /templates/{name}/render`.
    pub async fn render(&self, name: &str, request: &Render) -> Result<Rendered, ClientError> {
        let call = Call::new(Method::POST, &["templates", name, "render"]).json(request)?;
        self.send(call).await?.json().await
    }

    /// `POST /templates/{name}/deprecate`.
    pub async fn deprecate_template(
        &self,
        name: &str,
        request: &Deprecate,
    ) -> Result<Template, ClientError> {
        let call = Call::new(Method::POST, &["templates", name, "deprecate"]).json(request)?;
        self.send(call).await?.json().await
    }

    /// `POST /templates/{name}/restore`.
    pub async fn restore_template(
        &self,
        name: &str,
        request: &Restore,
    ) -> Result<Template, ClientError> {
        let call = Call::new(Method::POST, &["templates", name, "restore"]).json(request)?;
        self.send(call).await?.json().await
    }

    /// `DELETE /templates/{name}/versions/{version}`.
    pub async fn delete_template_version(
        &self,
        name: &str,
        version: i32,
    ) -> Result<(), ClientError> {
        let path = ["templates", name, "versions", &version.to_string()];
        self.send(Call::new(Method::DELETE, &path)).await?;
        Ok(())
    }

    /// `GET /health`. A server that is down but answers is `Ok` with its status in it.
    pub async fn health(&self) -> Result<Health, ClientError> {
        let call = Call::new(Method::GET, &[]).outside("health").also_when_down();
        self.send(call).await?.json().await
    }

    async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Answer, ClientError> {
        self.send(Call::new(Method::GET, path).query(query)).await
    }

    async fn pages<T: serde::de::DeserializeOwned>(
        &self,
        path: &[&str],
        filters: &[(&str, String)],
        limit: u32,
    ) -> Result<Page<T>, ClientError> {
        let mut whole = Page { items: Vec::new(), next_cursor: None };
        loop {
            let missing = limit.saturating_sub(u32::try_from(whole.items.len()).unwrap_or(limit));
            if missing == 0 {
                return Ok(whole);
            }
            let mut query = filters.to_vec();
            query.push(("limit", missing.min(PAGE).to_string()));
            query.extend(whole.next_cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, &query).await?.json().await?;
            let empty = page.items.is_empty();
            whole.items.extend(page.items);
            whole.next_cursor = page.next_cursor;
            if empty || whole.next_cursor.is_none() {
                return Ok(whole);
            }
        }
    }
}

fn pack(directory: &Path) -> Result<Bytes, ClientError> {
    let shown = directory.display().to_string();
    if !directory.is_dir() {
        return Err(ClientError::Input(format!("{shown} is not a directory")));
    }
    let tree = Tree::from_directory(directory, Limits::default())
        .map_err(|why| ClientError::Source { path: shown.clone(), why })?;
    if tree.is_empty() {
        return Err(ClientError::Input(format!("{shown} holds no files")));
    }
    Ok(tree.to_tar_gz()?)
}

#[cfg(test)]
mod tests;
