//! Policy packs as resources: what users upload, its versions, and which settings name it.
//!
//! A pack is checked whole before anything is kept (`check`); it is judged by in `engine`, for the
//! gate, and in `dry_run`, for past plans.

mod check;
mod dry_run;
mod engine;
mod history;

use bytes::Bytes;
use chrono::SubsecRound as _;
use serde::{Deserialize, Serialize};
use slipway_domain::access::{Principal, Scope};
use slipway_domain::artifact::digest;
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::policy::{
    PackOrigin, PolicyModule, PolicyPack, PolicySettings, PolicyVersion, SHIPPED, is_pack_name,
};
use slipway_policy::Pack;
use slipway_store::Tx;
use utoipa::ToSchema;

pub use self::check::{Checked, MAX_ARCHIVE_BYTES, check_tree, tree_limits};
pub use self::dry_run::{DryRunRequest, MAX_PLANS, NamedPack, dry_run};
pub(crate) use self::engine::Policies;
pub use self::engine::{PolicyGate, Ready, Subject, engines, evaluate, gate, rule_book};
pub(crate) use self::history::history;
use crate::change::audit;
use crate::idempotency::Guard;
use crate::{Ctx, source};

/// Packs at most.
const MAX_PACKS: i64 = 200;
/// Versions of a pack at most.
const MAX_VERSIONS: i64 = 1000;

/// The files of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadPolicy {
    /// Its files; those called `*.rego` are what counts.
    #[schema(min_items = 1, max_items = 64)]
    pub modules: Vec<PolicyModule>,
}

/// What was sent.
#[derive(Debug, Clone)]
pub enum Sent {
    /// The files.
    Modules(UploadPolicy),
    /// A `tar.gz` of them.
    Archive(Bytes),
}

/// What an uploader gets.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// The version that the pack is now.
    pub version: PolicyVersion,
    /// Whether it is new; it is not when the newest version has the very same text.
    pub created: bool,
    /// Whether this is the stored answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Checks a pack and keeps it as a new version. Everything that is wrong with it is said at once, and
/// nothing of a pack that is refused is kept.
pub async fn upload(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    sent: Sent,
    idempotency_key: Option<&str>,
) -> Result<Uploaded, Fault> {
    who.need(Scope::PoliciesWrite)?;
    if name == SHIPPED {
        return Err(Fault::new(
            Code::PolicyInUse,
            "The built-in pack cannot be changed. Upload your rules under a name of their own, and \
             set single rules of the built-in one in the settings of a project or environment.",
        ));
    }
    if !is_pack_name(name) {
        return Err(Fault::field(
            "/name",
            "the name of a pack is 1 to 63 lower-case letters, digits, '-' or '_', starting with a \
             letter or digit, and not `dry-run`",
        ));
    }
    let guard = match idempotency_key {
        None => None,
        key => {
            let sum = match &sent {
                Sent::Archive(archive) => digest(archive),
                Sent::Modules(files) => {
                    digest(&serde_json::to_vec(files).map_err(Fault::internal)?)
                }
            };
            Guard::new(who, "policy.upload", key, &(name, sum))?
        }
    };
    if let Some(answered) = answered(cx, guard.as_ref()).await? {
        return Ok(answered);
    }
    let turn = cx.gathered.policies.turn().await?;
    let checked = source::blocking(move || {
        let _turn = turn;
        check::check_sent(sent)
    })
    .await??;
    keep(cx, who, name, checked, guard).await
}

async fn answered(cx: &Ctx, guard: Option<&Guard>) -> Result<Option<Uploaded>, Fault> {
    let Some(guard) = guard else { return Ok(None) };
    let mut tx = cx.store.read().await?;
    let answer: Option<(PolicyVersion, bool)> = guard.answer(cx, &mut tx).await?;
    Ok(answer.map(|(version, created)| Uploaded { version, created, replayed: true }))
}

