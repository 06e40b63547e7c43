//! Collects what lost runs left on this machine: the directories of workers that are dead, and those
//! of this worker's own lost applies. Nothing of a run may be alive when its directory is read: its
//! guard ends it in order as long as its lease lasts, and what is there after that is killed here.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use slipway_domain::fault::{Fault, Kind};
use slipway_services::recovery;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::workspace::{DeadWorker, LeftRun};

/// How often it is looked for dead workers.
const PERIOD: Duration = Duration::from_secs(3);
/// How often it is looked at what could not be collected yet.
const AGAIN: Duration = Duration::from_millis(500);
/// How long killed processes may take to be gone.
const KILL: Duration = Duration::from_secs(5);

/// Collects until `end`, and once more then.
pub(crate) async fn collect(shared: Arc<Shared>, end: CancellationToken) {
    loop {
        let waits = pass(&shared).await;
        tokio::select! {
            biased;
            () = end.cancelled() => break,
            () = shared.workspaces.more_left() => {}
            () = tokio::time::sleep(if waits { AGAIN } else { PERIOD }) => {}
        }
    }
    pass(&shared).await;
}

/// Looks at everything once; says whether something has to wait.
async fn pass(shared: &Arc<Shared>) -> bool {
    let mut waits = false;
    for run in shared.workspaces.left() {
        if one(shared, &run).await {
            shared.workspaces.collected(&run);
        } else {
            waits = true;
        }
    }
    let looking = shared.clone();
    let found = tokio::task::spawn_blocking(move || looking.workspaces.dead()).await;
    let dead = match found.map_err(io::Error::other).and_then(|found| found) {
        Ok(dead) => dead,
        Err(error) => {
            tracing::warn!(%error, "it cannot be seen what dead workers left");
            return waits;
        }
    };
    for worker in dead {
        let mut all = true;
        for run in worker.runs() {
            all &= one(shared, &run).await;
        }
        if all {
            let _ = tokio::task::spawn_blocking(move || DeadWorker::wipe(worker)).await;
        }
        waits |= !all;
    }
    waits
}

/// Collects one run; `false` when it has to wait.
async fn one(shared: &Arc<Shared>, run: &LeftRun) -> bool {
    match try_one(shared, run).await {
        Ok(done) => done,
        Err(fault) => {
            let (job_id, epoch) = (run.lease.job_id, run.lease.epoch);
            if fault.kind() == Kind::Unavailable {
                tracing::warn!(%job_id, epoch, %fault, "a lost run cannot be collected yet");
            } else {
                tracing::error!(%job_id, epoch, %fault, cause = fault.causes(),
                    path = %run.path.display(), "a lost run cannot be collected");
            }
            false
        }
    }
}

async fn try_one(shared: &Arc<Shared>, run: &LeftRun) -> Result<bool, Fault> {
    let path = run.path.clone();
    let alive = blocking(move || Ok(!processes_of(&path)?.is_empty())).await?;
    if alive {
        let lease_lives = shared.cx.store.read().await?.is_lease_alive(&run.lease).await?;
        if lease_lives {
            // Its guard is ending it.
            return Ok(false);
        }
        let path = run.path.clone();
        if !blocking(move || kill_all(&path)).await? {
            tracing::error!(path = %run.path.display(),
                "processes of a lost run do not go away; it is not collected as long as they live");
            return Ok(false);
        }
    }
    let (driver, path) = (shared.tools.driver.clone(), run.path.clone());
    let found = blocking(move || Ok(driver.salvage(&path))).await?;
    let (entries, state) = (found.journal.as_ref().map(Vec::len), found.state.is_some());
    let of = run.lease.job_id;
    let collected = recovery::collect(&shared.cx, of, run.lease.epoch, found).await?;
    tracing::info!(job_id = %of, epoch = run.lease.epoch, ?entries, state, ?collected,
        "collected what a lost run left");
    Ok(true)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).and_then(|done| done).map_err(Fault::internal)
}

/// Kills what runs in, or was started for, a directory; `false` when something does not go away.
fn kill_all(dir: &Path) -> io::Result<bool> {
    let began = std::time::Instant::now();
    loop {
        let alive = processes_of(dir)?;
        if alive.is_empty() {
            return Ok(true);
        }
        if began.elapsed() > KILL {
            return Ok(false);
        }
        for pid in alive {
            tracing::warn!(pid = pid.as_raw_nonzero(), "killing a process of a lost run");
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processes whose current directory is in `dir`, or whose environment names it: the tools of a run
/// have both, and what they start inherits it. On systems without `/proc` none are found; there the
/// guard alone sees to it.
fn processes_of(dir: &Path) -> io::Result<Vec<Pid>> {
    let items = match std::fs::read_dir("/proc") {
        Ok(items) => items,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let me = rustix::process::getpid();
    let wanted = dir.as_os_str().as_encoded_bytes();
    let mut found = Vec::new();
    for item in items.flatten() {
        let number = item.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw).filter(|pid| *pid != me) else { continue };
        let at = item.path();
        let inside = std::fs::read_link(at.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let named = || {
            let environ = std::fs::read(at.join("environ")).unwrap_or_default();
            environ.windows(wanted.len()).any(|part| part == wanted)
        };
        if inside || named() {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_run_are_found_and_killed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        #[expect(clippy::disallowed_methods, reason = "children to be found")]
        let sleep = || {
            let mut command = std::process::Command::new("/bin/sleep");
            command.arg("60");
            command
        };
        let mut inside = sleep().current_dir(&path).spawn().unwrap();
        let mut named = sleep().env("TF_DATA_DIR", path.join("x")).spawn().unwrap();
        let mut other = sleep().spawn().unwrap();
        let mut found: Vec<_> =
            processes_of(&path).unwrap().iter().map(|pid| pid.as_raw_nonzero().get()).collect();
        found.sort_unstable();
        let mut wanted = [inside.id(), named.id()].map(|id| i32::try_from(id).unwrap());
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        assert!(kill_all(&path).unwrap());
        assert!(!inside.wait().unwrap().success() && !named.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "a stranger was killed");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
