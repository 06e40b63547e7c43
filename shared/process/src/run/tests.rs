//! Tests of starting, reading and stopping processes, with a shell as the child.

use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use async_trait::async_trait;
use slipway_domain::event::EventBody;
use slipway_domain::log::NewLogLine;
use slipway_domain::port::driver::{DriverError, StateBlob};
use slipway_domain::redact::Redactor;
use tokio::sync::watch;

use super::*;

/// A job that can be told to stop.
struct Job {
    stop: watch::Sender<Option<Stop>>,
    redactor: Redactor,
}

impl Job {
    fn new() -> Self {
        Self { stop: watch::Sender::new(None), redactor: Redactor::default() }
    }
}

#[async_trait]
impl Run for Job {
    fn workspace(&self) -> &Path {
        Path::new("/tmp")
    }
    fn redactor(&self) -> Redactor {
        self.redactor.clone()
    }

    fn hide(&self, _secrets: Vec<String>) {}
    fn log(&self, _line: NewLogLine) {}
    fn event(&self, _event: EventBody) {}
    async fn save_state(&self, _state: StateBlob) -> Result<(), DriverError> {
        Ok(())
    }
    fn stop(&self) -> Option<Stop> {
        *self.stop.borrow()
    }
    async fn stopped(&self, at_least: Stop) -> Stop {
        let mut seen = self.stop.subscribe();
        let stop = *seen.wait_for(|stop| stop.is_some_and(|s| s >= at_least)).await.unwrap();
        stop.unwrap()
    }
}

fn shell(script: &str) -> Command {
    Command {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        dir: std::env::temp_dir(),
        env: Environment::from_process(&["PATH"]).with("MARK", "set"),
        guard: None,
    }
}

async fn lines(script: &str, stdout: Stdout) -> (Result<Ended, Failed>, Vec<(LogStream, String)>) {
    let job = Job::new();
    let mut heard = Vec::new();
    let mut listener = |stream, line: &str| heard.push((stream, line.to_owned()));
    let ended = run(shell(script), &Stops::of(&job), stdout, &mut listener).await;
    (ended, heard)
}

fn alive(pid: i32) -> bool {
    // A zombie is dead; only its parent has not looked yet.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next())
        .is_some_and(|s| s != "Z")
}

