//! `[queue]`: what wakes workers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;

use super::masked;
use crate::problem::Problem;

/// What carries job references from the API to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransportKind {
    /// Inside one process.
    #[default]
    Embedded,
    /// Redis.
    Redis,
    /// RabbitMQ.
    #[serde(rename = "rabbitmq")]
    RabbitMq,
}

/// What wakes workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// What carries job references from the API to workers.
    pub transport: TransportKind,
    /// URL of the broker. The embedded transport has none.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "String", extend("x-kind" = "secret"))]
    pub url: Secret<String>,
    /// How often due jobs are looked for that no worker was told of, in milliseconds.
    #[schemars(range(min = 50, max = 60_000))]
    pub relay_interval_ms: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            transport: TransportKind::default(),
            url: Secret::default(),
            relay_interval_ms: 1000,
        }
    }
}

impl Queue {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        if self.transport != TransportKind::Embedded {
            problems.push(Problem::at(
                "queue.transport",
                "only `embedded` is built in this version; redis and rabbitmq come later",
            ));
        } else if !self.url.reveal().is_empty() {
            problems.push(
                Problem::at("queue.url", "the embedded transport has no broker; leave it empty")
                    .with("queue.transport"),
            );
        }
    }
}
