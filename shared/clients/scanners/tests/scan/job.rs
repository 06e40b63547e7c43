//! A job that scans.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use slipway_client_scanners::{Options, Scanners};
use slipway_domain::event::EventBody;
use slipway_domain::log::NewLogLine;
use slipway_domain::port::driver::{DriverError, Run, StateBlob, Stop};
use slipway_domain::port::scanner::{Scan as _, ScanInput};
use slipway_domain::redact::Redactor;
use slipway_domain::scan::{ScanOutcome, ScanSettings, ScannerName, ScannerSettings};
use tokio::sync::watch;

/// See the module.
pub(crate) struct Job {
    dir: tempfile::TempDir,
    pub(crate) stop: watch::Sender<Option<Stop>>,
    pub(crate) redactor: Redactor,
    log: Mutex<Vec<NewLogLine>>,
    hidden: Mutex<Vec<String>>,
}

impl Job {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            stop: watch::Sender::new(None),
            redactor: Redactor::default(),
            log: Mutex::default(),
            hidden: Mutex::default(),
        }
    }

    /// Everything that was logged.
    pub(crate) fn said(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|line| line.text.clone()).collect()
    }

    /// What it was told to hide.
    pub(crate) fn hidden(&self) -> Vec<String> {
        self.hidden.lock().unwrap().clone()
    }

    /// What is left in its directory.
    pub(crate) fn left(&self) -> usize {
        std::fs::read_dir(self.dir.path()).unwrap().count()
    }
}

#[async_trait]
impl Run for Job {
    fn workspace(&self) -> &Path {
        self.dir.path()
    }

    fn redactor(&self) -> Redactor {
        self.redactor.clone()
    }

    fn hide(&self, secrets: Vec<String>) {
        self.hidden.lock().unwrap().extend(secrets);
    }

    fn log(&self, line: NewLogLine) {
        self.log.lock().unwrap().push(line);
    }

    fn event(&self, _event: EventBody) {}

    async fn save_state(&self, _state: StateBlob) -> Result<(), DriverError> {
        Err(DriverError::Fenced)
    }

    fn stop(&self) -> Option<Stop> {
        *self.stop.borrow()
    }

    async fn stopped(&self, at_least: Stop) -> Stop {
        let mut seen = self.stop.subscribe();
        let stop = *seen.wait_for(|stop| stop.is_some_and(|s| s >= at_least)).await.unwrap();
        stop.unwrap()
    }
}

/// A file among the fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn input(source: &Path) -> ScanInput {
    ScanInput {
        source: source.to_path_buf(),
        root: None,
        plan: None,
        time_limit: Duration::from_mins(4),
    }
}

pub(crate) fn settings(names: &[ScannerName]) -> ScanSettings {
    ScanSettings {
        scanners: names.iter().copied().map(ScannerSettings::new).collect(),
        ..ScanSettings::default()
    }
}

/// Asks one scanner.
pub(crate) async fn scan(
    options: Options,
    name: ScannerName,
    job: &Job,
    input: &ScanInput,
) -> ScanOutcome {
    let scanners = Scanners::discover(options).await;
    let mut outcomes = scanners.scan_all(&settings(&[name]), job, input).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}
