//! Tests of a configuration: what is to be run, what came of it, and what the gate makes of that.
//!
//! A check that a user gives is data: the text of a Terraform test file, which is put beside the
//! configuration's own tests for the run. Nothing of it is ever given to a shell by the house.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::fault::{Code, Fault, FieldError};
use crate::finding::{Finding, Severity, State, Verdict};
use crate::gate::GateVerdict;
use crate::id::{DeploymentId, JobId, PlanId, TestRunId};
use crate::plan::{Diagnostic, Severity as Level, Tool};

/// Most checks of one run.
pub const MAX_CHECKS: usize = 20;
/// Longest text of a check, in bytes.
pub const MAX_CHECK_BYTES: usize = 64 << 10;
/// Longest name of a check, in characters.
pub const MAX_CHECK_NAME: usize = 40;
/// How long tests may take, in seconds: at least and at most.
pub const TIME_LIMITS_S: std::ops::RangeInclusive<u32> = 10..=7200;
/// Most runs of all test files together.
pub const MAX_RUNS: usize = 1000;

/// What kind of check a user gives.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// `content` is the text of a Terraform test file (`*.tftest.hcl`).
    #[default]
    TerraformTest,
}

/// A check that a user gives beside the configuration's own tests. Whoever may see the deployment
/// may read it: it must hold no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name: lower-case letters, digits, `_` and `-`; each name once.
    #[schema(max_length = 40, pattern = "^[a-z0-9][a-z0-9_-]*$")]
    pub name: String,
    /// What kind of check.
    #[serde(default)]
    pub kind: CheckKind,
    /// The check itself.
    #[schema(max_length = 65_536)]
    pub content: String,
}

/// What is to be tested, and how much it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TestSettings {
    /// Whether `validate` is run.
    pub validate: bool,
    /// Whether the configuration's own test files are run.
    pub terraform_test: bool,
    /// More checks.
    #[schema(max_items = 20)]
    pub checks: Vec<Check>,
    /// Whether tests that fail, or that cannot be run, stop the plan; otherwise they warn.
    pub required: bool,
    /// Whether runs may make real things (`command = apply`, which is what a run does that does not
    /// say `plan`). Without it, files with such runs are left out unless they mock every provider
    /// and no provisioner would run.
    pub allow_apply: bool,
    /// How long all of it may take, in seconds. Then it is asked to stop, and cleans up.
    #[schema(minimum = 10, maximum = 7200)]
    pub time_limit_s: u32,
}

const _: () = assert!(
    MAX_CHECKS == 20 && MAX_CHECK_BYTES == 65_536 && MAX_CHECK_NAME == 40,
    "the schemas say so"
);

impl Default for TestSettings {
    fn default() -> Self {
        Self {
            validate: true,
            terraform_test: true,
            checks: Vec::new(),
            required: true,
            allow_apply: false,
            time_limit_s: 600,
        }
    }
}

impl TestSettings {
    /// Everything that is wrong with it; `pointer` is where it stands in the request.
    pub fn problems(&self, pointer: &str) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut wrong = |at: String, detail: String| {
            problems.push(FieldError::at(format!("{pointer}{at}"), detail));
        };
        if !TIME_LIMITS_S.contains(&self.time_limit_s) {
            let (least, most) = (TIME_LIMITS_S.start(), TIME_LIMITS_S.end());
            wrong("/time_limit_s".to_owned(), format!("must be from {least} to {most} seconds"));
        }
        if self.checks.len() > MAX_CHECKS {
            wrong("/checks".to_owned(), format!("at most {MAX_CHECKS} checks"));
            return problems;
        }
        for (i, check) in self.checks.iter().enumerate() {
            if !is_name(&check.name) {
                let detail = format!(
                    "a name is 1 to {MAX_CHECK_NAME} lower-case letters, digits, `_` and `-`, and \
                     begins with a letter or a digit"
                );
                wrong(format!("/checks/{i}/name"), detail);
            }
            if self.checks.iter().take(i).any(|before| before.name == check.name) {
                wrong(format!("/checks/{i}/name"), "another check has this name".to_owned());
            }
            if check.content.len() > MAX_CHECK_BYTES {
                let detail = format!("at most {MAX_CHECK_BYTES} bytes");
                wrong(format!("/checks/{i}/content"), detail);
            }
            if check.content.contains('\0') {
                let detail = "contains a NUL character".to_owned();
                wrong(format!("/checks/{i}/content"), detail);
            }
        }
        problems
    }

    /// Refuses settings that are not valid.
    pub fn check(&self, pointer: &str) -> Result<(), Fault> {
        let problems = self.problems(pointer);
        if problems.is_empty() { Ok(()) } else { Err(Fault::fields(Code::InvalidInput, problems)) }
    }
}

