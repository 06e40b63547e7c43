use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_not_public_is_known() {
    for inside in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(!is_public(ip(inside)), "{inside}");
    }
    for outside in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "169.253.0.1",
        "172.15.0.1",
        "172.32.0.0",
        "192.167.255.255",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450::1",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
    ] {
        assert!(is_public(ip(outside)), "{outside}");
    }
}

#[test]
fn a_url_is_looked_at_however_its_host_is_written() {
    let guard = Guard::default();
    for refused in [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://user@example.com/",
        "https://u:p@example.com/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
    ] {
        let url: Url = refused.parse().unwrap();
        assert!(guard.check_url(&url).is_err(), "{refused}");
    }
    for good in ["https://example.com/", "https://example.com:8443/x", "https://1.1.1.1/"] {
        assert_eq!(guard.check_url(&good.parse().unwrap()), Ok(()), "{good}");
    }
    let plain = guard.with_http(true);
    assert_eq!(plain.check_url(&"http://example.com/".parse().unwrap()), Ok(()));
}

#[test]
fn the_host_of_a_repository_is_found() {
    for (url, wanted) in [
        ("https://git.example.com/o/r.git", Some(("git.example.com", 443))),
        ("https://git.example.com:8443/o/r.git", Some(("git.example.com", 8443))),
        ("https://2130706433/r.git", Some(("127.0.0.1", 443))),
        ("http://[::1]:81/r.git", Some(("::1", 81))),
        ("ssh://git@git.example.com/o/r.git", Some(("git.example.com", 22))),
        ("ssh://git@git.example.com:2222/o/r.git", Some(("git.example.com", 2222))),
        ("git@git.example.com:o/r.git", Some(("git.example.com", 22))),
        ("git@10.0.0.1:o/r.git", Some(("10.0.0.1", 22))),
        ("file:///srv/r.git", None),
        ("git@$(id):o/r", None),
        ("git@-oProxyCommand=id:o/r", None),
        ("ssh://$(id)/r", None),
        ("ext::sh", None),
    ] {
        let found = host_of_repository(url);
        assert_eq!(found, wanted.map(|(host, port)| (host.to_owned(), port)), "{url}");
    }
}

#[test]
fn an_operator_allows_networks_and_hosts() {
    let allow = Allow::parse(["10.1.0.0/16", "192.168.7.7", "fd00::/8", "Git.Internal"]).unwrap();
    for (host, address, allowed) in [
        ("a", "10.1.2.3", true),
        ("a", "::ffff:10.1.2.3", true),
        ("a", "10.2.0.1", false),
        ("a", "192.168.7.7", true),
        ("a", "192.168.7.8", false),
        ("a", "fd12::1", true),
        ("git.internal", "127.0.0.1", true),
        ("git.internal.", "127.0.0.1", true),
        ("evil.git.internal", "127.0.0.1", false),
        ("git.internal.evil", "127.0.0.1", false),
    ] {
        assert_eq!(allow.has(host, ip(address)), allowed, "{host} {address}");
    }
    for bad in ["", "10.0.0.0/33", "a b", "https://x", "10.0.0.300", "-x", "*.internal", "a..b"] {
        assert!(Allow::parse([bad]).is_err(), "{bad}");
    }
}

proptest! {
    /// An IPv4 address is as public in any of its clothes as it is without.
    #[test]
    fn clothes_change_nothing(bits in any::<u32>()) {
        let bare = Ipv4Addr::from(bits);
        let [a, b, c, d] = bare.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let public = is_public(bare.into());
        prop_assert_eq!(is_public(bare.to_ipv6_mapped().into()), public);
        let nat = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low);
        prop_assert_eq!(is_public(nat.into()), public);
        let compatible = Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low);
        prop_assert!(!is_public(compatible.into()));
        prop_assert!(!is_public(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1).into()));
    }

    /// What the standard library calls private, loopback, link-local or the like never passes.
    #[test]
    fn nothing_that_is_known_to_be_special_passes(bits in any::<u32>(), wide in any::<u128>()) {
        let v4 = Ipv4Addr::from(bits);
        let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
            || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
        prop_assert!(!(special && is_public(v4.into())));
        let v6 = Ipv6Addr::from(wide);
        let special = v6.is_loopback() || v6.is_multicast() || v6.is_unspecified()
            || v6.is_unique_local() || v6.is_unicast_link_local();
        prop_assert!(!(special && is_public(v6.into())));
    }

    /// Any text that a URL takes for a loopback address is refused.
    #[test]
    fn every_way_to_write_loopback_is_refused(last in 0u32..0x00ff_ffff, form in 0..4u8) {
        let bits = 0x7f00_0000 | last;
        let host = match form {
            0 => Ipv4Addr::from(bits).to_string(),
            1 => bits.to_string(),
            2 => format!("{bits:#x}"),
            _ => format!("127.{last}"),
        };
        let url: Url = format!("https://{host}/").parse().unwrap();
        prop_assert!(Guard::default().check_url(&url).is_err(), "{}", url);
    }
}

/// A server that answers every request with `answer`; gives its port.
async fn server(answer: &'static str) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn client(allow: &[&str], redirects: usize) -> Client {
    let guard = Guard::new(Allow::parse(allow.iter().copied()).unwrap()).with_http(true);
    Client::new(guard, &ClientOptions { redirects, ..ClientOptions::default() }).unwrap()
}

async fn get(client: &Client, url: &str) -> Result<u16, Refused> {
    let request = client.request(Method::GET, url.parse().unwrap())?;
    match request.send().await {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => Err(Client::refusal(&error).unwrap_or_else(|| panic!("{error:?}"))),
    }
}

use reqwest::Method;

#[tokio::test]
async fn a_name_that_leads_inside_is_not_called() {
    let port = server("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
    let url = format!("http://localhost:{port}/");
    let refused = get(&client(&[], 0), &url).await.unwrap_err();
    assert!(matches!(&refused, Refused::Address { host, .. } if host == "localhost"), "{refused}");
    assert_eq!(get(&client(&["127.0.0.0/8", "::1"], 0), &url).await, Ok(204));
    assert_eq!(get(&client(&["localhost"], 0), &url).await, Ok(204));
    let none = Guard::default().resolve("no-such-host.invalid", 443).await;
    assert!(matches!(none, Err(Refused::Unresolved(_))), "{none:?}");
}

#[tokio::test]
async fn a_redirect_that_leads_inside_is_not_followed() {
    let to = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\nconnection: close\r\n\r\n";
    let port = server(to).await;
    let url = format!("http://127.0.0.1:{port}/");
    let allowed = &["127.0.0.1"];
    let refused = get(&client(allowed, 3), &url).await.unwrap_err();
    assert!(
        matches!(&refused, Refused::Address { address, .. } if *address == ip("169.254.169.254"))
    );
    assert_eq!(get(&client(allowed, 0), &url).await, Ok(302), "none is followed at all");
    let round = server("HTTP/1.1 302 Found\r\nlocation: /again\r\nconnection: close\r\n\r\n").await;
    let url = format!("http://127.0.0.1:{round}/");
    assert_eq!(get(&client(allowed, 3), &url).await, Err(Refused::Redirects(3)));
    let scheme =
        server("HTTP/1.1 302 Found\r\nlocation: ftp://example.com/\r\nconnection: close\r\n\r\n");
    let url = format!("http://127.0.0.1:{}/", scheme.await);
    assert_eq!(get(&client(allowed, 3), &url).await, Err(Refused::Scheme("ftp".to_owned())));
}
