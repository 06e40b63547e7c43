//! Turns what a submitter names into what a worker gets: an archive that is known to be safe and
//! whose variables are known to fit, or a git repository to fetch.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use slipway_domain::artifact::ArtifactKind;
use slipway_domain::deployment::Variables;
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::id::ArtifactId;
use slipway_domain::port::driver::Inspection;
use slipway_domain::secret::MASK;
use slipway_domain::source::Source;
use slipway_domain::tree::Tree;
use slipway_domain::variable::Hidden;

use crate::Ctx;
use crate::library::Shared;
use crate::setting::usage::Checkable;
use crate::template;

/// The archive of a source.
pub(crate) enum Content {
    /// There is none yet; a worker fetches it.
    Unfetched,
    /// It is kept already.
    Kept(ArtifactId),
    /// It is to be kept under this id.
    New(ArtifactId, Bytes),
    /// That of a template: the first deployment of a process keeps it, and the others share it.
    Template(Arc<Shared>),
}

/// A source that is ready to be recorded.
pub(crate) struct Resolved {
    /// Its archive.
    pub content: Content,
    /// Directory of the root module.
    pub root: Option<String>,
    /// Which variables are hidden.
    pub hidden: Hidden,
    /// The version of the template, if it is one.
    pub version: Option<i32>,
}

/// Resolves `source` and checks `variables` against it. Nothing is written.
pub(crate) async fn resolve(
    cx: &Ctx,
    source: &Source,
    variables: &Checkable,
) -> Result<Resolved, Fault> {
    let problems = source.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    match source {
        Source::Template { name, version } => {
            let chosen = template::choose(cx, name, *version).await?;
            let hidden = fits(cx, &chosen.inspection, variables)?;
            let version = Some(chosen.version);
            Ok(Resolved { content: chosen.content, root: None, hidden, version })
        }
        Source::Archive { artifact_id, path } => {
            let found = cx.store.open_artifact(*artifact_id).await?;
            let (_, content) = found
                .filter(|(artifact, _)| artifact.kind == ArtifactKind::Source)
                .ok_or_else(|| no_upload(*artifact_id))?;
            let tree = unpack(cx, content).await?;
            let inspection = inspect(cx, tree, path.clone()).await?;
            let hidden = fits(cx, &inspection, variables)?;
            let content = Content::Kept(*artifact_id);
            Ok(Resolved { content, root: path.clone(), hidden, version: None })
        }
        Source::Git { url, path, .. } => {
            let refused = (url.starts_with("file://") && !cx.settings.git_allow_file)
                || (url.starts_with("http://") && !cx.settings.git_allow_http);
            if refused {
                return Err(Fault::fields(
                    Code::SourceNotAllowed,
                    vec![FieldError::at(
                        "/source/url",
                        "this kind of git URL is switched off here; use https:// or ssh://, or \
                         set source.git_allow_file / source.git_allow_http",
                    )],
                ));
            }
            let content = Content::Unfetched;
            Ok(Resolved { content, root: path.clone(), hidden: Hidden::All, version: None })
        }
        Source::Directory { path } => {
            let tree = read_directory(cx, path).await?;
            let archive = pack(&tree)?;
            let inspection = inspect(cx, tree, None).await?;
            let hidden = fits(cx, &inspection, variables)?;
            let content = Content::New(ArtifactId::new(&*cx.mint), archive);
            Ok(Resolved { content, root: None, hidden, version: None })
        }
    }
}

/// There is no such uploaded archive, or not any more.
pub(crate) fn no_upload(id: ArtifactId) -> Fault {
    Fault::field(
        "/source/artifact_id",
        format!("there is no uploaded archive {id}; upload one with POST /api/v1/artifacts"),
    )
}

/// Resolves an archive that came with the request, to be kept as `id`.
pub(crate) async fn resolve_sent(
    cx: &Ctx,
    id: ArtifactId,
    archive: Bytes,
    path: Option<String>,
    variables: &Checkable,
) -> Result<(Source, Resolved), Fault> {
    let source = Source::Archive { artifact_id: id, path: path.clone() };
    let problems = source.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let tree = unpack_some(cx, archive).await?;
    let inspection = inspect(cx, tree.clone(), path.clone()).await?;
    let hidden = fits(cx, &inspection, variables)?;
    let archive = blocking(move || pack(&tree)).await??;
    let content = Content::New(id, archive);
    let resolved = Resolved { content, root: path, hidden, version: None };
    Ok((source, resolved))
}

/// Checks `variables` against a source that was accepted before, and says which of them are
/// hidden: what its configuration hides, and what was hidden before. Where the configuration cannot
/// be read here (one from a repository that only Terraform understands), what is new is hidden too.
pub(crate) async fn hidden_of_kept(
    cx: &Ctx,
    artifact: ArtifactId,
    root: Option<String>,
    variables: &Checkable,
    before: &Variables,
) -> Result<Hidden, Fault> {
    let (_, content) = cx
        .store
        .open_artifact(artifact)
        .await?
        .ok_or_else(|| Fault::internal(format!("artifact {artifact} is gone")))?;
    let tree = unpack(cx, content).await?;
    let was_hidden = |name: &&String| match before.get(*name) {
        Some(shown) => shown.as_str() == Some(MASK),
        None => false,
    };
    let given = variables.values();
    let mut names: BTreeSet<String> = given.keys().filter(was_hidden).cloned().collect();
    match inspect(cx, tree, root).await {
        Ok(inspection) => {
            if let Hidden::Names(sensitive) = fits(cx, &inspection, variables)? {
                names.extend(sensitive);
            }
        }
        Err(_) => names.extend(given.keys().filter(|n| !before.contains_key(*n)).cloned()),
    }
    Ok(Hidden::Names(names))
}

