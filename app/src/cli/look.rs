//! Looking: `slipway outputs`, `stacks` and `deployments`.

use clap::Args;
use slipway_domain::state::DeploymentState;

use super::OfDeployment;
use crate::client::reference::StackRef;

/// `slipway outputs`.
#[derive(Debug, Clone, Args)]
pub struct OutputsArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// Show sensitive values; the server puts this on record
    #[arg(long)]
    pub reveal: bool,
}

/// `slipway stacks`.
#[derive(Debug, Clone, Args)]
pub struct StacksArgs {
    /// Only of this project
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
    /// Only with this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Only of this environment
    #[arg(long, alias = "environment", value_name = "ENV")]
    pub env: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// `slipway deployments`.
#[derive(Debug, Clone, Args)]
pub struct DeploymentsArgs {
    /// Only of this stack: PROJECT/NAME/ENV or its id (stk_…)
    #[arg(long, value_name = "STACK")]
    pub stack: Option<StackRef>,
    /// Only of this project
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
    /// Only of this environment
    #[arg(long, alias = "environment", value_name = "ENV")]
    pub env: Option<String>,
    /// Only in this state, e.g. `awaiting_approval`
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub state: Option<DeploymentState>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

fn state(text: &str) -> Result<DeploymentState, String> {
    DeploymentState::parse(text).ok_or_else(|| {
        let known: Vec<_> = DeploymentState::ALL.iter().map(|s| s.as_str()).collect();
        format!("known states are {}", known.join(", "))
    })
}
