//! The verbs of Slipway: what can be asked of it, once, for every door.
//!
//! A verb takes the house ([`Ctx`]), the caller ([`Principal`](slipway_domain::access::Principal))
//! and a command, checks the caller's scopes, and does its work in one unit of work: rows, events,
//! audit record and the job that follows commit together. REST, MCP and the worker call the same
//! functions; none of them holds a rule of its own.

mod access;
pub mod approval;
pub mod artifact;
pub mod audit;
pub mod auth;
pub mod cancel;
mod change;
mod ctx;
pub mod deployment;
pub mod drift;
mod ending;
pub mod event;
pub mod execution;
pub mod exemption;
pub mod gate;
mod gather;
pub mod health;
mod idempotency;
mod intake;
pub mod job;
pub mod key;
mod library;
pub mod log;
mod look;
pub mod member;
pub mod output;
pub mod plan;
mod planned;
pub mod policy;
pub mod price;
pub mod project;
mod publish;
pub mod queue;
pub mod recovery;
pub mod run_history;
pub mod setting;
mod source;
pub mod stack;
mod stale;
pub mod state;
pub mod state_version;
mod taking;
pub mod template;
pub mod test;
mod unchanged;
pub mod upkeep;
pub mod worker;

pub use ctx::{Ctx, Gathered, Settings};
pub use library::Library;
