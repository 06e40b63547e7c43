//! `[terraform]`: how Terraform or `OpenTofu` is run.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_env_names;
use crate::problem::Problem;

/// How Terraform or `OpenTofu` is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Terraform {
    /// The program; not set, `terraform` and then `tofu` are looked for on `PATH`.
    pub binary: Option<PathBuf>,
    /// Other programs that a deployment may ask for (`options.tool`), and directories with such,
    /// named like `terraform-1.11.4` or `tofu-1.12.6`. Their versions are asked for at the start.
    pub tools: Vec<PathBuf>,
    /// Directory of a provider mirror that providers are installed from; not set, they come from
    /// their registries. What is not unpacked yet is unpacked once, for all jobs, below `cache_dir`.
    pub provider_mirror: Option<PathBuf>,
    /// Source addresses of the providers that configurations may use, such as
    /// `registry.terraform.io/hashicorp/*`; a plan that needs another one fails before a provider is
    /// downloaded. Empty: all of them.
    pub allowed_providers: Vec<String>,
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
    /// How much garbage, in percent of what is in use, the program and its providers may gather
    /// before they collect it (`GOGC`; Go's own default is 100). More is faster and takes more memory:
    /// 200 takes at most half as much again. A `GOGC` that `env_allow` lets through goes first.
    #[schemars(range(min = 10, max = 1000))]
    pub gc_percent: u32,
}

impl Default for Terraform {
    fn default() -> Self {
        Self {
            binary: None,
            tools: Vec::new(),
            provider_mirror: None,
            allowed_providers: Vec::new(),
            cli_config_file: None,
            env_allow: Vec::new(),
            cache_dir: PathBuf::new(),
            parallelism: 10,
            gc_percent: 200,
        }
    }
}

/// What Terraform's `include` takes: two or three names, the last of them may be `*`.
fn is_address(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let first = parts.iter().position(|part| *part == "*").unwrap_or(parts.len());
    let (names, stars) = parts.split_at(first);
    let named = |part: &&str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    };
    (2..=3).contains(&parts.len()) && names.iter().all(named) && stars.iter().all(|p| *p == "*")
}

impl Terraform {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        check_env_names("terraform.env_allow", &self.env_allow, problems);
        for address in self.allowed_providers.iter().filter(|address| !is_address(address)) {
            let what = format!(
                "{address:?} is not a source address; write host/namespace/name, as in \
                 registry.terraform.io/hashicorp/aws, with * for any name, and after a * only others"
            );
            problems.push(Problem::at("terraform.allowed_providers", what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_providers_have_two_or_three_parts_and_stars_at_the_end() {
        for good in
            ["registry.terraform.io/hashicorp/*", "hashicorp/aws", "a.example:8443/*/*", "*/*/*"]
        {
            assert!(is_address(good), "{good}");
        }
        for bad in ["aws", "", "*", "*/hashicorp/aws", "h/*/aws", "h/n/aws*", "a/b/c/d", "h//x"] {
            assert!(!is_address(bad), "{bad}");
        }
        let mut problems = Vec::new();
        let some = Terraform { allowed_providers: vec!["aws*".into()], ..Terraform::default() };
        some.check(&mut problems);
        assert_eq!(problems.len(), 1);
    }
}
