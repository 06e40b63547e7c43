//! Scanners of other makers, as they are installed on this machine: checkov, tfsec, conftest and
//! trivy behind one port ([`slipway_domain::port::scanner`]).
//!
//! [`Scanners::discover`] finds them once, at the start; [`Scan::scan_all`](slipway_domain::port::scanner::Scan::scan_all) asks those that a
//! gate wants, next to each other. Each concern has its file: `source` lays the source out for a
//! tool, `tool` runs it, `report` puts what it found into the words of the house; each adapter has
//! its command line and its format.
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
//! What is not bounded is memory: that is for the machine to do.

mod checkov;
mod conftest;
mod discover;
mod inline;
mod options;
mod report;
mod source;
mod tfsec;
mod tool;
mod trivy;

pub use checkov::Checkov;
pub use conftest::Conftest;
pub use discover::Scanners;
pub use options::{Choice, Options};
pub use tfsec::Tfsec;
pub use trivy::Trivy;
