//! Where requests are counted for all processes together.

use async_trait::async_trait;

use crate::limit::{Quota, Taken};

/// Counts requests. Who cannot say in a moment says why, and the caller counts for itself.
#[async_trait]
pub trait Buckets: Send + Sync + std::fmt::Debug {
    /// Takes one request of `quota` from `key`.
    async fn take(&self, key: &str, quota: Quota) -> Result<Taken, String>;
}