/// Whether a text may be the name of a check, and so a part of a file's name.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= MAX_CHECK_NAME
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || c == '_' || c == '-')
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestStatus {
    /// Everything that it asserts holds.
    Pass,
    /// Something that it asserts does not hold.
    Fail,
    /// It could not be run to its end.
    Error,
    /// It was not run. Never a pass.
    Skipped,
}

impl TestStatus {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct TestCase {
    /// What a person calls it, e.g. `tests/net.tftest.hcl: has_two_subnets`.
    pub name: String,
    /// The test file in the source tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The `run` block of that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// How it ended.
    pub status: TestStatus,
    /// Why, when it is no pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the tool said about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

impl TestCase {
    /// A case without a file.
    pub fn of(name: impl Into<String>, status: TestStatus) -> Self {
        Self {
            name: name.into(),
            file: None,
            run: None,
            status,
            message: None,
            diagnostics: Vec::new(),
        }
    }

    /// The same, with the reason.
    #[must_use]
    pub fn because(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }

    /// The same, with what the tool said. The first error is the reason if there is none yet.
    #[must_use]
    pub fn saying(self, diagnostics: Vec<Diagnostic>) -> Self {
        let first = diagnostics.iter().find(|d| d.severity == Level::Error);
        let message = self.message.or_else(|| {
            first.map(|d| match d.detail.as_str() {
                "" => d.summary.clone(),
                detail => format!("{}: {detail}", d.summary),
            })
        });
        Self { message, diagnostics, ..self }
    }
}

/// How many cases ended how.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, JsonSchema,
)]
pub struct TestCounts {
    /// Passed.
    pub passed: u32,
    /// Failed.
    pub failed: u32,
    /// Could not be run to their end.
    pub errored: u32,
    /// Were not run.
    pub skipped: u32,
}

impl TestCounts {
    /// Of these cases.
    pub fn of(cases: &[TestCase]) -> Self {
        let count = |status| {
            let number = cases.iter().filter(|case| case.status == status).count();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        Self {
            passed: count(TestStatus::Pass),
            failed: count(TestStatus::Fail),
            errored: count(TestStatus::Error),
            skipped: count(TestStatus::Skipped),
        }
    }
}

impl std::fmt::Display for TestCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, failed, errored, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {errored} errored, {skipped} skipped")
    }
}

/// What a driver found when it ran tests; times are the house's to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tested {
    /// The program that ran them.
    pub tool: Option<Tool>,
    /// What was tested.
    pub cases: Vec<TestCase>,
    /// Addresses of real things that tests made and could not remove.
    pub leftovers: Vec<String>,
}

/// What came of tests. Its texts hold no known secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct TestReport {
    /// How all of it ended: the worst case decides, and where nothing was run it is `skipped`.
    pub status: TestStatus,
    /// One sentence.
    pub summary: String,
    /// The program that ran them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Tool>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// How many cases ended how.
    pub counts: TestCounts,
    /// What was tested.
    pub cases: Vec<TestCase>,
    /// Real things that tests made and could not remove; somebody must.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
}

impl TestReport {
    /// Of what a driver found, from `started_at` until `now`.
    pub fn new(tested: Tested, started_at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let Tested { tool, cases, leftovers } = tested;
        let counts = TestCounts::of(&cases);
        let status = if counts.errored > 0 || !leftovers.is_empty() {
            TestStatus::Error
        } else if counts.failed > 0 {
            TestStatus::Fail
        } else if counts.passed > 0 {
            TestStatus::Pass
        } else {
            TestStatus::Skipped
        };
        let mut summary = if cases.is_empty() {
            "there was nothing to test".to_owned()
        } else {
            counts.to_string()
        };
        if !leftovers.is_empty() {
            let number = leftovers.len();
            summary = format!("{summary}; {number} real things were left behind");
        }
        let duration_ms = (now - started_at).num_milliseconds().max(0);
        Self { status, summary, tool, started_at, duration_ms, counts, cases, leftovers }
    }

    /// Of tests that died on the way.
    pub fn died(
        why: &str,
        diagnostics: Vec<Diagnostic>,
        started_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        let case = TestCase::of("tests", TestStatus::Error).because(why).saying(diagnostics);
        let tested = Tested { cases: vec![case], ..Tested::default() };
        Self { summary: why.to_owned(), ..Self::new(tested, started_at, now) }
    }
}

