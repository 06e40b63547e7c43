//! The state of a stack: `slipway state`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use slipway_domain::id::OrphanId;

use crate::client::reference::StackRef;

/// `slipway state`.
#[derive(Debug, Clone, Args)]
pub struct StateArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: StateVerb,
}

/// Names a stack.
#[derive(Debug, Clone, Args)]
pub struct OfStack {
    /// The stack: PROJECT/NAME/ENV or its id (stk_…)
    #[arg(value_name = "STACK")]
    pub stack: StackRef,
}

/// What can be done with a stack's state.
#[derive(Debug, Clone, Subcommand)]
pub enum StateVerb {
    /// List the versions, newest first
    List {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show the current version and who holds the lock
    Show {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// Another version than the current one
        #[arg(long, value_name = "VERSION")]
        at: Option<i64>,
    },
    /// Print a state as Terraform reads it, with every secret in clear
    Pull {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// Another version than the current one
        #[arg(long, value_name = "VERSION", conflicts_with = "orphan")]
        at: Option<i64>,
        /// A refused state (orp_…)
        #[arg(long, value_name = "ORPHAN")]
        orphan: Option<OrphanId>,
        /// Write it to a new file that only its owner may read
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show what differs between two versions; sensitive values are masked
    Diff {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// The older version; the one before the newer when absent, nothing at all when 0
        #[arg(long, value_name = "VERSION")]
        from: Option<i64>,
        /// The newer version; the current one when absent
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
    },
    /// Put an older version back, as a new one
    Restore {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// The version to put back
        #[arg(value_name = "VERSION")]
        number: i64,
        /// The serial that you have seen; the current one's when absent
        #[arg(long, value_name = "SERIAL")]
        serial: Option<i64>,
    },
    /// Bring along a state file that was kept elsewhere
    Import {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// The state file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Replace the state that the stack has; the value is the serial that you have seen
        #[arg(long, value_name = "SERIAL")]
        replace: Option<i64>,
    },
    /// Break the lock of somebody who is gone for good
    Unlock {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// Only this lock
        #[arg(long, value_name = "ID")]
        lock_id: Option<String>,
        /// What to put on record with it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// List the states that were refused and kept
    Orphans {
        /// Which.
        #[command(flatten)]
        of: OfStack,
    },
    /// Make a refused state the current one
    Adopt {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// The refused state (orp_…)
        #[arg(value_name = "ORPHAN")]
        orphan: OrphanId,
        /// The serial that you have seen; the current one's when absent
        #[arg(long, value_name = "SERIAL")]
        serial: Option<i64>,
    },
    /// Let go of a refused state
    Discard {
        /// Which.
        #[command(flatten)]
        of: OfStack,
        /// The refused state (orp_…)
        #[arg(value_name = "ORPHAN")]
        orphan: OrphanId,
    },
}
