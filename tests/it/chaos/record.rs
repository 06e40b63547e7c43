//! What a run left behind: the rows of its database, its ledger and its logs, read without the
//! product's own code for it.

use std::path::Path;

use serde_json::Value;
use slipway_domain::event::EventBody;
use slipway_domain::id::{DeploymentId, JobId, StackId, WorkerId};
use slipway_domain::recovery::RecoveryReport;
use slipway_domain::state::DeploymentState;
use sqlx::Connection as _;

/// A row of `deployments`.
#[derive(Debug, Clone)]
pub(super) struct DeploymentRow {
    pub(super) id: DeploymentId,
    pub(super) stack: String,
    pub(super) state: DeploymentState,
    pub(super) reason: String,
    pub(super) auto_apply: bool,
    /// What the ledger calls it.
    pub(super) name: String,
    pub(super) trace: Option<String>,
    pub(super) event_seq: i64,
    pub(super) log_seq: i64,
}

/// A row of `jobs`.
#[derive(Debug, Clone)]
pub(super) struct JobRow {
    pub(super) id: JobId,
    pub(super) deployment: DeploymentId,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) worker: Option<WorkerId>,
    /// Whether it has a lease, and that is not over by the database's clock.
    pub(super) leased: bool,
    pub(super) trace: Option<String>,
    pub(super) started_us: i64,
    pub(super) ended_us: i64,
}

/// A row of `events`.
#[derive(Debug, Clone)]
pub(super) struct EventRow {
    pub(super) deployment: DeploymentId,
    pub(super) seq: i64,
    pub(super) at_us: i64,
    pub(super) body: EventBody,
}

/// A row of `audit`.
#[derive(Debug, Clone)]
pub(super) struct AuditRow {
    pub(super) at_us: i64,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) detail: Value,
    /// Whether Slipway itself did it.
    pub(super) system: bool,
    pub(super) trace: Option<String>,
}

/// A row of `state_versions`.
#[derive(Debug, Clone)]
pub(super) struct StateRow {
    pub(super) stack: StackId,
    pub(super) version: i64,
    pub(super) lineage: String,
    pub(super) serial: i64,
    pub(super) deployment: DeploymentId,
    pub(super) at_us: i64,
}

/// All rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) deployments: Vec<DeploymentRow>,
    pub(super) jobs: Vec<JobRow>,
    /// By deployment and number.
    pub(super) events: Vec<EventRow>,
    /// Numbers of log lines, in order.
    pub(super) logs: Vec<(DeploymentId, i64)>,
    pub(super) audit: Vec<AuditRow>,
    /// By stack and version.
    pub(super) states: Vec<StateRow>,
    /// What was found out about lost applies, by deployment and number.
    pub(super) reports: Vec<(DeploymentId, RecoveryReport)>,
}

/// The trace that a `traceparent` belongs to.
pub(super) fn trace_of(traceparent: &str) -> Option<String> {
    traceparent.split('-').nth(1).map(str::to_owned)
}

fn micros(column: &str) -> String {
    format!("coalesce(cast(extract(epoch from {column}) * 1000000 as bigint), 0)")
}

type DeploymentTuple =
    (DeploymentId, String, String, Option<String>, String, String, Option<String>, i64, i64);
type JobTuple =
    (JobId, DeploymentId, String, String, Option<WorkerId>, bool, Option<String>, i64, i64);
type AuditTuple = (i64, String, String, String, String, Option<String>);
type StateTuple = (StackId, i64, String, i64, DeploymentId, i64);

