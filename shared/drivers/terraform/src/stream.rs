//! Understands what the tool prints with `-json`: turns every line into a log line, and into
//! events and diagnostics where it says more. Text that is not JSON is logged as it is.

use serde::Deserialize;
use serde_json::Value;
use slipway_domain::clock::Clock;
use slipway_domain::event::{EventBody, ResourceStatus};
use slipway_domain::log::{LogStream, NewLogLine};
use slipway_domain::plan::{Action, Diagnostic, Severity};
use slipway_domain::port::driver::Run;
use tokio::sync::Notify;

use crate::workspace::Workspace;

/// Diagnostics kept of one command.
const MAX_DIAGNOSTICS: usize = 200;
/// Longest detail of a diagnostic, in bytes.
const MAX_DETAIL_BYTES: usize = 16 << 10;
/// Lines of plain text kept to explain a failure.
const MAX_TAIL: usize = 60;

/// Listens to one command.
pub(crate) struct Ears<'a> {
    run: &'a dyn Run,
    clock: &'a dyn Clock,
    workspace: &'a Workspace,
    step: &'static str,
    /// Called when the state may have changed.
    changed: Option<&'a Notify>,
    /// Whether diagnostics become events at once; otherwise when [`Ears::publish`] is called.
    at_once: bool,
    /// What the tool complained about.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The last lines of plain text.
    pub(crate) tail: Vec<String>,
    /// The outputs as the apply told them; sensitive ones have no value.
    pub(crate) outputs: Option<Value>,
    /// Whether an operation on a resource has begun.
    pub(crate) begun: bool,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "@message", default)]
    message: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    diagnostic: Option<RawDiagnostic>,
    #[serde(default)]
    hook: Option<Hook>,
    #[serde(default)]
    outputs: Option<Value>,
}

#[derive(Deserialize)]
struct RawDiagnostic {
    severity: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    range: Option<Range>,
}

#[derive(Deserialize)]
struct Range {
    filename: String,
    start: Position,
}

#[derive(Deserialize)]
struct Position {
    line: u32,
    column: u32,
}

#[derive(Deserialize)]
struct Hook {
    resource: HookResource,
    #[serde(default)]
    action: String,
    #[serde(default)]
    id_value: Option<String>,
    #[serde(default)]
    elapsed_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct HookResource {
    addr: String,
}

impl<'a> Ears<'a> {
    pub(crate) fn new(
        run: &'a dyn Run,
        clock: &'a dyn Clock,
        workspace: &'a Workspace,
        step: &'static str,
    ) -> Self {
        Self {
            run,
            clock,
            workspace,
            step,
            changed: None,
            at_once: false,
            diagnostics: Vec::new(),
            tail: Vec::new(),
            outputs: None,
            begun: false,
        }
    }

    /// Publishes diagnostics as they come, and says when the state may have changed.
    pub(crate) fn live(mut self, changed: &'a Notify) -> Self {
        self.at_once = true;
        self.changed = Some(changed);
        self
    }

    /// Hears one line.
    pub(crate) fn hear(&mut self, stream: LogStream, line: &str) {
        let message = line.starts_with('{').then(|| serde_json::from_str::<Message>(line).ok());
        if let Some(message) = message.flatten() {
            self.message(stream, message);
            return;
        }
        if line.trim().is_empty() {
            return;
        }
        if self.tail.len() >= MAX_TAIL {
            self.tail.remove(0);
        }
        self.tail.push(self.workspace.tidy(&clip(line)));
        self.log(stream, line);
    }

