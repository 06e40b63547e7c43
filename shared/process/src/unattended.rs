//! A [`Run`] for commands that belong to no job: nothing is kept and nobody asks it to stop.

use std::path::Path;

use async_trait::async_trait;
use slipway_domain::event::EventBody;
use slipway_domain::log::NewLogLine;
use slipway_domain::port::driver::{DriverError, Run, StateBlob, Stop};
use slipway_domain::redact::Redactor;

/// See the module.
pub struct Unattended;

#[async_trait]
impl Run for Unattended {
    fn workspace(&self) -> &Path {
        Path::new("/nonexistent")
    }

    fn redactor(&self) -> Redactor {
        Redactor::default()
    }

    fn hide(&self, _secrets: Vec<String>) {}

    fn log(&self, _line: NewLogLine) {}

    fn event(&self, _event: EventBody) {}

    async fn save_state(&self, _state: StateBlob) -> Result<(), DriverError> {
        Err(DriverError::Fenced)
    }

    fn stop(&self) -> Option<Stop> {
        None
    }

    async fn stopped(&self, _at_least: Stop) -> Stop {
        std::future::pending().await
    }
}
