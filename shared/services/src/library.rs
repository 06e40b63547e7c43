//! The templates of the installation itself: what is built in, and what the operator put into a
//! directory. Read once, at start; each is its own version 1.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use include_dir::{Dir, include_dir};
use serde::Deserialize;
use slipway_domain::id::ArtifactId;
use slipway_domain::port::driver::{Inspect, Inspection};
use slipway_domain::stack::is_name;
use slipway_domain::template::{Template, TemplateSource, TemplateState};
use slipway_domain::tree::{Limits, Tree};

static BUILT_IN: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../examples/templates");

/// The file beside a template's configuration that says what it is.
const MANIFEST: &str = "template.toml";

/// What `template.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// One line about the template.
    pub(crate) title: String,
    /// What it makes and when to use it.
    pub(crate) description: String,
    /// What it is about.
    #[serde(default)]
    pub(crate) category: Option<String>,
    /// Labels by name.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads that of a tree, if it has one.
    pub(crate) fn of(tree: &Tree) -> Option<Result<Self, String>> {
        let text = std::str::from_utf8(tree.file(MANIFEST)?).map_err(|e| e.to_string());
        let read = text.and_then(|text| toml::from_str(text).map_err(|e| e.to_string()));
        Some(read.map_err(|why| format!("{MANIFEST}: {why}")))
    }
}

/// The version of each template of the library.
pub(crate) const VERSION: i32 = 1;

/// A template, read and checked, with its source packed once.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What everybody sees.
    pub template: Template,
    /// What the inspector read.
    pub inspection: Inspection,
    /// Its source tree.
    pub tree: Tree,
    /// Its source tree, packed.
    pub archive: Arc<Shared>,
}

/// An archive that many deployments have in common.
#[derive(Debug)]
pub struct Shared {
    /// The packed tree.
    pub content: Bytes,
    /// What it is kept as, as far as this process knows.
    kept: Mutex<Option<ArtifactId>>,
}

impl Shared {
    fn new(content: Bytes) -> Arc<Self> {
        Arc::new(Self { content, kept: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Option<ArtifactId>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was last seen to be kept as. It may have been swept since.
    pub(crate) fn kept(&self) -> Option<ArtifactId> {
        *self.lock()
    }

    /// Remembers what it is kept as: a deployment that names it is committed.
    pub(crate) fn is_kept_as(&self, id: ArtifactId) {
        *self.lock() = Some(id);
    }
}

/// Every template, by name. Read once, at start.
#[derive(Debug, Default)]
pub struct Library {
    templates: BTreeMap<String, Loaded>,
}

impl Library {
    /// Reads the built-in templates and those in the sub-directories of `extra`, which win. A
    /// template that cannot be used stops the start with a message that names it.
    pub fn load(
        inspector: &dyn Inspect,
        extra: Option<&Path>,
        limits: Limits,
    ) -> Result<Self, String> {
        let mut library = Self::default();
        for dir in BUILT_IN.dirs() {
            let name = dir.path().to_string_lossy().into_owned();
            let mut tree = Tree::new();
            add_built_in(dir, dir.path(), &mut tree)
                .map_err(|e| format!("built-in template {name}: {e}"))?;
            library.add(inspector, &name, &tree, TemplateSource::BuiltIn)?;
        }
        if let Some(extra) = extra {
            let wrong = |e: std::io::Error| format!("templates.dir {}: {e}", extra.display());
            for item in std::fs::read_dir(extra).map_err(wrong)? {
                let item = item.map_err(wrong)?;
                if !item.path().is_dir() {
                    continue;
                }
                let name = item.file_name().to_string_lossy().into_owned();
                let tree = Tree::from_directory(&item.path(), limits)
                    .map_err(|e| format!("template {name}: {e}"))?;
                library.add(inspector, &name, &tree, TemplateSource::OperatorDirectory)?;
            }
        }
        Ok(library)
    }

    fn add(
        &mut self,
        inspector: &dyn Inspect,
        name: &str,
        tree: &Tree,
        source: TemplateSource,
    ) -> Result<(), String> {
        let wrong = |why: String| format!("template {name}: {why}");
        if !is_name(name) {
            return Err(wrong("its directory is not a template name".to_owned()));
        }
        let manifest = Manifest::of(tree)
            .ok_or_else(|| wrong(format!("there is no {MANIFEST} in it")))?
            .map_err(wrong)?;
        let inspection = inspector.inspect(tree, None).map_err(|errors| {
            wrong(errors.iter().map(|e| e.detail.as_str()).collect::<Vec<_>>().join("; "))
        })?;
        let loaded = Loaded {
            template: Template {
                name: name.to_owned(),
                title: manifest.title,
                description: manifest.description,
                category: manifest.category,
                labels: manifest.labels,
                source,
                state: TemplateState::Active,
                version: VERSION,
                latest_version: VERSION,
                created_at: None,
                updated_at: None,
                inputs: inspection.inputs.clone(),
                digest: tree.digest(),
            },
            inspection,
            archive: Shared::new(tree.to_tar_gz().map_err(|e| wrong(e.to_string()))?),
            tree: tree.clone(),
        };
        self.templates.insert(name.to_owned(), loaded);
        Ok(())
    }

    /// A template by name.
    pub fn get(&self, name: &str) -> Option<&Loaded> {
        self.templates.get(name)
    }

    /// Every template, by name.
    pub fn all(&self) -> impl Iterator<Item = &Loaded> {
        self.templates.values()
    }
}

fn add_built_in(
    dir: &Dir<'static>,
    root: &Path,
    tree: &mut Tree,
) -> Result<(), slipway_domain::tree::Unsafe> {
    for file in dir.files() {
        let path = file.path().strip_prefix(root).unwrap_or(file.path()).to_string_lossy();
        tree.add_file(&path, file.contents(), false)?;
    }
    for dir in dir.dirs() {
        add_built_in(dir, root, tree)?;
    }
    Ok(())
}
