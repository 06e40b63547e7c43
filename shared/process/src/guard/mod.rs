//! The guard: a small process between the worker and each tool that it starts. It ends the tool in
//! time when the worker cannot, because it was killed, is frozen, or does not run at all.
//!
//! The guard is the same executable, started with a word that no person types; [`guard`] finds it
//! before anything else is set up, so it costs little more than a `fork` and an `exec`. Its standard
//! input is a socket to the worker; the tool inherits everything else (output, environment,
//! directory, process group) as if the worker had started it. Over the socket the worker says until
//! when its lease is good, as a time of the machine's `CLOCK_BOOTTIME`: both are on one machine, no
//! one can set it back, and unlike `CLOCK_MONOTONIC` it goes on while the machine sleeps, as the
//! lease does in the database.
//!
//! `inside` is what runs in the guard, `rein` is the worker's end of the socket. Here is only what
//! both must agree on.

mod inside;
mod rein;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use slipway_domain::port::driver::LeaseEnd;

pub use inside::guard;
pub(crate) use rein::Rein;

/// Who looks after the tools when the worker cannot: the program through which each is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Guard {
    /// Nobody: a tool goes on when this process is killed. For tests alone.
    #[default]
    None,
    /// This very executable, whose `main` calls [`crate::guard()`] before anything else.
    This,
    /// Another executable that does so.
    At(PathBuf),
}

impl Guard {
    /// The executable, if there is to be one.
    pub fn program(&self) -> Option<PathBuf> {
        match self {
            Self::None => None,
            // Also when the file was replaced by a newer version meanwhile: both sides speak as one.
            Self::This if cfg!(target_os = "linux") => Some("/proc/self/exe".into()),
            Self::This => std::env::current_exe().ok(),
            Self::At(program) => Some(program.clone()),
        }
    }
}

/// The first argument of a guard. Then follow the two times, the program and its arguments.
const WORD: &str = "internal-guard-of-a-tool";

/// When a lease ends, in nanoseconds of [`now_ns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    interrupt: u64,
    kill: u64,
}

impl Times {
    fn of(end: LeaseEnd) -> Self {
        // Read first, so that what passes in between makes the lease shorter, not longer.
        let base = now_ns();
        let now = Instant::now();
        let at = |at: Instant| {
            let left = at.saturating_duration_since(now).as_nanos();
            base.saturating_add(u64::try_from(left).unwrap_or(u64::MAX))
        };
        Self { interrupt: at(end.interrupt_at), kill: at(end.kill_at) }
    }
}

/// What the worker says, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The lease is good until then.
    Lease(Times),
    /// Ask the tool to end, once.
    Gently,
    /// Kill it and everything it started.
    Now,
}

impl Order {
    fn line(self) -> String {
        match self {
            Self::Lease(Times { interrupt, kill }) => format!("lease {interrupt} {kill}\n"),
            Self::Gently => "gently\n".to_owned(),
            Self::Now => "now\n".to_owned(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let order = match words.next()? {
            "lease" => Self::Lease(Times {
                interrupt: words.next()?.parse().ok()?,
                kill: words.next()?.parse().ok()?,
            }),
            "gently" => Self::Gently,
            "now" => Self::Now,
            _ => return None,
        };
        words.next().is_none().then_some(order)
    }
}

/// What the guard says, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The tool could not be started: the system's error number.
    NotStarted(i32),
    /// The tool was asked to end without an order, because of the lease.
    Interrupted,
}

impl Report {
    fn line(self) -> String {
        match self {
            Self::NotStarted(code) => format!("not-started {code}\n"),
            Self::Interrupted => "interrupted\n".to_owned(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            Some(("not-started", code)) => Some(Self::NotStarted(code.parse().ok()?)),
            None if line == "interrupted" => Some(Self::Interrupted),
            _ => None,
        }
    }
}

/// The times as arguments: a guard has its lease from its first moment on.
fn time_arguments(times: Option<Times>) -> [OsString; 2] {
    match times {
        Some(times) => [times.interrupt.to_string().into(), times.kill.to_string().into()],
        None => ["-".into(), "-".into()],
    }
}

/// Nanoseconds since the machine was started.
fn now_ns() -> u64 {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    let seconds = Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0));
    let now = seconds + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_understand_each_other() {
        let times = Times { interrupt: 1, kill: u64::MAX };
        for order in [Order::Lease(times), Order::Gently, Order::Now] {
            assert_eq!(Order::parse(order.line().trim_end()), Some(order));
        }
        for report in [Report::NotStarted(2), Report::Interrupted] {
            assert_eq!(Report::parse(report.line().trim_end()), Some(report));
        }
        for nonsense in ["", "lease", "lease 1", "lease 1 2 3", "lease -1 2", "gently now", "x"] {
            assert_eq!(Order::parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_time_of_this_process_becomes_one_of_the_machine() {
        let now = Instant::now();
        let hour = Duration::from_hours(1);
        let times = Times::of(LeaseEnd { interrupt_at: now, kill_at: now + hour });
        let after = now_ns();
        assert!(times.interrupt <= after);
        let left = Duration::from_nanos(times.kill - after);
        assert!(left <= hour && left > Duration::from_mins(59), "{left:?}");
    }
}
