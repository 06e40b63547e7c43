//! What `slipway projects` and `slipway members` look like.

use clap::{Args, Subcommand};
use slipway_domain::access::Role;
use slipway_domain::id::AccountId;

/// `slipway projects`.
#[derive(Debug, Clone, Args)]
pub struct ProjectsArgs {
    /// What to do; `list` when absent.
    #[command(subcommand)]
    pub verb: Option<ProjectVerb>,
}

/// What can be done with projects.
#[derive(Debug, Clone, Subcommand)]
pub enum ProjectVerb {
    /// List the projects that you may look into
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one project
    Show {
        /// The project
        #[arg(value_name = "PROJECT")]
        project: String,
    },
    /// Make a project
    Create {
        /// Its name: lower-case letters, digits, '-' and '_'
        #[arg(value_name = "PROJECT")]
        project: String,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Say what a project is for
    Describe {
        /// The project
        #[arg(value_name = "PROJECT")]
        project: String,
        /// What it is for; empty for nothing
        #[arg(value_name = "TEXT")]
        description: String,
        /// Only if it is still of this version
        #[arg(long, value_name = "N")]
        if_version: Option<i64>,
    },
    /// Remove a project to which nothing belongs
    Remove {
        /// The project
        #[arg(value_name = "PROJECT")]
        project: String,
        /// Only if it is still of this version
        #[arg(long, value_name = "N")]
        if_version: Option<i64>,
    },
}

/// `slipway members`.
#[derive(Debug, Clone, Args)]
pub struct MembersArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: MemberVerb,
}

/// What can be done with members.
#[derive(Debug, Clone, Subcommand)]
pub enum MemberVerb {
    /// List the members of a project, or of the house
    List {
        /// The project; the house when absent
        #[arg(value_name = "PROJECT")]
        project: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Say what an account is, in place of what it was
    Set {
        /// The account (acc_…)
        #[arg(value_name = "ACCOUNT")]
        account: AccountId,
        /// In this project; in the whole house when absent
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
        /// What it is: viewer, developer, approver, operator or admin; several with several --role
        #[arg(long = "role", value_name = "ROLE", required = true, value_parser = role)]
        roles: Vec<Role>,
        /// Only if the membership is still of this version; 0: if there is none yet
        #[arg(long, value_name = "N")]
        if_version: Option<i64>,
    },
    /// Have an account be no member any more
    Remove {
        /// The account (acc_…)
        #[arg(value_name = "ACCOUNT")]
        account: AccountId,
        /// Of this project; of the house when absent
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
        /// Only if the membership is still of this version
        #[arg(long, value_name = "N")]
        if_version: Option<i64>,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| Role::ALL.map(Role::as_str).join(", "))
}
