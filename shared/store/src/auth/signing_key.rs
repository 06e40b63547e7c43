//! The keys that sign access tokens. Private ones are sealed.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::db::{Store, Tx, sql};
use crate::error::{Error, Result};

/// What a private key is sealed for.
pub(crate) fn place(id: Uuid) -> String {
    format!("signing_keys|{}", id.simple())
}

/// What a key is for right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// It signs.
    Current,
    /// It will sign after the next rotation; whoever checks tokens knows it already.
    Next,
    /// It signs no more; what it signed is good until it ends.
    Retired,
}

/// A key, its private part opened.
#[derive(Clone)]
pub struct SigningKey {
    /// The row.
    pub id: Uuid,
    /// What tokens call it.
    pub kid: String,
    /// What it is for.
    pub slot: Slot,
    /// The public part.
    pub public_key: Vec<u8>,
    /// The private part, PKCS #8.
    pub private_key: Zeroizing<Vec<u8>>,
    /// Since when it signs.
    pub signs_from: Option<DateTime<Utc>>,
    /// Since when it signs no more.
    pub retired_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, {:?})", self.kid, self.slot)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    kid: String,
    slot: String,
    public_key: String,
    sealed: Vec<u8>,
    signs_from: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
}

/// A key that is to be kept, its private part sealed.
pub struct SealedKey {
    id: Uuid,
    kid: String,
    public_key: Vec<u8>,
    sealed: Vec<u8>,
}

impl SealedKey {
    /// What tokens will call it.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl Store {
    /// Every key, the private parts opened.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        let mut tx = self.read().await?;
        let rows = sql!(all Row, &mut tx,
            "select id, kid, slot, public_key, sealed, signs_from, retired_at from signing_keys
             order by created_at, id")?;
        drop(tx);
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let private_key = Zeroizing::new(self.keys.open(&place(row.id), &row.sealed).await?);
            keys.push(SigningKey {
                id: row.id,
                kid: row.kid,
                slot: match row.slot.as_str() {
                    "current" => Slot::Current,
                    "next" => Slot::Next,
                    _ => Slot::Retired,
                },
                public_key: hex::decode(&row.public_key)
                    .map_err(|why| Error::corrupt("signing_keys", why))?,
                private_key,
                signs_from: row.signs_from,
                retired_at: row.retired_at,
            });
        }
        Ok(keys)
    }

    /// Seals a new key. Outside of any unit of work: a key service may take its time.
    pub async fn seal_signing_key(
        &self,
        id: Uuid,
        kid: &str,
        public_key: &[u8],
        private_key: &[u8],
    ) -> Result<SealedKey> {
        let sealed = self.keys.seal(&place(id), private_key).await?;
        Ok(SealedKey { id, kid: kid.to_owned(), public_key: public_key.to_vec(), sealed })
    }
}

impl Tx {
    /// Puts a key into a slot that must be free: `false` when it is not.
    pub async fn insert_signing_key(
        &mut self,
        key: &SealedKey,
        slot: &Slot,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let (slot, signs_from) = match slot {
            Slot::Current => ("current", Some(now)),
            Slot::Next => ("next", None),
            Slot::Retired => (key.kid.as_str(), None),
        };
        let written = sql!(execute self,
            "insert into signing_keys (id, kid, slot, public_key, sealed, created_at, signs_from)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict (slot) do nothing",
            key.id, key.kid.as_str(), slot, hex::encode(&key.public_key), key.sealed.as_slice(), now,
            signs_from)?;
        Ok(written == 1)
    }

    /// The next key signs from now on, and the one that did is retired. `false` when `current` does
    /// not sign any more: somebody was faster.
    pub async fn promote_signing_key(&mut self, current: &str, now: DateTime<Utc>) -> Result<bool> {
        let retired = sql!(execute self,
            "update signing_keys set slot = kid, retired_at = $2
             where slot = 'current' and kid = $1", current, now)?;
        if retired != 1 {
            return Ok(false);
        }
        sql!(execute self,
            "update signing_keys set slot = 'current', signs_from = $1 where slot = 'next'", now)?;
        Ok(true)
    }

    /// Removes keys that were retired before `before`: nothing that they signed is good any more.
    pub async fn delete_retired_keys(&mut self, before: DateTime<Utc>) -> Result<u64> {
        sql!(execute self, "delete from signing_keys where retired_at < $1", before)
    }

    /// Removes every key: nothing that was signed by any is taken from now on.
    pub async fn delete_signing_keys(&mut self) -> Result<u64> {
        sql!(execute self, "delete from signing_keys")
    }
}