/// Where a run of tests is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestRunState {
    /// It waits for a worker.
    Queued,
    /// A worker runs it.
    Running,
    /// Its report is there.
    Finished,
    /// The deployment ended before it did; there is no report.
    Dropped,
}

impl TestRunState {
    /// Whether its report may still come.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// Tests of a deployment that somebody, or a gate, asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct TestRun {
    /// Its id.
    pub id: TestRunId,
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The deployment's plan when they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// The job.
    pub job_id: JobId,
    /// Where it is.
    pub state: TestRunState,
    /// What was asked for.
    pub settings: TestSettings,
    /// By whom.
    pub requested_by: Actor,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When its report came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<TestReport>,
}

/// What the gate says of a report, what it found, and why in a sentence. No report yet is
/// [`GateVerdict::Pending`]; what was not run is never a pass.
pub fn judge(
    settings: &TestSettings,
    report: Option<&TestReport>,
) -> (GateVerdict, Vec<Finding>, String) {
    let Some(report) = report else {
        return (GateVerdict::Pending, Vec::new(), "the tests have not ended yet".to_owned());
    };
    let against = if settings.required { Verdict::Deny } else { Verdict::Warn };
    let mut findings: Vec<Finding> = report
        .cases
        .iter()
        .filter_map(|case| finding(case, report.tool.as_ref(), against))
        .collect();
    if !report.leftovers.is_empty() {
        findings.push(left_behind(report, against));
    }
    findings.sort_by(Finding::order);
    let verdict = match (report.status, findings.is_empty()) {
        (TestStatus::Pass, true) => GateVerdict::Pass,
        // There was nothing to test: nobody failed, and nothing was shown.
        (TestStatus::Skipped, true) => GateVerdict::Warn,
        _ if settings.required => GateVerdict::Deny,
        _ => GateVerdict::Warn,
    };
    (verdict, findings, format!("tests: {}", report.summary))
}

fn finding(case: &TestCase, tool: Option<&Tool>, against: Verdict) -> Option<Finding> {
    let (rule, title, severity, state, remedy) = match case.status {
        TestStatus::Pass => return None,
        TestStatus::Fail => (
            "test_failed",
            "A test of the configuration failed",
            Severity::High,
            State::Fail,
            "Correct the configuration, or the test if it asks for the wrong thing.",
        ),
        TestStatus::Error => (
            "test_error",
            "A test of the configuration could not be run to its end",
            Severity::High,
            State::Fail,
            "Correct what the message names, then run the tests again.",
        ),
        TestStatus::Skipped => (
            "test_skipped",
            "A test of the configuration was not run",
            Severity::Medium,
            State::Unknown,
            "Do what the message says, so that the test can be run.",
        ),
    };
    let place = case.diagnostics.iter().find(|d| d.file.is_some());
    let why = case.message.as_deref().unwrap_or("it did not say why");
    Some(Finding {
        tool: tool.map_or_else(|| "test".to_owned(), |tool| tool.name.clone()),
        rule: rule.to_owned(),
        title: title.to_owned(),
        severity,
        address: case.diagnostics.iter().find_map(|d| d.address.clone()).unwrap_or_default(),
        message: format!("{}: {why}", case.name),
        remedy: remedy.to_owned(),
        aliases: Vec::new(),
        state,
        verdict: against,
        role: None,
        file: place.and_then(|d| d.file.clone()).or_else(|| case.file.clone()),
        line: place.and_then(|d| d.line),
        exemption: None,
        also_found_by: Vec::new(),
        suppressed: None,
    })
}

