//! Ports for servers that a test stops and starts again.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

/// A free port of this machine that stays the test's own while its server is down.
///
/// It is below the range from which outgoing connections take theirs: otherwise a client that tries
/// and tries again while the server is away may one day connect to itself, and keep the port.
pub(crate) fn quiet_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let low = range.ok().and_then(|r| r.split_whitespace().next()?.parse().ok()).unwrap_or(32768);
    let top = if low > 12_000 { low } else { 32_768 };
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = rand::random_range(10_000..top);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
            return port;
        }
    }
}