async fn keep(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    checked: Checked,
    guard: Option<Guard>,
) -> Result<Uploaded, Fault> {
    let now = cx.now().trunc_subsecs(6);
    let mut tx = cx.store.begin().await?;
    let last = tx.lock_policy(name, now).await?;
    let newest = tx.policy(name).await?;
    let same = newest.as_ref().filter(|pack| pack.latest.digest == checked.digest());
    let (version, created) = if let Some(pack) = same {
        (pack.latest.clone(), false)
    } else {
        if last == 0 && tx.policy_count().await? > MAX_PACKS {
            return Err(Fault::field("/name", format!("there are {MAX_PACKS} packs, the most")));
        }
        if newest.is_some_and(|pack| pack.versions >= MAX_VERSIONS) {
            return Err(Fault::field(
                "/name",
                format!("the pack has {MAX_VERSIONS} versions, the most; remove old ones"),
            ));
        }
        let version = PolicyVersion {
            created_at: Some(now),
            created_by: Some(who.actor.clone()),
            ..checked.version(name, last + 1)
        };
        tx.insert_policy_version(&version, &checked.modules(), now).await?;
        let detail = serde_json::json!({
            "version": version.version, "digest": version.digest, "files": version.files,
            "tests_passed": version.tests_passed,
        });
        audit(cx, &mut tx, who, "policy.upload", name.to_owned(), detail).await?;
        (version, true)
    };
    let answer = (version, created);
    if let Some(guard) = &guard
        && !guard.keep(cx, &mut tx, &answer).await?
    {
        // Somebody sent the same request at the same time and was first.
        tx.rollback().await?;
        return answered(cx, Some(guard)).await?.ok_or_else(|| {
            Fault::new(
                Code::IdempotencyInFlight,
                "A request with this idempotency key is being answered. Try again in a moment.",
            )
        });
    }
    tx.commit().await?;
    let (version, created) = answer;
    if created {
        tracing::info!(
            policy = name,
            version = version.version,
            by = who.actor.id,
            "policy pack uploaded"
        );
    }
    Ok(Uploaded { version, created, replayed: false })
}

/// Every pack, the built-in one first.
pub async fn list(cx: &Ctx, who: &Principal) -> Result<Vec<PolicyPack>, Fault> {
    who.need_somewhere(Scope::PoliciesRead)?;
    let mut packs = vec![shipped(cx).await?];
    let uploaded = cx.store.read().await?.policies(MAX_PACKS).await?;
    packs.extend(uploaded.into_iter().map(pack));
    Ok(packs)
}

/// One pack.
pub async fn get(cx: &Ctx, who: &Principal, name: &str) -> Result<PolicyPack, Fault> {
    who.need_somewhere(Scope::PoliciesRead)?;
    if name == SHIPPED {
        return shipped(cx).await;
    }
    let found = cx.store.read().await?.policy(name).await?;
    found.map(pack).ok_or_else(|| no_pack(name))
}

fn pack(found: slipway_store::policy::Pack) -> PolicyPack {
    PolicyPack {
        name: found.latest.name.clone(),
        origin: PackOrigin::Uploaded,
        versions: u32::try_from(found.versions).unwrap_or(u32::MAX),
        latest: found.latest,
    }
}

async fn shipped(cx: &Ctx) -> Result<PolicyPack, Fault> {
    let latest = shipped_version(cx).await?;
    Ok(PolicyPack { name: SHIPPED.to_owned(), origin: PackOrigin::BuiltIn, versions: 1, latest })
}

async fn shipped_version(cx: &Ctx) -> Result<PolicyVersion, Fault> {
    let engine = cx.gathered.policies.shipped().await?;
    Ok(PolicyVersion {
        name: SHIPPED.to_owned(),
        version: 0,
        digest: engine.digest().to_owned(),
        files: Pack::shipped().modules().iter().map(|module| module.path.clone()).collect(),
        rules: check::rules_of(&engine),
        tests_passed: 0,
        created_at: None,
        created_by: None,
    })
}

fn no_pack(name: &str) -> Fault {
    Fault::not_found("policy pack", name.chars().take(80).collect::<String>())
}

fn no_version(name: &str, version: i32) -> Fault {
    let name: String = name.chars().take(80).collect();
    Fault::not_found("version", format!("{version} of the policy pack {name}"))
}

