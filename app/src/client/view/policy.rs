//! Policy packs and exemptions as tables.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use slipway_domain::exemption::{Exemption, ExemptionState};
use slipway_domain::finding::{Severity, Verdict};
use slipway_domain::policy::{DryRun, PackOrigin, PolicyModule, PolicyPack, PolicyVersion};

use super::{between, plain, plain_lines, table};

const fn severity(of: Severity) -> &'static str {
    match of {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

const fn verdict(of: Verdict) -> &'static str {
    match of {
        Verdict::Pass => "pass",
        Verdict::Warn => "warn",
        Verdict::Unknown => "unknown",
        Verdict::RequireRole => "require_role",
        Verdict::Deny => "deny",
    }
}

/// Packs, one a line.
pub fn policies(items: &[PolicyPack], now: DateTime<Utc>) -> String {
    let header = ["PACK", "VERSION", "RULES", "TESTS", "AGE", "BY"];
    let rows = items.iter().map(|pack| {
        let latest = &pack.latest;
        let number = match pack.origin {
            PackOrigin::BuiltIn => "built in".to_owned(),
            PackOrigin::Uploaded => latest.version.to_string(),
        };
        let by = latest.created_by.as_ref().map_or("-", |by| by.id.as_str());
        vec![
            plain(&pack.name).into_owned(),
            number,
            latest.rules.len().to_string(),
            latest.tests_passed.to_string(),
            latest.created_at.map_or_else(|| "-".to_owned(), |at| between(at, now)),
            plain(by).into_owned(),
        ]
    });
    table(&header, rows)
}

/// A version with its rules, one a line.
pub fn policy_version(version: &PolicyVersion) -> String {
    let number = match version.version {
        0 => "built in".to_owned(),
        number => format!("version {number}"),
    };
    let mut text = format!("{} ({number}), {}\n", plain(&version.name), version.digest);
    if version.rules.is_empty() {
        text.push_str("It describes no rules.\n");
        return text;
    }
    let rows = version.rules.iter().map(|rule| {
        vec![
            plain(&rule.id).into_owned(),
            severity(rule.severity).to_owned(),
            verdict(rule.verdict).to_owned(),
            plain(&rule.title).into_owned(),
            plain(&rule.aliases.join(", ")).into_owned(),
        ]
    });
    text + &table(&["RULE", "SEVERITY", "VERDICT", "TITLE", "ALSO"], rows)
}

/// The files of a pack, each under its path.
pub fn modules(items: &[PolicyModule]) -> String {
    let mut text = String::new();
    for module in items {
        let _ = writeln!(text, "# {}\n{}", plain(&module.path), plain_lines(&module.text));
    }
    text
}

/// What a pack says of past plans.
pub fn dry_run(run: &DryRun) -> String {
    let mut text = String::new();
    for result in &run.results {
        let _ = writeln!(
            text,
            "{}  {}  {}",
            result.deployment_id,
            result.verdict.as_str(),
            plain(&result.detail)
        );
        for finding in &result.findings {
            let exempted = if finding.exemption.is_some() { " (exempted)" } else { "" };
            let _ = writeln!(
                text,
                "  {} {} at {}: {}{exempted}",
                verdict(finding.verdict),
                plain(&finding.rule),
                plain(&finding.address),
                plain(&finding.message),
            );
        }
        if result.left_off > 0 {
            let _ = writeln!(text, "  and {} more", result.left_off);
        }
    }
    for skip in &run.skipped {
        let _ = writeln!(text, "{}  skipped: {}", skip.deployment_id, plain(&skip.reason));
    }
    if run.results.is_empty() {
        text.push_str("No plan was judged.\n");
    } else {
        text.push_str("Judged were the plans as they are shown, with secrets masked.\n");
    }
    text
}

/// Exemptions, one a line.
pub fn exemptions(items: &[Exemption], now: DateTime<Utc>) -> String {
    if items.is_empty() {
        return "There are no exemptions like that.\n".to_owned();
    }
    let header = ["EXEMPTION", "RULE", "ADDRESS", "WHERE", "STATE", "OWNER", "REASON"];
    let rows = items.iter().map(|one| {
        let state = match one.state(now) {
            ExemptionState::Active => format!("{} left", between(now, one.expires_at)),
            ExemptionState::Expired => "expired".to_owned(),
            ExemptionState::Revoked => "revoked".to_owned(),
        };
        let place = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".to_owned());
        vec![
            one.id.to_string(),
            plain(&one.rule).into_owned(),
            plain(&one.address).into_owned(),
            format!("{}/{}", place(&one.project), place(&one.environment)),
            state,
            plain(&one.owner).into_owned(),
            plain(&one.reason).chars().take(60).collect(),
        ]
    });
    table(&header, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::access::{Door, Principal};
    use slipway_domain::policy::PolicyRule;

    #[test]
    fn packs_and_rules_are_told() {
        let version = PolicyVersion {
            name: "mine".into(),
            version: 3,
            digest: "sha256:0".into(),
            files: vec!["a.rego".into()],
            rules: vec![PolicyRule {
                id: "no_buckets".into(),
                title: "No \u{1b}[31mbuckets".into(),
                severity: Severity::High,
                verdict: Verdict::Deny,
                aliases: vec!["X_1".into()],
            }],
            tests_passed: 2,
            created_at: Some(DateTime::UNIX_EPOCH),
            created_by: Some(Principal::local(Door::Rest).actor),
        };
        let text = policy_version(&version);
        assert!(text.starts_with("mine (version 3), sha256:0\n"), "{text}");
        assert!(text.contains("no_buckets  high") && !text.contains('\u{1b}'), "{text}");
        let pack = PolicyPack {
            name: "mine".into(),
            origin: PackOrigin::Uploaded,
            versions: 3,
            latest: version,
        };
        let text = policies(&[pack], DateTime::UNIX_EPOCH);
        assert!(text.lines().nth(1).is_some_and(|l| l.starts_with("mine  3")), "{text}");
    }
}
