//! The key ring: key-encryption keys by name, from a file or the environment.

use std::fmt;

use base64::Engine as _;
use zeroize::Zeroizing;

use super::aead::{self, KEY_LEN};
use super::envelope::{Envelope, Wrapped};
use crate::error::{Error, Result};

/// Key-encryption keys by name. The first one seals; all of them open.
pub struct Keyring {
    keys: Vec<(String, Zeroizing<[u8; KEY_LEN]>)>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.keys.iter().map(|(kid, _)| kid).collect();
        write!(f, "Keyring({names:?})")
    }
}

impl Keyring {
    /// Reads `kid:base64,kid:base64…`; each key is 32 bytes, the first one is current.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::Config(format!("the key ring is not usable: {why}"));
        let mut keys: Vec<(String, Zeroizing<[u8; KEY_LEN]>)> = Vec::new();
        for item in text.split([',', '\n']).map(str::trim).filter(|i| !i.is_empty()) {
            let (kid, encoded) =
                item.split_once(':').ok_or_else(|| bad("an entry is not `name:base64`"))?;
            if kid.is_empty() || kid.len() > 64 || !kid.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(bad("a key name must be 1 to 64 visible ASCII characters"));
            }
            let bytes = Zeroizing::new(
                base64::engine::general_purpose::STANDARD
                    .decode(encoded)
                    .map_err(|_| bad(&format!("key {kid} is not base64")))?,
            );
            let key: [u8; KEY_LEN] = bytes
                .as_slice()
                .try_into()
                .map_err(|_| bad(&format!("key {kid} has {} bytes, not 32", bytes.len())))?;
            if keys.iter().any(|(other, _)| other == kid) {
                return Err(bad(&format!("key {kid} is there twice")));
            }
            keys.push((kid.to_owned(), Zeroizing::new(key)));
        }
        if keys.is_empty() {
            return Err(bad("there is no key in it"));
        }
        Ok(Self { keys })
    }

    /// The text of a new ring with one random key, for [`Keyring::parse`].
    pub fn generate() -> Result<Zeroizing<String>> {
        let key = aead::new_key()?;
        let mut name = [0u8; 4];
        aead::fill(&mut name)?;
        let name = format!("{:08x}", u32::from_be_bytes(name));
        let key = base64::engine::general_purpose::STANDARD.encode(*key);
        Ok(Zeroizing::new(format!("k-{name}:{key}")))
    }

    /// The name of the key that seals now.
    pub fn current(&self) -> &str {
        self.keys.first().map_or("", |(kid, _)| kid)
    }

    /// A new random key.
    pub(crate) fn new_key() -> Result<Zeroizing<[u8; KEY_LEN]>> {
        aead::new_key()
    }

    /// A ring with no key in it, for installations whose keys are elsewhere.
    pub fn empty() -> Self {
        Self { keys: Vec::new() }
    }

    /// Whether there is no key in it.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A ring of one key that is kept under `name`, and of the keys of `older` behind it.
    pub(crate) fn of(name: &str, key: Zeroizing<[u8; KEY_LEN]>, older: &Self) -> Self {
        let mut keys = vec![(name.to_owned(), key)];
        keys.extend(older.keys.iter().map(|(name, key)| (name.clone(), key.clone())));
        Self { keys }
    }

    /// The names of its keys, the current one first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(name, _)| name.as_str())
    }

    /// Whether a key of this name is in it.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|other| other == name)
    }

    /// Seals `value` for `place`.
    pub fn seal(&self, place: &str, value: &[u8]) -> Result<Vec<u8>> {
        let data_key = aead::new_key()?;
        let mut out = self.wrap(place, &data_key)?;
        out.reserve(value.len() + aead::OVERHEAD);
        aead::seal(&data_key, &value_of(place), value, &mut out)?;
        Ok(out)
    }

    /// Opens what was sealed for the same `place`.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let envelope = Envelope::read(sealed)?;
        let data_key = self.unwrap(place, &envelope)?;
        aead::open(&data_key, &value_of(place), envelope.value)
    }

    /// The head of an envelope whose data key is under the current key.
    pub(super) fn wrap(&self, place: &str, data_key: &[u8; KEY_LEN]) -> Result<Vec<u8>> {
        let Some((name, kek)) = self.keys.first() else {
            return Err(Error::Sealed("there is no key in the key ring".to_owned()));
        };
        let mut sealed = Vec::with_capacity(KEY_LEN + aead::OVERHEAD);
        aead::seal(kek, &format!("key|{place}"), data_key, &mut sealed)?;
        Envelope::head(name, Wrapped::Ring(&sealed))
    }

    /// The data key of an envelope that is under a key of this ring.
    pub(super) fn unwrap(
        &self,
        place: &str,
        envelope: &Envelope<'_>,
    ) -> Result<Zeroizing<[u8; KEY_LEN]>> {
        let Wrapped::Ring(sealed) = envelope.wrapped else { return Err(missing(envelope.name)) };
        let kek = self
            .keys
            .iter()
            .find(|(name, _)| name == envelope.name)
            .map(|(_, key)| key)
            .ok_or_else(|| missing(envelope.name))?;
        let data_key = Zeroizing::new(aead::open(kek, &format!("key|{place}"), sealed)?);
        let data_key: &[u8; KEY_LEN] = data_key
            .as_slice()
            .try_into()
            .map_err(|_| Error::Sealed("its data key has another length".to_owned()))?;
        Ok(Zeroizing::new(*data_key))
    }

    /// A keyed digest `hmac-sha256:<hex>` of `value`: equal values can be told apart from unequal
    /// ones without the values being guessable from the digest.
    pub fn mac(&self, label: &str, value: &[u8]) -> String {
        let empty = [0u8; KEY_LEN];
        let key = self.keys.first().map_or(&empty, |(_, key)| key);
        aead::mac(key, label, value)
    }

    /// A key for one purpose, and for one thing (`value`), that tells nothing about the others.
    pub fn derived(&self, label: &str, value: &[u8]) -> [u8; 32] {
        let empty = [0u8; KEY_LEN];
        let key = self.keys.first().map_or(&empty, |(_, key)| key);
        aead::signed(key, &format!("slipway key {label}"), value)
    }

    /// Whether `mac` is the keyed digest of `value`, under the current key or an older one.
    pub fn is_mac_of(&self, mac: &str, label: &str, value: &[u8]) -> bool {
        self.keys.iter().any(|(_, key)| aead::mac(key, label, value) == mac)
    }
}