/// The versions of a pack, newest first.
pub async fn versions(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    page: PageRequest,
) -> Result<Page<PolicyVersion>, Fault> {
    who.need_somewhere(Scope::PoliciesRead)?;
    if name == SHIPPED {
        return Ok(Page { items: vec![shipped_version(cx).await?], next_cursor: None });
    }
    let mut tx = cx.store.read().await?;
    let rows = tx.policy_versions(name, page.below(), i64::from(page.limit) + 1).await?;
    if rows.is_empty() && tx.policy(name).await?.is_none() {
        return Err(no_pack(name));
    }
    Ok(Page::of_numbered(rows, page, |row| i64::from(row.version)))
}

/// One version; 0 for that of the built-in pack.
pub async fn version(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    number: i32,
) -> Result<PolicyVersion, Fault> {
    who.need_somewhere(Scope::PoliciesRead)?;
    if name == SHIPPED && number == 0 {
        return shipped_version(cx).await;
    }
    let found = cx.store.read().await?.policy_version(name, Some(number)).await?;
    found.ok_or_else(|| no_version(name, number))
}

/// The files of a version.
pub async fn modules(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    number: i32,
) -> Result<Vec<PolicyModule>, Fault> {
    who.need_somewhere(Scope::PoliciesRead)?;
    if name == SHIPPED && number == 0 {
        return Ok(check::modules_of(&Pack::shipped()));
    }
    let found = cx.store.read().await?.policy_modules(name, number).await?;
    found.ok_or_else(|| no_version(name, number))
}

/// Removes a version that no settings name. Its number is not given out again.
pub async fn remove(cx: &Ctx, who: &Principal, name: &str, number: i32) -> Result<(), Fault> {
    who.need(Scope::PoliciesWrite)?;
    if name == SHIPPED {
        return Err(Fault::new(Code::PolicyInUse, "The built-in pack cannot be removed."));
    }
    let mut tx = cx.store.begin().await?;
    tx.lock_policies(&[name]).await?;
    let Some(found) = tx.policy_version(name, Some(number)).await? else {
        return Err(no_version(name, number));
    };
    let newest = tx.policy_digest(name, None).await?.is_some_and(|(newest, _)| newest == number);
    let used = tx.policy_uses(name).await?;
    let by = used.iter().find(|(_, wanted)| wanted.map_or(newest, |wanted| wanted == number));
    if let Some((holder, wanted)) = by {
        let how = if wanted.is_some() { "name this version" } else { "take the newest version" };
        return Err(Fault::new(
            Code::PolicyInUse,
            format!("The settings of {holder} {how} of the pack {name}. Change them first."),
        ));
    }
    tx.delete_policy_version(name, number).await?;
    let detail = serde_json::json!({"version": number, "digest": found.digest});
    audit(cx, &mut tx, who, "policy.remove", name.to_owned(), detail).await?;
    tx.commit().await?;
    tracing::info!(policy = name, version = number, by = who.actor.id, "policy version removed");
    Ok(())
}

/// Checks policy settings and notes which packs they name, in the unit of work that keeps them:
/// packs that are not there are refused, and those that are cannot be removed while they are named.
/// `holder` says whose settings these are, e.g. `project shop`; `None` lets go of what they named.
/// `at` is the pointer of the settings in the request.
pub async fn name_packs(
    tx: &mut Tx,
    holder: &str,
    settings: Option<&PolicySettings>,
    at: &str,
) -> Result<(), Fault> {
    let Some(settings) = settings else { return Ok(tx.set_policy_uses(holder, &[]).await?) };
    let mut problems = settings.problems(at);
    if problems.is_empty() {
        let uploaded: Vec<_> =
            settings.packs.iter().enumerate().filter(|(_, pack)| pack.name != SHIPPED).collect();
        let names: Vec<&str> = uploaded.iter().map(|(_, pack)| pack.name.as_str()).collect();
        tx.lock_policies(&names).await?;
        for (n, pack) in uploaded {
            if tx.policy_digest(&pack.name, pack.version).await?.is_none() {
                let which = pack.version.map_or_else(
                    || format!("pack {}", pack.name),
                    |version| format!("version {version} of the pack {}", pack.name),
                );
                problems.push(FieldError::at(
                    format!("{at}/packs/{n}"),
                    format!("there is no {which}; see GET /api/v1/policies"),
                ));
            }
        }
    }
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    Ok(tx.set_policy_uses(holder, &settings.packs).await?)
}
