//! Scans: scanners of other makers look at the source, and what they find is put into the words of
//! the house. How much harm a finding does is ours to say, by the rules that both know
//! ([`RuleBook`]); what a scanner says of severity is only used where we know no better.
//!
//! A scanner that is asked for and does not answer is never a pass ([`judge`]).

mod book;
mod dedupe;
mod judge;
pub mod sarif;

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use book::RuleBook;
pub use dedupe::{dedupe, same_address};
pub use judge::{Judged, NotScanned, conclude, judge};

use crate::fault::FieldError;
use crate::finding::{Finding, Severity};

/// Shortest and longest time that a scanner may be given, in seconds.
pub const TIME_LIMIT_S: std::ops::RangeInclusive<u32> = 1..=3600;

/// A scanner.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ScannerName {
    /// checkov, on the source or on the plan.
    Checkov,
    /// tfsec, on the source.
    Tfsec,
    /// conftest, with the operator's own policies.
    Conftest,
    /// trivy, on the source.
    Trivy,
}

impl ScannerName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Checkov, Self::Tfsec, Self::Conftest, Self::Trivy];

    /// The text form, which is also the name of its executable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkov => "checkov",
            Self::Tfsec => "tfsec",
            Self::Conftest => "conftest",
            Self::Trivy => "trivy",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// Which one an executable is, by the name of its file: `checkov`, `tfsec-1.26.0`.
    pub fn of_program(program: &Path) -> Option<Self> {
        let file = program.file_name()?.to_str()?;
        Self::ALL.into_iter().find(|name| {
            file.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
        })
    }
}

impl fmt::Display for ScannerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a scanner that is not installed comes to.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// It is recorded as skipped, and the gate warns.
    #[default]
    Skip,
    /// The gate denies.
    Deny,
}

const fn default_time_limit_s() -> u32 {
    300
}

#[expect(clippy::unnecessary_wraps, reason = "serde takes the field's own type")]
const fn default_deny_from() -> Option<Severity> {
    Some(Severity::Critical)
}

#[expect(clippy::unnecessary_wraps, reason = "serde takes the field's own type")]
const fn default_warn_from() -> Option<Severity> {
    Some(Severity::Medium)
}

/// How one scanner is asked, and what its findings come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScannerSettings {
    /// Which one.
    pub name: ScannerName,
    /// Whether the gate denies when it is missing, takes too long or fails.
    #[serde(default)]
    pub required: bool,
    /// How long it may take, in seconds.
    #[serde(default = "default_time_limit_s")]
    #[schema(minimum = 1, maximum = 3600)]
    #[schemars(range(min = 1, max = 3600))]
    pub time_limit_s: u32,
    /// From which severity on a finding denies; `null`: never.
    #[serde(default = "default_deny_from")]
    pub deny_from: Option<Severity>,
    /// From which severity on a finding warns; `null`: never.
    #[serde(default = "default_warn_from")]
    pub warn_from: Option<Severity>,
}

impl ScannerSettings {
    /// The defaults: 5 minutes, critical findings deny, medium ones warn.
    pub const fn new(name: ScannerName) -> Self {
        Self {
            name,
            required: false,
            time_limit_s: default_time_limit_s(),
            deny_from: default_deny_from(),
            warn_from: default_warn_from(),
        }
    }
}

/// Which scanners are asked, and what follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScanSettings {
    /// The scanners. Without any, nothing is scanned and the gate passes.
    pub scanners: Vec<ScannerSettings>,
    /// What one that is not installed comes to, where it is not required.
    pub on_missing: OnMissing,
    /// Whether a finding that the source asks to skip (`checkov:skip=`, `tfsec:ignore:`) does not
    /// count. That is the word of the one whose change is judged.
    pub honour_inline_skips: bool,
}

impl ScanSettings {
    /// The settings of a scanner, if it is asked.
    pub fn of(&self, name: ScannerName) -> Option<&ScannerSettings> {
        self.scanners.iter().find(|scanner| scanner.name == name)
    }

