//! Arguments of what is about who somebody is: signing in, keys, sessions, accounts.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use slipway_domain::access::Scope;
use slipway_domain::auth::address::AddressRange;
use slipway_domain::id::{AccountId, ApiKeyId, SessionId};

/// `slipway login`.
#[derive(Debug, Clone, Args)]
pub struct LoginArgs {
    /// What to sign in as
    #[arg(required_unless_present = "token_file")]
    pub name: Option<String>,
    /// File with the password; `-` is standard input. Asked for on a terminal when absent
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Keep this API key instead of signing in; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "password_file"])]
    pub token_file: Option<PathBuf>,
}

/// `slipway register`.
#[derive(Debug, Clone, Args)]
pub struct RegisterArgs {
    /// What to sign in as
    pub name: String,
    /// Where mail reaches you
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// File with the password; `-` is standard input. Asked for on a terminal when absent
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// File with the token that the server showed at its first start: makes the first admin
    #[arg(long, value_name = "FILE")]
    pub first_token_file: Option<PathBuf>,
}

/// `slipway api-keys`.
#[derive(Debug, Clone, Args)]
pub struct ApiKeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ApiKeysVerb,
}

/// What to do with API keys.
#[derive(Debug, Clone, Subcommand)]
pub enum ApiKeysVerb {
    /// List your keys, or those of an account
    List {
        /// Of this account
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<AccountId>,
    },
    /// Make a key and print it; it is shown this once
    Create {
        /// What to call it
        name: String,
        /// A scope that it has; give it once for each
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scope)]
        scopes: Vec<Scope>,
        /// Only in this project
        #[arg(long)]
        project: Option<String>,
        /// Only from this address or range
        #[arg(long = "address", value_name = "RANGE")]
        addresses: Vec<AddressRange>,
        /// When it ends by itself (RFC 3339); in 90 days when absent
        #[arg(long, value_name = "TIME")]
        expires_at: Option<DateTime<Utc>>,
        /// Of this service account
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<AccountId>,
    },
    /// Take a key back
    Revoke {
        /// The key.
        id: ApiKeyId,
    },
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| {
        let known: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        format!("known scopes are {}", known.join(", "))
    })
}

/// `slipway sessions`.
#[derive(Debug, Clone, Args)]
pub struct SessionsArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: SessionsVerb,
}

/// What to do with sessions.
#[derive(Debug, Clone, Subcommand)]
pub enum SessionsVerb {
    /// List your sessions, or those of an account
    List {
        /// Of this account
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<AccountId>,
    },
    /// End a session, or all your other ones
    Revoke {
        /// The session
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<SessionId>,
        /// All your other ones
        #[arg(long)]
        all: bool,
    },
}

/// `slipway accounts`.
#[derive(Debug, Clone, Args)]
pub struct AccountsArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: AccountsVerb,
}

/// What to do with accounts.
#[derive(Debug, Clone, Subcommand)]
pub enum AccountsVerb {
    /// List the accounts
    List,
    /// Make a service account; `slipway members` says what it may do, `slipway api-keys` gives it keys
    CreateService {
        /// What to call it
        name: String,
        /// Where mail reaches whoever answers for it
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
    },
    /// Make an account of a person
    Create {
        /// What they sign in as
        name: String,
        /// Where mail reaches them
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// File with their first password; `-` is standard input. Asked for on a terminal when absent
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Stop an account: nothing of it is taken any more
    Disable {
        /// The account.
        id: AccountId,
    },
    /// Let a stopped account go on
    Enable {
        /// The account.
        id: AccountId,
    },
}
