//! Has a tool of another maker say what a plan costs, where the gates ask for that.

use std::sync::Arc;
use std::time::Duration;

use slipway_domain::port::driver::{DriverError, Planned, Run as _};
use slipway_domain::port::estimator::{EstimateInput, EstimateStatus, Estimated};
use slipway_services::gate;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::Shared;
use crate::run::JobRun;

/// An estimate that goes on beside the writing of its log. It is stopped when this is dropped.
struct Asking(JoinHandle<Estimated>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What it says of a plan that has just been made. `None`: nobody wants to know, or nobody answered
/// at all; the gate knows which.
///
/// # Errors
/// The run was asked to stop before it had answered.
pub(crate) async fn estimated(
    shared: &Shared,
    run: &Arc<JobRun>,
    planned: &Planned,
) -> Result<Option<Estimated>, DriverError> {
    // A plan without changes goes before no gate, and without a document there is nothing to ask.
    if planned.no_changes || planned.document.is_empty() {
        return Ok(None);
    }
    let rules = match gate::wanted_estimate(&shared.cx, run.deployment_id()).await {
        Ok(rules) => rules,
        Err(fault) => {
            // The gate finds that nobody answered, and says so.
            tracing::warn!(%fault, "whether an estimate is wanted could not be read");
            return Ok(None);
        }
    };
    let Some(wanted) = rules.infracost else { return Ok(None) };
    let Some(estimator) = shared.tools.estimator.clone() else {
        return Ok(Some(Estimated::missing("this worker has no infracost")));
    };
    if run.stop().is_some() {
        return Err(DriverError::Stopped);
    }
    let input = EstimateInput {
        document: planned.document.clone(),
        currency: rules.estimate.currency,
        time_limit: Duration::from_secs(wanted.time_limit_s.into()),
    };
    let its_run = run.clone();
    let asking = async move { estimator.estimate(&*its_run, &input).await };
    let mut asking = Asking(tokio::spawn(asking.in_current_span()));
    match run.flushing_beside(&mut asking.0).await {
        Ok(Estimated { status: EstimateStatus::Failed { .. }, .. }) if run.stop().is_some() => {
            Err(DriverError::Stopped)
        }
        Ok(estimated) => Ok(Some(estimated)),
        Err(error) => {
            tracing::error!(%error, "the estimate broke down");
            Ok(None)
        }
    }
}
