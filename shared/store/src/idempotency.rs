//! Stored answers of requests with an `Idempotency-Key`.

use chrono::{DateTime, Utc};

use crate::db::{Tx, sql};
use crate::error::Result;

/// Which request: who sent it, to which operation, under which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The caller's account.
    pub principal: String,
    /// The operation, e.g. `deployment.submit`.
    pub operation: String,
    /// What the caller chose.
    pub key: String,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Digest of the request that was answered.
    pub request_hash: String,
    /// The answer, as JSON.
    pub answer: String,
}

type HashAndAnswer = (String, String);

impl Tx {
    /// The stored answer, unless it has expired.
    pub async fn idempotent_answer(
        &mut self,
        key: &Key,
        now: DateTime<Utc>,
    ) -> Result<Option<Stored>> {
        let row = sql!(
            maybe HashAndAnswer,
            self,
            "select request_hash, answer from idempotency
             where principal = $1 and operation = $2 and key = $3 and expires_at > $4",
            key.principal.as_str(),
            key.operation.as_str(),
            key.key.as_str(),
            now
        )?;
        Ok(row.map(|(request_hash, answer)| Stored { request_hash, answer }))
    }

    /// Keeps an answer, in the unit of work that it tells of. `false` when the same key was
    /// answered in the meantime: take everything back and read that answer.
    pub async fn keep_answer(
        &mut self,
        key: &Key,
        stored: &Stored,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<bool> {
        sql!(execute self,
            "delete from idempotency
             where principal = $1 and operation = $2 and key = $3 and expires_at <= $4",
            key.principal.as_str(), key.operation.as_str(), key.key.as_str(), now)?;
        let inserted = sql!(execute self,
            "insert into idempotency (principal, operation, key, request_hash, answer, expires_at)
             values ($1, $2, $3, $4, $5, $6) on conflict (principal, operation, key) do nothing",
            key.principal.as_str(), key.operation.as_str(), key.key.as_str(),
            stored.request_hash.as_str(), stored.answer.as_str(), expires_at)?;
        Ok(inserted == 1)
    }
}
