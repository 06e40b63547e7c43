//! Understands what the tool prints with `-json`: turns every line into a log line, and into
//! events and diagnostics where it says more. Text that is not JSON is logged as it is.

use serde::Deserialize;
use serde_json::Value;
use slipway_domain::clock::Clock;
use slipway_domain::event::{EventBody, ResourceStatus};
use slipway_domain::log::{LogStream, NewLogLine};
use slipway_domain::plan::{Action, Diagnostic, Severity};
use slipway_domain::port::driver::Run;
use slipway_domain::recovery::JournalEntry;
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
    /// Whether what happens to resources becomes events, and so part of the journal.
    journal: bool,
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
    id_key: Option<String>,
    #[serde(default)]
    id_value: Option<String>,
    #[serde(default)]
    elapsed_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct HookResource {
    addr: String,
}

/// What a line says that was begun or ended on a resource; `None` when it says anything else. The
/// same lines, in the same order, are the resource events that [`Ears`] publishes.
pub(crate) fn entry(line: &str) -> Option<JournalEntry> {
    parse(line)?.entry()
}

fn parse(line: &str) -> Option<Message> {
    if line.starts_with('{') { serde_json::from_str(line).ok() } else { None }
}

impl Message {
    fn status(&self) -> Option<ResourceStatus> {
        Some(match self.kind.as_str() {
            "apply_start" | "apply_progress" => ResourceStatus::Started,
            "apply_complete" => ResourceStatus::Completed,
            "apply_errored" => ResourceStatus::Errored,
            _ => return None,
        })
    }

    fn entry(&self) -> Option<JournalEntry> {
        let (status, hook) = (self.status()?, self.hook.as_ref()?);
        let resource_id = hook.id_value.clone().filter(|id| !id.is_empty());
        let id_key = hook.id_key.clone().filter(|key| key != "id" && !key.is_empty());
        Some(JournalEntry {
            address: hook.resource.addr.clone(),
            action: action(&hook.action)?,
            status,
            id_key: resource_id.as_ref().and(id_key),
            resource_id,
        })
    }
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
            journal: true,
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

    /// Publishes nothing of resources: those of tests are not the stack's.
    pub(crate) fn without_journal(mut self) -> Self {
        self.journal = false;
        self
    }

    /// Hears one line.
    pub(crate) fn hear(&mut self, stream: LogStream, line: &str) {
        if let Some(message) = parse(line) {
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

    fn message(&mut self, stream: LogStream, mut message: Message) {
        if let Some(raw) = message.diagnostic.take() {
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
            self.outputs = message.outputs.take();
        }
        let Some(status) = message.status() else { return };
        self.begun = true;
        if status != ResourceStatus::Started
            && let Some(changed) = self.changed
        {
            changed.notify_one();
        }
        if self.journal
            && let Some(entry) = message.entry()
        {
            let elapsed = message.hook.and_then(|hook| hook.elapsed_seconds);
            self.run.event(EventBody::Resource {
                address: entry.address,
                action: entry.action,
                status: entry.status,
                elapsed_s: elapsed.map(seconds),
                resource_id: entry.resource_id,
                id_key: entry.id_key,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, hook: &str) -> String {
        format!(r#"{{"type":"{kind}","hook":{{"resource":{{"addr":"t.a"}},{hook}}}}}"#)
    }

    #[test]
    fn only_what_was_begun_or_ended_is_an_entry() {
        let done =
            entry(&line("apply_complete", r#""action":"create","id_key":"id","id_value":"i-1""#));
        let mut expected = JournalEntry {
            address: "t.a".into(),
            action: Action::Create,
            status: ResourceStatus::Completed,
            resource_id: Some("i-1".into()),
            id_key: None,
        };
        assert_eq!(done.as_ref(), Some(&expected));
        expected.id_key = Some("arn".into());
        let by_arn = line("apply_complete", r#""action":"create","id_key":"arn","id_value":"i-1""#);
        assert_eq!(entry(&by_arn), Some(expected));
        let no_id =
            entry(&line("apply_start", r#""action":"delete","id_key":"arn","id_value":"""#));
        let no_id = no_id.unwrap();
        assert_eq!(
            (no_id.status, no_id.id_key, no_id.resource_id),
            (ResourceStatus::Started, None, None)
        );
        let whole = line("apply_errored", r#""action":"update""#);
        assert_eq!(entry(&whole).unwrap().status, ResourceStatus::Errored);
        for end in 0..whole.len() {
            assert_eq!(entry(&whole[..end]), None, "a line that was cut off says nothing");
        }
        for other in [
            line("provision_progress", r#""provisioner":"local-exec","output":"apply_start""#),
            line("refresh_start", r#""action":"create""#),
            line("apply_start", r#""action":"dance""#),
            r#"{"type":"apply_start"}"#.to_owned(),
            format!("x {whole}"),
        ] {
            assert_eq!(entry(&other), None, "{other}");
        }
    }
}
