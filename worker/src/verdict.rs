//! How a run of a driver ended, and what the house makes of it.

use std::time::Duration;

use slipway_domain::drift::DriftFound;
use slipway_domain::job::{Job, JobKind};
use slipway_domain::log::bounded;
use slipway_domain::plan::Diagnostic;
use slipway_domain::port::driver::{DriverError, Equality, Planned, Recovered};
use slipway_domain::redact::Redactor;
use slipway_domain::test_report::Tested;
use slipway_services::execution::Ending;

use crate::backoff::jittered;
use crate::held::Reason;

/// Diagnostics of one failure that are kept.
const MAX_DIAGNOSTICS: usize = 200;

/// What follows from a driver's error, given why (if at all) it was asked to stop. `None`: the
/// lease is gone, and nothing may be written.
pub(crate) fn ending(job: &Job, error: DriverError, asked: Option<Reason>) -> Option<Ending> {
    if asked == Some(Reason::LeaseLost) {
        return None;
    }
    Some(match error {
        DriverError::Fenced => return None,
        DriverError::Transient { summary, retry_after_s } => {
            Ending::Retry { error: summary, delay_ms: delay_ms(job, retry_after_s) }
        }
        DriverError::Permanent { summary, diagnostics } => {
            let asked_for = matches!(asked, Some(Reason::Cancel | Reason::CancelNow));
            // Tests say themselves when they were stopped; this is about what they left behind.
            if asked_for && job.kind != JobKind::Test {
                // Tools report an interruption as an error of theirs.
                Ending::Cancelled
            } else {
                Ending::Failed { summary, diagnostics }
            }
        }
        DriverError::Stale { summary } => Ending::Stale { summary },
        DriverError::Stopped => stopped(job, asked),
        DriverError::Lost { summary } => match job.kind {
            JobKind::Plan | JobKind::Recover | JobKind::Drift => stopped(job, asked),
            JobKind::Apply | JobKind::Test => {
                Ending::Lost { summary: lost_because(job, &summary, asked) }
            }
        },
    })
}

/// What follows for a run that was asked to stop before its driver was started.
pub(crate) fn untouched(job: &Job, reason: Reason) -> Option<Ending> {
    match reason {
        Reason::Shutdown | Reason::LeaseFading => Some(Ending::HandBack),
        reason => ending(job, DriverError::Stopped, Some(reason)),
    }
}

/// The error without known secrets, and no longer than it need be: it is kept, shown and logged.
pub(crate) fn redacted(redactor: &Redactor, error: DriverError) -> DriverError {
    let tidy = |text: String| bounded(redactor.text(&text));
    match error {
        DriverError::Transient { summary, retry_after_s } => {
            DriverError::Transient { summary: tidy(summary), retry_after_s }
        }
        DriverError::Permanent { summary, mut diagnostics } => {
            diagnostics.truncate(MAX_DIAGNOSTICS);
            let diagnostics = diagnostics.into_iter().map(|d| diagnostic(redactor, d)).collect();
            DriverError::Permanent { summary: tidy(summary), diagnostics }
        }
        DriverError::Lost { summary } => DriverError::Lost { summary: tidy(summary) },
        DriverError::Stale { summary } => DriverError::Stale { summary: tidy(summary) },
        DriverError::Stopped | DriverError::Fenced => error,
    }
}

/// The plan, its comparison with an approved one without known secrets.
pub(crate) fn planned(redactor: &Redactor, mut planned: Planned) -> Planned {
    if let Some(Equality::Different(lines)) = &mut planned.equality {
        for line in lines {
            *line = bounded(redactor.text(line));
        }
    }
    planned
}

/// What was found out, without known secrets.
pub(crate) fn recovered(redactor: &Redactor, mut found: Recovered) -> Recovered {
    let tidy = |text: &mut String| *text = bounded(redactor.text(text));
    let report = &mut found.report;
    for lost in &mut report.lost {
        lost.obstacle.as_mut().map(tidy);
    }
    report.in_doubt.iter_mut().for_each(|doubt| tidy(&mut doubt.detail));
    report.refusals.iter_mut().for_each(tidy);
    found
}

/// What tests found, without known secrets, its texts bounded.
pub(crate) fn tested(redactor: &Redactor, mut found: Tested) -> Tested {
    let tidy = |text: &mut String| *text = bounded(redactor.text(text));
    for case in &mut found.cases {
        tidy(&mut case.name);
        case.file.as_mut().map(tidy);
        case.run.as_mut().map(tidy);
        case.message.as_mut().map(tidy);
        let said = std::mem::take(&mut case.diagnostics).into_iter();
        case.diagnostics = said.map(|said| diagnostic(redactor, said)).collect();
    }
    found.leftovers.iter_mut().for_each(tidy);
    found
}

