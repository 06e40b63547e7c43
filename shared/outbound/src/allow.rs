//! What an operator allows beside the public internet.

use std::net::IpAddr;

use ipnet::IpNet;

/// An entry that is neither a network nor a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network (10.0.0.0/8), address or host name")]
pub struct BadEntry(pub String);

/// Networks and hosts that may be called although they are not public.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    networks: Vec<IpNet>,
    hosts: Vec<String>,
}

impl Allow {
    /// Reads networks (`10.0.0.0/8`), addresses and host names. A host name lets all of its addresses
    /// through, whatever they are; it must be named exactly.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, BadEntry> {
        let mut allow = Self::default();
        for entry in entries {
            let entry = entry.trim();
            if let Ok(network) = entry.parse::<IpNet>() {
                allow.networks.push(network.trunc());
            } else if let Ok(address) = entry.parse::<IpAddr>() {
                allow.networks.push(address.into());
            } else if is_host(entry) {
                allow.hosts.push(entry.to_ascii_lowercase());
            } else {
                return Err(BadEntry(entry.chars().take(100).collect()));
            }
        }
        Ok(allow)
    }

    /// Whether `host`, which leads to `address`, is allowed.
    pub fn has(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let host = host.trim_end_matches('.');
        self.networks.iter().any(|network| network.contains(&address))
            || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    // What ends in a number is an address that was written wrong.
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}
