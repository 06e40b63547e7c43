//! Keeps what `init` installed, by what decided it, so that it need not run again.
//!
//! An entry is a list of provider packages, the dependency lock file and the remote modules. Two
//! rules make it safe to share between jobs, workers and machines on one disk: what a job may have
//! linked to is never changed, only replaced by a new generation beside it; and a generation
//! counts only once the file `current` names it, which is put in place by a rename.
//! `.terraform/terraform.tfstate` is never kept: it can hold a backend's password.

mod packages;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use slipway_domain::clock::Clock;

use crate::workspace::{Workspace, remove};

pub(crate) use packages::Wanted;

/// Changes when the form of an entry does; older ones are then not found any more.
const FORMAT: u32 = 1;
/// An entry that depends on what was newest at its time is made anew after so many seconds.
const FRESH_FOR_S: i64 = 24 * 3600;
/// Entries and packages that nothing used for so many seconds are removed.
const UNUSED_FOR_S: i64 = 30 * 24 * 3600;
/// Old generations stay this long, for jobs that may still be linked to them.
const OLD_GENERATION_S: i64 = 2 * 24 * 3600;
/// Most entries.
const MAX_ENTRIES: usize = 500;
/// Most files, and bytes, of the modules of an entry.
const MAX_MODULE_FILES: usize = 20_000;
const MAX_MODULE_BYTES: u64 = 256 << 20;

/// The store of what was installed.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    locks: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// Everything that decides what `init` installs.
#[derive(Debug, Serialize)]
pub(crate) struct KeyParts<'a> {
    pub(crate) tool: &'a str,
    pub(crate) platform: &'a str,
    /// Where providers come from: mirror path, or the operator's CLI configuration.
    pub(crate) origin: &'a str,
    /// Content of the lock file in the source tree.
    pub(crate) lock_file: &'a [u8],
    pub(crate) requirements: &'a [String],
    /// `key source version` of every module call.
    pub(crate) modules: &'a [String],
    /// Providers that the state's resources belong to.
    pub(crate) state_providers: &'a [String],
}

impl KeyParts<'_> {
    /// The key.
    pub(crate) fn key(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(FORMAT.to_be_bytes());
        hash.update(serde_json::to_vec(self).unwrap_or_default());
        hex::encode(hash.finalize())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    format: u32,
    made_at_s: i64,
    /// Whether another `init` would give the same whenever it runs.
    lasting: bool,
    packages: Vec<Package>,
    /// Whether the modules are kept too; if not, `init` still has to fetch them.
    modules: bool,
    /// Whether there is a lock file.
    lock: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Package {
    /// Below `.terraform/providers`.
    path: String,
    /// The unpacked package.
    target: PathBuf,
}

/// What could be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// All of it: `init` need not run.
    Whole,
    /// The providers: `init` must run for the modules, and will find its providers there.
    Providers,
    /// Nothing.
    Nothing,
}

/// Holds a key for one `init` at a time, in this process and in others.
pub(crate) struct Held {
    _here: tokio::sync::OwnedMutexGuard<()>,
    _everywhere: Option<File>,
}

impl Cache {
    pub(crate) fn new(dir: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { dir, clock, locks: Mutex::default() }
    }

    fn entry_dir(&self, key: &str) -> PathBuf {
        self.dir.join("init").join(key)
    }

