//! What the client's part of the command line looks like: subcommands, flags, help. No behaviour;
//! that is in [`crate::client`].

mod audit;
pub mod auth;
mod drift;
mod price;
mod project;
mod report;
pub mod settings;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use slipway_domain::exemption::ExemptionState;
use slipway_domain::id::{ApprovalId, DeploymentId, ExemptionId, JobId, OrphanId};
use slipway_domain::job::{JobKind, JobState, Priority, Queue};
use slipway_domain::state::DeploymentState;

pub use self::audit::{AuditArgs, AuditExportArgs, AuditListArgs, AuditVerb, AuditVerifyArgs};
use crate::client::exit;
use crate::client::input::Assignment;
use crate::client::reference::{DeploymentRef, StackRef};

pub use self::drift::{DriftArgs, DriftSettingsArgs, DriftVerb};
pub use self::price::{PricesArgs, PricesVerb};
pub use self::project::{MemberVerb, MembersArgs, ProjectVerb, ProjectsArgs};
pub use self::report::ReportArgs;

/// Where `slipway dev` listens unless it is told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8000";

/// Flags that every client subcommand takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Client options")]
pub struct ClientGlobal {
    /// Where the Slipway API is
    #[arg(long, global = true, env = "SLIPWAY_URL", default_value = DEFAULT_URL, value_name = "URL")]
    pub url: String,
    /// Print JSON on stdout and nothing else there; progress goes to stderr
    ///
    /// One document, also with --wait (the deployment as it is then). `logs` and `events -f` print
    /// one document a line. An error is `{"error": {"code", "detail", …}}`.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What the client can do.
#[derive(Debug, Clone, Subcommand)]
pub enum ClientCommand {
    /// Submit a stack: plan it, and apply it once it is approved
    #[command(after_long_help = exit::help())]
    Deploy(Box<DeployArgs>),
    /// Submit the removal of everything that a stack's state records
    #[command(after_long_help = exit::help())]
    Destroy(Box<DestroyArgs>),
    /// Follow a deployment until it ends or waits for a person, and approve when asked
    #[command(after_long_help = exit::help())]
    Wait(WaitCommandArgs),
    /// Show a deployment's current plan
    Plan(OfDeployment),
    /// Show what the gates found in a deployment's plan, why it is blocked and what to do
    Report(ReportArgs),
    /// Have a blocked or waiting plan made and judged anew
    #[command(after_long_help = exit::help())]
    Reconsider(ReconsiderArgs),
    /// Say yes to a deployment's plan
    #[command(after_long_help = exit::help())]
    Approve(ApproveArgs),
    /// Show whose approvals a deployment's plan needs, which it has, and every decision
    Approvals(OfDeployment),
    /// Take an approval back, as long as the apply has not begun
    Revoke(RevokeArgs),
    /// Say no to a deployment's plan; the deployment ends as cancelled
    Reject(RejectArgs),
    /// Start the apply of an approved plan (needed only with --no-auto-apply)
    #[command(after_long_help = exit::help())]
    Apply(ApplyArgs),
    /// Show where a deployment is, what it waits for and why it failed
    Status(OfDeployment),
    /// Show what the tools of a deployment printed
    Logs(LogsArgs),
    /// Show what happened to a deployment
    Events(EventsArgs),
    /// Stop a deployment
    Cancel(CancelArgs),
    /// Show what became of a lost apply, and say what became of resources in doubt
    Recovery(RecoveryArgs),
    /// Test a deployment's configuration and wait: validate, its own tests, and given checks
    #[command(after_long_help = exit::help())]
    Test(TestArgs),
    /// Show a deployment's outputs
    Outputs(OutputsArgs),
    /// List stacks
    Stacks(StacksArgs),
    /// A stack's Terraform state: versions, differences, the lock, refused states
    State(StateArgs),
    /// What was changed outside of the stacks: list it, show it, check, put it right
    Drift(DriftArgs),
    /// List deployments, newest first
    Deployments(DeploymentsArgs),
    /// List the templates, or show, push, render and deprecate them
    Templates(TemplatesArgs),
    /// Policy packs: list, show, upload, test and try them
    Policies(PoliciesArgs),
    /// Exemptions from rules: list, grant and revoke them
    Exemptions(ExemptionsArgs),
    /// List the projects; show, make, describe and remove them
    Projects(ProjectsArgs),
    /// Who is what in a project, or in the house: see it and change it
    Members(MembersArgs),
    /// Price files of vendors that plans are priced by: list, import and remove them
    Prices(PricesArgs),
    /// Show the queues; pause, resume and limit them
    Queues(QueuesArgs),
    /// What the gates look for: see it, set it, and what holds for a project and environment
    Gates(GatesArgs),
    /// The central configuration: settings, their history, secrets, and what holds where
    Settings(settings::SettingsArgs),
    /// List the jobs; requeue dead ones, remove ended ones
    Jobs(JobsArgs),
    /// The audit log: read, export and verify it
    Audit(AuditArgs),
    /// List the worker processes
    Workers,
    /// Sign in, and keep what the server gives in a file that only you can read
    Login(auth::LoginArgs),
    /// Sign out
    Logout,
    /// Show who you are for the server, and what you may do
    Whoami,
    /// Make an account: where the server lets you, or the first admin
    Register(auth::RegisterArgs),
    /// API keys: list, make and revoke them
    ApiKeys(auth::ApiKeysArgs),
    /// Sessions: list and end them
    Sessions(auth::SessionsArgs),
    /// Accounts: list, make and stop them
    Accounts(auth::AccountsArgs),
}

/// Where the configuration comes from: exactly one of these.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct FromArgs {
    /// A directory with a Terraform configuration; it is packed here and uploaded
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A template of the server's library; see `slipway templates`
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// A git repository that a worker fetches
    #[arg(long, value_name = "URL")]
    pub git: Option<String>,
    /// A tar.gz archive
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
}

