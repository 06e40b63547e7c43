//! An executable that is a guard and nothing else, for tests whose own executable is a test runner.

use std::process::ExitCode;

fn main() -> ExitCode {
    slipway_process::guard().unwrap_or(ExitCode::FAILURE)
}
