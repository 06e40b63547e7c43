//! Who is at the other end: the address behind trusted proxies, the program's own name, and later,
//! when a door has found it out, who asks.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Request};
use axum::http::{Extensions, HeaderMap, HeaderName, header};
use slipway_domain::access::{Door, Grants, Principal};

use crate::state::ApiOptions;

/// The header in which a proxy says for whom it asks. Only this one is believed: what a proxy does
/// not write itself, it passes on as the caller sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Addresses that a header may name; who names more is not read further.
const MOST_HOPS: usize = 32;
/// Longest user agent that is read, in bytes.
const MAX_AGENT: usize = 1024;

/// The caller's address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address(pub IpAddr);

/// Where a door writes who asks, for the record of a refusal.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    address: Option<IpAddr>,
    agent: Option<String>,
    who: Arc<OnceLock<Principal>>,
}

impl Asker {
    /// Who asked, as far as it is known.
    pub(crate) fn who(&self, door: Door) -> Principal {
        self.who.get().cloned().unwrap_or_else(|| {
            let mut who = Principal::local(door);
            who.grants = Grants::default();
            who.address = self.address.map(|address| address.to_string());
            who.user_agent.clone_from(&self.agent);
            who.traceparent = slipway_telemetry::carrier::current_traceparent();
            who
        })
    }

    /// Whether a door found out who asks.
    pub(crate) fn is_known(&self) -> bool {
        self.who.get().is_some()
    }
}

/// Finds out where a request comes from and notes it in the request, for whoever comes later.
pub(crate) fn announce(request: &mut Request, options: &ApiOptions) -> Asker {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(address)| address.ip().to_canonical());
    let address = peer.map(|peer| behind(peer, options, request.headers()));
    if let Some(address) = address {
        request.extensions_mut().insert(Address(address));
    }
    let asker = Asker { address, agent: agent(request.headers()), who: Arc::default() };
    request.extensions_mut().insert(asker.clone());
    asker
}

/// Writes address and program into `who`, where whoever authenticated has not, and tells the edge who
/// asks.
pub(crate) fn complete(who: &mut Principal, headers: &HeaderMap, extensions: &Extensions) {
    describe(who, headers, extensions);
    if let Some(asker) = extensions.get::<Asker>() {
        let _ = asker.who.set(who.clone());
    }
}

/// Writes address and program into `who`, who is nobody yet.
pub(crate) fn describe(who: &mut Principal, headers: &HeaderMap, extensions: &Extensions) {
    if who.address.is_none() {
        who.address = extensions.get::<Address>().map(|Address(address)| address.to_string());
    }
    if who.user_agent.is_none() {
        who.user_agent = agent(headers);
    }
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::USER_AGENT)?.as_bytes();
    Some(String::from_utf8_lossy(&value[..value.len().min(MAX_AGENT)]).into_owned())
}

/// The right-most address that is no trusted proxy: what stands further left, the caller wrote.
fn behind(peer: IpAddr, options: &ApiOptions, headers: &HeaderMap) -> IpAddr {
    let trusted =
        |address: &IpAddr| options.trusted_proxies.iter().any(|net| net.contains(address));
    if !trusted(&peer) {
        return peer;
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match options.forwarded_header {
        ForwardedHeader::XForwardedFor => (HeaderName::from_static("x-forwarded-for"), address_of),
        ForwardedHeader::Forwarded => (header::FORWARDED, forwarded_for),
    };
    let mut values: Vec<_> = headers.get_all(&name).iter().collect();
    values.reverse();
    let hops = values.into_iter().flat_map(|value| {
        let hops = value.to_str().unwrap_or("?").rsplit(',').map(str::trim);
        hops.map(str::to_owned).collect::<Vec<_>>()
    });
    let mut nearest = peer;
    for hop in hops.take(MOST_HOPS) {
        // What cannot be read was not written by a proxy that is trusted; the last one known is.
        let Some(address) = read(&hop) else { break };
        nearest = address;
        if !trusted(&address) {
            break;
        }
    }
    nearest
}

/// An address with or without a port, IPv6 with or without brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| address_of(value))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn options(header: ForwardedHeader) -> ApiOptions {
        let nets = ["10.0.0.0/8", "::1/128", "127.0.0.1/32"];
        ApiOptions {
            trusted_proxies: nets.iter().map(|net| net.parse().unwrap()).collect(),
            forwarded_header: header,
            ..ApiOptions::default()
        }
    }

    /// Headers: name and value.
    type Values = &'static [(&'static str, &'static str)];

    fn of(peer: &str, header: ForwardedHeader, values: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        behind(peer.parse().unwrap(), &options(header), &headers).to_string()
    }

    #[test]
    fn the_right_most_untrusted_address_counts() {
        const X: &str = "x-forwarded-for";
        let cases: &[(&str, Values, &str)] = &[
            ("203.0.113.9", &[(X, "1.2.3.4")], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(X, "203.0.113.9")], "203.0.113.9"),
            ("10.0.0.1", &[(X, "1.2.3.4, 203.0.113.9")], "203.0.113.9"),
            ("10.0.0.1", &[(X, "1.2.3.4, 203.0.113.9, 10.0.0.2")], "203.0.113.9"),
            ("10.0.0.1", &[(X, "1.2.3.4"), (X, "203.0.113.9")], "203.0.113.9"),
            ("10.0.0.1", &[(X, "1.2.3.4, nonsense")], "10.0.0.1"),
            ("10.0.0.1", &[(X, "nonsense, 10.0.0.7")], "10.0.0.7"),
            ("10.0.0.1", &[(X, "203.0.113.9:4711")], "203.0.113.9"),
            ("::1", &[(X, "[2001:db8::1]:4711")], "2001:db8::1"),
            ("::1", &[(X, "::ffff:203.0.113.9")], "203.0.113.9"),
            ("10.0.0.1", &[("forwarded", "for=1.2.3.4")], "10.0.0.1"),
        ];
        for (peer, values, wanted) in cases {
            assert_eq!(of(peer, ForwardedHeader::XForwardedFor, values), *wanted, "{values:?}");
        }
        let forwarded: &[(&str, &str)] = &[
            ("for=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
            ("for=1.2.3.4, For=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=unknown", "10.0.0.1"),
            ("for=1.2.3.4, for=_hidden", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
        ];
        for (value, wanted) in forwarded {
            let values = [("forwarded", *value), (X, "9.9.9.9")];
            assert_eq!(of("10.0.0.1", ForwardedHeader::Forwarded, &values), *wanted, "{value}");
        }
    }

    proptest! {
        /// Whatever a caller puts in front, the address that the proxy saw is taken.
        #[test]
        fn nothing_that_a_caller_writes_counts(front in "[ -~]{0,60}") {
            let value = format!("{front}, 203.0.113.9");
            prop_assert_eq!(of("10.0.0.1", ForwardedHeader::XForwardedFor, &[("x-forwarded-for", &value)]), "203.0.113.9");
            prop_assert_eq!(of("203.0.113.8", ForwardedHeader::XForwardedFor, &[("x-forwarded-for", &value)]), "203.0.113.8");
        }
    }
}
