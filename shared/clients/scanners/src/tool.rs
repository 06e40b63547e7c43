//! One scanner: a program that gets a copy of the source, and whose report is read.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_domain::clock::Clock;
use slipway_domain::log::LogStream;
use slipway_domain::port::driver::Run;
use slipway_domain::port::scanner::ScanInput;
use slipway_domain::redact::Redactor;
use slipway_domain::scan::{RuleBook, ScanOutcome, ScanStatus, ScannerName};
use slipway_domain::tree::Limits;
use slipway_process::Environment;

use crate::options::{Choice, Options};
use crate::program::{ALLOW, Asked, Program, Stand, Unheard, short};
use crate::report::{Found, Seen};
use crate::source::Laid;

/// A proxy that nobody is: no scan needs the network, so whatever tries it fails at once.
const NOWHERE: &str = "http://127.0.0.1:9";
const PROXIES: &[&str] =
    &["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// What is the same for every scanner of this machine.
#[derive(Debug)]
pub(crate) struct Bench {
    stand: Arc<Stand>,
    limits: Limits,
    rules: RuleBook,
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
        let stand = Stand { env, guard: options.guard.clone(), clock, step: "scan" };
        Self { stand: Arc::new(stand), limits: options.limits, rules: options.rules.clone() }
    }
}

/// A scanner's program.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) name: ScannerName,
    pub(crate) version: Option<String>,
    program: Program,
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

impl From<Unheard> for ScanStatus {
    fn from(unheard: Unheard) -> Self {
        match unheard {
            Unheard::TimedOut(after_s) => Self::TimedOut { after_s },
            Unheard::Failed(why) => Self::Failed { why },
        }
    }
}

fn failed(why: impl Into<String>) -> ScanStatus {
    ScanStatus::Failed { why: why.into() }
}

impl Tool {
    /// Finds the program and asks its version.
    pub(crate) async fn find(bench: Arc<Bench>, choice: &Choice) -> Result<Self, String> {
        let (name, stand) = (choice.name, bench.stand.clone());
        let program = Program::find(stand, name.as_str(), choice.program.as_deref()).await?;
        Ok(Self { name, version: program.version.clone(), program, bench })
    }

    /// One whole scan: lays the source out, asks, reads the answer, clears up. What of the files
    /// `edit` returns takes the place of what was there.
    pub(crate) async fn scan(
        &self,
        run: &dyn Run,
        input: &ScanInput,
        edit: impl Fn(&str, &[u8]) -> Option<Vec<u8>> + Send + 'static,
        question: impl FnOnce(&Laid) -> Result<Question, ScanStatus> + Send,
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
        self.program.tell(run, LogStream::System, &summary(&outcome));
        outcome
    }

    async fn look(
        &self,
        run: &dyn Run,
        laid: Laid,
        limit: Duration,
        question: impl FnOnce(&Laid) -> Result<Question, ScanStatus> + Send,
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
    ) -> Result<Vec<u8>, ScanStatus> {
        let env = self.bench.stand.env.clone();
        let mut env = env.with("HOME", &laid.home).with("TMPDIR", &laid.home);
        for (variable, value) in question.env {
            env = env.with(variable, value);
        }
        let asked = Asked {
            args: question.args,
            env,
            cwd: &laid.cwd,
            good: question.good,
            limit,
            tidy: &|line| redactor.text(&laid.hide(line)),
            error: None,
        };
        Ok(self.program.ask(run, asked).await?)
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
