//! What is wrong with a configuration: where, and what would be right. Values of secrets are
//! never part of it.

use std::fmt;

use crate::provenance::Provenance;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key at fault, e.g. `api.listen`; empty when it is about no key.
    pub key: String,
    /// Other keys that take part in it.
    pub related: Vec<String>,
    /// Where the value came from, as far as that is known.
    pub place: Option<Provenance>,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl Problem {
    pub(crate) fn at(key: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { key: key.into(), related: Vec::new(), place: None, detail: detail.into() }
    }

    pub(crate) fn in_place(place: Provenance, detail: impl Into<String>) -> Self {
        Self { place: Some(place), ..Self::at("", detail) }
    }

    pub(crate) fn with(mut self, related: impl Into<String>) -> Self {
        self.related.push(related.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(place) = &self.place {
            if self.key.is_empty() {
                write!(f, "{place}")?;
            } else {
                write!(f, " ({place})")?;
            }
        }
        if !self.key.is_empty() || self.place.is_some() {
            f.write_str(": ")?;
        }
        f.write_str(&self.detail)
    }
}

/// A configuration that cannot be used, with every reason at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The reasons; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "the configuration is not valid: {one}"),
            many => {
                write!(f, "the configuration is not valid, for {} reasons:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