/// Values for the configuration's input variables.
#[derive(Debug, Clone, Default, Args)]
pub struct VarArgs {
    /// A variable's value; wins over --var-file, and the last one wins
    ///
    /// The value is JSON when it starts with `[`, `{` or `"` or is `true`, `false`, `null` or a
    /// number; else it is a string. It shows in this machine's process list: put secrets in a
    /// file and use --var-file.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<Assignment>,
    /// A JSON file with an object of values by variable name
    #[arg(long = "var-file", value_name = "FILE")]
    pub var_files: Vec<PathBuf>,
}

/// How a deployment is to go about it.
#[derive(Debug, Clone, Default, Args)]
pub struct OptionArgs {
    /// Do not start the apply after the approval; `slipway apply` does
    #[arg(long)]
    pub no_auto_apply: bool,
    /// Let earlier deployments of this stack that are not being applied yet end as superseded
    #[arg(long)]
    pub supersede: bool,
    /// Only plan: have the plan made and judged, and never apply it
    #[arg(long, conflicts_with = "supersede")]
    pub plan_only: bool,
    /// What its jobs go before in their queues: low, normal or high (high is for operators)
    #[arg(long, value_name = "PRIORITY", default_value = "normal")]
    pub priority: Priority,
    /// The program to use: terraform or tofu, or just one version: "terraform 1.11.4"
    #[arg(long, value_name = "TOOL")]
    pub tool: Option<String>,
    /// The same key and request twice give one deployment; minted for each run when absent
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// Whether to stay and watch.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct WaitArgs {
    /// Follow the deployment until it ends or waits for a person
    ///
    /// On a terminal it asks for the approval. Ctrl-C detaches; it does not cancel.
    #[arg(long)]
    pub wait: bool,
    /// Approve the plan that is shown without asking (implies --wait)
    #[arg(long)]
    pub auto_approve: bool,
}

/// `slipway deploy`.
#[derive(Debug, Clone, Args)]
pub struct DeployArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub from: FromArgs,
    /// Branch, tag or commit of the git repository
    #[arg(long = "ref", value_name = "REF", conflicts_with_all = ["dir", "template", "archive"])]
    pub reference: Option<String>,
    /// Directory of the root module inside the source
    #[arg(long, value_name = "PATH", conflicts_with = "template")]
    pub path: Option<String>,
    /// Version of the template; the newest active one when absent
    #[arg(long, value_name = "N", conflicts_with_all = ["dir", "git", "archive"])]
    pub template_version: Option<i32>,
    /// Project of the stack
    #[arg(long, value_name = "PROJECT", default_value = "default")]
    pub project: String,
    /// Name of the stack; made from the directory's, template's or repository's name when absent
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Environment of the stack
    #[arg(long, alias = "environment", value_name = "ENV", default_value = "dev")]
    pub env: String,
    /// Values of the variables.
    #[command(flatten)]
    pub vars: VarArgs,
    /// How to go about it.
    #[command(flatten)]
    pub options: OptionArgs,
    /// Whether to stay.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// `slipway destroy`.
