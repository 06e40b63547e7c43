//! Tools of other makers that look at a change, as they are installed on this machine: the scanners
//! checkov, tfsec, conftest and trivy behind one port ([`slipway_domain::port::scanner`]), and
//! infracost, which prices a plan, behind another ([`slipway_domain::port::estimator`]).
//!
//! [`Scan::scan_all`](slipway_domain::port::scanner::Scan::scan_all) asks those that a gate wants,
//! next to each other, and [`Scanners`] finds each when it is wanted first. Each concern has its file: `program` finds a tool and runs it
//! within its limits, `source` lays the source out for a scanner, `tool` is one whole scan, `report`
//! puts what it found into the words of the house; each adapter has its command line and its format.
//! [`Infracost`] stands on `program` alone: it gets a plan and no source.
//!
//! # What a scanner is not trusted with
//!
//! The source may be hostile, and the tools read it with parsers of their own. So each works in a
//! directory of the job (mode 0700) on a copy of its own, from which the files were left out that
//! would configure it: a `.checkov.yaml` in a source switches checks off, or loads Python that is
//! run. It sees no variable of ours but what is allowed, no credentials and no way out: proxies
//! point to nowhere unless an operator names others. Its output is bounded, its time limited, and
//! it is killed with all it started. It reads files that hold secrets, so nothing of what it
//! quotes is kept: only named fields of its report, through the run's redactor.
//!
//! # What infracost is trusted with
//!
//! More: it asks a pricing API on the network, so it sees the operator's proxies and the key of that
//! API, and no other credentials. It gets the whole plan, which holds secrets, in a file (mode 0600)
//! in a directory of the job (mode 0700) that is gone when it has ended, however it ended. What it
//! sends out of the plan is up to it; what it could be told not to send, it is told (`infracost`).
//! The key is masked in all that it says. It gets no file of the source, so nothing that is judged
//! configures it.
//!
//! What is not bounded is memory: that is for the machine to do.

mod checkov;
mod conftest;
mod discover;
mod infracost;
mod inline;
mod options;
mod program;
mod report;
mod source;
mod tfsec;
mod tool;
mod trivy;

pub use checkov::Checkov;
pub use conftest::Conftest;
pub use discover::Scanners;
pub use infracost::{Infracost, InfracostOptions};
pub use options::{Choice, Options};
pub use tfsec::Tfsec;
pub use trivy::Trivy;
