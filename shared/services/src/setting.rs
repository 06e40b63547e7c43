//! The central configuration: items, their versions, their secrets, and what holds for a place.
//!
//! Every change is a new version, made from one that the caller names. What deployments make of it is
//! in [`usage`]. A secret leaves the store in clear in two places only: [`reveal`], which is on the
//! record before it answers, and the worker that fills the variables of a run.

mod cache;
mod schema;
pub(crate) mod usage;

use chrono::{DateTime, SubsecRound as _, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_domain::access::{Principal, Scope};
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::id::SettingId;
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::secret::{MASK, Secret};
use slipway_domain::setting::difference::SettingDifference;
use slipway_domain::setting::{
    ChangeSetting, MAX_COMMENT, MAX_PER_SCOPE, NO_SCHEMA, NewSetting, Setting, SettingAction,
    SettingAudit, SettingKind, SettingScope, SettingVersion, texts,
};
use slipway_queue::Signal;
use slipway_store::Tx;
pub use slipway_store::setting::Filter;
use slipway_store::setting::{SealedSecret, VersionRecord};
use utoipa::ToSchema;

use crate::Ctx;
use crate::access::{self, no_project};
use crate::change::audit;
use crate::gate::Precondition;
use crate::idempotency::Guard;
pub(crate) use cache::Cache;
pub use cache::Effective;

/// How often a change "of whatever version there is" is tried when others change it meanwhile.
const TRIES: usize = 5;

/// What somebody gets who makes an item.
#[derive(Debug, Clone)]
pub struct Made {
    /// The item.
    pub setting: Setting,
    /// Whether this is the stored answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Whether somebody may do this with items of a scope. The one place where that is decided. What holds
/// in all projects may be read by whoever may read settings somewhere, because they hold there too;
/// the rest is the house's. `missing` is the answer to who holds nothing in the project.
fn reaches(
    who: &Principal,
    right: Scope,
    scope: &SettingScope,
    missing: impl FnOnce() -> Fault,
) -> Result<(), Fault> {
    match &scope.project {
        Some(project) => who.need_in(project, right, missing),
        None if right == Scope::ConfigRead => who.need_somewhere(right),
        None => who.need(right),
    }
}

/// There is no such project, or none for whoever asks.
fn no_project_of(scope: &SettingScope) -> Fault {
    no_project(scope.project.as_deref().unwrap_or_default())
}

/// Makes an item. A living one with the same key in the same scope stands in its way.
pub async fn create(
    cx: &Ctx,
    who: &Principal,
    request: NewSetting,
    idempotency_key: Option<&str>,
) -> Result<Made, Fault> {
    who.need_somewhere(Scope::ConfigWrite)?;
    let guard = Guard::new(who, "setting.create", idempotency_key, &request)?;
    if let Some(answered) = answered(cx, guard.as_ref()).await? {
        return Ok(answered);
    }
    let problems = request.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    reaches(who, Scope::ConfigWrite, &request.scope, || no_project_of(&request.scope))?;
    schema::check(request.schema.as_ref(), &request.value).await?;
    let now = cx.now().trunc_subsecs(6);
    let id = SettingId::new(&*cx.mint);
    let secret = secret_of(request.kind, &request.value);
    let sealed = seal(cx, id, 1, secret.as_ref()).await?;
    let setting = Setting {
        id,
        key: request.key,
        scope: request.scope,
        kind: request.kind,
        value: if secret.is_some() { MASK.into() } else { request.value },
        schema: request.schema,
        description: said(request.description),
        version: 1,
        created_at: now,
        created_by: who.actor.clone(),
        updated_at: now,
        updated_by: who.actor.clone(),
        deleted_at: None,
    };
    let mut tx = cx.store.begin().await?;
    if tx.count_settings(&setting.scope).await? >= MAX_PER_SCOPE {
        return Err(Fault::field(
            "/scope",
            format!("there are {MAX_PER_SCOPE} items for {} already, the most here", setting.scope),
        ));
    }
    if !tx.insert_setting(&setting).await? {
        let there = tx.setting_in(&setting.scope, &setting.key).await?;
        return Err(taken(&setting, there.map(|there| there.id)));
    }
    let version = version_of(&setting, SettingAction::Created, None, said(request.comment));
    tx.insert_setting_version(cx.mint.uuid(), id, &version, sealed.as_ref()).await?;
    record(cx, &mut tx, who, "setting.create", &setting, &version).await?;
    if let Some(guard) = &guard
        && !guard.keep(cx, &mut tx, &setting).await?
    {
        // Somebody sent the same request at the same time and was first.
        tx.rollback().await?;
        return answered_now(cx, guard).await;
    }
    tx.commit().await?;
    changed(cx, &setting, "made", who).await;
    Ok(Made { setting, replayed: false })
}

async fn answered(cx: &Ctx, guard: Option<&Guard>) -> Result<Option<Made>, Fault> {
    let Some(guard) = guard else { return Ok(None) };
    let mut tx = cx.store.read().await?;
    let answer = guard.answer(cx, &mut tx).await?;
    Ok(answer.map(|setting| Made { setting, replayed: true }))
}

async fn answered_now(cx: &Ctx, guard: &Guard) -> Result<Made, Fault> {
    answered(cx, Some(guard)).await?.ok_or_else(|| {
        Fault::new(
            Code::IdempotencyInFlight,
            "A request with this idempotency key is being answered. Try again in a moment.",
        )
    })
}

/// Living items, newest first; secrets masked.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<Setting>, Fault> {
    let reach = access::reach(who, Scope::ConfigRead)?;
    let rows = cx.store.read().await?.settings(filter, &reach, page).await?;
    Ok(Page::from_surplus(rows, page, |row| row.id.0))
}

/// An item; a secret is masked.
pub async fn get(cx: &Ctx, who: &Principal, id: SettingId) -> Result<Setting, Fault> {
    let setting = with_history(cx, who, Scope::ConfigRead, id).await?;
    living(&setting)?;
    Ok(setting)
}

/// An item, also one that was deleted.
async fn with_history(
    cx: &Ctx,
    who: &Principal,
    right: Scope,
    id: SettingId,
) -> Result<Setting, Fault> {
    let missing = || Fault::not_found("setting", id);
    let setting = cx.store.read().await?.setting(id).await?.ok_or_else(missing)?;
    reaches(who, right, &setting.scope, missing)?;
    Ok(setting)
}

fn living(setting: &Setting) -> Result<(), Fault> {
    match setting.deleted_at {
        None => Ok(()),
        Some(at) => Err(Fault::new(
            Code::NotFound,
            format!(
                "The setting {} was deleted at {}. Its history is kept: see \
                 /api/v1/config/{}/versions; rolling back to one of them brings it back.",
                setting.key,
                at.format("%Y-%m-%dT%H:%M:%SZ"),
                setting.id
            ),
        )),
    }
}

/// What somebody does to an item.
enum Edit {
    Update(ChangeSetting),
    Delete,
    RollBack(RollBack),
}

impl Edit {
    /// What it is called on the audit log.
    const fn audited(&self) -> &'static str {
        match self {
            Self::Update(_) => "setting.update",
            Self::Delete => "setting.delete",
            Self::RollBack(_) => "setting.roll_back",
        }
    }
}

