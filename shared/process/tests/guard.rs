//! The guard by itself, with a shell as its tool and this test as its worker.
#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// The executable that is the guard here.
const GUARD: &str = env!("CARGO_BIN_EXE_slipway-process-guard-for-tests");

/// Longer than any test.
const FOREVER: Duration = Duration::from_hours(1);

struct Guarded {
    child: Child,
    rein: Option<UnixStream>,
}

/// The moment so far from now, as the guard is told.
fn at(from_now: Duration) -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap());
    (now + from_now).as_nanos().try_into().unwrap()
}

fn start(times: [String; 2], program: &str, args: &[&str], dir: &Path) -> Guarded {
    let (ours, theirs) = UnixStream::pair().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the test is the worker here")]
    let child = Command::new(GUARD)
        .arg("internal-guard-of-a-tool")
        .args(times)
        .arg(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    Guarded { child, rein: Some(ours) }
}

fn shell(interrupt: Duration, kill: Duration, script: &str, dir: &Path) -> Guarded {
    let times = [interrupt, kill].map(|time| at(time).to_string());
    start(times, "/bin/sh", &["-c", script], dir)
}

impl Guarded {
    fn say(&self, line: &str) {
        self.rein.as_ref().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// What a killed worker leaves: no reader of its output, no end of its socket.
    fn orphan(&mut self) {
        self.child.stdout = None;
        self.rein = None;
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn reports(&mut self) -> String {
        let mut said = String::new();
        self.rein.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

fn appears(file: &Path) -> String {
    let began = Instant::now();
    loop {
        match std::fs::read_to_string(file) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => assert!(began.elapsed() < Duration::from_secs(30), "no {}", file.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie is dead; only its parent has not looked yet.
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn it_ends_as_its_tool_ended() {
    let dir = tempfile::tempdir().unwrap();
    for code in [0, 1, 2, 7, 255] {
        let script = format!("echo x; exit {code}");
        let mut guarded = shell(FOREVER, FOREVER, &script, dir.path());
        assert_eq!(guarded.ended().code(), Some(code));
        let mut said = String::new();
        guarded.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "x\n");
        assert_eq!(guarded.reports(), "");
    }
    // Also those that the guard itself does not heed, or heeds in a way of its own.
    for signal in [Signal::INT, Signal::TERM, Signal::KILL, Signal::SEGV, Signal::ABORT] {
        let script = format!("kill -{} $$; sleep 9", signal.as_raw());
        let status = shell(FOREVER, FOREVER, &script, dir.path()).ended();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status:?}");
    }
}

#[test]
fn what_cannot_start_is_told_apart_from_what_fails() {
    let dir = tempfile::tempdir().unwrap();
    let times = [at(FOREVER).to_string(), at(FOREVER).to_string()];
    let mut guarded = start(times, "/nonexistent/tool", &[], dir.path());
    guarded.ended();
    assert_eq!(guarded.reports(), "not-started 2\n");
}

#[test]
fn who_calls_it_by_hand_is_told() {
    for args in [&[][..], &["-", "-"], &["x", "-", "/bin/true"], &["-", "-", "/bin/true"]] {
        #[expect(clippy::disallowed_methods, reason = "a person")]
        let output = Command::new(GUARD)
            .arg("internal-guard-of-a-tool")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("started by a worker only"), "{said}");
    }
}

#[test]
fn when_the_worker_dies_the_tool_may_finish_and_write_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    // Says more than a pipe holds before it comes to what matters, as one whose output breaks would
    // not: a write to a broken pipe would kill it.
    let script = "trap 'head -c 300000 /dev/zero; echo bye; echo written >state; exit 1' INT; \
                  echo $$ >pid; while :; do sleep 0.05; done";
    let mut guarded = shell(FOREVER, FOREVER, script, dir.path());
    appears(&dir.path().join("pid"));
    guarded.orphan();
    assert_eq!(guarded.ended().code(), Some(1));
    assert_eq!(appears(&dir.path().join("state")), "written");
}

#[test]
fn when_the_worker_dies_nothing_lives_longer_than_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let (interrupt, kill) = (Duration::from_millis(1800), Duration::from_secs(2));
    let began = Instant::now();
    // A tool that does not listen, a child of its, and one that left the group and the session.
    let script = "trap 'echo asked >asked' INT; (trap '' INT; exec sleep 300) & echo $! >child; \
                  setsid sh -c 'trap \"\" INT; echo $$ >leaver; exec sleep 300' & \
                  echo $$ >tool; while :; do sleep 0.05; done";
    let mut guarded = shell(interrupt, kill, script, dir.path());
    let pids = ["tool", "child", "leaver"].map(|name| appears(&dir.path().join(name)));
    guarded.orphan();
    // At once, although the lease is good for longer: there is nobody to wait for.
    appears(&dir.path().join("asked"));
    assert!(began.elapsed() < interrupt, "{:?}", began.elapsed());
    assert!(pids.iter().all(|pid| alive(pid)), "the lease is not over yet");
    assert_eq!(guarded.ended().signal(), Some(9));
    assert!(began.elapsed() >= kill, "{:?}", began.elapsed());
    assert!(began.elapsed() < kill + Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!pids.iter().any(|pid| alive(pid)), "{pids:?}");
}

#[test]
fn when_the_worker_is_frozen_the_tool_is_asked_and_then_killed() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let (interrupt, kill) = (Duration::from_secs(1), Duration::from_secs(2));
    let script = "trap 'echo asked >>asked' INT; echo $$ >tool; while :; do sleep 0.05; done";
    let mut guarded = shell(interrupt, kill, script, dir.path());
    appears(&dir.path().join("asked"));
    assert!(began.elapsed() >= interrupt, "{:?}", began.elapsed());
    assert_eq!(guarded.ended().signal(), Some(9));
    assert!(began.elapsed() >= kill, "{:?}", began.elapsed());
    assert_eq!(guarded.reports(), "interrupted\n");
    assert_eq!(appears(&dir.path().join("asked")), "asked", "once");
}

#[test]
fn a_renewed_lease_is_a_longer_one() {
    let dir = tempfile::tempdir().unwrap();
    let short = Duration::from_millis(700);
    let mut guarded = shell(short, short, "sleep 2; exit 3", dir.path());
    // In two parts: a line is one when it ends.
    let line = format!("lease {} {}\n", at(FOREVER), at(FOREVER));
    let (first, second) = line.split_at(10);
    guarded.say(first);
    std::thread::sleep(Duration::from_millis(50));
    guarded.say(second);
    assert_eq!(guarded.ended().code(), Some(3));
    assert_eq!(guarded.reports(), "");
}

#[test]
fn a_frozen_guard_that_goes_on_hears_first_what_it_was_told_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let short = Duration::from_secs(1);
    let mut guarded = shell(short, short, "echo $$ >tool; sleep 3; exit 3", dir.path());
    appears(&dir.path().join("tool"));
    signal(guarded.child.id(), Signal::STOP);
    guarded.say(&format!("lease {} {}\n", at(FOREVER), at(FOREVER)));
    std::thread::sleep(Duration::from_millis(1500));
    signal(guarded.child.id(), Signal::CONT);
    assert_eq!(guarded.ended().code(), Some(3));
}

#[test]
fn orders_are_carried_out() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'exit 4' INT; echo $$ >tool; while :; do sleep 0.05; done";
    let mut guarded = shell(FOREVER, FOREVER, script, dir.path());
    appears(&dir.path().join("tool"));
    guarded.say("gently\ngently\n");
    assert_eq!(guarded.ended().code(), Some(4));
    assert_eq!(guarded.reports(), "", "it was told to");

    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' INT; setsid sh -c 'echo $$ >leaver; exec sleep 300' & wait";
    let mut guarded = shell(FOREVER, FOREVER, script, dir.path());
    let leaver = appears(&dir.path().join("leaver"));
    guarded.say("now\n");
    assert_eq!(guarded.ended().signal(), Some(9));
    assert!(!alive(&leaver));
}

