//! For operators: `slipway queues` and `jobs`.

use clap::{ArgGroup, Args, Subcommand};
use slipway_domain::id::{DeploymentId, JobId};
use slipway_domain::job::{JobKind, JobState, Queue};

/// `slipway queues`.
#[derive(Debug, Clone, Args)]
pub struct QueuesArgs {
    /// What to do; the queues are shown when it is left out
    #[command(subcommand)]
    pub verb: Option<QueueVerb>,
}

/// What can be done with a queue.
#[derive(Debug, Clone, Subcommand)]
pub enum QueueVerb {
    /// Start nothing new from a queue; what runs goes on
    Pause {
        /// The queue: plan or apply
        #[arg(value_name = "QUEUE")]
        queue: Queue,
        /// What to put on record with it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let a paused queue go on
    Resume {
        /// The queue: plan or apply
        #[arg(value_name = "QUEUE")]
        queue: Queue,
    },
    /// Limit how many jobs of a queue run at a time over the whole installation
    Cap {
        /// The queue: plan or apply
        #[arg(value_name = "QUEUE")]
        queue: Queue,
        /// How many, or `none`
        #[arg(value_name = "N", value_parser = cap)]
        cap: Cap,
    },
}

/// A limit, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap(pub Option<u32>);

fn cap(text: &str) -> Result<Cap, String> {
    match text {
        "none" => Ok(Cap(None)),
        text => match text.parse() {
            Ok(0) | Err(_) => Err("a number from 1, or none".to_owned()),
            Ok(cap) => Ok(Cap(Some(cap))),
        },
    }
}

/// `slipway jobs`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct JobsArgs {
    /// What to do; jobs are listed when it is left out
    #[command(subcommand)]
    pub verb: Option<JobVerb>,
    /// Which.
    #[command(flatten)]
    pub which: JobFilterArgs,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// Which jobs; everything that is given must hold.
#[derive(Debug, Clone, Default, Args)]
pub struct JobFilterArgs {
    /// Only of this queue
    #[arg(long, value_name = "QUEUE")]
    pub queue: Option<Queue>,
    /// Only of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<JobKind>,
    /// Only in this state, e.g. `dead`
    #[arg(long, value_name = "STATE")]
    pub state: Option<JobState>,
    /// Only for this deployment (dep_…)
    #[arg(long, value_name = "ID")]
    pub deployment: Option<DeploymentId>,
    /// Only for stacks of this project
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
}

/// What can be done with jobs.
#[derive(Debug, Clone, Subcommand)]
pub enum JobVerb {
    /// Put dead jobs back into their queue; their deployments begin anew
    #[command(group = ArgGroup::new("which").required(true).multiple(false))]
    Requeue {
        /// The job (job_…)
        #[arg(value_name = "JOB", group = "which")]
        job: Option<JobId>,
        /// Every dead job that fits the other flags
        #[arg(long, group = "which")]
        all: bool,
        /// Which.
        #[command(flatten)]
        filter: JobFilterArgs,
    },
    /// Remove the records of ended jobs (dead ones unless --state says otherwise)
    Purge {
        /// Which.
        #[command(flatten)]
        filter: JobFilterArgs,
    },
}
