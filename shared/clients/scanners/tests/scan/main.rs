//! Scanners as programs: fake ones, which misbehave in every way, and the real ones where they are
//! installed.
#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod fake;
mod job;
mod real;
