//! `[telemetry]`: logs and traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Text for people.
    Text,
}

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or directives such as
    /// `info,slipway_worker=debug`.
    #[schemars(extend("x-kind" = "text"))]
    pub log_level: String,
    /// Base URL of an OTLP/HTTP collector that spans are sent to, e.g. `http://127.0.0.1:4318`;
    /// not set, none are sent. Credentials go into `OTEL_EXPORTER_OTLP_HEADERS`.
    pub otlp_endpoint: Option<String>,
    /// `service.name` of spans.
    pub service_name: String,
    /// Share of traces that are recorded, 0.0 to 1.0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub trace_sample_ratio: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log_format: LogFormat::default(),
            log_level: "info".to_owned(),
            otlp_endpoint: None,
            service_name: "slipway".to_owned(),
            trace_sample_ratio: 1.0,
        }
    }
}

impl Telemetry {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        if self.service_name.trim().is_empty() {
            problems.push(Problem::at("telemetry.service_name", "it must not be empty"));
        }
        if let Some(endpoint) = &self.otlp_endpoint {
            let rest = ["http://", "https://"].iter().find_map(|s| endpoint.strip_prefix(s));
            let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
            let what = match host {
                None | Some("") => "it must be a URL such as http://127.0.0.1:4318",
                Some(host) if host.contains('@') => {
                    "credentials may not be part of it; put them into OTEL_EXPORTER_OTLP_HEADERS"
                }
                Some(_) => return,
            };
            problems.push(Problem::at("telemetry.otlp_endpoint", what));
        }
    }
}
