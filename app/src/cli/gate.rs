//! What the gates look for: `slipway gates`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `slipway gates`.
#[derive(Debug, Clone, Args)]
pub struct GatesArgs {
    /// What to do; without it the settings are listed.
    #[command(subcommand)]
    pub verb: Option<GatesVerb>,
}

/// What to do with the settings of the gates.
#[derive(Debug, Clone, Subcommand)]
pub enum GatesVerb {
    /// Show what holds for a project and environment, and where it comes from
    Resolve {
        /// The project
        project: String,
        /// The environment
        environment: String,
    },
    /// Set what the gates look for, in place of what was said for this scope before
    Set {
        /// A JSON file with sections `scan`, `policy`, `cost`, `test`, `approval`; `-` reads from
        /// standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// For whom
        #[command(flatten)]
        scope: ScopeArgs,
        /// Only if this version is current; 0: only if there are none yet
        #[arg(long, value_name = "VERSION")]
        if_version: Option<i64>,
    },
    /// Forget the settings of a scope: wider ones hold again
    Forget {
        /// For whom
        #[command(flatten)]
        scope: ScopeArgs,
    },
}

/// For whom settings hold; for everything when nothing is said.
#[derive(Debug, Clone, Args)]
pub struct ScopeArgs {
    /// Only for this project
    #[arg(long)]
    pub project: Option<String>,
    /// Only for this environment
    #[arg(long)]
    pub env: Option<String>,
}
