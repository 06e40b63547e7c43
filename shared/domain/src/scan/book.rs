//! What we know of the checks of others: the ids under which scanners know our rules.

use std::collections::BTreeMap;

use crate::finding::{Finding, Severity};

/// Checks that are broader than the rules of ours which name them: they also find what does less
/// harm, such as a web server that everybody may reach. Our rules, which see the port, judge the
/// plan; here the check alone does not deny.
const BROADER: &[(&str, Severity)] =
    &[("AWS-0107", Severity::High), ("AZU-0047", Severity::High), ("GCP-0027", Severity::High)];

/// One rule of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    rule: String,
    severity: Severity,
    remedy: String,
}

/// Our rules by the ids that they have in other tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleBook {
    known: BTreeMap<String, Vec<Known>>,
}

/// One form for the two ways in which a family of scanners writes its ids: `AVD-AWS-0107` and
/// `AWS-0107`.
pub(super) fn plain(id: &str) -> String {
    let id = id.trim().to_ascii_uppercase();
    id.strip_prefix("AVD-").map(str::to_owned).unwrap_or(id)
}

impl RuleBook {
    /// An empty one: every scanner is taken at its word.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule of ours.
    pub fn add<S: AsRef<str>>(
        &mut self,
        rule: &str,
        severity: Severity,
        remedy: &str,
        aliases: impl IntoIterator<Item = S>,
    ) {
        for alias in aliases {
            let known = self.known.entry(plain(alias.as_ref())).or_default();
            if known.iter().all(|other| other.rule != rule) {
                known.push(Known { rule: rule.to_owned(), severity, remedy: remedy.to_owned() });
            }
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Gives a finding our severity, and our rules as aliases. What several rules of ours share is
    /// broader than each of them, so the mildest counts. Of what we do not know, the severity stays.
    pub fn rate(&self, finding: &mut Finding) {
        let ids: Vec<String> =
            std::iter::once(&finding.rule).chain(&finding.aliases).map(|id| plain(id)).collect();
        let known: Vec<&Known> = ids.iter().filter_map(|id| self.known.get(id)).flatten().collect();
        let broader = BROADER.iter().find(|(id, _)| ids.iter().any(|own| own == id));
        if let Some((_, severity)) = broader {
            finding.severity = *severity;
        } else if let Some(severity) = known.iter().map(|known| known.severity).min() {
            finding.severity = severity;
        }
        for known in known {
            if !finding.aliases.contains(&known.rule) {
                finding.aliases.push(known.rule.clone());
            }
            if finding.remedy.is_empty() {
                finding.remedy.clone_from(&known.remedy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::judge::tests::finding;

    fn book() -> RuleBook {
        let mut book = RuleBook::new();
        let public = ["CKV_AWS_20", "AVD-AWS-0092"];
        book.add("s3_public_acl", Severity::Critical, "Make it private.", public);
        book.add("open_ssh", Severity::Critical, "Close it.", ["CKV_AWS_24", "AVD-AWS-0107"]);
        book.add("iam_admin", Severity::Critical, "Name actions.", ["AVD-AWS-0057"]);
        book.add("iam_resource", Severity::Medium, "Name resources.", ["AVD-AWS-0057"]);
        book
    }

    fn rated(rule: &str, severity: Severity) -> Finding {
        let mut finding = finding("tool", rule, "a.b", severity);
        book().rate(&mut finding);
        finding
    }

    #[test]
    fn severity_is_ours_where_we_know_the_check() {
        let found = rated("CKV_AWS_20", Severity::Medium);
        assert_eq!(found.severity, Severity::Critical);
        assert_eq!(
            (found.aliases, found.remedy.as_str()),
            (vec!["s3_public_acl".to_owned()], "Make it private.")
        );
        // Both ways of writing an id.
        assert_eq!(rated("AWS-0092", Severity::High).severity, Severity::Critical);
        assert_eq!(rated("avd-aws-0092", Severity::High).severity, Severity::Critical);
        // What we do not know stays as it was said.
        let unknown = rated("CKV_AWS_9999", Severity::Medium);
        assert_eq!((unknown.severity, unknown.aliases.len()), (Severity::Medium, 0));
    }

    #[test]
    fn what_is_broader_than_our_rules_is_milder() {
        let found = rated("AVD-AWS-0057", Severity::High);
        assert_eq!((found.severity, found.aliases.len()), (Severity::Medium, 2));
        let found = rated("AVD-AWS-0107", Severity::Critical);
        assert_eq!((found.severity, found.aliases.len()), (Severity::High, 1));
    }
}
