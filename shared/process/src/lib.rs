//! How the house runs tools: Terraform, git and scanners, each as a child with a cleared
//! environment, in a process group of its own, with bounded output, and through a guard that ends
//! it when its worker cannot.
//!
//! `run` starts, follows and stops a child, and is the only place in the house that does; `guard` is
//! the small process in between, `environment` what a child gets to see of ours, `tape` a stream
//! that outlives us, `unattended` the run of what belongs to no job. It knows no tool by name.

mod environment;
mod guard;
mod run;
mod tape;
mod unattended;

pub use environment::{Environment, is_executable};
pub use guard::{Guard, guard};
pub use run::{Command, Ended, Failed, Listener, MAX_LINE_BYTES, Stdout, Stops, run};
pub use tape::{Heard, Keep, Tape, open_plain, replay};
pub use unattended::Unattended;
