//! The shipped pack on cases, packs that misbehave, and the comparison with OPA.

mod aliases;
mod bad_packs;
mod cases;
mod opa;
mod plan;
mod ports;
mod templates;
mod rule_book;
mod stateful;
mod timing;
