//! Requests counted in Redis, so that all processes count together. It uses the transport's
//! connection, and gives up at once where there is none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;
use slipway_domain::limit::{Quota, Taken};
use slipway_domain::port::buckets::Buckets;

use super::link::Link;

/// No request waits longer for being counted.
const PATIENCE: Duration = Duration::from_millis(100);

/// Counts in Redis.
pub struct RedisBuckets {
    link: Arc<Link>,
    prefix: String,
    script: Script,
}

impl RedisBuckets {
    pub(super) fn new(link: Arc<Link>, prefix: &str) -> Self {
        let prefix = format!("{prefix}:limit:");
        Self { link, prefix, script: Script::new(include_str!("take.lua")) }
    }
}

impl fmt::Debug for RedisBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuckets").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl Buckets for RedisBuckets {
    async fn take(&self, key: &str, quota: Quota) -> Result<Taken, String> {
        let Some(mut live) = self.link.now() else { return Err("it is not connected".to_owned()) };
        let (window, step) = quota.micros();
        let mut call = self.script.prepare_invoke();
        call.key(format!("{}{key}", self.prefix)).arg(window).arg(step);
        let asked = call.invoke_async::<(String, String, i64)>(&mut live.connection);
        let answer = tokio::time::timeout(PATIENCE, asked);
        let (full_at, now, allowed) = answer
            .await
            .map_err(|_| "it does not answer in time".to_owned())?
            .map_err(|error| self.link.say(error))?;
        let number =
            |text: String| text.parse::<i64>().map_err(|_| "it answers nonsense".to_owned());
        Ok(quota.told(number(full_at)?, number(now)?, allowed == 1))
    }
}
