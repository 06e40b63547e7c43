//! What the driver packs for its own apply beside the plan file: which installed things the plan
//! was made with, the dependency lock file, and the remote modules themselves.

use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use slipway_domain::port::driver::DriverError;
use slipway_domain::tree::{Entry, Limits, Tree};

use crate::hcl::Backend;
use crate::workspace::{Workspace, trouble, write_private};

const FORMAT: u32 = 1;
const META: &str = "context.json";
const LOCK: &str = "lock.hcl";
const MODULES: &str = "modules";
/// More than this of remote modules is fetched again by the apply.
const MAX_MODULES: Limits = Limits { total_bytes: 32 << 20, entries: 10_000 };
/// What a context may hold when it is read back.
const MAX_CONTEXT: Limits = Limits { total_bytes: 64 << 20, entries: 10_010 };

/// What was true when the plan was made. It may hold secrets: no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    format: u32,
    /// Whether anything is installed at all.
    pub(crate) installed: bool,
    /// The name of what is installed in the cache.
    pub(crate) key: Option<String>,
    /// Where the state is kept.
    pub(crate) keeping: Keeping,
    /// Variables that the plan file does not hold.
    pub(crate) ephemeral: Vec<String>,
    /// What the plan and the configuration hold in secret: the apply must not say it either.
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
}

/// Who keeps the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keeping {
    /// Slipway: a file at this path, relative to the root module.
    Slipway(String),
    /// The configuration's own backend.
    Backend(String),
}

impl Keeping {
    /// Whose it is, by what the configuration says.
    pub(crate) fn of(backend: &Backend) -> Result<Self, DriverError> {
        match backend {
            Backend::Unset => Ok(Self::Slipway("terraform.tfstate".to_owned())),
            Backend::Local { path } => {
                let inside =
                    path.as_deref().filter(|path| slipway_domain::source::is_inner_path(path));
                inside.map(|path| Self::Slipway(path.to_owned())).ok_or_else(|| {
                    DriverError::permanent(
                        "the configuration keeps its state with backend \"local\" at a path outside \
                         of its own directory, which would be lost when this job ends: remove the \
                         backend block, and Slipway keeps the state, or use a remote backend",
                    )
                })
            }
            Backend::Own { kind } => Ok(Self::Backend(kind.clone())),
        }
    }

    /// Whether the configuration's own backend keeps it.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Backend(_))
    }

    /// The path of the state file, if Slipway keeps it.
    pub(crate) fn path(&self) -> Option<&str> {
        match self {
            Self::Slipway(path) => Some(path),
            Self::Backend(_) => None,
        }
    }
}

impl Context {
    pub(crate) fn new(
        installed: bool,
        key: Option<String>,
        keeping: Keeping,
        ephemeral: Vec<String>,
    ) -> Self {
        Self { format: FORMAT, installed, key, keeping, ephemeral, secrets: Vec::new() }
    }

    /// The same, knowing secrets.
    pub(crate) fn knowing(self, secrets: Vec<String>) -> Self {
        Self { secrets, ..self }
    }

    /// Packs it, with the lock file and, if there are remote modules, those. Blocking.
    pub(crate) fn pack(
        &self,
        workspace: &Workspace,
        lock_file: Option<&Bytes>,
        remote_modules: bool,
    ) -> Result<Bytes, DriverError> {
        let bad = |error: String| {
            DriverError::transient(format!("the plan could not be packed: {error}"))
        };
        let mut tree = Tree::new();
        let meta = serde_json::to_vec(self).map_err(|e| bad(e.to_string()))?;
        tree.add_file(META, meta, false).map_err(|e| bad(e.to_string()))?;
        if let Some(lock_file) = lock_file {
            tree.add_file(LOCK, lock_file.clone(), false).map_err(|e| bad(e.to_string()))?;
        }
        let modules = workspace.data_dir().join(MODULES);
        if remote_modules && modules.is_dir() {
            // Modules that are too big, or hold what a tree may not, are fetched again.
            if let Ok(modules) = Tree::from_directory(&modules, MAX_MODULES) {
                for (path, entry) in modules.entries() {
                    if let Entry::File { content, executable } = entry {
                        tree.add_file(&format!("{MODULES}/{path}"), content.clone(), *executable)
                            .map_err(|e| bad(e.to_string()))?;
                    }
                }
            }
        }
        tree.to_tar_gz().map_err(trouble)
    }