/// What an edit makes of an item.
struct Next {
    setting: Setting,
    action: SettingAction,
    from_version: Option<i32>,
    comment: Option<String>,
    secret: Option<Secret<String>>,
}

/// Changes an item: what is said here holds from now on. Its value stays when none is given.
pub async fn update(
    cx: &Ctx,
    who: &Principal,
    id: SettingId,
    request: ChangeSetting,
    from: Option<Precondition>,
) -> Result<Setting, Fault> {
    change(cx, who, id, from, &Edit::Update(request)).await
}

async fn updated(cx: &Ctx, now: &Setting, request: &ChangeSetting) -> Result<Next, Fault> {
    living(now)?;
    let mut problems = texts(request.description.as_deref(), request.comment.as_deref());
    if let Some(value) = &request.value {
        let problem = now.kind.problem(value);
        problems.extend(problem.map(|why| FieldError::at("/value", why)));
    }
    if now.kind == SettingKind::Secret && request.schema.is_some() {
        problems.push(FieldError::at("/schema", NO_SCHEMA));
    }
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let value = request.value.clone().unwrap_or_else(|| now.value.clone());
    schema::check(request.schema.as_ref(), &value).await?;
    let secret = match (now.kind, &request.value) {
        (SettingKind::Secret, None) => Some(kept_secret(cx, now, now.version).await?),
        (kind, _) => secret_of(kind, &value),
    };
    let setting = Setting {
        value: if secret.is_some() { MASK.into() } else { value },
        schema: request.schema.clone(),
        description: said(request.description.clone()),
        ..now.clone()
    };
    let (action, comment) = (SettingAction::Updated, said(request.comment.clone()));
    Ok(Next { setting, action, from_version: None, comment, secret })
}

