//! The template library: seeing templates, rendering them, and choosing one for a deployment.
//! Publishing them is in `publish.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::{Principal, Scope};
use slipway_domain::deployment::Variables;
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::port::driver::Inspection;
use slipway_domain::secret::MASK;
use slipway_domain::template::{
    Rendered, RenderedFile, Template, TemplateSource, TemplateState, TemplateVersion,
};
use slipway_domain::tree::{Entry, Tree};
use slipway_store::template::{Head, Record};
use utoipa::ToSchema;

use crate::Ctx;
use crate::library::VERSION;
pub use crate::library::{Library, Loaded};
pub use crate::publish::{
    Deprecate, Publish, Published, Restore, delete_version, deprecate, publish, restore,
};
use crate::setting::usage::Checkable;
use crate::source::{self, Content};

/// Longest file whose text a rendering shows, in bytes.
const MAX_SHOWN_FILE: usize = 256 << 10;
/// Text of all files that a rendering shows, in bytes.
const MAX_SHOWN: usize = 1 << 20;

/// Every template, by name. One of the installation hides a published one of its name.
pub async fn list(cx: &Ctx, who: &Principal) -> Result<Vec<Template>, Fault> {
    who.need_somewhere(Scope::TemplatesRead)?;
    let mut tx = cx.store.read().await?;
    let heads = tx.templates().await?;
    let mut offered = tx.offered_versions().await?;
    drop(tx);
    let mut all: Vec<_> = cx.templates.all().map(|loaded| loaded.template.clone()).collect();
    for head in heads {
        let place = offered.iter().position(|record| record.version.name == head.name);
        // Between the two statements it may have come or gone.
        let Some(place) = place else { continue };
        let record = offered.swap_remove(place);
        if cx.templates.get(&head.name).is_none() {
            all.push(shown(head, record));
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// One template.
pub async fn get(cx: &Ctx, who: &Principal, name: &str) -> Result<Template, Fault> {
    who.need_somewhere(Scope::TemplatesRead)?;
    if let Some(loaded) = cx.templates.get(name) {
        return Ok(loaded.template.clone());
    }
    let mut tx = cx.store.read().await?;
    let head = tx.template(name).await?.ok_or_else(|| missing(name))?;
    let record = tx.offered_version(name).await?.ok_or_else(|| missing(name))?;
    Ok(shown(head, record))
}

/// The versions of a template, newest first.
pub async fn versions(
    cx: &Ctx,
    who: &Principal,
    name: &str,
) -> Result<Vec<TemplateVersion>, Fault> {
    who.need_somewhere(Scope::TemplatesRead)?;
    if let Some(loaded) = cx.templates.get(name) {
        return Ok(vec![only_version(loaded)]);
    }
    let records = cx.store.read().await?.template_versions(name).await?;
    if records.is_empty() {
        return Err(missing(name));
    }
    Ok(records.into_iter().map(|record| record.version).collect())
}

/// One version of a template.
pub async fn version(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    version: i32,
) -> Result<TemplateVersion, Fault> {
    who.need_somewhere(Scope::TemplatesRead)?;
    if let Some(loaded) = cx.templates.get(name) {
        return match version {
            VERSION => Ok(only_version(loaded)),
            other => Err(no_version(name, other)),
        };
    }
    let record = cx.store.read().await?.template_version(name, version).await?;
    record.map(|record| record.version).ok_or_else(|| no_version(name, version))
}

/// The source tree of a template as a `tar.gz`, and the number of the version that it is.
pub async fn download(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    version: Option<i32>,
) -> Result<(i32, bytes::Bytes), Fault> {
    who.need_somewhere(Scope::TemplatesRead)?;
    match find(cx, name, version).await? {
        Found::Own(loaded) => Ok((VERSION, loaded.archive.content.clone())),
        Found::Published(record) => {
            let (_, content) = open(cx, &record).await?;
            Ok((record.version.version, content))
        }
    }
}

async fn open(
    cx: &Ctx,
    record: &Record,
) -> Result<(slipway_domain::artifact::Artifact, bytes::Bytes), Fault> {
    let found = cx.store.open_artifact(record.archive).await?;
    // Deleted since it was found.
    found.ok_or_else(|| no_version(&record.version.name, record.version.version))
}

/// A request to see a template as it would be deployed.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Render {
    /// Which version; the newest active one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub version: Option<i32>,
    /// Values of its inputs.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub variables: Variables,
}

impl std::fmt::Debug for Render {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.variables.keys().collect();
        f.debug_struct("Render").field("version", &self.version).field("names", &names).finish()
    }
}

/// Shows a template as it would be deployed with some values, which are checked as those of a
/// deployment are. Nothing is kept.
pub async fn render(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    request: Render,
) -> Result<Rendered, Fault> {
    who.need_somewhere(Scope::TemplatesRead)?;
    let mut variables = request.variables;
    let (version, inspection, tree) = match find(cx, name, request.version).await? {
        Found::Own(loaded) => (VERSION, loaded.inspection.clone(), loaded.tree.clone()),
        Found::Published(record) => {
            let (tree, inspection) = read(cx, &record).await?;
            (record.version.version, inspection, tree)
        }
    };
    source::fits(cx, &inspection, &Checkable::plain(&variables))?;
    let sensitive = inspection.sensitive();
    let mut masked = Vec::new();
    for (name, value) in &mut variables {
        if sensitive.contains(name) && !value.is_null() {
            *value = MASK.into();
            masked.push(name.clone());
        }
    }
    Ok(Rendered {
        name: name.to_owned(),
        version,
        digest: tree.digest(),
        files: files(&tree),
        tfvars: cx.inspector.render(&variables),
        tfvars_json: variables,
        masked,
    })
}

fn files(tree: &Tree) -> Vec<RenderedFile> {
    let mut left = MAX_SHOWN;
    let file = |(path, entry): (&str, &Entry)| {
        let (content, size) = match entry {
            Entry::File { content, .. } => {
                let fits = content.len() <= MAX_SHOWN_FILE.min(left);
                let text = std::str::from_utf8(content).ok().filter(|_| fits);
                left -= text.map_or(0, str::len);
                (text.map(str::to_owned), content.len())
            }
            Entry::Link { .. } => (None, 0),
        };
        RenderedFile { path: path.to_owned(), content, size_bytes: size as u64 }
    };
    tree.entries().map(file).collect()
}

/// A version of a template that somebody wants to use.
enum Found<'a> {
    /// One of the installation.
    Own(&'a Loaded),
    /// A published one.
    Published(Record),
}

/// The version of a template that is named, or the newest active one.
async fn find<'a>(cx: &'a Ctx, name: &str, version: Option<i32>) -> Result<Found<'a>, Fault> {
    if let Some(loaded) = cx.templates.get(name) {
        return match version {
            None | Some(VERSION) => Ok(Found::Own(loaded)),
            Some(other) => Err(no_version(name, other)),
        };
    }
    let mut tx = cx.store.read().await?;
    let record = match version {
        Some(version) => {
            tx.template_version(name, version).await?.ok_or_else(|| no_version(name, version))?
        }
        None => tx.offered_version(name).await?.ok_or_else(|| missing(name))?,
    };
    if version.is_none() && record.version.state == TemplateState::Deprecated {
        let because = record.version.reason.as_deref().unwrap_or_default();
        let because = if because.is_empty() { String::new() } else { format!(": {because}") };
        return Err(Fault::field(
            "/version",
            format!(
                "the template {name:?} is deprecated{because}. To use it all the same, name a \
                 version; the newest is {}",
                record.version.version
            ),
        ));
    }
    Ok(Found::Published(record))
}

