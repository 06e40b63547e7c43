//! A program of another maker: found, asked its version, and run within limits.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slipway_domain::clock::Clock;
use slipway_domain::log::{LogStream, NewLogLine, bounded};
use slipway_domain::port::driver::Run;
use slipway_process::{
    Command, Environment, Failed, Guard, Stdout, Stops, Unattended, is_executable, run as start,
};

/// Most output of a run, in bytes. 500 resources make some 7 MB with checkov.
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
pub(crate) const ALLOW: &[&str] = &["PATH", "LANG", "LC_*", "TZ"];

/// With what programs are started.
#[derive(Debug, Clone)]
pub(crate) struct Stand {
    /// What every run of them sees of the environment, and their question for a version.
    pub(crate) env: Environment,
    /// Through what they are started.
    pub(crate) guard: Guard,
    /// What time it is.
    pub(crate) clock: Arc<dyn Clock>,
    /// The step that their log lines are of.
    pub(crate) step: &'static str,
}

impl Stand {
    /// Says something of a tool in the log of a run.
    pub(crate) fn tell(&self, run: &dyn Run, name: &str, stream: LogStream, text: &str) {
        run.log(NewLogLine {
            at: self.clock.now(),
            stream,
            step: self.step.to_owned(),
            text: format!("{name}: {text}"),
        });
    }
}

/// One program.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// What it is called, which is also the name of its executable.
    pub(crate) name: &'static str,
    /// What it says of its version.
    pub(crate) version: Option<String>,
    path: PathBuf,
    stand: Arc<Stand>,
}

/// What a program is asked.
pub(crate) struct Asked<'a> {
    pub(crate) args: Vec<OsString>,
    /// Its whole environment.
    pub(crate) env: Environment,
    /// Where it runs.
    pub(crate) cwd: &'a Path,
    /// Exit codes that say that it did its work.
    pub(crate) good: &'a [i32],
    /// How long it may take.
    pub(crate) limit: Duration,
    /// Takes this machine's directories and secrets out of what it says.
    pub(crate) tidy: &'a (dyn Fn(&str) -> String + Sync),
    /// How a line begins that says what went wrong; what follows belongs to it. The last line is
    /// taken where there is none.
    pub(crate) error: Option<&'a str>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unheard {
    /// It was killed at its limit, which is so many seconds.
    TimedOut(u32),
    /// It did not work.
    Failed(String),
}

fn failed(why: impl Into<String>) -> Unheard {
    Unheard::Failed(why.into())
}

impl Program {
    /// Finds the program, where it is said to be or on `PATH`, and asks its version.
    pub(crate) async fn find(
        stand: Arc<Stand>,
        name: &'static str,
        chosen: Option<&Path>,
    ) -> Result<Self, String> {
        let path = match chosen {
            Some(program) => {
                let program = std::path::absolute(program).unwrap_or_else(|_| program.into());
                if !is_executable(&program) {
                    return Err(format!("{} is not an executable file", program.display()));
                }
                program
            }
            None => stand
                .env
                .find(name)
                .ok_or_else(|| format!("{name} is not on the PATH of this worker"))?,
        };
        let tool = Self { name, version: None, path, stand };
        let command = tool.command(
            vec!["--version".into()],
            std::env::temp_dir(),
            tool.stand.env.clone().with("HOME", "/nonexistent"),
        );
        let mut silent = |_: LogStream, _: &str| {};
        let stops = Stops::of(&Unattended);
        let asking = start(command, &stops, Stdout::Keep(MAX_VERSION_BYTES), &mut silent);
        let ended = tokio::time::timeout(VERSION_TIMEOUT, asking).await;
        let ended = ended
            .map_err(|_| format!("{name} did not tell its version within a minute"))?
            .map_err(|why| format!("{name} does not run: {why}"))?;
        if ended.code != Some(0) {
            return Err(format!("{} does not tell its version", tool.path.display()));
        }
        let version = read_version(&String::from_utf8_lossy(&ended.stdout));
        Ok(Self { version, ..tool })
    }

