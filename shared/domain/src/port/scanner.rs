//! The scanner port: how a tool of another maker looks at a source.
//!
//! A scanner gets a directory and reports findings. It never fails as such: how it ended is part of
//! the outcome, because a scan that did not happen is something the gate must know.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::driver::Run;
use crate::scan::{ScanOutcome, ScanSettings, ScannerName};

/// What is scanned. The source may be hostile.
#[derive(Debug, Clone)]
pub struct ScanInput {
    /// The source tree, unpacked. It is read, never written to.
    pub source: PathBuf,
    /// Directory of the root module inside of it; the top when absent.
    pub root: Option<String>,
    /// The plan as JSON, for scanners that can read it. It may hold secrets.
    pub plan: Option<PathBuf>,
    /// How long the scan may take.
    pub time_limit: Duration,
}

/// A scanner that is installed.
#[async_trait]
pub trait Scanner: Send + Sync {
    /// Which one.
    fn name(&self) -> ScannerName;

    /// Its version, as far as it tells one.
    fn version(&self) -> Option<&str>;

    /// Looks at a source, in the run's directory, and ends when the run is stopped.
    async fn scan(&self, run: &dyn Run, input: &ScanInput) -> ScanOutcome;
}

/// The scanners of a worker.
#[async_trait]
pub trait Scan: Send + Sync {
    /// Asks every scanner that the settings name, next to each other, and answers in their order.
    /// `input.time_limit` is the most for each, beside the limit of its own settings. It does not
    /// fail: what did not work is in the outcome. Dropping the future kills what runs.
    async fn scan_all(
        &self,
        settings: &ScanSettings,
        run: &dyn Run,
        input: &ScanInput,
    ) -> Vec<ScanOutcome>;
}
