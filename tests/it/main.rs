//! Journeys: the real binary, real Terraform, real databases. Run them with `./test journeys`.
//!
//! Every test starts servers of its own in directories of its own and leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes and read their rig from the environment"
)]

mod api_fuzz;
mod chaos;
mod docs;
mod harness;
mod journeys;
mod killed_apply;
mod mcp;
