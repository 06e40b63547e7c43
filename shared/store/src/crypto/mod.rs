//! Seals what is secret: envelope encryption bound to the place where the value is kept.
//!
//! Every value is sealed with AES-256-GCM under a random 256-bit data key, for a `place` (table,
//! row, column), so a value that is copied into another row does not open. The data key is kept
//! beside it, wrapped by a key of the [`Keyring`] or by a key service outside ([`Keys`] knows
//! which). `envelope.rs` has the form of it all.

mod aead;
mod envelope;
mod keys;
mod ring;
mod service;
mod sign;

pub(crate) use envelope::HEAD_BYTES;
pub use keys::{Keys, KeysInUse, Rewrap};
pub use ring::Keyring;
pub use service::ServiceOptions;

/// Random bytes that nobody can guess: for tokens, and for what must not come twice.
pub fn random<const N: usize>() -> crate::error::Result<zeroize::Zeroizing<[u8; N]>> {
    let mut bytes = zeroize::Zeroizing::new([0u8; N]);
    aead::fill(&mut *bytes)?;
    Ok(bytes)
}
pub use sign::is_signed;
pub(crate) use sign::sign;
