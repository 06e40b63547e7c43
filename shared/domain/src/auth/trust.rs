//! Trust in tokens of other issuers: whose stand for which service account.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Narrowing;
use crate::access::{Actor, Scope};
use crate::fault::FieldError;
use crate::id::{AccountId, TrustRuleId};

/// Conditions of one rule at most.
const MAX_CONDITIONS: usize = 30;
/// Longest text in a rule, in bytes.
const MAX_TEXT: usize = 500;

/// A rule of trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct TrustRule {
    /// The rule.
    pub id: TrustRuleId,
    /// What it is.
    #[serde(flatten)]
    pub rule: NewTrustRule,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: Actor,
}

/// A rule that is to be: a token of `issuer` for `audience` whose claims are as said stands for an
/// account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTrustRule {
    /// What to call it; no two have the same name.
    #[schema(min_length = 1, max_length = 100, example = "deploy from main")]
    pub name: String,
    /// `iss` of the token: one of those that the configuration trusts.
    #[schema(example = "https://token.actions.githubusercontent.com")]
    pub issuer: String,
    /// `aud` of the token.
    #[schema(example = "https://slipway.example.com")]
    pub audience: String,
    /// What claims must be, by name. `*` in a value stands for anything but `/`, a value that is just
    /// `*` for anything.
    #[schema(example = json!({"repository": "acme/shop", "ref": "refs/heads/main"}))]
    pub conditions: BTreeMap<String, String>,
    /// The service account that the token stands for.
    pub account_id: AccountId,
    /// These scopes only, as far as the account has them.
    #[schema(value_type = Vec<String>, min_items = 1)]
    #[schemars(with = "Vec<String>")]
    pub scopes: BTreeSet<Scope>,
    /// In this project only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// Claims that say who a token is about. A rule that asks for none of those trusts everybody whom
/// the issuer knows, which with a public one is everybody.
const SPEAKING: &[&str] = &[
    "sub",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "project_path",
    "project_id",
    "namespace_path",
    "namespace_id",
    "email",
    "azp",
    "client_id",
    "kubernetes.io",
];

impl NewTrustRule {
    /// What tokens that it lets in are good for at most.
    pub fn narrowing(&self) -> Narrowing {
        Narrowing { scopes: Some(self.scopes.clone()), project: self.project.clone() }
    }

    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems: Vec<_> = super::name_problem(&self.name).into_iter().collect();
        problems.extend(self.narrowing().problems());
        let texts = [("/issuer", &self.issuer), ("/audience", &self.audience)];
        for (at, text) in texts {
            if text.is_empty() || text.len() > MAX_TEXT {
                problems.push(FieldError::at(at, format!("1 to {MAX_TEXT} bytes")));
            }
        }
        let speaks = |(name, wanted): (&String, &String)| {
            SPEAKING.contains(&name.as_str()) && names_somebody(name, wanted)
        };
        if self.conditions.len() > MAX_CONDITIONS {
            let why = format!("at most {MAX_CONDITIONS} conditions");
            problems.push(FieldError::at("/conditions", why));
        }
        if !self.conditions.iter().any(speaks) {
            problems.push(FieldError::at(
                "/conditions",
                "at least one condition must say who the token is about, e.g. `sub` or \
                 `repository`, with the owner written out (`acme/*`, not `*/*`): without one it \
                 trusts everybody whom the issuer knows",
            ));
        }
        let long = |text: &String| text.is_empty() || text.len() > MAX_TEXT;
        if self.conditions.iter().any(|(name, wanted)| long(name) || long(wanted)) {
            let why = format!("names and values have 1 to {MAX_TEXT} bytes");
            problems.push(FieldError::at("/conditions", why));
        }
        problems
    }

    /// Whether the claims of a token are as said.
    pub fn fits(&self, claims: &BTreeMap<String, Value>) -> bool {
        self.conditions.iter().all(|(name, wanted)| match claims.get(name) {
            Some(Value::String(text)) => is_like(wanted, text),
            Some(Value::Bool(flag)) => is_like(wanted, if *flag { "true" } else { "false" }),
            Some(Value::Number(number)) => is_like(wanted, &number.to_string()),
            // A list or an object is no text that could be compared.
            _ => false,
        })
    }
}