/// What the value of an envelope is sealed for.
pub(super) fn value_of(place: &str) -> String {
    format!("value|{place}")
}

/// The key of an envelope is not there.
pub(super) fn missing(name: &str) -> Error {
    Error::Sealed(format!("it needs key {name:?}, which is not in the key ring"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Keyring {
        Keyring::parse(&Keyring::generate().unwrap()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_only_in_its_place_and_whole() {
        let ring = ring();
        let sealed = ring.seal("plans|1|file", b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        assert_eq!(ring.open("plans|1|file", &sealed).unwrap(), b"hunter2");
        assert!(ring.open("plans|2|file", &sealed).is_err(), "moved to another row");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(ring.open("plans|1|file", &altered).is_err(), "byte {at} altered");
            assert!(ring.open("plans|1|file", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_old_key_still_opens_and_a_missing_one_is_named() {
        let old = Keyring::generate().unwrap();
        let sealed = Keyring::parse(&old).unwrap().seal("x", b"v").unwrap();
        let both = format!("{},{}", *Keyring::generate().unwrap(), *old);
        assert_eq!(Keyring::parse(&both).unwrap().open("x", &sealed).unwrap(), b"v");
        let error = ring().open("x", &sealed).unwrap_err().to_string();
        assert!(error.contains("not in the key ring"), "{error}");
    }

    #[test]
    fn nonsense_is_no_ring() {
        for text in ["", "abc", "a:!!", "a:AAAA", ":AAAA"] {
            assert!(Keyring::parse(text).is_err(), "{text}");
        }
        let one = Keyring::generate().unwrap();
        assert!(Keyring::parse(&format!("{},{}", *one, *one)).is_err(), "the same name twice");
    }

    #[test]
    fn the_same_value_sealed_twice_differs_and_its_mac_does_not() {
        let ring = ring();
        assert_ne!(ring.seal("x", b"v").unwrap(), ring.seal("x", b"v").unwrap());
        assert_eq!(ring.mac("l", b"v"), ring.mac("l", b"v"));
        assert_ne!(ring.mac("l", b"v"), ring.mac("m", b"v"));
    }

    #[test]
    fn a_mac_is_known_again_after_the_key_was_rotated() {
        let old = Keyring::generate().unwrap();
        let mac = Keyring::parse(&old).unwrap().mac("l", b"v");
        let both = format!("{},{}", *Keyring::generate().unwrap(), *old);
        let both = Keyring::parse(&both).unwrap();
        assert!(both.is_mac_of(&mac, "l", b"v"));
        assert!(!both.is_mac_of(&mac, "l", b"w") && !both.is_mac_of(&mac, "m", b"v"));
        assert!(!ring().is_mac_of(&mac, "l", b"v"));
    }
}