impl Rows {
    /// Reads them all.
    pub(super) async fn read(url: &str) -> Result<Self, sqlx::Error> {
        let mut all = sqlx::PgConnection::connect(url).await?;
        macro_rules! rows {
            ($type:ty, $text:expr) => {
                sqlx::query_as::<_, $type>(sqlx::AssertSqlSafe($text)).fetch_all(&mut all).await?
            };
        }
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let state = |text: &str| DeploymentState::parse(text).unwrap();
        let deployments = rows!(
            DeploymentTuple,
            "select id, stack_name, state, reason, options, variables, traceparent, event_seq,
                log_seq from deployments order by id"
                .to_owned()
        );
        let deployments = deployments.into_iter().map(|row| DeploymentRow {
            id: row.0,
            stack: row.1,
            state: state(&row.2),
            reason: row.3.unwrap_or_default(),
            auto_apply: json(&row.4)["auto_apply"] == true,
            name: json(&row.5)["deployment"].as_str().unwrap_or_default().to_owned(),
            trace: row.6.as_deref().and_then(trace_of),
            event_seq: row.7,
            log_seq: row.8,
        });
        let jobs = rows!(
            JobTuple,
            format!(
                "select id, deployment_id, kind, state, worker_id,
                    coalesce(lease_until_ms > extract(epoch from clock_timestamp()) * 1000, false),
                    traceparent, {}, {} from jobs order by id",
                micros("started_at"),
                micros("ended_at")
            )
        );
        let jobs = jobs.into_iter().map(|row| JobRow {
            id: row.0,
            deployment: row.1,
            kind: row.2,
            state: row.3,
            worker: row.4,
            leased: row.5,
            trace: row.6.as_deref().and_then(trace_of),
            started_us: row.7,
            ended_us: row.8,
        });
        let events = rows!(
            (DeploymentId, i64, i64, String),
            format!(
                "select deployment_id, seq, {}, body from events order by deployment_id, seq",
                micros("at")
            )
        );
        let events = events.into_iter().map(|(deployment, seq, at_us, body)| EventRow {
            deployment,
            seq,
            at_us,
            body: serde_json::from_str(&body).unwrap(),
        });
        let logs = rows!(
            (DeploymentId, i64),
            "select deployment_id, seq from log_lines order by deployment_id, seq".to_owned()
        );
        let reports = rows!(
            (DeploymentId, String),
            "select deployment_id, report from recoveries where report is not null
             order by deployment_id, number"
                .to_owned()
        );
        let reports =
            reports.into_iter().map(|(id, text)| (id, serde_json::from_str(&text).unwrap()));
        let audit = rows!(
            AuditTuple,
            format!(
                "select {}, action, target, detail, actor, trace_id from audit order by id",
                micros("at")
            )
        );
        let audit = audit.into_iter().map(|row| AuditRow {
            at_us: row.0,
            action: row.1,
            target: row.2,
            detail: json(&row.3),
            system: json(&row.4)["kind"] == "system",
            trace: row.5,
        });
        let states = rows!(
            StateTuple,
            format!(
                "select stack_id, version, lineage, serial, deployment_id, {}
                 from state_versions order by stack_id, version",
                micros("created_at")
            )
        );
        let states = states.into_iter().map(|row| StateRow {
            stack: row.0,
            version: row.1,
            lineage: row.2,
            serial: row.3,
            deployment: row.4,
            at_us: row.5,
        });
        Ok(Self {
            deployments: deployments.collect(),
            jobs: jobs.collect(),
            events: events.collect(),
            logs,
            audit: audit.collect(),
            reports: reports.collect(),
            states: states.collect(),
        })
    }
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The deployment's name.
    pub(super) name: String,
    /// The Terraform process.
    pub(super) run: String,
    pub(super) index: u32,
    pub(super) pid: u32,
    pub(super) start: bool,
    pub(super) at_us: i64,
}

/// Reads a ledger; the lines that are none come back as they are.
pub(super) fn ledger(text: &str) -> (Vec<Line>, Vec<String>) {
    let (mut lines, mut broken) = (Vec::new(), Vec::new());
    for text in text.lines() {
        match line(text) {
            Some(line) => lines.push(line),
            None => broken.push(text.to_owned()),
        }
    }
    (lines, broken)
}

fn line(text: &str) -> Option<Line> {
    let fields: Vec<_> = text.split(' ').collect();
    let [name, run, index, pid, what, nanoseconds] = fields[..] else { return None };
    Some(Line {
        name: name.to_owned(),
        run: run.to_owned(),
        index: index.parse().ok()?,
        pid: pid.parse().ok()?,
        start: match what {
            "start" => true,
            "end" => false,
            _ => return None,
        },
        at_us: nanoseconds.parse::<i64>().ok()? / 1000,
    })
}

