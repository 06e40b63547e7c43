//! Signing in with a name and a password, making an account, and changing a password.

use std::collections::BTreeSet;

use chrono::SubsecRound as _;
use serde_json::json;
use slipway_domain::Secret;
use slipway_domain::access::{Principal, Role};
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::account::{
    Account, AccountKind, MAX_PASSWORD_BYTES, email_problem, name_problem, password_problem,
};
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::id::AccountId;
use slipway_domain::member::Member;
use slipway_store::Tx;

use super::password::Checked;
use super::session::{self, Browser, SignedIn};
use super::{denied, digest, new_secret, own_session, throttle};
use crate::Ctx;
use crate::change::{audit, audit_record};

/// What begins a token that makes the first admin.
const FIRST_PREFIX: &str = "slf_";
/// How long it is good.
const FIRST_LIFE: chrono::Duration = chrono::Duration::hours(24);

/// How somebody signs in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret<String>,
}

/// The one answer to a wrong password, an unknown name, and an account that was stopped.
fn wrong() -> Fault {
    Fault::new(Code::Unauthenticated, "The name or the password is not right.")
}

/// Who signs in with a name and a password. Costs the same whether or not there is such a name.
async fn check(cx: &Ctx, who: &Principal, login: &Login) -> Result<Right, Fault> {
    let Login { name, password } = login;
    // What can be nobody's is not worked on; the length is no secret of anybody.
    if name_problem(name).is_some() || password.reveal().len() > MAX_PASSWORD_BYTES {
        return Err(wrong());
    }
    let attempt = throttle::begin(cx, name, who.address.as_deref()).await?;
    let mut tx = cx.store.read().await?;
    let found = tx.account_to_sign_in(name).await?;
    drop(tx);
    let (account, hash) = match found {
        Some((account, hash)) => (Some(account), hash),
        None => (None, None),
    };
    let passwords = cx.gathered.auth.passwords();
    let checked = match passwords.check(password, hash.clone()).await {
        Ok(checked) => checked,
        Err(fault) => {
            attempt.take_back(cx).await;
            return Err(fault);
        }
    };
    let account = account.filter(|account| {
        checked != Checked::Wrong
            && account.disabled_at.is_none()
            && account.kind == AccountKind::Person
    });
    let mut tx = cx.store.begin().await?;
    let Some(account) = account else {
        // Names are not kept: people type passwords in their place.
        let detail = json!({"slowed": attempt.slowed});
        let target = if attempt.slowed { "guessing" } else { "sign-in" };
        tx.insert_audit(&[denied(cx, who, "session.login", target.to_owned(), detail)]).await?;
        tx.commit().await?;
        return Err(wrong());
    };
    attempt.succeeded(&mut tx, cx.now()).await?;
    tx.commit().await?;
    let mut hash = hash;
    if checked == Checked::RightButOld
        && let Some(old) = &hash
    {
        let new = passwords.hash(password).await?;
        let mut tx = cx.store.begin().await?;
        tx.rehash_password(account.id, old, &new).await?;
        tx.commit().await?;
        hash = Some(new);
    }
    Ok(Right { account, hash })
}

/// Somebody whose password was right.
struct Right {
    account: Account,
    /// What it was held against.
    hash: Option<String>,
}

impl Right {
    /// Whether it still is: working a password out takes long enough for it to be changed, or for the
    /// account to be stopped. Locks the account, so that neither is done before the session is there.
    async fn still(&self, tx: &mut Tx) -> Result<(), Fault> {
        let there = tx.lock_account(self.account.id).await?;
        let same = tx.password_hash(self.account.id).await? == self.hash;
        let there = there.is_some_and(|account| account.disabled_at.is_none());
        if there && same { Ok(()) } else { Err(wrong()) }
    }
}

/// Signs in; the answer holds tokens.
pub async fn login(cx: &Ctx, who: &Principal, login: &Login) -> Result<SignedIn, Fault> {
    let right = check(cx, who, login).await?;
    let account = &right.account;
    let session = session::new(cx, who, account.id, "password".to_owned(), Narrowing::default());
    let mut tx = cx.store.begin().await?;
    right.still(&mut tx).await?;
    record(cx, &mut tx, who, account, &session.id.to_string(), "password").await?;
    let refresh = session::begin(cx, &mut tx, &session).await?;
    tx.commit().await?;
    session::with_tokens(cx, session, &refresh).await
}