fn left_behind(report: &TestReport, against: Verdict) -> Finding {
    Finding {
        tool: report.tool.as_ref().map_or_else(|| "test".to_owned(), |tool| tool.name.clone()),
        rule: "test_leftovers".to_owned(),
        title: "Tests left real things behind".to_owned(),
        severity: Severity::High,
        address: String::new(),
        message: format!("not removed: {}", report.leftovers.join(", ")),
        remedy: "Remove them by hand: no state knows them.".to_owned(),
        aliases: Vec::new(),
        state: State::Fail,
        verdict: against,
        role: None,
        file: None,
        line: None,
        exemption: None,
        also_found_by: Vec::new(),
        suppressed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cases: &[TestStatus], leftovers: &[&str]) -> TestReport {
        let cases = cases.iter().enumerate();
        let tested = Tested {
            cases: cases.map(|(i, status)| TestCase::of(format!("c{i}"), *status)).collect(),
            leftovers: leftovers.iter().map(|&left| left.to_owned()).collect(),
            tool: None,
        };
        TestReport::new(tested, DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn the_worst_case_decides_and_nothing_run_is_no_pass() {
        use TestStatus::{Error, Fail, Pass, Skipped};
        for (cases, status) in [
            (vec![Pass, Pass], Pass),
            (vec![Pass, Skipped], Pass),
            (vec![Pass, Fail], Fail),
            (vec![Fail, Error, Pass], Error),
            (vec![Skipped], Skipped),
            (vec![], Skipped),
        ] {
            assert_eq!(report(&cases, &[]).status, status, "{cases:?}");
        }
        assert_eq!(report(&[Pass], &["aws_vpc.x"]).status, Error);
    }

    #[test]
    fn the_gate_waits_for_a_report_and_passes_only_what_was_run_and_passed() {
        use TestStatus::{Error, Fail, Pass, Skipped};
        let strict = TestSettings::default();
        let mild = TestSettings { required: false, ..TestSettings::default() };
        assert_eq!(judge(&strict, None).0, GateVerdict::Pending);
        for (report, required, optional) in [
            (report(&[Pass], &[]), GateVerdict::Pass, GateVerdict::Pass),
            (report(&[Pass, Fail], &[]), GateVerdict::Deny, GateVerdict::Warn),
            (report(&[Pass, Error], &[]), GateVerdict::Deny, GateVerdict::Warn),
            (report(&[Pass, Skipped], &[]), GateVerdict::Deny, GateVerdict::Warn),
            (report(&[Pass], &["a.b"]), GateVerdict::Deny, GateVerdict::Warn),
            (report(&[], &[]), GateVerdict::Warn, GateVerdict::Warn),
        ] {
            assert_eq!(judge(&strict, Some(&report)).0, required, "{report:?}");
            assert_eq!(judge(&mild, Some(&report)).0, optional, "{report:?}");
        }
    }

    #[test]
    fn a_finding_names_the_test_its_place_and_what_to_do() {
        let mut said = Diagnostic::error("Test assertion failed", "two subnets are wanted");
        (said.file, said.line) = (Some("tests/net.tftest.hcl".to_owned()), Some(7));
        let case =
            TestCase::of("tests/net.tftest.hcl: subnets", TestStatus::Fail).saying(vec![said]);
        let tested = Tested { cases: vec![case], ..Tested::default() };
        let report = TestReport::new(tested, DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        let (_, findings, detail) = judge(&TestSettings::default(), Some(&report));
        let [one] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(
            one.message,
            "tests/net.tftest.hcl: subnets: Test assertion failed: two subnets are wanted"
        );
        assert_eq!((one.file.as_deref(), one.line), (Some("tests/net.tftest.hcl"), Some(7)));
        assert_eq!((one.verdict, one.state), (Verdict::Deny, State::Fail));
        assert!(detail.contains("1 failed") && !one.remedy.is_empty(), "{detail}");
    }

    #[test]
    fn settings_that_would_leave_their_place_or_have_no_end_are_refused() {
        let of = |name: &str, content: String| TestSettings {
            checks: vec![Check { name: name.to_owned(), kind: CheckKind::TerraformTest, content }],
            ..TestSettings::default()
        };
        assert_eq!(of("has-two_subnets2", String::new()).problems(""), []);
        for name in ["", "../x", "a/b", "A", "a.b", "-a", "é", &"a".repeat(41)] {
            let problems = of(name, String::new()).problems("/tests");
            assert_eq!(problems[0].pointer, "/tests/checks/0/name", "{name:?}");
        }
        assert_eq!(of("a", "x".repeat(MAX_CHECK_BYTES + 1)).problems("").len(), 1);
        assert_eq!(of("a", "\0".to_owned()).problems("").len(), 1);
        for time_limit_s in [0, 9, 7201, u32::MAX] {
            let settings = TestSettings { time_limit_s, ..TestSettings::default() };
            assert!(settings.check("").is_err(), "{time_limit_s}");
        }
        let mut twice = of("a", String::new());
        twice.checks.push(twice.checks[0].clone());
        assert_eq!(twice.problems("").len(), 1);
        twice.checks = vec![twice.checks[0].clone(); MAX_CHECKS + 1];
        assert_eq!(twice.problems("")[0].pointer, "/checks");
        let read: TestSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(read, TestSettings::default());
        assert!(serde_json::from_str::<TestSettings>(r#"{"shell": "rm"}"#).is_err());
    }
}
