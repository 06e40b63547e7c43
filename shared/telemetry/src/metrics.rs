//! Every metric of the house, by name, in one place.
//!
//! Labels have few values: routes are patterns, queues and states come from tables. Nothing that
//! a caller can choose freely is ever a label.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TEXT_FORMAT, TextEncoder,
};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl MetricKind {
    /// The word that Prometheus has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricName {
    /// As it is scraped.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

const fn named(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricName {
    MetricName { name, kind, labels, help }
}

const HTTP_REQUESTS: MetricName = named(
    "slipway_http_requests_total",
    MetricKind::Counter,
    &["method", "route", "status"],
    "HTTP requests that were answered.",
);
const HTTP_DURATION: MetricName = named(
    "slipway_http_request_duration_seconds",
    MetricKind::Histogram,
    &["method", "route"],
    "Time from an HTTP request's arrival to the head of its answer.",
);
const DEPLOYMENTS: MetricName = named(
    "slipway_deployments_total",
    MetricKind::Counter,
    &["outcome"],
    "Deployments that ended, by the state they ended in.",
);
const JOBS: MetricName = named(
    "slipway_jobs_total",
    MetricKind::Counter,
    &["queue", "outcome"],
    "Runs of jobs that ended.",
);
const JOB_WAIT: MetricName = named(
    "slipway_job_wait_seconds",
    MetricKind::Histogram,
    &["queue"],
    "Time from the moment a job was due to the moment a worker took it.",
);
const JOB_RUN: MetricName =
    named("slipway_job_run_seconds", MetricKind::Histogram, &["queue"], "Time that a job ran.");
const WORKER_SLOTS: MetricName = named(
    "slipway_worker_slots",
    MetricKind::Gauge,
    &["queue", "state"],
    "Slots of this worker: `busy` and `idle`.",
);
const QUEUE_DEPTH: MetricName = named(
    "slipway_queue_depth",
    MetricKind::Gauge,
    &["queue", "state"],
    "Jobs in the database, by state; the same from every process.",
);
const QUEUE_OLDEST_WAIT: MetricName = named(
    "slipway_queue_oldest_wait_seconds",
    MetricKind::Gauge,
    &["queue"],
    "How long the oldest due job has waited; 0 when none waits.",
);
const DRIFTED_STACKS: MetricName = named(
    "slipway_drifted_stacks",
    MetricKind::Gauge,
    &[],
    "Stacks that are known to drift; the same from every process.",
);
const QUARANTINED: MetricName = named(
    "slipway_transport_quarantined_total",
    MetricKind::Counter,
    &[],
    "Messages of the broker that this process could not read and put aside.",
);
const EVENTS_PUBLISHED: MetricName = named(
    "slipway_events_published_total",
    MetricKind::Counter,
    &[],
    "Events and log lines that were handed to streams.",
);
const AUDIT_UNSEALED: MetricName = named(
    "slipway_audit_unsealed_seconds",
    MetricKind::Gauge,
    &[],
    "How long the oldest record of the audit log has waited for its place in the chain; 0 when none waits.",
);
const BUILD_INFO: MetricName = named(
    "slipway_build_info",
    MetricKind::Gauge,
    &["version"],
    "Always 1; tells the version that runs.",
);

/// Every metric that [`Metrics::render`] may show, for docs. Those named `process_…` exist on
/// Linux only.
pub const NAMES: &[MetricName] = &[
    HTTP_REQUESTS,
    HTTP_DURATION,
    DEPLOYMENTS,
    JOBS,
    JOB_WAIT,
    JOB_RUN,
    WORKER_SLOTS,
    QUEUE_DEPTH,
    QUEUE_OLDEST_WAIT,
    DRIFTED_STACKS,
    QUARANTINED,
    EVENTS_PUBLISHED,
    AUDIT_UNSEALED,
    BUILD_INFO,
    named("process_cpu_seconds_total", MetricKind::Counter, &[], "CPU time of the process."),
    named("process_max_fds", MetricKind::Gauge, &[], "File descriptors that it may open."),
    named("process_open_fds", MetricKind::Gauge, &[], "File descriptors that it has open."),
    named("process_resident_memory_bytes", MetricKind::Gauge, &[], "Its memory in RAM."),
    named("process_start_time_seconds", MetricKind::Gauge, &[], "When it began (Unix time)."),
    named("process_threads", MetricKind::Gauge, &[], "Its threads."),
    named("process_virtual_memory_bytes", MetricKind::Gauge, &[], "Its virtual memory."),
];

const HTTP_BUCKETS_S: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const WAIT_BUCKETS_S: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
const RUN_BUCKETS_S: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// The counters of one process. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    deployments: IntCounterVec,
    jobs: IntCounterVec,
    job_wait: HistogramVec,
    job_run: HistogramVec,
    worker_slots: IntGaugeVec,
    queue_depth: IntGaugeVec,
    queue_oldest_wait: GaugeVec,
    drifted_stacks: IntGauge,
    quarantined: IntCounter,
    /// How many of the quarantined are counted already.
    counted: Mutex<u64>,
    events_published: IntCounter,
    audit_unsealed: Gauge,
    /// Slots and how many are busy, by queue; the gauges follow it.
    slots: Mutex<BTreeMap<String, Slots>>,
}

#[derive(Default, Clone, Copy)]
struct Slots {
    total: i64,
    busy: i64,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// A fresh set for a process of this `version`. Fails only when a name or a label of the
    /// table above is not one that Prometheus takes, or is there twice.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build_info = keep(&registry, IntGaugeVec::new(opts(&BUILD_INFO), BUILD_INFO.labels)?)?;
        build_info.with_label_values(&[version]).set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let counters =
            |metric: &MetricName| keep(&registry, IntCounterVec::new(opts(metric), metric.labels)?);
        let gauges =
            |metric: &MetricName| keep(&registry, IntGaugeVec::new(opts(metric), metric.labels)?);
        let histograms = |metric: &MetricName, buckets_s: &[f64]| {
            let opts = HistogramOpts::from(opts(metric)).buckets(buckets_s.to_vec());
            keep(&registry, HistogramVec::new(opts, metric.labels)?)
        };
        Ok(Self(Arc::new(Inner {
            http_requests: counters(&HTTP_REQUESTS)?,
            http_duration: histograms(&HTTP_DURATION, HTTP_BUCKETS_S)?,
            deployments: counters(&DEPLOYMENTS)?,
            jobs: counters(&JOBS)?,
            job_wait: histograms(&JOB_WAIT, WAIT_BUCKETS_S)?,
            job_run: histograms(&JOB_RUN, RUN_BUCKETS_S)?,
            worker_slots: gauges(&WORKER_SLOTS)?,
            queue_depth: gauges(&QUEUE_DEPTH)?,
            queue_oldest_wait: keep(
                &registry,
                GaugeVec::new(opts(&QUEUE_OLDEST_WAIT), QUEUE_OLDEST_WAIT.labels)?,
            )?,
            drifted_stacks: keep(&registry, IntGauge::with_opts(opts(&DRIFTED_STACKS))?)?,
            quarantined: keep(&registry, IntCounter::with_opts(opts(&QUARANTINED))?)?,
            counted: Mutex::default(),
            events_published: keep(&registry, IntCounter::with_opts(opts(&EVENTS_PUBLISHED))?)?,
            audit_unsealed: keep(&registry, Gauge::with_opts(opts(&AUDIT_UNSEALED))?)?,
            slots: Mutex::default(),
            registry,
        })))
    }

    /// An HTTP request was answered. `route` is the pattern that matched
    /// (`/api/v1/deployments/{id}`), never the path; give one fixed word where none matched.
    pub fn http_request(&self, method: &str, route: &str, status: u16, took: Duration) {
        // The method is the caller's choice; a flood of invented ones may not become series.
        let method = match method {
            "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => method,
            _ => "OTHER",
        };
        let status = status.to_string();
        self.0.http_requests.with_label_values(&[method, route, status.as_str()]).inc();
        self.0.http_duration.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    /// A deployment ended in the state `outcome`.
    pub fn deployment_ended(&self, outcome: &str) {
        self.0.deployments.with_label_values(&[outcome]).inc();
    }

    /// This worker serves `queue` with so many slots. Call it before jobs of that queue start,
    /// and with 0 when it stops serving it.
    pub fn serving(&self, queue: &str, slots: u16) {
        self.move_slots(queue, |of| of.total = i64::from(slots));
    }

    /// A worker took a job of `queue` that had been due for `waited`.
    pub fn job_started(&self, queue: &str, waited: Duration) {
        self.0.job_wait.with_label_values(&[queue]).observe(waited.as_secs_f64());
        self.move_slots(queue, |of| of.busy += 1);
    }

    /// A job of `queue` ended after it `ran` so long.
    pub fn job_ended(&self, queue: &str, outcome: &str, ran: Duration) {
        self.0.jobs.with_label_values(&[queue, outcome]).inc();
        self.0.job_run.with_label_values(&[queue]).observe(ran.as_secs_f64());
        self.move_slots(queue, |of| of.busy -= 1);
    }

    /// So many jobs of `queue` are in `state`.
    pub fn set_queue_depth(&self, queue: &str, state: &str, jobs: i64) {
        self.0.queue_depth.with_label_values(&[queue, state]).set(jobs);
    }

    /// The oldest due job of `queue` has waited so long; zero when none waits.
    pub fn set_queue_oldest_wait(&self, queue: &str, waited: Duration) {
        self.0.queue_oldest_wait.with_label_values(&[queue]).set(waited.as_secs_f64());
    }

    /// How many stacks are known to drift.
    pub fn set_drifted_stacks(&self, stacks: i64) {
        self.0.drifted_stacks.set(stacks);
    }

    /// So many messages were put aside since the process began; never fewer than before.
    pub fn set_quarantined(&self, total: u64) {
        // Two readers at a time may not both add what is new.
        let mut counted = self.0.counted.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.quarantined.inc_by(total.saturating_sub(*counted));
        *counted = total.max(*counted);
    }

    /// So many events were handed to streams.
    pub fn events_published(&self, count: u64) {
        self.0.events_published.inc_by(count);
    }

    /// The oldest record of the audit log has waited so long for its place.
    pub fn set_audit_unsealed(&self, waited: Duration) {
        self.0.audit_unsealed.set(waited.as_secs_f64());
    }

    /// All of it as Prometheus reads it: the content type and the text.
    pub fn render(&self) -> (&'static str, String) {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.0.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written completely");
        }
        (TEXT_FORMAT, text)
    }

    fn move_slots(&self, queue: &str, change: impl FnOnce(&mut Slots)) {
        // The gauges are set under the lock, or two threads could leave an old value behind.
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let of = slots.entry(queue.to_owned()).or_default();
        change(of);
        let gauge = |state| self.0.worker_slots.with_label_values(&[queue, state]);
        gauge("busy").set(of.busy);
        gauge("idle").set((of.total - of.busy).max(0));
    }
}

