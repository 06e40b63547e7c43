//! What runs in the guard: one thread, no runtime, no configuration.
//!
//! The guard leads a process group that the tool is in. It ends in the very way the tool ended,
//! after everything that the tool left behind is dead, also what has left the group: on Linux it is
//! their reaper, so they become its children. When it kills, it kills itself with the group at last.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::{Order, Report, Times, WORD, now_ns};

/// How often it looks around in any case: a sleeping machine's clock goes on, its timers do not.
const TICK: Duration = Duration::from_millis(500);
/// The same where the end of the tool cannot be waited for together with other things.
const TICK_WITHOUT_PIDFD: Duration = Duration::from_millis(5);
/// How long it tries to kill one by one what the tool left behind.
const SWEEP: Duration = Duration::from_millis(500);
/// The same when all is to be killed: then the group is killed in one stroke.
const SWEEP_NOW: Duration = Duration::from_millis(200);
/// Longest line of the worker.
const MAX_LINE_BYTES: usize = 256;
/// It was called in a way that no worker does.
const USAGE: u8 = 2;

/// Runs the guard, if this process was started to be one; to be called before anything else in a
/// `main` whose executable is [`crate::Guard::This`]. `None`: it was not.
pub fn guard() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != WORD {
        return None;
    }
    Some(run(args).unwrap_or_else(|why| {
        eprintln!("slipway: {why}");
        ExitCode::from(USAGE)
    }))
}

fn run(mut args: impl Iterator<Item = OsString>) -> Result<ExitCode, &'static str> {
    let misused = "the guard of a tool is started by a worker only";
    let mut time = || args.next().ok_or(misused);
    let (interrupt, kill) = (time()?, time()?);
    let program = args.next().ok_or(misused)?;
    let times = match (parse(&interrupt), parse(&kill)) {
        (Some(interrupt), Some(kill)) => Some(Times { interrupt, kill }),
        (None, None) if interrupt == "-" && kill == "-" => None,
        _ => return Err(misused),
    };
    let fd = io::stdin().as_fd().try_clone_to_owned().map_err(|_| misused)?;
    let control = UnixStream::from(fd);
    control.set_nonblocking(true).map_err(|_| misused)?;
    // Whoever is not at a socket's other end is no worker.
    if control.peer_addr().is_err() {
        return Err(misused);
    }
    ignore_requests_to_end();
    become_reaper();
    // Before the tool is started, so that its output never breaks when the worker dies: it would
    // die of that before it has written its state.
    let outputs = [1, 2].into_iter().filter_map(reading_end).collect();
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place in the guard that starts the tool"
    )]
    let mut command = std::process::Command::new(program);
    let started = command.args(args).stdin(Stdio::null()).spawn();
    let tool = match started.map(|child| i32::try_from(child.id()).ok().and_then(Pid::from_raw)) {
        Ok(Some(tool)) => tool,
        Ok(None) => return Err("the tool has no process id"),
        Err(error) => {
            let code = error.raw_os_error().unwrap_or_else(|| Errno::INVAL.raw_os_error());
            let _ = (&control).write_all(Report::NotStarted(code).line().as_bytes());
            return Ok(ExitCode::FAILURE);
        }
    };
    // Its own handle is not needed: children are waited for by whoever they are.
    let guard = Watch {
        tool,
        ended: pidfd(tool),
        control: Some(control),
        heard: Vec::new(),
        outputs,
        times,
        orphaned: false,
        interrupted: false,
    };
    let status = guard.until_the_end();
    sweep(SWEEP);
    Ok(end_as(status))
}

fn parse(time: &OsString) -> Option<u64> {
    time.to_str()?.parse().ok()
}

/// A guard that ended at a signal for everybody (a service manager's) would take the tool with it,
/// which has got the same signal and ends in order. The tool itself does not inherit this.
fn ignore_requests_to_end() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let noted = Arc::new(AtomicBool::new(false));
        let _ = signal_hook::flag::register(signal.as_raw(), noted);
    }
}

/// What the tool's children leave behind comes to this process, and not to the machine's first one.
fn become_reaper() {
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let _ = rustix::thread::set_name(c"slipway-guard");
    }
}

/// The other end of a pipe that this process writes to.
fn reading_end(fd: i32) -> Option<File> {
    let path = format!("/proc/self/fd/{fd}");
    if !std::fs::metadata(&path).ok()?.file_type().is_fifo() {
        return None;
    }
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()
}

