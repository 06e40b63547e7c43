//! The form of what is sealed: which key opens it, its data key under that key, and the value.
//!
//! - `1 | name length | name | sealed data key 60 | sealed value`: the key is in a ring, and the
//!   data key is this value's own
//! - `2 | name length | name | length, 2 bytes | wrapped data key | sealed value`: a key service
//!   wrapped the data key, which may have sealed other values too
//!
//! In both the value is sealed with the data key for its place, so an envelope gets another key
//! without its value being opened.

use super::aead::{KEY_LEN, OVERHEAD};
use crate::error::{Error, Result};

const RING: u8 = 1;
const SERVICE: u8 = 2;
const SEALED_KEY_LEN: usize = KEY_LEN + OVERHEAD;

/// The first bytes of an envelope, up to here, tell its key.
pub(crate) const HEAD_BYTES: u32 = 1024;

/// How the data key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapped<'a> {
    /// Sealed under a key of the ring, for the value's place.
    Ring(&'a [u8]),
    /// As a key service gave it.
    Service(&'a str),
}

/// A sealed value, or the beginning of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    /// Name of the key or of the service.
    pub(super) name: &'a str,
    pub(super) wrapped: Wrapped<'a>,
    /// The sealed value.
    pub(super) value: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub(super) fn read(sealed: &'a [u8]) -> Result<Self> {
        let short = || Error::Sealed("it is cut short".to_owned());
        let (&[version, name_len], rest) = sealed.split_first_chunk::<2>().ok_or_else(short)?;
        let (name, rest) = rest.split_at_checked(usize::from(name_len)).ok_or_else(short)?;
        let text = |bytes| {
            std::str::from_utf8(bytes).map_err(|_| Error::Sealed("it was altered".to_owned()))
        };
        let (wrapped, value) = match version {
            RING => {
                let (key, value) = rest.split_at_checked(SEALED_KEY_LEN).ok_or_else(short)?;
                (Wrapped::Ring(key), value)
            }
            SERVICE => {
                let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
                let length = usize::from(u16::from_be_bytes(*length));
                let (key, value) = rest.split_at_checked(length).ok_or_else(short)?;
                (Wrapped::Service(text(key)?), value)
            }
            other => return Err(Error::Sealed(format!("version {other} is not known"))),
        };
        Ok(Self { name: text(name)?, wrapped, value })
    }

    /// Everything before the value.
    pub(super) fn head(name: &str, wrapped: Wrapped<'_>) -> Result<Vec<u8>> {
        let long = |_| Error::Sealed("the name of its key is too long".to_owned());
        let name_len = u8::try_from(name.len()).map_err(long)?;
        let mut out = Vec::with_capacity(256);
        out.extend([if matches!(wrapped, Wrapped::Ring(_)) { RING } else { SERVICE }, name_len]);
        out.extend(name.as_bytes());
        match wrapped {
            Wrapped::Ring(key) => out.extend(key),
            Wrapped::Service(text) => {
                let length = u16::try_from(text.len())
                    .ok()
                    .filter(|length| u32::from(*length) < HEAD_BYTES / 2)
                    .ok_or_else(|| Error::Sealed("its wrapped key is too long".to_owned()))?;
                out.extend(length.to_be_bytes());
                out.extend(text.as_bytes());
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_come_back_and_cut_ones_are_told() {
        for wrapped in [Wrapped::Ring(&[7; SEALED_KEY_LEN]), Wrapped::Service("vault:v1:abc")] {
            let mut bytes = Envelope::head("name", wrapped).unwrap();
            let head = bytes.len();
            bytes.extend(b"value");
            let read = Envelope::read(&bytes).unwrap();
            assert_eq!(read, Envelope { name: "name", wrapped, value: b"value" });
            for at in 0..head {
                assert!(Envelope::read(&bytes[..at]).is_err(), "cut at {at}");
            }
        }
        assert!(Envelope::read(&[3, 0]).is_err(), "a later version");
        let long = "x".repeat(600);
        assert!(Envelope::head("name", Wrapped::Service(&long)).is_err());
    }
}
