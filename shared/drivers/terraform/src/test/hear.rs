//! Understands what `test -json` prints: which runs there are, how each ended, what was said about it
//! and what was left behind. Log lines and diagnostics go through [`Ears`], like everywhere.

use serde::Deserialize;
use slipway_domain::log::LogStream;
use slipway_domain::plan::Diagnostic;
use slipway_domain::test_report::{MAX_RUNS, TestCase, TestStatus};

use super::select::known_as;
use crate::stream::Ears;
use crate::workspace::Workspace;

/// Leftovers that are named.
const MAX_LEFTOVERS: usize = 1000;
/// What a run is that the tool did not get to.
const NOT_RUN: &str = "it was not run: the tool did not come to it";

#[derive(Deserialize, Default)]
struct Message {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(rename = "@testfile", default)]
    file: Option<String>,
    #[serde(rename = "@testrun", default)]
    run: Option<String>,
    #[serde(default)]
    test_abstract: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    test_run: Option<Ended>,
    #[serde(default)]
    test_cleanup: Option<Cleanup>,
}

#[derive(Deserialize)]
struct Ended {
    #[serde(default)]
    progress: Option<String>,
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
struct Cleanup {
    #[serde(default)]
    failed_resources: Vec<Left>,
}

#[derive(Deserialize)]
struct Left {
    instance: String,
    #[serde(default)]
    deposed_key: Option<String>,
}

/// A run, by the names that the tool has for it.
struct Heard {
    file: String,
    run: Option<String>,
    status: TestStatus,
    said: Vec<Diagnostic>,
}

/// What was heard so far.
pub(super) struct Hearing<'a> {
    pub(super) ears: Ears<'a>,
    workspace: &'a Workspace,
    runs: Vec<Heard>,
    /// What was said of no run.
    pub(super) general: Vec<Diagnostic>,
    pub(super) leftovers: Vec<String>,
    /// Whether the tool came to its end.
    pub(super) summed_up: bool,
    /// Whether a run has begun.
    pub(super) begun: bool,
}

impl<'a> Hearing<'a> {
    pub(super) fn new(ears: Ears<'a>, workspace: &'a Workspace) -> Self {
        Self {
            ears: ears.without_journal(),
            workspace,
            runs: Vec::new(),
            general: Vec::new(),
            leftovers: Vec::new(),
            summed_up: false,
            begun: false,
        }
    }

    /// Hears one line.
    pub(super) fn hear(&mut self, stream: LogStream, line: &str) {
        let before = self.ears.diagnostics.len();
        self.ears.hear(stream, line);
        let said = self.ears.diagnostics.get(before..).unwrap_or_default().to_vec();
        if !line.starts_with('{') {
            return;
        }
        let Ok(message) = serde_json::from_str::<Message>(line) else { return };
        for diagnostic in said {
            match &message.file {
                Some(file) => self.heard(file, message.run.as_deref()).said.push(diagnostic),
                None => self.general.push(diagnostic),
            }
        }
        self.message(message);
    }

    fn message(&mut self, message: Message) {
        for (file, runs) in message.test_abstract.into_iter().flatten() {
            for run in runs.as_array().into_iter().flatten().filter_map(|run| run.as_str()) {
                self.heard(&file, Some(run));
            }
        }
        self.summed_up |= message.kind == "test_summary";
        if let (Some(file), Some(run), Some(ended)) =
            (&message.file, &message.run, message.test_run)
        {
            self.begun = true;
            let status = match ended.status.as_deref() {
                _ if ended.progress.as_deref().is_some_and(|p| p != "complete") => None,
                Some("pass") => Some(TestStatus::Pass),
                Some("fail") => Some(TestStatus::Fail),
                Some("error") => Some(TestStatus::Error),
                _ => None,
            };
            if let Some(status) = status {
                self.heard(file, Some(run)).status = status;
            }
        }
        if let Some(Cleanup { failed_resources }) = message.test_cleanup {
            let whose = match (&message.file, &message.run) {
                (Some(file), Some(run)) => {
                    format!(" ({}: {run})", known_as(self.workspace, file).0)
                }
                (Some(file), None) => format!(" ({})", known_as(self.workspace, file).0),
                _ => String::new(),
            };
            for left in failed_resources {
                let deposed = left.deposed_key.map(|key| format!(" deposed {key}"));
                let deposed = deposed.unwrap_or_default();
                if self.leftovers.len() < MAX_LEFTOVERS {
                    self.leftovers.push(format!("{}{deposed}{whose}", left.instance));
                }
            }
        }
    }

    /// The run of this name; its place in the list is where it was first heard of. What comes after
    /// so many is one.
    fn heard(&mut self, file: &str, run: Option<&str>) -> &mut Heard {
        let is_it = |h: &Heard| h.file == file && h.run.as_deref() == run;
        let at = match self.runs.iter().position(is_it) {
            Some(at) => at,
            None if self.runs.len() > 2 * MAX_RUNS => self.runs.len() - 1,
            None => {
                let (file, run) = (file.to_owned(), run.map(str::to_owned));
                // What is said of a file and of no run of it is an error of the file.
                let status = if run.is_some() { TestStatus::Skipped } else { TestStatus::Error };
                self.runs.push(Heard { file, run, status, said: Vec::new() });
                self.runs.len() - 1
            }
        };
        &mut self.runs[at]
    }

    /// What was tested.
    pub(super) fn cases(&mut self) -> Vec<TestCase> {
        let heard = std::mem::take(&mut self.runs);
        let only_warned = |one: &Heard| {
            let is_error = |d: &Diagnostic| d.severity == slipway_domain::plan::Severity::Error;
            one.run.is_none() && !one.said.iter().any(is_error)
        };
        heard
            .into_iter()
            // A file that was only warned of is no case.
            .filter(|one| !only_warned(one))
            .map(|one| {
                let (shown, file) = known_as(self.workspace, &one.file);
                let name = match &one.run {
                    Some(run) => format!("{shown}: {run}"),
                    None => shown,
                };
                let case = TestCase { file, run: one.run, ..TestCase::of(name, one.status) };
                let case = match one.status {
                    TestStatus::Skipped => case.because(NOT_RUN),
                    _ => case,
                };
                let said = one.said.into_iter().map(|said| self.without_checks(said)).collect();
                case.saying(said)
            })
            .collect()
    }

    /// A diagnostic that points at no file that nobody has.
    fn without_checks(&self, said: Diagnostic) -> Diagnostic {
        let file = said.file.filter(|file| known_as(self.workspace, file).1.is_some());
        Diagnostic { file, ..said }
    }
}