async fn dead_soon(pid: i32) -> bool {
    for _ in 0..200 {
        if !alive(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn both_streams_come_line_by_line_with_a_clean_environment() {
    let (ended, heard) = lines(
        "echo one; echo two >&2; printf 'last\\r\\nrest'; echo ${HOME:-none} $MARK >&2; exit 3",
        Stdout::Lines,
    )
    .await;
    let ended = ended.unwrap();
    assert_eq!((ended.code, ended.signal, ended.asked), (Some(3), None, None));
    let of = |wanted| {
        heard.iter().filter(|(s, _)| *s == wanted).map(|(_, l)| l.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(LogStream::Stdout), ["one", "last", "rest"]);
    assert_eq!(of(LogStream::Stderr), ["two", "none set"]);
}

#[tokio::test]
async fn a_line_without_end_is_cut_and_what_follows_is_read() {
    let (ended, heard) =
        lines("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo after", Stdout::Lines).await;
    assert_eq!(ended.unwrap().code, Some(0));
    assert_eq!(heard.len(), 2);
    assert!(heard[0].1.len() < MAX_LINE_BYTES + 2 * CHUNK && heard[0].1.ends_with("[line cut]"));
    assert_eq!(heard[1].1, "after");
}

#[tokio::test]
async fn kept_output_is_whole_or_an_error() {
    let (ended, heard) = lines("printf 'a\\nb'; echo e >&2", Stdout::Keep(100)).await;
    assert_eq!(ended.unwrap().stdout, b"a\nb");
    assert_eq!(heard, [(LogStream::Stderr, "e".to_owned())]);
    let start = Instant::now();
    let (ended, _) = lines("yes", Stdout::Keep(100_000)).await;
    assert!(matches!(ended, Err(Failed::TooMuch(100_000))));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn what_cannot_start_says_so() {
    let job = Job::new();
    let mut command = shell("");
    command.program = "/nonexistent/tool".into();
    let error = run(command, &Stops::of(&job), Stdout::Lines, &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(error, Failed::Start { .. }), "{error}");
    assert!(error.to_string().starts_with("tool could not be started"), "{error}");
}

#[tokio::test]
async fn a_gentle_stop_interrupts_the_child_alone_and_waits_for_it() {
    let job = Job::new();
    let heard = Mutex::new(Vec::new());
    let mut listener = |_, line: &str| {
        if line == "ready" {
            job.stop.send_replace(Some(Stop::Gently));
        }
        heard.lock().unwrap().push(line.to_owned());
    };
    // The grandchild would die of the signal too, if the whole group got it.
    let script = "(trap 'echo grandchild >&2' INT; sleep 0.3; echo lived) & \
                  trap 'echo caught; wait; exit 7' INT; echo ready; while :; do sleep 0.05; done";
    let ended = run(shell(script), &Stops::of(&job), Stdout::Lines, &mut listener).await.unwrap();
    assert_eq!((ended.code, ended.asked), (Some(7), Some(Stop::Gently)));
    let heard = heard.into_inner().unwrap();
    assert!(
        heard.contains(&"caught".to_owned()) && heard.contains(&"lived".to_owned()),
        "{heard:?}"
    );
    assert!(!heard.contains(&"grandchild".to_owned()), "{heard:?}");
}

#[tokio::test]
async fn a_hard_stop_leaves_nothing_alive() {
    let job = Job::new();
    let mut pids = Vec::new();
    let mut listener = |_, line: &str| {
        if let Ok(pid) = line.parse::<i32>() {
            pids.push(pid);
        }
        if pids.len() == 2 {
            job.stop.send_replace(Some(Stop::Now));
        }
    };
    let script = "trap '' INT TERM; sleep 300 & echo $!; echo $$; wait";
    let ended = run(shell(script), &Stops::of(&job), Stdout::Lines, &mut listener).await.unwrap();
    assert_eq!((ended.code, ended.signal, ended.asked), (None, Some(9), Some(Stop::Now)));
    for pid in pids {
        assert!(dead_soon(pid).await, "{pid} lives");
    }
}

#[tokio::test]
async fn whoever_is_to_be_killed_is_not_interrupted_before() {
    let halt = CancellationToken::new();
    let (mut asked, mut never) = (std::future::ready(()), std::future::pending());
    for _ in 0..64 {
        let mut also = std::future::ready(());
        assert_eq!(hardest(&mut asked.clone(), &halt, &mut also, true).await, Stop::Now);
    }
    assert_eq!(hardest(&mut never, &halt, &mut asked, true).await, Stop::Gently);
    halt.cancel();
    assert_eq!(hardest(&mut never, &halt, &mut std::future::ready(()), true).await, Stop::Now);
}

#[tokio::test]
async fn a_grandchild_that_stays_behind_is_killed_and_not_waited_for() {
    let start = Instant::now();
    let (ended, heard) = lines("sleep 300 & echo $!", Stdout::Lines).await;
    assert_eq!(ended.unwrap().code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(dead_soon(heard[0].1.parse().unwrap()).await);
}

#[tokio::test]
async fn dropping_the_future_kills_the_group() {
    let (told, mut pids) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let job = Job::new();
        let mut listener = |_, line: &str| {
            let _ = told.send(line.parse::<i32>().unwrap());
        };
        let script = "trap '' INT; sleep 300 & echo $!; echo $$; wait";
        let _ = run(shell(script), &Stops::of(&job), Stdout::Lines, &mut listener).await;
    });
    let (child, leader) = (pids.recv().await.unwrap(), pids.recv().await.unwrap());
    assert!(alive(child) && alive(leader));
    task.abort();
    let _ = task.await;
    assert!(dead_soon(child).await && dead_soon(leader).await);
}

#[tokio::test]
async fn halting_kills_at_once() {
    let job = Job::new();
    let stops = Stops::of(&job);
    let halt = stops.halt.clone();
    let mut listener = |_, _: &str| halt.cancel();
    let ended =
        run(shell("echo x; sleep 300"), &stops, Stdout::Lines, &mut listener).await.unwrap();
    assert_eq!(ended.signal, Some(9));
}

fn tape(dir: &tempfile::TempDir) -> Stdout {
    Stdout::Tape(Tape::new(&dir.path().join("tape"), |_| true).unwrap())
}

#[tokio::test]
async fn what_goes_through_a_file_is_heard_to_its_end_and_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    let (ended, heard) =
        lines("echo one; sleep 0.1; seq 200000; printf last; echo err >&2; exit 3", tape(&dir))
            .await;
    assert_eq!(ended.unwrap().code, Some(3));
    let out: Vec<_> = heard.iter().filter(|(s, _)| *s == LogStream::Stdout).collect();
    assert_eq!((out.len(), out[0].1.as_str(), out[200_001].1.as_str()), (200_002, "one", "last"));
    assert!(heard.contains(&(LogStream::Stderr, "err".to_owned())));
    let kept = std::fs::read_to_string(dir.path().join("tape")).unwrap();
    assert_eq!(kept.lines().count(), 200_002);
}

#[tokio::test]
async fn what_goes_through_a_file_is_heard_while_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new();
    let mut listener = |_, line: &str| {
        if line == "ready" {
            job.stop.send_replace(Some(Stop::Gently));
        }
    };
    let script = "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.05; done";
    let ended = run(shell(script), &Stops::of(&job), tape(&dir), &mut listener).await.unwrap();
    assert_eq!((ended.code, ended.asked), (Some(7), Some(Stop::Gently)));
    // Nobody who stays behind with the file open is waited for.
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let (ended, _) = lines("sleep 300 & echo x", tape(&dir)).await;
    assert_eq!(ended.unwrap().code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
