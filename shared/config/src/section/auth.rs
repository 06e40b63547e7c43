//! `[auth]`: how people and machines sign in.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;

use super::masked;
use crate::problem::Problem;

/// Whether callers must say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// They must: with a token, a key or a session.
    #[default]
    Required,
    /// Nobody is asked, and everybody may do everything. On a loopback address only.
    None,
}

/// How people and machines sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Whether callers must say who they are. `none` is for one person on one machine, and only
    /// where the API listens on a loopback address; `slipway dev` does so by default.
    pub mode: AuthMode,
    /// The URL by which this installation is reached, `https://slipway.example.com`: its tokens say
    /// it, and providers send browsers back to it. Not set, it is the address that the API listens on.
    /// All replicas need the same one.
    pub public_url: Option<String>,
    /// Whether anybody may make an account. It may do nothing until somebody makes it a member.
    pub registration: bool,
    /// How long an access token is good, in seconds.
    #[schemars(range(min = 60, max = 3600))]
    pub access_token_s: u32,
    /// How long a session lasts that nobody uses, in hours.
    #[schemars(range(min = 1, max = 8_760))]
    pub session_idle_h: u32,
    /// How long a session lasts at most, in hours.
    #[schemars(range(min = 1, max = 8_760))]
    pub session_max_h: u32,
    /// After how many days another key signs access tokens.
    #[schemars(range(min = 1, max = 366))]
    pub signing_key_days: u32,
    /// File with the keys that sign access tokens (Ed25519, PKCS #8, PEM; the first one signs, all of
    /// them are known; mode 0600). Not set, keys are made, kept sealed in the database, and rotated.
    pub signing_key_path: Option<PathBuf>,
    /// Whether somebody whom a provider knows and we do not gets an account at the first sign-in.
    pub provider_accounts: bool,
    /// Only for those whose verified e-mail address is in one of these domains; for all when empty.
    pub email_domains: Vec<String>,
    /// Issuers whose OIDC tokens machines may exchange, e.g.
    /// `https://token.actions.githubusercontent.com`. Rules of trust say which tokens.
    pub workload_issuers: Vec<String>,
    /// Signing in at GitHub.
    pub github: Github,
    /// Signing in at Google.
    pub google: Google,
    /// Signing in at another OpenID provider.
    pub oidc: Oidc,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::default(),
            public_url: None,
            registration: false,
            access_token_s: 900,
            session_idle_h: 168,
            session_max_h: 720,
            signing_key_days: 30,
            signing_key_path: None,
            provider_accounts: false,
            email_domains: Vec::new(),
            workload_issuers: Vec::new(),
            github: Github::default(),
            google: Google::default(),
            oidc: Oidc::default(),
        }
    }
}

/// Signing in at GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Github {
    /// The client id of the OAuth app; not set, nobody signs in there.
    pub client_id: Option<String>,
    /// Its client secret.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "String", extend("x-kind" = "secret"))]
    pub client_secret: Secret<String>,
    /// Where people sign in: that of GitHub Enterprise Server, where it is one.
    pub url: String,
    /// Its API.
    pub api_url: String,
}

impl Default for Github {
    fn default() -> Self {
        Self {
            client_id: None,
            client_secret: Secret::default(),
            url: "https://github.com".to_owned(),
            api_url: "https://api.github.com".to_owned(),
        }
    }
}

/// Signing in at Google.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Google {
    /// The client id; not set, nobody signs in there.
    pub client_id: Option<String>,
    /// Its client secret.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "String", extend("x-kind" = "secret"))]
    pub client_secret: Secret<String>,
}

/// Signing in at another OpenID provider, found by discovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Oidc {
    /// Its issuer URL, e.g. `https://login.example.com/realms/main`; not set, nobody signs in there.
    pub issuer: Option<String>,
    /// What people call it.
    pub title: String,
    /// The client id.
    pub client_id: Option<String>,
    /// Its client secret.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "String", extend("x-kind" = "secret"))]
    pub client_secret: Secret<String>,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: None,
            title: "Single sign-on".to_owned(),
            client_id: None,
            client_secret: Secret::default(),
        }
    }
}

