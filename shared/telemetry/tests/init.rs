//! Setting up a whole process: once, with panics as log lines, and an end that comes.

use slipway_telemetry::{InitError, Telemetry, TelemetryOptions, carrier};

#[test]
fn a_process_is_set_up_once() {
    let options = TelemetryOptions { log_filter: "error".into(), ..Default::default() };
    let guard = Telemetry::init(&options).unwrap();
    assert!(matches!(Telemetry::init(&options), Err(InitError::Already)));

    let seen = tracing::info_span!("first").in_scope(carrier::current_traceparent).unwrap();
    assert!(carrier::trace_id_of(&seen).is_some());
    guard.shutdown().unwrap();
    let after = tracing::info_span!("late").in_scope(carrier::current_traceparent);
    assert_eq!(after, None);
}

/// The child of `a_panic_is_a_log_line` is this very test in another process.
const CHILD: &str = "SLIPWAY_TEST_PANICKING_CHILD";

#[test]
fn a_panic_is_a_log_line() {
    if std::env::var_os(CHILD).is_some() {
        let guard = Telemetry::init(&TelemetryOptions::default()).unwrap();
        let job = || tracing::info_span!("job", job_id = "job_9").in_scope(|| panic!("boom {}", 1));
        std::thread::spawn(job).join().unwrap_err();
        guard.shutdown().unwrap();
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "a panic hook is tested in a process of its own")]
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_is_a_log_line", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8(child.stderr).unwrap();
    let line: serde_json::Value = text
        .lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap_or_else(|| panic!("no JSON line in {text:?}"));
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], "panicked: boom 1");
    assert_eq!(line["job_id"], "job_9");
    assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
    assert!(line["location"].as_str().unwrap().contains("init.rs"));
}
