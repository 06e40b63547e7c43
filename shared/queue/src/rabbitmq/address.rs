//! Where the broker is, read from a URL that holds a password: nothing here shows it.

use std::fmt;

use lapin::uri::{AMQPScheme, AMQPUri};
use slipway_domain::Secret;

/// Seconds between heartbeats when the URL does not say: a broker that is silent for twice as long
/// is taken for dead.
const HEARTBEAT_S: u16 = 10;

/// Bytes a frame when the URL does not say. lapin's buffers are 64 times this, and doorbells are
/// small; RabbitMQ 4 insists on 8192 at least.
const FRAME_MAX: u32 = 16_384;

/// A URL that was read.
#[derive(Clone)]
pub(super) struct Address {
    uri: AMQPUri,
    /// What the connection is called in the broker's listings.
    pub(super) connection_name: String,
}

impl Address {
    /// Reads the URL. The error never repeats it.
    pub(super) fn read(url: &Secret<String>, connection_name: &str) -> Result<Self, String> {
        let text = url.reveal().trim();
        if text.is_empty() {
            return Err("the URL of the broker is empty".into());
        }
        if !text.starts_with("amqp://") && !text.starts_with("amqps://") {
            return Err("the URL of the broker must begin with amqp:// or amqps://".into());
        }
        // The parser's own message may repeat the whole URL.
        let mut uri: AMQPUri = text.parse().map_err(|_| {
            "the URL of the broker cannot be read; it looks like amqp://user:password@host:5672/%2f \
             (encode special characters of the password)"
        })?;
        if let Some(host) = ip6_literal(text) {
            // The parser takes it for no host at all, and that for localhost.
            host.clone_into(&mut uri.authority.host);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        Ok(Self { uri, connection_name: connection_name.to_owned() })
    }

    /// What lapin needs: with the password.
    pub(super) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }

    /// The name or address of the broker's machine.
    pub(super) fn host(&self) -> &str {
        &self.uri.authority.host
    }

    /// The broker's port.
    pub(super) fn port(&self) -> u16 {
        self.uri.authority.port
    }

    /// Whether the connection is encrypted.
    pub(super) fn tls(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }
}

/// The host of `scheme://…@[host]…`, without its brackets.
fn ip6_literal(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(host.strip_prefix('[')?.split_once(']')?.0)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host().contains(':') {
            write!(f, "[{}]:{}", self.host(), self.port())
        } else {
            write!(f, "{}:{}", self.host(), self.port())
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, String> {
        Address::read(&Secret::new(url.to_owned()), "test")
    }

    #[test]
    fn a_url_is_read_and_what_it_leaves_out_is_filled_in() {
        let address = read("amqp://me:p%40ss@broker.example:5673/%2f").unwrap();
        assert_eq!(address.to_string(), "broker.example:5673");
        assert!(!address.tls());
        let uri = address.uri();
        assert_eq!((uri.authority.userinfo.password.as_str(), uri.vhost.as_str()), ("p@ss", "/"));
        assert_eq!((uri.query.heartbeat, uri.query.frame_max), (Some(10), Some(16_384)));

        let address = read("amqps://me:pass@broker.example/prod?heartbeat=30").unwrap();
        assert_eq!(address.to_string(), "broker.example:5671");
        assert!(address.tls());
        assert_eq!(
            (address.uri().vhost.as_str(), address.uri().query.heartbeat),
            ("prod", Some(30))
        );
    }

    #[test]
    fn an_ip6_address_is_not_taken_for_localhost() {
        for (url, shown) in [
            ("amqp://me:pass@[2001:db8::1]:5673/%2f", "[2001:db8::1]:5673"),
            ("amqp://[::1]/", "[::1]:5672"),
        ] {
            assert_eq!(read(url).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn no_way_of_failing_or_printing_shows_the_password() {
        for url in [
            "amqp:hunter2",
            "amqp://me:hunter2@broker:notaport/",
            "amqp://me:hunter2@broker:99999/",
            "http://me:hunter2@broker/",
            "amqp://me:hunter2@broker/?heartbeat=hunter2",
            "amqp://me:hunter2@[::1/",
            "hunter2",
            "",
        ] {
            let error = read(url).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let address = read("amqp://me:hunter2@broker/").unwrap();
        assert_eq!(format!("{address} {address:?}"), "broker:5672 broker:5672");
    }
}
