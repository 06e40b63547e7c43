//! The files of one job: source tree, state, variables, plan file and the tool's own
//! configuration, each at a fixed place below the job's directory. Starts no process.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use slipway_domain::deployment::Variables;
use slipway_domain::port::driver::DriverError;
use slipway_domain::tree::Tree;

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    top: PathBuf,
    src: PathBuf,
    root: String,
    module: PathBuf,
}

impl Workspace {
    /// In the directory `top`, for a root module at `root` of the source tree.
    pub(crate) fn new(top: &Path, root: Option<&str>) -> Result<Self, DriverError> {
        let parts: Vec<&str> = root
            .unwrap_or_default()
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if parts.contains(&"..") {
            return Err(DriverError::permanent("the root module's path leaves the source tree"));
        }
        let root = parts.join("/");
        let top = std::path::absolute(top).map_err(trouble)?;
        let src = top.join("src");
        let module = if root.is_empty() { src.clone() } else { src.join(&root) };
        Ok(Self { top, src, root, module })
    }

    /// The root module's directory, where the tool runs.
    pub(crate) fn module(&self) -> &Path {
        &self.module
    }

    /// The plan file.
    pub(crate) fn plan_file(&self) -> PathBuf {
        self.top.join("plan.tfplan")
    }

    /// The plan file of a lost apply, beside which a new one is made.
    pub(crate) fn approved_plan_file(&self) -> PathBuf {
        self.top.join("approved.tfplan")
    }

    /// What the tool says during an apply.
    pub(crate) fn tape(&self) -> PathBuf {
        self.top.join("apply.jsonl")
    }

    /// What somebody must know who finds the directory of an apply that was cut off.
    pub(crate) fn note(&self) -> PathBuf {
        self.top.join("apply.json")
    }

    /// Where the source tree is.
    pub(crate) fn source(&self) -> &Path {
        &self.src
    }

    /// The root module's path in the source tree; empty at the top.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The file of variables.
    pub(crate) fn variables_file(&self) -> PathBuf {
        self.top.join("variables.tfvars.json")
    }

    /// The tool's own configuration.
    pub(crate) fn cli_config(&self) -> PathBuf {
        self.top.join("terraform.rc")
    }

    /// The dependency lock file.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.module.join(".terraform.lock.hcl")
    }

    /// Where `init` puts things.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.module.join(".terraform")
    }

    /// A state file, by its path relative to the root module.
    pub(crate) fn state_file(&self, path: &str) -> PathBuf {
        self.module.join(path)
    }

    /// Where the tool leaves a state that it could not write elsewhere.
    pub(crate) fn errored_state(&self) -> PathBuf {
        self.module.join("errored.tfstate")
    }

    /// Writes the source tree, without what is Terraform's own and not configuration.
    pub(crate) fn write_source(&self, tree: &Tree) -> Result<(), DriverError> {
        std::fs::create_dir_all(&self.src).map_err(trouble)?;
        tree.write_to(&self.src).map_err(trouble)?;
        for (path, _) in tree.entries() {
            let parts: Vec<&str> = path.split('/').collect();
            let name = parts.last().copied().unwrap_or_default();
            let of_terraform = match parts.iter().position(|part| *part == ".terraform") {
                Some(at) => Some(parts[..=at].join("/")),
                None if is_local_state(name) => Some(path.to_owned()),
                None => None,
            };
            if let Some(path) = of_terraform {
                remove(&self.src.join(path)).map_err(trouble)?;
            }
        }
        if !self.module.is_dir() {
            return Err(DriverError::permanent(format!(
                "there is no directory {:?} in the source tree",
                self.root
            )));
        }
        Ok(())
    }

    /// Writes the variables. `false` when there are none, and so no file.
    pub(crate) fn write_variables(&self, variables: &Variables) -> Result<bool, DriverError> {
        if variables.is_empty() {
            return Ok(false);
        }
        let content = serde_json::to_vec(variables).map_err(|e| trouble(io::Error::other(e)))?;
        write_private(&self.variables_file(), &content)?;
        Ok(true)
    }

    /// Reads a file if it is there.
    pub(crate) fn read(path: &Path) -> Result<Option<Bytes>, DriverError> {
        match std::fs::read(path) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(trouble(error)),
        }
    }

    /// A file that the tool names, as a path in the source tree; `None` when it is none of the
    /// source's files.
    pub(crate) fn in_source(&self, named: &str) -> Option<String> {
        let path = Path::new(named);
        let full = if path.is_absolute() { path.to_path_buf() } else { self.module.join(path) };
        let mut clean = PathBuf::new();
        for part in full.components() {
            match part {
                std::path::Component::ParentDir => {
                    clean.pop();
                }
                std::path::Component::CurDir => {}
                part => clean.push(part),
            }
        }
        let inside = clean.strip_prefix(&self.src).ok()?.to_string_lossy().into_owned();
        (!inside.is_empty()).then_some(inside)
    }

    /// A directory of the source tree as seen from the root module.
    pub(crate) fn seen_from_root(&self, dir: &str) -> String {
        let parts = |path: &str| -> Vec<String> {
            path.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect()
        };
        let (root, dir) = (parts(&self.root), parts(dir));
        let same = root.iter().zip(&dir).take_while(|(a, b)| a == b).count();
        let mut path = vec!["..".to_owned(); root.len() - same];
        path.extend(dir.into_iter().skip(same));
        if path.is_empty() { ".".to_owned() } else { path.join("/") }
    }

    /// Text without this machine's paths.
    pub(crate) fn tidy(&self, text: &str) -> String {
        let top = self.top.to_string_lossy();
        if !text.contains(top.as_ref()) {
            return text.to_owned();
        }
        let src = self.src.to_string_lossy();
        text.replace(&format!("{src}/"), "")
            .replace(src.as_ref(), ".")
            .replace(top.as_ref(), "<workspace>")
    }
}

