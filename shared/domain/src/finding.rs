//! Findings: what a rule says about one resource of a plan, whoever asked the rule: a policy, a
//! scanner or the house itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::ExemptionId;

/// How much harm it does. Ours, by harm: scanners call a public bucket "high" and an open egress
/// "critical".
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
#[schema(as = FindingSeverity)]
#[schemars(rename = "FindingSeverity")]
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

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// What follows for the gate, from the mildest to the strictest.
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
#[schema(as = FindingVerdict)]
#[schemars(rename = "FindingVerdict")]
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
#[schema(as = FindingState)]
#[schemars(rename = "FindingState")]
pub enum State {
    /// The rule holds.
    Pass,
    /// Known only after apply.
    Unknown,
    /// The rule does not hold.
    Fail,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Finding {
    /// Who found it: `policy`, or the name of a scanner, e.g. `checkov`.
    pub tool: String,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Others who found the same, each with its rule, e.g. `checkov CKV_AWS_24`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_found_by: Vec<String>,
    /// What the author of the source wrote to have it skipped, if that was written. Whether it
    /// counts all the same is in the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<String>,
    /// What the rule says.
    pub state: State,
    /// What follows.
    pub verdict: Verdict,
    /// Whose yes it needs, if it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// File in the source tree, when it is about the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The exemption under which it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption: Option<ExemptionId>,
}

impl Finding {
    /// The tool of findings that the policies of the house made.
    pub const POLICY: &str = "policy";

    /// The rule of a finding that says that the policy itself failed.
    pub const POLICY_ERROR: &str = "policy_error";

    /// The policy could not be asked: no.
    pub fn policy_error(message: impl Into<String>) -> Self {
        Self {
            tool: Self::POLICY.to_owned(),
            rule: Self::POLICY_ERROR.to_owned(),
            title: "The policy could not be evaluated".to_owned(),
            severity: Severity::Critical,
            address: String::new(),
            message: message.into(),
            remedy: "Correct the policy or the plan; a plan that cannot be judged is not applied."
                .to_owned(),
            aliases: Vec::new(),
            also_found_by: Vec::new(),
            suppressed: None,
            state: State::Fail,
            verdict: Verdict::Deny,
            role: None,
            file: None,
            line: None,
            exemption: None,
        }
    }

    /// Whether a text is the id of the rule, here or in another tool.
    pub fn is_of_rule(&self, rule: &str) -> bool {
        self.rule == rule || self.aliases.iter().any(|alias| alias == rule)
    }

    /// The order in which people read them: strictest first, then by harm, rule and address. What
    /// an exemption covers comes last.
    pub fn order(a: &Self, b: &Self) -> std::cmp::Ordering {
        a.exemption.is_some().cmp(&b.exemption.is_some()).then_with(|| {
            (b.verdict, b.severity, &a.rule, &a.address, &a.message)
                .cmp(&(a.verdict, a.severity, &b.rule, &b.address, &b.message))
        })
    }
}
