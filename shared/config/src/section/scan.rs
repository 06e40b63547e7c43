//! `[scan]`: the scanners that a worker has, and how they are run. Which of them a gate asks, and
//! what their findings come to, is said per project and environment.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::scan::ScannerName;

use super::check_env_names;
use crate::problem::Problem;

/// The scanners that a worker has, and how they are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scan {
    /// Programs named `checkov`, `tfsec`, `conftest` or `trivy`, also with a version behind the name
    /// (`tfsec-1.26.0`); those that are not named here are looked for on `PATH`.
    pub tools: Vec<PathBuf>,
    /// Directories of your own policies for conftest; without one it is not asked.
    pub conftest_policies: Vec<PathBuf>,
    /// Names of environment variables that scanners may see, beside `PATH` and the locale. They
    /// need no credentials, and no proxy: they work without the network.
    pub env_allow: Vec<String>,
    /// The longest that any scan may take, in seconds; a gate may give less.
    #[schemars(range(min = 1, max = 3600))]
    pub time_limit_s: u32,
    /// Scanners that look at one source at the same time.
    #[schemars(range(min = 1, max = 16))]
    pub parallel: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            tools: Vec::new(),
            conftest_policies: Vec::new(),
            env_allow: Vec::new(),
            time_limit_s: 600,
            parallel: 2,
        }
    }
}

impl Scan {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        check_env_names("scan.env_allow", &self.env_allow, problems);
        let named = |tool: &&PathBuf| ScannerName::of_program(tool).is_some();
        for tool in self.tools.iter().filter(|tool| !named(tool)) {
            let what = format!(
                "{}: the file's name does not say which scanner it is; it must be checkov, tfsec, \
                 conftest or trivy",
                tool.display()
            );
            problems.push(Problem::at("scan.tools", what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_say_by_their_names_which_scanners_they_are() {
        let mut problems = Vec::new();
        let scan = Scan {
            tools: vec!["/opt/checkov".into(), "/opt/tfsec-1.26.0".into(), "/opt/scan".into()],
            env_allow: vec!["SLIPWAY_KEYS_RING".into(), "A=b".into(), "LANGUAGE".into()],
            ..Scan::default()
        };
        scan.check(&mut problems);
        assert_eq!(problems.len(), 3, "{problems:?}");
        Scan::default().check(&mut problems);
        assert_eq!(problems.len(), 3);
    }
}
