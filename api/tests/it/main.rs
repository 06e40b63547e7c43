//! The doors, in process: real store in memory, real verbs, embedded transport, a clock that
//! stands still. A worker is played by hand; Terraform is not needed.

#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod access;
mod approvals;
mod audit;
mod auth;
mod breaking;
mod deployments;
mod document;
mod doors;
mod edge;
mod house;
mod members;
mod pages;
mod policies;
mod problems;
mod queues;
mod scopes;
mod serving;
mod settings;
mod states;
mod streams;
mod uploads;
