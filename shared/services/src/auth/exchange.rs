//! Tokens of other issuers, exchanged for short ones of ours (RFC 8693): a pipeline needs no secret
//! of its own.

use std::collections::BTreeSet;

use base64::Engine as _;
use chrono::SubsecRound as _;
use serde::Deserialize;
use serde_json::json;
use slipway_domain::Secret;
use slipway_domain::access::{Door, Principal, Scope};
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::account::AccountKind;
use slipway_domain::auth::trust::{NewTrustRule, TrustRule};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::TrustRuleId;
use slipway_domain::port::identity_provider::{IdentityError, TokenIssuers};

use super::account::is_there;
use super::{denied, need_to_give, session, token, unauthenticated};
use crate::Ctx;
use crate::change::audit;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The token of the other issuer.
    pub subject_token: Secret<String>,
    /// These scopes only, of those that the rule gives.
    pub scopes: Option<BTreeSet<Scope>>,
    /// For this door only: our URL, or that of the MCP endpoint.
    pub audience: Option<String>,
}

/// What is given.
#[derive(Debug, Clone)]
pub struct Exchanged {
    /// The access token.
    pub access_token: Secret<String>,
    /// How many seconds it is good.
    pub expires_in_s: u64,
    /// The scopes that it has at most.
    pub scopes: BTreeSet<Scope>,
}

/// As much of a token as says where to look for its key. Nothing of it is believed yet.
#[derive(Deserialize)]
struct Peek {
    iss: String,
}

fn issuer_of(token: &str) -> Option<String> {
    let body = token.split('.').nth(1)?;
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).ok()?;
    serde_json::from_slice::<Peek>(&body).ok().map(|peek| peek.iss)
}

fn issuers(cx: &Ctx) -> Result<&dyn TokenIssuers, Fault> {
    let issuers = cx.settings.auth.issuers.as_deref();
    issuers.ok_or_else(|| {
        let why = "No other issuer is trusted here (auth.workload_issuers).";
        Fault::new(Code::Forbidden, why)
    })
}

/// Exchanges a token. The first rule whose conditions it meets decides.
pub async fn exchange(cx: &Ctx, who: &Principal, ask: &Exchange) -> Result<Exchanged, Fault> {
    let issuers = issuers(cx)?;
    let doors = match &ask.audience {
        None => vec![Door::Rest, Door::Mcp],
        Some(wanted) => {
            let doors = [Door::Rest, Door::Mcp].into_iter();
            let doors: Vec<_> = doors.filter(|d| token::audience(cx, *d) == *wanted).collect();
            if doors.is_empty() {
                return Err(Fault::field("/audience", "this server is called otherwise"));
            }
            doors
        }
    };
    let issuer = issuer_of(ask.subject_token.reveal()).filter(|issuer| issuers.trusts(issuer));
    let issuer = issuer.ok_or_else(unauthenticated)?;
    let rules = cx.store.read().await?.trust_rules_of(&issuer).await?;
    let audiences = rules.iter().map(|rule| rule.rule.audience.clone()).collect();
    let checked = issuers.verify(&issuer, &audiences, &ask.subject_token, cx.now()).await;
    let claims = match checked {
        Ok(claims) => claims,
        Err(IdentityError::Away(why)) => {
            let what = "The issuer of the token cannot be asked for its keys at the moment.";
            return Err(Fault::unavailable(what, why));
        }
        Err(IdentityError::Refused(why)) => {
            tracing::warn!(issuer, why, "a token of another issuer was refused");
            return Err(unauthenticated());
        }
    };
    let is_for = |audience: &str| match claims.get("aud") {
        Some(serde_json::Value::String(aud)) => aud == audience,
        Some(serde_json::Value::Array(auds)) => auds.iter().any(|aud| aud == audience),
        _ => false,
    };
    let subject = claims.get("sub").and_then(|sub| sub.as_str()).unwrap_or_default();
    let subject: String = subject.chars().take(300).collect();
    let found = rules.into_iter().find(|r| is_for(&r.rule.audience) && r.rule.fits(&claims));
    let mut tx = cx.store.begin().await?;
    let account = match &found {
        Some(rule) => tx.account(rule.rule.account_id).await?,
        None => None,
    };
    let account = account.filter(|account| account.disabled_at.is_none());
    let (Some(TrustRule { rule, id, .. }), Some(account)) = (found, account) else {
        let detail = json!({"issuer": issuer, "subject": subject});
        let record = denied(cx, who, "token.exchange", "exchange".to_owned(), detail);
        tx.insert_audit(&[record]).await?;
        tx.commit().await?;
        let why = "No rule of trust lets this token in.";
        return Err(Fault::new(Code::Forbidden, why));
    };
    let scopes: BTreeSet<Scope> = match &ask.scopes {
        None => rule.scopes.clone(),
        Some(wanted) => rule.scopes.intersection(wanted).copied().collect(),
    };
    if scopes.is_empty() {
        return Err(Fault::field("/scope", "the rule that lets this token in gives none of these"));
    }
    let narrowing = Narrowing { scopes: Some(scopes.clone()), project: rule.project.clone() };
    let mut session =
        session::new(cx, who, account.id, format!("exchange:{}", rule.name), narrowing);
    session.expires_at = (cx.now() + cx.settings.auth.access_ttl).trunc_subsecs(6);
    tx.insert_session(&session, None).await?;
    let mut who = who.clone();
    who.actor.id = account.id.to_string();
    who.actor.kind = account.kind.actor();
    who.token = Some(session.id.to_string());
    let detail = json!({"issuer": issuer, "subject": subject, "rule": id});
    audit(cx, &mut tx, &who, "token.exchange", session.id.to_string(), detail).await?;
    tx.commit().await?;
    let issued = token::issue(cx, &session, &doors).await?;
    Ok(Exchanged { access_token: issued.token, expires_in_s: issued.expires_in_s, scopes })
}

