//! Signing in at a provider, and linking an account to one.
//!
//! The browser goes to the provider and comes back with a code. What must come back with it (`state`)
//! is random, good once, and only from the browser that began: that has a cookie. What proves the code
//! (PKCE) and what must stand in the provider's token (nonce) are worked out from `state` by a key of
//! the house, so that nothing of it is kept. An account is known by the provider's own number of
//! somebody, never by an address of mail; one is linked only by who has signed in to it.

use chrono::SubsecRound as _;
use serde_json::json;
use slipway_domain::Secret;
use slipway_domain::access::Principal;
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::account::{Account, AccountKind, name_problem};
use slipway_domain::auth::identity::{Identity, Proven};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::AccountId;
use slipway_domain::port::identity_provider::{IdentityError, IdentityProvider, SignIn};
use slipway_store::Tx;
use slipway_store::auth::sign_in::Visit;

use super::session::{self, Browser};
use super::{denied, digest, new_secret, own_account, own_session, secret_text, sign_in};
use crate::Ctx;
use crate::change::audit;

/// How long somebody may stay at a provider.
const STAY: chrono::Duration = chrono::Duration::minutes(10);
/// Longest path to go back to.
const MAX_RETURN: usize = 1000;
/// Longest code or state that a provider sends back.
const MAX_BACK: usize = 4096;

/// Where somebody can sign in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Choice {
    /// What paths call it.
    #[schema(example = "github")]
    pub name: String,
    /// What people call it.
    #[schema(example = "GitHub")]
    pub title: String,
}

/// Where people can sign in, beside here.
pub fn list(cx: &Ctx) -> Vec<Choice> {
    let choice = |p: &std::sync::Arc<dyn IdentityProvider>| Choice {
        name: p.name().to_owned(),
        title: p.title().to_owned(),
    };
    cx.settings.auth.providers.iter().map(choice).collect()
}

/// A sign-in that has begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Where the browser goes.
    pub url: String,
    /// What the browser keeps until it is back.
    pub cookie: Secret<String>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Finished {
    /// They have signed in.
    SignedIn {
        /// The session.
        browser: Box<Browser>,
        /// Where the browser goes.
        return_to: String,
    },
    /// The account is linked.
    Linked {
        /// Where the browser goes.
        return_to: String,
    },
}

fn provider<'a>(cx: &'a Ctx, name: &str) -> Result<&'a dyn IdentityProvider, Fault> {
    let found = cx.settings.auth.providers.iter().find(|provider| provider.name() == name);
    found.map(|provider| &**provider).ok_or_else(|| {
        let name: String = name.chars().take(80).collect();
        Fault::not_found("provider", format!("{name:?}"))
    })
}

fn ask(cx: &Ctx, provider: &str, state: &Secret<String>) -> SignIn {
    let derived = |label: &str| {
        let bytes = cx.store.house().derived(label, state.reveal().as_bytes());
        Secret::new((*secret_text("", &bytes)).clone())
    };
    SignIn {
        redirect_uri: format!(
            "{}/api/v1/auth/providers/{provider}/callback",
            cx.settings.auth.issuer
        ),
        state: state.clone(),
        nonce: derived("provider nonce"),
        verifier: derived("provider verifier"),
    }
}

fn fault_of(error: IdentityError) -> Fault {
    match error {
        IdentityError::Away(why) => {
            Fault::unavailable("The provider cannot be asked at the moment; try again.", why)
        }
        IdentityError::Refused(why) => {
            tracing::warn!(why, "a sign-in at a provider was refused");
            refused()
        }
    }
}

fn refused() -> Fault {
    Fault::new(
        Code::Unauthenticated,
        "The sign-in at the provider was not completed, or not by this browser. Begin it again.",
    )
}

/// Only paths of our own.
fn check_return(return_to: &str) -> Result<(), Fault> {
    let own = return_to.starts_with('/')
        && !return_to.starts_with("//")
        && return_to.len() <= MAX_RETURN
        && return_to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if own { Ok(()) } else { Err(Fault::field("/return_to", "it must be a path on this server")) }
}