/// Deletes an item. Its versions, its secrets and its audit stay; plans that were made with it can
/// be applied.
pub async fn delete(
    cx: &Ctx,
    who: &Principal,
    id: SettingId,
    from: Option<Precondition>,
) -> Result<(), Fault> {
    change(cx, who, id, from, &Edit::Delete).await.map(|_| ())
}

fn deleted(cx: &Ctx, now: &Setting) -> Result<Next, Fault> {
    living(now)?;
    let setting = Setting { deleted_at: Some(cx.now().trunc_subsecs(6)), ..now.clone() };
    let action = SettingAction::Deleted;
    Ok(Next { setting, action, from_version: None, comment: None, secret: None })
}

/// To which version an item goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// The version whose value, schema and description it gets, as a new version.
    #[schema(minimum = 1)]
    pub to_version: i32,
    /// Why, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub comment: Option<String>,
}

/// Gives an item what an older version had, as a new version. One that was deleted is back then.
pub async fn roll_back(
    cx: &Ctx,
    who: &Principal,
    id: SettingId,
    request: RollBack,
    from: Option<Precondition>,
) -> Result<Setting, Fault> {
    change(cx, who, id, from, &Edit::RollBack(request)).await
}

async fn rolled_back(cx: &Ctx, now: &Setting, request: &RollBack) -> Result<Next, Fault> {
    let problems = texts(None, request.comment.as_deref());
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let wanted = request.to_version;
    let old = version_record(cx, now.id, wanted)
        .await?
        .map(|row| row.version)
        .filter(|old| wanted != now.version && old.action != SettingAction::Deleted)
        .ok_or_else(|| {
            let why = format!("{wanted} is no version of this item that it can go back to");
            Fault::field("/to_version", why)
        })?;
    let secret = match now.kind {
        SettingKind::Secret => Some(kept_secret(cx, now, wanted).await?),
        _ => None,
    };
    let setting = Setting {
        value: old.value.unwrap_or(Value::Null),
        schema: old.schema,
        description: old.description,
        deleted_at: None,
        ..now.clone()
    };
    let (action, comment) = (SettingAction::RolledBack, said(request.comment.clone()));
    Ok(Next { setting, action, from_version: Some(wanted), comment, secret })
}

/// Makes the next version of an item, from the one that the caller names.
async fn change(
    cx: &Ctx,
    who: &Principal,
    id: SettingId,
    from: Option<Precondition>,
    edit: &Edit,
) -> Result<Setting, Fault> {
    for _ in 0..TRIES {
        let now = with_history(cx, who, Scope::ConfigWrite, id).await?;
        expected(&now, from)?;
        let next = match edit {
            Edit::Update(request) => updated(cx, &now, request).await?,
            Edit::Delete => deleted(cx, &now)?,
            Edit::RollBack(request) => rolled_back(cx, &now, request).await?,
        };
        let Next { mut setting, action, from_version, comment, secret } = next;
        setting.version = now.version + 1;
        setting.updated_at = cx.now().trunc_subsecs(6);
        setting.updated_by = who.actor.clone();
        // Outside the unit of work: a key service may take its time.
        let sealed = seal(cx, id, setting.version, secret.as_ref()).await?;
        let version = version_of(&setting, action, from_version, comment);
        let mut tx = cx.store.begin().await?;
        let comes_back = now.deleted_at.is_some() && setting.deleted_at.is_none();
        if comes_back && let Some(there) = tx.setting_in(&setting.scope, &setting.key).await? {
            return Err(taken(&setting, Some(there.id)));
        }
        match tx.update_setting(&setting, now.version).await {
            Ok(true) => {}
            Ok(false) if from == Some(Precondition::Any) => continue,
            Ok(false) => return Err(moved(&setting)),
            Err(error) if error.is_duplicate() => return Err(taken(&setting, None)),
            Err(error) => return Err(error.into()),
        }
        tx.insert_setting_version(cx.mint.uuid(), id, &version, sealed.as_ref()).await?;
        record(cx, &mut tx, who, edit.audited(), &setting, &version).await?;
        tx.commit().await?;
        changed(cx, &setting, action.as_str(), who).await;
        return Ok(setting);
    }
    Err(Fault::new(Code::Conflict, "Others change this setting all the time; try again."))
}

/// Whether the item is of the version that the caller made the change from.
fn expected(now: &Setting, from: Option<Precondition>) -> Result<(), Fault> {
    match from {
        Some(Precondition::Any) => Ok(()),
        Some(Precondition::Version(version)) if version == i64::from(now.version) => Ok(()),
        Some(Precondition::Version(_) | Precondition::New) => Err(moved(now)),
        None => Err(Fault::new(
            Code::PreconditionRequired,
            format!(
                "Say which version of the setting {} the change is made from, with If-Match and the \
                 ETag that was read (\"*\" for whatever there is).",
                now.key
            ),
        )),
    }
}

