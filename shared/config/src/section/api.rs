//! `[api]`: the HTTP listener and its bounds.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
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
    /// Networks (`10.0.0.0/8`) and addresses of reverse proxies. What they say in `forwarded_header`
    /// of the caller's address is believed; nobody else is.
    pub trusted_proxies: Vec<String>,
    /// The header in which those proxies say for whom they ask. It must be one that they write
    /// themselves, whatever the caller sends.
    pub forwarded_header: ForwardedHeader,
    /// Origins (`https://app.example.com`) of pages elsewhere that may call the API from a browser.
    pub cors_origins: Vec<String>,
    /// TLS of the listener.
    pub tls: Tls,
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

/// A header in which a proxy says for whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// TLS of a listener; without both files it speaks plain HTTP. They are read again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// File with the certificate and those that lead to its root (PEM).
    pub cert: Option<PathBuf>,
    /// File with the certificate's private key (PEM), which nobody else may read (mode 0600).
    pub key: Option<PathBuf>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            cors_origins: Vec::new(),
            tls: Tls::default(),
            max_body_bytes: 1 << 20,
            max_archive_bytes: 16 << 20,
            max_state_bytes: 64 << 20,
            request_timeout_s: 30,
            stream_max_s: 3600,
        }
    }
}

/// Reads a network, or an address as the network of it alone.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

impl Api {
    /// The networks of the proxies that are trusted.
    pub fn proxies(&self) -> Vec<IpNet> {
        self.trusted_proxies.iter().filter_map(|text| network(text)).collect()
    }

    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        for proxy in &self.trusted_proxies {
            if network(proxy).is_none() {
                let what = format!("{proxy:?} is no network (10.0.0.0/8) and no address");
                problems.push(Problem::at("api.trusted_proxies", what));
            }
        }
        for origin in &self.cors_origins {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let shaped = host.is_some_and(|host| {
                !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
            });
            if !shaped || origin.bytes().any(|b| b.is_ascii_uppercase()) {
                problems.push(Problem::at(
                    "api.cors_origins",
                    format!("{origin:?} is no origin; write it as browsers do: https://host or https://host:port, in lower case, without a path"),
                ));
            }
        }
        let one = match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => Some(("api.tls.key", "api.tls.cert")),
            (None, Some(_)) => Some(("api.tls.cert", "api.tls.key")),
            _ => None,
        };
        if let Some((missing, there)) = one {
            let what = format!("{there} is set and this is not; TLS needs both");
            problems.push(Problem::at(missing, what).with(there));
        }
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
