//! Identifiers: UUID version 7 in newtypes whose text form carries a prefix (`dep_0192…`).
//!
//! The prefix makes an id readable in a log and makes mixing two kinds up an error at the door.
//! Minting is in [`Mint`], so that tests can have predictable ids.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what} id: expected `{prefix}_` and 32 hexadecimal digits")]
pub struct BadId {
    /// What was given, cut to 80 characters.
    pub text: String,
    /// The kind of id that was wanted, in words.
    pub what: &'static str,
    /// The prefix that was wanted.
    pub prefix: &'static str,
}

/// Gives out new ids. The one place in the house that asks for randomness for ids.
pub trait Mint: Send + Sync + fmt::Debug {
    /// A fresh UUID version 7.
    fn uuid(&self) -> Uuid;
}

/// The real thing: time-ordered random UUIDs.
#[derive(Debug, Default, Clone, Copy)]
pub struct RandomMint;

impl Mint for RandomMint {
    fn uuid(&self) -> Uuid {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that mints ids")]
        Uuid::now_v7()
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
        pub struct $name(pub Uuid);

        impl $name {
            /// The prefix of the text form.
            pub const PREFIX: &'static str = $prefix;

            /// A new id from `mint`.
            pub fn new(mint: &dyn Mint) -> Self {
                Self(mint.uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|rest| rest.len() == 32 && !rest.contains('-'))
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or_else(|| BadId {
                        text: text.chars().take(80).collect(),
                        what: $what,
                        prefix: $prefix,
                    })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-9a-f]{32}$"),
                })
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "_[0-9a-f]{32}$")))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// A stack.
    StackId, "stk", "stack"
);
id!(
    /// A deployment.
    DeploymentId, "dep", "deployment"
);
id!(
    /// A job.
    JobId, "job", "job"
);
id!(
    /// A plan of a deployment.
    PlanId, "pln", "plan"
);
id!(
    /// An artifact.
    ArtifactId, "art", "artifact"
);
id!(
    /// A state that was refused and kept.
    OrphanId, "orp", "orphan state"
);
id!(
    /// A worker process.
    WorkerId, "wrk", "worker"
);
id!(
    /// An exemption from a rule.
    ExemptionId, "exm", "exemption"
);
id!(
    /// A price file that was imported.
    PriceFileId, "prc", "price file"
);
id!(
    /// Tests of a deployment that were asked for.
    TestRunId, "tst", "test run"
);
id!(
    /// Somebody who can sign in, or a machine that can.
    AccountId, "acc", "account"
);
id!(
    /// Somebody's yes to a plan.
    ApprovalId, "apr", "approval"
);
id!(
    /// An item of the central configuration.
    SettingId, "set", "setting"
);
id!(
    /// A row of the audit log.
    AuditId, "aud", "audit record"
);
id!(
    /// One sign-in.
    SessionId, "ses", "session"
);
id!(
    /// An API key.
    ApiKeyId, "key", "API key"
);
id!(
    /// A rule of trust in tokens of another issuer.
    TrustRuleId, "tru", "trust rule"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_goes_there_and_back() {
        let id = DeploymentId::new(&RandomMint);
        let text = id.to_string();
        assert!(text.starts_with("dep_"), "{text}");
        assert_eq!(text.parse::<DeploymentId>().unwrap(), id);
    }

    #[test]
    fn another_kind_of_id_is_refused_with_its_reason() {
        let stack = StackId::new(&RandomMint).to_string();
        let bad = stack.parse::<DeploymentId>().unwrap_err();
        assert_eq!(bad.prefix, "dep");
        assert!(bad.to_string().contains("deployment id"), "{bad}");
        for text in ["", "dep_", "dep_123", "dep_0192f1c0-1111-7000-8000-000000000000"] {
            assert!(text.parse::<DeploymentId>().is_err(), "{text}");
        }
    }
}
