//! The shipped pack on cases, packs that misbehave, and the comparison with OPA.

mod aliases;
mod bad_packs;
mod cases;
mod hostile;
mod opa;
mod plan;
mod ports;
mod prepared;
mod rule_book;
mod stateful;
mod templates;
mod timing;
