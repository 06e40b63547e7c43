//! The verbs on both engines: what must hold when two of them meet, when one is repeated, and when
//! a worker ends in a way that nobody planned for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod approval;
mod audit;
mod cancel;
mod drift;
mod endings;
mod gates;
mod plan_only;
mod policy;
mod prices;
mod races;
mod recovery;
mod repeats;
mod rig;
mod secrets;
mod settings;
mod stale;
mod state;
mod templates;
mod test;
mod together;
mod tools;
mod upkeep;
