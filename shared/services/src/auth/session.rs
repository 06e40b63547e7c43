//! Sessions: beginning, refreshing and ending them.
//!
//! A refresh token is good once: it is changed for its successor. Should the answer be lost, the same
//! successor is given again for a few seconds; it can be, because it is worked out from the token by
//! a key of the house and kept nowhere. A token that comes later than that, or after its successor
//! was used, is in two hands: the session ends.

use chrono::{DateTime, Duration, SubsecRound as _, Utc};
use serde_json::json;
use slipway_domain::Secret;
use slipway_domain::access::{Door, Principal, Scope};
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::session::Session;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{AccountId, SessionId};
use slipway_domain::page::{Page, PageRequest};
use slipway_store::Tx;
use zeroize::Zeroizing;

use super::authenticate::COOKIE_PREFIX;
use super::{
    denied, digest, new_secret, own_account, own_session, secret_text, token, unauthenticated,
};
use crate::Ctx;
use crate::change::{audit, audit_record};

/// What begins a refresh token.
const REFRESH_PREFIX: &str = "slr_";
/// How long a lost answer is given again.
const GRACE: Duration = Duration::seconds(10);
/// Longest program name that is kept, in characters.
const MAX_AGENT: usize = 200;

/// What somebody has who has signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The session.
    pub session: Session,
    /// The access token.
    pub access_token: Secret<String>,
    /// How many seconds it is good.
    pub expires_in_s: u64,
    /// What to change for the next one.
    pub refresh_token: Secret<String>,
}

/// What a browser has that has signed in.
#[derive(Debug, Clone)]
pub struct Browser {
    /// The session.
    pub session: Session,
    /// Its cookie.
    pub cookie: Secret<String>,
}

/// A session in the making.
pub(crate) fn new(
    cx: &Ctx,
    who: &Principal,
    of: AccountId,
    method: String,
    narrowing: Narrowing,
) -> Session {
    let now = cx.now().trunc_subsecs(6);
    let agent = who.user_agent.as_ref();
    Session {
        id: SessionId::new(&*cx.mint),
        account_id: of,
        method,
        narrowing,
        address: who.address.clone(),
        user_agent: agent.map(|agent| agent.chars().take(MAX_AGENT).collect()),
        created_at: now,
        last_used_at: now,
        expires_at: now + cx.settings.auth.session_max,
        ended_at: None,
        ended_why: None,
    }
}

/// Begins a session with tokens, in the unit of work of the sign-in. Gives its refresh token;
/// [`with_tokens`] makes the answer of it, after the commit.
pub(crate) async fn begin(
    cx: &Ctx,
    tx: &mut Tx,
    session: &Session,
) -> Result<Zeroizing<String>, Fault> {
    tx.insert_session(session, None).await?;
    let refresh = new_secret(REFRESH_PREFIX)?;
    tx.insert_refresh(&digest(refresh.as_bytes()), session.id, refresh_end(cx, session)).await?;
    Ok(refresh)
}

/// Begins a session of a browser, in the unit of work of the sign-in.
pub(crate) async fn begin_browser(tx: &mut Tx, session: Session) -> Result<Browser, Fault> {
    let cookie = new_secret(COOKIE_PREFIX)?;
    tx.insert_session(&session, Some(&digest(cookie.as_bytes()))).await?;
    Ok(Browser { session, cookie: Secret::new((*cookie).clone()) })
}

/// What somebody has who has signed in. Never inside a unit of work: the keys that sign may have to
/// be read, or made, and SQLite has one writer.
pub(crate) async fn with_tokens(
    cx: &Ctx,
    session: Session,
    refresh: &Zeroizing<String>,
) -> Result<SignedIn, Fault> {
    let issued = token::issue(cx, &session, &[Door::Rest, Door::Mcp]).await?;
    Ok(SignedIn {
        session,
        access_token: issued.token,
        expires_in_s: issued.expires_in_s,
        refresh_token: Secret::new((**refresh).clone()),
    })
}

fn refresh_end(cx: &Ctx, session: &Session) -> DateTime<Utc> {
    (cx.now() + cx.settings.auth.session_idle).min(session.expires_at).trunc_subsecs(6)
}