/// Whether a condition leaves out everybody but somebody's own: whose it is stands in it without a
/// star. That is the part before the first `/`, without what kind it is (`repo:`), for addresses of
/// mail the part behind the `@`, and for numbers all of it.
fn names_somebody(name: &str, wanted: &str) -> bool {
    let owner = match name {
        "email" => wanted.rsplit_once('@').map_or("", |(_, domain)| domain),
        name if name.ends_with("_id") => wanted,
        _ => {
            let first = wanted.split('/').next().unwrap_or_default();
            match first.split_once(':') {
                // `repo:acme/shop:…`, `project_path:acme/shop:…`
                Some((_, owner)) if wanted.contains('/') => owner,
                _ => first,
            }
        }
    };
    !owner.is_empty() && !owner.contains('*')
}

/// Whether `text` is what `wanted` says; `*` stands for any signs but `/`, alone for anything.
fn is_like(wanted: &str, text: &str) -> bool {
    if wanted == "*" {
        return true;
    }
    let mut parts = wanted.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let middle: Vec<&str> = parts.collect();
    let Some((last, middle)) = middle.split_last() else { return rest.is_empty() };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        if rest[..at].contains('/') {
            return false;
        }
        rest = &rest[at + part.len()..];
    }
    !rest.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_between_slashes() {
        let cases = [
            ("acme/shop", "acme/shop", true),
            ("acme/shop", "acme/shop2", false),
            ("acme/*", "acme/shop", true),
            ("acme/*", "acme/shop/x", false),
            ("acme/*", "evil/shop", false),
            ("repo:acme/*:ref:refs/heads/main", "repo:acme/shop:ref:refs/heads/main", true),
            ("repo:acme/*:ref:refs/heads/main", "repo:acme/a/b:ref:refs/heads/main", false),
            ("*", "a/b", true),
            ("", "", true),
            ("a*a", "a", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axbx", false),
        ];
        for (wanted, text, like) in cases {
            assert_eq!(is_like(wanted, text), like, "{wanted} {text}");
        }
    }

    #[test]
    fn a_rule_without_a_subject_trusts_everybody_and_is_refused() {
        let rule = |conditions: &[(&str, &str)]| NewTrustRule {
            name: "n".into(),
            issuer: "https://issuer.example".into(),
            audience: "https://slipway.example".into(),
            conditions: conditions.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            account_id: AccountId(uuid::Uuid::nil()),
            scopes: [Scope::DeploymentsRead].into(),
            project: None,
        };
        assert!(rule(&[("repository", "acme/shop")]).problems().is_empty());
        for good in [
            ("repository", "acme/*"),
            ("sub", "repo:acme/*:ref:refs/heads/main"),
            ("sub", "system:serviceaccount:shop:ci"),
            ("repository_owner_id", "1234"),
            ("email", "*@acme.example"),
        ] {
            assert!(rule(&[good]).problems().is_empty(), "{good:?}");
        }
        for bad in [
            &[][..],
            &[("ref", "refs/heads/main")],
            &[("sub", "*")],
            &[("sub", "")],
            &[("repository", "*/*")],
            &[("repository", "*/shop")],
            &[("repository", "a*/shop")],
            &[("sub", "repo:*/*:pull_request")],
            &[("sub", "repo:*")],
            &[("repository_id", "12*")],
            &[("email", "*@*")],
            &[("email", "ann@*.example")],
        ] {
            assert!(!rule(bad).problems().is_empty(), "{bad:?}");
        }
        let claims = |text: &str| serde_json::from_str(text).unwrap();
        let main = rule(&[("repository", "acme/shop"), ("run_attempt", "1")]);
        assert!(main.fits(&claims(r#"{"repository": "acme/shop", "run_attempt": 1}"#)));
        assert!(!main.fits(&claims(r#"{"repository": "acme/shop"}"#)));
        assert!(!main.fits(&claims(r#"{"repository": ["acme/shop"], "run_attempt": 1}"#)));
    }
}
