//! One scanner as a program: found, asked its version, and run within limits.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_domain::clock::Clock;
use slipway_domain::log::{LogStream, NewLogLine, bounded};
use slipway_domain::port::driver::Run;
use slipway_domain::port::scanner::ScanInput;
use slipway_domain::redact::Redactor;
use slipway_domain::scan::{RuleBook, ScanOutcome, ScanStatus, ScannerName};
use slipway_domain::tree::Limits;
use slipway_process::{
    Command, Environment, Failed, Guard, Stdout, Stops, Unattended, is_executable, run as start,
};

use crate::options::{Choice, Options};
use crate::report::{Found, Seen};
use crate::source::Laid;

/// Most output of a scan, in bytes. 500 resources make some 7 MB with checkov.
const MAX_OUTPUT_BYTES: usize = 64 << 20;
/// Most output of `--version`, in bytes.
const MAX_VERSION_BYTES: usize = 64 << 10;
/// How long a tool may take to tell its version; checkov took 30 s on a busy machine.
const VERSION_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a killed one may take to be gone.
const KILLED: Duration = Duration::from_secs(10);
/// Most lines of standard error that are logged.
const MAX_LOG_LINES: usize = 200;
/// Longest reason that is passed on, in characters.
const MAX_WHY: usize = 300;
/// What every tool sees of our environment.
const ALLOW: &[&str] = &["PATH", "LANG", "LC_*", "TZ"];
/// A proxy that nobody is: no scan needs the network, so whatever tries it fails at once.
const NOWHERE: &str = "http://127.0.0.1:9";
const PROXIES: &[&str] =
    &["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// What is the same for every scanner of this machine.
#[derive(Debug)]
pub(crate) struct Bench {
    env: Environment,
    guard: Guard,
    limits: Limits,
    rules: RuleBook,
    clock: Arc<dyn Clock>,
}

impl Bench {
    pub(crate) fn new(options: &Options, clock: Arc<dyn Clock>) -> Self {
        let own = ALLOW.iter().map(|name| (*name).to_owned());
        let allow: Vec<String> = own.chain(options.env_allow.iter().cloned()).collect();
        let mut env = Environment::from_process(&allow).with("NO_COLOR", "1");
        for proxy in PROXIES {
            if env.get(proxy).is_none() {
                env = env.with(proxy, NOWHERE);
            }
        }
        Self {
            env,
            guard: options.guard.clone(),
            limits: options.limits,
            rules: options.rules.clone(),
            clock,
        }
    }
}

/// A scanner's program.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) name: ScannerName,
    pub(crate) version: Option<String>,
    program: PathBuf,
    bench: Arc<Bench>,
}

/// What a tool is asked.
pub(crate) struct Question {
    pub(crate) args: Vec<OsString>,
    /// Variables that it needs beside the usual ones.
    pub(crate) env: Vec<(&'static str, OsString)>,
    /// Exit codes that say that it did its work.
    pub(crate) good: &'static [i32],
}

/// Why there is no report.
pub(crate) type Unheard = ScanStatus;

fn failed(why: impl Into<String>) -> ScanStatus {
    ScanStatus::Failed { why: why.into() }
}

impl Tool {
    /// Finds the program and asks its version.
    pub(crate) async fn find(bench: Arc<Bench>, choice: &Choice) -> Result<Self, String> {
        let name = choice.name;
        let program = match &choice.program {
            Some(program) => {
                let program = std::path::absolute(program).unwrap_or_else(|_| program.clone());
                if !is_executable(&program) {
                    return Err(format!("{} is not an executable file", program.display()));
                }
                program
            }
            None => bench
                .env
                .find(name.as_str())
                .ok_or_else(|| format!("{name} is not on the PATH of this worker"))?,
        };
        let tool = Self { name, version: None, program, bench };
        let command = tool.command(
            vec!["--version".into()],
            std::env::temp_dir(),
            tool.bench.env.clone().with("HOME", "/nonexistent"),
        );
        let mut silent = |_: LogStream, _: &str| {};
        let stops = Stops::of(&Unattended);
        let asking = start(command, &stops, Stdout::Keep(MAX_VERSION_BYTES), &mut silent);
        let ended = tokio::time::timeout(VERSION_TIMEOUT, asking).await;
        let ended = ended
            .map_err(|_| format!("{name} did not tell its version within a minute"))?
            .map_err(|why| format!("{name} does not run: {why}"))?;
        if ended.code != Some(0) {
            return Err(format!("{} does not tell its version", tool.program.display()));
        }
        let version = read_version(&String::from_utf8_lossy(&ended.stdout));
        Ok(Self { version, ..tool })
    }

