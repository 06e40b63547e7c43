//! What was found out about tokens a moment ago, so that a token that comes a thousand times a
//! second is not looked at as often.
//!
//! Two things are remembered under a token's digest: that its signature is right, for as long as the
//! token is good and its key is one of ours; and what its account may do, for a second. Whoever changes anything asks for the
//! second one anew each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Duration, Utc};
use slipway_domain::access::{ActorKind, Door, Grants};
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::address::AddressRange;
use slipway_domain::id::{AccountId, SessionId};
use slipway_store::auth::Digest;

/// Tokens that are remembered at most.
const MOST: usize = 10_000;
/// How long it is known what an account may do.
const FRESH: Duration = Duration::seconds(1);
/// How long a token that is good for nothing is refused without another look.
const REFUSED: Duration = Duration::seconds(2);

/// What a token proves by itself.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// An access token, its signature checked.
    Access {
        session: SessionId,
        account: AccountId,
        /// The key that signed it.
        kid: String,
        narrowing: Narrowing,
        doors: Vec<Door>,
        not_before: DateTime<Utc>,
        not_after: DateTime<Utc>,
    },
    /// An API key, its check sum right; its secret is held against the store's each time.
    Key { public: String, secret: Digest },
    /// A browser's cookie.
    Cookie(Digest),
}

/// Who shows a token, and what they may do, as of a moment.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) account: AccountId,
    pub(crate) kind: ActorKind,
    /// The id of the session or key.
    pub(crate) token: String,
    pub(crate) grants: Grants,
    /// From where it may be used; from anywhere when empty.
    pub(crate) addresses: Vec<AddressRange>,
    /// When it ends by itself.
    pub(crate) not_after: Option<DateTime<Utc>>,
    pub(crate) at: DateTime<Utc>,
}

impl Seen {
    pub(crate) fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        now - self.at < FRESH && self.not_after.is_none_or(|end| now < end)
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// What it proves, and who that is.
    Good { proof: Arc<Proof>, seen: Arc<Seen> },
    /// It is good for nothing.
    Bad { since: DateTime<Utc> },
}

impl Entry {
    fn is_of_use(&self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Bad { since } => now - *since < REFUSED,
            Self::Good { proof, seen } => match &**proof {
                Proof::Access { not_after, .. } => now < *not_after,
                // Looking these up is all there is to it.
                Proof::Key { .. } | Proof::Cookie(_) => seen.is_fresh(now),
            },
        }
    }
}

/// The memory of one process.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<Digest, Entry>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a token, as far as it is of use.
    pub(crate) fn get(&self, token: &Digest, now: DateTime<Utc>) -> Option<Entry> {
        self.lock().get(token).filter(|entry| entry.is_of_use(now)).cloned()
    }

    pub(crate) fn put(&self, token: Digest, entry: Entry, now: DateTime<Utc>) {
        let mut known = self.lock();
        if known.len() >= MOST && !known.contains_key(&token) {
            known.retain(|_, entry| entry.is_of_use(now));
            if known.len() >= MOST {
                // Somebody makes tokens faster than they end: rather work than grow.
                known.clear();
            }
        }
        known.insert(token, entry);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_grow_without_bound() {
        let known = Known::default();
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        for number in 0..2 * MOST + 5 {
            let mut token = Digest::default();
            token[..8].copy_from_slice(&(number as u64).to_be_bytes());
            known.put(token, Entry::Bad { since: now }, now);
            assert!(known.lock().len() <= MOST);
        }
        assert!(known.get(&Digest::default(), now).is_none());
        let last = known.lock().keys().next().copied().unwrap();
        assert!(known.get(&last, now).is_some());
        assert!(known.get(&last, now + REFUSED).is_none());
    }
}
