//! Log lines as JSON: `timestamp`, `level`, `target`, `message`, then the fields of the event and
//! of the spans around it, then `trace_id` and `span_id`, all at the top level.
//!
//! A field of an inner span hides the same field of an outer one; the event's hides both. A field
//! that is called like one of the six is written as `fields.NAME`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::OnceLock;

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::Value;
use tracing::dispatcher::WeakDispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// A longer value is cut; a log line is no place for a document.
const MAX_VALUE_BYTES: usize = 8 * 1024;
const RESERVED: [&str; 6] = ["timestamp", "level", "target", "message", "trace_id", "span_id"];

/// Writes every event as one line.
pub(crate) struct JsonLines<W> {
    writer: W,
    dispatch: OnceLock<WeakDispatch>,
}

impl<W> JsonLines<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer, dispatch: OnceLock::new() }
    }

    /// The ids that the line carries: of the parent that the event names, else of the span that
    /// it happened in.
    fn ids(&self, event: &Event<'_>) -> Option<SpanContext> {
        let context = if let Some(parent) = event.parent() {
            let dispatch = self.dispatch.get()?.upgrade()?;
            tracing_opentelemetry::get_otel_context(parent, &dispatch)?
        } else if event.is_contextual() {
            opentelemetry::Context::current()
        } else {
            return None;
        };
        let ids = context.span().span_context().clone();
        ids.is_valid().then_some(ids)
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        let _ = self.dispatch.set(subscriber.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().replace(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        if let Some(scope) = cx.event_scope(event) {
            for span in scope.from_root() {
                if let Some(of_span) = span.extensions().get::<Fields>() {
                    fields.0.extend(of_span.0.clone());
                }
            }
        }
        event.record(&mut fields);
        let mut line = Vec::with_capacity(512);
        if write_line(&mut line, event, fields, self.ids(event).as_ref()).is_ok() {
            line.push(b'\n');
            // One write a line, so that lines of several threads do not mix. A log that cannot
            // be written has nowhere to say so.
            let _ = self.writer.make_writer_for(event.metadata()).write_all(&line);
        }
    }
}

fn write_line(
    line: &mut Vec<u8>,
    event: &Event<'_>,
    mut fields: Fields,
    ids: Option<&SpanContext>,
) -> serde_json::Result<()> {
    let metadata = event.metadata();
    // Records of the `log` facade carry their target in a field.
    let target = match fields.0.remove("log.target") {
        Some(Value::String(target)) => target,
        _ => metadata.target().to_owned(),
    };
    fields.0.retain(|name, _| !name.starts_with("log."));
    let message = match fields.0.remove("message") {
        Some(Value::String(message)) if !message.is_empty() => message,
        Some(other) if !other.is_string() => other.to_string(),
        // Some libraries put what they have to say into the event's name.
        _ => metadata.name().to_owned(),
    };

    let mut json = serde_json::Serializer::new(line);
    let mut map = json.serialize_map(None)?;
    map.serialize_entry("timestamp", &now())?;
    map.serialize_entry("level", metadata.level().as_str())?;
    map.serialize_entry("target", &target)?;
    map.serialize_entry("message", &message)?;
    for (name, value) in &fields.0 {
        if RESERVED.contains(&name.as_str()) {
            map.serialize_entry(&format!("fields.{name}"), value)?;
        } else {
            map.serialize_entry(name, value)?;
        }
    }
    if let Some(ids) = ids {
        map.serialize_entry("trace_id", &ids.trace_id().to_string())?;
        map.serialize_entry("span_id", &ids.span_id().to_string())?;
    }
    map.end()
}

fn now() -> String {
    let mut text = String::with_capacity(32);
    // Writing into a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Fields of a span or an event.
#[derive(Default)]
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        self.0.insert(name.strip_prefix("r#").unwrap_or(name).to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinity.
        let number = serde_json::Number::from_f64(value);
        self.put(field, number.map_or_else(|| Value::String(value.to_string()), Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Bounded::default();
        let _ = text.write_str(value);
        self.put(field, text.0);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = Bounded::default();
        let _ = write!(text, "{value}");
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.put(field, text.0);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded::default();
        let _ = write!(text, "{value:?}");
        self.put(field, text.0);
    }
}

/// Text up to [`MAX_VALUE_BYTES`]; refuses more, so that a huge value is not even formatted.
#[derive(Default)]
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_VALUE_BYTES.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::carrier;
    use crate::setup::{LogFormat, TelemetryOptions, build};

    /// A log that can be read back.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn text_of(options: &TelemetryOptions, work: impl FnOnce()) -> String {
        let memory = Memory::default();
        let to = memory.clone();
        let (subscriber, guard) = build(options, move || to.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        guard.shutdown().unwrap();
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn lines_of(filter: &str, work: impl FnOnce()) -> Vec<serde_json::Map<String, Value>> {
        let options = TelemetryOptions { log_filter: filter.into(), ..Default::default() };
        text_of(&options, work).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_its_fields_at_the_top_level() {
        let lines = lines_of("info", || {
            tracing::info!(queue = "plan", attempt = 2, ratio = 0.5, ok = true,
                error = %io::Error::other("no room"), "job {}", "ended");
            tracing::debug!("not shown");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let stamp = line["timestamp"].as_str().unwrap();
        assert!(stamp.ends_with('Z') && stamp.len() == "2026-01-02T03:04:05.678901Z".len());
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], "slipway_telemetry::json::tests");
        assert_eq!(line["message"], "job ended");
        assert_eq!(line["queue"], "plan");
        assert_eq!(line["attempt"], 2);
        assert_eq!(line["ratio"], 0.5);
        assert_eq!(line["ok"], true);
        assert_eq!(line["error"], "no room");
        assert!(!line.contains_key("trace_id") && !line.contains_key("span_id"));
    }

    #[test]
    fn frames_with_passwords_are_not_logged_whatever_the_filter_says() {
        for filter in ["trace", "lapin=trace", "lapin::io_loop=trace"] {
            let lines = lines_of(filter, || {
                tracing::trace!(target: "lapin::io_loop", "StartOk response: hunter2");
                tracing::debug!(target: "lapin::channels", "create channel");
                tracing::error!(target: "lapin::io_loop", "error doing IO");
            });
            assert!(!format!("{lines:?}").contains("hunter2"), "{lines:?}");
            assert!(format!("{lines:?}").contains("error doing IO"), "{lines:?}");
        }
    }

    #[test]
    fn lines_in_a_span_have_its_fields_and_its_ids_without_an_exporter() {
        let mut traceparent = None;
        let lines = lines_of("info", || {
            let job = tracing::info_span!(
                "job",
                job_id = "job_1",
                kind = "plan",
                late = tracing::field::Empty
            );
            job.in_scope(|| {
                traceparent = carrier::current_traceparent();
                tracing::Span::current().record("late", 7);
                tracing::info!("outer");
                tracing::info_span!("step", kind = "init").in_scope(|| tracing::info!("inner"));
                tracing::info!(kind = "own", "again");
            });
            tracing::info!(parent: &job, "from outside");
            tracing::info!(parent: None, "root");
        });
        let traceparent = traceparent.unwrap();
        let trace_id = carrier::trace_id_of(&traceparent).unwrap();
        assert_eq!(lines.len(), 5);
        for line in &lines[..4] {
            assert_eq!(line["trace_id"], trace_id, "{line:?}");
            assert_eq!(line["job_id"], "job_1");
            assert_eq!(line["late"], 7);
        }
        let span_id = &traceparent[36..52];
        assert_eq!(lines[0]["span_id"], span_id);
        assert_eq!(lines[0]["kind"], "plan");
        assert_ne!(lines[1]["span_id"], span_id);
        assert_eq!(lines[1]["kind"], "init");
        assert_eq!(lines[2]["kind"], "own");
        assert_eq!(lines[3]["span_id"], span_id);
        assert!(!lines[4].contains_key("trace_id"));
    }

    #[test]
    fn a_quiet_log_keeps_ids_and_span_fields() {
        let lines = lines_of("warn", || {
            tracing::info_span!("job", job_id = "job_2").in_scope(|| {
                tracing::info!("not shown");
                tracing::warn!("shown");
            });
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line["job_id"], "job_2");
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
        assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    }

    #[test]
    fn filters_by_module() {
        let lines = lines_of("warn,chatty=debug", || {
            tracing::debug!(target: "chatty", "shown");
            tracing::info!("not shown");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line["target"], "chatty");
    }

    #[test]
    fn a_field_cannot_pose_as_one_of_ours() {
        let lines = lines_of("info", || {
            tracing::info_span!("s", message = "span", trace_id = "forged").in_scope(|| {
                tracing::info!(level = "loud", timestamp = 1, "real");
            });
        });
        let line = &lines[0];
        assert_eq!(line["message"], "real");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
        assert_eq!(line["fields.level"], "loud");
        assert_eq!(line["fields.timestamp"], 1);
        assert_eq!(line["fields.trace_id"], "forged");
    }

    #[test]
    fn odd_values_still_give_one_line_of_json() {
        let long = "ü".repeat(MAX_VALUE_BYTES);
        let lines = lines_of("info", || {
            tracing::info!(text = "two\nlines \"quoted\" \u{1b}[31m", nan = f64::NAN, long, "odd");
            tracing::info!(shape = ?(1, "two"));
        });
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["text"], "two\nlines \"quoted\" \u{1b}[31m");
        assert_eq!(lines[0]["nan"], "NaN");
        let kept = lines[0]["long"].as_str().unwrap();
        assert!(kept.len() <= MAX_VALUE_BYTES + 4 && kept.ends_with('…'));
        assert_eq!(lines[1]["shape"], "(1, \"two\")");
        assert!(lines[1]["message"].as_str().unwrap().starts_with("event "));
    }

    #[test]
    fn the_chain_of_causes_is_told() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let lines = lines_of("info", || {
            let error = Outer(io::Error::other("inner"));
            tracing::error!(error = &error as &dyn Error, "failed");
        });
        assert_eq!(lines[0]["error"], "outer: inner");
    }

    #[test]
    fn text_is_for_people() {
        let options = TelemetryOptions { log_format: LogFormat::Text, ..Default::default() };
        let text = text_of(&options, || {
            tracing::info_span!("job", job_id = "job_3").in_scope(|| tracing::info!("hello"));
        });
        assert!(
            text.contains("INFO") && text.contains("hello") && text.contains("job_3"),
            "{text}"
        );
        assert!(!text.starts_with('{') && !text.contains('\u{1b}'));
    }
}