    /// Waits until nobody else runs `init` for this key. Dropping the future stops the waiting.
    pub(crate) async fn hold(&self, key: &str) -> Held {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            if let Some(lock) = locks.get(key).and_then(Weak::upgrade) {
                lock
            } else {
                let lock = Arc::new(tokio::sync::Mutex::new(()));
                locks.insert(key.to_owned(), Arc::downgrade(&lock));
                lock
            }
        };
        let here = lock.lock_owned().await;
        let path = self.dir.join("init").join(format!("{key}.lock"));
        let everywhere = tokio::task::spawn_blocking(move || -> io::Result<File> {
            if let Some(parent) = path.parent() {
                private_dir(parent)?;
            }
            let file = File::options().create(true).truncate(false).write(true).open(path)?;
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(file)
        })
        .await;
        let everywhere = match everywhere {
            Ok(Ok(file)) => Some(file),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the init cache cannot be locked; going on without");
                None
            }
            Err(_) => None,
        };
        Held { _here: here, _everywhere: everywhere }
    }

    /// Takes the lock of an entry if nobody has it.
    fn try_lock(&self, entry: &Path) -> io::Result<File> {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let path = self.dir.join("init").join(format!("{name}.lock"));
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    }

    fn current(&self, key: &str) -> Option<(PathBuf, Entry)> {
        let dir = self.entry_dir(key);
        let generation = std::fs::read_to_string(dir.join("current")).ok()?;
        let generation = generation.trim();
        if generation.is_empty() || generation.contains(['/', '.']) {
            return None;
        }
        let dir = dir.join(generation);
        let entry: Entry =
            serde_json::from_slice(&std::fs::read(dir.join("entry.json")).ok()?).ok()?;
        (entry.format == FORMAT).then_some((dir, entry))
    }

    /// Puts what is kept for `key` into a workspace. `only_lock`: only if the kept lock file is
    /// this one, however old the entry is (an apply needs just what its plan had).
    pub(crate) fn restore(
        &self,
        key: &str,
        workspace: &Workspace,
        only_lock: Option<&[u8]>,
    ) -> Restored {
        let Some((dir, entry)) = self.current(key) else { return Restored::Nothing };
        let age = self.clock.now().timestamp().saturating_sub(entry.made_at_s);
        if only_lock.is_none() && !entry.lasting && !(0..=FRESH_FOR_S).contains(&age) {
            return Restored::Nothing;
        }
        match restore(&dir, &entry, workspace, only_lock) {
            Ok(restored) => {
                self.touch(&self.entry_dir(key).join("used"));
                for package in &entry.packages {
                    if package.target.starts_with(&self.dir)
                        && let Some(parent) = package.target.parent()
                    {
                        self.touch(&parent.join(used_name(&package.target)));
                    }
                }
                restored
            }
            Err(error) => {
                tracing::warn!(%error, key, "an entry of the init cache is damaged");
                let _ = remove(&workspace.data_dir());
                Restored::Nothing
            }
        }
    }

    /// Puts the modules that are kept for `key` into a workspace that has none: to apply a plan,
    /// they are not needed, and so not restored with its lock file.
    pub(crate) fn restore_modules(&self, key: &str, workspace: &Workspace) {
        let to = workspace.data_dir().join("modules");
        let Some((dir, entry)) = self.current(key) else { return };
        let from = dir.join("modules");
        if !entry.modules || to.exists() || !from.is_dir() {
            return;
        }
        let mut budget = Budget { files: MAX_MODULE_FILES, bytes: MAX_MODULE_BYTES };
        if let Err(error) = copy(&from, &to, &mut budget) {
            tracing::warn!(%error, key, "an entry of the init cache is damaged");
            let _ = remove(&to);
        }
    }

    /// Keeps what `init` has just installed in a workspace.
    pub(crate) fn publish(
        &self,
        key: &str,
        workspace: &Workspace,
        lasting: bool,
        modules: Modules,
    ) -> io::Result<()> {
        let dir = self.entry_dir(key);
        private_dir(&dir)?;
        let generation = tempfile::Builder::new().prefix("g").rand_bytes(12).tempdir_in(&dir)?;
        let packages = self.adopt(&workspace.data_dir().join("providers"))?;
        let kept = match modules {
            Modules::None => true,
            Modules::Changing => false,
            Modules::Lasting => {
                let from = workspace.data_dir().join("modules");
                let mut budget = Budget { files: MAX_MODULE_FILES, bytes: MAX_MODULE_BYTES };
                copy(&from, &generation.path().join("modules"), &mut budget)?;
                true
            }
        };
        let lock = workspace.lock_file();
        let has_lock = lock.exists();
        if has_lock {
            std::fs::copy(lock, generation.path().join("lock.hcl"))?;
        }
        let entry = Entry {
            format: FORMAT,
            made_at_s: self.clock.now().timestamp(),
            lasting,
            packages,
            modules: kept,
            lock: has_lock,
        };
        std::fs::write(generation.path().join("entry.json"), serde_json::to_vec(&entry)?)?;
        let name = generation.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut pointer = tempfile::NamedTempFile::new_in(&dir)?;
        io::Write::write_all(&mut pointer, name.as_bytes())?;
        pointer.persist(dir.join("current")).map_err(|error| error.error)?;
        let _ = generation.keep();
        self.touch(&dir.join("used"));
        self.evict();
        Ok(())
    }

    /// Forgets an entry that did not do, and its packages.
    pub(crate) fn condemn(&self, key: &str) {
        let Some((_, entry)) = self.current(key) else { return };
        let _ = std::fs::remove_file(self.entry_dir(key).join("current"));
        for package in entry.packages {
            if package.target.starts_with(&self.dir) {
                self.unlink(&package.target);
                // Others may be running from it: out of the way first, gone with the next sweep.
                let aside = package.target.with_extension("bad");
                let _ = remove(&aside);
                let _ = std::fs::rename(&package.target, &aside);
            }
        }
    }

    /// Notes that something was used, or looked at, now.
    ///
    /// In one stroke: whoever sweeps at the same moment and found the mark empty would take it for
    /// one that nobody has used for ages, and remove what has just been taken into use.
    fn touch(&self, path: &Path) {
        let Some(dir) = path.parent() else { return };
        let written =
            tempfile::Builder::new().prefix(".used").tempfile_in(dir).and_then(|mut new| {
                io::Write::write_all(
                    &mut new,
                    self.clock.now().timestamp().to_string().as_bytes(),
                )?;
                new.persist(path).map(drop).map_err(|error| error.error)
            });
        // It only counts as older than it is.
        let _ = written;
    }

    fn unused_for(&self, mark: &Path) -> i64 {
        let text = std::fs::read_to_string(mark).unwrap_or_default();
        let then = text.trim().parse::<i64>().unwrap_or(0);
        self.clock.now().timestamp().saturating_sub(then)
    }

    /// The entries that nothing has used for a while, and for how long, least unused first. Old
    /// generations of the others are removed on the way.
    fn unused_entries(&self) -> Vec<(i64, PathBuf)> {
        let mut entries: Vec<(i64, PathBuf)> = Vec::new();
        for dir in directories(&self.dir.join("init")) {
            let unused = self.unused_for(&dir.join("used"));
            let current = std::fs::read_to_string(dir.join("current")).unwrap_or_default();
            if unused > OLD_GENERATION_S {
                entries.push((unused, dir));
                continue;
            }
            for generation in directories(&dir) {
                let name = generation.file_name().unwrap_or_default().to_string_lossy();
                let made = std::fs::read(generation.join("entry.json"))
                    .ok()
                    .and_then(|content| serde_json::from_slice::<Entry>(&content).ok())
                    .map_or(0, |entry| entry.made_at_s);
                let age = self.clock.now().timestamp().saturating_sub(made);
                if name != current.trim() && made != 0 && age > OLD_GENERATION_S {
                    let _ = remove(&generation);
                }
            }
        }
        entries.sort();
        entries
    }

    /// Removes those that are too old, and those for which there is no room.
    fn remove_entries(&self, entries: &[(i64, PathBuf)]) {
        let recent = directories(&self.dir.join("init")).len().saturating_sub(entries.len());
        let room = MAX_ENTRIES.saturating_sub(recent);
        for (i, (unused, dir)) in entries.iter().enumerate() {
            if *unused <= UNUSED_FOR_S && i < room {
                continue;
            }
            // One that had no mark yet is new. Whoever makes it holds its lock, and may have ended
            // since we looked: only under the lock does the mark say the truth.
            let Ok(_held) = self.try_lock(dir) else { continue };
            if self.unused_for(&dir.join("used")) >= *unused {
                let _ = remove(dir);
            }
        }
    }

    /// Removes what nothing has used for long. Called when something is added, which is rare.
    pub(crate) fn evict(&self) {
        let unused = self.unused_entries();
        self.remove_entries(&unused);
        self.forget_looks();
        for package in leaves(&self.dir.join("packages"), 5).unwrap_or_default() {
            let bad = package.extension().is_some_and(|e| e == "bad");
            let mark = package.with_file_name(used_name(&package));
            if package.is_dir() && (bad || (mark.exists() && self.unused_for(&mark) > UNUSED_FOR_S))
            {
                self.unlink(&package);
                let _ = remove(&package);
                let _ = remove(&mark);
            }
        }
    }
}

