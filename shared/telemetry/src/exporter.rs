//! Sends spans to a collector by OTLP over HTTP (protobuf).
//!
//! The batch processor calls the exporter on a thread of its own that has no async runtime, so
//! the client is the blocking one: it works with and without a runtime, and a flush at the end of
//! a process cannot dead-lock with it.

use std::time::Duration;

use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};

use crate::setup::InitError;

/// One attempt, and all attempts of one batch together.
const TIMEOUT: Duration = Duration::from_secs(5);
const TRACES_PATH: &str = "/v1/traces";

/// An exporter to the collector at `endpoint` (its base URL).
pub(crate) fn otlp(endpoint: &str) -> Result<SpanExporter, InitError> {
    SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(client()?)
        .with_endpoint(traces_url(endpoint)?)
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|error| InitError::Exporter(error.to_string()))
}

fn traces_url(endpoint: &str) -> Result<String, InitError> {
    let base = endpoint.trim_end_matches('/');
    let url =
        if base.ends_with(TRACES_PATH) { base.to_owned() } else { format!("{base}{TRACES_PATH}") };
    let usable = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if usable {
        Ok(url)
    } else {
        Err(InitError::Exporter(
            "the OTLP endpoint must be the collector's base URL, e.g. http://127.0.0.1:4318"
                .to_owned(),
        ))
    }
}

/// Built on a thread of its own, because it may not be built where a runtime runs.
fn client() -> Result<reqwest::blocking::Client, InitError> {
    std::thread::spawn(|| {
        reqwest::blocking::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
    })
    .join()
    .map_err(|_| InitError::Exporter("the HTTP client could not be built".to_owned()))?
    .map_err(|error| InitError::Exporter(format!("the HTTP client could not be built: {error}")))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::setup::{TelemetryOptions, build};

    #[test]
    fn the_path_is_added_once() {
        for endpoint in [
            "http://c:4318",
            "http://c:4318/",
            "http://c:4318/v1/traces",
            "http://c:4318/v1/traces/",
        ] {
            assert_eq!(traces_url(endpoint).unwrap(), "http://c:4318/v1/traces");
        }
        assert_eq!(traces_url("https://c/otlp").unwrap(), "https://c/otlp/v1/traces");
    }

    /// Answers one request; gives its first line and its body.
    fn collector() -> (String, std::thread::JoinHandle<(String, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut first = String::new();
            reader.read_line(&mut first).unwrap();
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            (first.trim().to_owned(), body)
        });
        (url, serving)
    }

    #[test]
    fn spans_reach_the_collector_on_shutdown() {
        let (url, serving) = collector();
        let options = TelemetryOptions {
            service_name: "slipway-under-test".into(),
            service_version: "9.8.7".into(),
            otlp_endpoint: Some(url),
            log_filter: "off".into(),
            ..Default::default()
        };
        let (subscriber, guard) = build(&options, std::io::sink, false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("plan_the_stack", stack = "web").in_scope(|| {
                tracing::info!("this is a log line, no span event");
            });
        });
        guard.shutdown().unwrap();
        let (first, body) = serving.join().unwrap();
        assert_eq!(first, "POST /v1/traces HTTP/1.1");
        let body = String::from_utf8_lossy(&body);
        for part in ["slipway-under-test", "9.8.7", "plan_the_stack", "web"] {
            assert!(body.contains(part), "{part} is missing");
        }
        assert!(!body.contains("log line"));
    }

    #[test]
    fn a_dead_collector_is_an_error_and_not_a_hang() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let options = TelemetryOptions {
            otlp_endpoint: Some(endpoint),
            log_filter: "off".into(),
            ..Default::default()
        };
        let (subscriber, guard) = build(&options, std::io::sink, false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("lost").in_scope(|| ());
        });
        let began = std::time::Instant::now();
        assert!(guard.shutdown().is_err());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
