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
    /// URL of the broker: `redis://user:password@host:port/db` (`rediss://` for TLS,
    /// `redis+unix:///path` for a socket), or `amqp://user:password@host:port/vhost` (`amqps://`
    /// for TLS). The embedded transport has none.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "String", extend("x-kind" = "secret"))]
    pub url: Secret<String>,
    /// What the names of all queues and channels in the broker begin with. Installations that
    /// share a broker have different ones.
    pub prefix: String,
    /// How often due jobs are looked for that no worker was told of, in milliseconds.
    #[schemars(range(min = 50, max = 60_000))]
    pub relay_interval_ms: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            transport: TransportKind::default(),
            url: Secret::default(),
            prefix: "slipway".to_owned(),
            relay_interval_ms: 1000,
        }
    }
}

/// Longest prefix: the broker's own names come behind it, and AMQP takes 255 bytes.
const MAX_PREFIX: usize = 64;

impl TransportKind {
    /// What its URL begins with.
    const fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Embedded => &[],
            Self::Redis => &["redis://", "rediss://", "redis+unix://", "unix://"],
            Self::RabbitMq => &["amqp://", "amqps://"],
        }
    }
}

impl Queue {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        let url = self.url.reveal();
        let schemes = self.transport.schemes();
        // The value is not shown: it may hold a password.
        let what = match self.transport {
            TransportKind::Embedded if url.is_empty() => None,
            TransportKind::Embedded => {
                Some("the embedded transport has no broker; leave it empty".to_owned())
            }
            _ if url.is_empty() => {
                Some(format!("it is empty; write {}… of the broker", schemes.join("… or ")))
            }
            _ => match schemes.iter().find_map(|scheme| url.strip_prefix(scheme)) {
                None => Some(format!("it must begin with {}", schemes.join(" or "))),
                Some("" | "/") => Some("it names no broker".to_owned()),
                Some(_) => None,
            },
        };
        if let Some(what) = what {
            problems.push(Problem::at("queue.url", what).with("queue.transport"));
        }
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.prefix.is_empty()
            || self.prefix.len() > MAX_PREFIX
            || !self.prefix.chars().all(known)
        {
            problems.push(Problem::at(
                "queue.prefix",
                format!("it must be 1 to {MAX_PREFIX} letters, digits, `.`, `_` and `-`"),
            ));
        }
    }
}
