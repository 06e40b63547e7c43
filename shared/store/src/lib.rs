//! The database and the blobs: the only place in the house that knows SQL.
//!
//! [`Store`] opens one of two engines, SQLite or PostgreSQL, behind the same functions. A [`Tx`]
//! is one unit of work; what is written through it becomes visible together, at [`Tx::commit`].
//! The functions are grouped by aggregate, one file each. What may happen to a deployment is not
//! decided here: the store only compares and sets.

pub mod approval;
pub mod artifact;
pub mod audit;
pub mod auth;
pub mod crypto;
mod db;
pub mod deployment;
mod dialect;
pub mod drift;
mod error;
pub mod event;
pub mod exemption;
mod gate_settings;
mod house;
pub mod idempotency;
pub mod job;
pub mod job_info;
pub mod lease;
pub mod log;
mod member;
mod migrate;
pub mod plan;
pub mod policy;
mod price;
pub mod project;
pub mod queue;
pub mod recovery;
pub mod retention;
pub mod rotation;
mod rows;
pub mod run_history;
pub mod setting;
pub mod stack;
pub mod state;
pub mod template;
pub mod test_report;
pub mod worker;

pub use db::{DatabaseUrl, Options, Store, Tx};
pub use error::{Error, Result};