/// Unpacks an uploaded archive and refuses one without files.
pub(crate) async fn unpack_some(cx: &Ctx, archive: Bytes) -> Result<Tree, Fault> {
    let tree = unpack(cx, archive).await?;
    if tree.is_empty() {
        return Err(Fault::fields(
            Code::UnsafeArchive,
            vec![FieldError::at("", "The archive holds no files.")],
        ));
    }
    Ok(tree)
}

/// Unpacks an archive in memory, off the async threads.
pub(crate) async fn unpack(cx: &Ctx, archive: Bytes) -> Result<Tree, Fault> {
    let limits = cx.settings.source_limits;
    blocking(move || Tree::from_tar_gz(&archive, limits)).await?.map_err(Fault::from)
}

/// The tree of an archive that is kept. The last few are remembered: the jobs of one deployment,
/// and those of one template, need the same one.
pub(crate) async fn kept(cx: &Ctx, id: ArtifactId) -> Result<Tree, Fault> {
    if let Some(tree) = cx.gathered.trees.get(id) {
        return Ok(tree);
    }
    let found = cx.store.open_artifact(id).await?;
    let (_, archive) = found.ok_or_else(|| Fault::internal(format!("artifact {id} is gone")))?;
    let tree = unpack(cx, archive).await?;
    cx.gathered.trees.put(id, &tree);
    Ok(tree)
}

/// Trees that were unpacked last. What an id names never changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trees(Arc<Mutex<VecDeque<(ArtifactId, Tree)>>>);

/// Trees that are remembered.
const TREES: usize = 16;
/// Bytes of files in a tree that is remembered.
const TREE_BYTES: usize = 1 << 20;

impl Trees {
    fn get(&self, id: ArtifactId) -> Option<Tree> {
        let mut trees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = trees.iter().position(|(other, _)| *other == id)?;
        let found = trees.remove(at)?;
        let tree = found.1.clone();
        trees.push_front(found);
        Some(tree)
    }

    fn put(&self, id: ArtifactId, tree: &Tree) {
        if tree.size() > TREE_BYTES {
            return;
        }
        let mut trees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trees.push_front((id, tree.clone()));
        trees.truncate(TREES);
    }
}

/// Packs a tree.
pub(crate) fn pack(tree: &Tree) -> Result<Bytes, Fault> {
    tree.to_tar_gz().map_err(Fault::internal)
}

/// Reads the configuration of a tree, off the async threads.
pub(crate) async fn inspect(
    cx: &Ctx,
    tree: Tree,
    root: Option<String>,
) -> Result<Inspection, Fault> {
    let inspector = cx.inspector.clone();
    blocking(move || inspector.inspect(&tree, root.as_deref()))
        .await?
        .map_err(|errors| Fault::fields(Code::InvalidConfiguration, errors))
}

/// Checks values against what a configuration takes, and says which of them are hidden.
pub(crate) fn fits(
    cx: &Ctx,
    inspection: &Inspection,
    variables: &Checkable,
) -> Result<Hidden, Fault> {
    let mut errors = cx.inspector.check(inspection, variables.values());
    // What a secret comes to is looked at by the tool. That nobody takes it can be told here.
    let taken = |name: &str| inspection.inputs.iter().any(|input| input.name == name);
    errors.retain(|error| variables.open_at(&error.pointer).is_none_or(|name| !taken(name)));
    if errors.is_empty() {
        Ok(Hidden::Names(inspection.sensitive()))
    } else {
        Err(Fault::fields(Code::InvalidInput, errors))
    }
}

async fn read_directory(cx: &Ctx, path: &str) -> Result<Tree, Fault> {
    let refused = |why: String| {
        Fault::fields(Code::SourceNotAllowed, vec![FieldError::at("/source/path", why)])
    };
    let Some(root) = cx.settings.directory_root.clone() else {
        return Err(refused(
            "directory sources are allowed only in `slipway dev`; upload an archive instead"
                .to_owned(),
        ));
    };
    let wanted = root.join(Path::new(path));
    let limits = cx.settings.source_limits;
    let outside = format!("the directory is not below the allowed root {}", root.display());
    let found = blocking(move || {
        // Resolved first, compared after: a link that leads out is outside.
        let root = root.canonicalize().ok()?;
        let wanted = wanted.canonicalize().ok()?;
        (wanted.starts_with(&root) && wanted.is_dir())
            .then(|| Tree::from_directory(&wanted, limits))
    })
    .await?;
    match found {
        None => Err(refused(outside)),
        Some(Err(why)) => Err(Fault::field("/source/path", format!("it cannot be used: {why}"))),
        Some(Ok(tree)) => Ok(tree),
    }
}

/// Runs work that blocks, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::internal)
}
