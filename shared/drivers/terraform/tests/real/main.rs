//! The driver against the real tool (Terraform or OpenTofu on `PATH`). Most of it needs no
//! provider; what does takes them from `SLIPWAY_TEST_PROVIDER_MIRROR`, an unpacked mirror with
//! `hashicorp/random`, `null`, `local` and `time`.
#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod allowed;
mod apply;
mod cold;
mod drift;
mod equality;
mod job;
mod packed;
mod plan;
mod recover;
mod source;
mod stops;
mod store;
mod subset;
mod tests;
mod tools;
mod validation;