    fn command(&self, args: Vec<OsString>, dir: PathBuf, env: Environment) -> Command {
        let guard = self.stand.guard.program();
        Command { program: self.path.clone(), args, dir, env, guard }
    }

    /// Runs it, and returns what it printed.
    pub(crate) async fn ask(&self, run: &dyn Run, asked: Asked<'_>) -> Result<Vec<u8>, Unheard> {
        let Asked { args, env, cwd, good, limit, tidy, error } = asked;
        let command = self.command(args, cwd.to_path_buf(), env);
        let (mut lines, mut said) = (0, Said::default());
        let mut listener = |stream: LogStream, line: &str| {
            let line = tidy(line);
            if !line.trim().is_empty() {
                lines += 1;
                match lines {
                    ..=MAX_LOG_LINES => self.tell(run, stream, &bounded(line.clone())),
                    n if n == MAX_LOG_LINES + 1 => {
                        self.tell(run, LogStream::System, "… it says more");
                    }
                    _ => {}
                }
                said.hear(line, error);
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
                return Err(Unheard::TimedOut(after_s));
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
            (Some(code), _) if good.contains(&code) => Ok(ended.stdout),
            (Some(code), _) => Err(failed(said.with(format!("it ended with exit code {code}")))),
            (None, signal) => {
                let signal = signal.map_or_else(|| "?".to_owned(), |signal| signal.to_string());
                Err(failed(said.with(format!("it was ended by signal {signal}"))))
            }
        }
    }

    /// Says something of it in the log.
    pub(crate) fn tell(&self, run: &dyn Run, stream: LogStream, text: &str) {
        self.stand.tell(run, self.name, stream, text);
    }
}

/// What of standard error is the reason, if it fails.
#[derive(Default)]
struct Said {
    last: String,
    error: String,
}

impl Said {
    fn hear(&mut self, line: String, error: Option<&str>) {
        let begins = error.is_some_and(|word| line.trim_start().starts_with(word));
        if begins && self.error.is_empty() {
            self.error.push_str(line.trim());
        } else if !self.error.is_empty() && self.error.len() < MAX_WHY {
            self.error.push(' ');
            self.error.push_str(line.trim());
        }
        self.last = line;
    }

    fn with(&self, why: String) -> String {
        let said = if self.error.is_empty() { &self.last } else { &self.error };
        if said.is_empty() { why } else { format!("{why}: {}", short(said)) }
    }
}

/// A text of at most so many characters as a reason may have.
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
        assert_eq!(of("Infracost v0.10.41\n").as_deref(), Some("0.10.41"));
        assert_eq!(of("3.3.30\n").as_deref(), Some("3.3.30"));
        assert_eq!(of("v1.28.1\n").as_deref(), Some("1.28.1"));
        assert_eq!(of("Conftest: dev\nOPA: 1.21.1\n").as_deref(), Some("dev"));
        assert_eq!(of("Conftest: 0.71.1\nOPA: 1.21.1\n").as_deref(), Some("0.71.1"));
        assert_eq!(of("Version: 0.58.0\nCheck Bundle:\n").as_deref(), Some("0.58.0"));
        assert_eq!(of("You are running a locally built version of tfsec.\n"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn the_reason_is_the_error_or_the_last_line_and_is_bounded() {
        let of = |lines: &[&str], error: Option<&str>| {
            let mut said = Said::default();
            for line in lines {
                said.hear((*line).to_owned(), error);
            }
            said.with("it ended".to_owned())
        };
        assert_eq!(of(&[], None), "it ended");
        assert_eq!(of(&["a", " b "], None), "it ended: b");
        assert_eq!(of(&["a", "b"], Some("Error")), "it ended: b");
        assert_eq!(of(&["a", "Error: b", " c", "d"], Some("Error")), "it ended: Error: b c d");
        let long = of(&["Error: b", &"x".repeat(1_000), "y"], Some("Error"));
        assert!(long.chars().count() < 320 && long.ends_with('…'), "{long}");
    }
}
