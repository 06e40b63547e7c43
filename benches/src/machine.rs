//! Processes: the only place that starts them. And what runs on the machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

/// A command in `dir` whose behaviour our own environment does not change.
pub(crate) fn command(program: &Path, dir: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let foreign = ["SLIPWAY_", "TF_", "PG", "OTEL_", "RUST_LOG"];
        if foreign.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    // Neither side asks the vendor for news; the product sets it for its own children too.
    // What is measured with somebody signed in says so itself.
    command.env("SLIPWAY_AUTH_MODE", "none");
    command.env("CHECKPOINT_DISABLE", "1").current_dir(dir).stdin(Stdio::null());
    command
}

/// The load averages, so that a run on a busy machine can be told from one on a quiet one.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Resident memory of a process, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) now: f64,
    /// At its highest so far.
    pub(crate) peak: f64,
}

/// The processor time that a process has taken so far, in user mode and in the kernel.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(')').context("no name in its stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).context("no times in its stat")?;
    let second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis((ticks.0 + ticks.1) * 1000 / second))
}

/// The resident memory of a process.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0).with_context(|| format!("no {name} in its status"))
    };
    Ok(Memory { now: mib("VmRSS:")?, peak: mib("VmHWM:")? })
}
