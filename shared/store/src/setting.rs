//! The central configuration: items, their versions, and their secrets, sealed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use slipway_domain::access::{Actor, Reach};
use slipway_domain::id::{AuditId, SettingId};
use slipway_domain::page::PageRequest;
use slipway_domain::secret::{MASK, Secret};
use slipway_domain::setting::{
    Setting, SettingAction, SettingAudit, SettingKind, SettingScope, SettingVersion,
};
use uuid::Uuid;

use crate::db::{Store, Tx, sql};
use crate::deployment::to_json;
use crate::dialect::{only, reached, within};
use crate::error::{Error, Result};

/// What a version's secret is sealed for.
pub(crate) fn place(of: Uuid, version: i32) -> String {
    format!("setting_versions|sealed|{of}|{version}")
}

#[derive(sqlx::FromRow)]
struct Row {
    id: SettingId,
    key: String,
    project: String,
    environment: String,
    service: String,
    kind: String,
    value: Option<String>,
    schema: Option<String>,
    description: Option<String>,
    version: i32,
    created_at: DateTime<Utc>,
    created_by: String,
    updated_at: DateTime<Utc>,
    updated_by: String,
    deleted_at: Option<DateTime<Utc>>,
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| Error::corrupt("settings", e))
}

fn actor(text: &str) -> Result<Actor> {
    serde_json::from_str(text).map_err(|e| Error::corrupt("settings", e))
}

impl TryFrom<Row> for Setting {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let named = |name: String| (!name.is_empty()).then_some(name);
        Ok(Self {
            kind: SettingKind::parse(&row.kind)
                .ok_or_else(|| Error::corrupt("settings", format!("kind {:?}", row.kind)))?,
            value: row.value.as_deref().map_or_else(|| Ok(MASK.into()), json)?,
            schema: row.schema.as_deref().map(json).transpose()?,
            created_by: actor(&row.created_by)?,
            updated_by: actor(&row.updated_by)?,
            scope: SettingScope {
                project: named(row.project),
                environment: named(row.environment),
                service: named(row.service),
            },
            id: row.id,
            key: row.key,
            description: row.description,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        })
    }
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    id: Uuid,
    version: i32,
    action: String,
    value: Option<String>,
    mac: Option<String>,
    schema: Option<String>,
    description: Option<String>,
    from_version: Option<i32>,
    comment: Option<String>,
    at: DateTime<Utc>,
    by_actor: String,
}

/// A version with what tells whether its secret is that of another version.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRecord {
    /// Its row.
    pub row: Uuid,
    /// The version; a secret is masked in it.
    pub version: SettingVersion,
    /// Keyed digest of its secret, if it has one.
    pub mac: Option<String>,
}

impl TryFrom<VersionRow> for VersionRecord {
    type Error = Error;
    fn try_from(row: VersionRow) -> Result<Self> {
        let masked = row.mac.is_some().then(|| Value::from(MASK));
        Ok(Self {
            row: row.id,
            version: SettingVersion {
                version: row.version,
                action: SettingAction::parse(&row.action).ok_or_else(|| {
                    Error::corrupt("setting_versions", format!("action {:?}", row.action))
                })?,
                value: row.value.as_deref().map(json).transpose()?.or(masked),
                schema: row.schema.as_deref().map(json).transpose()?,
                description: row.description,
                from_version: row.from_version,
                comment: row.comment,
                at: row.at,
                by: actor(&row.by_actor)?,
            },
            mac: row.mac,
        })
    }
}

/// A secret, sealed for one version of one item.
#[derive(Debug, Clone)]
pub struct SealedSecret {
    of: SettingId,
    version: i32,
    sealed: Vec<u8>,
    mac: String,
}

/// What the keyed digests of secrets are made for.
const MAC: &str = "setting";

impl Store {
    /// Seals a secret for a version of an item.
    pub async fn seal_setting(
        &self,
        of: SettingId,
        version: i32,
        secret: &Secret<String>,
    ) -> Result<SealedSecret> {
        let clear = secret.reveal().as_bytes();
        let sealed = self.keys.seal(&place(of.0, version), clear).await?;
        // Of this item alone: that two items have the same secret is nobody's business.
        let mac = self.house().mac(&format!("{MAC} {of}"), clear);
        Ok(SealedSecret { of, version, sealed, mac })
    }
}

#[derive(sqlx::FromRow)]
struct AuditRow {
    id: AuditId,
    at: DateTime<Utc>,
    actor: String,
    address: Option<String>,
    action: String,
    result: String,
    detail: String,
    trace_id: Option<String>,
}

