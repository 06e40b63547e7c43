//! Sets up logs and spans for the process, and takes them down.
//!
//! Logs and spans have their own filters: a quiet log still has trace ids in its lines, and spans
//! exist whatever the log level is.

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::exporter;
use crate::json::JsonLines;

/// After the last spans were sent or given up.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Text for people.
    Text,
}

/// How the process talks about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetryOptions {
    /// `service.name` of spans.
    pub service_name: String,
    /// `service.version` of spans.
    pub service_version: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which events are logged: a level (`info`) or directives (`info,slipway_worker=debug`).
    /// Empty means `info`.
    pub log_filter: String,
    /// Base URL of an OTLP/HTTP collector, e.g. `http://127.0.0.1:4318`; spans go to
    /// `/v1/traces` under it. `None` exports nothing. Headers that the collector wants are taken
    /// from `OTEL_EXPORTER_OTLP_HEADERS`.
    pub otlp_endpoint: Option<String>,
    /// Share of traces begun here that are recorded, 0.0 to 1.0. A trace that came from outside
    /// keeps the decision that it came with.
    pub trace_sample_ratio: f64,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self {
            service_name: "slipway".to_owned(),
            service_version: String::new(),
            log_format: LogFormat::default(),
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            trace_sample_ratio: 1.0,
        }
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The log filter does not parse.
    #[error(
        "the log filter {filter:?} is not usable: {why}; use a level such as `info`, or directives such as `info,slipway_worker=debug`"
    )]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// The sample ratio is not a share.
    #[error("the trace sample ratio is {0}; it must be between 0.0 and 1.0")]
    SampleRatio(f64),
    /// The exporter could not be made.
    #[error("spans cannot be exported: {0}")]
    Exporter(String),
    /// There is a subscriber already: `init` was called twice.
    #[error("telemetry is set up already in this process")]
    Already,
}

/// Spans that were still waiting could not all be sent.
#[derive(Debug, thiserror::Error)]
#[error("not every span could be exported: {0}")]
pub struct FlushError(String);

/// The way into this crate.
#[derive(Debug)]
pub struct Telemetry;

impl Telemetry {
    /// Sets up logs on stderr, spans and the panic hook for the whole process. Call it once, as
    /// the first thing; keep the [`Guard`] and end with [`Guard::shutdown`].
    pub fn init(options: &TelemetryOptions) -> Result<Guard, InitError> {
        let (subscriber, guard) = build(options, std::io::stderr, std::io::stderr().is_terminal())?;
        subscriber.try_init().map_err(|_| InitError::Already)?;
        if options.log_format == LogFormat::Json {
            log_panics();
        }
        Ok(guard)
    }
}

/// Keeps spans going; sends the last ones on [`Guard::shutdown`] or when dropped.
#[derive(Debug)]
#[must_use = "spans are lost when the guard is dropped at once"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Guard {
    /// Sends the spans that wait and stops. Blocks for 6 seconds at most. Spans that begin later
    /// have no ids.
    pub fn shutdown(mut self) -> Result<(), FlushError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), FlushError> {
        let Some(provider) = self.provider.take() else { return Ok(()) };
        // A shutdown sends what waits too, but does not say whether that went well.
        let flushed = provider.force_flush();
        let stopped = provider.shutdown_with_timeout(STOP_TIMEOUT);
        flushed.and(stopped).map_err(|error| FlushError(error.to_string()))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.stop();
    }
}

/// The subscriber over `writer`, not yet installed.
pub(crate) fn build<W>(
    options: &TelemetryOptions,
    writer: W,
    colours: bool,
) -> Result<(impl Subscriber + Send + Sync + 'static, Guard), InitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let provider = provider(options)?;
    let guard = Guard { provider: Some(provider.clone()) };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("slipway"))
        // Fewer attributes a span: they are computed for every request.
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(is_traced).with_max_level_hint(LevelFilter::INFO));

    // Spans pass the log's filter too, because log lines carry the fields of their spans.
    let lines = log_filter(&options.log_filter)?
        .or(filter_fn(is_span).with_max_level_hint(LevelFilter::INFO))
        .and(filter_fn(is_no_wire_dump).with_max_level_hint(LevelFilter::TRACE));
    let log = match options.log_format {
        LogFormat::Json => JsonLines::new(writer).with_filter(lines).boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(colours)
            .with_filter(lines)
            .boxed(),
    };
    Ok((tracing_subscriber::registry().with(spans).with(log), guard))
}

fn log_filter(text: &str) -> Result<EnvFilter, InitError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(text)
        .map_err(|error| InitError::Filter { filter: text.to_owned(), why: error.to_string() })
}

fn is_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO
}

/// At trace level lapin writes down every frame, the one with the password too.
fn is_no_wire_dump(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || !metadata.target().starts_with("lapin")
}

/// Spans, and what went wrong in them. The exporter's own doings are left out, or each export
/// would cause another.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    // lapin's spans last as long as their connection, and say nothing.
    const OWN: [&str; 6] = ["opentelemetry", "reqwest", "hyper", "h2", "rustls", "lapin"];
    let least = if metadata.is_span() { Level::INFO } else { Level::WARN };
    *metadata.level() <= least && !OWN.iter().any(|own| metadata.target().starts_with(own))
}

fn provider(options: &TelemetryOptions) -> Result<SdkTracerProvider, InitError> {
    let ratio = options.trace_sample_ratio;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(InitError::SampleRatio(ratio));
    }
    let mut resource = Resource::builder().with_service_name(options.service_name.clone());
    if !options.service_version.is_empty() {
        resource = resource
            .with_attribute(KeyValue::new("service.version", options.service_version.clone()));
    }
    // The sampler is the same with and without an exporter: a process that exports nothing still
    // passes its decision on to those that do.
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .with_resource(resource.build());
    let provider = match &options.otlp_endpoint {
        Some(endpoint) => provider.with_batch_exporter(exporter::otlp(endpoint)?),
        None => provider,
    };
    Ok(provider.build())
}

/// A panic's message would break the JSON lines; it becomes one of them.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("a panic without a message");
        tracing::error!(target: "panic", location, "panicked: {what}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_and_a_bad_ratio_are_refused() {
        let options =
            TelemetryOptions { log_filter: "info,slipway=shout".into(), ..Default::default() };
        let error = build(&options, std::io::sink, false).err().unwrap().to_string();
        assert!(error.contains("slipway=shout") && error.contains("info"), "{error}");

        for ratio in [-0.1, 1.1, f64::NAN] {
            let options = TelemetryOptions { trace_sample_ratio: ratio, ..Default::default() };
            assert!(matches!(
                build(&options, std::io::sink, false).err().unwrap(),
                InitError::SampleRatio(_)
            ));
        }
    }

    #[test]
    fn a_bad_endpoint_is_refused() {
        for endpoint in ["", "ftp://127.0.0.1", "http://", "collector:4318"] {
            let options =
                TelemetryOptions { otlp_endpoint: Some(endpoint.into()), ..Default::default() };
            let error = build(&options, std::io::sink, false).err().unwrap();
            assert!(matches!(error, InitError::Exporter(_)), "{endpoint}: {error}");
        }
    }
}
