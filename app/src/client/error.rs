//! What can go wrong on the client's side, and what the server said went wrong.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};
use slipway_domain::fault::FieldError;
use slipway_domain::tree::Unsafe;

use super::exit::Exit;

/// The server's refusal: RFC 9457 problem details as Slipway sends them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable code that a program acts on, e.g. `plan_digest_mismatch`.
    pub code: String,
    /// One line, the same for every occurrence.
    pub title: String,
    /// What failed, why, what to do.
    pub detail: String,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Names this request in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The trace that this request belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl Problem {
    /// Whether it is this one.
    pub fn is(&self, code: slipway_domain::Code) -> bool {
        self.code == code.as_str()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = [&self.detail, &self.title].into_iter().find(|text| !text.is_empty());
        match said {
            Some(text) => f.write_str(text)?,
            None => write!(f, "The server answered with status {}.", self.status)?,
        }
        for error in &self.errors {
            // A place in the source says more than the field that holds the source.
            let file = error.file.as_ref().map(|file| place(file, error.line, error.column));
            let at = file.unwrap_or_else(|| error.pointer.clone());
            let known = error.detail == self.detail;
            match (at.is_empty(), known) {
                (true, true) => {}
                (true, false) => write!(f, "\n  {}", error.detail)?,
                (false, true) => write!(f, "\n  {at}")?,
                (false, false) => write!(f, "\n  {at}: {}", error.detail)?,
            }
        }
        if self.status >= 500
            && let Some(id) = self.request_id.as_ref().or(self.trace_id.as_ref())
        {
            write!(f, "\n  The server's log has the cause under {id}.")?;
        }
        Ok(())
    }
}

/// `file:line:column`, as far as it is known.
pub(crate) fn place(file: &str, line: Option<u32>, column: Option<u32>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        (Some(line), None) => format!("{file}:{line}"),
        _ => file.to_owned(),
    }
}

/// Why a client command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the URL, or not in time.
    #[error(
        "There is no answer from {url}: {why}.\nIs `slipway dev` (or another Slipway server) \
         running there? Name another one with --url or SLIPWAY_URL."
    )]
    Unreachable {
        /// The base URL.
        url: String,
        /// What the network said.
        why: String,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// Something answers, but not like a Slipway server.
    #[error("{url} does not answer like a Slipway server: {why}. Is --url right?")]
    Garbled {
        /// The address that was asked.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// What was given on the command line cannot be used.
    #[error("{0}")]
    Input(String),
    /// The directory or archive is not a source that a server would take.
    #[error("{path} cannot be packed: {why}")]
    Source {
        /// What was to be packed.
        path: String,
        /// Why not.
        #[source]
        why: Unsafe,
    },
    /// Standard output or input failed.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

impl ClientError {
    /// The exit code for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Refused(problem) => Exit::of_status(problem.status),
            // Who reads no further (`slipway logs … | head`) has what they wanted.
            Self::Terminal(why) if why.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Self::Source { .. } => Exit::Invalid,
            Self::Garbled { .. } | Self::Input(_) | Self::Terminal(_) => Exit::Other,
        }
    }

    /// The server's refusal, if it is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// The form for `--json`: the server's problem, or a problem of our own with a code.
    pub fn to_problem(&self) -> Problem {
        let code = match self {
            Self::Refused(problem) => return (**problem).clone(),
            Self::Unreachable { .. } => "unreachable",
            Self::Garbled { .. } => "unexpected_answer",
            Self::Input(_) => "usage",
            Self::Source { .. } => slipway_domain::Code::UnsafeArchive.as_str(),
            Self::Terminal(_) => "terminal",
        };
        Problem { code: code.to_owned(), detail: self.to_string(), ..Problem::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_each_field_with_its_place() {
        let problem: Problem = serde_json::from_value(serde_json::json!({
            "type": "about:blank", "status": 422, "code": "invalid_configuration",
            "title": "The configuration is not valid", "detail": "2 fields are not valid",
            "errors": [
                {"pointer": "/variables/size", "detail": "size must be a number"},
                {"pointer": "", "detail": "an argument is missing", "file": "main.tf", "line": 3, "column": 5},
            ],
        }))
        .unwrap();
        assert_eq!(
            problem.to_string(),
            "2 fields are not valid\n  /variables/size: size must be a number\n  main.tf:3:5: an \
             argument is missing"
        );
        assert_eq!(ClientError::Refused(Box::new(problem)).exit(), Exit::Invalid);
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let error = |pointer: &str, file: Option<&str>| FieldError {
            file: file.map(str::to_owned),
            line: file.map(|_| 7),
            ..FieldError::at(pointer, "it is wrong")
        };
        let problem = Problem {
            detail: "it is wrong".to_owned(),
            errors: vec![error("/source", Some("a.tf")), error("/source", None), error("", None)],
            ..Problem::default()
        };
        assert_eq!(problem.to_string(), "it is wrong\n  a.tf:7\n  /source");
    }

    #[test]
    fn an_internal_error_names_the_request() {
        let problem = Problem {
            status: 500,
            title: "Something went wrong on our side".to_owned(),
            request_id: Some("req-1".to_owned()),
            ..Problem::default()
        };
        assert!(problem.to_string().contains("under req-1"), "{problem}");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let closed = ClientError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(closed.exit(), Exit::Success);
        let other = ClientError::from(io::Error::other("x"));
        assert_eq!(other.exit(), Exit::Other);
    }
}