impl TryFrom<AuditRow> for SettingAudit {
    type Error = Error;
    fn try_from(row: AuditRow) -> Result<Self> {
        let wrong = |e: serde_json::Error| Error::corrupt("audit", e);
        Ok(Self {
            actor: serde_json::from_str(&row.actor).map_err(wrong)?,
            detail: serde_json::from_str(&row.detail).map_err(wrong)?,
            id: row.id,
            at: row.at,
            address: row.address,
            action: row.action,
            result: row.result,
            trace_id: row.trace_id,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, key, project, environment, service, kind, value, schema, description, ",
            "version, created_at, created_by, updated_at, updated_by, deleted_at from settings ",
            $rest
        )
    };
}

macro_rules! select_version {
    ($rest:literal) => {
        concat!(
            "select id, version, action, value, mac, schema, description, from_version, comment, at, ",
            "by_actor from setting_versions ",
            $rest
        )
    };
}

/// Which items a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those for this very project.
    pub project: Option<String>,
    /// Only those for this very environment.
    pub environment: Option<String>,
    /// Only those for this very service.
    pub service: Option<String>,
    /// Only those with this key.
    pub key: Option<String>,
}

fn names(scope: &SettingScope) -> (&str, &str, &str) {
    (
        scope.project.as_deref().unwrap_or_default(),
        scope.environment.as_deref().unwrap_or_default(),
        scope.service.as_deref().unwrap_or_default(),
    )
}

/// The value as it stands in a row: none for a secret.
fn stored(item: &Setting) -> Option<String> {
    (item.kind != SettingKind::Secret).then(|| item.value.to_string())
}

