//! Settings of the gates.

use reqwest::Method;
use slipway_domain::gate_settings::{GateScope, GateSettings, ResolvedSettings, ScopedSettings};
use slipway_domain::page::Page;

use super::Client;
use super::transport::Call;
use crate::client::error::ClientError;

const PATH: [&str; 2] = ["gates", "settings"];

fn query(scope: &GateScope) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    query.extend(scope.project.clone().map(|project| ("project", project)));
    query.extend(scope.environment.clone().map(|environment| ("environment", environment)));
    query
}

impl Client {
    /// `GET /gates/settings`.
    pub async fn gate_settings(&self) -> Result<Vec<ScopedSettings>, ClientError> {
        Ok(self.get(&PATH, &[]).await?.json::<Page<ScopedSettings>>().await?.items)
    }

    /// `GET /gates/resolved`: what holds for a project and environment.
    pub async fn resolved_gates(
        &self,
        project: &str,
        environment: &str,
    ) -> Result<ResolvedSettings, ClientError> {
        let query = [("project", project.to_owned()), ("environment", environment.to_owned())];
        self.get(&["gates", "resolved"], &query).await?.json().await
    }

    /// `PUT /gates/settings`: in place of version `from` (0: there must be none yet), or of whatever
    /// there is.
    pub async fn set_gates(
        &self,
        scope: &GateScope,
        settings: &GateSettings,
        from: Option<i64>,
    ) -> Result<ScopedSettings, ClientError> {
        let call = Call::new(Method::PUT, &PATH).query(&query(scope)).json(settings)?;
        let call = match from {
            None => call,
            Some(0) => call.only_if("if-none-match", "*".to_owned()),
            Some(version) => call.only_if("if-match", format!("\"{version}\"")),
        };
        self.send(call).await?.json().await
    }

    /// `DELETE /gates/settings`.
    pub async fn forget_gates(&self, scope: &GateScope) -> Result<(), ClientError> {
        self.send(Call::new(Method::DELETE, &PATH).query(&query(scope))).await?;
        Ok(())
    }
}
