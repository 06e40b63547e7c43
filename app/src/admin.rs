//! `slipway admin`: what only whoever holds the database and its keys can do.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use slipway_app::secret_input;
use slipway_domain::Secret;
use slipway_domain::access::{Door, Principal};
use slipway_domain::fault::Fault;
use slipway_services::auth::sign_in::{self, NewPerson};
use slipway_services::auth::signing_key;

use crate::server::{StoreArgs, load_of_store};
use crate::wire;

/// `slipway admin`.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Make an account that may do everything
    ///
    /// It works on the database itself, so the first admin is made with it. The password is asked for
    /// on the terminal, or read from a file or from standard input.
    Create {
        /// What to sign in as
        name: String,
        /// Where mail reaches them
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        #[command(flatten)]
        password: PasswordArgs,
        #[command(flatten)]
        server: StoreArgs,
    },
    /// Set somebody's password; their sessions end
    Password {
        /// What they sign in as
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
        #[command(flatten)]
        server: StoreArgs,
    },
    /// Have the next key sign access tokens
    ///
    /// What was signed before is good until it ends, and every process learns of it within a minute.
    RotateSigningKey {
        /// Throw all keys away, and with them every access token that is out
        #[arg(long)]
        revoke: bool,
        #[command(flatten)]
        server: StoreArgs,
    },
}

/// Where a password comes from.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// File with the password; `-` is standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    fn read(&self) -> anyhow::Result<Secret<String>> {
        secret_input::read(self.password_file.as_deref(), "Password")
            .context("the password cannot be read")
    }
}

/// Does what `command` says, as the person at the machine.
pub(crate) async fn run(command: AdminCommand) -> anyhow::Result<()> {
    let who = Principal::local(Door::Internal);
    match command {
        AdminCommand::Create { name, email, password, server } => {
            let config = load_of_store(server)?.config;
            let person = NewPerson { name, email, password: password.read()? };
            let cx = wire::house(&config).await?.cx;
            let made = sign_in::create_admin(&cx, &who, &person).await;
            cx.store.close().await;
            let made = made.map_err(told)?;
            println!("{} ({}) is an admin.", made.name, made.id);
        }
        AdminCommand::Password { name, password, server } => {
            let config = load_of_store(server)?.config;
            let password = password.read()?;
            let cx = wire::house(&config).await?.cx;
            let done = sign_in::reset_password(&cx, &who, &name, &password).await;
            cx.store.close().await;
            println!(
                "{} has another password; their sessions have ended.",
                done.map_err(told)?.name
            );
        }
        AdminCommand::RotateSigningKey { revoke, server } => {
            let config = load_of_store(server)?.config;
            let cx = wire::house(&config).await?.cx;
            let done = signing_key::rotate(&cx, &who, revoke).await;
            cx.store.close().await;
            let rotated = done.map_err(told)?;
            println!("{} signs access tokens now.", rotated.current);
        }
    }
    Ok(())
}

/// All that is wrong, in one text.
fn told(fault: Fault) -> anyhow::Error {
    let fields: Vec<String> =
        fault.errors.iter().map(|e| format!("{}: {}", e.pointer, e.detail)).collect();
    if fields.is_empty() { fault.into() } else { anyhow::anyhow!(fields.join("; ")) }
}
