//! How much a policy may take.

use std::time::Duration;

/// Limits of one pack and of one evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time that an evaluation may take, once the plan is read.
    pub time: Duration,
    /// Time that reading a plan may take: putting together who refers to whom can take long.
    pub reading: Duration,
    /// Bytes of the driver's document.
    pub input_bytes: usize,
    /// Resources of a plan.
    pub resources: usize,
    /// Bytes that a pack's answer may have as JSON.
    pub output_bytes: usize,
    /// Findings that are kept; the strictest stay.
    pub findings: usize,
    /// Bytes of a text in a finding; the rest is cut.
    pub text_bytes: usize,
    /// Files of a pack.
    pub files: usize,
    /// Bytes of one file of a pack.
    pub file_bytes: usize,
    /// Bytes of all files of a pack.
    pub pack_bytes: usize,
    /// Rules of a pack, its tests among them.
    pub rules: usize,
    /// Tests of a pack that are run.
    pub tests: usize,
    /// Time that all tests of a pack may take together.
    pub tests_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(5),
            reading: Duration::from_secs(15),
            input_bytes: 64 << 20,
            resources: 20_000,
            output_bytes: 4 << 20,
            findings: 1_000,
            text_bytes: 2_000,
            files: 64,
            file_bytes: 256 << 10,
            pack_bytes: 1 << 20,
            rules: 1_000,
            tests: 500,
            tests_time: Duration::from_secs(20),
        }
    }
}
