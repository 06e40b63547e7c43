//! Publishing templates: new versions, taking them out of offer, deleting them. What would not be
//! accepted stores nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::{Principal, Scope};
use slipway_domain::artifact::{ArtifactKind, digest};
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::id::ArtifactId;
use slipway_domain::port::driver::Inspection;
use slipway_domain::stack::is_name;
use slipway_domain::template::{Template, TemplateState, TemplateVersion};
use slipway_domain::tree::Entry;
use slipway_store::Tx;
use slipway_store::template::{Deleted, Head, Record};
use utoipa::ToSchema;

use crate::deployment::checked_text;
use crate::idempotency::Guard;
use crate::library::Manifest;
use crate::template::{missing, no_version, shown};
use crate::{Ctx, change, source};

/// Most templates that can be published.
const MAX_TEMPLATES: i64 = 1000;
/// Most versions of one template.
const MAX_VERSIONS: usize = 1000;
/// Largest source tree of a template, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// Longest title, in characters.
const MAX_TITLE: usize = 200;
/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 4000;
/// Most labels.
const MAX_LABELS: usize = 50;
/// Longest value of a label, in characters.
const MAX_LABEL: usize = 200;

/// A request to publish a template, or its next version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Its name.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub name: String,
    /// One line about it. When absent: what `template.toml` says, or what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it makes and when to use it. When absent: what `template.toml` says, or what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is about, e.g. `storage`. When absent: what `template.toml` says, or what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Labels by name. When absent: what `template.toml` says, or what they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The newest version that the publisher knows of, 0 for none. When another one is the newest,
    /// nothing is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub expected_version: Option<i32>,
}

