//! `slipway report`.

use std::path::PathBuf;

use clap::Args;

use crate::client::reference::DeploymentRef;

/// `slipway report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// The deployment's id (dep_…), or PROJECT/NAME/ENV for the latest one of that stack
    #[arg(value_name = "DEPLOYMENT")]
    pub deployment: DeploymentRef,
    /// Print what was found as one SARIF 2.1.0 log
    #[arg(long)]
    pub sarif: bool,
    /// Write one page of HTML to this file, which a browser shows without anything else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
