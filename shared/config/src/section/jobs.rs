//! `[jobs]`, `[jobs.plan]`, `[jobs.apply]`, `[jobs.test]`: how often and how long jobs of each kind may run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::job::JobLimits;

use crate::problem::Problem;

/// Limits of jobs, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Whether a job is asked to stop only after three times what 95 % of the last finished runs of its stack took, when that is later than its soft limit. Half of the time between the soft and the hard limit is always left for stopping.
    pub adaptive_limits: bool,
    /// Jobs that make plans.
    pub plan: JobKindLimits,
    /// Jobs that apply approved plans.
    pub apply: JobKindLimits,
    /// Jobs that run tests. What tests ask for (`time_limit_s`) is cut to the soft limit.
    pub test: JobKindLimits,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            adaptive_limits: false,
            plan: JobKindLimits { max_attempts: 3, soft_limit_s: 900, hard_limit_s: 1200 },
            apply: JobKindLimits { max_attempts: 1, soft_limit_s: 3600, hard_limit_s: 4200 },
            test: JobKindLimits { max_attempts: 2, soft_limit_s: 1800, hard_limit_s: 2400 },
        }
    }
}

/// How often and how long jobs of one kind may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobKindLimits {
    /// Runs at most, the first one included.
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: i32,
    /// After this long the job is asked to stop, in seconds.
    #[schemars(range(min = 1, max = 604_800))]
    pub soft_limit_s: i32,
    /// After this long it is killed, in seconds; more than `soft_limit_s`.
    #[schemars(range(min = 1, max = 604_800))]
    pub hard_limit_s: i32,
}

impl From<JobKindLimits> for JobLimits {
    fn from(limits: JobKindLimits) -> Self {
        let JobKindLimits { max_attempts, soft_limit_s, hard_limit_s } = limits;
        Self { max_attempts, soft_limit_s, hard_limit_s }
    }
}

impl Jobs {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        for (kind, limits) in [("plan", self.plan), ("apply", self.apply), ("test", self.test)] {
            if limits.soft_limit_s >= limits.hard_limit_s {
                let hard_key = format!("jobs.{kind}.hard_limit_s");
                problems.push(
                    Problem::at(
                        format!("jobs.{kind}.soft_limit_s"),
                        format!(
                            "it must be less than {hard_key}: {} s is not less than {} s, and a job would be killed before it is asked to stop",
                            limits.soft_limit_s, limits.hard_limit_s
                        ),
                    )
                    .with(hard_key),
                );
            }
        }
    }
}
