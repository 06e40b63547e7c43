//! Our worker with a driver that does nothing: wired as `slipway worker` is, by the same code, so
//! that claim, lease, heartbeat, begin, fence and finish are those of production. Only what the
//! driver would do is missing.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use slipway_config::{Config, Loader, read_environment};
use slipway_domain::plan::{StateMark, Tool};
use slipway_domain::port::driver::{
    Applied, ApplyInput, Driver, DriverError, Health, PlanInput, Planned, Run, Stop,
};
use slipway_domain::stack::DriverKind;
use slipway_telemetry::Telemetry;
use slipway_worker::Shutdown;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::wire;

/// Serves until SIGTERM, configured by `SLIPWAY_*` variables. Every start of a job becomes a line
/// of the file `starts`: the deployment and the microseconds since 1970.
pub(crate) fn run(starts: &Path) -> anyhow::Result<()> {
    let loaded = Loader::new(read_environment()).load()?;
    let telemetry = Telemetry::init(&wire::telemetry(&loaded.config))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let worked = runtime.block_on(work(&loaded.config, starts));
    telemetry.shutdown()?;
    worked
}

async fn work(config: &Config, starts: &Path) -> anyhow::Result<()> {
    let starts = File::options().create(true).append(true).open(starts)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let house = wire::house(config).await?;
    let shutdown = Shutdown::default();
    let end_loops = CancellationToken::new();
    let loops = tokio::spawn(wire::loops(config).run(house.cx.clone(), end_loops.clone()));
    let drain = shutdown.drain.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        drain.cancel();
    });
    let (cx, options) = (house.cx.clone(), wire::worker(config));
    let tools = slipway_worker::Tools {
        driver: Arc::new(Idle { starts }),
        scanners: None,
        estimator: None,
    };
    slipway_worker::work(cx, tools, options, house.metrics, shutdown).await?;
    end_loops.cancel();
    loops.await.context("the loops panicked")?;
    house.cx.transport.close().await;
    house.cx.store.close().await;
    Ok(())
}

/// A driver that finds nothing to do, at once; except in stacks that are to be held.
struct Idle {
    starts: File,
}

#[async_trait]
impl Driver for Idle {
    fn kind(&self) -> DriverKind {
        DriverKind::Terraform
    }

    async fn plan(&self, run: &dyn Run, input: PlanInput) -> Result<Planned, DriverError> {
        // One write a line: other jobs write too.
        let line = format!("{} {}\n", input.deployment_id, super::now_us());
        (&self.starts)
            .write_all(line.as_bytes())
            .map_err(|error| DriverError::permanent(error.to_string()))?;
        if input.stack.name.starts_with(super::HELD) {
            run.stopped(Stop::Gently).await;
            return Err(DriverError::Stopped);
        }
        Ok(Planned {
            tool: Tool { name: "none".to_owned(), version: "0".to_owned() },
            no_changes: true,
            changes: Vec::new(),
            outputs: Vec::new(),
            drift: Vec::new(),
            warnings: Vec::new(),
            plan_file: Bytes::new(),
            lock_file_digest: None,
            context: Bytes::new(),
            source_digest: String::new(),
            fetched: None,
            state: StateMark::default(),
            sensitive_variables: std::collections::BTreeSet::new(),
            current_outputs: Vec::new(),
            document: Bytes::new(),
            equality: None,
        })
    }

    async fn apply(&self, _: &dyn Run, _: ApplyInput) -> Result<Applied, DriverError> {
        Err(DriverError::permanent("nothing here is ever applied"))
    }

    async fn verify(&self, _: &dyn Run, _: &Applied) -> Result<Health, DriverError> {
        Ok(Health::Healthy)
    }
}
