//! `slipway drift`.

use clap::{Args, Subcommand};
use slipway_domain::drift::DriftStatus;

use super::{OfStack, WaitArgs};
use crate::client::exit;

/// `slipway drift`.
#[derive(Debug, Clone, Args)]
pub struct DriftArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: DriftVerb,
}

/// What can be done about drift.
#[derive(Debug, Clone, Subcommand)]
pub enum DriftVerb {
    /// List what is known of all stacks
    List {
        /// Only with this status: unknown, `in_sync`, drifted or failed
        #[arg(long, value_name = "STATUS", value_parser = status)]
        status: Option<DriftStatus>,
        /// Only of this project
        #[arg(long)]
        project: Option<String>,
        /// Only of this environment
        #[arg(long)]
        env: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show what was changed or removed outside of a stack, by cause
    Show {
        /// Which.
        #[command(flatten)]
        of: OfStack,
    },
    /// Have a stack checked now
    Check {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// Wait for what it finds
        #[arg(long)]
        wait: bool,
    },
    /// Submit what a stack runs once more, to undo what was changed outside
    #[command(after_long_help = exit::help())]
    Reconcile {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// Whether to stay and watch.
        #[command(flatten)]
        wait: WaitArgs,
        /// The same key twice gives one deployment; minted for each run when absent
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Show how a stack is checked, or say it
    Settings(DriftSettingsArgs),
}

/// `slipway drift settings`.
#[derive(Debug, Clone, Args)]
pub struct DriftSettingsArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfStack,
    /// Check it by itself
    #[arg(long, conflicts_with_all = ["disable", "reset"])]
    pub enable: bool,
    /// Do not check it by itself
    #[arg(long, conflicts_with = "reset")]
    pub disable: bool,
    /// How often, from 300 to 2592000
    #[arg(long, value_name = "SECONDS", conflicts_with = "reset")]
    pub every: Option<u32>,
    /// Forget what was said: it is checked as the installation has it
    #[arg(long)]
    pub reset: bool,
    /// Only if this version is current
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<i64>,
}

fn status(text: &str) -> Result<DriftStatus, String> {
    DriftStatus::parse(text).ok_or_else(|| {
        let known: Vec<_> = DriftStatus::ALL.iter().map(|status| status.as_str()).collect();
        format!("it is none of {}", known.join(", "))
    })
}
