//! The store of provider packages that jobs and workers of this machine share.
//!
//! A package is kept once, unpacked, by what is in it (`packages/…/linux_amd64-<mark>`), and is
//! never changed: it is made elsewhere and renamed into its place. `mirror/` is the same for the
//! tool: links, in the form of an unpacked filesystem mirror.

use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{
    Budget, Cache, FRESH_FOR_S, Package, UNUSED_FOR_S, copy, leaves, private_dir, used_name,
};
use crate::workspace::remove;

/// What somebody wants of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Full source addresses, sorted, with the version where a lock file says it.
    pub(crate) providers: Vec<(String, Option<String>)>,
    /// Names what was asked for, with its constraints: who asks the same gets the same.
    pub(crate) question: String,
    /// Whether a lock file has checksums of archives only: the tool takes what is unpacked for such
    /// a one without any proof.
    pub(crate) archives: bool,
    /// Whether these are all that there will be.
    pub(crate) complete: bool,
}

impl Cache {
    /// Where the tool finds what is in the store. Made when it is missing.
    pub(crate) fn mirror(&self) -> PathBuf {
        self.dir.join("mirror")
    }

    /// Makes the directory of the mirror, which the tool wants to be there.
    pub(crate) fn make_mirror(&self) -> io::Result<()> {
        private_dir(&self.mirror())
    }

    /// Whether all of it is most likely in the store: the very versions, or whatever was the answer
    /// when somebody last asked the same, which is not long ago.
    pub(crate) fn likely_has(&self, wanted: &Wanted, platform: &str) -> bool {
        let all_pinned = wanted.providers.iter().all(|(_, version)| version.is_some());
        let age = self.unused_for(&self.look(&wanted.question));
        if !wanted.complete || wanted.archives || !(all_pinned || (0..=FRESH_FOR_S).contains(&age))
        {
            return false;
        }
        wanted.providers.iter().all(|(address, version)| {
            let dir = self.mirror().join(address);
            match version {
                Some(version) => dir.join(version).join(platform).is_dir(),
                None => {
                    leaves(&dir, 2).is_ok_and(|found| found.iter().any(|p| p.ends_with(platform)))
                }
            }
        })
    }

    fn look(&self, question: &str) -> PathBuf {
        self.dir.join("looked").join(question)
    }

    /// Notes that the answer to this question is in the store.
    pub(crate) fn looked(&self, question: &str) {
        if private_dir(&self.dir.join("looked")).is_ok() {
            self.touch(&self.look(question));
        }
    }

    pub(super) fn forget_looks(&self) {
        let Ok(items) = std::fs::read_dir(self.dir.join("looked")) else { return };
        for look in items.flatten().map(|item| item.path()) {
            if self.unused_for(&look) > UNUSED_FOR_S {
                let _ = remove(&look);
            }
        }
    }

    /// Moves downloaded packages into the store, leaves links in their place, and lists them all.
    pub(crate) fn adopt(&self, providers: &Path) -> io::Result<Vec<Package>> {
        let mut packages = Vec::new();
        // host / namespace / type / version / platform
        for path in leaves(providers, 5)? {
            let relative = path.strip_prefix(providers).unwrap_or(&path).to_string_lossy();
            let relative = relative.into_owned();
            if path.is_symlink() {
                let target = self.behind(&path)?;
                packages.push(Package { path: relative, target });
                continue;
            }
            let mark = fingerprint(&path)?;
            let target = self.dir.join("packages").join(format!("{relative}-{mark}"));
            if target.is_dir() {
                std::fs::remove_dir_all(&path)?;
            } else {
                if let Some(parent) = target.parent() {
                    private_dir(parent)?;
                }
                write_protect(&path)?;
                relocate(&path, &target)?;
            }
            self.touch(&target.with_file_name(used_name(&target)));
            self.link(&relative, &target)?;
            std::os::unix::fs::symlink(&target, &path)?;
            packages.push(Package { path: relative, target });
        }
        Ok(packages)
    }

    /// The package that a link of a job leads to: ours by its own name, for the links of the mirror
    /// may lead elsewhere tomorrow.
    fn behind(&self, path: &Path) -> io::Result<PathBuf> {
        let resolved = path.canonicalize()?;
        let ours = self.dir.join("packages");
        if let Ok(real) = ours.canonicalize()
            && let Ok(below) = resolved.strip_prefix(real)
        {
            let target = ours.join(below);
            self.touch(&target.with_file_name(used_name(&target)));
            return Ok(target);
        }
        let link = std::fs::read_link(path)?;
        Ok(if link.is_absolute() { link } else { resolved })
    }

    /// Shows a package in the mirror, unless there is one already.
    fn link(&self, relative: &str, target: &Path) -> io::Result<()> {
        let link = self.mirror().join(relative);
        if link.is_dir() {
            return Ok(());
        }
        if let Some(parent) = link.parent() {
            private_dir(parent)?;
        }
        let new = tempfile::Builder::new()
            .prefix(".new")
            .make_in(&self.dir, |path| std::os::unix::fs::symlink(target, path))?;
        new.into_temp_path().persist(&link).map_err(|error| error.error)
    }

    /// Takes a package out of the mirror.
    pub(super) fn unlink(&self, package: &Path) {
        let Ok(relative) = package.strip_prefix(self.dir.join("packages")) else { return };
        let name = relative.to_string_lossy();
        let Some((relative, _)) = name.rsplit_once('-') else { return };
        let link = self.mirror().join(relative);
        if std::fs::read_link(&link).is_ok_and(|target| target == package) {
            let _ = remove(&link);
        }
    }
}

/// Tells two packages apart by their files' names and contents. Whether the content is right is the
/// tool's own check, against the lock file and the publisher's signature.
fn fingerprint(dir: &Path) -> io::Result<String> {
    let mut files = files_of(dir)?;
    files.sort();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let mut file = std::fs::File::open(&path)?;
        hash.update(path.strip_prefix(dir).unwrap_or(&path).as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(file.metadata()?.len().to_be_bytes());
        loop {
            let read = file.read(&mut buffer)?;
            let Some(content) = buffer.get(..read).filter(|content| !content.is_empty()) else {
                break;
            };
            hash.update(content);
        }
    }
    Ok(hex::encode(hash.finalize()).get(..32).unwrap_or_default().to_owned())
}

fn files_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(at) = todo.pop() {
        for item in std::fs::read_dir(&at)? {
            let item = item?;
            if item.file_type()?.is_dir() {
                todo.push(item.path());
            } else {
                files.push(item.path());
            }
        }
    }
    Ok(files)
}

/// Many jobs run from the same files: none of them may write to one.
fn write_protect(dir: &Path) -> io::Result<()> {
    for file in files_of(dir)? {
        let meta = file.symlink_metadata()?;
        if meta.is_file() {
            let mode = meta.permissions().mode() & !0o222;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// Renames a directory, or copies it where that crosses file systems.
fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let parent = to.parent().unwrap_or(to);
            let staging = tempfile::Builder::new().prefix(".new").tempdir_in(parent)?;
            let mut budget = Budget { files: usize::MAX, bytes: u64::MAX };
            let staged = staging.path().join("package");
            copy(from, &staged, &mut budget)?;
            std::fs::rename(staged, to)?;
            std::fs::remove_dir_all(from)
        }
        // Another process was faster, with the same package.
        Err(_) if to.is_dir() => std::fs::remove_dir_all(from),
        other => other,
    }
}
