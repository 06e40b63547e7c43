//! `[keys]`: keys that seal secrets at rest.

use std::path::PathBuf;

use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;

use super::masked;
use crate::problem::Problem;

/// Who keeps the keys that seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyProvider {
    /// The key ring.
    #[default]
    Ring,
    /// The transit engine of HashiCorp Vault or OpenBao.
    VaultTransit,
}

/// Keys that seal secrets at rest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// Who keeps the key that seals. What the other one sealed opens as long as it is configured
    /// too.
    pub provider: KeyProvider,
    /// File of the key ring, used when `ring` is empty; `keyring` in the data directory when
    /// nothing is said.
    pub file: PathBuf,
    /// The key ring itself, `name:base64,name:base64`: each key is 32 bytes, the first one seals,
    /// all of them open.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "String", extend("x-kind" = "secret"))]
    pub ring: Secret<String>,
    /// Vault, where it keeps a key.
    pub vault: Vault,
}

/// The transit engine of Vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Vault {
    /// Its URL, `https://vault.example.com:8200`; not set, Vault is not used. Without TLS only on
    /// this machine.
    pub address: Option<String>,
    /// Where the transit engine is mounted.
    pub mount: String,
    /// The name of the key.
    pub key: String,
    /// The namespace, where Vault has them.
    pub namespace: Option<String>,
    /// The token; it lasts as long as the process. Better is a file that Vault Agent keeps fresh
    /// (`keys.vault.token_path`).
    #[serde(serialize_with = "masked")]
    #[schemars(with = "String", extend("x-kind" = "secret"))]
    pub token: Secret<String>,
    /// File with the token, read for every call; used when `token` is empty.
    pub token_path: Option<PathBuf>,
    /// File with the certificates (PEM) that sign Vault's; not set, the machine's are used.
    pub ca_file: Option<PathBuf>,
    /// How long one request may take, in seconds.
    #[schemars(range(min = 1, max = 30))]
    pub timeout_s: u64,
    /// How long an opened data key is kept in memory, in seconds. Longer is fewer calls, and more
    /// time until a key that was taken away in Vault opens nothing any more.
    #[schemars(range(min = 1, max = 3_600))]
    pub cache_s: u64,
    /// Opened data keys that are kept in memory at most.
    #[schemars(range(min = 1, max = 100_000))]
    pub cache_keys: usize,
}

impl Default for Vault {
    fn default() -> Self {
        Self {
            address: None,
            mount: "transit".to_owned(),
            key: "slipway".to_owned(),
            namespace: None,
            token: Secret::default(),
            token_path: None,
            ca_file: None,
            timeout_s: 3,
            cache_s: 300,
            cache_keys: 1000,
        }
    }
}

/// Longest name of a mount or a key.
const MAX_NAME: usize = 60;

impl Vault {
    fn check(&self, used: bool, problems: &mut Vec<Problem>) {
        let Some(address) = &self.address else {
            if used {
                problems.push(
                    Problem::at("keys.vault.address", "it is not set; write Vault's URL")
                        .with("keys.provider"),
                );
            }
            return;
        };
        // A user in it would be a secret: it is not shown.
        let host = address.strip_prefix("http://").map(|rest| {
            let authority = rest.split('/').next().unwrap_or_default();
            authority.rsplit_once(':').map_or(authority, |(host, _)| host)
        });
        let what = match host {
            None if address.strip_prefix("https://").is_none_or(str::is_empty) => {
                Some("it must begin with https://")
            }
            Some(host) if !["localhost", "127.0.0.1", "[::1]"].contains(&host) => Some(
                "without TLS the token and the data keys would be readable on the way; write https://",
            ),
            _ if address.contains('@') => {
                Some("it must not hold a user or a password; the token is keys.vault.token")
            }
            _ => None,
        };
        if let Some(what) = what {
            problems.push(Problem::at("keys.vault.address", what));
        }
        for (key, name, slash) in
            [("keys.vault.mount", &self.mount, true), ("keys.vault.key", &self.key, false)]
        {
            let known = |c: char| {
                c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') || (slash && c == '/')
            };
            let shaped = !name.is_empty()
                && name.len() <= MAX_NAME
                && name.chars().all(known)
                && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
            if !shaped {
                let what = format!("it must be 1 to {MAX_NAME} letters, digits, `.`, `_` and `-`");
                problems.push(Problem::at(key, what));
            }
        }
        if self.token.reveal().is_empty() && self.token_path.is_none() {
            problems.push(
                Problem::at("keys.vault.token", "there is no token: neither here nor in a file")
                    .with("keys.vault.token_path"),
            );
        }
    }
}

