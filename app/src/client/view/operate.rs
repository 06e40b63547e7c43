//! Queues, jobs and workers as tables.

use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::job::JobInfo;
use slipway_domain::queue::QueueStatus;
use slipway_domain::worker::{Worker, format_slots};
use slipway_services::job::BulkDone;

use super::{between, duration, plain, table};

/// Queues, one a line.
pub fn queues(items: &[QueueStatus]) -> String {
    let header =
        ["QUEUE", "WAITING", "RUNNING", "SCHEDULED", "DEAD", "OLDEST", "SLOTS", "CAP", "STATE"];
    let rows = items.iter().map(|queue| {
        let stats = queue.stats;
        let state = queue.paused.as_ref().map_or_else(
            || "open".to_owned(),
            |pause| {
                let why = pause.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                plain(&format!("paused by {}{why}", pause.by.id)).into_owned()
            },
        );
        vec![
            queue.name.to_string(),
            stats.waiting.to_string(),
            stats.running.to_string(),
            stats.scheduled.to_string(),
            stats.dead.to_string(),
            seconds(stats.oldest_wait_s),
            stats.capacity.to_string(),
            queue.cap.map_or_else(|| "-".to_owned(), |cap| cap.to_string()),
            state,
        ]
    });
    table(&header, rows)
}

/// Jobs, one a line.
pub fn jobs(items: &[JobInfo], now: DateTime<Utc>) -> String {
    if items.is_empty() {
        return "There are no jobs like that.\n".to_owned();
    }
    let header = ["JOB", "KIND", "STATE", "ATTEMPT", "DEPLOYMENT", "AGE", "LAST ERROR"];
    let rows = items.iter().map(|job| {
        let error = job.last_error.as_deref().unwrap_or_default();
        let mut first: String = error.lines().next().unwrap_or_default().chars().take(80).collect();
        if first.len() < error.len() {
            first.push('…');
        }
        vec![
            job.id.to_string(),
            plain(&job.kind).into_owned(),
            job.state.to_string(),
            format!("{}/{}", job.attempt, job.max_attempts),
            job.deployment_id.to_string(),
            between(job.created_at, now),
            plain(&first).into_owned(),
        ]
    });
    table(&header, rows)
}

/// Workers, one a line.
pub fn workers(items: &[Worker], now: DateTime<Utc>) -> String {
    if items.is_empty() {
        return "No worker is alive.\n".to_owned();
    }
    let header = ["WORKER", "HOST", "PID", "VERSION", "SLOTS", "JOBS", "UP", "HEARD OF", "STATE"];
    let rows = items.iter().map(|worker| {
        vec![
            worker.id.to_string(),
            plain(&worker.host).into_owned(),
            worker.pid.to_string(),
            plain(&worker.version).into_owned(),
            format_slots(&worker.queues),
            worker.jobs.len().to_string(),
            between(worker.started_at, now),
            format!("{} ago", seconds(worker.silent_s)),
            if worker.draining { "draining" } else { "working" }.to_owned(),
        ]
    });
    table(&header, rows)
}

/// What a bulk request did.
pub fn bulk(done: &str, what: &BulkDone) -> String {
    use std::fmt::Write as _;
    let count = what.job_ids.len();
    let mut text = format!("{count} {} {done}.\n", if count == 1 { "job" } else { "jobs" });
    for left in &what.left_out {
        let _ = writeln!(text, "  {} was left out: {}", left.job_id, plain(&left.detail));
    }
    if what.remaining {
        text.push_str("There are more that fit; run it again.\n");
    }
    text
}

fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::id::JobId;
    use slipway_domain::job::Queue;
    use slipway_domain::queue::QueueStats;
    use slipway_services::job::LeftOut;

    #[test]
    fn a_queue_says_what_is_in_it_and_whether_it_is_stopped() {
        let stats = QueueStats { waiting: 3, oldest_wait_s: 65.2, ..QueueStats::default() };
        let queue = QueueStatus { name: Queue::Plan, paused: None, cap: Some(4), stats };
        let text = queues(&[queue]);
        assert!(text.lines().nth(1).is_some_and(|l| l.starts_with("plan")), "{text}");
        assert!(text.contains("1m05s") && text.contains("open"), "{text}");
    }

    #[test]
    fn what_was_left_out_is_said() {
        let job_id = "job_00000000000000000000000000000000".parse::<JobId>().unwrap();
        let left_out = vec![LeftOut { job_id, detail: "it is not dead".into() }];
        let text = bulk("requeued", &BulkDone { job_ids: vec![job_id], left_out, remaining: true });
        assert!(text.starts_with("1 job requeued.") && text.contains("not dead"), "{text}");
        assert!(text.contains("run it again"), "{text}");
        assert!(jobs(&[], DateTime::UNIX_EPOCH).contains("no jobs"));
        assert!(workers(&[], DateTime::UNIX_EPOCH).contains("No worker"));
    }
}
