//! Following a deployment: `slipway wait`, `logs` and `events`.

use clap::Args;

use super::OfDeployment;

/// `slipway wait`.
#[derive(Debug, Clone, Args)]
pub struct WaitCommandArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// Approve the plan that is shown without asking
    #[arg(long)]
    pub auto_approve: bool,
}

/// `slipway logs`.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// Keep printing until the deployment ends
    #[arg(long, short)]
    pub follow: bool,
    /// Begin with the last N lines, at most 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub tail: Option<u32>,
}

/// `slipway events`.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// Keep printing until the deployment ends
    #[arg(long, short)]
    pub follow: bool,
    /// Keep printing after its end, too: that its stack drifts, that its plan is out of date
    #[arg(long, requires = "follow")]
    pub stay: bool,
}
