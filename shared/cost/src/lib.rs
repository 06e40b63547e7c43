//! Cost: a price book, and what a plan makes a month cost by it.
//!
//! A [`Book`] is the rows that come with the product ([`Book::shipped`]), overlaid by rows that an
//! operator imported ([`import`]). [`Book::estimate`] reads the document of a Terraform plan and
//! makes a [`CostReport`](slipway_domain::cost::CostReport); it is pure, bounded, and reads no file,
//! socket or clock. [`infracost`] reads a report that infracost made.
//!
//! What holds for every number: it is exact, it has a source and a day, and what is not known is
//! listed and never 0.

#[expect(clippy::unnecessary_wraps, reason = "all types are priced by one form of function")]
mod aws;
#[expect(clippy::unnecessary_wraps, reason = "all types are priced by one form of function")]
mod azure;
mod book;
mod desk;
mod error;
mod estimate;
mod free;
#[expect(clippy::unnecessary_wraps, reason = "all types are priced by one form of function")]
mod gcp;
pub mod import;
pub mod infracost;
mod limits;
#[expect(clippy::unnecessary_wraps, reason = "all types are priced by one form of function")]
mod ncp;
mod plan;
mod region;
mod size;
mod types;
mod value;

pub use book::{Book, Origin, Overlaid, Provider, Row};
pub use error::{BookError, CostError};
pub use limits::Limits;
pub use types::{PricedType, free_types, priced_types};

#[cfg(test)]
mod tests;
