//! From what is shown at a door to who that is.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use chrono::{DateTime, Duration, Utc};
use futures::FutureExt as _;
use slipway_domain::Secret;
use slipway_domain::access::{Actor, Door, Grants, Principal, Scope};
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::account::Account;
use slipway_domain::auth::api_key::{ApiKey, KeyText, PREFIX};
use slipway_domain::auth::session::Session;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{AccountId, ApiKeyId, SessionId};
use slipway_store::Tx;

use super::known::{Proof, Seen};
use super::{denied, digest, signing_key, token, unauthenticated};
use crate::{Ctx, member};

/// What begins a session's cookie.
pub(crate) const COOKIE_PREFIX: &str = "sls_";
/// "Last used" is written this seldom.
const NOTED: Duration = Duration::minutes(1);

/// Where a token was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In `Authorization`: an access token or an API key.
    Header,
    /// In a browser's cookie.
    Cookie,
}

/// What is shown at a door.
#[derive(Debug, Clone)]
pub struct Shown<'a> {
    /// The token.
    pub token: &'a Secret<String>,
    /// Where it was.
    pub place: Place,
    /// The door.
    pub door: Door,
    /// Whether what the account may do must be as of now; else it may be a second old.
    pub fresh: bool,
    /// From where it comes.
    pub address: Option<IpAddr>,
}

/// Who shows this, and what they may do now.
pub async fn authenticate(cx: &Ctx, shown: &Shown<'_>) -> Result<Principal, Fault> {
    let place = match shown.place {
        Place::Header => b'h',
        Place::Cookie => b'c',
    };
    let mut whole = zeroize::Zeroizing::new(shown.token.reveal().clone().into_bytes());
    whole.push(place);
    let id = digest(&whole);
    let known = &cx.gathered.auth.0.known;
    let (proof, seen) = loop {
        let mut used = None;
        let slot = &mut used;
        let find = move |proof| async move { find_out(cx, shown, proof, slot).await }.boxed();
        let found = known.recall(id, shown.fresh, &*cx.clock, find).await?;
        // Not before: others wait for what was found, and not for this.
        if let Some(used) = used {
            used.note(cx).await;
        }
        if is_signed(cx, &found.0).await? {
            break found;
        }
        known.forget(&id);
    };
    let now = cx.now();
    if let Proof::Access { doors, not_before, .. } = &*proof
        && (!doors.contains(&shown.door) || now < *not_before)
    {
        return Err(Fault::new(
            Code::Unauthenticated,
            "The token was made for another door (its audience is not this one).",
        ));
    }
    let inside = |ip| seen.addresses.iter().any(|range| range.contains(ip));
    if !seen.addresses.is_empty() && !shown.address.is_some_and(inside) {
        let why = "This key may not be used from this address.";
        return Err(Fault::new(Code::Unauthenticated, why));
    }
    let actor = Actor { id: seen.account.to_string(), kind: seen.kind, via: shown.door };
    let mut who = Principal::new(actor, seen.grants.clone());
    who.token = Some(seen.token.clone());
    who.address = shown.address.map(|ip| ip.to_string());
    Ok(who)
}

/// Whoever was let in, with what they may do now: for what goes on for long.
///
/// # Errors
/// What they showed has ended since.
pub async fn again(cx: &Ctx, who: &Principal) -> Result<Principal, Fault> {
    let Some(token) = &who.token else { return Ok(who.clone()) };
    let now = cx.now();
    let mut tx = cx.store.read().await?;
    let (account, narrowing) = if let Ok(id) = token.parse::<SessionId>() {
        let session = tx.session(id).await?.filter(|session| session.is_live(now));
        session.map(|session| (session.account_id, session.narrowing))
    } else if let Ok(id) = token.parse::<ApiKeyId>() {
        let key = tx.api_key(id).await?.filter(|key| key.is_live(now));
        key.map(|key| (key.account_id, key.narrowing))
    } else {
        None
    }
    .ok_or_else(unauthenticated)?;
    let (_, grants) = owner(&mut tx, account, &narrowing).await?;
    Ok(Principal { grants, ..who.clone() })
}

/// What the token proves, and what its account may do as the rows say now.
async fn find_out(
    cx: &Ctx,
    shown: &Shown<'_>,
    proof: Option<Arc<Proof>>,
    used: &mut Option<Used>,
) -> Result<(Arc<Proof>, Arc<Seen>), Fault> {
    let proof = match proof {
        Some(proof) if is_signed(cx, &proof).await? => proof,
        _ => Arc::new(prove(cx, shown).await?),
    };
    let (seen, now_used) = look(cx, &proof, shown.address).await?;
    *used = now_used;
    Ok((proof, Arc::new(seen)))
}

/// Whether the key that signed it is one of ours still: it may have been thrown away elsewhere.
async fn is_signed(cx: &Ctx, proof: &Proof) -> Result<bool, Fault> {
    match proof {
        Proof::Access { kid, .. } => Ok(signing_key::keys(cx).await?.public(kid).is_some()),
        Proof::Key { .. } | Proof::Cookie(_) => Ok(true),
    }
}