/// What is wrong with a URL that secrets go to, or that tokens come from.
fn url_problem(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { return Some("it must begin with https://") };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    if host.is_empty() || url.bytes().any(|b| !b.is_ascii_graphic()) {
        return Some("it is no URL");
    }
    if rest.contains(['@', '?', '#']) {
        return Some("it must not hold a user, a query or a fragment");
    }
    if url.ends_with('/') {
        return Some("leave the slash at its end out");
    }
    let loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    (url.starts_with("http://") && !loopback)
        .then_some("without TLS it could be read and changed on the way; write https://")
}

impl Auth {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        let mut url = |key: &str, url: &str| {
            problems.extend(url_problem(url).map(|why| Problem::at(key, why)));
        };
        if let Some(public) = &self.public_url {
            url("auth.public_url", public);
        }
        for issuer in &self.workload_issuers {
            url("auth.workload_issuers", issuer);
        }
        url("auth.github.url", &self.github.url);
        url("auth.github.api_url", &self.github.api_url);
        if let Some(issuer) = &self.oidc.issuer {
            url("auth.oidc.issuer", issuer);
        }
        let providers = [
            ("auth.github", self.github.client_id.is_some(), &self.github.client_secret),
            ("auth.google", self.google.client_id.is_some(), &self.google.client_secret),
            ("auth.oidc", self.oidc.issuer.is_some(), &self.oidc.client_secret),
        ];
        for (section, used, secret) in providers {
            if used && secret.reveal().is_empty() {
                let key = format!("{section}.client_secret");
                problems.push(Problem::at(&key, "it is not set"));
            }
            if used && self.public_url.is_none() {
                let why = format!("{section} sends browsers back to it, and it is not set");
                problems.push(Problem::at("auth.public_url", why));
            }
        }
        if self.oidc.issuer.is_some() && self.oidc.client_id.is_none() {
            problems.push(Problem::at("auth.oidc.client_id", "it is not set"));
        }
        if self.session_idle_h > self.session_max_h {
            problems.push(
                Problem::at("auth.session_idle_h", "a session ends before (auth.session_max_h)")
                    .with("auth.session_max_h"),
            );
        }
        for domain in &self.email_domains {
            if domain.contains('@') || !domain.contains('.') || *domain != domain.to_lowercase() {
                let why = format!("{domain:?} is not a domain in lower case, such as example.com");
                problems.push(Problem::at("auth.email_domains", why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut Auth)) -> Vec<String> {
        let mut auth = Auth::default();
        change(&mut auth);
        let mut problems = Vec::new();
        auth.check(&mut problems);
        problems.iter().map(|problem| format!("{problem:?}")).collect()
    }

    #[test]
    fn secrets_go_over_tls_and_providers_are_whole() {
        assert!(wrong(|_| {}).is_empty());
        let whole = |auth: &mut Auth| {
            auth.public_url = Some("https://slipway.example.com".into());
            auth.github.client_id = Some("Iv1.x".into());
            auth.github.client_secret = Secret::new("s3cret".into());
            auth.oidc.issuer = Some("http://127.0.0.1:9/realm".into());
            auth.oidc.client_id = Some("slipway".into());
            auth.oidc.client_secret = Secret::new("s3cret".into());
        };
        assert!(wrong(whole).is_empty(), "{:?}", wrong(whole));
        for url in [
            "http://idp.example.com",
            "idp.example.com",
            "https://",
            "https://u:hunter2@idp",
            "https://idp/?a",
            "https://idp/",
            "http://localhost.evil",
        ] {
            let problems = wrong(|auth| {
                whole(auth);
                auth.oidc.issuer = Some(url.into());
            });
            assert_eq!(problems.len(), 1, "{url}: {problems:?}");
            assert!(!problems[0].contains("hunter2"), "{problems:?}");
        }
        for change in [
            (|a: &mut Auth| a.public_url = None) as fn(&mut Auth),
            |a| a.github.client_secret = Secret::default(),
            |a| a.oidc.client_id = None,
            |a| a.session_idle_h = 10_000,
            |a| a.email_domains = vec!["@example.com".into()],
        ] {
            let problems = wrong(|auth| {
                whole(auth);
                change(auth);
            });
            assert!(!problems.is_empty());
        }
    }
}
