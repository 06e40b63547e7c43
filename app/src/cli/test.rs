//! Testing a configuration: `slipway test`.

use std::path::PathBuf;

use clap::Args;

use super::OfDeployment;

/// `slipway test`.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// Which.
    #[command(flatten)]
    pub of: OfDeployment,
    /// Do not validate the configuration
    #[arg(long)]
    pub no_validate: bool,
    /// Leave out the configuration's own test files
    #[arg(long)]
    pub no_own_tests: bool,
    /// A test file (NAME.tftest.hcl) to run beside the configuration's own; may be given several times
    #[arg(long = "check", value_name = "FILE")]
    pub checks: Vec<PathBuf>,
    /// Allow runs that apply, and so make real things; they are removed afterwards
    #[arg(long)]
    pub allow_apply: bool,
    /// How long all of it may take
    #[arg(long, value_name = "SECONDS")]
    pub time_limit: Option<u32>,
    /// Do not wait for the report
    #[arg(long, conflicts_with = "show")]
    pub no_wait: bool,
    /// Show the newest report and test nothing
    #[arg(long, conflicts_with_all = ["checks", "allow_apply", "time_limit", "no_validate", "no_own_tests"])]
    pub show: bool,
}

/// A resource that is there, and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistsArg {
    /// Its address.
    pub address: String,
    /// Its id.
    pub id: Option<String>,
}

impl std::str::FromStr for ExistsArg {
    type Err = String;

    /// The address ends at the first `=` outside of brackets and quotes: a key of `for_each` may
    /// hold one.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut quoted, mut escaped) = (false, false);
        for (at, c) in text.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '=' if !quoted => {
                    let (address, id) = (text[..at].to_owned(), text[at + 1..].to_owned());
                    if id.is_empty() {
                        return Err("there is no id after the =".to_owned());
                    }
                    return Ok(Self { address, id: Some(id) });
                }
                _ => {}
            }
        }
        Ok(Self { address: text.to_owned(), id: None })
    }
}
