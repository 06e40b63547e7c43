//! What was found out about tokens a moment ago, so that a token that comes a thousand times a
//! second is not looked at as often.
//!
//! Two things are remembered under a token's digest: that its signature is right, for as long as the
//! token is good and its key is one of ours; and what its account may do, for a second. Whoever
//! changes anything asks for the second one anew each time. Of many who show one token at once, one
//! looks for all of them ([`Entry::Good`]'s `turn`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Duration, Utc};
use futures::future::BoxFuture;
use slipway_domain::access::{ActorKind, Door, Grants};
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::address::AddressRange;
use slipway_domain::clock::Clock;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::{AccountId, SessionId};
use slipway_store::auth::Digest;

use super::unauthenticated;

/// Tokens that are remembered at most.
const MOST: usize = 10_000;
/// How long it is known what an account may do.
const FRESH: Duration = Duration::seconds(1);
/// From when on somebody looks again, while the others go on with what is known.
const OLD: Duration = Duration::milliseconds(700);
/// How long a key or a cookie that nobody shows any more is kept in mind.
const KEPT: Duration = Duration::minutes(1);
/// How long somebody waits for another one's look.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);
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
        now - self.at < FRESH && self.is_live(now)
    }

    /// Whether it has not ended by itself.
    fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.not_after.is_none_or(|end| now < end)
    }

    /// Whether it is time that somebody looks again.
    pub(crate) fn is_old(&self, now: DateTime<Utc>) -> bool {
        now - self.at >= OLD
    }
}

/// Held by whoever looks again for all who show the same token; in it, when the last look began that
/// failed, and how.
type Turn = tokio::sync::Mutex<Option<(DateTime<Utc>, Fault)>>;

/// What a token proves, and who shows it.
pub(crate) type Found = (Arc<Proof>, Arc<Seen>);

#[derive(Debug, Clone)]
enum Entry {
    /// What it proves, who that is, and whose turn it is to look again.
    Good { proof: Arc<Proof>, seen: Arc<Seen>, turn: Arc<Turn> },
    /// It is good for nothing.
    Bad { since: DateTime<Utc> },
}