/// The tree of a published version, and what the inspector reads in it now.
async fn read(cx: &Ctx, record: &Record) -> Result<(Tree, Inspection), Fault> {
    let tree = match source::kept(cx, record.archive).await {
        Ok(tree) => tree,
        // Deleted since it was found.
        Err(fault) => {
            let mut tx = cx.store.read().await?;
            let gone = tx.artifact(record.archive).await?.is_none();
            let of = &record.version;
            return Err(if gone { no_version(&of.name, of.version) } else { fault });
        }
    };
    let inspection = source::inspect(cx, tree.clone(), None).await?;
    Ok((tree, inspection))
}

/// A template that was chosen for a deployment.
pub(crate) struct Chosen {
    /// Which version.
    pub(crate) version: i32,
    /// What it takes.
    pub(crate) inspection: Inspection,
    /// Its archive.
    pub(crate) content: Content,
}

/// Chooses the version of a template that a deployment gets.
pub(crate) async fn choose(cx: &Ctx, name: &str, version: Option<i32>) -> Result<Chosen, Fault> {
    let found = match find(cx, name, version).await {
        // In a deployment's request, template and version are parts of its source.
        Err(fault) if fault.code == Code::NotFound && version.is_some() => {
            Err(Fault::field("/source/version", fault.detail))
        }
        Err(fault) if fault.code == Code::NotFound => Err(unknown(cx, name).await?),
        Err(fault) => Err(prefixed(fault, "/source")),
        Ok(found) => Ok(found),
    }?;
    match found {
        Found::Own(loaded) => Ok(Chosen {
            version: VERSION,
            inspection: loaded.inspection.clone(),
            content: Content::Template(loaded.archive.clone()),
        }),
        Found::Published(record) => {
            let (_, inspection) = read(cx, &record).await?;
            let content = Content::Kept(record.archive);
            Ok(Chosen { version: record.version.version, inspection, content })
        }
    }
}

