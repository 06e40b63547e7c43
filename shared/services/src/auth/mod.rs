//! Who is asking: accounts, passwords, sessions, keys and tokens.
//!
//! [`authenticate`](authenticate::authenticate) is the one place where something shown at a door
//! becomes a [`Principal`]. What the principal may do is what its account's memberships say, as far
//! as the token lets it; verbs check that, here as everywhere.

pub mod account;
pub mod api_key;
pub mod authenticate;
pub mod exchange;
mod known;
mod password;
pub mod provider;
pub mod session;
pub mod sign_in;
pub mod signing_key;
mod throttle;
mod token;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use slipway_domain::access::Principal;
use slipway_domain::audit::{AuditRecord, AuditResult};
use slipway_domain::auth::Narrowing;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{AccountId, SessionId};
use slipway_domain::port::identity_provider::{IdentityProvider, TokenIssuers};
use slipway_store::Tx;
use slipway_store::auth::Digest;
use zeroize::Zeroizing;

use crate::Ctx;
use crate::change::audit_record;

pub use signing_key::FileKeys;

/// What the operator chose of how people and machines sign in.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Whether anybody may make an account.
    pub registration: bool,
    /// What this installation calls itself in its tokens: its own URL, without a slash at the end.
    pub issuer: String,
    /// How long an access token is good.
    pub access_ttl: chrono::Duration,
    /// How long a session lasts that nobody uses.
    pub session_idle: chrono::Duration,
    /// How long a session lasts at most.
    pub session_max: chrono::Duration,
    /// After how long another key signs.
    pub key_life: chrono::Duration,
    /// Keys that the operator keeps; they sign in place of those in the store.
    pub file_keys: Option<FileKeys>,
    /// Where people can sign in, beside here.
    pub providers: Vec<Arc<dyn IdentityProvider>>,
    /// Whether somebody whom a provider knows and we do not gets an account.
    pub provider_accounts: bool,
    /// Only for those with a verified address of mail in one of these domains; for all when empty.
    pub email_domains: Vec<String>,
    /// Whose tokens machines may show.
    pub issuers: Option<Arc<dyn TokenIssuers>>,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            registration: false,
            issuer: "http://127.0.0.1:8000".to_owned(),
            access_ttl: chrono::Duration::minutes(15),
            session_idle: chrono::Duration::days(7),
            session_max: chrono::Duration::days(30),
            key_life: chrono::Duration::days(30),
            file_keys: None,
            providers: Vec::new(),
            provider_accounts: false,
            email_domains: Vec::new(),
            issuers: None,
        }
    }
}

/// What the requests of one process share: tokens that were found to be good a moment ago, the keys
/// that sign, and the right to hash passwords.
#[derive(Debug, Clone, Default)]
pub struct Auth(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    passwords: password::Passwords,
    keys: signing_key::Cache,
    known: known::Known,
}

impl Auth {
    fn passwords(&self) -> &password::Passwords {
        &self.0.passwords
    }

    fn keys(&self) -> &signing_key::Cache {
        &self.0.keys
    }

    /// Forgets what was found out about tokens: the next request of each looks again.
    pub(crate) fn forget(&self) {
        self.0.known.clear();
    }
}

/// How many passwords were hashed in this process, for tests: an unknown name must cost as much as
/// a wrong password.
pub fn hashes_of_passwords(cx: &Ctx) -> u64 {
    cx.gathered.auth.passwords().runs()
}

/// The account that asks; a fault where nobody has one.
pub(crate) fn own_account(who: &Principal) -> Result<AccountId, Fault> {
    who.account().ok_or_else(|| {
        let why = "Whoever asks has no account: this installation does not ask its callers to sign \
                   in, or the account is not one that is kept here.";
        Fault::new(Code::NotFound, why)
    })
}

/// The session that asks. A key, or a token that a machine was given for another, must not make
/// itself more tokens, or it would outlive being taken back.
pub(crate) async fn own_session(
    tx: &mut Tx,
    who: &Principal,
) -> Result<(AccountId, SessionId), Fault> {
    let account = own_account(who)?;
    let id = who.token.as_deref().and_then(|token| token.parse::<SessionId>().ok());
    let session = match id {
        Some(id) => tx.session(id).await?,
        None => None,
    };
    match session {
        Some(session)
            if session.account_id == account
                && session.is_of_person()
                && session.narrowing.is_none() =>
        {
            Ok((account, session.id))
        }
        _ => Err(Fault::new(
            Code::Forbidden,
            "This needs somebody who has signed in; a key or a narrowed token will not do.",
        )),
    }
}

/// Refuses what would give a token more than whoever makes it has.
pub(crate) fn need_to_give(who: &Principal, what: &Narrowing) -> Result<(), Fault> {
    let held = match &what.project {
        Some(project) => who.grants.scopes_in(project),
        None => who.grants.house.scopes.clone(),
    };
    let Some(scopes) = &what.scopes else { return Ok(()) };
    let missing: Vec<_> = scopes.difference(&held).map(|scope| scope.as_str()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!("nobody gives what they do not have: {}", missing.join(", "));
    Err(Fault::new(Code::Forbidden, why))
}

/// The digest under which a secret is kept.
pub(crate) fn digest(secret: &[u8]) -> Digest {
    Sha256::digest(secret).into()
}

/// A new secret: `prefix` and 256 random bits.
pub(crate) fn new_secret(prefix: &str) -> Result<Zeroizing<String>, Fault> {
    let random = slipway_store::crypto::random::<32>()?;
    Ok(secret_text(prefix, &random))
}

/// The text of a secret.
pub(crate) fn secret_text(prefix: &str, bytes: &[u8; 32]) -> Zeroizing<String> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    Zeroizing::new(format!("{prefix}{text}"))
}

/// A record of what was refused.
pub(crate) fn denied(
    cx: &Ctx,
    who: &Principal,
    action: &str,
    target: String,
    detail: serde_json::Value,
) -> AuditRecord {
    let mut record = audit_record(cx, who, action, target, detail);
    record.result = AuditResult::Denied;
    record
}

/// The one refusal of whatever was shown: what is wrong with it is for the log alone.
pub(crate) fn unauthenticated() -> Fault {
    Fault::new(
        Code::Unauthenticated,
        "The token is not good, or not any more. Sign in again, or make a new key.",
    )
}
