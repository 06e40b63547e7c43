//! What a policy found, and what follows from it.

use serde::{Deserialize, Serialize};
pub use slipway_domain::finding::{Finding, Severity, State, Verdict};

/// What a pack says of one of its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleInfo {
    /// What it checks, in a few words.
    pub title: String,
    /// How much harm it does when it does not hold.
    pub severity: Severity,
    /// Why.
    #[serde(default)]
    pub rationale: String,
    /// What to do.
    #[serde(default)]
    pub remedy: String,
    /// Ids of the same check in other tools.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Where the knowledge is from.
    #[serde(default)]
    pub source: String,
    /// What follows; from the severity when it is not given.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Whose yes it needs, for [`Verdict::RequireRole`].
    #[serde(default)]
    pub role: Option<String>,
}

impl RuleInfo {
    /// What follows when the rule does not hold.
    pub fn verdict(&self) -> Verdict {
        self.verdict.unwrap_or(match self.severity {
            Severity::Critical | Severity::High => Verdict::Deny,
            Severity::Medium | Severity::Low => Verdict::Warn,
        })
    }
}

/// Everything that a pack says about a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The strictest of all verdicts, also of those that were left off.
    pub verdict: Verdict,
    /// Strictest first, then by severity, rule and address; one for a rule and a resource.
    pub findings: Vec<Finding>,
    /// How many findings did not fit.
    pub left_off: usize,
    /// Version of the pack.
    pub pack_digest: String,
    /// Digest of what was judged.
    pub input_digest: String,
}

impl Evaluation {
    /// What a pack says that could not be asked: no.
    pub fn failed(why: impl Into<String>, pack_digest: &str) -> Self {
        let findings = vec![Finding::policy_error(why)];
        Self::of(findings, 1, pack_digest.to_owned(), String::new())
    }

    /// Orders, joins and bounds what was found.
    pub(crate) fn of(
        mut findings: Vec<Finding>,
        most: usize,
        pack_digest: String,
        input_digest: String,
    ) -> Self {
        findings.sort_by(Finding::order);
        // What is certain outweighs what may be, also where the verdict on it is milder.
        findings.sort_by_key(|f| f.state != State::Fail);
        let mut seen = std::collections::BTreeSet::new();
        findings.retain(|f| seen.insert((f.rule.clone(), f.address.clone())));
        findings.sort_by(Finding::order);
        let verdict = findings.iter().map(|f| f.verdict).max().unwrap_or(Verdict::Pass);
        let left_off = findings.len().saturating_sub(most);
        findings.truncate(most);
        Self { verdict, findings, left_off, pack_digest, input_digest }
    }
}
