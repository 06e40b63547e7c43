//! Measures what a child and everything that it started take: time, and memory at its peak.
//!
//! Memory is looked at now and then while the child runs: the resident sets of the whole family at
//! one moment, added up. Pages that several share count for each, so it is rather too much than too
//! little; a peak between two looks is missed. Without `/proc` there is no figure.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use slipway_domain::run_history::Measure;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The first look comes so soon, for those that are done quickly; the pause doubles from there.
const FIRST: Duration = Duration::from_millis(25);
/// The longest pause between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Looks at a family until it is dropped.
pub(crate) struct Sampler {
    began: Instant,
    peak: Arc<AtomicI64>,
    task: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Begins to measure the family of `leader`; the leader itself does not count when it is only
    /// the tool's guard.
    pub(crate) fn start(leader: Option<i32>, is_guard: bool) -> Self {
        let peak = Arc::new(AtomicI64::new(0));
        let seen = peak.clone();
        let task = leader.map(|leader| {
            tokio::spawn(async move {
                let mut pause = FIRST;
                loop {
                    tokio::time::sleep(pause).await;
                    let look = move || resident_bytes(leader, is_guard);
                    let now = tokio::task::spawn_blocking(look).await.unwrap_or_default();
                    seen.fetch_max(now, Ordering::Relaxed);
                    pause = (pause * 2).min(EVERY);
                }
            })
        });
        Self { began: Instant::now(), peak, task }
    }

    /// What it has come to so far.
    pub(crate) fn measure(&self) -> Measure {
        let peak = self.peak.load(Ordering::Relaxed);
        Measure {
            wall_ms: i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX),
            peak_rss_bytes: (peak > 0).then_some(peak),
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What a family holds in memory right now.
fn resident_bytes(leader: i32, is_guard: bool) -> i64 {
    let family = family(leader);
    let counted = family.iter().filter(|pid| !(is_guard && **pid == leader));
    counted.filter_map(|pid| resident_of(*pid)).sum()
}

fn resident_of(pid: i32) -> Option<i64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The leader and all that descend from it.
fn family(leader: i32) -> Vec<i32> {
    if !std::path::Path::new(&format!("/proc/{leader}/task/{leader}/children")).exists() {
        return group(leader);
    }
    let mut found = vec![leader];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        // Each thread has children of its own.
        let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let list = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in list.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                if !found.contains(&child) {
                    found.push(child);
                }
            }
        }
    }
    found
}

/// The process group of the leader, by looking at all: not every kernel keeps lists of children.
fn group(leader: i32) -> Vec<i32> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = all.flatten().filter_map(|item| item.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| group_of(*pid) == Some(leader)).collect()
}

fn group_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name is in brackets, and may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_found_in_both_ways_and_has_a_size() {
        use std::os::unix::process::CommandExt as _;
        #[expect(clippy::disallowed_methods, reason = "a family to be found")]
        let mut leader = std::process::Command::new("/bin/sh")
            .args(["-c", "sleep 60 & wait"])
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = i32::try_from(leader.id()).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while family(pid).len() < 2 && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let (mut by_tree, mut by_group) = (family(pid), group(pid));
        by_tree.sort_unstable();
        by_group.sort_unstable();
        let (whole, without) = (resident_bytes(pid, false), resident_bytes(pid, true));
        let group = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        leader.wait().unwrap();
        assert_eq!((by_tree.len(), &by_tree), (2, &by_group));
        assert!(whole > without && without > 0, "{whole} {without}");
    }
}
