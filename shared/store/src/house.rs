//! The installation's own key: made once, kept sealed in the database, and never another one.
//!
//! Digests that are compared later (idempotency keys, what a plan was made from) and what is given
//! to clients to keep are made with it, so that they outlive the keys of the ring. The key that
//! seals *it* is rotated like that of everything else.

use zeroize::Zeroizing;

use crate::crypto::Keyring;
use crate::db::{Store, sql};
use crate::error::{Error, Result};

/// The name of the one there is.
const NAME: &str = "house";

/// What it is sealed for.
pub(crate) fn place(name: &str) -> String {
    format!("house_keys|{name}")
}

impl Store {
    /// The house key, and behind it the ring's keys: before there was one they did its work. Made
    /// when it is missing; of processes that do so at once, one wins.
    pub(crate) async fn house_keys(&self) -> Result<Keyring> {
        let key = if let Some(key) = self.kept_house_key().await? {
            key
        } else {
            let new = Keyring::new_key()?;
            let sealed = self.keys.seal(&place(NAME), &*new).await?;
            let mut tx = self.begin().await?;
            sql!(execute &mut tx,
                "insert into house_keys (name, sealed) values ($1, $2)
                 on conflict (name) do nothing", NAME, sealed)?;
            tx.commit().await?;
            self.kept_house_key().await?.ok_or_else(|| {
                Error::corrupt("house_keys", "the house key is not there although it was made")
            })?
        };
        Ok(Keyring::of(NAME, key, self.keys.ring()))
    }

    /// The house key as it is kept, opened; `None` when there is none yet.
    pub(crate) async fn kept_house_key(&self) -> Result<Option<Zeroizing<[u8; 32]>>> {
        let mut tx = self.read().await?;
        let sealed = sql!(scalar_maybe Vec<u8>, &mut tx,
            "select sealed from house_keys where name = $1", NAME)?;
        drop(tx);
        let Some(sealed) = sealed else { return Ok(None) };
        let clear = Zeroizing::new(self.keys.open(&place(NAME), &sealed).await?);
        let key: &[u8; 32] = clear
            .as_slice()
            .try_into()
            .map_err(|_| Error::corrupt("house_keys", "the house key has another length"))?;
        Ok(Some(Zeroizing::new(*key)))
    }
}
