//! Where requests of ours may go that somebody else named: every URL that a user can set goes through
//! a [`Guard`].
//!
//! It refuses what is not the public internet (this machine, private and link-local networks, the
//! metadata services of clouds, tunnels that lead there), unless the operator allowed it. A name is
//! resolved once, every one of its addresses is looked at, and the connection goes to the very
//! addresses that were looked at: a name that answers otherwise the second time gains nothing.

mod address;
mod allow;
mod client;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::Url;

pub use address::is_public;
pub use allow::{Allow, BadEntry};
pub use client::{Client, ClientOptions};

/// A name must be resolved by then.
const RESOLVING: Duration = Duration::from_secs(5);
/// More addresses of one name are not looked at, and not used.
const MOST_ADDRESSES: usize = 16;

/// Why a request does not go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The URL has another scheme.
    #[error("{0:?} is not a scheme that is allowed here; write https://")]
    Scheme(String),
    /// The URL holds a user or a password.
    #[error("the URL must not hold credentials")]
    Credentials,
    /// The URL names no host.
    #[error("the URL names no host")]
    NoHost,
    /// The host is, or leads to, an address that is not public.
    #[error(
        "{host} leads to {address}, which is not on the public internet; an operator can allow it \
         (outbound.allow)"
    )]
    Address {
        /// The host that was named.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// The name cannot be resolved.
    #[error("{0} cannot be resolved")]
    Unresolved(String),
    /// There were too many redirects.
    #[error("there were more than {0} redirects")]
    Redirects(usize),
}

/// Says where requests may go. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Allow,
    allow_http: bool,
}

impl Guard {
    /// Lets through the public internet over https, and what `allow` names.
    pub const fn new(allow: Allow) -> Self {
        Self { allow, allow_http: false }
    }

    /// Lets plain http through, too.
    #[must_use]
    pub const fn with_http(mut self, allowed: bool) -> Self {
        self.allow_http = allowed;
        self
    }

    /// Looks at one address of `host`.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        if is_public(address) || self.allow.has(host, address) {
            Ok(())
        } else {
            Err(Refused::Address { host: host.to_owned(), address })
        }
    }

    /// Looks at a URL as far as that goes without resolving its name: scheme, credentials, and a host
    /// that is an address already, however it is written.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            other => return Err(Refused::Scheme(other.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Refused::NoHost)?;
        match literal(host) {
            Some(address) => self.check_address(host, address),
            None => Ok(()),
        }
    }

    /// Resolves a host. Gives its addresses when every one of them may be called.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Refused> {
        if let Some(address) = literal(host) {
            self.check_address(host, address)?;
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let unresolved = || Refused::Unresolved(host.to_owned());
        let looked_up = tokio::time::timeout(RESOLVING, tokio::net::lookup_host((host, port)));
        let found: Vec<_> = looked_up
            .await
            .map_err(|_| unresolved())?
            .map_err(|_| unresolved())?
            .take(MOST_ADDRESSES)
            .collect();
        if found.is_empty() {
            return Err(unresolved());
        }
        // A name with a public address and a private one is not half good.
        for address in &found {
            self.check_address(host, address.ip())?;
        }
        Ok(found)
    }
}

/// Host and port of a repository's URL: `https://`, `http://`, `ssh://` and `git@host:path`. `None` for
/// what has none (`file://`) or one that is not written like a host.
pub fn host_of_repository(url: &str) -> Option<(String, u16)> {
    let (host, port) = if let Some((scheme, _)) = url.split_once("://") {
        let usual = match scheme {
            "https" => 443,
            "http" => 80,
            "ssh" => 22,
            _ => return None,
        };
        let url = Url::parse(url).ok()?;
        (url.host_str()?.to_owned(), url.port().unwrap_or(usual))
    } else {
        let (authority, path) = url.split_once(':')?;
        // `ext::…`: git would run a helper of that name.
        if path.starts_with(':') {
            return None;
        }
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        (host.to_owned(), 22)
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let shaped = !bare.is_empty()
        && !bare.starts_with('-')
        && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    shaped.then(|| (bare.to_owned(), port))
}

/// A host that is an address: plain, or in brackets.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

#[cfg(test)]
mod tests;
