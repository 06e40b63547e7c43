//! What is wrong with a pack, and where.

use std::fmt;

/// One thing that is wrong with a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File inside the pack; empty when it is about the whole.
    pub file: String,
    /// Line, from 1; 0 when it is about the whole file.
    pub line: u32,
    /// Column, from 1; 0 when it is about the whole file.
    pub column: u32,
    /// What is wrong, why, and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of the whole pack.
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self { file: String::new(), line: 0, column: 0, message: message.into() }
    }

    /// A problem of a whole file.
    pub(crate) fn file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, message: message.into() }
    }

    /// Reads the place out of an error text of the interpreter, whose form is
    /// `--> FILE:LINE:COLUMN`, the quoted line, and `error: MESSAGE`.
    pub(crate) fn from_engine(fallback_file: &str, text: &str) -> Self {
        let place = text.lines().find_map(|line| {
            let mut parts = line.trim().strip_prefix("--> ")?.rsplitn(3, ':');
            let column = parts.next()?.parse().ok()?;
            let line = parts.next()?.parse().ok()?;
            Some((parts.next()?.to_owned(), line, column))
        });
        let message = text
            .lines()
            .rev()
            .find_map(|line| line.trim().strip_prefix("error: "))
            .unwrap_or_else(|| text.trim())
            .to_owned();
        let (file, line, column) = place.unwrap_or_else(|| (fallback_file.to_owned(), 0, 0));
        Self { file, line, column, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => f.write_str(&self.message),
            (file, 0) => write!(f, "{file}: {}", self.message),
            (file, line) => write!(f, "{file}:{line}:{}: {}", self.column, self.message),
        }
    }
}

/// A pack that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct PackError {
    /// Everything that was found, in the order of the files.
    pub problems: Vec<Problem>,
}

impl PackError {
    fn text(&self) -> String {
        match self.problems.as_slice() {
            [] => "the policy pack cannot be used".to_owned(),
            [one] => one.to_string(),
            [first, rest @ ..] => format!("{first} (and {} more problems)", rest.len()),
        }
    }
}

impl From<Problem> for PackError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}
