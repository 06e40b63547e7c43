//! The cipher, the digest and the chance that everything here is made of.

use std::fmt::Write as _;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Bytes of a key.
pub(super) const KEY_LEN: usize = 32;
/// Bytes that sealing adds to a value.
pub(super) const OVERHEAD: usize = NONCE_LEN + 16;

pub(super) fn fill(bytes: &mut [u8]) -> Result<()> {
    rand::fill(bytes).map_err(|_| Error::Sealed("the machine gives no random bytes".to_owned()))
}

/// A new random key.
pub(super) fn new_key() -> Result<Zeroizing<[u8; KEY_LEN]>> {
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    fill(&mut *key)?;
    Ok(key)
}

fn key(bytes: &[u8; KEY_LEN]) -> Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, bytes)
        .map(LessSafeKey::new)
        .map_err(|_| Error::Sealed("the key was refused".to_owned()))
}

/// Appends `nonce | ciphertext | tag` of `value` to `out`, bound to `place`.
pub(super) fn seal(
    with: &[u8; KEY_LEN],
    place: &str,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Result<()> {
    // A random nonce is safe here: a key seals far fewer than 2^32 values before there is another.
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

/// Opens what [`seal`] appended.
pub(super) fn open(with: &[u8; KEY_LEN], place: &str, sealed: &[u8]) -> Result<Vec<u8>> {
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

/// HMAC-SHA256 of `value` under a key that is derived from `key` for `purpose`.
pub(super) fn signed(key: &[u8; KEY_LEN], purpose: &str, value: &[u8]) -> [u8; 32] {
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), purpose.as_bytes());
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), value);
    let mut bytes = [0u8; 32];
    bytes.copy_from_slice(signed.as_ref());
    bytes
}

/// `hmac-sha256:<hex>` of `value` under a key that is derived from `key` for `label`.
pub(super) fn mac(key: &[u8; KEY_LEN], label: &str, value: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in signed(key, &format!("slipway mac {label}"), value) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    format!("hmac-sha256:{hex}")
}
