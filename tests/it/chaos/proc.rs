//! Looks at the machine's processes, in `/proc`. What a worker starts works in a directory that
//! names its job and epoch, so that it is known also when its worker is dead.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// A process.
#[derive(Debug, Clone)]
pub(crate) struct Proc {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// It is frozen: it does nothing until somebody lets it go on.
    pub(crate) stopped: bool,
    cwd: PathBuf,
}

/// A run of a job: its id and epoch.
pub(crate) type RunKey = (String, i64);

impl Proc {
    fn read(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program is in brackets, and may hold anything.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // One that has ended and that its parent has not looked at does nothing any more.
        if state == "Z" || state == "X" {
            return None;
        }
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let stopped = matches!(state, "T" | "t");
        Some(Self { pid, parent, stopped, cwd })
    }

    /// Whether it works below `dir`.
    pub(crate) fn is_below(&self, dir: &Path) -> bool {
        self.cwd.starts_with(dir)
    }

    /// The run that this process belongs to, if its directory says so.
    pub(crate) fn run(&self) -> Option<RunKey> {
        run_in(&self.cwd)
    }
}

fn run_in(path: &Path) -> Option<RunKey> {
    path.iter().find_map(|part| {
        let part = part.to_str()?.strip_suffix(" (deleted)").unwrap_or(part.to_str()?);
        let (job, epoch) = part.strip_prefix("job_")?.split_once('-')?;
        Some((format!("job_{job}"), epoch.parse().ok()?))
    })
}

/// Every process there is.
pub(crate) fn all() -> Vec<Proc> {
    let Ok(items) = std::fs::read_dir("/proc") else { return Vec::new() };
    items.flatten().filter_map(|i| Proc::read(i.file_name().to_str()?.parse().ok()?)).collect()
}

/// Those of `all` that come from `root`, without itself.
pub(crate) fn descendants(root: i32, all: &[Proc]) -> BTreeSet<i32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        found.extend(
            all.iter().filter(|p| found.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>(),
        );
        if found.len() == before {
            found.remove(&root);
            return found;
        }
    }
}

/// Freezes all that comes from `root`, which must be frozen already, and says what that is. When it
/// returns, none of them starts anything more: a signal that was sent has not stopped anybody yet,
/// so it looks until all of them stand still and nobody new has come.
pub(crate) fn freeze_descendants(root: i32) -> BTreeSet<i32> {
    /// Looks at most; what has ended in between never stands still.
    const LOOKS: usize = 500;
    let mut frozen = BTreeSet::new();
    for _ in 0..LOOKS {
        let all = all();
        let found = descendants(root, &all);
        let before = frozen.len();
        for pid in &found {
            if frozen.insert(*pid) {
                signal(*pid, Signal::STOP);
            }
        }
        let still = all.iter().filter(|p| found.contains(&p.pid)).all(|p| p.stopped);
        if frozen.len() == before && still {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    frozen
}

/// Those of `all` that work below `dir`.
pub(crate) fn below(dir: &Path, all: &[Proc]) -> BTreeSet<i32> {
    all.iter().filter(|p| p.is_below(dir)).map(|p| p.pid).collect()
}

/// Whether anything of this job is alive, in whatever epoch.
pub(crate) fn runs(job: &str) -> bool {
    all().iter().any(|p| p.run().is_some_and(|(of, _)| of == job))
}

/// Sends a signal; a process that has ended meanwhile is no matter.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

#[test]
fn a_directory_names_the_run() {
    let run = |path: &str| run_in(Path::new(path));
    let id = "job_0199aa";
    let wanted = Some((id.to_owned(), 3));
    assert_eq!(run("/tmp/x/work/wrk_1/job_0199aa-3/src/root"), wanted);
    assert_eq!(run("/tmp/x/work/wrk_1/job_0199aa-3 (deleted)"), wanted);
    assert_eq!(run("/tmp/x/work/wrk_1"), None);
    assert_eq!(run("/tmp/job_x"), None);
}

#[test]
fn children_are_found_with_their_children() {
    let mut child =
        std::process::Command::new("/bin/sh").args(["-c", "sleep 60 & sleep 60"]).spawn().unwrap();
    let root = i32::try_from(child.id()).unwrap();
    let found = loop {
        let found = descendants(root, &all());
        if !found.is_empty() {
            break found;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert!(!found.contains(&root), "{found:?}");
    for pid in found.iter().chain([&root]) {
        signal(*pid, Signal::KILL);
    }
    child.wait().unwrap();
}
