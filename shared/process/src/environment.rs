//! What of this process's environment the tools get to see.
//!
//! The child's environment is built from nothing: an allow-list of names, never the rest. This is
//! the only place that reads the environment for tools.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Never passed through, whatever an operator allows: Slipway's own secrets, and what would change
/// how the tools are called behind Slipway's back.
const DENY: &[&str] = &[
    "SLIPWAY_*",
    "TF_CLI_CONFIG_FILE",
    "TERRAFORM_CONFIG",
    "TF_CLI_ARGS*",
    "TF_VAR_*",
    "TF_DATA_DIR",
    "TF_WORKSPACE",
    "TF_INPUT",
    "TF_IN_AUTOMATION",
    "TF_PLUGIN_CACHE_DIR",
    "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE",
    "TF_REATTACH_PROVIDERS",
    "TF_FORCE_LOCAL_BACKEND",
    "CHECKPOINT_DISABLE",
    "GIT_CONFIG*",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_ALLOW_PROTOCOL",
    "GIT_EXEC_PATH",
    "LD_*",
    "DYLD_*",
];

/// A variable with one of these in its name holds a secret …
const SECRET_NAMES: &[&str] = &[
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "PRIVATE_KEY",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "AUTH_KEY",
    "SIGNING_KEY",
    "SAS_KEY",
];

/// … unless it ends like this: places and names of secrets are none.
const PUBLIC_ENDS: &[&str] =
    &["_FILE", "_PATH", "_ID", "_URI", "_URL", "_NAME", "_DIR", "_EXPIRATION", "_EXPIRY", "_TTL"];

/// Names and values that a child process starts with.
#[derive(Clone, Default)]
pub struct Environment(Vec<(OsString, OsString)>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values are credentials, names are not.
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Environment {
    /// What of this process's environment matches `allow` (names, or prefixes ending in `*`).
    pub fn from_process<S: AsRef<str>>(allow: &[S]) -> Self {
        Self::select(std::env::vars_os(), allow)
    }

    fn select<S: AsRef<str>>(
        all: impl IntoIterator<Item = (OsString, OsString)>,
        allow: &[S],
    ) -> Self {
        let mut kept: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| {
                let Some(name) = name.to_str() else { return false };
                allow.iter().any(|pattern| matches(pattern.as_ref(), name))
                    && !DENY.iter().any(|pattern| matches(pattern, name))
            })
            .collect();
        kept.sort();
        Self(kept)
    }

    /// What of it matches `allow`, as if it were a process's.
    #[must_use]
    pub fn only<S: AsRef<str>>(&self, allow: &[S]) -> Self {
        Self::select(self.0.iter().cloned(), allow)
    }

    /// What is secret of it: values whose names say so, and passwords in URLs of proxies.
    pub fn secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, value) in &self.0 {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            let name = name.to_ascii_uppercase();
            let named = SECRET_NAMES.iter().any(|part| name.contains(part))
                && !PUBLIC_ENDS.iter().any(|end| name.ends_with(end));
            if named {
                found.push(value.to_owned());
            }
            if let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(value) {
                // A service account, as JSON.
                let inner = fields.iter().filter(|(name, _)| {
                    let name = name.to_ascii_uppercase();
                    SECRET_NAMES.iter().any(|part| name.contains(part))
                        && !PUBLIC_ENDS.iter().any(|end| name.ends_with(end))
                });
                found.extend(inner.filter_map(|(_, v)| v.as_str()).map(str::to_owned));
            }
            if let Some((_, rest)) = value.split_once("://")
                && let Some((user, _)) = rest.split('/').next().unwrap_or("").rsplit_once('@')
                && let Some((_, password)) = user.split_once(':')
            {
                found.push(password.to_owned());
            }
        }
        found
    }

    /// The same with one more, or another, value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.retain(|(n, _)| n != name);
        self.0.push((name.into(), value.into()));
        self
    }

    /// A value.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_os_str())
    }

    /// Every name and value.
    pub fn pairs(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Finds an executable file on its `PATH`.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        let path = self.get("PATH")?;
        std::env::split_paths(path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(program))
            .find(|file| is_executable(file))
    }
}

/// Whether a file can be started.
pub fn is_executable(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

#[cfg(test)]
mod secret_tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_their_names_and_places_of_them_are_none() {
        let all = [
            ("AWS_SECRET_ACCESS_KEY", "s3cret-one"),
            ("AWS_ACCESS_KEY_ID", "AKIA-not-secret"),
            ("AWS_REGION", "eu-north-1"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token"),
            ("https_proxy", "http://user:s3cret-two@proxy:3128/x@y"),
            (
                "GOOGLE_CREDENTIALS",
                r#"{"type":"service_account","private_key":"s3cret-three","private_key_id":"k1"}"#,
            ),
        ];
        let all = all.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let secrets = Environment::select(all, &["*"]).secrets();
        for secret in ["s3cret-one", "s3cret-two", "s3cret-three"] {
            assert!(secrets.iter().any(|s| s == secret), "{secret}");
        }
        for public in ["AKIA-not-secret", "eu-north-1", "/run/token", "k1"] {
            assert!(!secrets.iter().any(|s| s == public), "{public}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_passes_and_some_things_never_do() {
        let all = [
            ("PATH", "/bin"),
            ("AWS_REGION", "eu-1"),
            ("SLIPWAY_MASTER_KEY", "k"),
            ("DATABASE_URL", "postgres://"),
            ("TF_VAR_region", "x"),
            ("TF_CLI_ARGS_plan", "-destroy"),
            ("TF_TOKEN_app", "t"),
            ("LD_PRELOAD", "/x.so"),
        ];
        let all = || all.iter().map(|(n, v)| (OsString::from(n), OsString::from(v)));
        let names = |env: &Environment| {
            env.pairs().map(|(n, _)| n.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&Environment::select(all(), &["PATH", "AWS_*", "SLIPWAY_*"])),
            ["AWS_REGION", "PATH"]
        );
        let everything = Environment::select(all(), &["*"]);
        assert_eq!(names(&everything.only(&["AWS_*", "PATH", "OTHER"])), ["AWS_REGION", "PATH"]);
        assert_eq!(names(&everything), ["AWS_REGION", "DATABASE_URL", "PATH", "TF_TOKEN_app"]);
        let shown = format!("{everything:?}");
        assert!(shown.contains("DATABASE_URL") && !shown.contains("postgres"), "{shown}");
    }
}
