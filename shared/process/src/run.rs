//! The only place in the house that starts tools; each through a guard ([`crate::guard()`]), which
//! outlives this process.
//!
//! A child runs in a process group of its own, with a cleared environment and no standard input.
//! A gentle stop is SIGINT to the child alone, once; a hard one is SIGKILL to the whole group, of
//! which the guard is one. When the child has ended, however it ended, and also when the future is
//! dropped, what is left of the group is killed: no grandchild outlives its job. Output is read line
//! by line and bounded.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use rustix::process::{Pid, Signal};
use slipway_domain::log::LogStream;
use slipway_domain::port::driver::{LeaseEnd, Run, Stop};
use slipway_domain::run_history::Measure;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::guard::{Rein, Report};
use crate::tape::Tape;

mod sampler;

use sampler::Sampler;

/// A longer line is cut here; the rest of it is read and thrown away.
pub const MAX_LINE_BYTES: usize = 4 << 20;
/// How long output is still read after the child and its group are dead. Only a process that left
/// the group can keep it open that long.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a guard that is told to kill everything has for it. It finds also what left the group.
const GUARD: Duration = Duration::from_millis(250);
const CHUNK: usize = 64 << 10;

/// What to start.
#[derive(Debug, Clone)]
pub struct Command {
    /// The executable file.
    pub program: PathBuf,
    /// Its arguments, never through a shell.
    pub args: Vec<OsString>,
    /// Where it runs.
    pub dir: PathBuf,
    /// Its whole environment.
    pub env: Environment,
    /// The guard through which it is started.
    pub guard: Option<PathBuf>,
}

/// What happens to standard output. Standard error always comes as lines.
#[derive(Debug)]
pub enum Stdout {
    /// Line by line, to the listener.
    Lines,
    /// The same, through a file that is there when this process is not any more.
    Tape(Tape),
    /// Kept whole, up to so many bytes; more is an error.
    Keep(usize),
}

/// Who may stop it.
pub struct Stops<'a> {
    /// The job.
    pub run: &'a dyn Run,
    /// Kills it at once when cancelled.
    pub halt: CancellationToken,
}

impl<'a> Stops<'a> {
    /// Only the job.
    pub fn of(run: &'a dyn Run) -> Self {
        Self { run, halt: CancellationToken::new() }
    }
}

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The hardest stop that was passed on to it.
    pub asked: Option<Stop>,
    /// Its standard output, if that was to be kept.
    pub stdout: Vec<u8>,
    /// What it took.
    pub measure: Measure,
}

/// Why a child did not run, or could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// It did not start.
    #[error("{program} could not be started: {source}")]
    Start {
        /// The executable's name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel would not say how it ended.
    #[error("a running process could not be followed: {0}")]
    Wait(#[source] io::Error),
    /// It printed more than is kept.
    #[error("it printed more than {0} bytes")]
    TooMuch(usize),
}

/// Hears one line: where it came from and its text, without the line end.
pub type Listener<'a> = &'a mut (dyn FnMut(LogStream, &str) + Send);

/// Kills the group when dropped.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    fn interrupt_leader(&self) {
        if let Some(pid) = self.0 {
            let _ = rustix::process::kill_process(pid, Signal::INT);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A child, and how it is stopped.
struct Child {
    process: tokio::process::Child,
    group: Group,
    rein: Option<Rein>,
}

impl Child {
    fn start(command: Command, end: Option<LeaseEnd>, stdout: &Stdout) -> io::Result<Self> {
        let stdout = match stdout {
            Stdout::Tape(tape) => Stdio::from(tape.writer()?),
            Stdout::Lines | Stdout::Keep(_) => Stdio::piped(),
        };
        let (rein, stdin, program, args) = match command.guard {
            Some(guard) => {
                let (rein, theirs) = Rein::new()?;
                let mut args = Rein::arguments(end);
                args.push(command.program.into());
                args.extend(command.args);
                (Some(rein), Stdio::from(theirs), guard, args)
            }
            None => (None, Stdio::null(), command.program, command.args),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that starts processes"
        )]
        let mut starting = tokio::process::Command::new(program);
        starting
            .args(args)
            .current_dir(&command.dir)
            .env_clear()
            .envs(command.env.pairs())
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let process = starting.spawn()?;
        let pid = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { process, group: Group(pid), rein })
    }

    fn interrupt(&self) {
        match &self.rein {
            // A guard that does not listen is dead or frozen; the hard stop is for that.
            Some(rein) => drop(rein.gently()),
            None => self.group.interrupt_leader(),
        }
    }

    /// Kills everything; says when that is to be done again, without asking anybody.
    fn kill(&self) -> Option<tokio::time::Instant> {
        if let Some(rein) = &self.rein
            && rein.now().is_ok()
        {
            return Some(tokio::time::Instant::now() + GUARD);
        }
        self.group.signal(Signal::KILL);
        None
    }
}