    fn command(&self, args: Vec<OsString>, dir: PathBuf, env: Environment) -> Command {
        let guard = self.bench.guard.program();
        Command { program: self.program.clone(), args, dir, env, guard }
    }

    /// One whole scan: lays the source out, asks, reads the answer, clears up. What of the files
    /// `edit` returns takes the place of what was there.
    pub(crate) async fn scan(
        &self,
        run: &dyn Run,
        input: &ScanInput,
        edit: impl Fn(&str, &[u8]) -> Option<Vec<u8>> + Send + 'static,
        question: impl FnOnce(&Laid) -> Result<Question, Unheard> + Send,
        read: impl FnOnce(&Laid, &[u8]) -> Result<Seen, String> + Send + 'static,
    ) -> ScanOutcome {
        let began = Instant::now();
        let (name, limits) = (self.name, self.bench.limits);
        let (workspace, own) = (run.workspace().to_path_buf(), input.clone());
        let laying =
            tokio::task::spawn_blocking(move || Laid::out(name, &workspace, &own, limits, edit));
        let (seen, status) = match laying.await {
            Ok(Ok(laid)) => self.look(run, laid, input.time_limit, question, read).await,
            Ok(Err(why)) => (Found::default(), failed(run.redactor().text(&why))),
            Err(_) => (Found::default(), failed("its copy of the source was not written")),
        };
        let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let outcome = seen.outcome(self, status, duration_ms, &self.bench.rules);
        self.tell(run, LogStream::System, summary(&outcome));
        outcome
    }

    async fn look(
        &self,
        run: &dyn Run,
        laid: Laid,
        limit: Duration,
        question: impl FnOnce(&Laid) -> Result<Question, Unheard> + Send,
        read: impl FnOnce(&Laid, &[u8]) -> Result<Seen, String> + Send + 'static,
    ) -> (Found, ScanStatus) {
        let redactor = run.redactor();
        let laid = Arc::new(laid);
        let answer = match question(&laid) {
            Ok(question) => self.ask(run, &redactor, &laid, limit, question).await,
            Err(status) => Err(status),
        };
        let name = self.name;
        let reading = tokio::task::spawn_blocking(move || {
            let found = match answer {
                Err(status) => (Found::default(), status),
                Ok(answer) => match read(&laid, &answer) {
                    Ok(seen) => Found::of(seen, name, &laid, &redactor),
                    Err(why) => (Found::default(), failed(short(&redactor.text(&laid.hide(&why))))),
                },
            };
            laid.clear();
            found
        });
        reading.await.unwrap_or_else(|_| (Found::default(), failed("its report was not read")))
    }