#[derive(Debug, Clone, Args)]
pub struct DestroyArgs {
    /// The stack: PROJECT/NAME/ENV or its id (stk_…)
    #[arg(value_name = "STACK")]
    pub stack: StackRef,
    /// Values of the variables, over those of the stack's current deployment.
    #[command(flatten)]
    pub vars: VarArgs,
    /// How to go about it.
    #[command(flatten)]
    pub options: OptionArgs,
    /// Whether to stay.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Names a deployment.
#[derive(Debug, Clone, Args)]
pub struct OfDeployment {
    /// The deployment's id (dep_…), or PROJECT/NAME/ENV for the latest one of that stack
    #[arg(value_name = "DEPLOYMENT")]
    pub deployment: DeploymentRef,
}

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

/// `slipway test`.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// Do not validate the configuration
    #[arg(long)]
    pub no_validate: bool,
    /// Leave out the configuration's own test files
    #[arg(long)]
    pub no_own_tests: bool,
    /// A test file (NAME.tftest.hcl) to run beside the configuration's own; may be given several times
    #[arg(long = "check", value_name = "FILE")]
    pub checks: Vec<PathBuf>,
    /// Allow runs that apply, and so make real things; they are removed afterwards
    #[arg(long)]
    pub allow_apply: bool,
    /// How long all of it may take
    #[arg(long, value_name = "SECONDS")]
    pub time_limit: Option<u32>,
    /// Do not wait for the report
    #[arg(long, conflicts_with = "show")]
    pub no_wait: bool,
    /// Show the newest report and test nothing
    #[arg(long, conflicts_with_all = ["checks", "allow_apply", "time_limit", "no_validate", "no_own_tests"])]
    pub show: bool,
}

/// A resource that is there, and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistsArg {
    /// Its address.
    pub address: String,
    /// Its id.
    pub id: Option<String>,
}

impl std::str::FromStr for ExistsArg {
    type Err = String;

    /// The address ends at the first `=` outside of brackets and quotes: a key of `for_each` may
    /// hold one.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut quoted, mut escaped) = (false, false);
        for (at, c) in text.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '=' if !quoted => {
                    let (address, id) = (text[..at].to_owned(), text[at + 1..].to_owned());
                    if id.is_empty() {
                        return Err("there is no id after the =".to_owned());
                    }
                    return Ok(Self { address, id: Some(id) });
                }
                _ => {}
            }
        }
        Ok(Self { address: text.to_owned(), id: None })
    }
}

/// `slipway outputs`.
#[derive(Debug, Clone, Args)]
pub struct OutputsArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// Show sensitive values; the server puts this on record
    #[arg(long)]
    pub reveal: bool,
}

