//! What holds for a place: of the items of every key, the narrowest.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Setting, SettingKind, SettingScope};
use crate::id::SettingId;

/// An item that has the same key and is wider, and so does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct ShadowedSetting {
    /// The item.
    pub setting_id: SettingId,
    /// Its scope.
    pub scope: SettingScope,
    /// Its version.
    pub version: i32,
}

/// What holds for one key, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct EffectiveSetting {
    /// The key.
    pub key: String,
    /// What its value is.
    #[serde(rename = "type")]
    pub kind: SettingKind,
    /// Its value; `"***"` for a secret.
    #[schema(value_type = Value)]
    pub value: Value,
    /// The item that it comes from.
    pub setting_id: SettingId,
    /// The scope of that item.
    pub scope: SettingScope,
    /// The version of that item.
    pub version: i32,
    /// When that was changed.
    pub updated_at: DateTime<Utc>,
    /// Wider items that it outweighs, the narrowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ShadowedSetting>,
}

/// Everything that holds for a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct EffectiveSettings {
    /// The place.
    pub place: SettingScope,
    /// By key.
    pub settings: Vec<EffectiveSetting>,
}

impl EffectiveSettings {
    /// What holds for `place`, given items of any scope.
    pub fn of(place: SettingScope, items: impl IntoIterator<Item = Setting>) -> Self {
        let mut by_key: BTreeMap<String, Vec<Setting>> = BTreeMap::new();
        let held = items
            .into_iter()
            .filter(|item| item.deleted_at.is_none() && item.scope.holds_for(&place));
        for item in held {
            by_key.entry(item.key.clone()).or_default().push(item);
        }
        let settings = by_key
            .into_values()
            .filter_map(|mut items| {
                items.sort_by_key(|item| std::cmp::Reverse(item.scope.narrowness()));
                let mut items = items.into_iter();
                let first = items.next()?;
                let shadows = items
                    .map(|Setting { id, scope, version, .. }| ShadowedSetting {
                        setting_id: id,
                        scope,
                        version,
                    })
                    .collect();
                Some(EffectiveSetting {
                    key: first.key,
                    kind: first.kind,
                    value: first.value,
                    setting_id: first.id,
                    scope: first.scope,
                    version: first.version,
                    updated_at: first.updated_at,
                    shadows,
                })
            })
            .collect();
        Self { place, settings }
    }

    /// What holds for a key.
    pub fn get(&self, key: &str) -> Option<&EffectiveSetting> {
        let at = self.settings.binary_search_by(|item| item.key.as_str().cmp(key)).ok()?;
        self.settings.get(at)
    }
}
