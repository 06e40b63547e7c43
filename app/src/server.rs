//! The server's part of the command line: what each process holds, and its flags.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use slipway_config::section::AuthMode;
use slipway_config::{Loaded, Loader, read_environment};
use slipway_services::Ctx;
use slipway_services::auth::sign_in;
use slipway_telemetry::Telemetry;

use crate::admin::{self, AdminCommand};
use crate::lifecycle::{self, Roles};
use crate::{demo, keys, operate, wire};

/// Flags of every process that serves.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerArgs {
    /// Configuration file (TOML); `slipway.toml` here when there is one
    #[arg(long, value_name = "FILE", env = slipway_config::CONFIG_VARIABLE)]
    config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of the API, or of a worker's health and metrics; only loopback addresses where
    /// nobody is asked to sign in
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// What serves or operates an installation.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Start API and workers in one process on embedded SQLite, and keep serving
    Dev(ServerArgs),
    /// Like `dev`, but first deploy the sample stack and show every step
    Demo {
        #[command(flatten)]
        server: ServerArgs,
        /// End after the sample instead of serving
        #[arg(long)]
        exit: bool,
    },
    /// Start the API only
    Api(ServerArgs),
    /// Start workers only
    Worker {
        #[command(flatten)]
        server: ServerArgs,
        /// Queues to serve and jobs at a time, e.g. `plan=2,apply=1,test=1`
        #[arg(long, value_name = "QUEUE=N,…")]
        queue: Option<String>,
    },
    /// Bring the database schema up to date and end
    Migrate(ServerArgs),
    /// Print the OpenAPI document
    Openapi,
    /// Print the effective configuration, secrets masked, and where each value comes from
    Config {
        #[command(flatten)]
        server: ServerArgs,
        /// Print the JSON schema of the configuration file instead
        #[arg(long)]
        schema: bool,
    },
    /// Look at what this machine has and what is missing
    Doctor(ServerArgs),
    /// Work with the key ring
    #[command(subcommand)]
    Keys(KeysCommand),
    /// What only whoever holds the database does: the first admin, passwords, signing keys
    #[command(subcommand)]
    Admin(AdminCommand),
}

