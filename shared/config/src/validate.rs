//! Rules that values must keep together. Each section checks itself; what concerns two of them is
//! here.

use std::net::SocketAddr;

use crate::Config;
use crate::problem::Problem;

pub(crate) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.data_dir.as_os_str().is_empty() {
        problems.push(Problem::at("data_dir", "it must not be empty"));
    }
    config.api.check(&mut problems);
    config.database.check(&mut problems);
    config.queue.check(&mut problems);
    config.worker.check(&mut problems);
    config.jobs.check(&mut problems);
    config.terraform.check(&mut problems);
    config.scan.check(&mut problems);
    config.keys.check(&mut problems);
    config.telemetry.check(&mut problems);
    let (packed, unpacked) = (config.api.max_archive_bytes, config.source.max_unpacked_bytes);
    if packed as u64 > unpacked {
        problems.push(
            Problem::at(
                "api.max_archive_bytes",
                format!("{packed} bytes may be uploaded, but a source may hold only {unpacked} bytes (source.max_unpacked_bytes)"),
            )
            .with("source.max_unpacked_bytes"),
        );
    }
    problems
}

/// Until callers can be told apart, whoever reaches a listener may do everything.
pub(crate) fn check_loopback(key: &str, address: SocketAddr) -> Option<Problem> {
    (!address.ip().to_canonical().is_loopback()).then(|| {
        Problem::at(
            key,
            format!(
                "{address} can be reached from other machines, and this version does not yet authenticate its callers: whoever reaches it may do everything. \
                 Listen on a loopback address (127.0.0.1:{port} or [::1]:{port}) and put an SSH tunnel or an authenticating reverse proxy on the same host in front of it",
                port = address.port()
            ),
        )
    })
}
