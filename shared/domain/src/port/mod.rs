//! Ports: what the house asks of the world outside, as traits. Their real implementations are in
//! crates of their own (`drivers/*`, `clients/*`), wired together by the executable.

pub mod buckets;
pub mod driver;
pub mod estimator;
pub mod identity_provider;
pub mod key_service;
pub mod scanner;