/// What the logs of the processes say that rows do not.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// Which place a worker was at.
    pub(super) workers: Vec<(WorkerId, String)>,
    /// The trace under which a worker spoke of a job.
    pub(super) traces: Vec<(JobId, Option<String>)>,
    /// Panics, with the file that has them.
    pub(super) panics: Vec<String>,
    /// Errors, and how often they were said.
    pub(super) errors: std::collections::BTreeMap<String, usize>,
}

impl Said {
    /// Reads every log of a process in `logs`.
    pub(super) fn read(logs: &Path) -> Self {
        let mut said = Self::default();
        for item in std::fs::read_dir(logs).unwrap().flatten() {
            let file = item.file_name().to_string_lossy().into_owned();
            if file.starts_with("worker-") || file.starts_with("api-") {
                let text =
                    String::from_utf8_lossy(&std::fs::read(item.path()).unwrap()).into_owned();
                said.hear(&file, &text);
            }
        }
        said
    }

    fn hear(&mut self, file: &str, text: &str) {
        let place = file.split('.').next().unwrap_or(file);
        for line in text.lines() {
            if line.contains("panicked") {
                self.panics.push(format!("{file}: {line}"));
            }
            // A line that was cut off by a kill is no JSON.
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let text = |field: &str| line[field].as_str().unwrap_or_default();
            match text("message") {
                "worker started" => {
                    if let Ok(worker) = text("worker_id").parse() {
                        self.workers.push((worker, place.to_owned()));
                    }
                }
                "job started" => {
                    if let Ok(job) = text("job_id").parse() {
                        let trace = line["trace_id"].as_str().map(str::to_owned);
                        self.traces.push((job, trace));
                    }
                }
                _ => {}
            }
            if text("level") == "ERROR" {
                let what = ["message", "code", "fault", "cause", "error"].map(text);
                let what: Vec<_> = what.into_iter().filter(|w| !w.is_empty()).collect();
                *self.errors.entry(what.join(": ")).or_default() += 1;
            }
        }
    }
}

#[test]
fn a_ledger_is_read_and_what_is_no_line_of_it_is_kept() {
    let text = "d1 19104-1599757 0 19113 start 1795252718932932076\nd1 19104-1\nd1 r 0 9 stop 1\n";
    let (lines, broken) = ledger(text);
    let wanted = Line {
        name: "d1".into(),
        run: "19104-1599757".into(),
        index: 0,
        pid: 19113,
        start: true,
        at_us: 1_795_252_718_932_932,
    };
    assert_eq!(lines, [wanted]);
    assert_eq!(broken, ["d1 19104-1", "d1 r 0 9 stop 1"]);
}

#[test]
fn logs_name_workers_traces_and_panics() {
    let worker = "wrk_0199b0c0000070008000000000000001";
    let job = "job_0199b0c0000070008000000000000002";
    let text = format!(
        "{{\"level\":\"INFO\",\"message\":\"worker started\",\"worker_id\":\"{worker}\"}}\n\
         {{\"level\":\"INFO\",\"message\":\"job started\",\"job_id\":\"{job}\",\"trace_id\":\"t1\"}}\n\
         {{\"level\":\"ERROR\",\"message\":\"a loop failed; it goes on\",\"cause\":\"x\"}}\n\
         thread 'main' panicked at src/x.rs:1\n{{\"level\":\"ERR"
    );
    let mut said = Said::default();
    said.hear("worker-2.1.log", &text);
    assert_eq!(said.workers, [(worker.parse().unwrap(), "worker-2".to_owned())]);
    assert_eq!(said.traces, [(job.parse().unwrap(), Some("t1".to_owned()))]);
    assert_eq!(said.panics.len(), 1);
    assert_eq!(said.errors.get("a loop failed; it goes on: x"), Some(&1));
}
