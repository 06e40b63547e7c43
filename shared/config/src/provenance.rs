//! Where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Provenance {
    /// Nobody chose it.
    #[default]
    Default,
    /// A line of the TOML file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 when it is about the whole file.
        line: usize,
    },
    /// An environment variable.
    Env {
        /// Its name. For a secret read from a file it is the one that ends in `_FILE`.
        name: String,
    },
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env { name } => write!(f, "env {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Where the values came from, by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenances(BTreeMap<String, Provenance>);

impl Provenances {
    /// Where the value of `key` (e.g. `api.listen`) came from.
    pub fn of(&self, key: &str) -> &Provenance {
        const NOBODY: &Provenance = &Provenance::Default;
        self.0.get(key).unwrap_or(NOBODY)
    }

    /// Whether somebody chose the value of `key`.
    pub fn is_chosen(&self, key: &str) -> bool {
        *self.of(key) != Provenance::Default
    }

    pub(crate) fn set(&mut self, key: &str, place: Provenance) {
        self.0.insert(key.to_owned(), place);
    }
}
