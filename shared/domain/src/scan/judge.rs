//! What the scan gate says. Pure: what was asked for and what came back go in.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{OnMissing, ScanOutcome, ScanSettings, ScanStatus, ScannerSettings};
use crate::finding::{Finding, Verdict};
use crate::gate::GateVerdict;

/// A scanner that was asked and did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct NotScanned {
    /// Which one.
    pub tool: String,
    /// Why.
    pub why: String,
    /// Whether the gate denies because of it; otherwise it warns.
    pub denies: bool,
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The gate's verdict.
    pub verdict: GateVerdict,
    /// What was found, each with what follows from it, strictest first.
    pub findings: Vec<Finding>,
    /// Who did not answer. A recorded skip, never a pass.
    pub not_scanned: Vec<NotScanned>,
    /// Why, in a sentence.
    pub detail: String,
}

/// Judges what the scanners found.
pub fn judge(settings: &ScanSettings, outcomes: &[ScanOutcome]) -> Judged {
    let mut findings = Vec::new();
    let mut not_scanned = Vec::new();
    for scanner in &settings.scanners {
        let outcome = outcomes.iter().find(|outcome| outcome.tool == scanner.name);
        not_scanned.extend(silence(settings, scanner, outcome));
        for found in outcome.iter().flat_map(|outcome| &outcome.findings) {
            let mut found = found.clone();
            found.verdict = follows(settings, scanner, &found);
            findings.push(found);
        }
    }
    findings.sort_by(Finding::order);
    let (verdict, detail) = conclude(settings, &findings, &not_scanned);
    Judged { verdict, findings, not_scanned, detail }
}

/// The verdict for findings that have been judged before, e.g. after exemptions were entered into
/// them.
pub fn conclude(
    settings: &ScanSettings,
    findings: &[Finding],
    not_scanned: &[NotScanned],
) -> (GateVerdict, String) {
    if settings.scanners.is_empty() {
        return (GateVerdict::Pass, "No scanner is asked for.".to_owned());
    }
    let counted = || findings.iter().filter(|finding| finding.exemption.is_none());
    let of = |verdict| counted().filter(|finding| finding.verdict == verdict).count();
    let (denied, warned) = (of(Verdict::Deny), of(Verdict::Warn));
    let refused = not_scanned.iter().any(|silent| silent.denies);
    let strictest = counted().map(|finding| finding.verdict).max().unwrap_or(Verdict::Pass);
    let verdict = match strictest {
        _ if refused => GateVerdict::Deny,
        Verdict::Deny => GateVerdict::Deny,
        Verdict::RequireRole => GateVerdict::NeedsApproval,
        Verdict::Warn | Verdict::Unknown => GateVerdict::Warn,
        Verdict::Pass if !not_scanned.is_empty() => GateVerdict::Warn,
        Verdict::Pass => GateVerdict::Pass,
    };
    let asked: Vec<&str> = settings.scanners.iter().map(|scanner| scanner.name.as_str()).collect();
    let silent = |name: &&str| not_scanned.iter().any(|silent| silent.tool == *name);
    let answered: Vec<&str> = asked.iter().copied().filter(|name| !silent(name)).collect();
    let mut detail = match answered.as_slice() {
        [] => "No scanner looked at all of it".to_owned(),
        some => format!("{} looked at all of it", some.join(", ")),
    };
    let _ = match (denied, warned) {
        (0, 0) => write!(detail, "; nothing counts"),
        (0, warned) => write!(detail, "; {warned} to read"),
        (denied, 0) => write!(detail, "; {denied} must go"),
        (denied, warned) => write!(detail, "; {denied} must go, {warned} to read"),
    };
    for silent in not_scanned {
        let weight = if silent.denies { "which denies" } else { "recorded as skipped" };
        let _ = write!(detail, "; {}: {} ({weight})", silent.tool, silent.why);
    }
    detail.push('.');
    (verdict, detail)
}

/// Whether a scanner did not answer, and what that comes to.
fn silence(
    settings: &ScanSettings,
    scanner: &ScannerSettings,
    outcome: Option<&ScanOutcome>,
) -> Option<NotScanned> {
    let (why, missing) = match outcome.map(|outcome| &outcome.status) {
        Some(ScanStatus::Done) => return None,
        Some(ScanStatus::Missing { why }) => (why.clone(), true),
        Some(ScanStatus::TimedOut { after_s }) => {
            (format!("it was killed at its limit of {after_s} s"), false)
        }
        Some(ScanStatus::Failed { why }) => (why.clone(), false),
        None => ("it was not asked".to_owned(), true),
    };
    let denies = scanner.required || (missing && settings.on_missing == OnMissing::Deny);
    Some(NotScanned { tool: scanner.name.to_string(), why, denies })
}

