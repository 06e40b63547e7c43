//! Where the directories of running jobs are. They hold plans, states and variables in clear, so
//! memory is a better place than a disk, where there is room.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use slipway_config::Config;

/// What `worker.workspace` says for "in memory, where that can be".
const AUTO: &str = "auto";
/// Where Linux has a file system in memory that everybody may write to.
const MEMORY: &str = "/dev/shm";
/// Less room than this is none.
const MIN_FREE_BYTES: u64 = 1 << 30;
/// What `statfs` says of tmpfs.
const TMPFS: i128 = 0x0102_1994;

/// The directory. Makes nothing but the one in memory.
pub(crate) fn choose(config: &Config) -> PathBuf {
    let usual = config.data_dir.join("work");
    match config.worker.workspace.as_deref() {
        None => usual,
        Some(AUTO) => match in_memory(Path::new(MEMORY), &config.data_dir) {
            Ok(dir) => dir,
            Err(why) => {
                tracing::warn!(
                    why, used = %usual.display(), "the workspaces of jobs cannot be in memory"
                );
                usual
            }
        },
        Some(path) => PathBuf::from(path),
    }
}

/// A directory of our own below `memory`; the same one after a restart, so that what a killed worker
/// left is found.
fn in_memory(memory: &Path, data_dir: &Path) -> Result<PathBuf, String> {
    let about = |e: &dyn std::fmt::Display| format!("{}: {e}", memory.display());
    let found = rustix::fs::statfs(memory).map_err(|e| about(&e))?;
    // Its width differs between platforms.
    if i128::from(found.f_type) != TMPFS {
        return Err(about(&"it is not a tmpfs"));
    }
    let free = found.f_bavail.saturating_mul(u64::try_from(found.f_bsize).unwrap_or(0));
    if free < MIN_FREE_BYTES {
        let (free, min) = (free >> 20, MIN_FREE_BYTES >> 20);
        return Err(about(&format!("{free} MiB are free and {min} MiB are needed")));
    }
    let data_dir = std::path::absolute(data_dir).map_err(|e| about(&e))?;
    let mark = slipway_domain::artifact::digest(data_dir.as_os_str().as_encoded_bytes());
    let mark = mark.rsplit(':').next().and_then(|hex| hex.get(..16)).unwrap_or_default();
    let user = rustix::process::geteuid().as_raw();
    own(memory.join(format!("slipway-{user}-{mark}")))
}

/// Makes a directory that only we can use. Everybody may write beside it, so one that is there
/// already must be ours.
fn own(dir: PathBuf) -> Result<PathBuf, String> {
    match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(format!("{}: {e}", dir.display()));
        }
        _ => {}
    }
    let meta = dir.symlink_metadata().map_err(|e| format!("{}: {e}", dir.display()))?;
    // Nothing for the group and others: the last six bits.
    let ours = meta.is_dir()
        && meta.uid() == rustix::process::geteuid().as_raw()
        && meta.mode().trailing_zeros() >= 6;
    if ours { Ok(dir) } else { Err(format!("{} belongs to somebody else", dir.display())) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_stays_with_the_data_unless_something_else_is_asked_for() {
        let mut config = Config { data_dir: "/srv/slipway".into(), ..Config::default() };
        assert_eq!(choose(&config), Path::new("/srv/slipway/work"));
        config.worker.workspace = Some("/mnt/ram".to_owned());
        assert_eq!(choose(&config), Path::new("/mnt/ram"));
    }

    #[test]
    fn a_disk_is_not_memory() {
        let why = in_memory(Path::new("/proc"), Path::new("/srv/slipway")).unwrap_err();
        assert!(why.contains("not a tmpfs"), "{why}");
        assert!(in_memory(Path::new("/nonexistent"), Path::new("/srv")).is_err());
    }

    #[test]
    fn what_others_made_or_can_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let mine = dir.path().join("mine");
        assert_eq!(own(mine.clone()).unwrap(), mine);
        assert_eq!(own(mine.clone()).unwrap(), mine, "after a restart too");
        assert_eq!(mine.metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::set_permissions(&mine, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(own(mine.clone()).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&mine, &link).unwrap();
        assert!(own(link).is_err());
    }
}
