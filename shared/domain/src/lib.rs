//! The words of Slipway: identifiers, states, plans, faults and the ports that the rest of the
//! house is built on.
//!
//! Every other crate may depend on this one; it depends on none of them. It holds no runtime, no
//! HTTP framework and no SQL: only types, pure functions and traits.

pub mod access;
pub mod approval;
pub mod artifact;
pub mod audit;
pub mod auth;
pub mod cancel;
pub mod clock;
pub mod cost;
pub mod deployment;
pub mod drift;
pub mod event;
pub mod exemption;
pub mod fault;
pub mod finding;
pub mod gate;
pub mod gate_settings;
pub mod id;
pub mod job;
pub mod limit;
pub mod log;
pub mod member;
pub mod page;
pub mod plan;
pub mod policy;
pub mod port;
pub mod price;
pub mod project;
pub mod queue;
pub mod recovery;
pub mod redact;
pub mod report;
pub mod run_history;
pub mod scan;
pub mod secret;
pub mod setting;
pub mod source;
pub mod stack;
pub mod state;
pub mod state_diff;
pub mod state_version;
pub mod template;
pub mod test_report;
pub mod tree;
pub mod variable;
pub mod worker;

pub use clock::Clock;
pub use fault::{Code, Fault, Kind};
pub use secret::Secret;
