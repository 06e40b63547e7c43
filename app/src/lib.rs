//! The parts of the executable `slipway`. They are a library so that the sample run and the
//! journeys in `tests/` use the same client as the command line does.

pub mod cli;
pub mod client;
pub mod secret_input;
