//! The main job, from submit to applied, as users live it.

mod audit;
mod auth;
mod bad_input;
mod cli;
mod drift;
mod failure;
mod flow;
mod gates;
mod lifetime;
mod policies;
mod pools;
mod rotation;
mod secrets;
mod settings;
mod state_backend;
mod templates;
mod test;
