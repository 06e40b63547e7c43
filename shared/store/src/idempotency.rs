//! Stored answers of requests with an `Idempotency-Key`.

use std::borrow::Borrow;

use chrono::{DateTime, Utc};

use crate::db::{Tx, sql};
use crate::error::Result;
use crate::rows::insert_rows;

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

/// Answers in the order in which everybody keeps them: two with the same keys wait for each other,
/// not both.
pub(crate) fn in_order<'k, A>(answers: impl Iterator<Item = (&'k Key, A)>) -> Vec<(&'k Key, A)> {
    let mut sorted: Vec<_> = answers.collect();
    sorted.sort_by_key(|(key, _)| (&key.principal, &key.operation, &key.key));
    sorted
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

    /// Keeps answers, in the unit of work that they tell of; their keys must differ. Returns how
    /// many were kept: a key that was answered in the meantime keeps its answer, and whoever comes
    /// second must take back what it has done and read that one. It waits for units of work that
    /// are keeping an answer to the same key.
    pub async fn keep_answers(
        &mut self,
        answers: &[(&Key, impl Borrow<Stored>)],
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<u64> {
        let rows = in_order(answers.iter().map(|(key, stored)| (*key, stored.borrow())));
        if rows.is_empty() {
            return Ok(0);
        }
        Ok(insert_rows!(self,
            "idempotency (principal, operation, key, request_hash, answer, expires_at)",
            "on conflict (principal, operation, key) do update set
                 request_hash = excluded.request_hash, answer = excluded.answer,
                 expires_at = excluded.expires_at
             where idempotency.expires_at <= ",
            rows.as_slice(), |row|
            "text": row.0.principal.as_str(), "text": row.0.operation.as_str(),
            "text": row.0.key.as_str(), "text": row.1.request_hash.as_str(),
            "text": row.1.answer.as_str(), "timestamptz": expires_at; now))
    }
}
