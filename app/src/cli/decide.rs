//! Deciding about a deployment: `slipway approve`, `revoke`, `reject`, `apply`, `cancel`,
//! `reconsider` and `recovery`.

use clap::Args;
use slipway_domain::id::ApprovalId;

use super::{ExistsArg, OfDeployment};

/// `slipway approve`.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// The digest of the plan that was reviewed; refused when it is not the current plan's
    #[arg(long, value_name = "DIGEST", conflicts_with = "yes")]
    pub digest: Option<String>,
    /// Show the current plan and approve it without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// What to put on record with it
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Then follow the deployment until it ends or waits for a person
    #[arg(long)]
    pub wait: bool,
}

/// `slipway revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// The approval (apr_…); may be left out when there is only one that counts
    #[arg(value_name = "APPROVAL")]
    pub approval: Option<ApprovalId>,
    /// What to put on record with it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `slipway reject`.
#[derive(Debug, Clone, Args)]
pub struct RejectArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// The digest of the plan; the current plan's when absent
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// What to put on record with it
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

/// `slipway apply`.
#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// Then follow the deployment until it ends or waits for a person
    #[arg(long)]
    pub wait: bool,
}

/// `slipway cancel`.
#[derive(Debug, Clone, Args)]
pub struct CancelArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// What to put on record with it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Kill what runs instead of letting it finish what is in flight; what it did is then found out
    #[arg(long)]
    pub force: bool,
}

/// `slipway reconsider`.
#[derive(Debug, Clone, Args)]
pub struct ReconsiderArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Then follow the deployment until it ends or waits for a person
    #[arg(long)]
    pub wait: bool,
}

/// `slipway recovery`.
#[derive(Debug, Clone, Args)]
pub struct RecoveryArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// This resource is not there (or not changed): it is made (or changed) anew
    #[arg(long, value_name = "ADDRESS")]
    pub absent: Vec<String>,
    /// This resource is there; with its id it is taken into the state
    #[arg(long, value_name = "ADDRESS[=ID]")]
    pub exists: Vec<ExistsArg>,
    /// Have it looked at again with what was said before
    #[arg(long)]
    pub again: bool,
    /// Then follow the deployment until it ends or waits for a person
    #[arg(long)]
    pub wait: bool,
}
