//! `slipway login`, `logout`, `whoami`, `register`, `api-keys`, `sessions`, `accounts`.

use std::path::Path;

use slipway_domain::Secret;
use slipway_domain::auth::account::AccountKind;
use slipway_domain::auth::api_key::NewApiKey;

use super::Desk;
use crate::cli::auth::{AccountsVerb, ApiKeysVerb, LoginArgs, RegisterArgs, SessionsVerb};
use crate::client::credentials::{CredentialsFile, Kept};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::view;
use crate::secret_input;

fn secret(file: Option<&Path>, question: &str) -> Result<Secret<String>, ClientError> {
    secret_input::read(file, question)
        .map_err(|why| ClientError::Input(format!("{}: {why}", question.to_lowercase())))
}

fn file() -> Result<CredentialsFile, ClientError> {
    CredentialsFile::of_user().ok_or_else(|| {
        let why = "there is no home directory to keep credentials in; set SLIPWAY_TOKEN instead";
        ClientError::Input(why.to_owned())
    })
}

/// `slipway login`.
pub(super) async fn login(desk: &Desk<'_>, args: LoginArgs) -> Result<Exit, ClientError> {
    let file = file()?;
    let server = desk.client.base().to_owned();
    if let Some(path) = &args.token_file {
        let token = secret(Some(path), "Token")?;
        let kept = Kept::Key { token: token.reveal().clone() };
        // Tried before it is kept.
        let trying = desk.client.clone().showing(Some(token), None);
        let me = trying.whoami().await?;
        file.set(&server, Some(kept))?;
        desk.screen.result(&me, |_| view::whoami(&me))?;
        return Ok(Exit::Success);
    }
    let name = args.name.unwrap_or_default();
    let password = secret(args.password_file.as_deref(), "Password")?;
    let tokens = desk.client.login(&name, &password).await?;
    file.set(&server, Some(tokens.kept()))?;
    let until = tokens.session.expires_at;
    desk.screen.result(&tokens.session, |_| {
        let day = until.format("%Y-%m-%d");
        format!("Signed in to {server} as {name}; the session ends on {day} at the latest.\n")
    })?;
    Ok(Exit::Success)
}

/// `slipway logout`.
pub(super) async fn logout(desk: &Desk<'_>) -> Result<Exit, ClientError> {
    let file = file()?;
    let server = desk.client.base().to_owned();
    let ended = match file.get(&server)? {
        Some(Kept::Session { .. }) => desk.client.logout().await,
        // A key has no session; what is here of it is forgotten.
        Some(Kept::Key { .. }) | None => Ok(()),
    };
    file.set(&server, None)?;
    match ended {
        // It had ended already.
        Err(ClientError::Refused(problem)) if problem.status == 401 => {}
        other => other?,
    }
    desk.screen.tell(&format!("Signed out of {server}.\n"))?;
    Ok(Exit::Success)
}

/// `slipway whoami`.
pub(super) async fn whoami(desk: &Desk<'_>) -> Result<Exit, ClientError> {
    let me = desk.client.whoami().await?;
    desk.screen.result(&me, |_| view::whoami(&me))?;
    Ok(Exit::Success)
}

/// `slipway register`.
pub(super) async fn register(desk: &Desk<'_>, args: RegisterArgs) -> Result<Exit, ClientError> {
    let first = args.first_token_file.as_deref().map(|path| secret(Some(path), "First token"));
    let first = first.transpose()?;
    let password = secret(args.password_file.as_deref(), "Password")?;
    let email = args.email.as_deref();
    let made = desk.client.register(&args.name, email, &password, first.as_ref()).await?;
    desk.screen.result(&made, |_| {
        format!(
            "There is an account {} now ({}). Sign in with: slipway login {}\n",
            made.name, made.id, made.name
        )
    })?;
    Ok(Exit::Success)
}

/// `slipway api-keys`.
pub(super) async fn api_keys(desk: &Desk<'_>, verb: ApiKeysVerb) -> Result<Exit, ClientError> {
    match verb {
        ApiKeysVerb::List { account } => {
            let page = desk.client.api_keys(account).await?;
            desk.screen.result(&page, |_| view::api_keys(&page.items, Desk::now()))?;
        }
        ApiKeysVerb::Create { name, scopes, project, addresses, expires_at, account } => {
            let new = NewApiKey {
                name,
                scopes: scopes.into_iter().collect(),
                project,
                addresses,
                expires_at,
                account_id: account,
            };
            let made = desk.client.create_api_key(&new).await?;
            // The key alone, so that it can be piped to where it is kept.
            desk.screen.result(&made, |_| format!("{}\n", made.token))?;
        }
        ApiKeysVerb::Revoke { id } => {
            desk.client.revoke_api_key(id).await?;
            desk.screen.tell(&format!("{id} is good for nothing any more.\n"))?;
        }
    }
    Ok(Exit::Success)
}

/// `slipway sessions`.
pub(super) async fn sessions(desk: &Desk<'_>, verb: SessionsVerb) -> Result<Exit, ClientError> {
    match verb {
        SessionsVerb::List { account } => {
            let page = desk.client.sessions(account).await?;
            desk.screen.result(&page, |_| view::sessions(&page.items, Desk::now()))?;
        }
        SessionsVerb::Revoke { id: Some(id), .. } => {
            desk.client.revoke_session(id).await?;
            desk.screen.tell(&format!("{id} has ended.\n"))?;
        }
        SessionsVerb::Revoke { id: None, .. } => {
            desk.client.revoke_sessions().await?;
            desk.screen.tell("All your other sessions have ended.\n")?;
        }
    }
    Ok(Exit::Success)
}

/// `slipway accounts`.
pub(super) async fn accounts(desk: &Desk<'_>, verb: AccountsVerb) -> Result<Exit, ClientError> {
    let account = match verb {
        AccountsVerb::List => {
            let page = desk.client.accounts().await?;
            desk.screen.result(&page, |_| view::accounts(&page.items))?;
            return Ok(Exit::Success);
        }
        AccountsVerb::CreateService { name, email } => {
            let kind = AccountKind::Service;
            desk.client.create_account(kind, &name, email.as_deref(), None).await?
        }
        AccountsVerb::Create { name, email, password_file } => {
            let password = secret(password_file.as_deref(), "Password")?;
            let kind = AccountKind::Person;
            desk.client.create_account(kind, &name, email.as_deref(), Some(&password)).await?
        }
        AccountsVerb::Disable { id } => desk.client.set_account_disabled(id, true).await?,
        AccountsVerb::Enable { id } => desk.client.set_account_disabled(id, false).await?,
    };
    desk.screen.result(&account, |_| view::accounts(std::slice::from_ref(&account)))?;
    Ok(Exit::Success)
}