/// What a publisher gets.
#[derive(Debug, Clone)]
pub struct Published {
    /// The template.
    pub template: Template,
    /// Whether a version was made: no, when the newest one has the same content.
    pub created: bool,
    /// Whether this is the stored answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// What is kept for an idempotency key.
#[derive(Serialize, Deserialize)]
struct Answer {
    template: Template,
    created: bool,
}

/// A template that has been read and found good.
struct Checked {
    digest: String,
    inspection: Inspection,
    packed: Bytes,
    manifest: Option<Manifest>,
}

/// Publishes a template: its first version, or the next one. The archive is a `tar.gz` with the
/// root module at its top.
pub async fn publish(
    cx: &Ctx,
    who: &Principal,
    request: Publish,
    archive: Bytes,
    idempotency_key: Option<&str>,
) -> Result<Published, Fault> {
    who.need(Scope::TemplatesWrite)?;
    let guard = match idempotency_key {
        None => None,
        key => Guard::new(who, "template.publish", key, &(&request, digest(&archive)))?,
    };
    if let Some(answered) = answered(cx, guard.as_ref()).await? {
        return Ok(answered);
    }
    on_its_face(&request)?;
    if let Some(own) = cx.templates.get(&request.name) {
        return Err(reserved(&own.template.name));
    }
    let checked = check(cx, archive).await?;
    let id = ArtifactId::new(&*cx.mint);
    let sealed =
        cx.store.seal_artifact(id, ArtifactKind::Source, &checked.packed, cx.now()).await?;
    let mut tx = cx.store.begin().await?;
    let recorded = async {
        let (head, newest) = head(cx, &mut tx, &request, checked.manifest.as_ref()).await?;
        let same = newest.filter(|newest| newest.version.digest == checked.digest);
        let created = same.is_none();
        let record = if let Some(record) = same {
            record
        } else {
            tx.insert_artifact(&sealed).await?;
            let record = Record {
                archive: id,
                version: TemplateVersion {
                    name: head.name.clone(),
                    version: head.last_version + 1,
                    state: TemplateState::Active,
                    reason: None,
                    digest: checked.digest.clone(),
                    inputs: checked.inspection.inputs.clone(),
                    published_by: Some(who.actor.clone()),
                    published_at: Some(cx.now()),
                },
            };
            tx.insert_template_version(&record).await?;
            record
        };
        let head = Head { last_version: head.last_version + i32::from(created), ..head };
        tx.update_template(&head).await?;
        let detail = serde_json::json!({
            "version": record.version.version, "digest": &record.version.digest,
            "created": created,
        });
        let target = head.name.clone();
        change::audit(cx, &mut tx, who, "template.publish", target, detail).await?;
        // What is offered may be an older one, when the newest is deprecated.
        let offered = tx.offered_version(&head.name).await?.unwrap_or(record);
        let answer = Answer { template: shown(head, offered), created };
        let kept = match &guard {
            Some(guard) => guard.keep(cx, &mut tx, &answer).await?,
            None => true,
        };
        Ok::<_, Fault>((answer, kept))
    }
    .await;
    let (answer, kept) = match recorded {
        Ok(recorded) => recorded,
        Err(fault) => {
            tx.rollback().await?;
            cx.store.discard_artifact(sealed).await;
            return Err(fault);
        }
    };
    if !kept {
        // Somebody sent the same request at the same time and was first.
        tx.rollback().await?;
        cx.store.discard_artifact(sealed).await;
        return answered(cx, guard.as_ref()).await?.ok_or_else(|| {
            Fault::new(
                Code::IdempotencyInFlight,
                "A request with this idempotency key is being answered. Try again in a moment.",
            )
        });
    }
    tx.commit().await?;
    let Answer { template, created } = answer;
    if created {
        tracing::info!(
            template = template.name,
            version = template.latest_version,
            by = who.actor.id,
            "template published"
        );
    } else {
        cx.store.discard_artifact(sealed).await;
    }
    Ok(Published { template, created, replayed: false })
}

async fn answered(cx: &Ctx, guard: Option<&Guard>) -> Result<Option<Published>, Fault> {
    let Some(guard) = guard else { return Ok(None) };
    let mut tx = cx.store.read().await?;
    let answer: Option<Answer> = guard.answer(cx, &mut tx).await?;
    Ok(answer.map(|Answer { template, created }| Published { template, created, replayed: true }))
}

/// The template's head as it will be, with the number of the last version that there is, and that
/// version. The head is locked.
async fn head(
    cx: &Ctx,
    tx: &mut Tx,
    request: &Publish,
    manifest: Option<&Manifest>,
) -> Result<(Head, Option<Record>), Fault> {
    let now = cx.now();
    let name = &request.name;
    let mut before = tx.lock_template(name).await?;
    let is_new = before.is_none();
    let last = before.as_ref().map_or(0, |head| head.last_version);
    if let Some(expected) = request.expected_version
        && expected != last
    {
        return Err(changed(name, expected, last));
    }
    let title = request.title.clone().or_else(|| Some(manifest?.title.clone()));
    let title = title.or_else(|| Some(before.as_ref()?.title.clone())).ok_or_else(|| {
        Fault::field("/title", "title is missing: give it here, or put it into template.toml")
    })?;
    let description = request.description.clone().or_else(|| Some(manifest?.description.clone()));
    let description = description.or_else(|| Some(before.as_ref()?.description.clone()));
    let category = request.category.clone().or_else(|| manifest?.category.clone());
    let labels = request.labels.clone().or_else(|| Some(manifest?.labels.clone()));
    let head = Head {
        name: name.clone(),
        title,
        description: description.unwrap_or_default(),
        category: category.or_else(|| before.as_ref()?.category.clone()),
        labels: labels.or_else(|| Some(before.as_ref()?.labels.clone())).unwrap_or_default(),
        last_version: last,
        created_at: before.as_ref().map_or(now, |head| head.created_at),
        updated_at: now,
    };
    about(&head)?;
    if is_new {
        if tx.count_templates().await? >= MAX_TEMPLATES {
            return Err(Fault::field(
                "/name",
                format!("there are {MAX_TEMPLATES} templates already; delete some first"),
            ));
        }
        if !tx.insert_template(&head).await? {
            // Somebody publishes the first version at the same time, and was first.
            before = tx.lock_template(name).await?;
            let last = before.map_or(0, |head| head.last_version);
            return Err(changed(name, 0, last));
        }
        return Ok((head, None));
    }
    let versions = tx.template_versions(name).await?;
    if versions.len() >= MAX_VERSIONS {
        return Err(Fault::field(
            "/name",
            format!("the template has {MAX_VERSIONS} versions already; delete some first"),
        ));
    }
    Ok((head, versions.into_iter().next()))
}

fn changed(name: &str, expected: i32, last: i32) -> Fault {
    Fault::new(
        Code::Conflict,
        format!(
            "The newest version of the template {name} is {last}, not {expected}: somebody \
             published it meanwhile. Look at what is new and publish again."
        ),
    )
}

fn reserved(name: &str) -> Fault {
    Fault::new(
        Code::TemplateReserved,
        format!(
            "The template {name} comes with this installation (built in, or in the operator's \
             directory), so that nothing can be published, changed or deleted under its name."
        ),
    )
}

/// What is wrong with a request whatever the archive.
fn on_its_face(request: &Publish) -> Result<(), Fault> {
    let mut problems = Vec::new();
    if !is_name(&request.name) {
        problems.push(FieldError::at(
            "/name",
            "name must be 1 to 63 lower-case letters, digits, '-' or '_', starting with a letter \
             or digit",
        ));
    }
    if request.expected_version.is_some_and(|version| version < 0) {
        problems.push(FieldError::at("/expected_version", "versions count from 1; 0 is for none"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Fault::fields(Code::InvalidInput, problems)) }
}

/// What is wrong with what is said about a template.
fn about(head: &Head) -> Result<(), Fault> {
    let mut problems = Vec::new();
    let mut text = |field: &str, text: &str, most: usize, lines: bool| {
        let control = |c: char| c.is_control() && !(lines && matches!(c, '\n' | '\t'));
        if text.chars().count() > most {
            problems.push(FieldError::at(field, format!("at most {most} characters")));
        } else if text.chars().any(control) {
            problems.push(FieldError::at(field, "no control characters"));
        }
    };
    text("/title", &head.title, MAX_TITLE, false);
    text("/description", &head.description, MAX_DESCRIPTION, true);
    for value in head.labels.values() {
        text("/labels", value, MAX_LABEL, false);
    }
    if !head.labels.keys().all(|name| is_name(name)) {
        problems.push(FieldError::at(
            "/labels",
            "a label's name is 1 to 63 lower-case letters, digits, '-' or '_'",
        ));
    }
    if head.title.trim().is_empty() {
        problems.push(FieldError::at("/title", "title must not be empty"));
    }
    if head.category.as_deref().is_some_and(|category| !is_name(category)) {
        problems.push(FieldError::at(
            "/category",
            "category must be 1 to 63 lower-case letters, digits, '-' or '_'",
        ));
    }
    if head.labels.len() > MAX_LABELS {
        problems.push(FieldError::at("/labels", format!("at most {MAX_LABELS} labels")));
    }
    if problems.is_empty() { Ok(()) } else { Err(Fault::fields(Code::InvalidInput, problems)) }
}

/// Reads an archive and refuses what is no good template.
async fn check(cx: &Ctx, archive: Bytes) -> Result<Checked, Fault> {
    let tree = source::unpack_some(cx, archive).await?;
    if let Some((path, _)) = tree.entries().find(|(_, entry)| matches!(entry, Entry::Link { .. })) {
        let path: String = path.chars().take(200).collect();
        return Err(Fault::fields(
            Code::UnsafeArchive,
            vec![FieldError::at(
                "/archive",
                format!("{path:?} is a symbolic link; a template holds files only"),
            )],
        ));
    }
    if tree.size() > MAX_BYTES {
        return Err(Fault::fields(
            Code::TooLarge,
            vec![FieldError::at(
                "/archive",
                format!("the files of a template may have {} MiB together", MAX_BYTES >> 20),
            )],
        ));
    }
    let inspection = source::inspect(cx, tree.clone(), None).await.map_err(|mut fault| {
        for error in &mut fault.errors {
            "/archive".clone_into(&mut error.pointer);
        }
        fault
    })?;
    let untyped: Vec<_> = inspection
        .inputs
        .iter()
        .filter(|input| input.kind == "any")
        .map(|input| {
            let detail =
                format!("the input {:?} has no type: write one, e.g. type = string", input.name);
            FieldError::at("/archive", detail)
        })
        .collect();
    if !untyped.is_empty() {
        return Err(Fault::fields(Code::InvalidConfiguration, untyped));
    }
    let manifest = Manifest::of(&tree).transpose().map_err(|why| {
        Fault::fields(Code::InvalidConfiguration, vec![FieldError::at("/archive", why)])
    })?;
    let digest = tree.digest();
    let packed = source::blocking(move || source::pack(&tree)).await??;
    Ok(Checked { digest, inspection, packed, manifest })
}

/// A request to take a template out of offer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deprecate {
    /// Only this version; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub version: Option<i32>,
    /// Why, and what to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A request to offer a template again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Only this version; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub version: Option<i32>,
}

/// Takes a version of a template, or all of them, out of offer. Who names the version still gets it.
pub async fn deprecate(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    request: Deprecate,
) -> Result<Template, Fault> {
    who.need(Scope::TemplatesWrite)?;
    let reason = checked_text("reason", request.reason)?;
    set_state(cx, who, name, request.version, Offer::Deprecated(reason)).await
}

/// Offers a version of a template, or all of them, again.
pub async fn restore(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    request: Restore,
) -> Result<Template, Fault> {
    who.need(Scope::TemplatesWrite)?;
    set_state(cx, who, name, request.version, Offer::Restored).await
}

/// Whether a template is still offered.
enum Offer {
    /// Not any more, and why.
    Deprecated(Option<String>),
    /// Again.
    Restored,
}

async fn set_state(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    version: Option<i32>,
    offer: Offer,
) -> Result<Template, Fault> {
    if let Some(own) = cx.templates.get(name) {
        return Err(reserved(&own.template.name));
    }
    let mut tx = cx.store.begin().await?;
    let head = tx.lock_template(name).await?.ok_or_else(|| missing(name))?;
    if let Some(version) = version
        && tx.template_version(name, version).await?.is_none()
    {
        return Err(no_version(name, version));
    }
    let now = cx.now();
    let state = match &offer {
        Offer::Deprecated(reason) => Some((now, reason.as_deref())),
        Offer::Restored => None,
    };
    tx.set_template_state(name, version, state).await?;
    let head = Head { updated_at: now, ..head };
    tx.update_template(&head).await?;
    let (action, detail) = match &offer {
        Offer::Deprecated(reason) => {
            ("template.deprecate", serde_json::json!({"version": version, "reason": reason}))
        }
        Offer::Restored => ("template.restore", serde_json::json!({"version": version})),
    };
    change::audit(cx, &mut tx, who, action, name.to_owned(), detail).await?;
    let offered = tx.offered_version(name).await?.ok_or_else(|| missing(name))?;
    tx.commit().await?;
    Ok(shown(head, offered))
}

/// Deletes a version of a template that no deployment names. With the last one the template goes.
pub async fn delete_version(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    version: i32,
) -> Result<(), Fault> {
    who.need(Scope::TemplatesWrite)?;
    if let Some(own) = cx.templates.get(name) {
        return Err(reserved(&own.template.name));
    }
    let mut tx = cx.store.begin().await?;
    let head = tx.lock_template(name).await?.ok_or_else(|| missing(name))?;
    let record = tx.template_version(name, version).await?;
    let record = record.ok_or_else(|| no_version(name, version))?;
    let location = match tx.delete_template_version(&record).await? {
        Deleted::Gone(location) => location,
        Deleted::InUse => {
            return Err(Fault::new(
                Code::TemplateInUse,
                format!(
                    "Deployments name version {version} of the template {name}, and their history \
                     needs it. Deprecate it instead: nobody gets it by default then."
                ),
            ));
        }
    };
    if tx.offered_version(name).await?.is_none() {
        tx.delete_template(name).await?;
    } else {
        tx.update_template(&Head { updated_at: cx.now(), ..head }).await?;
    }
    let detail = serde_json::json!({"version": version, "digest": record.version.digest});
    change::audit(cx, &mut tx, who, "template.delete", name.to_owned(), detail).await?;
    tx.commit().await?;
    cx.store.delete_objects(location.into_iter().collect()).await;
    tracing::info!(template = name, version, by = who.actor.id, "version of a template deleted");
    Ok(())
}