/// What follows from a finding.
fn follows(settings: &ScanSettings, scanner: &ScannerSettings, found: &Finding) -> Verdict {
    let reaches =
        |from: Option<crate::finding::Severity>| from.is_some_and(|from| found.severity >= from);
    if settings.honour_inline_skips && found.suppressed.is_some() {
        Verdict::Pass
    } else if reaches(scanner.deny_from) {
        Verdict::Deny
    } else if reaches(scanner.warn_from) {
        Verdict::Warn
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::finding::{Severity, State};
    use crate::scan::ScannerName;

    pub(in crate::scan) fn finding(
        tool: &str,
        rule: &str,
        address: &str,
        severity: Severity,
    ) -> Finding {
        Finding {
            tool: tool.to_owned(),
            rule: rule.to_owned(),
            title: format!("{rule}."),
            severity,
            address: address.to_owned(),
            message: "It is wrong.".to_owned(),
            remedy: String::new(),
            aliases: Vec::new(),
            also_found_by: Vec::new(),
            suppressed: None,
            state: State::Fail,
            verdict: Verdict::Warn,
            role: None,
            file: None,
            line: None,
            exemption: None,
        }
    }

    fn settings() -> ScanSettings {
        let scanners = [ScannerName::Checkov, ScannerName::Tfsec];
        ScanSettings {
            scanners: scanners.into_iter().map(ScannerSettings::new).collect(),
            ..ScanSettings::default()
        }
    }

    fn done(tool: ScannerName, severities: &[Severity]) -> ScanOutcome {
        let name = tool.as_str();
        ScanOutcome {
            findings: severities.iter().map(|s| finding(name, "R", "a.b", *s)).collect(),
            ..ScanOutcome::without(tool, ScanStatus::Done)
        }
    }

    fn ended(status: ScanStatus) -> [ScanOutcome; 2] {
        [done(ScannerName::Checkov, &[]), ScanOutcome::without(ScannerName::Tfsec, status)]
    }

    #[test]
    fn severity_decides_what_follows() {
        use Severity::{Critical, High, Low, Medium};
        let tools = |a: &[Severity], b: &[Severity]| {
            judge(&settings(), &[done(ScannerName::Checkov, a), done(ScannerName::Tfsec, b)])
        };
        assert_eq!(tools(&[], &[]).verdict, GateVerdict::Pass);
        assert_eq!(tools(&[Low], &[]).verdict, GateVerdict::Pass);
        assert_eq!(tools(&[Low], &[High]).verdict, GateVerdict::Warn);
        let judged = tools(&[Medium, Critical], &[Low]);
        assert_eq!(judged.verdict, GateVerdict::Deny);
        let verdicts: Vec<Verdict> = judged.findings.iter().map(|f| f.verdict).collect();
        assert_eq!(verdicts, [Verdict::Deny, Verdict::Warn, Verdict::Pass]);
        assert_eq!(judged.detail, "checkov, tfsec looked at all of it; 1 must go, 1 to read.");
    }

    #[test]
    fn thresholds_are_the_scanners_own_and_may_be_off() {
        let mut settings = settings();
        settings.scanners[0].deny_from = None;
        settings.scanners[1].deny_from = Some(Severity::Low);
        let of = |tool| judge(&settings, &[done(tool, &[Severity::Critical])]).findings[0].verdict;
        assert_eq!(of(ScannerName::Checkov), Verdict::Warn);
        assert_eq!(of(ScannerName::Tfsec), Verdict::Deny);
    }

    #[test]
    fn silence_is_never_a_pass() {
        let statuses = [
            ScanStatus::Missing { why: "it is not on PATH".into() },
            ScanStatus::TimedOut { after_s: 9 },
            ScanStatus::Failed { why: "it said nothing".into() },
        ];
        for status in statuses {
            let mut settings = settings();
            let missing = matches!(status, ScanStatus::Missing { .. });
            let judged = judge(&settings, &ended(status.clone()));
            assert_eq!(judged.verdict, GateVerdict::Warn, "{status:?}");
            assert_eq!(judged.not_scanned.len(), 1);
            assert!(judged.detail.contains("tfsec: it "), "{}", judged.detail);
            settings.on_missing = OnMissing::Deny;
            let expected = if missing { GateVerdict::Deny } else { GateVerdict::Warn };
            assert_eq!(judge(&settings, &ended(status.clone())).verdict, expected, "{status:?}");
            settings.scanners[1].required = true;
            assert_eq!(judge(&settings, &ended(status)).verdict, GateVerdict::Deny);
        }
        // One that nobody asked, although it should have been.
        let judged = judge(&settings(), &[done(ScannerName::Checkov, &[])]);
        assert_eq!(judged.verdict, GateVerdict::Warn);
        // What was found counts, also when the scanner failed later.
        let mut failed = done(ScannerName::Tfsec, &[Severity::Critical]);
        failed.status = ScanStatus::Failed { why: "x".into() };
        assert_eq!(judge(&settings(), &[failed]).verdict, GateVerdict::Deny);
        assert_eq!(judge(&ScanSettings::default(), &[]).verdict, GateVerdict::Pass);
    }

    #[test]
    fn the_word_of_the_author_counts_only_where_it_may() {
        let mut outcome = done(ScannerName::Checkov, &[Severity::Critical]);
        outcome.findings[0].suppressed = Some("it is a test".into());
        let mut settings = settings();
        settings.scanners.truncate(1);
        let outcomes = [outcome];
        assert_eq!(judge(&settings, &outcomes).verdict, GateVerdict::Deny);
        settings.honour_inline_skips = true;
        let judged = judge(&settings, &outcomes);
        assert_eq!((judged.verdict, judged.findings.len()), (GateVerdict::Pass, 1));
    }

    #[test]
    fn an_exemption_takes_a_finding_out() {
        let settings = settings();
        let outcomes =
            [done(ScannerName::Checkov, &[Severity::Critical]), done(ScannerName::Tfsec, &[])];
        let mut judged = judge(&settings, &outcomes);
        judged.findings[0].exemption = Some(crate::id::ExemptionId(uuid::Uuid::nil()));
        let (verdict, _) = conclude(&settings, &judged.findings, &judged.not_scanned);
        assert_eq!(verdict, GateVerdict::Pass);
    }
}