/// What an entry keeps of the modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modules {
    /// There are none, or only local ones that need no fetching.
    None,
    /// They stay what they are: kept.
    Lasting,
    /// They may be others tomorrow (a git branch): not kept.
    Changing,
}

fn restore(
    dir: &Path,
    entry: &Entry,
    workspace: &Workspace,
    only_lock: Option<&[u8]>,
) -> io::Result<Restored> {
    if let Some(wanted) = only_lock
        && (!entry.lock || std::fs::read(dir.join("lock.hcl"))? != wanted)
    {
        return Ok(Restored::Nothing);
    }
    for package in &entry.packages {
        if !package.target.is_dir() {
            return Err(io::Error::other(format!("the package {} is gone", package.path)));
        }
    }
    let providers = workspace.data_dir().join("providers");
    for package in &entry.packages {
        let link = providers.join(&package.path);
        if let Some(parent) = link.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::os::unix::fs::symlink(&package.target, link)?;
    }
    if entry.lock && only_lock.is_none() {
        std::fs::copy(dir.join("lock.hcl"), workspace.lock_file())?;
    }
    if !entry.modules {
        return Ok(Restored::Providers);
    }
    let modules = dir.join("modules");
    if modules.is_dir() && only_lock.is_none() {
        let mut budget = Budget { files: MAX_MODULE_FILES, bytes: MAX_MODULE_BYTES };
        copy(&modules, &workspace.data_dir().join("modules"), &mut budget)?;
    }
    Ok(Restored::Whole)
}

