//! The source as a scanner gets it: a copy of its own, without what would change how it works.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use slipway_domain::port::scanner::ScanInput;
use slipway_domain::scan::ScannerName;
use slipway_domain::tree::{Entry, Limits, Tree};

/// Files and directories that configure scanners: whoever is judged does not choose how.
const CONFIGURATION: &[&str] = &[
    ".checkov.yaml",
    ".checkov.yml",
    ".checkov.baseline",
    ".tfsec",
    "tfsec.yml",
    "tfsec.yaml",
    "tfsec.json",
    ".trivyignore",
    ".trivyignore.yaml",
    ".trivyignore.yml",
    ".trivyignore.rego",
    "trivy.yaml",
    "trivy.yml",
    "trivy-secret.yaml",
    "conftest.toml",
];

/// The directories of one scan.
#[derive(Debug)]
pub(crate) struct Laid {
    /// All of it.
    top: PathBuf,
    /// The source tree.
    pub(crate) source: PathBuf,
    /// The root module in it.
    pub(crate) root: PathBuf,
    /// The root module's path in the tree; empty at the top.
    inner: String,
    /// An empty directory to run in.
    pub(crate) cwd: PathBuf,
    /// A home that is gone afterwards.
    pub(crate) home: PathBuf,
    /// Files of configuration in the tree, relative to it.
    pub(crate) files: Vec<String>,
}

impl Laid {
    /// Writes the source out for a scanner. `edit` may change files on the way. Blocking.
    pub(crate) fn out(
        name: ScannerName,
        workspace: &Path,
        input: &ScanInput,
        limits: Limits,
        edit: impl Fn(&str, &[u8]) -> Option<Vec<u8>>,
    ) -> Result<Self, String> {
        let trouble =
            |error: io::Error| format!("its copy of the source could not be written: {error}");
        let inner = inner(input.root.as_deref())?;
        let mut tree = Tree::from_directory(&input.source, limits)
            .map_err(|why| format!("the source could not be read: {why}"))?;
        tree.retain(|path| {
            !path
                .split('/')
                .any(|part| CONFIGURATION.iter().any(|own| part.eq_ignore_ascii_case(own)))
        });
        let edited: Vec<(String, Vec<u8>, bool)> = tree
            .entries()
            .filter_map(|(path, entry)| match entry {
                Entry::File { content, executable } => {
                    Some((path.to_owned(), edit(path, content)?, *executable))
                }
                Entry::Link { .. } => None,
            })
            .collect();
        for (path, content, executable) in edited {
            tree.add_file(&path, content, executable).map_err(|why| why.to_string())?;
        }
        let workspace = std::path::absolute(workspace).map_err(trouble)?;
        let top = workspace.join(format!("scan-{name}"));
        let [source, cwd, home] = ["source", "work", "home"].map(|part| top.join(part));
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700);
        for dir in [&top, &source, &cwd, &home] {
            private.create(dir).map_err(trouble)?;
        }
        tree.write_to(&source).map_err(trouble)?;
        let files = tree.entries().map(|(path, _)| path).filter(|path| is_configuration(path));
        let files = files.map(str::to_owned).collect();
        let root = if inner.is_empty() { source.clone() } else { source.join(&inner) };
        if !root.is_dir() {
            return Err(format!("there is no directory {inner:?} in the source"));
        }
        Ok(Self { top, source, root, inner, cwd, home, files })
    }

    /// The tree's own path for a file that a tool names: absolute, or relative to the root module
    /// (also with a slash before it). `None`: it is not in the tree.
    pub(crate) fn path_of(&self, named: &str) -> Option<String> {
        let path = Path::new(named);
        let inside = path.strip_prefix(&self.source).ok().map(|path| path.display().to_string());
        let joined = inside.or_else(|| {
            // tfsec's errors, and nothing else, leave out the first slash.
            (!path.starts_with(&self.top)).then(|| {
                let relative = named.trim_start_matches('/');
                if self.inner.is_empty() {
                    relative.to_owned()
                } else {
                    format!("{}/{relative}", self.inner)
                }
            })
        })?;
        let mut parts: Vec<&str> = Vec::new();
        for part in joined.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()?),
                part => parts.push(part),
            }
        }
        (!parts.is_empty()).then(|| parts.join("/"))
    }

    /// Whether a file of the tree is one of the root module itself.
    pub(crate) fn is_of_root(&self, file: &str) -> bool {
        file.rsplit_once('/').map_or("", |(dir, _)| dir) == self.inner
    }

    /// Files of the root module itself, as they are on the disk.
    pub(crate) fn root_files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str).filter(|file| self.is_of_root(file))
    }

    /// The same text without this machine's directories.
    pub(crate) fn hide(&self, text: &str) -> String {
        let top = self.top.display().to_string();
        let source = format!("{}/", self.source.display());
        // Some print an absolute path without its first slash.
        let bare = |path: &str| path.trim_start_matches('/').to_owned();
        text.replace(&source, "")
            .replace(&bare(&source), "")
            .replace(&top, "")
            .replace(&bare(&top), "")
    }

    /// Takes it away again. Blocking.
    pub(crate) fn clear(&self) {
        // The workspace is wiped in any case.
        let _ = std::fs::remove_dir_all(&self.top);
    }
}

