//! Accounts: people who sign in, and machines that do.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{Actor, ActorKind};
use crate::fault::FieldError;
use crate::id::AccountId;

/// Shortest password, in characters.
pub const MIN_PASSWORD: usize = 12;
/// Longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;
/// Longest address of mail.
const MAX_EMAIL: usize = 254;

/// Whose account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// A human being, who signs in.
    Person,
    /// A machine: it has API keys, or shows tokens of an issuer that is trusted.
    Service,
}

impl AccountKind {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Service => "service",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Person, Self::Service].into_iter().find(|kind| kind.as_str() == text)
    }

    /// What kind of actor it is.
    pub const fn actor(self) -> ActorKind {
        match self {
            Self::Person => ActorKind::Person,
            Self::Service => ActorKind::Service,
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Account {
    /// The account; also what the record calls who acts.
    pub id: AccountId,
    /// Whose it is.
    pub kind: AccountKind,
    /// What it signs in as.
    #[schema(example = "ann")]
    pub name: String,
    /// Where mail reaches them. It identifies nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: Actor,
    /// Since when nothing of it is taken any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<DateTime<Utc>>,
}

/// What is wrong with a name to sign in as.
pub fn name_problem(name: &str) -> Option<FieldError> {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let shaped = (1..=63).contains(&name.len())
        && name.bytes().next().is_some_and(first)
        && name.bytes().all(|b| first(b) || b"._-".contains(&b));
    (!shaped).then(|| {
        FieldError::at(
            "/name",
            "name must be 1 to 63 lower-case letters, digits, '.', '-' or '_', starting with a \
             letter or digit",
        )
    })
}

/// What is wrong with an address of mail. Only its shape is looked at.
pub fn email_problem(email: &str) -> Option<FieldError> {
    let shaped = email.len() <= MAX_EMAIL
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(who, at)| !who.is_empty() && !at.is_empty() && !at.contains('@'));
    (!shaped).then(|| FieldError::at("/email", "this is not an e-mail address"))
}

/// Passwords that are long enough and are tried first all the same.
const WELL_KNOWN: &[&str] = &[
    "123456789012",
    "1234567890123",
    "12345678901234",
    "123456789abc",
    "1q2w3e4r5t6y",
    "administrator",
    "changemeplease",
    "correcthorsebatterystaple",
    "iloveyou1234",
    "letmeinletmein",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "qwerty123456",
    "qwertyuiop12",
    "qwertyuiop123",
    "welcome12345",
];

/// What is wrong with a new password of whoever signs in as `name`: its length above all. The
/// answer quotes nothing of it.
pub fn password_problem(pointer: &str, password: &str, name: &str) -> Option<FieldError> {
    let wrong = |why: String| Some(FieldError::at(pointer, why));
    let length = password.chars().count();
    if length < MIN_PASSWORD {
        return wrong(format!("a password has at least {MIN_PASSWORD} characters"));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return wrong(format!("a password has at most {MAX_PASSWORD_BYTES} bytes"));
    }
    let lower = password.to_lowercase();
    let distinct: std::collections::BTreeSet<char> = lower.chars().collect();
    if distinct.len() < 5 {
        return wrong("this password repeats a few characters".to_owned());
    }
    if WELL_KNOWN.contains(&lower.as_str()) {
        return wrong("this password is one of those that are tried first".to_owned());
    }
    // What is left of it without the name must still be a secret.
    if name.len() >= 3 && lower.replace(name, "").chars().count() < MIN_PASSWORD / 2 {
        return wrong("this password is little more than the name".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_no_well_known_ones() {
        for good in ["correct horse battery", "Tr0ub4dor&3-and-more", "пароль-из-многих-букв"]
        {
            assert_eq!(password_problem("/password", good, "ann"), None, "{good}");
        }
        let long = "ab cd efg".repeat(200);
        for bad in [
            "",
            "short",
            "aaaaaaaaaaaaaaaa",
            "abababababababab",
            "PassWord1234",
            "ann-ann-ann-1",
            &long,
        ] {
            let problem = password_problem("/password", bad, "ann").unwrap();
            assert!(bad.is_empty() || !problem.detail.contains(bad), "{problem:?}");
        }
    }

    #[test]
    fn names_and_addresses_have_a_shape() {
        for name in ["ann", "a", "ci.runner-2", "0x"] {
            assert_eq!(name_problem(name), None, "{name}");
        }
        for name in ["", "Ann", "-a", "a b", "a@b", &"a".repeat(64)] {
            assert!(name_problem(name).is_some(), "{name}");
        }
        assert_eq!(email_problem("ann@example.com"), None);
        for email in ["", "ann", "@b", "a@", "a@b@c", "a b@c", "a@b\n"] {
            assert!(email_problem(email).is_some(), "{email}");
        }
    }
}