/// Runs blocking work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DriverError> + Send + 'static,
) -> Result<T, DriverError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(DriverError::transient(format!("work on files did not finish: {error}"))),
    }
}

/// Writes a file that nobody else may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), DriverError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(trouble)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).and_then(|mut file| file.write_all(content)).map_err(trouble)
}

/// A fault of this worker's disk, which another worker may not have.
pub(crate) fn trouble(error: io::Error) -> DriverError {
    DriverError::transient(format!("the workspace could not be used: {error}"))
}

fn is_local_state(name: &str) -> bool {
    name == "terraform.tfstate"
        || name.starts_with("terraform.tfstate.")
        || name == ".terraform.tfstate.lock.info"
        || name == "errored.tfstate"
}

/// Removes a file, link or directory; nothing there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let done = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn tree(files: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for file in files {
            tree.add_file(file, "x", false).unwrap();
        }
        tree
    }

    #[test]
    fn terraforms_own_files_are_left_out_and_overrides_stay() {
        let dir = tempfile::tempdir().unwrap();
        let ws = Workspace::new(dir.path(), Some("env/prod")).unwrap();
        ws.write_source(&tree(&[
            "env/prod/main.tf",
            "env/prod/main_override.tf",
            "env/prod/.terraform/terraform.tfstate",
            "env/prod/.terraform/providers/x",
            "env/prod/terraform.tfstate",
            "env/prod/terraform.tfstate.backup",
            "env/prod/.terraform.lock.hcl",
            "mod/.terraform/modules/modules.json",
        ]))
        .unwrap();
        let left =
            Tree::from_directory(&dir.path().join("src"), slipway_domain::tree::Limits::default());
        let left: Vec<_> = left.unwrap().entries().map(|(p, _)| p.to_owned()).collect();
        assert_eq!(
            left,
            ["env/prod/.terraform.lock.hcl", "env/prod/main.tf", "env/prod/main_override.tf"]
        );
        assert!(!ws.data_dir().exists());
    }

    #[test]
    fn variables_are_for_us_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ws = Workspace::new(dir.path(), None).unwrap();
        assert!(!ws.write_variables(&Variables::new()).unwrap());
        assert!(ws.write_variables(&[("a".to_owned(), serde_json::json!(1))].into()).unwrap());
        let mode = ws.variables_file().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn places_are_told_inside_the_source_tree() {
        let dir = tempfile::tempdir().unwrap();
        let ws = Workspace::new(dir.path(), Some("env")).unwrap();
        assert_eq!(ws.in_source("main.tf").as_deref(), Some("env/main.tf"));
        assert_eq!(ws.in_source("../mod/a.tf").as_deref(), Some("mod/a.tf"));
        assert_eq!(ws.in_source("../../variables.tfvars.json"), None);
        let text = format!("see {}/src/env/main.tf and {0}/terraform.rc", dir.path().display());
        assert_eq!(ws.tidy(&text), "see env/main.tf and <workspace>/terraform.rc");
    }

    #[test]
    fn module_directories_are_seen_from_the_root_module() {
        let dir = tempfile::tempdir().unwrap();
        for (root, module, seen) in [
            ("", "modules/net", "modules/net"),
            ("env/prod", "modules/net", "../../modules/net"),
            ("env/prod", "env/shared", "../shared"),
            ("env", "env/net", "net"),
            ("env", "env", "."),
        ] {
            let ws = Workspace::new(dir.path(), Some(root)).unwrap();
            assert_eq!(ws.seen_from_root(module), seen, "{module} from {root}");
        }
    }

    #[test]
    fn a_root_outside_the_tree_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Workspace::new(dir.path(), Some("a/../../b")).is_err());
        let ws = Workspace::new(dir.path(), Some("nowhere")).unwrap();
        let error = ws.write_source(&tree(&["main.tf"])).unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
