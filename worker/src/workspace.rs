//! Directories of jobs: private, one a run, wiped at its end; and those that a killed process left
//! behind are wiped by the next one.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use slipway_domain::id::WorkerId;
use slipway_domain::job::Lease;

/// The file whose lock says that the process which made the directory is alive.
const LOCK: &str = ".lock";

/// The directory of this process below the configured one.
#[derive(Debug)]
pub(crate) struct Workspaces {
    root: PathBuf,
    _lock: File,
}

impl Workspaces {
    /// Makes the process's directory and wipes what dead processes left.
    pub(crate) fn open(dir: &Path, worker: WorkerId) -> io::Result<Self> {
        private(dir)?;
        // One process at a time: between the making of a directory and its locking, it would look
        // like one that a dead process left.
        let gate = File::create(dir.join(LOCK))?;
        gate.lock()?;
        wipe_dead(dir)?;
        let root = dir.join(worker.to_string());
        private(&root)?;
        let lock = File::create(root.join(LOCK))?;
        lock.lock()?;
        // A relative path would follow the process's current directory.
        let root = root.canonicalize()?;
        Ok(Self { root, _lock: lock })
    }

    /// A new, empty directory for one run.
    pub(crate) fn make(&self, lease: &Lease) -> io::Result<Workspace> {
        let path = self.root.join(format!("{}-{}", lease.job_id, lease.epoch));
        private(&path)?;
        Ok(Workspace { path })
    }
}

impl Drop for Workspaces {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// The directory of one run; wiped when dropped.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
}

impl Workspace {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a workspace could not be wiped");
        }
    }
}

fn private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn wipe_dead(dir: &Path) -> io::Result<()> {
    for item in std::fs::read_dir(dir)? {
        let path = item?.path();
        let ours = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("wrk_"));
        if !ours || !path.is_dir() {
            continue;
        }
        match File::open(path.join(LOCK)).map(|lock| lock.try_lock()) {
            Ok(Err(TryLockError::WouldBlock)) => continue,
            Ok(Err(TryLockError::Error(error))) => return Err(error),
            // Nobody holds it; or it was never locked, by a process that died before it could.
            Ok(Ok(())) | Err(_) => {}
        }
        tracing::info!(path = %path.display(), "wiping what a dead worker left");
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "it could not be wiped whole");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::id::{JobId, RandomMint};
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
        assert!(!dead.exists() && !unborn.exists());
        assert!(dir.join("somebody").exists());
        assert!(workspace.path().exists());
        let path = workspace.path().to_owned();
        drop(workspace);
        assert!(!path.exists());
        drop((alive, other));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