/// Whether Terraform or OpenTofu reads a file as configuration.
fn is_configuration(path: &str) -> bool {
    [".tf", ".tf.json", ".tofu", ".tofu.json"].iter().any(|end| path.ends_with(end))
}

/// Whether a scanner that knows Terraform only passes a file over.
pub(crate) fn is_of_opentofu(path: &str) -> bool {
    [".tofu", ".tofu.json"].iter().any(|end| path.ends_with(end))
}

fn inner(root: Option<&str>) -> Result<String, String> {
    let parts: Vec<&str> = root
        .unwrap_or_default()
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err("the root module's path leaves the source".to_owned());
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    fn write(dir: &Path, path: &str, text: &str) {
        let file = dir.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn out(source: &Path, workspace: &Path, root: Option<&str>) -> Result<Laid, String> {
        let input = ScanInput {
            source: source.to_path_buf(),
            root: root.map(str::to_owned),
            plan: None,
            time_limit: Duration::from_secs(1),
        };
        Laid::out(ScannerName::Tfsec, workspace, &input, Limits::default(), |_, content| {
            content.starts_with(b"edit").then(|| b"edited".to_vec())
        })
    }

    #[test]
    fn what_configures_a_scanner_stays_behind() {
        let (source, workspace) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for path in [
            "stack/main.tf",
            "stack/.checkov.yaml",
            "stack/.tfsec/config.yml",
            "modules/a/x.tf.json",
            "modules/a/.TrivyIgnore",
            "trivy.yaml",
            "conftest.toml",
            ".hidden/y.tofu",
        ] {
            write(source.path(), path, "x");
        }
        write(source.path(), "stack/e.tf", "edit me");
        let laid = out(source.path(), workspace.path(), Some("./stack/")).unwrap();
        let expected = [".hidden/y.tofu", "modules/a/x.tf.json", "stack/e.tf", "stack/main.tf"];
        assert_eq!(laid.files, expected);
        assert_eq!(laid.root_files().collect::<Vec<_>>(), ["stack/e.tf", "stack/main.tf"]);
        for gone in ["stack/.checkov.yaml", "stack/.tfsec", "trivy.yaml", "modules/a/.TrivyIgnore"]
        {
            assert!(!laid.source.join(gone).exists(), "{gone}");
        }
        assert_eq!(std::fs::read(laid.root.join("e.tf")).unwrap(), b"edited");
        assert_eq!(laid.top.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(out(source.path(), workspace.path(), None).is_err(), "not into another's place");
        laid.clear();
        assert!(!laid.top.exists());
        for bad in ["../x", "nowhere"] {
            assert!(out(source.path(), workspace.path(), Some(bad)).is_err(), "{bad}");
            let _ = std::fs::remove_dir_all(workspace.path().join("scan-tfsec"));
        }
    }

    #[test]
    fn what_leaves_the_source_is_refused() {
        let (source, workspace) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink("/etc/passwd", source.path().join("main.tf")).unwrap();
        let why = out(source.path(), workspace.path(), None).unwrap_err();
        assert!(why.contains("main.tf"), "{why}");
    }

    #[test]
    fn files_are_named_as_they_are_in_the_tree() {
        let (source, workspace) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(source.path(), "stack/main.tf", "x");
        let laid = out(source.path(), workspace.path(), Some("stack")).unwrap();
        let absolute = laid.source.join("modules/b/main.tf");
        let of = |named: &str| laid.path_of(named);
        assert_eq!(of(absolute.to_str().unwrap()).as_deref(), Some("modules/b/main.tf"));
        assert_eq!(of("/main.tf").as_deref(), Some("stack/main.tf"));
        assert_eq!(of("/../modules/b/main.tf").as_deref(), Some("modules/b/main.tf"));
        assert_eq!(of("/../../etc/passwd"), None);
        assert_eq!(of(laid.home.join("x").to_str().unwrap()), None);
        assert!(laid.is_of_root("stack/main.tf") && !laid.is_of_root("stack/sub/main.tf"));
        let said = format!("bad {}:1 in {}", laid.root.join("a.tf").display(), laid.home.display());
        assert_eq!(laid.hide(&said), "bad stack/a.tf:1 in /home");
    }
}
