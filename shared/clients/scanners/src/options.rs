//! What an operator can choose about scanners. Plain values; reading configuration is not done here.

use std::path::PathBuf;

use slipway_domain::scan::{RuleBook, ScannerName};
use slipway_domain::tree::Limits;
use slipway_process::Guard;

/// One scanner to be looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Which one.
    pub name: ScannerName,
    /// Its executable; looked for on `PATH` when absent.
    pub program: Option<PathBuf>,
}

impl Choice {
    /// To be looked for on `PATH`.
    pub const fn on_path(name: ScannerName) -> Self {
        Self { name, program: None }
    }

    /// An executable, which says by its name which scanner it is.
    pub fn at(program: PathBuf) -> Option<Self> {
        let name = ScannerName::of_program(&program)?;
        Some(Self { name, program: Some(program) })
    }
}

/// How scanners are found and run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which are looked for, and where.
    pub scanners: Vec<Choice>,
    /// Names and prefixes (`LC_*`) of environment variables that they see beside `PATH` and the
    /// locale. They need no credentials.
    pub env_allow: Vec<String>,
    /// Directories of the operator's own policies for conftest. Without one it has nothing to say,
    /// and counts as not installed.
    pub conftest_policies: Vec<PathBuf>,
    /// Through what they are started.
    pub guard: Guard,
    /// How big a source tree may be.
    pub limits: Limits,
    /// How many run at the same time.
    pub parallel: usize,
    /// Our rules by the ids that scanners have for them.
    pub rules: RuleBook,
}

impl Default for Options {
    /// All of them, from `PATH`, two at a time.
    fn default() -> Self {
        Self {
            scanners: ScannerName::ALL.into_iter().map(Choice::on_path).collect(),
            env_allow: Vec::new(),
            conftest_policies: Vec::new(),
            guard: Guard::None,
            limits: Limits::default(),
            parallel: 2,
            rules: RuleBook::new(),
        }
    }
}
