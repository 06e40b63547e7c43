//! Who can sign in, and with what. Secrets are here as digests only, private keys sealed.

pub mod account;
pub mod api_key;
mod identity;
pub mod session;
pub mod sign_in;
pub mod signing_key;
mod trust;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use crate::db::{Tx, sql};
use crate::error::{Error, Result};

/// The SHA-256 of a secret with so much chance in it that nothing slower is needed.
pub type Digest = [u8; 32];

/// A digest as it is kept: as text, because bytes are what is sealed, and rotated.
fn kept(digest: &Digest) -> String {
    hex::encode(digest)
}

/// Reads a column that holds JSON.
fn from_json<T: DeserializeOwned>(table: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|why| Error::corrupt(table, why))
}

/// Sessions and keys that ended are shown for so long.
const ENDED_DAYS: i64 = 30;

impl Tx {
    /// Removes what is past its time: sessions and keys that ended a while ago, sign-ins that were
    /// never finished, waits that are over. Returns how many rows.
    pub async fn sweep_auth(&mut self, now: DateTime<Utc>) -> Result<u64> {
        let before = now - chrono::Duration::days(ENDED_DAYS);
        let day_ago = now - chrono::Duration::days(1);
        let mut removed = sql!(execute self,
            "delete from refresh_tokens where session_id in (
                 select id from sessions where expires_at < $1 or ended_at < $1)", before)?;
        removed += sql!(execute self,
            "delete from sessions where expires_at < $1 or ended_at < $1", before)?;
        removed += sql!(execute self,
            "delete from api_keys where expires_at < $1 or revoked_at < $1", before)?;
        removed += sql!(execute self, "delete from provider_visits where expires_at < $1", now)?;
        removed += sql!(execute self, "delete from first_tokens where expires_at < $1", now)?;
        removed += sql!(execute self,
            "delete from sign_in_failures where last_at < $1 and wait_until < $2", day_ago, now)?;
        Ok(removed)
    }
}
