//! Policies: packs of Rego that judge a plan, in this process and within limits.
//!
//! A [`Pack`] is text. [`lint()`] says what is wrong with it before it is kept, [`run_tests`] runs
//! the tests that it brings, and an [`Engine`] is a pack compiled once, which judges any number of
//! [`Document`]s. Whatever goes wrong while it judges is a deny with the rule `policy_error`; the
//! gate never opens by accident. What is known only after apply is `unknown`, never a pass.
//!
//! This crate reads no files, opens no sockets and asks for no time but to keep its limits: everything
//! else comes in with the document.
//!
//! # What a pack says
//!
//! Packages of a pack may define these, all optional:
//!
//! - `deny`, `warn`, `require_role`, `unknown`: sets of findings, each a text or an object with
//!   `rule`, `address`, `message`, `severity`, `remedy`, `role`;
//! - `result`: a set of `{"rule", "address", "message", "state"}`, where the state is `fail` or
//!   `unknown` and everything else stands in
//! - `rules`: an object of rule id → `title`, `severity`, `rationale`, `remedy`, `aliases`,
//!   `source`, and optionally `verdict` and `role`. Findings take from here what they lack;
//! - `test_…`: rules that must be true when the pack is uploaded.
//!
//! [`facts`] describes what they find in `input`.

mod answer;
mod changes;
mod compiled;
mod configuration;
mod documents;
mod engine;
mod error;
pub mod facts;
mod finding;
mod functions;
mod limits;
mod links;
pub mod lint;
mod nesting;
mod pack;
mod primitives;
mod reading;
mod room;
mod self_test;
mod syntax;
mod values;
mod verdicts;
mod written;

pub use engine::{Document, Engine};
pub use error::{PackError, Problem};
pub use facts::Context;
pub use finding::{Evaluation, Finding, RuleInfo, Severity, State, Verdict};
pub use limits::Limits;
pub use lint::lint;
pub use pack::{Module, Pack};
pub use self_test::{TestOutcome, TestReport, run_tests};