    /// What is wrong with them; pointers are relative to the document.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (i, scanner) in self.scanners.iter().enumerate() {
            if self.scanners[..i].iter().any(|other| other.name == scanner.name) {
                let what = format!("{} is there twice; name each scanner once", scanner.name);
                errors.push(FieldError::at(format!("/scanners/{i}/name"), what));
            }
            if !TIME_LIMIT_S.contains(&scanner.time_limit_s) {
                let (least, most) = TIME_LIMIT_S.into_inner();
                errors.push(FieldError::at(
                    format!("/scanners/{i}/time_limit_s"),
                    format!("a scanner may be given {least} to {most} seconds"),
                ));
            }
        }
        errors
    }
}

/// How a scan ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ScanStatus {
    /// It looked at everything.
    Done,
    /// It is not installed here, or not set up.
    Missing {
        /// What is missing.
        why: String,
    },
    /// It was killed at its limit.
    TimedOut {
        /// The limit, in seconds.
        after_s: u32,
    },
    /// It did not work, or did not look at everything.
    Failed {
        /// Why.
        why: String,
    },
}

/// What became of one scan.
#[derive(Clone, PartialEq, Eq)]
pub struct ScanOutcome {
    /// The scanner.
    pub tool: ScannerName,
    /// Its version, as far as it tells one.
    pub version: Option<String>,
    /// What it found, rated by our severity. There may be some although it failed.
    pub findings: Vec<Finding>,
    /// The same as a SARIF document; empty when it did not look at anything.
    pub sarif: Bytes,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// How it ended.
    pub status: ScanStatus,
}

impl ScanOutcome {
    /// One that found nothing because it did not look.
    pub const fn without(tool: ScannerName, status: ScanStatus) -> Self {
        Self {
            tool,
            version: None,
            findings: Vec::new(),
            sarif: Bytes::new(),
            duration_ms: 0,
            status,
        }
    }
}

impl fmt::Debug for ScanOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanOutcome")
            .field("tool", &self.tool)
            .field("version", &self.version)
            .field("findings", &self.findings)
            .field("sarif", &self.sarif.len())
            .field("duration_ms", &self.duration_ms)
            .field("status", &self.status)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_defaults_and_take_nothing_unknown() {
        let read = |text: &str| serde_json::from_str::<ScanSettings>(text);
        let settings =
            read(r#"{"scanners":[{"name":"checkov"},{"name":"tfsec","deny_from":null}]}"#).unwrap();
        assert_eq!(settings.scanners[0], ScannerSettings::new(ScannerName::Checkov));
        assert_eq!(settings.of(ScannerName::Tfsec).unwrap().deny_from, None);
        assert!(settings.of(ScannerName::Trivy).is_none());
        assert_eq!((settings.on_missing, settings.honour_inline_skips), (OnMissing::Skip, false));
        assert!(settings.check().is_empty());
        assert_eq!(read("{}").unwrap(), ScanSettings::default());
        for bad in [
            r#"{"scanner":[]}"#,
            r#"{"scanners":[{"name":"other"}]}"#,
            r#"{"scanners":[{"name":"checkov","deny_from":"info"}]}"#,
            r#"{"scanners":[{"name":"checkov","must":true}]}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_programs_name_says_which_scanner_it_is() {
        let name = |path: &str| ScannerName::of_program(Path::new(path));
        assert_eq!(name("/opt/checkov"), Some(ScannerName::Checkov));
        assert_eq!(name("bin/tfsec-1.26.0"), Some(ScannerName::Tfsec));
        for other in ["/opt/terraform", "/opt/checkovish", "/", "trivial"] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_wrong_with_settings_names_the_place() {
        let mut settings = ScanSettings::default();
        settings.scanners.push(ScannerSettings::new(ScannerName::Trivy));
        settings
            .scanners
            .push(ScannerSettings { time_limit_s: 0, ..ScannerSettings::new(ScannerName::Trivy) });
        let errors = settings.check();
        let at: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(at, ["/scanners/1/name", "/scanners/1/time_limit_s"]);
    }
}