/// Every rule, by name.
pub async fn rules(cx: &Ctx, who: &Principal) -> Result<Vec<TrustRule>, Fault> {
    who.need(Scope::AdminAccounts)?;
    Ok(cx.store.read().await?.trust_rules().await?)
}

/// Makes a rule. Whoever does must have what it gives.
pub async fn create_rule(
    cx: &Ctx,
    who: &Principal,
    rule: NewTrustRule,
) -> Result<TrustRule, Fault> {
    who.need(Scope::AdminAccounts)?;
    need_to_give(who, &rule.narrowing())?;
    let problems = rule.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let issuers = cx.settings.auth.issuers.as_deref();
    if !issuers.is_some_and(|issuers| issuers.trusts(&rule.issuer)) {
        let why = "the configuration does not trust this issuer (auth.workload_issuers)";
        return Err(Fault::field("/issuer", why));
    }
    let rule = TrustRule {
        id: TrustRuleId::new(&*cx.mint),
        rule,
        created_at: cx.now().trunc_subsecs(6),
        created_by: who.actor.clone(),
    };
    let mut tx = cx.store.begin().await?;
    let account = is_there(&mut tx, rule.rule.account_id).await?;
    if account.kind != AccountKind::Service {
        let why = "tokens of other issuers stand for service accounts only";
        return Err(Fault::field("/account_id", why));
    }
    if !tx.insert_trust_rule(&rule).await? {
        let why = format!("There is a rule {:?} already.", rule.rule.name);
        return Err(Fault::new(Code::Conflict, why));
    }
    let detail = serde_json::to_value(&rule).map_err(Fault::internal)?;
    audit(cx, &mut tx, who, "trust_rule.create", rule.id.to_string(), detail).await?;
    tx.commit().await?;
    Ok(rule)
}

/// Removes a rule. Tokens that it let in are good until they end, minutes later, unless the sessions of
/// the account are ended too.
pub async fn delete_rule(cx: &Ctx, who: &Principal, id: TrustRuleId) -> Result<(), Fault> {
    who.need(Scope::AdminAccounts)?;
    let mut tx = cx.store.begin().await?;
    let rule = tx.trust_rule(id).await?.ok_or_else(|| Fault::not_found("trust rule", id))?;
    tx.delete_trust_rule(id).await?;
    let detail = serde_json::to_value(&rule).map_err(Fault::internal)?;
    audit(cx, &mut tx, who, "trust_rule.delete", id.to_string(), detail).await?;
    tx.commit().await?;
    Ok(())
}