/// Begins a sign-in; with `link`, the linking of the account of whoever asks.
pub async fn begin(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    return_to: &str,
    link: bool,
) -> Result<Begun, Fault> {
    let at = provider(cx, name)?;
    check_return(return_to)?;
    let own = if link { Some(own_session(&mut cx.store.read().await?, who).await?) } else { None };
    let state = Secret::new((*new_secret("")?).clone());
    let cookie = new_secret("")?;
    let url = at.authorize_url(&ask(cx, name, &state)).await.map_err(fault_of)?;
    let visit = Visit {
        provider: name.to_owned(),
        account_id: own.map(|(account, _)| account),
        session_id: own.map(|(_, session)| session),
        return_to: return_to.to_owned(),
        expires_at: (cx.now() + STAY).trunc_subsecs(6),
    };
    let mut tx = cx.store.begin().await?;
    let (state, kept) = (digest(state.reveal().as_bytes()), digest(cookie.as_bytes()));
    tx.insert_visit(&state, &kept, &visit).await?;
    tx.commit().await?;
    Ok(Begun { url, cookie: Secret::new((*cookie).clone()) })
}

/// What a browser brings back.
#[derive(Debug, Clone)]
pub struct Back {
    /// What we gave the provider to send back.
    pub state: Secret<String>,
    /// What can be changed for who they are.
    pub code: Secret<String>,
    /// What the browser kept.
    pub cookie: Secret<String>,
}

/// Finishes what the browser has begun.
pub async fn finish(cx: &Ctx, who: &Principal, name: &str, back: &Back) -> Result<Finished, Fault> {
    let at = provider(cx, name)?;
    if [&back.state, &back.code, &back.cookie].iter().any(|text| text.reveal().len() > MAX_BACK) {
        return Err(refused());
    }
    let (state, cookie) =
        (digest(back.state.reveal().as_bytes()), digest(back.cookie.reveal().as_bytes()));
    let mut tx = cx.store.begin().await?;
    // Gone, whatever comes of it: it is good once.
    let visit = tx.take_visit(&state, &cookie).await?;
    tx.commit().await?;
    let visit = visit.filter(|visit| visit.provider == name && cx.now() < visit.expires_at);
    let visit = visit.ok_or_else(refused)?;
    let proven = at.identify(&back.code, &ask(cx, name, &back.state), cx.now()).await;
    let proven = proven.map_err(fault_of)?;
    if let Some(account) = visit.account_id {
        link(cx, who, at, account, &visit, &proven).await?;
        Ok(Finished::Linked { return_to: visit.return_to })
    } else {
        let browser = Box::new(sign_in_as(cx, who, at, &proven).await?);
        Ok(Finished::SignedIn { browser, return_to: visit.return_to })
    }
}

async fn link(
    cx: &Ctx,
    who: &Principal,
    at: &dyn IdentityProvider,
    account: AccountId,
    visit: &Visit,
    proven: &Proven,
) -> Result<(), Fault> {
    let name = at.name();
    let mut tx = cx.store.begin().await?;
    // Who began it may have been put out meanwhile.
    let session = match visit.session_id {
        Some(id) => tx.session(id).await?.filter(|session| session.is_live(cx.now())),
        None => None,
    };
    session.filter(|session| session.account_id == account).ok_or_else(refused)?;
    let found = tx.lock_account(account).await?.filter(|found| found.disabled_at.is_none());
    let found = found.ok_or_else(refused)?;
    let identity = identity(cx, at, account, proven);
    if !tx.insert_identity(&identity).await? {
        let there = tx.identity(name, at.issuer(), &proven.subject).await?;
        return match there {
            Some(there) if there.account_id == account => Ok(()),
            _ => Err(Fault::new(Code::Conflict, "Another account is linked to this sign-in.")),
        };
    }
    let mut who = who.clone();
    who.actor.id = found.id.to_string();
    let detail = json!({"provider": name, "subject": proven.subject});
    audit(cx, &mut tx, &who, "identity.link", account.to_string(), detail).await?;
    tx.commit().await?;
    Ok(())
}

fn identity(
    cx: &Ctx,
    at: &dyn IdentityProvider,
    account_id: AccountId,
    proven: &Proven,
) -> Identity {
    Identity {
        provider: at.name().to_owned(),
        issuer: at.issuer().to_owned(),
        subject: proven.subject.clone(),
        account_id,
        email: proven.verified_email.clone(),
        created_at: cx.now().trunc_subsecs(6),
    }
}

