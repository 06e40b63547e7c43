//! HashiCorp Vault's Transit engine (or OpenBao's) as the house's key service: data keys are
//! encrypted, decrypted and rewrapped there, and its key never leaves it.
//!
//! [`Transit`] implements [`KeyService`] and holds no rule of the store's: what is kept in memory,
//! and for how long, is the store's business. Every call has an end; what may pass is tried again
//! a few times. Tokens, data keys and bodies are in no error and no log.
//! [`fake`](crate) is a stand-in for tests, behind the feature of that name.

mod answer;
#[cfg(feature = "fake")]
pub mod fake;
mod transit;

#[doc(no_inline)]
pub use slipway_domain::port::key_service::{KeyService, KeyServiceError};
pub use transit::{BuildError, Options, Token, Transit};
