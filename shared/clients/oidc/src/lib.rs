//! Who somebody is elsewhere: OpenID providers found by discovery, GitHub (which is none for people),
//! and issuers whose tokens machines show.
//!
//! It is small and our own, because the usual crates bring a second library of cryptography: tokens
//! are checked by `jsonwebtoken` with the one that the house has. [`Fetch`] alone
//! sends anything.

mod discovery;
mod fetch;
mod github;
mod issuers;
mod jwt;
mod oidc;

#[cfg(feature = "fake")]
pub mod fake;

#[doc(no_inline)]
pub use slipway_domain::port::identity_provider::{IdentityError, IdentityProvider, TokenIssuers};

pub use fetch::{BuildError, Fetch};
pub use github::{GitHub, GitHubOptions};
pub use issuers::Issuers;
pub use oidc::{Oidc, OidcOptions};
