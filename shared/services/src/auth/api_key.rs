//! API keys: making them, seeing them, taking them back.

use chrono::SubsecRound as _;
use serde_json::json;
use slipway_domain::Secret;
use slipway_domain::access::{Principal, Scope};
use slipway_domain::auth::account::AccountKind;
use slipway_domain::auth::api_key::{
    ApiKey, NewApiKey, PUBLIC_LENGTH, SECRET_LENGTH, USUAL_LIFE, key_text, signs_of,
};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{AccountId, ApiKeyId};
use slipway_domain::page::{Page, PageRequest};
use zeroize::Zeroizing;

use super::{digest, need_to_give, own_account, own_session};
use crate::Ctx;
use crate::change::audit;

/// Keys that are good, of one account, at most.
const MOST: i64 = 100;

/// A key that was made. It is here only, and never again.
#[derive(Debug, Clone)]
pub struct Made {
    /// What is known of it.
    pub key: ApiKey,
    /// The key itself.
    pub text: Secret<String>,
}

/// Makes a key: of one's own account, or of a service account, which needs the right to accounts and
/// every scope that the key gets.
pub async fn create(cx: &Ctx, who: &Principal, new: NewApiKey) -> Result<Made, Fault> {
    let now = cx.now().trunc_subsecs(6);
    let of = match new.account_id.filter(|of| who.account() != Some(*of)) {
        Some(of) => {
            who.need(Scope::AdminAccounts)?;
            need_to_give(who, &new.narrowing())?;
            of
        }
        None => own_session(&mut cx.store.read().await?, who).await?.0,
    };
    let problems = new.problems(now);
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    // About three in a hundred bytes are left out, so there are more than enough.
    let random = slipway_store::crypto::random::<128>()?;
    let (head, tail) = random.split_at(32);
    let signs = signs_of(head, PUBLIC_LENGTH).zip(signs_of(tail, SECRET_LENGTH));
    let (public, secret) = signs.ok_or_else(|| Fault::internal("no key could be made"))?;
    let secret = Zeroizing::new(secret);
    let key = ApiKey {
        id: ApiKeyId::new(&*cx.mint),
        account_id: of,
        name: new.name.trim().to_owned(),
        narrowing: new.narrowing(),
        addresses: new.addresses,
        created_at: now,
        created_by: who.actor.clone(),
        expires_at: Some(new.expires_at.unwrap_or(now + USUAL_LIFE).trunc_subsecs(6)),
        last_used_at: None,
        revoked_at: None,
        public,
    };
    let mut tx = cx.store.begin().await?;
    let found = tx.lock_account(of).await?;
    let account = found.ok_or_else(|| Fault::not_found("account", of))?;
    if who.account() != Some(of) && account.kind != AccountKind::Service {
        let why =
            "Keys of people are made by themselves; only those of service accounts by others.";
        return Err(Fault::new(Code::Forbidden, why));
    }
    if tx.count_api_keys(of, now).await? >= MOST {
        let why = format!("The account has {MOST} keys that are good; revoke some first.");
        return Err(Fault::new(Code::Conflict, why));
    }
    tx.insert_api_key(&key, &digest(secret.as_bytes())).await?;
    let detail = json!({"account": of, "public": key.public, "narrowing": key.narrowing,
        "addresses": key.addresses, "expires_at": key.expires_at});
    audit(cx, &mut tx, who, "api_key.create", key.id.to_string(), detail).await?;
    tx.commit().await?;
    let text = Secret::new(key_text(&key.public, &secret));
    Ok(Made { key, text })
}

/// Keys of an account, newest first: one's own, or, with the right to accounts, another's.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    of: Option<AccountId>,
    page: PageRequest,
) -> Result<Page<ApiKey>, Fault> {
    let of = match of.filter(|of| who.account() != Some(*of)) {
        Some(of) => {
            who.need(Scope::AdminAccounts)?;
            of
        }
        None => own_account(who)?,
    };
    let mut tx = cx.store.read().await?;
    super::account::is_there(&mut tx, of).await?;
    let rows = tx.api_keys(of, page).await?;
    Ok(Page::from_surplus(rows, page, |row| row.id.0))
}

/// Takes a key back. Taking it back twice is the same. A key may take itself back, and no other one.
pub async fn revoke(cx: &Ctx, who: &Principal, id: ApiKeyId) -> Result<(), Fault> {
    let missing = || Fault::not_found("API key", id);
    let mut tx = cx.store.begin().await?;
    let key = tx.api_key(id).await?;
    // Others' keys are nothing to those who may not see them.
    let sees =
        |key: &ApiKey| who.account() == Some(key.account_id) || who.may(Scope::AdminAccounts);
    let key = key.filter(sees).ok_or_else(missing)?;
    if who.token.as_deref() != Some(id.to_string().as_str()) && !who.may(Scope::AdminAccounts) {
        own_session(&mut tx, who).await?;
    }
    if tx.revoke_api_key(id, cx.now().trunc_subsecs(6)).await? {
        let detail = json!({"account": key.account_id});
        audit(cx, &mut tx, who, "api_key.revoke", id.to_string(), detail).await?;
    }
    tx.commit().await?;
    cx.gathered.auth.forget();
    Ok(())
}
