//! Policy packs and exemptions.

use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use slipway_domain::exemption::{Exemption, ExemptionState, NewExemption};
use slipway_domain::id::ExemptionId;
use slipway_domain::page::Page;
use slipway_domain::policy::{DryRun, PolicyModule, PolicyPack, PolicyVersion};
use slipway_services::policy::DryRunRequest;

use super::transport::Call;
use super::{Client, ClientError, Items, Reason, UPLOAD_DEADLINE};

/// Which exemptions a list shows; everything that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct ExemptionQuery {
    /// For this project.
    pub project: Option<String>,
    /// For this environment.
    pub environment: Option<String>,
    /// From this rule.
    pub rule: Option<String>,
    /// Of which this has become.
    pub state: Option<ExemptionState>,
}

#[derive(Deserialize)]
struct Source {
    modules: Vec<PolicyModule>,
}

impl Client {
    /// `GET /policies`.
    pub async fn policies(&self) -> Result<Vec<PolicyPack>, ClientError> {
        Ok(self.get(&["policies"], &[]).await?.json::<Items<PolicyPack>>().await?.items)
    }

    /// `GET /policies/{name}`.
    pub async fn policy(&self, name: &str) -> Result<PolicyPack, ClientError> {
        self.get(&["policies", name], &[]).await?.json().await
    }

    /// `GET /policies/{name}/versions/{version}`.
    pub async fn policy_version(
        &self,
        name: &str,
        version: i32,
    ) -> Result<PolicyVersion, ClientError> {
        let path = ["policies", name, "versions", &version.to_string()];
        self.get(&path, &[]).await?.json().await
    }

    /// `GET /policies/{name}/versions/{version}/source`.
    pub async fn policy_source(
        &self,
        name: &str,
        version: i32,
    ) -> Result<Vec<PolicyModule>, ClientError> {
        let path = ["policies", name, "versions", &version.to_string(), "source"];
        Ok(self.get(&path, &[]).await?.json::<Source>().await?.modules)
    }

    /// `POST /policies/{name}/versions`: uploads a `tar.gz`.
    pub async fn push_policy(
        &self,
        name: &str,
        archive: Bytes,
        idempotency_key: &str,
    ) -> Result<PolicyVersion, ClientError> {
        let call = Call::new(Method::POST, &["policies", name, "versions"])
            .bytes("application/gzip", archive)
            .deadline(UPLOAD_DEADLINE)
            .idempotent(idempotency_key);
        self.send(call).await?.json().await
    }

    /// `POST /policies/dry-run`.
    pub async fn dry_run(&self, request: &DryRunRequest) -> Result<DryRun, ClientError> {
        let call = Call::new(Method::POST, &["policies", "dry-run"])
            .json(request)?
            .deadline(UPLOAD_DEADLINE);
        self.send(call).await?.json().await
    }

    /// `GET /exemptions`: at most `limit` of them, newest first, over as many pages as it takes.
    pub async fn exemptions(
        &self,
        query: &ExemptionQuery,
        limit: u32,
    ) -> Result<Page<Exemption>, ClientError> {
        let mut filters = Vec::new();
        filters.extend(query.project.clone().map(|project| ("project", project)));
        filters.extend(query.environment.clone().map(|env| ("environment", env)));
        filters.extend(query.rule.clone().map(|rule| ("rule", rule)));
        let word = |state| match state {
            ExemptionState::Active => "active",
            ExemptionState::Expired => "expired",
            ExemptionState::Revoked => "revoked",
        };
        filters.extend(query.state.map(|state| ("state", word(state).to_owned())));
        self.pages(&["exemptions"], &filters, limit).await
    }

    /// `POST /exemptions`.
    pub async fn grant_exemption(
        &self,
        request: &NewExemption,
        idempotency_key: &str,
    ) -> Result<Exemption, ClientError> {
        let call = Call::new(Method::POST, &["exemptions"]).json(request)?;
        self.send(call.idempotent(idempotency_key)).await?.json().await
    }

    /// `POST /exemptions/{id}/revoke`.
    pub async fn revoke_exemption(
        &self,
        id: ExemptionId,
        reason: Option<&str>,
    ) -> Result<Exemption, ClientError> {
        let path = ["exemptions", &id.to_string(), "revoke"];
        self.send(Call::new(Method::POST, &path).json(&Reason { reason })?).await?.json().await
    }
}