#[cfg(target_os = "linux")]
fn pidfd(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn pidfd(_: Pid) -> Option<OwnedFd> {
    None
}

/// A tool, and the worker that it belongs to.
struct Watch {
    tool: Pid,
    /// Readable when the tool has ended.
    ended: Option<OwnedFd>,
    /// To the worker, while it lives.
    control: Option<UnixStream>,
    /// The beginning of a line.
    heard: Vec<u8>,
    /// What the tool says; nobody reads it when the worker is dead.
    outputs: Vec<File>,
    /// When the lease ends.
    times: Option<Times>,
    /// The worker is dead.
    orphaned: bool,
    /// The tool was asked to end. A second time would make it give up what it has in hand.
    interrupted: bool,
}

impl Watch {
    /// Returns when the tool has ended by itself, or because it was asked to.
    fn until_the_end(mut self) -> WaitStatus {
        loop {
            self.wait();
            // What was said before the time is looked at: it may be about the time.
            self.listen();
            if let Some(status) = self.reap() {
                return status;
            }
            let now = now_ns();
            match self.times {
                Some(times) if times.kill <= now => kill_all(),
                Some(times) if times.interrupt <= now || self.orphaned => self.interrupt(true),
                Some(_) => {}
                // Without a lease nobody counts on what it does.
                None if self.orphaned => kill_all(),
                None => {}
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) {
        let mut longest = if self.ended.is_some() { TICK } else { TICK_WITHOUT_PIDFD };
        if let Some(times) = self.times {
            let now = now_ns();
            let due =
                if self.interrupted { [times.kill; 2] } else { [times.interrupt, times.kill] };
            for due in due {
                longest = longest.min(Duration::from_nanos(due.saturating_sub(now)));
            }
        }
        let mut fds = Vec::with_capacity(4);
        fds.extend(self.ended.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.control.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        if self.orphaned {
            fds.extend(self.outputs.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(1),
            tv_nsec: longest.subsec_nanos().into(),
        };
        // An error (a signal) is as good as an event: everything is looked at.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// Takes in what the worker says, and notices when it is dead.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(mut control) = self.control.as_ref() {
            match control.read(&mut buffer) {
                Ok(0) => self.orphan(),
                Ok(n) => {
                    self.heard.extend_from_slice(&buffer[..n]);
                    self.obey();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.orphan(),
            }
        }
        if self.orphaned {
            // What is left is read the next time: whoever says a lot must not hold up the rest.
            for output in &mut self.outputs {
                for _ in 0..16 {
                    if !matches!(output.read(&mut buffer), Ok(n) if n > 0) {
                        break;
                    }
                }
            }
        }
    }

    fn orphan(&mut self) {
        self.control = None;
        self.orphaned = true;
    }

    fn obey(&mut self) {
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            match std::str::from_utf8(&line[..end]).ok().and_then(Order::parse) {
                Some(Order::Lease(times)) => self.times = Some(times),
                Some(Order::Gently) => self.interrupt(false),
                Some(Order::Now) => kill_all(),
                None => {}
            }
        }
        if self.heard.len() > MAX_LINE_BYTES {
            self.heard.clear();
        }
    }

    fn interrupt(&mut self, unasked: bool) {
        if std::mem::replace(&mut self.interrupted, true) {
            return;
        }
        // The tool was not waited for yet, so its number is nobody else's.
        let _ = rustix::process::kill_process(self.tool, Signal::INT);
        if let Some(mut control) = self.control.as_ref().filter(|_| unasked) {
            let _ = control.write_all(Report::Interrupted.line().as_bytes());
        }
    }

    /// Looks after children that have ended; says how the tool did, when it has.
    fn reap(&self) -> Option<WaitStatus> {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == self.tool {
                return Some(status);
            }
        }
        None
    }
}

/// Kills what the tool left behind, for so long at most. What a killed process had started comes to
/// this one, so it goes on until there is nothing left.
fn sweep(longest: Duration) {
    let began = Instant::now();
    while began.elapsed() < longest {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => {
                for child in children() {
                    let _ = rustix::process::kill_process(child, Signal::KILL);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            // No children.
            Err(_) => return,
        }
    }
}

/// Kills everything, and this process at last.
fn kill_all() -> ! {
    sweep(SWEEP_NOW);
    // What has been started faster than it could be killed, in one stroke.
    let _ = rustix::process::kill_process_group(rustix::process::getpgrp(), Signal::KILL);
    loop {
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }
}

/// This process's children.
fn children() -> Vec<Pid> {
    let pid = rustix::process::getpid().as_raw_nonzero();
    let numbers = match std::fs::read_to_string(format!("/proc/self/task/{pid}/children")) {
        Ok(list) => list.split_whitespace().filter_map(|n| n.parse().ok()).collect(),
        // Not every kernel keeps the list.
        Err(_) => children_by_looking_at_all(pid.get()),
    };
    numbers.into_iter().filter_map(Pid::from_raw).collect()
}

fn children_by_looking_at_all(parent: i32) -> Vec<i32> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = all.flatten().filter_map(|item| item.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name is in brackets, and may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Ends this process as the tool ended: by the same exit code, or by the same signal.
fn end_as(status: WaitStatus) -> ExitCode {
    if let Some(code) = status.exit_status() {
        return ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1));
    }
    let signal = status.terminating_signal().unwrap_or(Signal::KILL.as_raw());
    no_core();
    // Whatever this process does at that signal itself (see `ignore_requests_to_end`).
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    // No signal that ends a process, or one of the system's own: as a shell would say it.
    ExitCode::from(u8::try_from(128 + (signal & 0x7f)).unwrap_or(255))
}

/// If there is a core dump, then of the tool alone.
fn no_core() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_in_both_ways() {
        #[expect(clippy::disallowed_methods, reason = "a child to be found")]
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let me = rustix::process::getpid().as_raw_nonzero().get();
        assert_eq!(parent_of(pid), Some(me));
        assert!(children_by_looking_at_all(me).contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
