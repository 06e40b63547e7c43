//! Where text goes: standard output and standard error, with `--json` and colours minded. The one
//! place of the client that writes to them.

use std::io::{self, IsTerminal as _};

use serde::Serialize;

use super::error::ClientError;
use super::view::{Ink, Paint};

/// The two outputs of a command.
#[derive(Debug, Clone)]
pub struct Screen {
    json: bool,
    out: Paint,
    err: Paint,
    #[cfg(test)]
    kept: Option<Kept>,
}

/// What was written to standard output and to standard error, for tests.
#[cfg(test)]
type Kept = std::sync::Arc<std::sync::Mutex<[String; 2]>>;

#[derive(Clone, Copy)]
enum Outlet {
    Out,
    Err,
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
            #[cfg(test)]
            kept: None,
        }
    }

    /// Keeps what would be written; see [`Self::out`] and [`Self::err`].
    #[cfg(test)]
    pub(crate) fn kept(json: bool) -> Self {
        Self { json, out: Paint::PLAIN, err: Paint::PLAIN, kept: Some(Kept::default()) }
    }

    /// What went to standard output.
    #[cfg(test)]
    pub(crate) fn out(&self) -> String {
        self.kept.as_ref().unwrap().lock().unwrap()[0].clone()
    }

    /// What went to standard error.
    #[cfg(test)]
    pub(crate) fn err(&self) -> String {
        self.kept.as_ref().unwrap().lock().unwrap()[1].clone()
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests write elsewhere"))]
    fn write(&self, outlet: Outlet, text: &str) -> io::Result<()> {
        #[cfg(test)]
        if let Some(kept) = &self.kept {
            kept.lock().unwrap()[outlet as usize].push_str(text);
            return Ok(());
        }
        let flush = |to: &mut dyn io::Write| {
            to.write_all(text.as_bytes())?;
            to.flush()
        };
        match outlet {
            Outlet::Out => flush(&mut io::stdout().lock()),
            Outlet::Err => flush(&mut io::stderr().lock()),
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
        if self.json { self.note(text) } else { self.write(Outlet::Out, text) }
    }

    /// Text that is never a result: standard error.
    pub fn note(&self, text: &str) -> io::Result<()> {
        self.write(Outlet::Err, text)
    }

    /// A result: as one JSON document with `--json`, else as `text`.
    pub fn result<T: Serialize>(
        &self,
        document: &T,
        text: impl FnOnce(Paint) -> String,
    ) -> io::Result<()> {
        if !self.json {
            return self.write(Outlet::Out, &text(self.out));
        }
        let mut json = serde_json::to_string_pretty(document)?;
        json.push('\n');
        self.write(Outlet::Out, &json)
    }

    /// A result that is a document already, as it is.
    pub fn document(&self, text: &str) -> io::Result<()> {
        self.write(Outlet::Out, text)
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
        self.write(Outlet::Out, &line)
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
