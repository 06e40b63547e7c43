//! Scanners and infracost as programs: fake ones, which misbehave in every way, and the real scanners
//! where they are installed.
#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod fake;
mod infracost;
mod job;
mod real;
