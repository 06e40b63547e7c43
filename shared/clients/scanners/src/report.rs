//! What a scanner said, as findings: bounded, masked, with the paths of the source tree, and rated.

use bytes::Bytes;
use slipway_domain::finding::{Finding, Severity, State, Verdict};
use slipway_domain::redact::Redactor;
use slipway_domain::scan::{RuleBook, ScanOutcome, ScanStatus, ScannerName, sarif};

use crate::source::Laid;
use crate::tool::Tool;

/// Most findings of one scan. More is no scan that a person could read.
const MAX_FINDINGS: usize = 50_000;
/// Longest text of a finding, in characters.
const MAX_TEXT: usize = 1_000;
/// Most aliases of a finding.
const MAX_ALIASES: usize = 20;
/// What is not of the deployed configuration does not deny.
const ELSEWHERE: Severity = Severity::Medium;

/// One thing that a scanner says, in its own words.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) rule: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) title: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
    /// What is taken where we do not know the check.
    pub(crate) severity: Severity,
    pub(crate) address: String,
    /// As the tool names it.
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    /// What the author of the source wrote.
    pub(crate) suppressed: Option<String>,
}

/// What a scanner says.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) raw: Vec<Raw>,
    /// Why it did not look at everything.
    pub(crate) incomplete: Option<String>,
}

impl Seen {
    /// The same without places: a plan is no file of the source, whatever a tool calls it.
    pub(crate) fn of_plan(mut self) -> Self {
        for raw in &mut self.raw {
            (raw.file, raw.line) = (None, None);
        }
        self
    }
}

/// The same in the words of the house.
#[derive(Debug, Default)]
pub(crate) struct Found {
    findings: Vec<Finding>,
    /// Of a part of the source that is not deployed, by index.
    elsewhere: Vec<usize>,
    looked: bool,
}

impl Found {
    /// Puts what was said into the words of the house.
    pub(crate) fn of(
        seen: Seen,
        tool: ScannerName,
        laid: &Laid,
        redactor: &Redactor,
    ) -> (Self, ScanStatus) {
        let text = |text: &str| cut(&redactor.text(&laid.hide(text)));
        let mut found = Self { looked: true, ..Self::default() };
        let total = seen.raw.len();
        for raw in seen.raw.into_iter().take(MAX_FINDINGS) {
            let file = raw.file.as_deref().and_then(|file| laid.path_of(file));
            let of_module = raw.address.starts_with("module.");
            if file.as_deref().is_some_and(|file| !of_module && !laid.is_of_root(file)) {
                found.elsewhere.push(found.findings.len());
            }
            found.findings.push(Finding {
                tool: tool.to_string(),
                title: text(&raw.title),
                message: text(or(&raw.message, &raw.title)),
                remedy: text(&raw.remedy),
                rule: text(&raw.rule),
                aliases: raw.aliases.iter().take(MAX_ALIASES).map(|alias| text(alias)).collect(),
                also_found_by: Vec::new(),
                suppressed: raw.suppressed.as_deref().map(text),
                severity: raw.severity,
                address: text(&raw.address),
                state: State::Fail,
                verdict: Verdict::Warn,
                role: None,
                line: raw.line.filter(|line| *line > 0 && file.is_some()),
                file: file.as_deref().map(text),
                exemption: None,
            });
        }
        let too_many = (total > MAX_FINDINGS)
            .then(|| format!("it found {total} things, of which {MAX_FINDINGS} are kept"));
        let status = match seen.incomplete.map(|why| text(&why)).or(too_many) {
            Some(why) => ScanStatus::Failed { why },
            None => ScanStatus::Done,
        };
        (found, status)
    }

    /// Rates what was found, and writes it as SARIF.
    pub(crate) fn outcome(
        self,
        tool: &Tool,
        status: ScanStatus,
        duration_ms: i64,
        rules: &RuleBook,
    ) -> ScanOutcome {
        let Self { mut findings, elsewhere, looked } = self;
        for finding in &mut findings {
            rules.rate(finding);
        }
        for at in elsewhere {
            let finding = &mut findings[at];
            finding.severity = finding.severity.min(ELSEWHERE);
            finding.message.push_str(" (The file is not one of the root module or its modules.)");
        }
        let version = tool.version.clone();
        let sarif = looked
            .then(|| sarif::document(tool.name.as_str(), version.as_deref(), &findings))
            .and_then(|document| serde_json::to_vec(&document).ok())
            .map(Bytes::from)
            .unwrap_or_default();
        ScanOutcome { tool: tool.name, version, findings, sarif, duration_ms, status }
    }
}

/// What scanners of that family say of severity. What we do not know denies nothing by itself.
pub(crate) fn severity(word: &str) -> Severity {
    match word.to_ascii_uppercase().as_str() {
        "CRITICAL" | "HIGH" => Severity::High,
        "LOW" | "NEGLIGIBLE" | "INFO" => Severity::Low,
        _ => Severity::Medium,
    }
}

pub(crate) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.trim().is_empty() { otherwise } else { text }
}

fn cut(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = clean.take(MAX_TEXT).collect();
    if text.chars().count() > MAX_TEXT {
        out.push('…');
    }
    out
}
