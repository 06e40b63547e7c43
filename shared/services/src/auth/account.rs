//! Accounts: who there is.

use chrono::SubsecRound as _;
use serde_json::json;
use slipway_domain::access::{Principal, Scope};
use slipway_domain::auth::account::{Account, AccountKind, email_problem, name_problem};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::AccountId;
use slipway_domain::page::{Page, PageRequest};
use slipway_store::Tx;
pub use slipway_store::auth::account::Filter;

use super::own_account;
use super::sign_in::{self, NewPerson};
use crate::change::audit;
use crate::{Ctx, member};

/// An account that an admin makes.
#[derive(Debug, Clone)]
pub enum NewAccount {
    /// Of a person, with a first password.
    Person(NewPerson),
    /// Of a machine.
    Service {
        /// What it is called.
        name: String,
        /// Where mail reaches whoever answers for it.
        email: Option<String>,
    },
}

pub(crate) fn name_taken(name: &str) -> Fault {
    Fault::new(Code::Conflict, format!("There is an account {name:?} already."))
}

pub(crate) async fn is_there(tx: &mut Tx, id: AccountId) -> Result<Account, Fault> {
    tx.account(id).await?.ok_or_else(|| Fault::not_found("account", id))
}

/// The account of whoever asks.
pub async fn me(cx: &Ctx, who: &Principal) -> Result<Account, Fault> {
    let id = own_account(who)?;
    is_there(&mut cx.store.read().await?, id).await
}

/// Accounts, newest first.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<Account>, Fault> {
    who.need(Scope::AdminAccounts)?;
    let rows = cx.store.read().await?.accounts(filter, page).await?;
    Ok(Page::from_surplus(rows, page, |row| row.id.0))
}

/// One account. Everybody sees their own.
pub async fn get(cx: &Ctx, who: &Principal, id: AccountId) -> Result<Account, Fault> {
    if who.account() != Some(id) {
        who.need(Scope::AdminAccounts)?;
    }
    is_there(&mut cx.store.read().await?, id).await
}

/// Makes an account. It may do nothing until somebody makes it a member.
pub async fn create(cx: &Ctx, who: &Principal, new: &NewAccount) -> Result<Account, Fault> {
    who.need(Scope::AdminAccounts)?;
    let (name, email) = match new {
        NewAccount::Person(person) => return sign_in::create_for(cx, who, person).await,
        NewAccount::Service { name, email } => (name, email),
    };
    let mut problems: Vec<_> = name_problem(name).into_iter().collect();
    problems.extend(email.as_deref().and_then(email_problem));
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let account = Account {
        id: AccountId::new(&*cx.mint),
        kind: AccountKind::Service,
        name: name.clone(),
        email: email.clone(),
        created_at: cx.now().trunc_subsecs(6),
        created_by: who.actor.clone(),
        disabled_at: None,
    };
    let mut tx = cx.store.begin().await?;
    if !tx.insert_account(&account).await? {
        return Err(name_taken(name));
    }
    let detail = json!({"name": name, "kind": account.kind});
    audit(cx, &mut tx, who, "account.create", account.id.to_string(), detail).await?;
    tx.commit().await?;
    tracing::info!(account_id = %account.id, by = who.actor.id, "an account was made");
    Ok(account)
}

/// Stops an account, or lets it go on: while it is stopped nothing of it is taken, neither a password
/// nor a key nor a token, and its sessions have ended. Doing it twice is the same.
pub async fn set_disabled(
    cx: &Ctx,
    who: &Principal,
    id: AccountId,
    disabled: bool,
) -> Result<Account, Fault> {
    who.need(Scope::AdminAccounts)?;
    if who.account() == Some(id) {
        // So there is always somebody left who can undo it.
        return Err(Fault::new(
            Code::Conflict,
            "Nobody stops their own account; ask somebody else.",
        ));
    }
    let now = cx.now().trunc_subsecs(6);
    let mut tx = cx.store.begin().await?;
    if disabled {
        member::another_admin_stays(&mut tx, id).await?;
    }
    let found = tx.lock_account(id).await?;
    let mut account = found.ok_or_else(|| Fault::not_found("account", id))?;
    if account.disabled_at.is_some() == disabled {
        return Ok(account);
    }
    account.disabled_at = disabled.then_some(now);
    tx.set_account_disabled(id, account.disabled_at).await?;
    let ended = if disabled { tx.end_sessions(id, None, "disabled", now).await? } else { 0 };
    let action = if disabled { "account.disable" } else { "account.enable" };
    let detail = json!({"sessions_ended": ended});
    audit(cx, &mut tx, who, action, id.to_string(), detail).await?;
    tx.commit().await?;
    cx.gathered.auth.forget();
    tracing::info!(account_id = %id, disabled, by = who.actor.id, "an account was stopped or let go on");
    Ok(account)
}
