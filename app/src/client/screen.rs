//! Where text goes: standard output and standard error, with `--json` and colours minded. The one
//! place of the client that writes to them.

use std::io::{self, IsTerminal as _};

use serde::Serialize;

use super::error::ClientError;
use super::view::{Ink, Paint};

/// The two outputs of a command.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    json: bool,
    out: Paint,
    err: Paint,
}

impl Screen {
    /// Looks at the terminal. With `json`, standard output holds JSON only and everything that is
    /// meant for a person goes to standard error.
    pub fn new(json: bool) -> Self {
        // https://no-color.org: any value but the empty one switches colours off.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let paint = |terminal: bool| {
            if terminal && !refused { Paint::COLOURED } else { Paint::PLAIN }
        };
        Self {
            json,
            out: paint(io::stdout().is_terminal()),
            err: paint(io::stderr().is_terminal()),
        }
    }

    /// Whether results are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Colours for what a person reads.
    pub fn paint(&self) -> Paint {
        if self.json { self.err } else { self.out }
    }

    /// Text for a person: standard output, or standard error with `--json`.
    pub fn tell(&self, text: &str) -> io::Result<()> {
        if self.json { self.note(text) } else { write(&mut io::stdout().lock(), text) }
    }

    /// Text that is never a result: standard error.
    pub fn note(&self, text: &str) -> io::Result<()> {
        write(&mut io::stderr().lock(), text)
    }

    /// A result: as one JSON document with `--json`, else as `text`.
    pub fn result<T: Serialize>(
        &self,
        document: &T,
        text: impl FnOnce(Paint) -> String,
    ) -> io::Result<()> {
        if !self.json {
            return write(&mut io::stdout().lock(), &text(self.out));
        }
        let mut json = serde_json::to_string_pretty(document)?;
        json.push('\n');
        write(&mut io::stdout().lock(), &json)
    }

    /// One of many results: as a line of JSON with `--json`, else as `text`.
    pub fn line<T: Serialize>(
        &self,
        document: &T,
        text: impl FnOnce(Paint) -> String,
    ) -> io::Result<()> {
        let mut line = if self.json { serde_json::to_string(document)? } else { text(self.out) };
        if self.json {
            line.push('\n');
        }
        write(&mut io::stdout().lock(), &line)
    }

    /// Why the command could not do its work.
    pub fn error(&self, error: &ClientError) {
        if self.json {
            let document = serde_json::json!({ "error": error.to_problem() });
            // When nobody listens any more there is nobody to tell.
            let _ = self.result(&document, |_| String::new());
        }
        let word = self.err.ink(Ink::Bad, "error");
        let text = error.to_string();
        let _ = self.note(&format!("{word}: {}\n", super::view::plain_lines(&text)));
    }
}

fn write(to: &mut dyn io::Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}
