//! The audit log as text.

use std::fmt::Write as _;

use slipway_domain::audit::{AuditEntry, Verdict};

use super::{plain, table};

/// Records, one a line.
pub fn audit(items: &[AuditEntry]) -> String {
    if items.is_empty() {
        return "There are no records like that.\n".to_owned();
    }
    let header = ["SEQ", "TIME", "ACTOR", "ACTION", "TARGET", "RESULT", "FROM", "REASON"];
    let rows = items.iter().map(|entry| {
        let record = &entry.record;
        let reason: String =
            record.reason.iter().flat_map(|reason| reason.chars()).take(60).collect();
        vec![
            entry.seal.map_or_else(|| "-".to_owned(), |seal| seal.seq.to_string()),
            record.at.format("%Y-%m-%d %H:%M:%S").to_string(),
            plain(&record.actor.id).into_owned(),
            plain(&record.action).into_owned(),
            plain(&record.target).into_owned(),
            record.result.to_string(),
            plain(record.address.as_deref().unwrap_or("-")).into_owned(),
            plain(&reason).into_owned(),
        ]
    });
    table(&header, rows)
}

/// What a walk over the chain came to.
pub fn verdict(verdict: &Verdict) -> String {
    let mut text = String::new();
    let Verdict { records, from, to, .. } = verdict;
    // Writing to a string cannot fail.
    if verdict.intact {
        let _ = writeln!(
            text,
            "{records} records hold, from {} to {}.\nThe hash of the last one is {}.",
            from.seq + 1,
            to.seq,
            to.hash
        );
        return text;
    }
    let _ = writeln!(text, "The audit log does not hold ({records} records were looked at):");
    for finding in &verdict.findings {
        let id = finding.id.map(|id| format!(" ({id})")).unwrap_or_default();
        let _ = writeln!(text, "  {}{id}", plain(&finding.detail));
    }
    if verdict.more_findings > 0 {
        let _ = writeln!(text, "  and {} findings more", verdict.more_findings);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::audit::{Anchor, Finding, FindingKind};

    #[test]
    fn a_verdict_names_what_was_found() {
        let mut found = Verdict {
            intact: true,
            records: 3,
            from: Anchor::GENESIS,
            to: Anchor { seq: 3, ..Anchor::GENESIS },
            findings: Vec::new(),
            more_findings: 0,
        };
        assert!(verdict(&found).starts_with("3 records hold, from 1 to 3."));
        found.intact = false;
        found.findings = vec![Finding::at(FindingKind::Changed, 2, "Record 2 is\u{1b}[31m other.")];
        found.more_findings = 7;
        let text = verdict(&found);
        assert!(text.contains("Record 2 is") && text.contains("7 findings more"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
