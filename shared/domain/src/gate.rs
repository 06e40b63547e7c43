//! Gates: what a plan must pass before it is applied.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// Scanners look at the source.
    Scan,
    /// Policies look at the plan.
    Policy,
    /// What it costs.
    Cost,
    /// The configuration's own tests.
    Test,
    /// Somebody must say yes.
    Approval,
}

impl GateKind {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Policy => "policy",
            Self::Cost => "cost",
            Self::Test => "test",
            Self::Approval => "approval",
        }
    }
}

/// What a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateVerdict {
    /// Go on.
    Pass,
    /// Go on, and read what it says.
    Warn,
    /// It has not answered yet.
    Pending,
    /// A person must say yes first.
    NeedsApproval,
    /// No.
    Deny,
}

impl GateVerdict {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Pending => "pending",
            Self::NeedsApproval => "needs_approval",
            Self::Deny => "deny",
        }
    }
}

impl std::fmt::Display for GateKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for GateVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.as_str().replace('_', " "))
    }
}

/// One gate's answer about one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct GateResult {
    /// Which gate.
    pub gate: GateKind,
    /// What it says.
    pub verdict: GateVerdict,
    /// Why, in a sentence.
    pub detail: String,
}

/// The answer of all gates together: the strictest one wins, and no answer is not a pass. While one
/// has not answered, only a no is final.
pub fn conclude(results: &[GateResult]) -> GateVerdict {
    let has = |verdict| results.iter().any(|r| r.verdict == verdict);
    if results.is_empty() || has(GateVerdict::Deny) {
        GateVerdict::Deny
    } else if has(GateVerdict::Pending) {
        GateVerdict::Pending
    } else if has(GateVerdict::NeedsApproval) {
        GateVerdict::NeedsApproval
    } else if has(GateVerdict::Warn) {
        GateVerdict::Warn
    } else {
        GateVerdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::GateVerdict::{Deny, NeedsApproval, Pass, Pending, Warn};
    use super::*;

    #[test]
    fn the_strictest_wins_and_silence_is_not_a_pass() {
        let result =
            |verdict| GateResult { gate: GateKind::Approval, verdict, detail: String::new() };
        assert_eq!(conclude(&[]), Deny);
        assert_eq!(conclude(&[result(Pass)]), Pass);
        assert_eq!(conclude(&[result(Pass), result(NeedsApproval)]), NeedsApproval);
        assert_eq!(conclude(&[result(NeedsApproval), result(Deny), result(Pass)]), Deny);
        assert_eq!(conclude(&[result(Pass), result(Warn)]), Warn);
        assert_eq!(conclude(&[result(Pending), result(NeedsApproval), result(Warn)]), Pending);
        assert_eq!(conclude(&[result(Pending), result(Deny)]), Deny);
    }
}
