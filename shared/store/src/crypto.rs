//! Seals what is secret: envelope encryption bound to the place where the value is kept.
//!
//! Every value gets its own random 256-bit data key and is sealed with AES-256-GCM; the data key
//! is sealed the same way under a key-encryption key of the [`Keyring`]. Both seals are bound to
//! a `place` (table, row, column), so a value that is copied into another row does not open.
//!
//! Layout: `1 | kid length | kid | nonce 12 | sealed data key 48 | nonce 12 | sealed value`.

use std::fmt::{self, Write as _};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

const VERSION: u8 = 1;
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

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
        let mut key = Zeroizing::new([0u8; KEY_LEN]);
        let mut name = [0u8; 4];
        fill(&mut *key)?;
        fill(&mut name)?;
        let name = format!("{:08x}", u32::from_be_bytes(name));
        let key = base64::engine::general_purpose::STANDARD.encode(*key);
        Ok(Zeroizing::new(format!("k-{name}:{key}")))
    }

    /// The name of the key that seals now.
    pub fn current(&self) -> &str {
        self.keys.first().map_or("", |(kid, _)| kid)
    }

    /// Seals `value` for `place`.
    pub fn seal(&self, place: &str, value: &[u8]) -> Result<Vec<u8>> {
        let Some((kid, kek)) = self.keys.first() else {
            return Err(Error::Sealed("there is no key".to_owned()));
        };
        let mut data_key = Zeroizing::new([0u8; KEY_LEN]);
        fill(&mut *data_key)?;
        let kid_len = u8::try_from(kid.len())
            .map_err(|_| Error::Sealed("the key's name is too long".to_owned()))?;
        let mut out = Vec::with_capacity(value.len() + 160);
        out.extend([VERSION, kid_len]);
        out.extend(kid.as_bytes());
        seal_one(kek, &format!("key|{place}"), &*data_key, &mut out)?;
        seal_one(&data_key, &format!("value|{place}"), value, &mut out)?;
        Ok(out)
    }

    /// Opens what was sealed for the same `place`.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let short = || Error::Sealed("it is cut short".to_owned());
        let (&[version, kid_len], rest) = sealed.split_first_chunk::<2>().ok_or_else(short)?;
        if version != VERSION {
            return Err(Error::Sealed(format!("version {version} is not known")));
        }
        let (kid, rest) = rest.split_at_checked(usize::from(kid_len)).ok_or_else(short)?;
        let (key, value) =
            rest.split_at_checked(NONCE_LEN + KEY_LEN + TAG_LEN).ok_or_else(short)?;
        let kek = self
            .keys
            .iter()
            .find(|(name, _)| name.as_bytes() == kid)
            .map(|(_, key)| key)
            .ok_or_else(|| {
                Error::Sealed(format!(
                    "it needs key {:?}, which is not in the key ring",
                    String::from_utf8_lossy(kid)
                ))
            })?;
        let data_key = Zeroizing::new(open_one(kek, &format!("key|{place}"), key)?);
        let data_key: &[u8; KEY_LEN] = data_key.as_slice().try_into().map_err(|_| short())?;
        open_one(data_key, &format!("value|{place}"), value)
    }

    /// A keyed digest `hmac-sha256:<hex>` of `value`: equal values can be told apart from unequal
    /// ones without the values being guessable from the digest.
    pub fn mac(&self, label: &str, value: &[u8]) -> String {
        let empty = [0u8; KEY_LEN];
        let key = self.keys.first().map_or(&empty, |(_, key)| key);
        mac_with(key, label, value)
    }

    /// A key for one purpose, and for one thing (`value`), that tells nothing about the others.
    pub fn derived(&self, label: &str, value: &[u8]) -> [u8; 32] {
        let empty = [0u8; KEY_LEN];
        let key = self.keys.first().map_or(&empty, |(_, key)| key);
        sign_with(key, &format!("slipway key {label}"), value)
    }

    /// Whether `mac` is the keyed digest of `value`, under the current key or an older one.
    pub fn is_mac_of(&self, mac: &str, label: &str, value: &[u8]) -> bool {
        self.keys.iter().any(|(_, key)| mac_with(key, label, value) == mac)
    }
}

fn sign_with(key: &[u8; KEY_LEN], purpose: &str, value: &[u8]) -> [u8; 32] {
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), purpose.as_bytes());
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), value);
    let mut bytes = [0u8; 32];
    bytes.copy_from_slice(signed.as_ref());
    bytes
}

fn mac_with(key: &[u8; KEY_LEN], label: &str, value: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in sign_with(key, &format!("slipway mac {label}"), value) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    format!("hmac-sha256:{hex}")
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    rand::fill(bytes).map_err(|_| Error::Sealed("the machine gives no random bytes".to_owned()))
}

fn key(bytes: &[u8; KEY_LEN]) -> Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, bytes)
        .map(LessSafeKey::new)
        .map_err(|_| Error::Sealed("the key was refused".to_owned()))
}

fn seal_one(with: &[u8; KEY_LEN], place: &str, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    // A random nonce is safe here: the data key seals one value, and a key-encryption key seals
    // far fewer than 2^32 of them before it is rotated.
    let mut nonce = [0u8; NONCE_LEN];
    fill(&mut nonce)?;
    out.extend(nonce);
    let start = out.len();
    out.extend(value);
    let tag = key(with)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place.as_bytes()),
            &mut out[start..],
        )
        .map_err(|_| Error::Sealed("sealing failed".to_owned()))?;
    out.extend(tag.as_ref());
    Ok(())
}

fn open_one(with: &[u8; KEY_LEN], place: &str, sealed: &[u8]) -> Result<Vec<u8>> {
    let (nonce, value) = sealed
        .split_first_chunk::<NONCE_LEN>()
        .ok_or_else(|| Error::Sealed("it is cut short".to_owned()))?;
    let mut value = value.to_vec();
    let length = key(with)?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(place.as_bytes()),
            &mut value,
        )
        .map_err(|_| Error::Sealed("the key does not fit, or it was altered or moved".to_owned()))?
        .len();
    value.truncate(length);
    Ok(value)
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
