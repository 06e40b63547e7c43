//! Which addresses are on the public internet. Pure.
//!
//! After the special-purpose registries of IANA (RFC 6890 and what came later), read strictly: what is
//! not known to be public is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not public: first address and length.
const V4: &[([u8; 4], u32)] = &[
    // "This network", private, shared (CGNAT), loopback, link-local with the metadata services.
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    // Protocol assignments, documentation, relays of 6to4, benchmarks.
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Metadata and machine services of clouds that have public addresses.
    ([168, 63, 129, 16], 32),
    // Multicast, reserved, broadcast.
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Networks within IPv6's global unicast space that are not public.
const V6: &[([u16; 8], u32)] = &[
    // Teredo and other protocol assignments, documentation, 6to4.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Whether an address is on the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    !V4.iter().any(|(first, length)| {
        let first = u32::from(Ipv4Addr::from(*first));
        (bits ^ first) >> (32 - length) == 0
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first @ .., high, low] = address.segments();
    let inner = || {
        let [one, two] = high.to_be_bytes();
        let [three, four] = low.to_be_bytes();
        Ipv4Addr::new(one, two, three, four)
    };
    match first {
        // An IPv4 address in the clothes of IPv6: mapped, and behind a translator (NAT64).
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => is_public_v4(inner()),
        // Everything that is public is global unicast: not loopback, unique local, link-local,
        // site-local, multicast, local NAT64, IPv4-compatible, discard …
        [first, ..] if first >> 13 != 1 => false,
        _ => {
            let bits = u128::from(address);
            !V6.iter().any(|(first, length)| {
                let first = u128::from(Ipv6Addr::from(*first));
                (bits ^ first) >> (128 - length) == 0
            })
        }
    }
}