fn used_name(package: &Path) -> String {
    format!(".{}.used", package.file_name().unwrap_or_default().to_string_lossy())
}

/// A directory of our own, mode 0700, parents included.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let Ok(items) = std::fs::read_dir(path) else { return Vec::new() };
    items.flatten().map(|item| item.path()).filter(|p| p.is_dir() && !p.is_symlink()).collect()
}

/// What is `depth` levels below `path`, directories and links; sorted.
fn leaves(path: &Path, depth: usize) -> io::Result<Vec<PathBuf>> {
    let mut level = vec![path.to_path_buf()];
    for _ in 0..depth {
        let mut next = Vec::new();
        for dir in level {
            match std::fs::read_dir(&dir) {
                Ok(items) => {
                    for item in items {
                        let path = item?.path();
                        if path.is_dir() {
                            next.push(path);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        level = next;
    }
    level.sort();
    Ok(level)
}

struct Budget {
    files: usize,
    bytes: u64,
}

/// Copies a directory, without `.git`.
fn copy(from: &Path, to: &Path, budget: &mut Budget) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for item in std::fs::read_dir(from)? {
        let item = item?;
        let kind = item.file_type()?;
        let target = to.join(item.file_name());
        if kind.is_dir() {
            if item.file_name() != ".git" {
                copy(&item.path(), &target, budget)?;
            }
            continue;
        }
        let size = if kind.is_file() { item.metadata()?.len() } else { 0 };
        let (files, bytes) = (budget.files.checked_sub(1), budget.bytes.checked_sub(size));
        let (Some(files), Some(bytes)) = (files, bytes) else {
            return Err(io::Error::other("there is more than a cache entry may hold"));
        };
        *budget = Budget { files, bytes };
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(item.path())?, target)?;
        } else if kind.is_file() {
            std::fs::copy(item.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
