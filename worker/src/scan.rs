//! Shows a source to scanners while its plan is made.

use std::sync::Arc;

use slipway_domain::port::driver::{DriverError, Run as _};
use slipway_domain::port::scanner::ScanInput;
use slipway_domain::scan::{ScanOutcome, ScanStatus};
use slipway_services::gate;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::Shared;
use crate::run::JobRun;

/// Scans of a source that go on beside something else. They are stopped when this is dropped.
pub(crate) struct Scans(JoinHandle<Vec<ScanOutcome>>);

impl Drop for Scans {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scans {
    /// Begins as soon as the driver has laid out the source.
    pub(crate) fn beside(shared: &Shared, run: &Arc<JobRun>) -> Self {
        let (cx, scanners) = (shared.cx.clone(), shared.tools.scanners.clone());
        let (run, most) = (run.clone(), shared.options.scan_time_limit);
        let scanning = async move {
            let (source, root) = run.source().await;
            let settings = match gate::wanted_scans(&cx, run.deployment_id()).await {
                Ok(settings) => settings,
                Err(fault) => {
                    // The gate finds nobody who answered, and says so.
                    tracing::warn!(%fault, "which scanners are wanted could not be read");
                    return Vec::new();
                }
            };
            let input = ScanInput { source, root, plan: None, time_limit: most };
            match scanners {
                _ if settings.scanners.is_empty() => Vec::new(),
                Some(scanners) => scanners.scan_all(&settings, &*run, &input).await,
                None => {
                    let why = "this worker has no scanners".to_owned();
                    let missing = ScanStatus::Missing { why };
                    let wanted = settings.scanners.iter();
                    wanted.map(|s| ScanOutcome::without(s.name, missing.clone())).collect()
                }
            }
        };
        Self(tokio::spawn(scanning.in_current_span()))
    }

    /// What they said, when they have ended.
    ///
    /// # Errors
    /// The run was asked to stop before they had looked at everything: a gate must not take that for
    /// all that there is to say.
    pub(crate) async fn ended(mut self, run: &JobRun) -> Result<Vec<ScanOutcome>, DriverError> {
        // A driver that shows no source has none that could be looked at: the gate finds nobody who
        // answered.
        if !run.has_source() {
            return Ok(Vec::new());
        }
        if run.stop().is_some() && !self.0.is_finished() {
            return Err(DriverError::Stopped);
        }
        let outcomes = match run.flushing_beside(&mut self.0).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::error!(%error, "the scans broke down");
                Vec::new()
            }
        };
        let failed = |outcome: &ScanOutcome| matches!(outcome.status, ScanStatus::Failed { .. });
        if run.stop().is_some() && outcomes.iter().any(failed) {
            return Err(DriverError::Stopped);
        }
        Ok(outcomes)
    }
}