    fn message(&mut self, stream: LogStream, message: Message) {
        if let Some(raw) = message.diagnostic {
            let diagnostic = self.diagnostic(raw);
            self.log_diagnostic(stream, &diagnostic);
            if self.diagnostics.len() < MAX_DIAGNOSTICS {
                if self.at_once {
                    self.run.event(EventBody::Diagnostic { diagnostic: diagnostic.clone() });
                }
                self.diagnostics.push(diagnostic);
            }
            return;
        }
        for line in message.message.lines() {
            self.log(stream, line);
        }
        if message.kind == "outputs" {
            self.outputs = message.outputs;
        }
        let status = match message.kind.as_str() {
            "apply_start" | "apply_progress" => ResourceStatus::Started,
            "apply_complete" => ResourceStatus::Completed,
            "apply_errored" => ResourceStatus::Errored,
            _ => return,
        };
        self.begun = true;
        if status != ResourceStatus::Started
            && let Some(changed) = self.changed
        {
            changed.notify_one();
        }
        if let Some(hook) = message.hook
            && let Some(action) = action(&hook.action)
        {
            let elapsed_s = hook.elapsed_seconds.map(seconds);
            self.run.event(EventBody::Resource {
                address: hook.resource.addr,
                action,
                status,
                elapsed_s,
                resource_id: hook.id_value.filter(|id| !id.is_empty()),
            });
        }
    }

    fn diagnostic(&self, raw: RawDiagnostic) -> Diagnostic {
        let redact = |text: &str| self.run.redactor().text(&self.workspace.tidy(text));
        let place = raw.range.and_then(|range| {
            Some((self.workspace.in_source(&range.filename)?, range.start.line, range.start.column))
        });
        let (file, line, column) = match place {
            Some((file, line, column)) => (Some(file), Some(line), Some(column)),
            None => (None, None, None),
        };
        Diagnostic {
            severity: if raw.severity == "warning" { Severity::Warning } else { Severity::Error },
            summary: redact(&clip(&raw.summary)),
            detail: redact(&clip(&raw.detail)),
            address: raw.address.map(|address| redact(&address)),
            file,
            line,
            column,
        }
    }

    fn log_diagnostic(&self, stream: LogStream, diagnostic: &Diagnostic) {
        let word = match diagnostic.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        };
        self.log(stream, &format!("{word}: {}", diagnostic.summary));
        if let (Some(file), Some(line)) = (&diagnostic.file, diagnostic.line) {
            self.log(stream, &format!("  on {file} line {line}"));
        }
        for line in diagnostic.detail.lines() {
            self.log(stream, &format!("  {line}"));
        }
    }

    fn log(&self, stream: LogStream, text: &str) {
        self.run.log(NewLogLine {
            at: self.clock.now(),
            stream,
            step: self.step.to_owned(),
            text: self.workspace.tidy(text),
        });
    }

    /// Publishes the diagnostics that were held back.
    pub(crate) fn publish(&self) {
        if !self.at_once {
            for diagnostic in self.diagnostics.clone() {
                self.run.event(EventBody::Diagnostic { diagnostic });
            }
        }
    }

    /// The errors among the diagnostics.
    pub(crate) fn errors(&self) -> Vec<Diagnostic> {
        let errors = self.diagnostics.iter().filter(|d| d.severity == Severity::Error);
        errors.cloned().collect()
    }
}

/// A line of Slipway's own.
pub(crate) fn say(run: &dyn Run, clock: &dyn Clock, step: &str, text: impl Into<String>) {
    run.log(NewLogLine {
        at: clock.now(),
        stream: LogStream::System,
        step: step.to_owned(),
        text: text.into(),
    });
}

/// A step begins.
pub(crate) fn step(run: &dyn Run, step: &str, detail: Option<&str>) {
    run.event(EventBody::Step { step: step.to_owned(), detail: detail.map(str::to_owned) });
}

fn clip(text: &str) -> String {
    if text.len() <= MAX_DETAIL_BYTES {
        return text.to_owned();
    }
    let mut end = MAX_DETAIL_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} … [cut]", &text[..end])
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds, checked")]
fn seconds(elapsed: f64) -> u64 {
    if elapsed.is_finite() && elapsed > 0.0 { elapsed as u64 } else { 0 }
}

fn action(word: &str) -> Option<Action> {
    Some(match word {
        "create" => Action::Create,
        "update" => Action::Update,
        "delete" => Action::Delete,
        "replace" => Action::DeleteThenCreate,
        "read" => Action::Read,
        "import" => Action::Import,
        "move" => Action::Move,
        "forget" | "remove" => Action::Forget,
        _ => return None,
    })
}
