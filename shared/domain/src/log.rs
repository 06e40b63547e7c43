//! Lines that a driver's tools print, as they are kept: masked, bounded, numbered.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A longer line is cut to this many bytes and says so.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// The tool's standard output (or the message of its JSON events).
    Stdout,
    /// The tool's standard error.
    Stderr,
    /// Slipway itself.
    System,
}

impl LogStream {
    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::System => "system",
        }
    }

    /// Reads the text form; an unknown one counts as `system`.
    pub fn parse(text: &str) -> Self {
        match text {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            _ => Self::System,
        }
    }
}

/// One line, not yet numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLogLine {
    /// When it was read.
    pub at: DateTime<Utc>,
    /// Where it came from.
    pub stream: LogStream,
    /// What step printed it: `fetch`, `init`, `plan`, `show`, `apply`.
    pub step: String,
    /// The text, masked, without the line end.
    pub text: String,
}

/// One line as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct LogLine {
    /// Number in the deployment's log, from 1, without holes.
    pub seq: i64,
    /// When it was read.
    pub at: DateTime<Utc>,
    /// Where it came from.
    pub stream: LogStream,
    /// What step printed it.
    pub step: String,
    /// The text, masked.
    pub text: String,
}

/// Cuts a line to [`MAX_LINE_BYTES`] at a character boundary and says how much is missing.
pub fn bounded(mut text: String) -> String {
    if text.len() <= MAX_LINE_BYTES {
        return text;
    }
    let mut cut = MAX_LINE_BYTES;
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let missing = text.len() - cut;
    text.truncate(cut);
    text + &format!(" … [{missing} bytes cut]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let line = bounded("é".repeat(MAX_LINE_BYTES));
        assert!(line.len() < MAX_LINE_BYTES + 64);
        assert!(line.ends_with("bytes cut]"), "{}", &line[line.len() - 40..]);
        assert_eq!(bounded("short".to_owned()), "short");
    }
}
