//! Drift of stacks.

use reqwest::Method;
use slipway_domain::deployment::Deployment;
use slipway_domain::drift::{
    DriftOverview, DriftSettings, DriftStatus, StackDrift, StackDriftSettings,
};
use slipway_domain::id::StackId;
use slipway_domain::page::Page;

use super::Client;
use super::transport::Call;
use crate::client::error::ClientError;

/// Which stacks a list shows; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftQuery {
    /// With this status.
    pub status: Option<DriftStatus>,
    /// Of this project.
    pub project: Option<String>,
    /// Of this environment.
    pub environment: Option<String>,
}

impl Client {
    /// `GET /drift`: at most `limit`, over as many pages as it takes.
    pub async fn drifts(
        &self,
        query: &DriftQuery,
        limit: u32,
    ) -> Result<Page<DriftOverview>, ClientError> {
        let mut params = Vec::new();
        params.extend(query.status.map(|status| ("status", status.to_string())));
        params.extend(query.project.clone().map(|project| ("project", project)));
        params.extend(query.environment.clone().map(|env| ("environment", env)));
        self.pages(&["drift"], &params, limit).await
    }

    /// `GET /stacks/{id}/drift`.
    pub async fn drift(&self, of: StackId) -> Result<StackDrift, ClientError> {
        self.get(&["stacks", &of.to_string(), "drift"], &[]).await?.json().await
    }

    /// `POST /stacks/{id}/drift/check`.
    pub async fn check_drift(&self, of: StackId) -> Result<StackDrift, ClientError> {
        let path = ["stacks", &of.to_string(), "drift", "check"];
        self.send(Call::new(Method::POST, &path)).await?.json().await
    }

    /// `POST /stacks/{id}/drift/reconcile`.
    pub async fn reconcile_drift(
        &self,
        of: StackId,
        idempotency_key: &str,
    ) -> Result<Deployment, ClientError> {
        let path = ["stacks", &of.to_string(), "drift", "reconcile"];
        let call = Call::new(Method::POST, &path).idempotent(idempotency_key);
        self.send(call).await?.json().await
    }

    /// `GET /stacks/{id}/drift/settings`.
    pub async fn drift_settings(&self, of: StackId) -> Result<StackDriftSettings, ClientError> {
        self.get(&["stacks", &of.to_string(), "drift", "settings"], &[]).await?.json().await
    }

    /// `PUT /stacks/{id}/drift/settings`: in place of version `from`.
    pub async fn set_drift(
        &self,
        of: StackId,
        settings: &DriftSettings,
        from: i64,
    ) -> Result<StackDriftSettings, ClientError> {
        let path = ["stacks", &of.to_string(), "drift", "settings"];
        let call = Call::new(Method::PUT, &path).json(settings)?;
        self.send(call.only_if("if-match", format!("\"{from}\""))).await?.json().await
    }
}