impl Tx {
    /// Adds an item. `false` when a living one has its key and scope.
    pub async fn insert_setting(&mut self, item: &Setting) -> Result<bool> {
        let (project, environment, service) = names(&item.scope);
        let added = sql!(execute self,
            "insert into settings (id, key, project, environment, service, kind, value, schema,
                 description, version, created_at, created_by, updated_at, updated_by)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             on conflict (project, environment, service, key) where deleted_at is null do nothing",
            item.id, item.key.as_str(), project, environment, service, item.kind.as_str(),
            stored(item), item.schema.as_ref().map(Value::to_string), item.description.as_deref(),
            item.version, item.created_at, to_json(&item.created_by)?, item.updated_at,
            to_json(&item.updated_by)?)?;
        Ok(added == 1)
    }

    /// Writes what may change of an item that is of version `before`. `false` when it is of another
    /// one.
    pub async fn update_setting(&mut self, item: &Setting, before: i32) -> Result<bool> {
        let changed = sql!(execute self,
            "update settings set value = $3, schema = $4, description = $5, version = $6,
                 updated_at = $7, updated_by = $8, deleted_at = $9
             where id = $1 and version = $2",
            item.id, before, stored(item), item.schema.as_ref().map(Value::to_string),
            item.description.as_deref(), item.version, item.updated_at,
            to_json(&item.updated_by)?, item.deleted_at)?;
        Ok(changed == 1)
    }

    /// Adds a version, whose row is `row`. A secret comes sealed for just this version.
    pub async fn insert_setting_version(
        &mut self,
        row: Uuid,
        of: SettingId,
        version: &SettingVersion,
        secret: Option<&SealedSecret>,
    ) -> Result<()> {
        if secret.is_some_and(|secret| (secret.of, secret.version) != (of, version.version)) {
            return Err(Error::corrupt("setting_versions", "sealed for another version"));
        }
        let value = version.value.as_ref().filter(|_| secret.is_none());
        sql!(execute self,
            "insert into setting_versions (id, setting_id, version, action, value, sealed, mac,
                 schema, description, from_version, comment, at, by_actor)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            row, of, version.version, version.action.as_str(), value.map(Value::to_string),
            secret.map(|secret| secret.sealed.as_slice()),
            secret.map(|secret| secret.mac.as_str()),
            version.schema.as_ref().map(Value::to_string), version.description.as_deref(),
            version.from_version, version.comment.as_deref(), version.at, to_json(&version.by)?)?;
        Ok(())
    }

    /// An item, also one that was deleted.
    pub async fn setting(&mut self, id: SettingId) -> Result<Option<Setting>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(Setting::try_from).transpose()
    }

    /// The living item with this key in just this scope.
    pub async fn setting_in(&mut self, scope: &SettingScope, key: &str) -> Result<Option<Setting>> {
        let (project, environment, service) = names(scope);
        sql!(maybe Row, self,
            select!("where project = $1 and environment = $2 and service = $3 and key = $4
                   and deleted_at is null"),
            project, environment, service, key)?
        .map(Setting::try_from)
        .transpose()
    }

    /// Living items in just this scope.
    pub async fn count_settings(&mut self, scope: &SettingScope) -> Result<i64> {
        let (project, environment, service) = names(scope);
        sql!(scalar i64, self,
            "select count(*) from settings where project = $1 and environment = $2
                 and service = $3 and deleted_at is null", project, environment, service)
    }

    /// Up to `limit + 1` living items, newest first.
    pub async fn settings(
        &mut self,
        filter: &Filter,
        reach: &Reach,
        page: PageRequest,
    ) -> Result<Vec<Setting>> {
        let text = only(
            select!(
                "where deleted_at is null and {project = $1} and {environment = $2}
                   and {service = $3} and {key = $4} and {id < $5}
                   and (project = '' or {within project $6})
                 order by id desc limit $7"
            ),
            &[
                ("project = $1", filter.project.is_some()),
                ("environment = $2", filter.environment.is_some()),
                ("service = $3", filter.service.is_some()),
                ("key = $4", filter.key.is_some()),
                ("id < $5", page.after.is_some()),
            ],
        );
        let text = within(self, text, reach);
        sql!(all Row, self, text, filter.project.as_deref(), filter.environment.as_deref(),
            filter.service.as_deref(), filter.key.as_deref(), page.after.unwrap_or_default(),
            reached(reach), i64::from(page.limit) + 1)?
        .into_iter()
        .map(Setting::try_from)
        .collect()
    }

    /// Every living item that holds for a place.
    pub async fn settings_for(&mut self, place: &SettingScope) -> Result<Vec<Setting>> {
        let (project, environment, service) = names(place);
        sql!(all Row, self,
            select!("where project in ('', $1) and environment in ('', $2)
                   and service in ('', $3) and deleted_at is null"),
            project, environment, service)?
        .into_iter()
        .map(Setting::try_from)
        .collect()
    }

    /// Up to `limit + 1` versions of an item, newest first.
    pub async fn setting_versions(
        &mut self,
        of: SettingId,
        page: PageRequest,
    ) -> Result<Vec<VersionRecord>> {
        let before = match page.after {
            None => i32::MAX,
            // A cursor that names no row of this item is at the end.
            Some(row) => sql!(scalar_maybe i32, self,
                "select version from setting_versions where id = $1 and setting_id = $2", row, of)?
            .unwrap_or(0),
        };
        sql!(all VersionRow, self,
            select_version!("where setting_id = $1 and version < $2
                 order by version desc limit $3"),
            of, before, i64::from(page.limit) + 1)?
        .into_iter()
        .map(VersionRecord::try_from)
        .collect()
    }

    /// A version of an item.
    pub async fn setting_version(
        &mut self,
        of: SettingId,
        version: i32,
    ) -> Result<Option<VersionRecord>> {
        sql!(maybe VersionRow, self,
            select_version!("where setting_id = $1 and version = $2"), of, version)?
        .map(VersionRecord::try_from)
        .transpose()
    }

    /// The secret of a version, in clear; `None` when there is no such version, or no secret in it.
    pub async fn setting_secret(
        &mut self,
        of: SettingId,
        version: i32,
    ) -> Result<Option<Secret<String>>> {
        let sealed = sql!(scalar_maybe Option<Vec<u8>>, self,
            "select sealed from setting_versions where setting_id = $1 and version = $2",
            of, version)?
        .flatten();
        let Some(sealed) = sealed else { return Ok(None) };
        let clear = self.keys.open(&place(of.0, version), &sealed).await?;
        let clear = String::from_utf8(clear)
            .map_err(|_| Error::corrupt("setting_versions", "a secret that is no text"))?;
        Ok(Some(Secret::new(clear)))
    }

    /// Up to `limit + 1` rows of the audit log about an item, newest first.
    pub async fn setting_audit(
        &mut self,
        of: SettingId,
        page: PageRequest,
    ) -> Result<Vec<SettingAudit>> {
        let text = only(
            "select id, at, actor, address, action, result, detail, trace_id from audit
             where target = $1 and {id < $2} order by id desc limit $3",
            &[("id < $2", page.after.is_some())],
        );
        sql!(all AuditRow, self, text, of.to_string(), page.after.unwrap_or_default(),
            i64::from(page.limit) + 1)?
        .into_iter()
        .map(SettingAudit::try_from)
        .collect()
    }
}
