//! What the client's part of the command line looks like: subcommands, flags, help. No behaviour;
//! that is in [`crate::client`].

mod audit;
pub mod auth;
mod decide;
mod drift;
mod follow;
mod gate;
mod look;
mod policy;
mod price;
mod project;
mod queue;
mod report;
pub mod settings;
mod state;
mod submit;
mod template;
mod test;

use clap::{Args, Subcommand};

pub use self::audit::{AuditArgs, AuditExportArgs, AuditListArgs, AuditVerb, AuditVerifyArgs};
pub use self::decide::{
    ApplyArgs, ApproveArgs, CancelArgs, ReconsiderArgs, RecoveryArgs, RejectArgs, RevokeArgs,
};
pub use self::drift::{DriftArgs, DriftSettingsArgs, DriftVerb};
pub use self::follow::{EventsArgs, LogsArgs, WaitCommandArgs};
pub use self::gate::{GatesArgs, GatesVerb, ScopeArgs};
pub use self::look::{DeploymentsArgs, OutputsArgs, StacksArgs};
pub use self::policy::{ExemptionVerb, ExemptionsArgs, PoliciesArgs, PolicyVerb};
pub use self::price::{PricesArgs, PricesVerb};
pub use self::project::{MemberVerb, MembersArgs, ProjectVerb, ProjectsArgs};
pub use self::queue::{Cap, JobFilterArgs, JobVerb, JobsArgs, QueueVerb, QueuesArgs};
pub use self::report::ReportArgs;
pub use self::state::{OfStack, StateArgs, StateVerb};
pub use self::submit::{DeployArgs, DestroyArgs, FromArgs, OptionArgs, VarArgs, WaitArgs};
pub use self::template::{PushArgs, TemplateVerb, TemplatesArgs};
pub use self::test::{ExistsArg, TestArgs};
use crate::client::exit;
use crate::client::reference::DeploymentRef;

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

/// Names a deployment.
#[derive(Debug, Clone, Args)]
pub struct OfDeployment {
    /// The deployment's id (dep_…), or PROJECT/NAME/ENV for the latest one of that stack
    #[arg(value_name = "DEPLOYMENT")]
    pub deployment: DeploymentRef,
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