/// Runs a command to its end, and passes stops on to it.
pub async fn run(
    command: Command,
    stops: &Stops<'_>,
    stdout: Stdout,
    listener: Listener<'_>,
) -> Result<Ended, Failed> {
    let name = command.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let not_started = |source| Failed::Start { program: name, source };
    let lease_end = stops.run.lease_end();
    let mut child = match Child::start(command, lease_end, &stdout) {
        Ok(child) => child,
        Err(error) => return Err(not_started(error)),
    };
    let leader = child.group.0.map(|pid| pid.as_raw_nonzero().get());
    let sampler = Sampler::start(leader, child.rein.is_some());
    let mut measure = sampler.measure();
    let mut out = Reader::new(child.process.stdout.take(), LogStream::Stdout, stdout);
    let mut err = Reader::new(child.process.stderr.take(), LogStream::Stderr, Stdout::Lines);

    let mut gently = stops.run.stopped(Stop::Gently);
    let mut now = stops.run.stopped(Stop::Now);
    let mut renewed = lease_end.map(|end| stops.run.lease_renewed(end));
    let mut asked = None;
    let mut status: Option<ExitStatus> = None;
    let (mut kill_at, mut deadline) = (None, None);
    while status.is_none() || !(out.done() && err.done()) {
        tokio::select! {
            read = out.fill(), if !out.done() => if !out.take(read, listener) {
                // The rest is not read; a process that goes on writing must not hang on us.
                return Err(Failed::TooMuch(out.limit()));
            },
            read = err.fill(), if !err.done() => { err.take(read, listener); }
            ended = child.process.wait(), if status.is_none() => {
                status = Some(ended.map_err(Failed::Wait)?);
                measure = sampler.measure();
                child.group.signal(Signal::KILL);
                out.end();
                deadline = Some(tokio::time::Instant::now() + DRAIN);
            }
            stop = hardest(&mut now, &stops.halt, &mut gently, asked.is_none()),
                if status.is_none() && asked != Some(Stop::Now) =>
            {
                asked = Some(stop);
                match stop {
                    Stop::Gently => child.interrupt(),
                    Stop::Now => kill_at = child.kill(),
                }
            }
            end = either(&mut renewed), if status.is_none() => {
                if let Some(rein) = &child.rein {
                    rein.lease(end);
                }
                renewed = Some(stops.run.lease_renewed(end));
            }
            () = until(kill_at), if status.is_none() && kill_at.is_some() => {
                kill_at = None;
                child.group.signal(Signal::KILL);
            }
            () = until(deadline), if deadline.is_some() && !out.is_on_tape() => break,
        }
    }
    out.finish(listener);
    err.finish(listener);
    let status = status.ok_or_else(|| Failed::Wait(io::Error::other("no exit status")))?;
    for report in child.rein.take().map(Rein::reports).unwrap_or_default() {
        match report {
            Report::NotStarted(code) => {
                return Err(not_started(io::Error::from_raw_os_error(code)));
            }
            Report::Interrupted => asked = asked.or(Some(Stop::Gently)),
        }
    }
    Ok(Ended { code: status.code(), signal: status.signal(), asked, stdout: out.kept(), measure })
}