/// Signs a browser in; the answer holds a cookie.
pub async fn login_browser(cx: &Ctx, who: &Principal, login: &Login) -> Result<Browser, Fault> {
    let right = check(cx, who, login).await?;
    let account = &right.account;
    let session = session::new(cx, who, account.id, "password".to_owned(), Narrowing::default());
    let mut tx = cx.store.begin().await?;
    right.still(&mut tx).await?;
    record(cx, &mut tx, who, account, &session.id.to_string(), "password").await?;
    let browser = session::begin_browser(&mut tx, session).await?;
    tx.commit().await?;
    Ok(browser)
}

/// Puts a sign-in on record, as done by the account.
pub(crate) async fn record(
    cx: &Ctx,
    tx: &mut Tx,
    who: &Principal,
    account: &Account,
    session: &str,
    method: &str,
) -> Result<(), Fault> {
    let mut who = who.clone();
    who.actor.id = account.id.to_string();
    who.actor.kind = account.kind.actor();
    who.token = Some(session.to_owned());
    let detail = json!({"method": method});
    audit(cx, tx, &who, "session.login", session.to_owned(), detail).await
}

/// An account that is to be.
#[derive(Debug, Clone)]
pub struct NewPerson {
    /// What it signs in as.
    pub name: String,
    /// Where mail reaches them.
    pub email: Option<String>,
    /// Their password.
    pub password: Secret<String>,
}

impl NewPerson {
    /// Everything that is wrong with it.
    fn problems(&self) -> Vec<FieldError> {
        let mut problems: Vec<_> = name_problem(&self.name).into_iter().collect();
        problems.extend(self.email.as_deref().and_then(email_problem));
        problems.extend(password_problem("/password", self.password.reveal(), &self.name));
        problems
    }
}

/// Makes an account of a person. `first` makes them an admin of the house.
async fn make(
    cx: &Ctx,
    tx: &mut Tx,
    who: &Principal,
    person: &NewPerson,
    hash: &str,
    first: bool,
) -> Result<Account, Fault> {
    let now = cx.now().trunc_subsecs(6);
    let account = Account {
        id: AccountId::new(&*cx.mint),
        kind: AccountKind::Person,
        name: person.name.clone(),
        email: person.email.clone(),
        created_at: now,
        created_by: who.actor.clone(),
        disabled_at: None,
    };
    if !tx.insert_account(&account).await? {
        return Err(super::account::name_taken(&account.name));
    }
    tx.set_password(account.id, hash, now).await?;
    if first {
        make_admin(tx, who, account.id, now).await?;
    }
    let detail = json!({"name": account.name, "kind": account.kind, "admin": first});
    audit(cx, tx, who, "account.create", account.id.to_string(), detail).await?;
    Ok(account)
}

/// Whether anybody is an admin of the house, who is locked as such.
async fn has_admin(tx: &mut Tx) -> Result<bool, Fault> {
    let members = tx.lock_house_members().await?;
    Ok(members.iter().any(|member| member.roles.contains(&Role::Admin)))
}