/// Changes a refresh token for its successor and an access token.
pub async fn refresh(cx: &Ctx, who: &Principal, token: &Secret<String>) -> Result<SignedIn, Fault> {
    let text = token.reveal();
    if !text.starts_with(REFRESH_PREFIX) {
        return Err(unauthenticated());
    }
    let hash = digest(text.as_bytes());
    let now = cx.now().trunc_subsecs(6);
    let mut tx = cx.store.begin().await?;
    let kept = tx.lock_refresh(&hash).await?.ok_or_else(unauthenticated)?;
    let session = tx.lock_session(kept.session_id).await?.filter(|s| s.is_live(now));
    let session = session.ok_or_else(unauthenticated)?;
    let account = tx.account(session.account_id).await?;
    if now >= kept.expires_at || account.is_none_or(|account| account.disabled_at.is_some()) {
        return Err(unauthenticated());
    }
    let next = successor(cx, text);
    let next_hash = digest(next.as_bytes());
    if let Some(used_at) = kept.used_at {
        let unused = tx.lock_refresh(&next_hash).await?.is_some_and(|next| next.used_at.is_none());
        if now - used_at > GRACE || !unused {
            tx.end_session(session.id, "refresh_reused", now).await?;
            let detail = json!({"account": session.account_id, "why": "refresh token used twice"});
            tx.insert_audit(&[denied(cx, who, "session.refresh", session.id.to_string(), detail)])
                .await?;
            tx.commit().await?;
            cx.gathered.auth.forget();
            tracing::warn!(session_id = %session.id, account_id = %session.account_id,
                "a refresh token came twice; its session has ended");
            return Err(unauthenticated());
        }
    } else {
        tx.use_refresh(&hash, now).await?;
        tx.insert_refresh(&next_hash, session.id, refresh_end(cx, &session)).await?;
        tx.touch_session(session.id, now).await?;
    }
    tx.commit().await?;
    with_tokens(cx, session, &next).await
}

/// What a refresh token is changed for.
fn successor(cx: &Ctx, token: &str) -> Zeroizing<String> {
    secret_text(REFRESH_PREFIX, &cx.store.house().derived("refresh token", token.as_bytes()))
}

/// Ends the session that asks.
pub async fn logout(cx: &Ctx, who: &Principal) -> Result<(), Fault> {
    let account = own_account(who)?;
    let id = who.token.as_deref().and_then(|token| token.parse::<SessionId>().ok());
    let Some(id) = id else {
        let why = "An API key has no session that could end; revoke the key instead.";
        return Err(Fault::new(Code::Conflict, why));
    };
    end(cx, who, account, id, "logout").await
}

async fn end(
    cx: &Ctx,
    who: &Principal,
    of: AccountId,
    id: SessionId,
    why: &str,
) -> Result<(), Fault> {
    let mut tx = cx.store.begin().await?;
    let there = tx.session(id).await?.filter(|session| session.account_id == of);
    if there.is_none() {
        return Err(Fault::not_found("session", id));
    }
    if tx.end_session(id, why, cx.now().trunc_subsecs(6)).await? {
        let detail = json!({"account": of, "why": why});
        audit(cx, &mut tx, who, "session.end", id.to_string(), detail).await?;
    }
    tx.commit().await?;
    cx.gathered.auth.forget();
    Ok(())
}

/// Whose sessions: the caller's own, or those of another account, which needs the right to it.
fn whose(who: &Principal, of: Option<AccountId>) -> Result<AccountId, Fault> {
    match of {
        Some(of) if who.account() != Some(of) => {
            who.need(Scope::AdminAccounts)?;
            Ok(of)
        }
        _ => own_account(who),
    }
}

/// Sessions that are good now, newest first.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    of: Option<AccountId>,
    page: PageRequest,
) -> Result<Page<Session>, Fault> {
    let of = whose(who, of)?;
    let mut tx = cx.store.read().await?;
    super::account::is_there(&mut tx, of).await?;
    let rows = tx.sessions(of, Some(cx.now()), page).await?;
    Ok(Page::from_surplus(rows, page, |row| row.id.0))
}

/// Whose sessions end. A key, or a narrowed token, that fell into other hands must not put its owner
/// out, so one's own take somebody who has signed in.
async fn whose_end(cx: &Ctx, who: &Principal, of: Option<AccountId>) -> Result<AccountId, Fault> {
    let of = whose(who, of)?;
    if who.account() == Some(of) {
        own_session(&mut cx.store.read().await?, who).await?;
    }
    Ok(of)
}

/// Ends one session. Ending it twice is the same.
pub async fn revoke(
    cx: &Ctx,
    who: &Principal,
    of: Option<AccountId>,
    id: SessionId,
) -> Result<(), Fault> {
    let itself = who.token.as_deref().and_then(|token| token.parse().ok()) == Some(id);
    let of = if itself { whose(who, of)? } else { whose_end(cx, who, of).await? };
    end(cx, who, of, id, "revoked").await
}

/// Ends every session of an account; of one's own, all but the one that asks. Returns how many.
pub async fn revoke_all(cx: &Ctx, who: &Principal, of: Option<AccountId>) -> Result<u64, Fault> {
    let of = whose_end(cx, who, of).await?;
    let own = who.token.as_deref().and_then(|token| token.parse::<SessionId>().ok());
    let mut tx = cx.store.begin().await?;
    super::account::is_there(&mut tx, of).await?;
    let ended = tx.end_sessions(of, own, "revoked", cx.now().trunc_subsecs(6)).await?;
    let record = audit_record(cx, who, "session.end_all", of.to_string(), json!({"ended": ended}));
    tx.insert_audit(&[record]).await?;
    tx.commit().await?;
    cx.gathered.auth.forget();
    Ok(ended)
}
