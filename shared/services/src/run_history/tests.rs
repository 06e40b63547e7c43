//! Tests of what is made of past runs.

use chrono::DateTime;
use slipway_domain::id::{JobId, Mint as _, RandomMint};

use super::*;

fn run(kind: JobKind, wall_ms: i64, peak_rss_bytes: Option<i64>) -> PastRun {
    PastRun {
        job_id: JobId::new(&RandomMint),
        stack_id: StackId(RandomMint.uuid()),
        kind,
        at: DateTime::UNIX_EPOCH,
        measure: Measure { wall_ms, peak_rss_bytes },
        resources: None,
    }
}

#[test]
fn percentiles_are_values_that_were_seen() {
    let twenty: Vec<i64> = (1..=20).collect();
    assert_eq!((percentile(&twenty, 50), percentile(&twenty, 95)), (Some(10), Some(19)));
    assert_eq!((percentile(&[7], 50), percentile(&[7], 95)), (Some(7), Some(7)));
    assert_eq!((percentile(&[1, 9], 50), percentile(&[1, 9], 95)), (Some(1), Some(9)));
    assert_eq!(percentile(&[], 95), None);
}

#[test]
fn an_estimate_is_made_of_its_own_kind_alone() {
    let runs = [
        run(JobKind::Plan, 3_000, Some(5 * MIB + 1)),
        run(JobKind::Plan, 1_250, None),
        run(JobKind::Plan, 2_000, Some(MIB)),
        run(JobKind::Recover, 90_000, Some(900 * MIB)),
    ];
    let plan = estimate(&runs, JobKind::Plan).unwrap();
    let expected = Estimate { runs: 3, p50_s: 2.0, p95_s: 3.0, peak_mb: Some(6) };
    assert_eq!(plan, expected);
    assert_eq!(estimate(&runs, JobKind::Apply), None);
    let unmeasured = estimate(&[run(JobKind::Apply, 10, None)], JobKind::Apply).unwrap();
    assert_eq!((unmeasured.runs, unmeasured.peak_mb), (1, None));
}

#[test]
fn a_limit_grows_with_past_runs_and_leaves_time_to_stop() {
    assert_eq!(adapted_s(60, 600, &[]), 60, "nothing is known");
    assert_eq!(adapted_s(60, 600, &[5_000]), 60, "never shorter than configured");
    assert_eq!(adapted_s(60, 600, &[50_000]), 150);
    assert_eq!(adapted_s(60, 600, &[i64::MAX]), 330, "half of the way to the hard limit");
    let with_one_long: Vec<_> = std::iter::repeat_n(30_000, 19).chain([500_000]).collect();
    assert_eq!(adapted_s(60, 600, &with_one_long), 90, "one in twenty does not count");
}