/// Nothing is called so; these are.
async fn unknown(cx: &Ctx, name: &str) -> Result<Fault, Fault> {
    const SHOWN: usize = 50;
    let published = cx.store.read().await?.templates().await?;
    let own = cx.templates.all().map(|loaded| loaded.template.name.as_str());
    let mut known: Vec<_> = own.chain(published.iter().map(|head| head.name.as_str())).collect();
    known.sort_unstable();
    known.dedup();
    let more = if known.len() > SHOWN { " and more" } else { "" };
    known.truncate(SHOWN);
    let name: String = name.chars().take(80).collect();
    let known = known.join(", ");
    let detail = format!("there is no template {name:?}; known are {known}{more}");
    Ok(Fault::field("/source/name", detail))
}

/// The same fault with pointers below another field.
fn prefixed(mut fault: Fault, below: &str) -> Fault {
    for FieldError { pointer, .. } in &mut fault.errors {
        pointer.insert_str(0, below);
    }
    fault
}

fn only_version(loaded: &Loaded) -> TemplateVersion {
    let template = &loaded.template;
    TemplateVersion {
        name: template.name.clone(),
        version: VERSION,
        state: TemplateState::Active,
        reason: None,
        digest: template.digest.clone(),
        inputs: template.inputs.clone(),
        published_by: None,
        published_at: None,
    }
}

pub(crate) fn shown(head: Head, record: Record) -> Template {
    Template {
        name: head.name,
        title: head.title,
        description: head.description,
        category: head.category,
        labels: head.labels,
        source: TemplateSource::Uploaded,
        state: record.version.state,
        version: record.version.version,
        latest_version: head.last_version,
        inputs: record.version.inputs,
        digest: record.version.digest,
        created_at: Some(head.created_at),
        updated_at: Some(head.updated_at),
    }
}

pub(crate) fn missing(name: &str) -> Fault {
    Fault::not_found("template", name.chars().take(80).collect::<String>())
}

pub(crate) fn no_version(name: &str, version: i32) -> Fault {
    let name: String = name.chars().take(80).collect();
    Fault::not_found("version", format!("{version} of a template {name}"))
}

/// A version was deleted between being chosen and being used.
pub(crate) fn gone(name: &str, version: i32) -> Fault {
    Fault::new(
        Code::Conflict,
        format!("Version {version} of the template {name} was deleted at the same time."),
    )
}