impl Entry {
    fn is_of_use(&self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Bad { since } => now - *since < REFUSED,
            Self::Good { proof, seen, .. } => match &**proof {
                Proof::Access { not_after, .. } => now < *not_after,
                // They prove nothing by themselves; it is their turn that is worth keeping.
                Proof::Key { .. } | Proof::Cookie(_) => now - seen.at < KEPT,
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

    /// What is known of a token, or what `find` finds out now, given what the token is known to prove.
    ///
    /// Of those who are content with what was true a moment ago, one asks at a time: a little before
    /// that is too old, while the others go on with it, or else while they wait. What was found by a
    /// look that began after somebody came is theirs too, also when it failed, so nobody waits for
    /// more than two. Whoever must have it `fresh` asks for themselves.
    pub(crate) async fn recall<'f, F>(
        &self,
        token: Digest,
        fresh: bool,
        clock: &dyn Clock,
        find: F,
    ) -> Result<Found, Fault>
    where
        // Boxed: the compiler does not see through a borrowed one.
        F: FnOnce(Option<Arc<Proof>>) -> BoxFuture<'f, Result<Found, Fault>> + Send,
    {
        let came = clock.now();
        let (proof, seen, turn) = match self.get(&token, came) {
            Some(Entry::Bad { .. }) => return Err(unauthenticated()),
            Some(Entry::Good { proof, seen, turn }) => (proof, seen, turn),
            None => {
                let found = find(None).await;
                return self.keep(token, Arc::default(), clock, found);
            }
        };
        if fresh {
            let found = find(Some(proof)).await;
            return self.keep(token, turn, clock, found);
        }
        if seen.is_fresh(came) {
            let Some(_mine) =
                seen.is_old(came).then(|| turn.clone().try_lock_owned().ok()).flatten()
            else {
                return Ok((proof, seen));
            };
            let found = find(Some(proof.clone())).await;
            return match self.keep(token, turn.clone(), clock, found) {
                // What is known may be good for a moment yet.
                Err(fault) if fault.code != Code::Unauthenticated && seen.is_fresh(clock.now()) => {
                    Ok((proof, seen))
                }
                found => found,
            };
        }
        let waited = tokio::time::timeout(PATIENCE, turn.clone().lock_owned()).await;
        let mut mine = waited.map_err(|why| {
            Fault::unavailable("Who you are could not be looked up in time; try again.", why)
        })?;
        if let Some((began, fault)) = &*mine
            && *began > came
        {
            return Err(fault.echo());
        }
        let now = clock.now();
        let proof = match self.get(&token, now) {
            Some(Entry::Bad { .. }) => return Err(unauthenticated()),
            Some(Entry::Good { proof, seen, .. })
                if seen.is_fresh(now) || seen.at >= came && seen.is_live(now) =>
            {
                return Ok((proof, seen));
            }
            Some(Entry::Good { proof, .. }) => Some(proof),
            None => None,
        };
        let found = find(proof).await;
        *mine = found.as_ref().err().map(|fault| (now, fault.echo()));
        self.keep(token, turn.clone(), clock, found)
    }

    fn keep(
        &self,
        token: Digest,
        turn: Arc<Turn>,
        clock: &dyn Clock,
        found: Result<Found, Fault>,
    ) -> Result<Found, Fault> {
        let now = clock.now();
        match &found {
            Ok((proof, seen)) => {
                let (proof, seen) = (proof.clone(), seen.clone());
                self.put(token, Entry::Good { proof, seen, turn }, now);
            }
            Err(fault) if fault.code == Code::Unauthenticated => {
                self.put(token, Entry::Bad { since: now }, now);
            }
            Err(_) => {}
        }
        found
    }

    /// Nothing is known of it any more.
    pub(crate) fn forget(&self, token: &Digest) {
        self.lock().remove(token);
    }

    /// What is known of a token, as far as it is of use.
    fn get(&self, token: &Digest, now: DateTime<Utc>) -> Option<Entry> {
        self.lock().get(token).filter(|entry| entry.is_of_use(now)).cloned()
    }

    fn put(&self, token: Digest, entry: Entry, now: DateTime<Utc>) {
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use slipway_domain::clock::FixedClock;
    use slipway_domain::id::RandomMint;
    use tokio::sync::Semaphore;

    use super::*;

    const TOKEN: Digest = [7; 32];

    /// A token's rows, which can be slow, away, or say no.
    struct Rows {
        known: Known,
        clock: FixedClock,
        looks: AtomicUsize,
        gate: Semaphore,
        fault: Mutex<Option<Code>>,
    }

    impl Rows {
        fn new() -> Self {
            let clock = FixedClock::new(DateTime::from_timestamp(1_767_225_600, 0).unwrap());
            let (looks, gate) = (AtomicUsize::new(0), Semaphore::new(1_000));
            Self { known: Known::default(), clock, looks, gate, fault: Mutex::default() }
        }

        async fn ask(&self, fresh: bool) -> Result<Found, Fault> {
            let find = |_| self.find().boxed();
            self.known.recall(TOKEN, fresh, &self.clock, find).await
        }

        async fn find(&self) -> Result<Found, Fault> {
            self.looks.fetch_add(1, Ordering::Relaxed);
            let at = self.clock.now();
            tokio::task::yield_now().await;
            drop(self.gate.acquire().await.unwrap());
            if let Some(code) = *self.fault.lock().unwrap() {
                return Err(Fault::new(code, "as the test wants it"));
            }
            let proof = Proof::Key { public: "k".to_owned(), secret: Digest::default() };
            let seen = Seen {
                account: AccountId::new(&RandomMint),
                kind: ActorKind::Person,
                token: String::new(),
                grants: Grants::default(),
                addresses: Vec::new(),
                not_after: None,
                at,
            };
            Ok((Arc::new(proof), Arc::new(seen)))
        }

        /// Many ask at once; how often that was looked up.
        async fn many(&self, fresh: bool) -> usize {
            let before = self.looks.load(Ordering::Relaxed);
            let asked = futures::future::join_all((0..50).map(|_| self.ask(fresh))).await;
            assert!(asked.iter().all(Result::is_ok), "{asked:?}");
            self.looks.load(Ordering::Relaxed) - before
        }
    }

    #[tokio::test]
    async fn of_many_who_ask_at_once_one_looks() {
        let rows = Rows::new();
        rows.ask(false).await.unwrap();
        assert_eq!(rows.many(false).await, 0);
        rows.clock.advance(OLD);
        assert_eq!(rows.many(false).await, 1, "before it is too old");
        rows.clock.advance(FRESH);
        assert_eq!(rows.many(false).await, 1, "after");
        rows.clock.advance(FRESH * 30);
        assert_eq!(rows.many(false).await, 1, "long after");
        assert_eq!(rows.many(true).await, 50, "who must have it as of now looks");
    }

    #[tokio::test]
    async fn nobody_waits_for_what_is_known_still() {
        let rows = Rows::new();
        let first = rows.ask(false).await.unwrap();
        rows.clock.advance(OLD);
        let all = rows.gate.acquire_many(1_000).await.unwrap();
        let slow = rows.ask(false);
        tokio::pin!(slow);
        assert!(futures::poll!(&mut slow).is_pending());
        let second = rows.ask(false).await.unwrap();
        assert_eq!(first.1.at, second.1.at);
        drop(all);
        assert_eq!(slow.await.unwrap().1.at, first.1.at + OLD);
        assert_eq!(rows.ask(false).await.unwrap().1.at, first.1.at + OLD);
    }

    #[tokio::test]
    async fn what_a_slow_look_finds_is_for_all_who_waited_for_it() {
        let rows = Rows::new();
        rows.ask(false).await.unwrap();
        rows.clock.advance(FRESH);
        for fault in [None, Some(Code::Unavailable)] {
            *rows.fault.lock().unwrap() = fault;
            let before = rows.looks.load(Ordering::Relaxed);
            let all = rows.gate.acquire_many(1_000).await.unwrap();
            let asked = futures::future::join_all((0..50).map(|_| rows.ask(false)));
            tokio::pin!(asked);
            assert!(futures::poll!(&mut asked).is_pending());
            // It takes longer than what it finds is good for.
            rows.clock.advance(FRESH * 3);
            drop(all);
            let asked = asked.await;
            assert!(asked.iter().all(|asked| asked.is_ok() == fault.is_none()), "{asked:?}");
            assert!(rows.looks.load(Ordering::Relaxed) - before <= 2);
        }
    }

    #[tokio::test]
    async fn what_got_too_old_during_a_look_that_failed_is_no_answer() {
        let rows = Rows::new();
        rows.ask(false).await.unwrap();
        rows.clock.advance(OLD);
        *rows.fault.lock().unwrap() = Some(Code::Unavailable);
        let all = rows.gate.acquire_many(1_000).await.unwrap();
        let slow = rows.ask(false);
        tokio::pin!(slow);
        assert!(futures::poll!(&mut slow).is_pending());
        rows.clock.advance(FRESH);
        drop(all);
        assert_eq!(slow.await.unwrap_err().code, Code::Unavailable);
    }

    #[tokio::test]
    async fn an_outage_is_felt_when_what_is_known_is_too_old_and_a_refusal_at_once() {
        let rows = Rows::new();
        rows.ask(false).await.unwrap();
        *rows.fault.lock().unwrap() = Some(Code::Unavailable);
        rows.clock.advance(OLD);
        rows.ask(false).await.unwrap();
        rows.clock.advance(FRESH - OLD);
        assert_eq!(rows.ask(false).await.unwrap_err().code, Code::Unavailable);
        *rows.fault.lock().unwrap() = None;
        rows.ask(false).await.unwrap();
        *rows.fault.lock().unwrap() = Some(Code::Unauthenticated);
        rows.clock.advance(OLD);
        let before = rows.looks.load(Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(rows.ask(false).await.unwrap_err().code, Code::Unauthenticated);
        }
        assert_eq!(rows.looks.load(Ordering::Relaxed) - before, 1, "and it is remembered");
    }

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
