//! The one executable: every process of an installation, and its client.

mod admin;
mod demo;
mod gate_tools;
mod keys;
mod lifecycle;
mod operate;
mod server;
mod wire;
mod work_dir;

use std::process::ExitCode;

use clap::Parser;
use slipway_app::cli::{AuditArgs, AuditVerb, ClientCommand, ClientGlobal};

use crate::server::ServerCommand;

/// Self-hosted deployment control plane: plan, review, approve and apply, on durable queues.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, about, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    client: ClientGlobal,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Server(ServerCommand),
    #[command(flatten)]
    Client(ClientCommand),
}

fn main() -> ExitCode {
    // Before anything else: it must cost next to nothing.
    if let Some(code) = slipway_process::guard() {
        return code;
    }
    // One TLS stack for every crate that asks; it fails only when it was chosen before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return slipway_app::client::exit::usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("slipway: the async runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match cli.command {
        Command::Client(ClientCommand::Audit(AuditArgs { verb: AuditVerb::Verify(args) }))
            if args.database =>
        {
            runtime.block_on(operate::verify_audit(args, cli.client.json))
        }
        Command::Client(command) => runtime.block_on(slipway_app::client::run(command, cli.client)),
        Command::Server(command) => match runtime.block_on(server::run(command)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("slipway: {error:#}");
                ExitCode::FAILURE
            }
        },
    };
    // A blocked thread (a DNS lookup, say) must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    code
}