fn moved(setting: &Setting) -> Fault {
    Fault::new(
        Code::PreconditionFailed,
        format!(
            "The setting {} is of another version by now. Read it again, and make the change to \
             that.",
            setting.key
        ),
    )
}

fn taken(setting: &Setting, by: Option<SettingId>) -> Fault {
    let by = by.map(|id| format!(": {id}")).unwrap_or_default();
    Fault::new(
        Code::Conflict,
        format!(
            "There is an item with the key {} for {} already{by}. Change that one.",
            setting.key, setting.scope
        ),
    )
}

/// A text, and none when it says nothing.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn secret_of(kind: SettingKind, value: &Value) -> Option<Secret<String>> {
    let text = value.as_str().filter(|_| kind == SettingKind::Secret)?;
    Some(Secret::new(text.to_owned()))
}

async fn seal(
    cx: &Ctx,
    id: SettingId,
    version: i32,
    secret: Option<&Secret<String>>,
) -> Result<Option<SealedSecret>, Fault> {
    match secret {
        Some(secret) => Ok(Some(cx.store.seal_setting(id, version, secret).await?)),
        None => Ok(None),
    }
}

/// The secret of a version that is known to have one.
async fn kept_secret(cx: &Ctx, of: &Setting, version: i32) -> Result<Secret<String>, Fault> {
    let mut tx = cx.store.read().await?;
    tx.setting_secret(of.id, version)
        .await?
        .ok_or_else(|| Fault::internal(format!("version {version} of {} has no secret", of.id)))
}

fn version_of(
    setting: &Setting,
    action: SettingAction,
    from_version: Option<i32>,
    comment: Option<String>,
) -> SettingVersion {
    let there = action != SettingAction::Deleted;
    SettingVersion {
        version: setting.version,
        action,
        value: there.then(|| setting.value.clone()),
        schema: setting.schema.clone().filter(|_| there),
        description: setting.description.clone().filter(|_| there),
        from_version,
        comment,
        at: setting.updated_at,
        by: setting.updated_by.clone(),
    }
}

/// Puts a change on the audit log. Values are in the versions, not here.
async fn record(
    cx: &Ctx,
    tx: &mut Tx,
    who: &Principal,
    action: &str,
    setting: &Setting,
    version: &SettingVersion,
) -> Result<(), Fault> {
    let detail = serde_json::json!({"key": setting.key, "scope": setting.scope,
        "type": setting.kind, "version": version.version, "from_version": version.from_version,
        "comment": version.comment});
    audit(cx, tx, who, action, setting.id.to_string(), detail).await
}

/// Tells every process that what it remembers is old.
async fn changed(cx: &Ctx, setting: &Setting, what: &str, who: &Principal) {
    cx.gathered.settings.forget();
    cx.signal(Signal::Settings).await;
    tracing::info!(setting_id = %setting.id, key = setting.key, scope = %setting.scope,
        version = setting.version, by = who.actor.id, what, "central configuration changed");
}

/// Versions of an item, newest first.
pub async fn versions(
    cx: &Ctx,
    who: &Principal,
    id: SettingId,
    page: PageRequest,
) -> Result<Page<SettingVersion>, Fault> {
    with_history(cx, who, Scope::ConfigRead, id).await?;
    let rows = cx.store.read().await?.setting_versions(id, page).await?;
    Ok(Page::from_surplus(rows, page, |row| row.row).map(|row| row.version))
}

async fn version_record(
    cx: &Ctx,
    id: SettingId,
    version: i32,
) -> Result<Option<VersionRecord>, Fault> {
    Ok(cx.store.read().await?.setting_version(id, version).await?)
}

/// What is different between two versions of an item: the newest and the one before it, when they
/// are not named. Secrets are not shown.
pub async fn diff(
    cx: &Ctx,
    who: &Principal,
    id: SettingId,
    from: Option<i32>,
    to: Option<i32>,
) -> Result<SettingDifference, Fault> {
    let now = with_history(cx, who, Scope::ConfigRead, id).await?;
    let to = to.unwrap_or(now.version);
    let from = from.unwrap_or_else(|| (to - 1).max(1));
    let version = async |field: &str, number: i32| {
        version_record(cx, id, number).await?.ok_or_else(|| {
            Fault::field(format!("/{field}"), format!("the setting has no version {number}"))
        })
    };
    let (from, to) = (version("from", from).await?, version("to", to).await?);
    let secret = (now.kind == SettingKind::Secret).then(|| from.mac != to.mac);
    Ok(SettingDifference::between(&from.version, &to.version, secret))
}