/// What a look for drift found, without known secrets. Its values were masked by the driver; what it
/// learned of secrets while it read them is taken out once more.
pub(crate) fn drifted(redactor: &Redactor, mut found: DriftFound) -> DriftFound {
    for resource in &mut found.resources {
        let change = &mut resource.change;
        change.address = redactor.text(&change.address);
        redactor.json(&mut change.before);
        redactor.json(&mut change.after);
        for difference in &mut resource.differences {
            // A key of a map may be a secret, too: then nothing is found at its path.
            difference.path = bounded(redactor.text(&difference.path));
        }
    }
    for output in &mut found.outputs {
        redactor.json(&mut output.before);
        redactor.json(&mut output.after);
    }
    let said = std::mem::take(&mut found.warnings).into_iter();
    found.warnings = said.map(|said| diagnostic(redactor, said)).collect();
    found
}

/// The diagnostic without known secrets, its texts bounded.
pub(crate) fn diagnostic(redactor: &Redactor, diagnostic: Diagnostic) -> Diagnostic {
    let tidy = |text: String| bounded(redactor.text(&text));
    Diagnostic {
        summary: tidy(diagnostic.summary),
        detail: tidy(diagnostic.detail),
        address: diagnostic.address.map(tidy),
        file: diagnostic.file.map(tidy),
        ..diagnostic
    }
}

fn delay_ms(job: &Job, retry_after_s: Option<u64>) -> i64 {
    let wait = match retry_after_s {
        // Whoever asks for more than a day is asked again after a day.
        Some(seconds) => Duration::from_secs(seconds.min(24 * 3600)),
        None => jittered(u32::try_from(job.attempt).unwrap_or(1)),
    };
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}

fn limit(job: &Job, seconds: i32, name: &str) -> String {
    format!("the {} took longer than its {name} limit of {seconds} s and was stopped", job.kind)
}

fn stopped(job: &Job, asked: Option<Reason>) -> Ending {
    let failed = |summary| match job.kind {
        JobKind::Plan | JobKind::Recover | JobKind::Test | JobKind::Drift => {
            Ending::Failed { summary, diagnostics: Vec::new() }
        }
        JobKind::Apply => Ending::Stopped { summary },
    };
    match asked {
        Some(Reason::Cancel | Reason::CancelNow) => Ending::Cancelled,
        Some(Reason::SoftLimit) => failed(limit(job, job.soft_limit_s, "soft")),
        Some(Reason::HardLimit) => failed(limit(job, job.hard_limit_s, "hard")),
        Some(Reason::Shutdown) => match job.kind {
            JobKind::Plan | JobKind::Recover | JobKind::Test | JobKind::Drift => Ending::HandBack,
            JobKind::Apply => Ending::Stopped {
                summary: "the apply was stopped because its worker was shut down; what had been \
                          made is recorded in the state"
                    .to_owned(),
            },
        },
        // The lease lives after all.
        Some(Reason::LeaseFading) => match job.kind {
            JobKind::Plan | JobKind::Recover | JobKind::Test | JobKind::Drift => Ending::HandBack,
            JobKind::Apply => Ending::Stopped {
                summary: "the apply was stopped because its lease could not be renewed in time; \
                          what had been made is recorded in the state"
                    .to_owned(),
            },
        },
        Some(Reason::LeaseLost) | None => {
            failed(format!("the {} stopped without being asked to", job.kind))
        }
    }
}

