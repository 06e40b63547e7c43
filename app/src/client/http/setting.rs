//! The central configuration.

use reqwest::Method;
use slipway_domain::id::SettingId;
use slipway_domain::page::Page;
use slipway_domain::setting::difference::SettingDifference;
use slipway_domain::setting::effective::EffectiveSettings;
use slipway_domain::setting::{
    ChangeSetting, NewSetting, Setting, SettingAudit, SettingScope, SettingVersion,
};
use slipway_services::setting::{Reveal, Revealed, RollBack, RotatedSetting};

use super::Client;
use super::transport::Call;
use crate::client::error::ClientError;

fn query(place: &SettingScope) -> Vec<(&'static str, String)> {
    let names = [
        ("project", &place.project),
        ("environment", &place.environment),
        ("service", &place.service),
    ];
    names.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
}

fn tag(version: i32) -> String {
    format!("\"{version}\"")
}

impl Client {
    /// `GET /config`: at most `limit` of them, over as many pages as it takes.
    pub async fn settings(
        &self,
        named: &SettingScope,
        key: Option<&str>,
        limit: u32,
    ) -> Result<Page<Setting>, ClientError> {
        let mut filters = query(named);
        filters.extend(key.map(|key| ("key", key.to_owned())));
        self.pages(&["config"], &filters, limit).await
    }

    /// `GET /config/{id}`.
    pub async fn setting(&self, id: SettingId) -> Result<Setting, ClientError> {
        self.get(&["config", &id.to_string()], &[]).await?.json().await
    }

    /// `POST /config`.
    pub async fn make_setting(
        &self,
        request: &NewSetting,
        idempotency_key: &str,
    ) -> Result<Setting, ClientError> {
        let call = Call::new(Method::POST, &["config"]).json(request)?;
        self.send(call.idempotent(idempotency_key)).await?.json().await
    }

    /// `PUT /config/{id}`, made from this version.
    pub async fn change_setting(
        &self,
        id: SettingId,
        request: &ChangeSetting,
        from: i32,
    ) -> Result<Setting, ClientError> {
        let call = Call::new(Method::PUT, &["config", &id.to_string()]).json(request)?;
        self.send(call.only_if("if-match", tag(from))).await?.json().await
    }

    /// `DELETE /config/{id}`, of this version.
    pub async fn delete_setting(&self, id: SettingId, from: i32) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, &["config", &id.to_string()]);
        self.send(call.only_if("if-match", tag(from))).await?;
        Ok(())
    }

    /// `GET /config/{id}/versions`.
    pub async fn setting_versions(
        &self,
        id: SettingId,
        limit: u32,
    ) -> Result<Page<SettingVersion>, ClientError> {
        self.pages(&["config", &id.to_string(), "versions"], &[], limit).await
    }

    /// `GET /config/{id}/audit`.
    pub async fn setting_audit(
        &self,
        id: SettingId,
        limit: u32,
    ) -> Result<Page<SettingAudit>, ClientError> {
        self.pages(&["config", &id.to_string(), "audit"], &[], limit).await
    }

    /// `GET /config/{id}/diff`.
    pub async fn diff_setting(
        &self,
        id: SettingId,
        from: Option<i32>,
        to: Option<i32>,
    ) -> Result<SettingDifference, ClientError> {
        let mut query = Vec::new();
        query.extend(from.map(|from| ("from", from.to_string())));
        query.extend(to.map(|to| ("to", to.to_string())));
        self.get(&["config", &id.to_string(), "diff"], &query).await?.json().await
    }

    /// `POST /config/{id}/rollback`; `None`: whatever version is current.
    pub async fn roll_back_setting(
        &self,
        id: SettingId,
        request: &RollBack,
        from: Option<i32>,
    ) -> Result<Setting, ClientError> {
        let call = Call::new(Method::POST, &["config", &id.to_string(), "rollback"]);
        let from = from.map_or_else(|| "*".to_owned(), tag);
        self.send(call.json(request)?.only_if("if-match", from)).await?.json().await
    }

    /// `POST /config/{id}/reveal`.
    pub async fn reveal_setting(
        &self,
        id: SettingId,
        request: &Reveal,
    ) -> Result<Revealed, ClientError> {
        let call = Call::new(Method::POST, &["config", &id.to_string(), "reveal"]);
        self.send(call.json(request)?).await?.json().await
    }

    /// `POST /config/{id}/rotate`.
    pub async fn rotate_setting(&self, id: SettingId) -> Result<RotatedSetting, ClientError> {
        let call = Call::new(Method::POST, &["config", &id.to_string(), "rotate"]);
        self.send(call).await?.json().await
    }

    /// `GET /config/resolve`.
    pub async fn resolve_settings(
        &self,
        place: &SettingScope,
    ) -> Result<EffectiveSettings, ClientError> {
        self.get(&["config", "resolve"], &query(place)).await?.json().await
    }
}