async fn sign_in_as(
    cx: &Ctx,
    who: &Principal,
    at: &dyn IdentityProvider,
    proven: &Proven,
) -> Result<Browser, Fault> {
    let name = at.name();
    let mut tx = cx.store.begin().await?;
    let account = match tx.identity(name, at.issuer(), &proven.subject).await? {
        Some(identity) => tx.account(identity.account_id).await?,
        None if may_have_one(cx, proven) => Some(make(cx, &mut tx, who, at, proven).await?),
        None => None,
    };
    let account = account.filter(|account| account.disabled_at.is_none());
    let Some(account) = account else {
        let detail = json!({"provider": name, "subject": proven.subject});
        let record = denied(cx, who, "session.login", "sign-in".to_owned(), detail);
        tx.insert_audit(&[record]).await?;
        tx.commit().await?;
        let why = "No account here is linked to this sign-in. Sign in as usual and link it, or ask \
                   an admin.";
        return Err(Fault::new(Code::Forbidden, why));
    };
    let method = format!("provider:{name}");
    let session = session::new(cx, who, account.id, method.clone(), Narrowing::default());
    sign_in::record(cx, &mut tx, who, &account, &session.id.to_string(), &method).await?;
    let browser = session::begin_browser(&mut tx, session).await?;
    tx.commit().await?;
    Ok(browser)
}

fn may_have_one(cx: &Ctx, proven: &Proven) -> bool {
    let settings = &cx.settings.auth;
    let domain = proven.verified_email.as_deref().and_then(|mail| mail.rsplit_once('@'));
    let domain = domain.map(|(_, domain)| domain.to_ascii_lowercase());
    settings.provider_accounts
        && (settings.email_domains.is_empty()
            || domain.is_some_and(|domain| settings.email_domains.contains(&domain)))
}

/// An account for somebody new. It may do nothing until somebody makes it a member.
async fn make(
    cx: &Ctx,
    tx: &mut Tx,
    who: &Principal,
    at: &dyn IdentityProvider,
    proven: &Proven,
) -> Result<Account, Fault> {
    let provider = at.name();
    let id = AccountId::new(&*cx.mint);
    let wanted = proven.name.clone().unwrap_or_default().to_ascii_lowercase();
    let wanted: String = wanted
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(40)
        .collect();
    let own = format!("{provider}-{}", id.0.simple());
    let wanted = format!("{provider}-{}", wanted.trim_matches('-'));
    let mut account = Account {
        id,
        kind: AccountKind::Person,
        name: if name_problem(&wanted).is_none() { wanted } else { own.clone() },
        email: proven.verified_email.clone(),
        created_at: cx.now().trunc_subsecs(6),
        created_by: who.actor.clone(),
        disabled_at: None,
    };
    if !tx.insert_account(&account).await? {
        account.name = own;
        if !tx.insert_account(&account).await? {
            return Err(super::account::name_taken(&account.name));
        }
    }
    if !tx.insert_identity(&identity(cx, at, id, proven)).await? {
        // They came back in two windows at once, and the other one made it.
        let why = "This sign-in was finished in another window already; begin it again.";
        return Err(Fault::new(Code::Conflict, why));
    }
    let detail = json!({"name": account.name, "kind": account.kind, "provider": provider,
        "subject": proven.subject});
    audit(cx, tx, who, "account.create", id.to_string(), detail).await?;
    Ok(account)
}

/// Where whoever asks can sign in.
pub async fn identities(cx: &Ctx, who: &Principal) -> Result<Vec<Identity>, Fault> {
    let of = own_account(who)?;
    Ok(cx.store.read().await?.identities(of).await?)
}

/// Unlinks the account of whoever asks from a provider. The last way to sign in stays.
pub async fn unlink(cx: &Ctx, who: &Principal, name: &str) -> Result<(), Fault> {
    let mut tx = cx.store.begin().await?;
    let (of, _) = own_session(&mut tx, who).await?;
    tx.lock_account(of).await?;
    let linked = tx.identities(of).await?;
    if !linked.iter().any(|identity| identity.provider == name) {
        let name: String = name.chars().take(80).collect();
        return Err(Fault::not_found("identity at", format!("{name:?}")));
    }
    let others = linked.iter().any(|identity| identity.provider != name);
    if !others && tx.password_hash(of).await?.is_none() {
        let why = "This is the only way to sign in to this account; set a password first.";
        return Err(Fault::new(Code::Conflict, why));
    }
    tx.delete_identities(of, name).await?;
    let detail = json!({"provider": name});
    audit(cx, &mut tx, who, "identity.unlink", of.to_string(), detail).await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_our_own_are_gone_back_to() {
        for good in ["/", "/a?b=c#d", "/deployments/dep_1"] {
            assert!(check_return(good).is_ok(), "{good}");
        }
        let long = format!("/{}", "a".repeat(2000));
        for bad in
            ["", "a", "//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", &long]
        {
            assert!(check_return(bad).is_err(), "{bad}");
        }
    }
}