/// `slipway stacks`.
#[derive(Debug, Clone, Args)]
pub struct StacksArgs {
    /// Only of this project
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
    /// Only with this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Only of this environment
    #[arg(long, alias = "environment", value_name = "ENV")]
    pub env: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// `slipway deployments`.
#[derive(Debug, Clone, Args)]
pub struct DeploymentsArgs {
    /// Only of this stack: PROJECT/NAME/ENV or its id (stk_…)
    #[arg(long, value_name = "STACK")]
    pub stack: Option<StackRef>,
    /// Only of this project
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
    /// Only of this environment
    #[arg(long, alias = "environment", value_name = "ENV")]
    pub env: Option<String>,
    /// Only in this state, e.g. `awaiting_approval`
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub state: Option<DeploymentState>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

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

/// `slipway templates`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct TemplatesArgs {
    /// What to do; the templates are listed when it is left out
    #[command(subcommand)]
    pub verb: Option<TemplateVerb>,
    /// Show this one with its inputs
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// What can be done with templates.
#[derive(Debug, Clone, Subcommand)]
pub enum TemplateVerb {
    /// List the templates
    List,
    /// Show one with its inputs and versions
    Show {
        /// The template
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Publish a directory as a template, or as its next version
    Push(PushArgs),
    /// Show a template as it would be deployed with some values
    Render {
        /// The template
        #[arg(value_name = "NAME")]
        name: String,
        /// The version; the newest active one when absent
        #[arg(long, value_name = "N")]
        template_version: Option<i32>,
        /// Values of the inputs.
        #[command(flatten)]
        vars: VarArgs,
    },
    /// Take a template out of offer: who names the version still gets it
    Deprecate {
        /// The template
        #[arg(value_name = "NAME")]
        name: String,
        /// Only this version
        #[arg(long, value_name = "N")]
        template_version: Option<i32>,
        /// Why, and what to use instead
        #[arg(long, value_name = "TEXT", conflicts_with = "undo")]
        reason: Option<String>,
        /// Offer it again
        #[arg(long)]
        undo: bool,
    },
    /// Delete a version that no deployment names
    Delete {
        /// The template
        #[arg(value_name = "NAME")]
        name: String,
        /// The version
        #[arg(value_name = "N")]
        number: i32,
    },
}

/// `slipway templates push`.
#[derive(Debug, Clone, Args)]
pub struct PushArgs {
    /// The directory, with the Terraform root module at its top
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Name of the template; made from the directory's name when absent
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// One line about it; what template.toml says when absent
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// What it makes and when to use it; what template.toml says when absent
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// What it is about, e.g. storage
    #[arg(long, value_name = "WORD")]
    pub category: Option<String>,
    /// A label; all of them together take the place of the old ones
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Publish only if this is the newest version, 0 for none
    #[arg(long, value_name = "N")]
    pub expected_version: Option<i32>,
    /// The same key and request twice make one version; minted for each run when absent
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

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

fn state(text: &str) -> Result<DeploymentState, String> {
    DeploymentState::parse(text).ok_or_else(|| {
        let known: Vec<_> = DeploymentState::ALL.iter().map(|s| s.as_str()).collect();
        format!("known states are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "slipway", version, propagate_version = true)] // as `main` has it
    struct Whole {
        #[command(flatten)]
        global: ClientGlobal,
        #[command(subcommand)]
        command: ClientCommand,
    }

    fn parse(line: &str) -> Result<Whole, clap::Error> {
        Whole::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Whole::command().debug_assert();
    }

    #[test]
    fn templates_are_named_or_something_is_done_with_them() {
        for good in [
            "slipway templates",
            "slipway templates net",
            "slipway templates list",
            "slipway templates push . --label a=b=c --expected-version 0",
            "slipway templates render net --template-version 2 --var a=1",
            "slipway templates deprecate net --undo",
            "slipway templates delete net 3",
            "slipway deploy --template net --template-version 2",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "slipway templates push . --label a",
            "slipway templates deprecate net --undo --reason x",
            "slipway templates delete net",
            "slipway deploy . --template-version 2",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn exactly_one_source_is_named() {
        assert!(parse("slipway deploy").is_err());
        assert!(parse("slipway deploy . --template net").is_err());
        assert!(parse("slipway deploy --template net --path a").is_err());
        assert!(parse("slipway deploy . --ref main").is_err());
        let whole = parse("slipway deploy --git https://h/r.git --ref main --path a").unwrap();
        let ClientCommand::Deploy(args) = whole.command else { panic!("not deploy") };
        assert_eq!(args.reference.as_deref(), Some("main"));
        assert_eq!((args.project.as_str(), args.env.as_str()), ("default", "dev"));
    }

    #[test]
    fn global_flags_stand_before_or_after_the_verb() {
        for line in
            ["slipway --json --url http://h:1 stacks", "slipway stacks --json --url http://h:1"]
        {
            let whole = parse(line).unwrap();
            assert!(whole.global.json, "{line}");
            assert_eq!(whole.global.url, "http://h:1", "{line}");
        }
    }

    #[test]
    fn a_value_is_not_printed_by_debug() {
        let whole = parse("slipway deploy . --var password=hunter2").unwrap();
        assert!(!format!("{whole:?}").contains("hunter2"), "{whole:?}");
    }

    #[test]
    fn an_unknown_state_names_the_known_ones() {
        let error = parse("slipway deployments --state done").unwrap_err().to_string();
        assert!(error.contains("awaiting_approval"), "{error}");
        assert!(parse("slipway deployments --state awaiting_approval").is_ok());
    }
}
