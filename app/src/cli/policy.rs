//! Rules and exemptions from them: `slipway policies` and `exemptions`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use slipway_domain::exemption::ExemptionState;
use slipway_domain::id::{DeploymentId, ExemptionId};

/// `slipway policies`.
#[derive(Debug, Clone, Args)]
pub struct PoliciesArgs {
    /// What to do; the packs are listed when it is left out
    #[command(subcommand)]
    pub verb: Option<PolicyVerb>,
}

/// What can be done with policy packs.
#[derive(Debug, Clone, Subcommand)]
pub enum PolicyVerb {
    /// List the packs
    List,
    /// Show a pack and its rules
    Show {
        /// The pack, e.g. `slipway/terraform`
        #[arg(value_name = "NAME")]
        name: String,
        /// Another version than the newest one
        #[arg(long, value_name = "VERSION")]
        at: Option<i32>,
        /// Print the Rego of its files instead
        #[arg(long)]
        source: bool,
    },
    /// Check the Rego files of a directory and upload them as a pack, or a new version of it
    Push {
        /// The directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The pack; the name of the directory when absent
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Check the Rego files of a directory and run their tests here, without a server
    Test {
        /// The directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Try a pack on past plans
    #[command(group = ArgGroup::new("what").required(true).multiple(false))]
    #[command(group = ArgGroup::new("which").required(true).multiple(false))]
    DryRun {
        /// The pack
        #[arg(long, value_name = "NAME", group = "what")]
        pack: Option<String>,
        /// Another version than the newest one
        #[arg(long, value_name = "VERSION", requires = "pack")]
        at: Option<i32>,
        /// A directory with the Rego files of one that is not uploaded
        #[arg(long, value_name = "DIR", group = "what")]
        dir: Option<PathBuf>,
        /// On the newest plans of this project
        #[arg(long, value_name = "PROJECT", group = "which")]
        project: Option<String>,
        /// Of these only those of this environment
        #[arg(long, alias = "environment", value_name = "ENV", requires = "project")]
        env: Option<String>,
        /// How many of the project's, at most 50
        #[arg(long, value_name = "N", requires = "project", value_parser = clap::value_parser!(u32).range(1..=50))]
        last: Option<u32>,
        /// On the plan of this deployment (dep_…)
        #[arg(long, value_name = "ID", group = "which")]
        deployment: Vec<DeploymentId>,
    },
}

/// `slipway exemptions`.
#[derive(Debug, Clone, Args)]
pub struct ExemptionsArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ExemptionVerb,
}

/// What can be done with exemptions.
#[derive(Debug, Clone, Subcommand)]
pub enum ExemptionVerb {
    /// List exemptions, newest first
    List {
        /// Only those for this project
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
        /// Only those for this environment
        #[arg(long, alias = "environment", value_name = "ENV")]
        env: Option<String>,
        /// Only from this rule
        #[arg(long, value_name = "RULE")]
        rule: Option<String>,
        /// Only those of which this has become: active, expired or revoked
        #[arg(long, value_name = "STATE", value_parser = exemption_state)]
        state: Option<ExemptionState>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Let a rule not count for a resource, for a while
    Add {
        /// The id of the rule, here or in another tool
        #[arg(value_name = "RULE")]
        rule: String,
        /// The address of the resource; `*` stands for any text
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Only in this project; everywhere when absent
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
        /// Only in this environment; in all of them when absent
        #[arg(long, alias = "environment", value_name = "ENV")]
        env: Option<String>,
        /// Why it is all right
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who answers for it
        #[arg(long, value_name = "NAME")]
        owner: String,
        /// For so many days
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=365))]
        days: i64,
    },
    /// Take an exemption back
    Revoke {
        /// The exemption (exm_…)
        #[arg(value_name = "EXEMPTION")]
        exemption: ExemptionId,
        /// What to put on record with it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

fn exemption_state(text: &str) -> Result<ExemptionState, String> {
    match text {
        "active" => Ok(ExemptionState::Active),
        "expired" => Ok(ExemptionState::Expired),
        "revoked" => Ok(ExemptionState::Revoked),
        _ => Err("active, expired or revoked".to_owned()),
    }
}
