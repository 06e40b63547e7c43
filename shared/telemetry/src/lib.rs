//! What the house says about itself: logs, traces and metrics.
//!
//! - [`Telemetry::init`] sets up logs on stderr (JSON lines or text) and spans (exported by
//!   OTLP/HTTP when an endpoint is given; trace ids exist either way), once a process.
//! - [`carrier`] moves trace context over HTTP headers, job rows and `TRACEPARENT`.
//! - [`metrics`] has every metric and its name.
//!
//! It holds no configuration, no HTTP server and no global registry: whoever counts something is
//! handed a [`metrics::Metrics`].

pub mod carrier;
mod exporter;
mod json;
pub mod metrics;
mod setup;

pub use metrics::Metrics;
pub use setup::{FlushError, Guard, InitError, LogFormat, Telemetry, TelemetryOptions};
