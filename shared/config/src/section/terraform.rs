//! `[terraform]`: how Terraform or `OpenTofu` is run.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// How Terraform or `OpenTofu` is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Terraform {
    /// The program; not set, `terraform` and then `tofu` are looked for on `PATH`.
    pub binary: Option<PathBuf>,
    /// Directory of an unpacked provider mirror that providers are installed from; not set, they
    /// come from their registries.
    pub provider_mirror: Option<PathBuf>,
    /// A CLI configuration file of your own, used in place of the one that Slipway writes.
    pub cli_config_file: Option<PathBuf>,
    /// Names of environment variables that the program may see, beside the built-in list. Cloud
    /// credentials go here.
    pub env_allow: Vec<String>,
    /// Directory of what `init` downloaded; `cache` in the data directory when nothing is said.
    pub cache_dir: PathBuf,
    /// Resources that one apply works on at the same time.
    #[schemars(range(min = 1, max = 256))]
    pub parallelism: u32,
}

impl Default for Terraform {
    fn default() -> Self {
        Self {
            binary: None,
            provider_mirror: None,
            cli_config_file: None,
            env_allow: Vec::new(),
            cache_dir: PathBuf::new(),
            parallelism: 10,
        }
    }
}

impl Terraform {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        for name in &self.env_allow {
            let shaped = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            let what = if !shaped {
                // A value that was written along may be a secret.
                let shown = name.split('=').next().unwrap_or_default();
                format!(
                    "{shown:?} is not the name of a variable; write names alone, without values"
                )
            } else if name.starts_with("SLIPWAY_") {
                format!(
                    "{name}: Slipway's own variables hold its secrets; configurations may not see them"
                )
            } else {
                continue;
            };
            problems.push(Problem::at("terraform.env_allow", what));
        }
    }
}
