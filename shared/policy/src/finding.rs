//! What a policy found, and what follows from it.

use serde::{Deserialize, Serialize};

/// How much harm it does. Ours, by harm: scanners call a public bucket "high" and an open egress
/// "critical".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A habit.
    Low,
    /// A weakness that needs another one.
    Medium,
    /// A weakness that stands alone.
    High,
    /// Data or control in anybody's hands.
    Critical,
}

/// What follows for the gate, from the mildest to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found.
    Pass,
    /// Say it and go on.
    Warn,
    /// It is known only after apply. Never a pass.
    Unknown,
    /// Somebody with a certain role must say yes.
    RequireRole,
    /// No.
    Deny,
}

/// What a rule says about one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The rule holds.
    Pass,
    /// Known only after apply.
    Unknown,
    /// The rule does not hold.
    Fail,
}

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

/// One thing that a policy found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Id of the rule.
    pub rule: String,
    /// What the rule checks.
    pub title: String,
    /// How much harm it does.
    pub severity: Severity,
    /// Address of the resource; empty when it is about the whole plan.
    pub address: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Ids of the same check in other tools.
    pub aliases: Vec<String>,
    /// What the rule says.
    pub state: State,
    /// What follows.
    pub verdict: Verdict,
    /// Whose yes it needs, if it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl Finding {
    /// The rule of a finding that says that the policy itself failed.
    pub const POLICY_ERROR: &str = "policy_error";

    /// The policy could not be asked: no.
    pub(crate) fn policy_error(message: impl Into<String>) -> Self {
        Self {
            rule: Self::POLICY_ERROR.to_owned(),
            title: "The policy could not be evaluated".to_owned(),
            severity: Severity::Critical,
            address: String::new(),
            message: message.into(),
            remedy: "Correct the policy or the plan; a plan that cannot be judged is not applied."
                .to_owned(),
            aliases: Vec::new(),
            state: State::Fail,
            verdict: Verdict::Deny,
            role: None,
        }
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
    /// Orders, joins and bounds what was found.
    pub(crate) fn of(
        mut findings: Vec<Finding>,
        most: usize,
        pack_digest: String,
        input_digest: String,
    ) -> Self {
        findings.sort_by(|a, b| {
            (b.verdict, b.severity, &a.rule, &a.address, &a.message)
                .cmp(&(a.verdict, a.severity, &b.rule, &b.address, &b.message))
        });
        let mut seen = std::collections::BTreeSet::new();
        findings.retain(|f| seen.insert((f.rule.clone(), f.address.clone())));
        let verdict = findings.iter().map(|f| f.verdict).max().unwrap_or(Verdict::Pass);
        let left_off = findings.len().saturating_sub(most);
        findings.truncate(most);
        Self { verdict, findings, left_off, pack_digest, input_digest }
    }
}
