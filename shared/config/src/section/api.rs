//! `[api]`: the HTTP listener and its bounds.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// The HTTP listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// IP address and port to listen on. Where nobody is asked to sign in (`auth.mode`), only a
    /// loopback address is allowed.
    #[schemars(with = "String", extend("x-kind" = "address"))]
    pub listen: SocketAddr,
    /// Further names (`host` or `host:port`) that a request's `Host` header may have, e.g. that of
    /// a reverse proxy on this machine. Loopback names are always allowed.
    pub allowed_hosts: Vec<String>,
    /// Largest body of a request, in bytes; uploads of archives have their own bound.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_body_bytes: usize,
    /// Largest archive that may be uploaded, packed, in bytes.
    #[schemars(range(min = 1024, max = 4_294_967_296_u64))]
    pub max_archive_bytes: usize,
    /// Largest Terraform state that the state backend takes, in bytes.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_state_bytes: usize,
    /// How long a request may take, in seconds; streams have their own bound.
    #[schemars(range(min = 1, max = 3600))]
    pub request_timeout_s: u64,
    /// How long an event stream stays open, in seconds. Clients resume where it ended.
    #[schemars(range(min = 1, max = 86_400))]
    pub stream_max_s: u64,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            allowed_hosts: Vec::new(),
            max_body_bytes: 1 << 20,
            max_archive_bytes: 16 << 20,
            max_state_bytes: 64 << 20,
            request_timeout_s: 30,
            stream_max_s: 3600,
        }
    }
}

impl Api {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        for host in &self.allowed_hosts {
            let ok = !host.is_empty()
                && host.len() <= 259
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
            if !ok {
                problems.push(Problem::at(
                    "api.allowed_hosts",
                    format!("{host:?} is not a host name; write `host` or `host:port`, without a scheme or a path"),
                ));
            }
        }
    }
}
