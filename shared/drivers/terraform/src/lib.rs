//! The Terraform driver: plans and applies configurations with Terraform or OpenTofu.
//!
//! It implements [`slipway_domain::port::driver`]; every process is started by `slipway-process`,
//! and it depends on nothing else of the house. Each concern has its file: [`hcl`](Inspector) reads
//! configurations without the tool, `init` decides what must be installed, `install` has it
//! installed and `cache` keeps it; `allow` has the operator's list of providers, `toolbox` the tools;
//! `plan`, `show` and `apply` run the tool and put what it says into the house's words; `test` runs a
//! configuration's tests, and `drift` looks what is other in the world than the state says. When an
//! apply is lost, `salvage` reads what is left of it on its machine, and `recover` finds out what
//! it did and plans the rest, with [`recovery`] and [`subset`].

mod allow;
mod apply;
mod cache;
mod context;
mod drift;
mod equality;
mod failure;
mod git;
mod hcl;
mod host;
mod init;
mod install;
pub mod journal;
mod options;
mod plan;
mod recover;
pub mod recovery;
mod salvage;
mod show;
mod state;
mod stream;
pub mod subset;
mod test;
mod toolbox;
mod version;
mod workspace;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use slipway_domain::clock::{Clock, SystemClock};
use slipway_domain::drift::DriftFound;
use slipway_domain::plan::Tool;
use slipway_domain::port::driver::{
    Applied, ApplyInput, DriftInput, Driver, DriverError, Health, PlanInput, Planned, RecoverInput,
    Recovered, Run, Salvage, TestInput,
};
use slipway_domain::stack::DriverKind;
use slipway_domain::test_report::Tested;
use tracing::Instrument as _;

pub use hcl::Inspector;
pub use host::ToolMissing;
pub use options::{GitOptions, Options};
pub use slipway_process::Guard;

/// The driver. Cheap to clone; one serves any number of jobs at once.
#[derive(Clone)]
pub struct Terraform {
    tools: toolbox::Toolbox,
}

impl fmt::Debug for Terraform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Terraform({})", self.tools.list())
    }
}

impl Terraform {
    /// Finds the tool and asks its version, once. Writes nothing.
    pub async fn detect(options: Options) -> Result<Self, ToolMissing> {
        Self::detect_with(options, Arc::new(SystemClock)).await
    }

    /// Like [`Terraform::detect`], with a clock of the caller's.
    pub async fn detect_with(options: Options, clock: Arc<dyn Clock>) -> Result<Self, ToolMissing> {
        Ok(Self { tools: toolbox::Toolbox::detect(options, clock).await? })
    }

    /// The tool that is used where nothing else is asked for, and its version.
    pub fn tool(&self) -> &Tool {
        &self.tools.default().tool
    }

    /// Every tool that it has, the default first.
    pub fn tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.all().map(|host| &host.tool)
    }

    /// Where the default's executable is.
    pub fn program(&self) -> &std::path::Path {
        &self.tools.default().program
    }
}

#[async_trait]
impl Driver for Terraform {
    fn kind(&self) -> DriverKind {
        DriverKind::Terraform
    }

    async fn plan(&self, run: &dyn Run, input: PlanInput) -> Result<Planned, DriverError> {
        let span = tracing::info_span!("terraform_plan", tool = tracing::field::Empty);
        plan::plan(&self.tools, run, input).instrument(span).await
    }

    /// [`DriverError::Transient`] is returned only when nothing was begun.
    async fn apply(&self, run: &dyn Run, input: ApplyInput) -> Result<Applied, DriverError> {
        let host = self.tools.exactly(&input.tool);
        let span = tracing::info_span!("terraform_apply", tool = %host.tool);
        apply::apply(host, run, input).instrument(span).await
    }

    async fn recover(&self, run: &dyn Run, input: RecoverInput) -> Result<Recovered, DriverError> {
        let host = self.tools.exactly(&input.approved.tool);
        let span = tracing::info_span!("terraform_recover", tool = %host.tool);
        recover::recover(host, run, input).instrument(span).await
    }

    /// [`DriverError::Lost`] where runs that make real things were cut off.
    async fn test(&self, run: &dyn Run, input: TestInput) -> Result<Tested, DriverError> {
        let span = tracing::info_span!("terraform_test", tool = tracing::field::Empty);
        test::test(&self.tools, run, input).instrument(span).await
    }

    async fn drift(&self, run: &dyn Run, input: DriftInput) -> Result<DriftFound, DriverError> {
        let span = tracing::info_span!("terraform_drift", tool = tracing::field::Empty);
        drift::drift(&self.tools, run, input).instrument(span).await
    }

    fn salvage(&self, dir: &std::path::Path) -> Salvage {
        salvage::salvage(dir)
    }

    /// An apply that succeeded left nothing tainted behind: Terraform reports that as a failure.
    /// What the resources do beyond existing is not known to it.
    async fn verify(&self, _run: &dyn Run, _applied: &Applied) -> Result<Health, DriverError> {
        Ok(Health::Healthy)
    }
}
