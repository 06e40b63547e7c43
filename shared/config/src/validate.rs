//! Rules that values must keep together. Each section checks itself; what concerns two of them is
//! here.

use std::net::SocketAddr;

use crate::Config;
use crate::problem::Problem;
use crate::section::AuthMode;

pub(crate) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.data_dir.as_os_str().is_empty() {
        problems.push(Problem::at("data_dir", "it must not be empty"));
    }
    config.api.check(&mut problems);
    config.auth.check(&mut problems);
    if config.auth.mode == AuthMode::None {
        problems.extend(check_open("api.listen", config.api.listen));
    }
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

/// Where nobody is asked who they are, whoever reaches the listener may do everything.
fn check_open(key: &str, address: SocketAddr) -> Option<Problem> {
    (!address.ip().to_canonical().is_loopback()).then(|| {
        Problem::at(
            key,
            format!(
                "{address} can be reached from other machines, and with auth.mode `none` nobody is asked who they are: whoever reaches it may do everything. \
                 Set auth.mode to `required`, or listen on a loopback address (127.0.0.1:{port} or [::1]:{port})",
                port = address.port()
            ),
        )
        .with("auth.mode")
    })
}

/// A worker tells everybody who asks how it is.
pub(crate) fn check_loopback(key: &str, address: SocketAddr) -> Option<Problem> {
    (!address.ip().to_canonical().is_loopback()).then(|| {
        Problem::at(
            key,
            format!(
                "{address} can be reached from other machines, and a worker does not authenticate who asks for its health and metrics. \
                 Listen on a loopback address (127.0.0.1:{port} or [::1]:{port})",
                port = address.port()
            ),
        )
    })
}