/// What is asked for. Whoever is to be killed is not interrupted just before: what it then says and does
/// would look like an end of its own.
async fn hardest<T>(
    now: &mut (impl Future<Output = T> + Unpin),
    halt: &CancellationToken,
    gently: &mut (impl Future<Output = T> + Unpin),
    also_gently: bool,
) -> Stop {
    tokio::select! {
        biased;
        _ = now => Stop::Now,
        () = halt.cancelled() => Stop::Now,
        _ = gently, if also_gently => Stop::Gently,
    }
}

async fn either<T>(future: &mut Option<impl Future<Output = T> + Unpin>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Where output comes from.
enum Input<R> {
    Pipe(R),
    Tape(Tape),
    /// There is nothing more.
    End,
}

/// Reads one output.
struct Reader<R> {
    input: Input<R>,
    stream: LogStream,
    /// Kept whole, up to so many bytes.
    keep: Option<usize>,
    buffer: BytesMut,
    /// Where the search for the next line end goes on.
    searched: usize,
    /// The rest of the present line is thrown away.
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    fn new(pipe: Option<R>, stream: LogStream, mode: Stdout) -> Self {
        let keep = if let Stdout::Keep(limit) = mode { Some(limit) } else { None };
        let input = match (mode, pipe) {
            (Stdout::Tape(tape), _) => Input::Tape(tape),
            (_, Some(pipe)) => Input::Pipe(pipe),
            (_, None) => Input::End,
        };
        Self { input, stream, keep, buffer: BytesMut::new(), searched: 0, skipping: false }
    }

    fn done(&self) -> bool {
        matches!(self.input, Input::End)
    }

    /// What is on tape is read to its end, however long that takes.
    fn is_on_tape(&self) -> bool {
        matches!(self.input, Input::Tape(_))
    }

    fn limit(&self) -> usize {
        self.keep.unwrap_or(usize::MAX)
    }

    /// Whoever writes has ended. A pipe says so by itself.
    fn end(&mut self) {
        if let Input::Tape(tape) = &mut self.input {
            tape.end();
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        match &mut self.input {
            Input::Pipe(pipe) => {
                self.buffer.reserve(CHUNK);
                pipe.read_buf(&mut self.buffer).await
            }
            Input::Tape(tape) => tape.read(&mut self.buffer, CHUNK).await,
            Input::End => std::future::pending().await,
        }
    }

    /// Takes in what was read. `false`: more than may be kept.
    fn take(&mut self, read: io::Result<usize>, listener: Listener<'_>) -> bool {
        let ended = matches!(read, Ok(0) | Err(_));
        let fits = if let Some(limit) = self.keep {
            self.buffer.len() <= limit
        } else {
            self.lines(listener);
            true
        };
        if let Input::Tape(tape) = &mut self.input {
            tape.told();
        }
        if ended {
            self.input = Input::End;
        }
        fits
    }

    fn lines(&mut self, listener: Listener<'_>) {
        while let Some(end) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
            let line = self.buffer.split_to(self.searched + end + 1);
            self.searched = 0;
            if !std::mem::take(&mut self.skipping) {
                tell(self.stream, &line, false, listener);
            }
        }
        self.searched = self.buffer.len();
        if self.skipping {
            self.buffer.clear();
            self.searched = 0;
        } else if self.buffer.len() > MAX_LINE_BYTES {
            let line = self.buffer.split();
            self.searched = 0;
            self.skipping = true;
            tell(self.stream, &line, true, listener);
        }
    }

    /// Tells what is left without a line end.
    fn finish(&mut self, listener: Listener<'_>) {
        if self.keep.is_none() && !self.skipping && !self.buffer.is_empty() {
            let line = self.buffer.split();
            tell(self.stream, &line, false, listener);
        }
    }

    fn kept(self) -> Vec<u8> {
        if self.keep.is_some() { self.buffer.into() } else { Vec::new() }
    }
}

fn tell(stream: LogStream, line: &[u8], cut: bool, listener: Listener<'_>) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    if cut {
        listener(stream, &format!("{text} … [line cut]"));
    } else {
        listener(stream, &text);
    }
}

#[cfg(test)]
mod tests;
