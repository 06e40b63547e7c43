//! Processes: the only place that starts them. And what else runs on the machine.

use std::path::Path;
use std::process::{Command, Stdio};

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
    command.env("CHECKPOINT_DISABLE", "1").current_dir(dir).stdin(Stdio::null());
    command
}

/// The load averages, so that a run on a busy machine can be told from one on a quiet one.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
