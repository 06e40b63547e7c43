//! Access tokens: short, signed, and good for those who know the public keys.
//!
//! One algorithm, EdDSA, and one form (RFC 9068, `typ` is `at+jwt`). Which key a token names decides
//! only which of ours it is held against, never how.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;
use slipway_domain::access::{Door, Scope};
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::session::Session;
use slipway_domain::fault::{Code, Fault};

use super::{signing_key, unauthenticated};
use crate::Ctx;

/// What our tokens say they are.
const TYPE: &str = "at+jwt";
/// Clocks of replicas may differ by this much.
const SKEW: chrono::Duration = chrono::Duration::seconds(5);
/// The longest life that the configuration gives a token, in seconds.
const LONGEST_S: i64 = 3600;
/// In the place of scopes: all that the account has.
const EVERYTHING: &str = "*";

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: Vec<String>,
    /// The account.
    pub(crate) sub: String,
    /// The session.
    pub(crate) sid: String,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    /// Scopes, with spaces between; `*` for all that the account has.
    scope: String,
    /// The only project that it is good in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prj: Option<String>,
}

impl Claims {
    /// From when it is good.
    pub(crate) fn not_before(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.nbf, 0).map(|at| at - SKEW)
    }

    /// Until when it is good.
    pub(crate) fn not_after(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.exp, 0)
    }

    /// Doors at which it is good.
    pub(crate) fn doors(&self, cx: &Ctx) -> Vec<Door> {
        let doors = [Door::Rest, Door::Mcp];
        doors.into_iter().filter(|door| self.aud.contains(&audience(cx, *door))).collect()
    }

    /// What it is good for at most. A scope of another version is none.
    pub(crate) fn narrowing(&self) -> Narrowing {
        let scopes = (self.scope != EVERYTHING)
            .then(|| self.scope.split(' ').filter_map(Scope::parse).collect::<BTreeSet<_>>());
        Narrowing { scopes, project: self.prj.clone() }
    }
}

/// What a door is called in tokens: its URL.
pub(crate) fn audience(cx: &Ctx, door: Door) -> String {
    let issuer = &cx.settings.auth.issuer;
    match door {
        Door::Mcp => format!("{issuer}/mcp"),
        Door::Rest | Door::Internal => issuer.clone(),
    }
}

/// An access token, and how many seconds it is good.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) token: Secret<String>,
    pub(crate) expires_in_s: u64,
}

/// A token for a session, good at these doors.
pub(crate) async fn issue(cx: &Ctx, session: &Session, doors: &[Door]) -> Result<Issued, Fault> {
    let now = cx.now();
    let until = (now + cx.settings.auth.access_ttl).min(session.expires_at);
    let narrowing = &session.narrowing;
    let scope = match &narrowing.scopes {
        None => EVERYTHING.to_owned(),
        Some(scopes) => scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" "),
    };
    let claims = Claims {
        iss: cx.settings.auth.issuer.clone(),
        aud: doors.iter().map(|door| audience(cx, *door)).collect(),
        sub: session.account_id.to_string(),
        sid: session.id.to_string(),
        jti: cx.mint.uuid().simple().to_string(),
        iat: now.timestamp(),
        nbf: now.timestamp(),
        exp: until.timestamp(),
        scope,
        prj: narrowing.project.clone(),
    };
    let keys = signing_key::keys(cx).await?;
    let signer = keys.signer().ok_or_else(|| Fault::internal("there is no key that signs"))?;
    let header = Header {
        typ: Some(TYPE.to_owned()),
        kid: Some(signer.kid.clone()),
        ..Header::new(Algorithm::EdDSA)
    };
    let token = encode(&header, &claims, &signer.private).map_err(Fault::internal)?;
    let expires_in_s = u64::try_from((until - now).num_seconds()).unwrap_or(0);
    Ok(Issued { token: Secret::new(token), expires_in_s })
}

/// What a token says, when it is ours and good now, and the name of the key that signed it.
pub(crate) async fn verify(cx: &Ctx, token: &Secret<String>) -> Result<(Claims, String), Fault> {
    let refused = |why: &str| {
        tracing::debug!(why, "an access token was refused");
        unauthenticated()
    };
    let text = token.reveal();
    let header = decode_header(text).map_err(|_| refused("it is no token"))?;
    if header.alg != Algorithm::EdDSA {
        return Err(refused("another algorithm"));
    }
    if header.typ.as_deref() != Some(TYPE) || header.crit.is_some() {
        return Err(refused("another kind of token"));
    }
    // A name, never a place where a key could be found.
    let kid = header.kid.as_deref().ok_or_else(|| refused("it names no key"))?;
    let keys = signing_key::keys_with(cx, kid).await?;
    let key = keys.public(kid).ok_or_else(|| refused("its key is not one of ours"))?;
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.algorithms = vec![Algorithm::EdDSA];
    rules.set_issuer(&[&cx.settings.auth.issuer]);
    rules.set_audience(&[audience(cx, Door::Rest), audience(cx, Door::Mcp)]);
    rules.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
    // Times are held against the house's clock.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    let claims = decode::<Claims>(text, key, &rules)
        .map_err(|why| {
            tracing::debug!(%why, "an access token was refused");
            unauthenticated()
        })?
        .claims;
    let now = cx.now();
    if claims.not_before().is_none_or(|at| now < at) {
        return Err(refused("it is not good yet"));
    }
    if claims.exp.saturating_sub(claims.iat) > LONGEST_S {
        return Err(refused("it is good for longer than any of ours"));
    }
    if claims.not_after().is_none_or(|at| now >= at) {
        return Err(Fault::new(
            Code::Unauthenticated,
            "The access token has expired. Refresh it, or sign in again.",
        ));
    }
    Ok((claims, kid.to_owned()))
}