fn opts(metric: &MetricName) -> Opts {
    Opts::new(metric.name, metric.help)
}

fn keep<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn used() -> Metrics {
        let metrics = Metrics::new("1.2.3").unwrap();
        metrics.serving("plan", 4);
        metrics.http_request("GET", "/api/v1/stacks", 200, Duration::from_millis(3));
        metrics.deployment_ended("succeeded");
        metrics.job_started("plan", Duration::from_millis(20));
        metrics.job_started("plan", Duration::from_millis(30));
        metrics.job_ended("plan", "done", Duration::from_secs(2));
        metrics.set_queue_depth("plan", "queued", 3);
        metrics.set_queue_oldest_wait("plan", Duration::from_millis(1500));
        metrics.set_drifted_stacks(4);
        metrics.set_quarantined(2);
        metrics.set_quarantined(7);
        metrics.events_published(5);
        metrics
    }

    #[test]
    fn shows_what_was_counted() {
        let (content_type, text) = used().render();
        assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
        for line in [
            r#"slipway_http_requests_total{method="GET",route="/api/v1/stacks",status="200"} 1"#,
            r#"slipway_http_request_duration_seconds_bucket{method="GET",route="/api/v1/stacks",le="0.005"} 1"#,
            r#"slipway_deployments_total{outcome="succeeded"} 1"#,
            r#"slipway_jobs_total{outcome="done",queue="plan"} 1"#,
            r#"slipway_job_wait_seconds_count{queue="plan"} 2"#,
            r#"slipway_job_run_seconds_sum{queue="plan"} 2"#,
            r#"slipway_worker_slots{queue="plan",state="busy"} 1"#,
            r#"slipway_worker_slots{queue="plan",state="idle"} 3"#,
            r#"slipway_queue_depth{queue="plan",state="queued"} 3"#,
            r#"slipway_queue_oldest_wait_seconds{queue="plan"} 1.5"#,
            "slipway_transport_quarantined_total 7",
            "slipway_events_published_total 5",
            r#"slipway_build_info{version="1.2.3"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn names_kinds_and_labels_are_those_of_the_table() {
        let (_, text) = used().render();
        let shown: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .map(ToOwned::to_owned)
            .collect();
        let told: BTreeSet<_> = NAMES
            .iter()
            .filter(|m| cfg!(target_os = "linux") || !m.name.starts_with("process_"))
            .map(|m| format!("{} {}", m.name, m.kind.as_str()))
            .collect();
        assert_eq!(shown, told);
        assert_eq!(told.len(), NAMES.len(), "a name is there twice");
        for metric in NAMES {
            for label in metric.labels {
                let series = text.lines().find(|l| l.starts_with(metric.name) && l.contains('{'));
                assert!(series.unwrap().contains(&format!("{label}=\"")), "{metric:?}");
            }
            assert_eq!(metric.kind == MetricKind::Counter, metric.name.ends_with("_total"));
        }
    }

    #[test]
    fn invented_methods_are_one_series() {
        let metrics = Metrics::new("1").unwrap();
        for method in ["BREW", "PROPFIND"] {
            metrics.http_request(method, "unmatched", 405, Duration::ZERO);
        }
        let (_, text) = metrics.render();
        assert!(text.contains(
            r#"slipway_http_requests_total{method="OTHER",route="unmatched",status="405"} 2"#
        ));
    }

    #[test]
    fn clones_count_together_and_sets_apart() {
        let (one, other) = (Metrics::new("1").unwrap(), Metrics::new("1").unwrap());
        one.clone().events_published(1);
        one.events_published(1);
        assert!(one.render().1.contains("slipway_events_published_total 2"));
        assert!(other.render().1.contains("slipway_events_published_total 0"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_measured() {
        let (_, text) = Metrics::new("1").unwrap().render();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_start_time_seconds") > 1_600_000_000.0);
    }
}