    /// Unpacks it into a workspace; see [`Context::put`]. Blocking.
    pub(crate) fn unpack(
        packed: &[u8],
        workspace: &Workspace,
    ) -> Result<(Self, Option<Bytes>), DriverError> {
        let (context, tree) = Self::open(packed)?;
        let lock_file = Self::put(&tree, workspace)?;
        Ok((context, lock_file))
    }

    /// Writes the lock file and the modules of what was packed to their places, and returns the
    /// lock file. Blocking.
    pub(crate) fn put(tree: &Tree, workspace: &Workspace) -> Result<Option<Bytes>, DriverError> {
        let lock_file = tree.file(LOCK).cloned();
        if let Some(lock_file) = &lock_file {
            write_private(&workspace.lock_file(), lock_file)?;
        }
        if let Some(modules) = tree.below(MODULES) {
            let to = workspace.data_dir().join(MODULES);
            std::fs::create_dir_all(&to).map_err(trouble)?;
            modules.write_to(Path::new(&to)).map_err(trouble)?;
        }
        Ok(lock_file)
    }

    /// What was packed, and its files. Writes nothing.
    pub(crate) fn open(packed: &[u8]) -> Result<(Self, Tree), DriverError> {
        let bad = || {
            DriverError::permanent(
                "what was packed with the plan cannot be read by this version of Slipway: make a \
                 new plan",
            )
        };
        let tree = Tree::from_tar_gz(packed, MAX_CONTEXT).map_err(|_| bad())?;
        let meta = tree.file(META).ok_or_else(bad)?;
        let context: Self = serde_json::from_slice(meta).map_err(|_| bad())?;
        if context.format == FORMAT { Ok((context, tree)) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_in_its_place() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let from = Workspace::new(a.path(), Some("env")).unwrap();
        let module = from.data_dir().join("modules/vpc");
        std::fs::create_dir_all(&module).unwrap();
        std::fs::write(module.join("main.tf"), "x").unwrap();
        let keeping = Keeping::Slipway("terraform.tfstate".into());
        let context = Context::new(true, Some("k".into()), keeping, vec!["token".into()]);
        let packed = context.pack(&from, Some(&Bytes::from_static(b"lock")), true).unwrap();

        let to = Workspace::new(b.path(), Some("env")).unwrap();
        std::fs::create_dir_all(to.module()).unwrap();
        let (back, lock) = Context::unpack(&packed, &to).unwrap();
        assert!(back == context, "it comes back as it was");
        assert_eq!(lock.unwrap().as_ref(), b"lock");
        assert_eq!(std::fs::read(to.lock_file()).unwrap(), b"lock");
        let file = to.data_dir().join("modules/vpc/main.tf");
        assert_eq!(std::fs::read(file).unwrap(), b"x");
        assert!(Context::unpack(b"nonsense", &to).is_err());
    }

    #[test]
    fn a_local_backend_stays_inside() {
        let local = |path: Option<&str>| Backend::Local { path: path.map(str::to_owned) };
        assert_eq!(
            Keeping::of(&local(Some("state/x.tfstate"))).unwrap().path(),
            Some("state/x.tfstate")
        );
        for path in [Some("/var/x.tfstate"), Some("../x.tfstate"), None] {
            assert!(Keeping::of(&local(path)).is_err(), "{path:?}");
        }
        assert!(Keeping::of(&Backend::Own { kind: "s3".into() }).unwrap().is_own());
    }
}
