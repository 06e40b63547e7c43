//! API keys: `slp_<8 signs that name it>_<secret>_<check sum>`.
//!
//! The prefix lets scanners of leaked secrets find keys, and the check sum lets them, and us, tell a
//! key from what only looks like one without asking anybody.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Narrowing;
use super::address::AddressRange;
use crate::access::Actor;
use crate::fault::FieldError;
use crate::id::{AccountId, ApiKeyId};

/// What every key begins with.
pub const PREFIX: &str = "slp_";
/// Signs of the part that names a key.
pub const PUBLIC_LENGTH: usize = 8;
/// Signs of the secret part: more than 250 bits.
pub const SECRET_LENGTH: usize = 43;
/// Signs of the check sum.
const CHECK_LENGTH: usize = 6;
/// Ranges of addresses that a key may have.
const MAX_ADDRESSES: usize = 50;

/// The signs of keys, in the order of their values.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What is known of a key. The key itself is shown once, when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct ApiKey {
    /// The key.
    pub id: ApiKeyId,
    /// What it begins with after `slp_`.
    #[schema(example = "Zk81Lq0c")]
    pub public: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// What it is good for at most.
    #[serde(flatten)]
    pub narrowing: Narrowing,
    /// From where it may be used; from anywhere when empty.
    #[schema(value_type = Vec<String>, example = json!(["10.0.0.0/8"]))]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<AddressRange>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: Actor,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last, within a minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// Whether it is good at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

/// A key that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// What to call it.
    #[schema(min_length = 1, max_length = 100, example = "nightly")]
    pub name: String,
    /// These scopes only, as far as the account has them.
    #[schema(value_type = Vec<String>, min_items = 1, example = json!(["deployments:read"]))]
    #[schemars(with = "Vec<String>")]
    pub scopes: std::collections::BTreeSet<crate::access::Scope>,
    /// In this project only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub project: Option<String>,
    /// Only from these addresses or ranges; from anywhere when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, required = false, max_items = 50)]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<AddressRange>,
    /// When it ends by itself; 90 days from now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// Of this service account; of the caller's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
}

/// Longest life of a key.
const MAX_LIFE: chrono::Duration = chrono::Duration::days(366);
/// Life of a key of which nobody said how long.
pub const USUAL_LIFE: chrono::Duration = chrono::Duration::days(90);

impl NewApiKey {
    /// What it is good for at most.
    pub fn narrowing(&self) -> Narrowing {
        Narrowing { scopes: Some(self.scopes.clone()), project: self.project.clone() }
    }

    /// Everything that is wrong with it.
    pub fn problems(&self, now: DateTime<Utc>) -> Vec<FieldError> {
        let mut problems: Vec<_> = super::name_problem(&self.name).into_iter().collect();
        problems.extend(self.narrowing().problems());
        if self.addresses.len() > MAX_ADDRESSES {
            let why = format!("at most {MAX_ADDRESSES} ranges");
            problems.push(FieldError::at("/addresses", why));
        }
        if self.expires_at.is_some_and(|at| at <= now || at > now + MAX_LIFE) {
            let why = "a key ends within 366 days from now; make a new one then";
            problems.push(FieldError::at("/expires_at", why));
        }
        problems
    }
}

/// The parts of a key, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyText<'a> {
    /// What names it.
    pub public: &'a str,
    /// What must be kept secret.
    pub secret: &'a str,
}

impl<'a> KeyText<'a> {
    /// Takes a key apart; `None` for what is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        let body = text.get(..text.len().checked_sub(CHECK_LENGTH + 1)?)?;
        let check = text.strip_prefix(body)?.strip_prefix('_')?;
        let (public, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
        let signs = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| DIGITS.contains(&b))
        };
        let shaped = signs(public, PUBLIC_LENGTH) && signs(secret, SECRET_LENGTH);
        (shaped && check == check_sum(body)).then_some(Self { public, secret })
    }
}

/// Puts a key together.
pub fn key_text(public: &str, secret: &str) -> String {
    let body = format!("{PREFIX}{public}_{secret}");
    let check = check_sum(&body);
    format!("{body}_{check}")
}

/// `length` signs out of random bytes, each as likely as any other; `None` when the bytes do not
/// suffice.
pub fn signs_of(random: &[u8], length: usize) -> Option<String> {
    // 248 is the largest multiple of 62 in a byte; what is above would favour the first signs.
    let signs =
        random.iter().filter(|byte| **byte < 248).map(|byte| DIGITS[usize::from(byte % 62)]);
    let text: String = signs.take(length).map(char::from).collect();
    (text.len() == length).then_some(text)
}

/// CRC-32 (IEEE) in six signs.
fn check_sum(body: &str) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(body.as_bytes());
    let mut sum = crc.sum();
    let mut signs = [b'0'; CHECK_LENGTH];
    for sign in signs.iter_mut().rev() {
        *sign = DIGITS[(sum % 62) as usize];
        sum /= 62;
    }
    signs.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_from_what_looks_like_one() {
        let secret = signs_of(&[7; 64], SECRET_LENGTH).unwrap();
        let text = key_text("Zk81Lq0c", &secret);
        let parts = KeyText::parse(&text).unwrap();
        assert_eq!((parts.public, parts.secret), ("Zk81Lq0c", secret.as_str()));
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(KeyText::parse(&other), None, "{other}");
        }
        for bad in ["", "slp_", "slp___", "slp_Zk81Lq0c", "ä", &text[1..], &format!("{text}0")] {
            assert_eq!(KeyText::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn signs_are_even_and_bytes_may_not_suffice() {
        let all: Vec<u8> = (0..=255).collect();
        let text = signs_of(&all, 248).unwrap();
        for digit in DIGITS {
            assert_eq!(text.bytes().filter(|b| b == digit).count(), 4);
        }
        assert_eq!(signs_of(&all, 249), None);
        assert_eq!(signs_of(&[255; 64], 1), None);
    }
}