/// What a token proves by itself.
async fn prove(cx: &Ctx, shown: &Shown<'_>) -> Result<Proof, Fault> {
    let text = shown.token.reveal();
    if shown.place == Place::Cookie {
        return if text.starts_with(COOKIE_PREFIX) {
            Ok(Proof::Cookie(digest(text.as_bytes())))
        } else {
            Err(unauthenticated())
        };
    }
    if text.starts_with(PREFIX) {
        let KeyText { public, secret } = KeyText::parse(text).ok_or_else(unauthenticated)?;
        return Ok(Proof::Key { public: public.to_owned(), secret: digest(secret.as_bytes()) });
    }
    let (claims, kid) = token::verify(cx, shown.token).await?;
    let times = claims.not_before().zip(claims.not_after());
    let (Ok(session), Ok(account), Some((not_before, not_after))) =
        (claims.sid.parse(), claims.sub.parse(), times)
    else {
        return Err(unauthenticated());
    };
    let (narrowing, doors) = (claims.narrowing(), claims.doors(cx));
    Ok(Proof::Access { session, account, kid, narrowing, doors, not_before, not_after })
}

/// Who that is, as the rows say now.
async fn look(
    cx: &Ctx,
    proof: &Proof,
    address: Option<IpAddr>,
) -> Result<(Seen, Option<Used>), Fault> {
    let now = cx.now();
    let mut tx = cx.store.read().await?;
    match proof {
        Proof::Access { session, account, narrowing, not_after, .. } => {
            let session = tx.session(*session).await?.filter(|s| s.account_id == *account);
            let session = session.filter(|s| s.is_live(now)).ok_or_else(unauthenticated)?;
            let (owner, grants) = owner(&mut tx, session.account_id, narrowing).await?;
            let used = Used::session(&session, now);
            Ok((seen(&owner, session.id.to_string(), grants, Some(*not_after), now), used))
        }
        Proof::Cookie(cookie) => {
            let session = tx.session_of_cookie(cookie).await?;
            let idle = cx.settings.auth.session_idle;
            let session = session
                .filter(|s| s.is_live(now) && now - s.last_used_at < idle)
                .ok_or_else(unauthenticated)?;
            let (owner, grants) = owner(&mut tx, session.account_id, &session.narrowing).await?;
            let (used, end) = (Used::session(&session, now), Some(session.expires_at));
            Ok((seen(&owner, session.id.to_string(), grants, end, now), used))
        }
        Proof::Key { public, secret } => {
            let found = tx.api_key_to_check(public).await?;
            let (key, hash) = found.ok_or_else(unauthenticated)?;
            verify_slices_are_equal(&hash, secret).map_err(|_| unauthenticated())?;
            let owner = if key.is_live(now) {
                owner(&mut tx, key.account_id, &key.narrowing).await
            } else {
                Err(unauthenticated())
            };
            drop(tx);
            match owner {
                Ok((owner, grants)) => {
                    let (used, id) = (Used::key(&key, now), key.id.to_string());
                    let addresses = key.addresses;
                    let seen = seen(&owner, id, grants, key.expires_at, now);
                    Ok((Seen { addresses, ..seen }, used))
                }
                Err(fault) => {
                    // Whoever shows it has the secret, and the key was taken back: worth a record.
                    record_dead_key(cx, &key, address).await;
                    Err(fault)
                }
            }
        }
    }
}

/// Whose it is, and what is left of what they may do.
async fn owner(
    tx: &mut Tx,
    id: AccountId,
    narrowing: &Narrowing,
) -> Result<(Account, Grants), Fault> {
    let account = tx.account(id).await?.filter(|account| account.disabled_at.is_none());
    let account = account.ok_or_else(unauthenticated)?;
    let grants = member::grants(tx, id).await?;
    Ok((account, narrowed(&grants, narrowing)))
}

fn narrowed(grants: &Grants, Narrowing { scopes, project }: &Narrowing) -> Grants {
    match (scopes, project) {
        (None, None) => grants.clone(),
        (Some(scopes), project) => grants.narrowed(scopes, project.as_deref()),
        (None, project) => {
            let all = Scope::ALL.iter().copied().collect();
            grants.narrowed(&all, project.as_deref())
        }
    }
}

fn seen(
    owner: &Account,
    token: String,
    grants: Grants,
    not_after: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> Seen {
    let (account, kind) = (owner.id, owner.kind.actor());
    Seen { account, kind, token, grants, addresses: Vec::new(), not_after, at }
}

/// The use of a session or a key that is to be noted.
#[derive(Debug, Clone, Copy)]
enum Used {
    Session(SessionId, DateTime<Utc>),
    Key(ApiKeyId, DateTime<Utc>),
}

impl Used {
    fn session(session: &Session, now: DateTime<Utc>) -> Option<Self> {
        (now - session.last_used_at >= NOTED).then_some(Self::Session(session.id, now))
    }

    fn key(key: &ApiKey, now: DateTime<Utc>) -> Option<Self> {
        let noted = key.last_used_at.is_some_and(|at| now - at < NOTED);
        (!noted).then_some(Self::Key(key.id, now))
    }

    /// Writes it down. It matters to nobody's request whether that works.
    async fn note(self, cx: &Ctx) {
        let noted = async {
            let mut tx = cx.store.begin().await?;
            match self {
                Self::Session(id, at) => tx.touch_session(id, at).await?,
                Self::Key(id, at) => tx.touch_api_key(id, at).await?,
            }
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "the use of a session or a key was not noted");
        }
    }
}

async fn record_dead_key(cx: &Ctx, key: &ApiKey, address: Option<IpAddr>) {
    let mut who = Principal::anonymous(Door::Rest);
    who.address = address.map(|ip| ip.to_string());
    who.token = Some(key.id.to_string());
    let detail = serde_json::json!({"account": key.account_id});
    let record = denied(cx, &who, "api_key.use", key.id.to_string(), detail);
    let kept = async {
        let mut tx = cx.store.begin().await?;
        tx.insert_audit(&[record]).await?;
        tx.commit().await
    };
    if let Err(error) = kept.await {
        tracing::warn!(%error, "the use of a dead key was not put on record");
    }
}
