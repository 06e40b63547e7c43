//! Directories of jobs: private, one a run, wiped at its end. Those that a killed process left behind,
//! and those of applies that were lost, are kept until [`crate::collect`] has read them.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipway_domain::id::{JobId, WorkerId};
use slipway_domain::job::Lease;
use tokio::sync::Notify;

/// The file whose lock says that the process which made the directory is alive.
const LOCK: &str = ".lock";

/// The directory of this process below the configured one.
#[derive(Debug)]
pub(crate) struct Workspaces {
    /// The configured one.
    dir: PathBuf,
    root: PathBuf,
    left: Arc<Left>,
    _lock: File,
}

/// Directories of lost applies of this process.
#[derive(Debug, Default)]
struct Left {
    runs: Mutex<Vec<LeftRun>>,
    more: Notify,
}

impl Left {
    fn runs(&self) -> MutexGuard<'_, Vec<LeftRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directory of a run that nobody is in charge of any more.
#[derive(Debug, Clone)]
pub(crate) struct LeftRun {
    pub(crate) path: PathBuf,
    pub(crate) lease: Lease,
}

impl LeftRun {
    /// Reads its lease from where it is.
    fn at(path: PathBuf, worker_id: WorkerId) -> Option<Self> {
        let (job, epoch) = path.file_name()?.to_str()?.rsplit_once('-')?;
        let (job_id, epoch) = (job.parse::<JobId>().ok()?, epoch.parse().ok()?);
        Some(Self { lease: Lease { job_id, worker_id, epoch }, path })
    }
}

/// The directory of a dead worker. While this is held, no other process collects it.
#[derive(Debug)]
pub(crate) struct DeadWorker {
    path: PathBuf,
    lock: Option<File>,
}

impl DeadWorker {
    /// The directories of its runs.
    pub(crate) fn runs(&self) -> Vec<LeftRun> {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(worker) = name.parse::<WorkerId>() else { return Vec::new() };
        let Ok(items) = std::fs::read_dir(&self.path) else { return Vec::new() };
        let dirs = items.flatten().map(|item| item.path()).filter(|path| path.is_dir());
        dirs.filter_map(|path| LeftRun::at(path, worker)).collect()
    }

    /// Wipes all of it.
    pub(crate) fn wipe(self) {
        let _until_then = self.lock;
        tracing::info!(path = %self.path.display(), "wiping what a dead worker left");
        wipe(&self.path);
    }
}

impl Workspaces {
    /// Makes the process's directory.
    pub(crate) fn open(dir: &Path, worker: WorkerId) -> io::Result<Self> {
        private(dir)?;
        let _gate = gate(dir)?;
        let root = dir.join(worker.to_string());
        private(&root)?;
        let lock = File::create(root.join(LOCK))?;
        lock.lock()?;
        // A relative path would follow the process's current directory.
        let (root, dir) = (root.canonicalize()?, dir.canonicalize()?);
        Ok(Self { dir, root, left: Arc::default(), _lock: lock })
    }

    /// A new, empty directory for one run.
    pub(crate) fn make(&self, lease: &Lease) -> io::Result<Workspace> {
        let path = self.root.join(format!("{}-{}", lease.job_id, lease.epoch));
        private(&path)?;
        let left = AtomicBool::new(false);
        Ok(Workspace { run: LeftRun { path, lease: *lease }, left, list: self.left.clone() })
    }

    /// Directories of workers that are dead, each held by the one who gets it here.
    pub(crate) fn dead(&self) -> io::Result<Vec<DeadWorker>> {
        let _gate = gate(&self.dir)?;
        let mut dead = Vec::new();
        for item in std::fs::read_dir(&self.dir)? {
            let path = item?.path();
            let ours = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("wrk_"));
            if !ours || !path.is_dir() || path == self.root {
                continue;
            }
            match File::open(path.join(LOCK)).map(|lock| (lock.try_lock(), lock)) {
                Ok((Err(TryLockError::WouldBlock), _)) => {}
                Ok((Err(TryLockError::Error(error)), _)) => return Err(error),
                Ok((Ok(()), lock)) => dead.push(DeadWorker { path, lock: Some(lock) }),
                // It was never locked, by a process that died before it could.
                Err(_) => dead.push(DeadWorker { path, lock: None }),
            }
        }
        Ok(dead)
    }

    /// Directories of this process's own lost applies.
    pub(crate) fn left(&self) -> Vec<LeftRun> {
        self.left.runs().clone()
    }

