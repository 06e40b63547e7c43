//! What things are called in Redis.

use std::time::Duration;

use apalis_redis::Config;
use slipway_domain::job::Queue;

/// How often a listener says that it lives. Between two of them it is still asked for work.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// So many heartbeats late, a listener is taken for dead, and what it held is queued again.
const MISSED_HEARTBEATS: usize = 6;

/// The names of one installation.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How apalis serves a queue. One bell at a time, no locks (a bell takes no time), no results.
    pub(super) fn config(&self, queue: Queue) -> Config {
        Config::default()
            .queue(format!("{}:{queue}", self.prefix))
            .batch_size(1)
            .lock_tasks(false)
            .persist_results(false)
            .heartbeat_interval(HEARTBEAT)
            .missed_heartbeats(MISSED_HEARTBEATS)
    }

    /// Where it is said that a queue has something: the channel that apalis names so.
    pub(super) fn available(&self, queue: Queue) -> String {
        format!("tasks:{}:available", self.config(queue).active_jobs_list())
    }

    /// Where signals are said.
    pub(super) fn signals(&self) -> String {
        format!("{}:signals", self.prefix)
    }

    /// The list of messages of a queue that could not be read.
    pub(super) fn quarantine(&self, queue: Queue) -> String {
        format!("{}:quarantine:{queue}", self.prefix)
    }
}
