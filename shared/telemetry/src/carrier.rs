//! Trace context on its way between processes, in W3C form: HTTP headers (`traceparent`,
//! `tracestate`), job rows and the environment of child processes (`traceparent` alone).
//!
//! Whatever comes from outside is checked; what does not parse is as good as absent.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// `00-<32>-<16>-<2>`
const TRACEPARENT_LEN: usize = 55;
const MAX_TRACESTATE_LEN: usize = 512;

/// The `traceparent` of the span that is current here; `None` outside of spans and where no
/// telemetry is set up.
pub fn current_traceparent() -> Option<String> {
    traceparent(&Context::current())
}

/// The `traceparent` of `span`, to be given to what runs on its behalf. It fixes the span's
/// parent: call [`set_parent`] before.
pub fn traceparent_of(span: &tracing::Span) -> Option<String> {
    traceparent(&span.context())
}

/// The trace id (32 lower-case hexadecimal digits) in a `traceparent`; `None` when it is not one.
pub fn trace_id_of(traceparent: &str) -> Option<&str> {
    check(traceparent).map(|()| &traceparent[3..35])
}

/// Makes `span` a child of the span that `traceparent` names. Nothing happens when there is none
/// or it is not valid. Call it before the span is entered; later is too late.
pub fn set_parent(span: &tracing::Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent else { return };
    if check(traceparent).is_none() {
        tracing::debug!("a traceparent that is not valid is ignored");
        return;
    }
    adopt(span, &Carried { traceparent, tracestate: None });
}

/// Makes `span` a child of the span that a request's headers name, `tracestate` included.
/// Nothing happens when they name none. Call it before the span is entered.
pub fn set_parent_from(span: &tracing::Span, headers: &HeaderMap) {
    let Some(traceparent) = only(headers, TRACEPARENT).filter(|text| check(text).is_some()) else {
        return;
    };
    let tracestate = only(headers, TRACESTATE).filter(|text| text.len() <= MAX_TRACESTATE_LEN);
    adopt(span, &Carried { traceparent, tracestate });
}

/// The valid `traceparent` of a request, if it has one.
pub fn extract(headers: &HeaderMap) -> Option<String> {
    let traceparent = only(headers, TRACEPARENT)?;
    check(traceparent).map(|()| traceparent.to_owned())
}

/// Writes the current span's context into the headers of an outgoing request, in place of what
/// is there. Nothing happens outside of spans.
pub fn inject(headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&Context::current(), &mut Headers(headers));
}

fn traceparent(context: &Context) -> Option<String> {
    let mut text = Sheet(None);
    TraceContextPropagator::new().inject_context(context, &mut text);
    text.0
}

fn adopt(span: &tracing::Span, carried: &Carried<'_>) {
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), carried);
    if !parent.span().span_context().is_valid() {
        return;
    }
    if let Err(error) = span.set_parent(parent) {
        tracing::debug!(%error, "a span has no parent from outside");
    }
}

/// Whether the text is a `traceparent` by the letter of the recommendation. The propagator alone
/// is laxer: it takes short ids.
fn check(text: &str) -> Option<()> {
    let hex = |range: std::ops::Range<usize>| {
        text.as_bytes()
            .get(range)
            .is_some_and(|part| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    };
    let dash = |at: usize| text.as_bytes().get(at) == Some(&b'-');
    let zero = |range: std::ops::Range<usize>| text.as_bytes()[range].iter().all(|b| *b == b'0');
    let shaped = hex(0..2)
        && dash(2)
        && hex(3..35)
        && dash(35)
        && hex(36..52)
        && dash(52)
        && hex(53..TRACEPARENT_LEN);
    if !shaped || text.starts_with("ff") || zero(3..35) || zero(36..52) {
        return None;
    }
    // A later version may have more parts; version 00 has none.
    let ends = text.len() == TRACEPARENT_LEN
        || (!text.starts_with("00") && dash(TRACEPARENT_LEN) && text.len() <= 256);
    ends.then_some(())
}

/// The header's value when it is there exactly once; a request with two has none that counts.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}

struct Carried<'t> {
    traceparent: &'t str,
    tracestate: Option<&'t str>,
}