fn lost_because(job: &Job, summary: &str, asked: Option<Reason>) -> String {
    match asked {
        Some(Reason::HardLimit) => limit(job, job.hard_limit_s, "hard"),
        Some(Reason::CancelNow) => {
            format!("the {} was killed on request, before it could record all it did", job.kind)
        }
        _ => summary.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use slipway_domain::id::{DeploymentId, JobId, RandomMint, StackId};
    use slipway_domain::job::{JobState, Queue};

    /// Some plan job.
    pub(crate) fn job() -> Job {
        a(JobKind::Plan)
    }

    fn a(kind: JobKind) -> Job {
        Job {
            id: JobId::new(&RandomMint),
            kind,
            queue: Queue::Plan,
            state: JobState::Running,
            deployment_id: DeploymentId::new(&RandomMint),
            stack_id: StackId::new(&RandomMint),
            attempt: 1,
            max_attempts: 3,
            run_at: chrono::DateTime::UNIX_EPOCH,
            concurrency_key: None,
            epoch: 1,
            cancel_requested: false,
            soft_limit_s: 10,
            hard_limit_s: 20,
            traceparent: None,
            last_error: None,
            created_at: chrono::DateTime::UNIX_EPOCH,
            started_at: None,
        }
    }

    fn lost() -> DriverError {
        DriverError::Lost { summary: "killed".to_owned() }
    }

    #[test]
    fn whoever_lost_the_lease_writes_nothing() {
        for kind in [JobKind::Plan, JobKind::Apply] {
            for error in [lost(), DriverError::Stopped, DriverError::permanent("x")] {
                assert_eq!(ending(&a(kind), error, Some(Reason::LeaseLost)), None);
            }
            assert_eq!(ending(&a(kind), DriverError::Fenced, None), None);
        }
    }

    #[test]
    fn a_lost_apply_is_never_repeated_and_a_lost_plan_may_be() {
        let apply = ending(&a(JobKind::Apply), lost(), Some(Reason::HardLimit)).unwrap();
        assert!(
            matches!(&apply, Ending::Lost { summary } if summary.contains("20 s")),
            "{apply:?}"
        );
        let plan = ending(&a(JobKind::Plan), lost(), Some(Reason::Shutdown)).unwrap();
        assert_eq!(plan, Ending::HandBack);
    }

    #[test]
    fn lost_tests_are_for_their_settings_to_judge_and_what_they_left_is_told() {
        let test = a(JobKind::Test);
        let ended = |error, asked| ending(&test, error, asked).unwrap();
        assert!(matches!(ended(lost(), Some(Reason::CancelNow)), Ending::Lost { .. }));
        assert_eq!(ended(DriverError::Stopped, Some(Reason::Cancel)), Ending::Cancelled);
        assert_eq!(ended(DriverError::Stopped, Some(Reason::Shutdown)), Ending::HandBack);
        let limit = ended(DriverError::Stopped, Some(Reason::SoftLimit));
        assert!(matches!(&limit, Ending::Failed { summary, .. } if summary.contains("10 s")));
        let left = ended(DriverError::permanent("left aws_vpc.x"), Some(Reason::Cancel));
        assert!(matches!(&left, Ending::Failed { summary, .. } if summary.contains("aws_vpc.x")));
    }

    #[test]
    fn a_report_of_tests_quotes_no_secret() {
        use slipway_domain::test_report::{TestCase, TestStatus};
        let redactor = Redactor::new(["hunter2"]);
        let said = vec![Diagnostic::error("hunter2", "it is hunter2")];
        let case = TestCase::of("a: hunter2", TestStatus::Fail).saying(said);
        let leftovers = vec!["x[\"hunter2\"]".to_owned()];
        let found = tested(&redactor, Tested { tool: None, cases: vec![case], leftovers });
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }

    #[test]
    fn a_retry_honours_what_the_other_side_asked_for() {
        let error = DriverError::Transient { summary: "429".into(), retry_after_s: Some(7) };
        let ending = ending(&a(JobKind::Plan), error, None).unwrap();
        assert_eq!(ending, Ending::Retry { error: "429".into(), delay_ms: 7000 });
    }

    #[test]
    fn a_person_who_cancels_sees_cancelled_whatever_the_tool_says() {
        for error in [DriverError::Stopped, DriverError::permanent("interrupted")] {
            let end = ending(&a(JobKind::Apply), error, Some(Reason::Cancel)).unwrap();
            assert_eq!(end, Ending::Cancelled);
        }
    }

    #[test]
    fn a_lease_that_faded_and_lives_ends_the_run_in_order() {
        let asked = Some(Reason::LeaseFading);
        let plan = ending(&a(JobKind::Plan), DriverError::Stopped, asked).unwrap();
        assert_eq!(plan, Ending::HandBack);
        let apply = ending(&a(JobKind::Apply), DriverError::Stopped, asked).unwrap();
        assert!(
            matches!(&apply, Ending::Stopped { summary } if summary.contains("could not be renewed")),
            "{apply:?}"
        );
    }

    #[test]
    fn an_apply_that_was_never_started_goes_back_to_its_queue() {
        for kind in [JobKind::Plan, JobKind::Apply] {
            let job = a(kind);
            assert_eq!(untouched(&job, Reason::Shutdown), Some(Ending::HandBack));
            assert_eq!(untouched(&job, Reason::LeaseFading), Some(Ending::HandBack));
            assert_eq!(untouched(&job, Reason::Cancel), Some(Ending::Cancelled));
            assert_eq!(untouched(&job, Reason::LeaseLost), None);
        }
    }

    #[test]
    fn a_retry_that_is_asked_for_in_a_thousand_years_comes_tomorrow() {
        let error = DriverError::Transient { summary: "429".into(), retry_after_s: Some(u64::MAX) };
        let ending = ending(&a(JobKind::Plan), error, None).unwrap();
        assert_eq!(ending, Ending::Retry { error: "429".into(), delay_ms: 24 * 3_600_000 });
    }

    #[test]
    fn an_error_quotes_no_secret_and_has_an_end() {
        let redactor = Redactor::new(["hunter2"]);
        let detail = format!("hunter2 {}", "x".repeat(1 << 20));
        let error = DriverError::Permanent {
            summary: "it said hunter2".into(),
            diagnostics: vec![Diagnostic::error("hunter2", detail); 1000],
        };
        let text = format!("{:?}", redacted(&redactor, error));
        assert!(!text.contains("hunter2") && text.len() < 8 << 20, "{}", text.len());
        let error = DriverError::Lost { summary: "hunter2".into() };
        assert!(!redacted(&redactor, error).to_string().contains("hunter2"));
    }
}