/// What the audit log says about an item, newest first.
pub async fn audit_of(
    cx: &Ctx,
    who: &Principal,
    id: SettingId,
    page: PageRequest,
) -> Result<Page<SettingAudit>, Fault> {
    with_history(cx, who, Scope::ConfigRead, id).await?;
    let rows = cx.store.read().await?.setting_audit(id, page).await?;
    Ok(Page::from_surplus(rows, page, |row| row.id.0))
}

/// Why somebody wants to see a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reveal {
    /// What it is needed for. It is put on the audit log.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
    /// Which version; the current one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
}

/// A secret in clear. It is put into nothing but the answer.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Revealed {
    /// The item.
    pub id: SettingId,
    /// Its key.
    pub key: String,
    /// The version.
    pub version: i32,
    /// The secret.
    pub value: String,
    /// When it was revealed.
    pub at: DateTime<Utc>,
}

impl std::fmt::Debug for Revealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Revealed({} version {})", self.id, self.version)
    }
}

/// Shows a secret in clear. That somebody saw it is on the record before they do.
pub async fn reveal(
    cx: &Ctx,
    who: &Principal,
    id: SettingId,
    request: Reveal,
) -> Result<Revealed, Fault> {
    let setting = with_history(cx, who, Scope::SecretsReveal, id).await?;
    living(&setting)?;
    let reason = request.reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_COMMENT || reason.contains('\0') {
        return Err(Fault::field(
            "/reason",
            format!("say in 1 to {MAX_COMMENT} characters what the secret is needed for"),
        ));
    }
    if setting.kind != SettingKind::Secret {
        let why = format!("{} is no secret; GET shows its value", setting.key);
        return Err(Fault::field("", why));
    }
    let version = request.version.unwrap_or(setting.version);
    let secret = cx.store.read().await?.setting_secret(id, version).await?;
    let secret = secret.ok_or_else(|| {
        Fault::field("/version", format!("there is no secret in a version {version} of this item"))
    })?;
    let mut tx = cx.store.begin().await?;
    let detail = serde_json::json!({"key": setting.key, "scope": setting.scope,
        "version": version, "reason": reason});
    audit(cx, &mut tx, who, "setting.reveal", id.to_string(), detail).await?;
    tx.commit().await?;
    tracing::info!(setting_id = %id, version, by = who.actor.id, "secret revealed");
    let at = cx.now();
    Ok(Revealed { id, key: setting.key, version, value: secret.reveal().clone(), at })
}

/// What giving the secrets of an item another key did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct RotatedSetting {
    /// The item.
    pub id: SettingId,
    /// The key of the ring, or of the key service, that seals now.
    pub key: String,
    /// Versions that have a secret.
    pub versions: u64,
    /// Those of them that had another key.
    pub rewrapped: u64,
}

/// Gives the data keys of all versions of an item the key that seals now. No value is opened, and who
/// reads meanwhile finds either the old envelope or the new one.
pub async fn rotate(cx: &Ctx, who: &Principal, id: SettingId) -> Result<RotatedSetting, Fault> {
    let setting = with_history(cx, who, Scope::ConfigWrite, id).await?;
    let key = cx.store.keys().current().await?;
    let done = cx.store.rewrap_setting(id, &key).await?;
    let rotated = RotatedSetting { id, key, versions: done.looked, rewrapped: done.rewrapped };
    let mut tx = cx.store.begin().await?;
    let detail = serde_json::json!({"key": setting.key, "scope": setting.scope,
        "sealed_with": rotated.key, "versions": rotated.versions,
        "rewrapped": rotated.rewrapped});
    audit(cx, &mut tx, who, "setting.rotate", id.to_string(), detail).await?;
    tx.commit().await?;
    tracing::info!(setting_id = %id, rewrapped = rotated.rewrapped, by = who.actor.id,
        "data keys of a setting were wrapped anew");
    Ok(rotated)
}

/// What holds for a place, and where each value comes from; secrets masked.
pub async fn resolve(
    cx: &Ctx,
    who: &Principal,
    place: SettingScope,
) -> Result<std::sync::Arc<Effective>, Fault> {
    reaches(who, Scope::ConfigRead, &place, || no_project_of(&place))?;
    let problems = place.problems("");
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    cache::effective(cx, place).await
}
