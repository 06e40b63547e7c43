//! A service that keeps the keys which seal data keys (Vault Transit, a cloud's key management):
//! what the store asks of it. The keys themselves never leave the service.

use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

/// A data key: what seals one or more values.
pub type DataKey = Zeroizing<[u8; 32]>;

/// Why a key service did not do what it was asked. Texts name keys and addresses, never what is
/// sealed and never a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyServiceError {
    /// It cannot be reached, is sealed or too busy, or does not let us in (a token that is being
    /// renewed is no reason to lose anything): the same call may well succeed later.
    #[error("{0}")]
    Away(String),
    /// It answers, and does not open what it is given: it is not its own, or was altered.
    #[error("{0}")]
    Refused(String),
}

/// Wraps and opens data keys. Answers have as many items as were asked for, in the same order.
#[async_trait]
pub trait KeyService: Send + Sync + fmt::Debug {
    /// What envelopes call it: kind and key, `vault:transit/slipway`. One to 128 visible ASCII
    /// characters with a `:` in them, which no key of a ring has in its name.
    fn name(&self) -> &str;

    /// The version of the key that a wrapped data key was wrapped by.
    fn version(&self, wrapped: &str) -> Option<String>;

    /// Wraps data keys by the newest version of the key.
    async fn wrap(&self, keys: &[DataKey]) -> Result<Vec<String>, KeyServiceError>;

    /// Opens wrapped data keys.
    async fn unwrap(&self, wrapped: &[String]) -> Result<Vec<DataKey>, KeyServiceError>;

    /// Wraps anew, by the newest version of the key, what an older one wrapped.
    async fn rewrap(&self, wrapped: &[String]) -> Result<Vec<String>, KeyServiceError>;
}
