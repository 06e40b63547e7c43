//! Processes of this benchmark that are not `slipway api`: workers of both sides and the peer's
//! API.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::machine;

/// How long a process may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How often one that is ending is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// A command that hears of it when this process dies, however that happens.
pub(super) fn bound(program: &Path, dir: &Path) -> Command {
    let mut command = machine::command(Path::new("setpriv"), dir);
    command.args(["--pdeathsig=INT", "--"]).arg(program);
    command
}

/// A running process; it is ended when dropped.
pub(super) struct Process {
    child: Child,
    said: PathBuf,
}

impl Process {
    /// Starts it; what it says goes to the end of the file `said`.
    pub(super) fn start(mut command: Command, said: PathBuf) -> anyhow::Result<Self> {
        let out = File::options().create(true).append(true).open(&said)?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdout(Stdio::from(out.try_clone()?))
            .stderr(Stdio::from(out))
            .spawn()
            .with_context(|| format!("{program} does not start"))?;
        Ok(Self { child, said })
    }

    /// Fails when it has ended.
    pub(super) fn runs(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("a process ended ({status}): {}", self.last_words());
        }
        Ok(())
    }

    /// Its resident memory now, in MiB.
    pub(super) fn memory(&self) -> anyhow::Result<f64> {
        Ok(machine::memory(self.child.id())?.now)
    }

    /// Processor time so far, its own and that of everything that it started.
    pub(super) fn cpu(&self) -> Duration {
        tree(self.child.id()).into_iter().filter_map(|pid| machine::cpu(pid).ok()).sum()
    }

    /// The end of what it said.
    pub(super) fn last_words(&self) -> String {
        let said = fs::read(&self.said).unwrap_or_default();
        let tail = said.get(said.len().saturating_sub(2000)..).unwrap_or_default();
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    /// Kills it and everything that it started, as the end of its container would. Says when.
    pub(super) fn kill(&mut self) -> Instant {
        let tree = tree(self.child.id());
        let now = Instant::now();
        for pid in tree {
            signal(pid, Signal::KILL);
        }
        let _ = self.child.wait();
        now
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        signal(self.child.id(), Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        self.kill();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A process and everything below it, the top first.
fn tree(top: u32) -> Vec<u32> {
    let mut all = vec![top];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    all
}