#[test]
fn without_a_lease_the_end_of_the_worker_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let none = ["-", "-"].map(str::to_owned);
    let mut guarded =
        start(none, "/bin/sh", &["-c", "trap '' INT; echo $$ >tool; sleep 300"], dir.path());
    let tool = appears(&dir.path().join("tool"));
    guarded.orphan();
    assert_eq!(guarded.ended().signal(), Some(9));
    assert!(!alive(&tool));
}

#[test]
fn what_the_tool_leaves_behind_does_not_outlive_it_and_does_not_change_how_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let script = "setsid sh -c 'echo $$ >leaver; sleep 300 & sleep 300' & sleep 300 & \
                  while ! [ -s leaver ]; do sleep 0.02; done; exit 6";
    let mut guarded = shell(FOREVER, FOREVER, script, dir.path());
    assert_eq!(guarded.ended().code(), Some(6));
    let leaver = appears(&dir.path().join("leaver"));
    assert!(!alive(&leaver));
}

#[test]
fn a_signal_for_everybody_is_left_to_the_tool() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'echo got it >term; sleep 0.5; exit 5' TERM; echo $$ >tool; \
                  while :; do sleep 0.05; done";
    let mut guarded = shell(FOREVER, FOREVER, script, dir.path());
    let tool = appears(&dir.path().join("tool"));
    for pid in [guarded.child.id(), tool.parse().unwrap()] {
        signal(pid, Signal::TERM);
    }
    assert_eq!(guarded.ended().code(), Some(5));
}
