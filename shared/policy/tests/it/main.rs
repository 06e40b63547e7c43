//! The shipped pack on cases, packs that misbehave, and the comparison with OPA.

mod bad_packs;
mod cases;
mod opa;
mod plan;
mod ports;
mod stateful;
mod timing;
