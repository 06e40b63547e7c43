//! `slipway audit`.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use slipway_domain::audit::AuditResult;

/// Flags of `slipway audit`.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: AuditVerb,
}

/// What can be done with the audit log.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditVerb {
    /// Show records, newest first
    List(AuditListArgs),
    /// Write the log as JSON lines, in the order of its chain
    Export(AuditExportArgs),
    /// Walk the chain and name every record that was changed, dropped, put in or moved
    ///
    /// Without a flag the server walks it. Ends with 0 when nothing was found, else with 3.
    Verify(AuditVerifyArgs),
    /// Print a signed statement of what the chain is now, to be kept elsewhere
    Checkpoint,
}

/// Flags of `slipway audit list`.
#[derive(Debug, Clone, Args)]
pub struct AuditListArgs {
    /// Only what this actor did
    #[arg(long, value_name = "ID")]
    pub actor: Option<String>,
    /// Only this action, or with a dot at its end all that begin with it, e.g. `deployment.`
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Only what was done to this
    #[arg(long, value_name = "ID")]
    pub target: Option<String>,
    /// Only what ended so: allowed, denied, failed
    #[arg(long, value_name = "RESULT", value_parser = result)]
    pub result: Option<AuditResult>,
    /// Not before this (RFC 3339, e.g. 2026-01-31T00:00:00Z)
    #[arg(long, value_name = "TIME")]
    pub since: Option<DateTime<Utc>>,
    /// Before this
    #[arg(long, value_name = "TIME")]
    pub until: Option<DateTime<Utc>>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u32,
}

fn result(text: &str) -> Result<AuditResult, String> {
    AuditResult::parse(text).ok_or_else(|| "write allowed, denied or failed".to_owned())
}

/// Flags of `slipway audit export`.
#[derive(Debug, Clone, Args)]
pub struct AuditExportArgs {
    /// Where to; stdout when absent. A file that is there is not written over
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Number of the first record; the first one that is kept when absent
    #[arg(long, value_name = "SEQ")]
    pub from: Option<i64>,
    /// Number of the last record; the last one when absent
    #[arg(long, value_name = "SEQ")]
    pub to: Option<i64>,
}

/// Flags of `slipway audit verify`.
#[derive(Debug, Clone, Args)]
pub struct AuditVerifyArgs {
    /// Verify an export instead; asks no server
    #[arg(long, value_name = "FILE", conflicts_with = "database")]
    pub file: Option<PathBuf>,
    /// Verify the database of this machine's configuration instead; for operators
    #[arg(long)]
    pub database: bool,
    /// With --database: configuration file (TOML)
    #[arg(long, value_name = "FILE", requires = "database")]
    pub config: Option<PathBuf>,
    /// With --database: where everything is kept
    #[arg(long, value_name = "DIR", requires = "database")]
    pub data_dir: Option<PathBuf>,
    /// A file with checkpoints that were kept elsewhere, one a line
    #[arg(long, value_name = "FILE")]
    pub checkpoints: Option<PathBuf>,
    /// With --file: the public key of the installation (base64), as its checkpoints show it
    #[arg(long, value_name = "KEY", requires = "file")]
    pub key: Option<String>,
}
