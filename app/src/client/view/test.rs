//! Tests of a deployment, for a person.

use std::fmt::Write as _;

use slipway_domain::test_report::{TestReport, TestRun, TestRunState, TestStatus};

use super::{Ink, Paint, diagnostic, plain, plain_lines, table};

/// The word for how a test ended, in its colour.
pub(super) fn status(of: TestStatus, paint: Paint) -> String {
    let ink = match of {
        TestStatus::Pass => Ink::Good,
        TestStatus::Fail | TestStatus::Error => Ink::Bad,
        TestStatus::Skipped => Ink::Care,
    };
    paint.ink(ink, of.as_str())
}

/// One run of tests, with its report if that is there.
pub fn tests(run: &TestRun, paint: Paint) -> String {
    match (&run.report, run.state) {
        (Some(report), _) => report_of(report, paint),
        (None, TestRunState::Queued) => "The tests wait for a worker.\n".to_owned(),
        (None, TestRunState::Running) => "The tests are running.\n".to_owned(),
        (None, _) => "The deployment ended before its tests did; they were dropped.\n".to_owned(),
    }
}

fn report_of(report: &TestReport, paint: Paint) -> String {
    let mut out = String::new();
    let tool = report.tool.as_ref().map(|tool| format!(" by {tool}")).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of days fit")]
    let seconds = report.duration_ms as f64 / 1000.0;
    if !report.cases.is_empty() {
        // A cell with colours would be measured with them.
        let rows = report.cases.iter().map(|case| {
            let why = case.message.as_deref().unwrap_or_default();
            let why = plain_lines(why).lines().next().unwrap_or_default().to_owned();
            vec![plain(&case.name).into_owned(), case.status.as_str().to_owned(), why]
        });
        out += &table(&["TEST", "RESULT", "WHY"], rows);
    }
    for case in report.cases.iter().filter(|case| case.status != TestStatus::Pass) {
        if !case.diagnostics.is_empty() {
            let _ = writeln!(out, "\n{}:", paint.ink(Ink::Bold, &plain(&case.name)));
        }
        for said in &case.diagnostics {
            out += &diagnostic(said, paint);
        }
    }
    if !report.leftovers.is_empty() {
        let title = "Left behind, to be removed by hand (no state knows them):";
        let _ = writeln!(out, "\n{}", paint.ink(Ink::Bad, title));
        for left in &report.leftovers {
            let _ = writeln!(out, "  {}", plain(left));
        }
    }
    let summary = plain(&report.summary);
    let _ = writeln!(
        out,
        "\nTests {}{tool} in {seconds:.1} s: {summary}",
        status(report.status, paint)
    );
    out
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use slipway_domain::access::Actor;
    use slipway_domain::id::{DeploymentId, JobId, RandomMint, TestRunId};
    use slipway_domain::plan::Diagnostic;
    use slipway_domain::test_report::{TestCase, TestSettings, Tested};

    use super::*;

    fn run(report: Option<TestReport>, state: TestRunState) -> TestRun {
        TestRun {
            id: TestRunId::new(&RandomMint),
            deployment_id: DeploymentId::new(&RandomMint),
            plan_id: None,
            job_id: JobId::new(&RandomMint),
            state,
            settings: TestSettings::default(),
            requested_by: Actor::system("gate"),
            created_at: DateTime::UNIX_EPOCH,
            ended_at: None,
            report,
        }
    }

    #[test]
    fn a_report_is_a_table_and_says_what_went_wrong_where() {
        let mut said = Diagnostic::error("Test assertion failed", "it is \u{1b}[2Ja");
        (said.file, said.line) = (Some("tests/a.tftest.hcl".into()), Some(7));
        let tested = Tested {
            cases: vec![
                TestCase::of("terraform validate", TestStatus::Pass),
                TestCase::of("tests/a.tftest.hcl: x", TestStatus::Fail).saying(vec![said]),
            ],
            leftovers: vec!["aws_vpc.x".into()],
            tool: None,
        };
        let report = TestReport::new(tested, DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        let text = tests(&run(Some(report), TestRunState::Finished), Paint::PLAIN);
        for part in [
            "TEST",
            "terraform validate",
            "tests/a.tftest.hcl:7",
            "aws_vpc.x",
            "Tests error",
            "1 passed, 1 failed",
        ] {
            assert!(text.contains(part), "{part:?}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let dropped = tests(&run(None, TestRunState::Dropped), Paint::PLAIN);
        assert!(dropped.contains("dropped"), "{dropped}");
    }
}