/// `slipway keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Print a new key ring with one random key
    Generate,
    /// Give everything that is sealed the current key, while everything else goes on
    ///
    /// The first key of the ring is the current one, or the newest version of the key in Vault.
    /// Values are not opened: their data keys are wrapped anew. It may be cut off at any moment and
    /// started again. Ends with 0 when everything is under the current key, else with 1.
    Rotate {
        #[command(flatten)]
        server: StoreArgs,
        /// Change nothing; say how many envelopes are under which key
        #[arg(long, visible_alias = "dry-run")]
        check: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Flags of commands that work on what is kept.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StoreArgs {
    /// Configuration file (TOML); `slipway.toml` here when there is one
    #[arg(long, value_name = "FILE", env = slipway_config::CONFIG_VARIABLE)]
    config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl From<StoreArgs> for ServerArgs {
    fn from(args: StoreArgs) -> Self {
        Self { config: args.config, data_dir: args.data_dir, listen: None }
    }
}

/// What a command changes in the defaults.
#[derive(Debug, Clone, Copy)]
enum Flavour {
    /// A process of an installation.
    Production,
    /// One without doors: `--listen` is where it tells how it is.
    Worker,
    /// `dev` and `demo`: one machine, one person.
    Local { data_dir: &'static str, log_level: &'static str },
}

/// The configuration of a command that works on what is kept.
pub(crate) fn load_of_store(args: StoreArgs) -> anyhow::Result<Loaded> {
    load(&args.into(), None, Flavour::Production)
}

fn load(args: &ServerArgs, queues: Option<String>, flavour: Flavour) -> anyhow::Result<Loaded> {
    let mut loader = Loader::new(read_environment())
        .with_file(args.config.clone())
        .with_flag("data_dir", args.data_dir.as_ref().map(|d| d.display().to_string()))
        .with_flag("worker.queues", queues);
    let listen = if matches!(flavour, Flavour::Worker) { "worker.listen" } else { "api.listen" };
    loader = loader.with_flag(listen, args.listen);
    if let Flavour::Local { data_dir, log_level } = flavour {
        loader = loader
            .with_default("data_dir", data_dir)
            .with_default("telemetry.log_format", "text")
            .with_default("telemetry.log_level", log_level)
            .with_default("auth.mode", "none")
            .with_default("source.directory_root", ".")
            .with_default("source.git_allow_file", "true")
            .with_default("outbound.allow", "127.0.0.0/8,::1");
    }
    Ok(loader.load()?)
}

/// The configuration of a command that operates what is kept.
pub(crate) fn operator_config(
    config: Option<PathBuf>,
    data_dir: Option<PathBuf>,
) -> anyhow::Result<slipway_config::Config> {
    let args = StoreArgs { config, data_dir };
    Ok(load(&args.into(), None, Flavour::Production)?.config)
}

const DEV: Flavour = Flavour::Local { data_dir: ".slipway", log_level: "info" };
const DEMO: Flavour = Flavour::Local { data_dir: ".slipway-demo", log_level: "warn" };

pub(crate) async fn run(command: ServerCommand) -> anyhow::Result<()> {
    let both = Roles { api: true, worker: true };
    match command {
        ServerCommand::Dev(args) => serve(&load(&args, None, DEV)?, both, true).await,
        ServerCommand::Demo { server, exit } => {
            let loaded = load(&server, None, DEMO)?;
            let telemetry = Telemetry::init(&wire::telemetry(&loaded.config))?;
            let shown = demo::run(&loaded.config, exit).await;
            flush(telemetry);
            shown
        }
        ServerCommand::Api(args) => {
            let roles = Roles { worker: false, ..both };
            serve(&load(&args, None, Flavour::Production)?, roles, false).await
        }
        ServerCommand::Worker { server, queue } => {
            let roles = Roles { api: false, ..both };
            serve(&load(&server, queue, Flavour::Worker)?, roles, false).await
        }
        ServerCommand::Migrate(args) => {
            operate::migrate(&load(&args, None, Flavour::Production)?.config).await
        }
        ServerCommand::Openapi => operate::openapi(),
        ServerCommand::Config { server, schema } => {
            if schema {
                return operate::schema();
            }
            print!("{}", load(&server, None, Flavour::Production)?.render());
            Ok(())
        }
        ServerCommand::Doctor(args) => {
            operate::doctor(&load(&args, None, Flavour::Production)?.config).await
        }
        ServerCommand::Admin(command) => admin::run(command).await,
        ServerCommand::Keys(KeysCommand::Generate) => keys::generate(),
        ServerCommand::Keys(KeysCommand::Rotate { server, check, json }) => {
            let loaded = load(&server.into(), None, Flavour::Production)?;
            keys::rotate(&loaded.config, check, json).await
        }
    }
}

async fn serve(loaded: &Loaded, roles: Roles, local: bool) -> anyhow::Result<()> {
    let config = &loaded.config;
    let telemetry = Telemetry::init(&wire::telemetry(config))?;
    let served = async {
        let running = lifecycle::start(config, roles).await?;
        if let Some(address) = running.address {
            tracing::info!(%address, "listening");
            if local {
                eprintln!(
                    "Slipway listens on http://{address}  (API docs: http://{address}/docs, MCP: \
                     http://{address}/mcp)"
                );
            }
            if roles.api {
                say_who_may(config, running.cx()).await?;
            }
        }
        running.until_signal().await
    };
    let served = served.await;
    flush(telemetry);
    served
}

/// Says on standard error, not in the log, what a person must know of who may come in.
async fn say_who_may(config: &slipway_config::Config, cx: &Ctx) -> anyhow::Result<()> {
    if config.auth.mode == AuthMode::None {
        let text = "Nobody has to sign in: whoever reaches it on this machine may do everything.";
        if std::io::stderr().is_terminal() {
            eprintln!("\x1b[1;31m{text}\x1b[0m");
        } else {
            eprintln!("{text}");
        }
        return Ok(());
    }
    if let Some(token) = sign_in::first_token(cx).await? {
        eprintln!(
            "There is no account yet. Make the first admin, either here with `slipway admin create \
             NAME`, or within 24 hours from elsewhere with\n  slipway register NAME \
             --first-token-file FILE\nwhere FILE holds this token, which is shown this once:\n  {}",
            token.reveal()
        );
    }
    Ok(())
}

fn flush(telemetry: slipway_telemetry::Guard) {
    if let Err(error) = telemetry.shutdown() {
        eprintln!("slipway: {error}");
    }
}