    /// Wipes the directory of a run that was collected.
    pub(crate) fn collected(&self, run: &LeftRun) {
        wipe(&run.path);
        self.left.runs().retain(|left| left.path != run.path);
    }

    /// Waits until there is one more.
    pub(crate) async fn more_left(&self) {
        self.left.more.notified().await;
    }
}

impl Drop for Workspaces {
    fn drop(&mut self) {
        // What is not collected yet is for the next process.
        if self.left.runs().is_empty() {
            wipe(&self.root);
        }
    }
}

/// The directory of one run; wiped when dropped, unless it is left to be collected.
#[derive(Debug)]
pub(crate) struct Workspace {
    run: LeftRun,
    left: AtomicBool,
    list: Arc<Left>,
}

impl Workspace {
    pub(crate) fn path(&self) -> &Path {
        &self.run.path
    }

    /// Wipes it when nothing is in it, which takes no time; says whether that was so.
    pub(crate) fn wiped_if_empty(&self) -> bool {
        !self.left.load(Ordering::Relaxed) && std::fs::remove_dir(&self.run.path).is_ok()
    }

    /// Its run was lost: what is in it is to be collected.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.left.load(Ordering::Relaxed) {
            self.list.runs().push(self.run.clone());
            self.list.more.notify_one();
        } else {
            wipe(&self.run.path);
        }
    }
}

fn wipe(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a workspace could not be wiped whole");
    }
}

fn private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// One process at a time: between the making of a directory and its locking, it would look like one
/// that a dead process left.
fn gate(dir: &Path) -> io::Result<File> {
    let gate = File::create(dir.join(LOCK))?;
    gate.lock()?;
    Ok(gate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::id::RandomMint;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_dead_workers_directory_goes_and_a_living_ones_stays() {
        let dir = std::env::temp_dir().join(format!("slipway-ws-{}", JobId::new(&RandomMint)));
        let (a, b) = (WorkerId::new(&RandomMint), WorkerId::new(&RandomMint));
        let alive = Workspaces::open(&dir, a).unwrap();
        let lease = Lease { job_id: JobId::new(&RandomMint), worker_id: a, epoch: 1 };
        let workspace = alive.make(&lease).unwrap();
        let mode = std::fs::metadata(workspace.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        // What a killed process leaves: the directory, without anybody who holds the lock.
        let dead = dir.join("wrk_dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        std::fs::write(dead.join("secret"), "x").unwrap();
        // Or not even the lock: it died while it started. And what is not ours is left alone.
        let unborn = dir.join("wrk_unborn");
        std::fs::create_dir(&unborn).unwrap();
        std::fs::create_dir(dir.join("somebody")).unwrap();
        let other = Workspaces::open(&dir, b).unwrap();
        let found = other.dead().unwrap();
        assert_eq!(found.len(), 2);
        // Whoever is in charge of them is alone.
        assert!(alive.dead().unwrap().iter().all(|found| found.lock.is_none()));
        found.into_iter().for_each(DeadWorker::wipe);
        assert!(!dead.exists() && !unborn.exists());
        assert!(dir.join("somebody").exists());
        assert!(workspace.path().exists());
        let path = workspace.path().to_owned();
        drop(workspace);
        assert!(!path.exists());
        drop((alive, other));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_directory_of_a_lost_apply_stays_until_it_is_collected() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (WorkerId::new(&RandomMint), WorkerId::new(&RandomMint));
        let lease = |epoch| Lease { job_id: JobId::new(&RandomMint), worker_id: a, epoch };
        let dying = Workspaces::open(dir.path(), a).unwrap();
        let (one, two) = (dying.make(&lease(3)).unwrap(), dying.make(&lease(4)).unwrap());
        let leases = [one.run.lease, two.run.lease];
        for workspace in [one, two] {
            std::fs::write(workspace.path().join("state"), "x").unwrap();
            workspace.leave();
        }
        let left = dying.left();
        assert_eq!(left.iter().map(|run| run.lease).collect::<Vec<_>>(), leases);
        dying.collected(&left[0]);
        assert!(!left[0].path.exists() && dying.left().len() == 1);
        // It ends before it has collected the other: the next one does.
        drop(dying);
        let next = Workspaces::open(dir.path(), b).unwrap();
        let dead = next.dead().unwrap();
        let runs: Vec<_> = dead.iter().flat_map(DeadWorker::runs).collect();
        assert_eq!(runs.iter().map(|run| run.lease).collect::<Vec<_>>(), leases[1..]);
        assert!(runs[0].path.join("state").exists());
        dead.into_iter().for_each(DeadWorker::wipe);
        assert!(!left[1].path.exists());
    }
}
