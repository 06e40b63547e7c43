//! The same request gets the same answer: `Idempotency-Key`.
//!
//! The answer is kept in the unit of work that it tells of, so there is no moment in which the
//! work is done and the answer unknown. Two requests at once: the second one waits in the database
//! for the first to commit and then gets its answer.

use serde::Serialize;
use serde::de::DeserializeOwned;
use slipway_domain::access::Principal;
use slipway_domain::fault::{Code, Fault};
use slipway_store::Tx;
use slipway_store::idempotency::{Key, Stored};

use crate::Ctx;

/// A request that carries a key, ready to be looked up and answered.
pub(crate) struct Guard {
    key: Key,
    /// The request, canonical. It may hold secrets: only its keyed digest is kept.
    request: String,
}

/// What the digests of requests are keyed for.
const LABEL: &str = "idempotency";

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;

impl Guard {
    /// Checks the key's form. `request` is what must be the same for the same key.
    pub(crate) fn new<T: Serialize>(
        who: &Principal,
        operation: &str,
        key: Option<&str>,
        request: &T,
    ) -> Result<Option<Self>, Fault> {
        let Some(key) = key else { return Ok(None) };
        // The header is an RFC 8941 string, so a quoted form is the same key.
        let key = key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(key);
        let visible = key.bytes().all(|b| (0x20..0x7f).contains(&b));
        if key.is_empty() || key.len() > MAX_KEY_BYTES || !visible {
            return Err(Fault::field(
                "/idempotency_key",
                format!("an idempotency key is 1 to {MAX_KEY_BYTES} visible ASCII characters"),
            ));
        }
        let canonical = serde_json::to_value(request).map_err(Fault::internal)?.to_string();
        Ok(Some(Self {
            key: Key {
                principal: who.actor.id.clone(),
                operation: operation.to_owned(),
                key: key.to_owned(),
            },
            request: canonical,
        }))
    }

    /// The answer that was given before, if any.
    pub(crate) async fn answer<T: DeserializeOwned>(
        &self,
        cx: &Ctx,
        tx: &mut Tx,
    ) -> Result<Option<T>, Fault> {
        let Some(stored) = tx.idempotent_answer(&self.key, cx.now()).await? else {
            return Ok(None);
        };
        let keys = cx.store.house();
        if !keys.is_mac_of(&stored.request_hash, LABEL, self.request.as_bytes()) {
            return Err(Fault::new(
                Code::IdempotencyKeyReused,
                "This idempotency key was used before with another request. Use a new key for a \
                 new request.",
            ));
        }
        serde_json::from_str(&stored.answer).map(Some).map_err(Fault::internal)
    }

    /// What the key is kept under.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The answer as it is kept.
    pub(crate) fn stored<T: Serialize>(
        &self,
        cx: &Ctx,
        answer: &T,
    ) -> Result<(&Key, Stored), Fault> {
        let stored = Stored {
            request_hash: cx.store.house().mac(LABEL, self.request.as_bytes()),
            answer: serde_json::to_string(answer).map_err(Fault::internal)?,
        };
        Ok((&self.key, stored))
    }

    /// Keeps the answer. When somebody else was faster, the unit of work must be dropped and the
    /// answer read again: `false`.
    pub(crate) async fn keep<T: Serialize>(
        &self,
        cx: &Ctx,
        tx: &mut Tx,
        answer: &T,
    ) -> Result<bool, Fault> {
        let now = cx.now();
        let stored = self.stored(cx, answer)?;
        Ok(tx.keep_answers(&[stored], now, now + cx.settings.idempotency_ttl).await? == 1)
    }
}