async fn make_admin(
    tx: &mut Tx,
    who: &Principal,
    account_id: AccountId,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), Fault> {
    let member = Member {
        account_id,
        project: None,
        roles: BTreeSet::from([Role::Admin]),
        changed_by: who.actor.clone(),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    tx.set_member(&member, 0).await?;
    // What was shown at the first start is good for nothing any more.
    tx.clear_first_tokens().await?;
    Ok(())
}

/// Makes an account for whoever asks: where the operator allows that, or with the token that makes the
/// first admin.
pub async fn register(
    cx: &Ctx,
    who: &Principal,
    person: &NewPerson,
    first: Option<&Secret<String>>,
) -> Result<Account, Fault> {
    if first.is_none() && !cx.settings.auth.registration {
        let why = "Nobody makes an account alone here; ask an admin for one.";
        return Err(Fault::new(Code::Forbidden, why));
    }
    let problems = person.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let now = cx.now();
    // Not so many guesses at the token, and not so many accounts from one place.
    throttle::begin(cx, "+register", who.address.as_deref()).await?;
    let hash = cx.gathered.auth.passwords().hash(&person.password).await?;
    let mut tx = cx.store.begin().await?;
    if let Some(token) = first
        && (has_admin(&mut tx).await?
            || !tx.take_first_token(&digest(token.reveal().as_bytes()), now).await?)
    {
        let target = "first admin".to_owned();
        tx.insert_audit(&[denied(cx, who, "account.create", target, json!({}))]).await?;
        tx.commit().await?;
        let why = "This token makes no admin: it is another one, was used, or has expired. \
                   `slipway admin create` on the server always can.";
        return Err(Fault::new(Code::Unauthenticated, why));
    }
    let account = make(cx, &mut tx, who, person, &hash, first.is_some()).await?;
    tx.commit().await?;
    tracing::info!(account_id = %account.id, first = first.is_some(), "an account was made");
    Ok(account)
}

/// Makes an admin of the house: for whoever has the database itself in hand.
pub async fn create_admin(cx: &Ctx, who: &Principal, person: &NewPerson) -> Result<Account, Fault> {
    let problems = person.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let hash = cx.gathered.auth.passwords().hash(&person.password).await?;
    let mut tx = cx.store.begin().await?;
    let account = make(cx, &mut tx, who, person, &hash, true).await?;
    tx.commit().await?;
    Ok(account)
}

/// Makes an account for another person.
pub(crate) async fn create_for(
    cx: &Ctx,
    who: &Principal,
    person: &NewPerson,
) -> Result<Account, Fault> {
    let problems = person.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let hash = cx.gathered.auth.passwords().hash(&person.password).await?;
    let mut tx = cx.store.begin().await?;
    let account = make(cx, &mut tx, who, person, &hash, false).await?;
    tx.commit().await?;
    Ok(account)
}

/// A token that makes the first admin, when there is no account yet. It is shown once, here.
pub async fn first_token(cx: &Ctx) -> Result<Option<Secret<String>>, Fault> {
    let mut tx = cx.store.begin().await?;
    if tx.has_accounts().await? {
        return Ok(None);
    }
    let token = new_secret(FIRST_PREFIX)?;
    let end = (cx.now() + FIRST_LIFE).trunc_subsecs(6);
    tx.insert_first_token(&digest(token.as_bytes()), end).await?;
    tx.commit().await?;
    Ok(Some(Secret::new((*token).clone())))
}

/// Changes the password of whoever asks, and ends their other sessions.
pub async fn change_password(
    cx: &Ctx,
    who: &Principal,
    old: &Secret<String>,
    new: &Secret<String>,
) -> Result<(), Fault> {
    let mut tx = cx.store.read().await?;
    let (id, session) = own_session(&mut tx, who).await?;
    let account = tx.account(id).await?.ok_or_else(|| Fault::not_found("account", id))?;
    let hash = tx.password_hash(id).await?;
    drop(tx);
    if let Some(problem) = password_problem("/new_password", new.reveal(), &account.name) {
        return Err(Fault::fields(Code::InvalidInput, vec![problem]));
    }
    let attempt = throttle::begin(cx, &account.name, who.address.as_deref()).await?;
    let passwords = cx.gathered.auth.passwords();
    // Who signs in elsewhere only has none yet, and shows the session for it.
    let had_one = hash.is_some();
    if had_one && passwords.check(old, hash).await? == Checked::Wrong {
        let mut tx = cx.store.begin().await?;
        let record = denied(cx, who, "account.password", id.to_string(), json!({}));
        tx.insert_audit(&[record]).await?;
        tx.commit().await?;
        return Err(Fault::field("/password", "this is not the present password"));
    }
    let hash = passwords.hash(new).await?;
    let now = cx.now().trunc_subsecs(6);
    let mut tx = cx.store.begin().await?;
    attempt.succeeded(&mut tx, now).await?;
    tx.lock_account(id).await?;
    tx.set_password(id, &hash, now).await?;
    let ended = tx.end_sessions(id, Some(session), "password_changed", now).await?;
    let detail = json!({"sessions_ended": ended});
    audit(cx, &mut tx, who, "account.password", id.to_string(), detail).await?;
    tx.commit().await?;
    cx.gathered.auth.forget();
    Ok(())
}

/// Sets somebody's password: for whoever has the database itself in hand. Their sessions end.
pub async fn reset_password(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    new: &Secret<String>,
) -> Result<Account, Fault> {
    if let Some(problem) = password_problem("/password", new.reveal(), name) {
        return Err(Fault::fields(Code::InvalidInput, vec![problem]));
    }
    let hash = cx.gathered.auth.passwords().hash(new).await?;
    let now = cx.now().trunc_subsecs(6);
    let mut tx = cx.store.begin().await?;
    let found = tx.account_to_sign_in(name).await?;
    let (account, _) = found.ok_or_else(|| Fault::not_found("account", name))?;
    if account.kind != AccountKind::Person {
        return Err(Fault::new(Code::Conflict, "A service account has no password; it has keys."));
    }
    tx.lock_account(account.id).await?;
    tx.set_password(account.id, &hash, now).await?;
    let ended = tx.end_sessions(account.id, None, "password_changed", now).await?;
    let detail = json!({"sessions_ended": ended, "reset": true});
    let record = audit_record(cx, who, "account.password", account.id.to_string(), detail);
    tx.insert_audit(&[record]).await?;
    tx.commit().await?;
    Ok(account)
}
