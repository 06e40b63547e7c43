//! The doors, in process: real store in memory, real verbs, embedded transport, a clock that
//! stands still. A worker is played by hand; Terraform is not needed.

#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod approvals;
mod auth;
mod breaking;
mod deployments;
mod document;
mod doors;
mod house;
mod pages;
mod policies;
mod problems;
mod queues;
mod scopes;
mod serving;
mod states;
mod streams;
mod uploads;
