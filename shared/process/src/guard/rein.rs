//! The worker's end of a guard's socket. Nothing here waits: a guard that does not listen must not
//! hold up its worker.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use slipway_domain::port::driver::LeaseEnd;

use super::{Order, Report, Times, WORD, time_arguments};

/// Most that is read of what a guard says.
const MAX_REPORT_BYTES: u64 = 4096;

/// Holds a guard. When it is dropped, the guard takes its worker for dead.
#[derive(Debug)]
pub(crate) struct Rein(UnixStream);

impl Rein {
    /// The two ends: ours, and the guard's standard input.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Self(ours), theirs.into()))
    }

    /// The guard's own arguments, which come before the program's name and arguments.
    pub(crate) fn arguments(end: Option<LeaseEnd>) -> Vec<OsString> {
        let mut arguments = vec![WORD.into()];
        arguments.extend(time_arguments(end.map(Times::of)));
        arguments
    }

    /// Says until when the lease is good.
    pub(crate) fn lease(&self, end: LeaseEnd) {
        // One that is not heard is as if no heartbeat had got through: the tool ends too early.
        let _ = self.say(Order::Lease(Times::of(end)));
    }

    /// Has the tool asked to end.
    pub(crate) fn gently(&self) -> io::Result<()> {
        self.say(Order::Gently)
    }

    /// Has the tool killed, with everything it started.
    pub(crate) fn now(&self) -> io::Result<()> {
        self.say(Order::Now)
    }

    fn say(&self, order: Order) -> io::Result<()> {
        // So short a line goes through whole or not at all.
        (&self.0).write_all(order.line().as_bytes())
    }

    /// What the guard has said. To be asked when it has ended.
    pub(crate) fn reports(self) -> Vec<Report> {
        let mut said = Vec::new();
        let _ = self.0.take(MAX_REPORT_BYTES).read_to_end(&mut said);
        String::from_utf8_lossy(&said).lines().filter_map(Report::parse).collect()
    }
}
