//! What is submitted: `slipway deploy` and `destroy`.

use std::path::PathBuf;

use clap::Args;
use slipway_domain::job::Priority;

use crate::client::input::Assignment;
use crate::client::reference::StackRef;

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