    /// Runs it, and returns what it printed.
    async fn ask(
        &self,
        run: &dyn Run,
        redactor: &Redactor,
        laid: &Laid,
        limit: Duration,
        question: Question,
    ) -> Result<Vec<u8>, Unheard> {
        let mut env = self.bench.env.clone().with("HOME", &laid.home).with("TMPDIR", &laid.home);
        for (variable, value) in question.env {
            env = env.with(variable, value);
        }
        let command = self.command(question.args, laid.cwd.clone(), env);
        let (mut lines, mut last) = (0, String::new());
        let mut listener = |stream: LogStream, line: &str| {
            let line = redactor.text(&laid.hide(line));
            if !line.trim().is_empty() {
                lines += 1;
                match lines {
                    ..=MAX_LOG_LINES => self.tell(run, stream, bounded(line.clone())),
                    n if n == MAX_LOG_LINES + 1 => {
                        self.tell(run, LogStream::System, "… it says more".to_owned());
                    }
                    _ => {}
                }
                last = line;
            }
        };
        let stops = Stops::of(run);
        let halt = stops.halt.clone();
        let mut running =
            Box::pin(start(command, &stops, Stdout::Keep(MAX_OUTPUT_BYTES), &mut listener));
        let after_s = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = tokio::time::sleep(limit) => {
                halt.cancel();
                // Dropping it kills what is left.
                let _ = tokio::time::timeout(KILLED, &mut running).await;
                return Err(ScanStatus::TimedOut { after_s });
            }
        };
        drop(running);
        let ended = match ended {
            Ok(ended) => ended,
            Err(Failed::TooMuch(most)) => {
                return Err(failed(format!("it printed more than {most} bytes")));
            }
            Err(why @ (Failed::Start { .. } | Failed::Wait(_))) => {
                return Err(failed(why.to_string()));
            }
        };
        if ended.asked.is_some() {
            return Err(failed("it was stopped on request"));
        }
        match (ended.code, ended.signal) {
            (Some(code), _) if question.good.contains(&code) => Ok(ended.stdout),
            (Some(code), _) => Err(failed(with(format!("it ended with exit code {code}"), &last))),
            (None, signal) => {
                let signal = signal.map_or_else(|| "?".to_owned(), |signal| signal.to_string());
                Err(failed(with(format!("it was ended by signal {signal}"), &last)))
            }
        }
    }

    fn tell(&self, run: &dyn Run, stream: LogStream, text: String) {
        run.log(NewLogLine {
            at: self.bench.clock.now(),
            stream,
            step: "scan".to_owned(),
            text: format!("{}: {text}", self.name),
        });
    }
}

/// What is said of a scan in the log.
fn summary(outcome: &ScanOutcome) -> String {
    let (found, ms) = (outcome.findings.len(), outcome.duration_ms);
    match &outcome.status {
        ScanStatus::Done => format!("{found} findings in {ms} ms"),
        ScanStatus::Missing { why } => format!("not scanned: {why}"),
        ScanStatus::TimedOut { after_s } => format!("killed at its limit of {after_s} s"),
        ScanStatus::Failed { why } => format!("failed after {ms} ms: {why}"),
    }
}

fn with(why: String, last: &str) -> String {
    if last.is_empty() { why } else { format!("{why}: {}", short(last)) }
}

pub(crate) fn short(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= MAX_WHY {
        return text.to_owned();
    }
    text.chars().take(MAX_WHY).collect::<String>() + "…"
}

/// The first thing with a dot between numbers; builds of one's own do not tell one.
fn read_version(text: &str) -> Option<String> {
    let words = text.lines().take(20).flat_map(|line| line.split([' ', ':', '\t', ',']));
    let mut words = words.map(|word| word.strip_prefix('v').unwrap_or(word));
    let first = text.lines().next().unwrap_or_default();
    if let Some((_, "dev")) = first.split_once(": ") {
        return Some("dev".to_owned());
    }
    let version = words.find(|word| {
        let mut parts = word.split('.');
        let number = |part: Option<&str>| {
            part.is_some_and(|part| part.bytes().next().is_some_and(|b| b.is_ascii_digit()))
        };
        number(parts.next()) && number(parts.next())
    })?;
    Some(version.chars().take(40).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_tools_print() {
        let of = |text: &str| read_version(text);
        assert_eq!(of("3.3.30\n").as_deref(), Some("3.3.30"));
        assert_eq!(of("v1.28.1\n").as_deref(), Some("1.28.1"));
        assert_eq!(of("Conftest: dev\nOPA: 1.21.1\n").as_deref(), Some("dev"));
        assert_eq!(of("Conftest: 0.71.1\nOPA: 1.21.1\n").as_deref(), Some("0.71.1"));
        assert_eq!(of("Version: 0.58.0\nCheck Bundle:\n").as_deref(), Some("0.58.0"));
        assert_eq!(of("You are running a locally built version of tfsec.\n"), None);
        assert_eq!(of(""), None);
    }
}