impl Extractor for Carried<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.traceparent),
            TRACESTATE => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

/// Takes the `traceparent` alone.
struct Sheet(Option<String>);

impl Injector for Sheet {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = Some(value);
        }
    }
}

struct Headers<'h>(&'h mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(text)) = (name, HeaderValue::from_str(&value)) {
            if value.is_empty() {
                self.0.remove(name);
            } else {
                self.0.insert(name, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::{TelemetryOptions, build};

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn traced<T>(work: impl FnOnce() -> T) -> T {
        let options = TelemetryOptions { log_filter: "off".into(), ..Default::default() };
        let (subscriber, _guard) = build(&options, std::io::sink, false).unwrap();
        tracing::subscriber::with_default(subscriber, work)
    }

    #[test]
    fn a_trace_goes_from_a_request_through_a_row_to_a_job() {
        traced(|| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_static(PARENT));
            let request = tracing::info_span!("request");
            set_parent(&request, extract(&headers).as_deref());
            let row = request.in_scope(current_traceparent).unwrap();
            assert_eq!(trace_id_of(&row), Some(TRACE));
            assert_ne!(row, PARENT, "the row names the request's own span");
            assert!(row.ends_with("-01"), "the decision to record is kept");

            let job = tracing::info_span!("job");
            set_parent(&job, Some(&row));
            let child = traceparent_of(&job).unwrap();
            assert_eq!(trace_id_of(&child), Some(TRACE));
            assert_ne!(child, row);

            let mut outgoing = HeaderMap::new();
            job.in_scope(|| inject(&mut outgoing));
            assert_eq!(outgoing[TRACEPARENT], child.as_str());
            assert!(!outgoing.contains_key(TRACESTATE));
        });
    }

    #[test]
    fn spans_without_a_parent_begin_a_trace_of_their_own() {
        traced(|| {
            assert_eq!(current_traceparent(), None);
            let span = |parent: Option<&str>| {
                let span = tracing::info_span!("root");
                set_parent(&span, parent);
                span.in_scope(current_traceparent).unwrap()
            };
            let (one, two) = (span(None), span(Some("rubbish")));
            assert_ne!(trace_id_of(&one).unwrap(), trace_id_of(&two).unwrap());
        });
    }

    #[test]
    fn the_state_of_a_trace_goes_along_in_headers() {
        traced(|| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_static(PARENT));
            headers.insert(TRACESTATE, HeaderValue::from_static("vendor=abc"));
            let span = tracing::info_span!("request");
            set_parent_from(&span, &headers);
            let mut outgoing = HeaderMap::new();
            span.in_scope(|| inject(&mut outgoing));
            assert_eq!(outgoing[TRACESTATE], "vendor=abc");
            assert_eq!(trace_id_of(outgoing[TRACEPARENT].to_str().unwrap()), Some(TRACE));
        });
    }

    #[test]
    fn a_trace_that_is_not_recorded_elsewhere_is_not_recorded_here() {
        traced(|| {
            let span = tracing::info_span!("request");
            set_parent(&span, Some(&PARENT.replace("-01", "-00")));
            let own = span.in_scope(current_traceparent).unwrap();
            assert_eq!(trace_id_of(&own), Some(TRACE));
            assert!(own.ends_with("-00"), "{own}");
        });
    }

    #[test]
    fn nothing_is_invented_without_telemetry() {
        assert_eq!(current_traceparent(), None);
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        assert!(headers.is_empty());
        let span = tracing::info_span!("dark");
        set_parent(&span, Some(PARENT));
        assert_eq!(traceparent_of(&span), None);
    }

    #[test]
    fn only_what_the_recommendation_allows_is_taken() {
        assert_eq!(trace_id_of(PARENT), Some(TRACE));
        assert_eq!(trace_id_of(&format!("cc{}-more", &PARENT[2..])), Some(TRACE));
        for bad in [
            "",
            "00",
            "00-1-1-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "äöü-0af7651916cd43dd8448eb211c80319c-b7ad6b716920-01",
        ] {
            assert_eq!(trace_id_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(extract(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert_eq!(extract(&headers).as_deref(), Some(PARENT));
        headers.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert_eq!(extract(&headers), None);
    }
}