impl Keys {
    /// The store reads the ring for good; here it is only looked over, so that a bad one is
    /// reported with everything else. Keys are never part of a message.
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        let ring = self.ring.reveal();
        let mut names = Vec::new();
        let entries = ring.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        for (number, entry) in entries.enumerate() {
            let nth = number + 1;
            let what = match entry.split_once(':') {
                None => format!("entry {nth} is not `name:base64`"),
                Some((name, _))
                    if name.is_empty()
                        || name.len() > 64
                        || !name.bytes().all(|b| b.is_ascii_graphic()) =>
                {
                    format!("the name of entry {nth} must be 1 to 64 visible ASCII characters")
                }
                Some((name, _)) if names.contains(&name) => {
                    format!("entry {nth} has the name of another one")
                }
                Some((name, key)) => {
                    names.push(name);
                    match base64::engine::general_purpose::STANDARD.decode(key) {
                        Ok(key) if key.len() == 32 => continue,
                        Ok(key) => format!("entry {nth} has {} bytes, not 32", key.len()),
                        Err(_) => format!("the key of entry {nth} is not base64"),
                    }
                }
            };
            problems.push(Problem::at("keys.ring", what));
        }
        if !ring.is_empty() && ring.split([',', '\n']).all(|entry| entry.trim().is_empty()) {
            problems.push(Problem::at("keys.ring", "there is no key in it"));
        }
        self.vault.check(self.provider == KeyProvider::VaultTransit, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut Keys)) -> Vec<String> {
        let mut keys = Keys { provider: KeyProvider::VaultTransit, ..Keys::default() };
        keys.vault.address = Some("https://vault.example.com:8200".to_owned());
        keys.vault.token = Secret::new("hvs.t0ken".to_owned());
        change(&mut keys);
        let mut problems = Vec::new();
        keys.check(&mut problems);
        problems.iter().map(|problem| format!("{problem:?}")).collect()
    }

    #[test]
    fn vault_is_reached_with_tls_and_a_token() {
        assert!(wrong(|_| {}).is_empty());
        assert!(wrong(|k| k.vault.address = Some("http://127.0.0.1:8200".into())).is_empty());
        assert!(wrong(|k| k.vault.address = Some("http://[::1]:8200".into())).is_empty());
        for address in [
            "http://vault:8200",
            "vault:8200",
            "https://",
            "https://u:hunter2@vault",
            "http://127.0.0.1.evil",
        ] {
            let problems = wrong(|k| k.vault.address = Some(address.into()));
            assert_eq!(problems.len(), 1, "{address}: {problems:?}");
            assert!(!problems[0].contains("hunter2"), "{problems:?}");
        }
        assert!(wrong(|k| k.vault.address = None)[0].contains("keys.vault.address"));
        assert!(wrong(|k| k.vault.token = Secret::default())[0].contains("no token"));
        for name in ["", "a b", "../x", "a//b", "/a"] {
            assert_eq!(wrong(|k| k.vault.mount = name.to_owned()).len(), 1, "{name}");
        }
        assert_eq!(wrong(|k| k.vault.key = "a/b".to_owned()).len(), 1);
    }

    #[test]
    fn vault_that_is_not_used_needs_nothing() {
        let mut problems = Vec::new();
        Keys::default().check(&mut problems);
        assert!(problems.is_empty(), "{problems:?}");
    }
}
