//! Data keys of a key service, kept for a while so that not every value costs a call: bounded in
//! number and in time, both for those that open and for the one that seals.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slipway_domain::port::key_service::{DataKey, KeyService, KeyServiceError};
use tokio::time::Instant;

use super::aead;
use crate::error::{Error, Result};

/// How long data keys are kept in memory, and how many.
#[derive(Debug, Clone, Copy)]
pub struct ServiceOptions {
    /// An opened data key is kept no longer than this.
    pub keep: Duration,
    /// No more opened data keys than this are kept.
    pub keep_at_most: usize,
    /// Values that one data key seals, at most.
    pub values_per_key: u32,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self { keep: Duration::from_mins(5), keep_at_most: 1000, values_per_key: 1000 }
    }
}

/// When renewing the sealing key ahead of its time failed, it is not tried again for so long.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// A key service with a memory.
pub(super) struct Service {
    pub(super) inner: Arc<dyn KeyService>,
    options: ServiceOptions,
    opened: Mutex<Opened>,
    sealing: tokio::sync::Mutex<Option<Sealing>>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({})", self.inner.name())
    }
}

#[derive(Default)]
struct Opened {
    keys: HashMap<String, (DataKey, Instant)>,
    /// In the order in which they came.
    order: VecDeque<String>,
}

struct Sealing {
    key: DataKey,
    wrapped: String,
    made: Instant,
    values: u32,
    try_again: Option<Instant>,
}

impl From<KeyServiceError> for Error {
    fn from(error: KeyServiceError) -> Self {
        match error {
            KeyServiceError::Away(why) => Self::KeysAway(why),
            KeyServiceError::Refused(why) => Self::Sealed(why),
        }
    }
}

impl Service {
    pub(super) fn new(inner: Arc<dyn KeyService>, options: ServiceOptions) -> Self {
        Self { inner, options, opened: Mutex::default(), sealing: tokio::sync::Mutex::default() }
    }

    /// A data key to seal one more value with, and how it is written down.
    pub(super) async fn sealing_key(&self) -> Result<(DataKey, String)> {
        let mut sealing = self.sealing.lock().await;
        let now = Instant::now();
        let keep = self.options.keep;
        let good = sealing.as_ref().is_some_and(|s| {
            s.values < self.options.values_per_key && now.duration_since(s.made) < keep
        });
        // Renewed at half its time: while the service is away there is the other half.
        let due = sealing.as_ref().is_none_or(|s| {
            s.values > self.options.values_per_key / 2 || now.duration_since(s.made) >= keep / 2
        });
        let wait = sealing.as_ref().and_then(|s| s.try_again).is_some_and(|at| now < at);
        if !good || (due && !wait) {
            match self.new_sealing_key().await {
                Ok(new) => *sealing = Some(new),
                Err(error) if good => {
                    tracing::warn!(service = self.inner.name(), %error,
                        "no new data key can be had; the last one is used on");
                    if let Some(old) = sealing.as_mut() {
                        old.try_again = Some(Instant::now() + TRY_AGAIN);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let Some(current) = sealing.as_mut() else {
            return Err(Error::Sealed("there is no data key".to_owned()));
        };
        current.values += 1;
        Ok((current.key.clone(), current.wrapped.clone()))
    }

    async fn new_sealing_key(&self) -> Result<Sealing> {
        let key: DataKey = aead::new_key()?;
        let wrapped = one(self.inner.wrap(std::slice::from_ref(&key)).await?)?;
        // What this process seals it will mostly open too.
        self.remember(&wrapped, &key);
        Ok(Sealing { key, wrapped, made: Instant::now(), values: 0, try_again: None })
    }

    /// Opens a wrapped data key.
    pub(super) async fn unwrap(&self, wrapped: &str) -> Result<DataKey> {
        if let Some(key) = self.remembered(wrapped) {
            return Ok(key);
        }
        let key = one(self.inner.unwrap(&[wrapped.to_owned()]).await?)?;
        self.remember(wrapped, &key);
        Ok(key)
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, wrapped: &str) -> Option<DataKey> {
        let opened = self.opened();
        let (key, since) = opened.keys.get(wrapped)?;
        (since.elapsed() < self.options.keep).then(|| key.clone())
    }

    fn remember(&self, wrapped: &str, key: &DataKey) {
        let mut opened = self.opened();
        let keep = self.options.keep;
        if opened.keys.insert(wrapped.to_owned(), (key.clone(), Instant::now())).is_some() {
            // It has run out and comes anew: behind the others.
            opened.order.retain(|other| other != wrapped);
        }
        opened.order.push_back(wrapped.to_owned());
        while let Some(oldest) = opened.order.front() {
            let past = opened.keys.get(oldest).is_none_or(|(_, since)| since.elapsed() >= keep);
            if !past && opened.order.len() <= self.options.keep_at_most {
                break;
            }
            if let Some(oldest) = opened.order.pop_front() {
                opened.keys.remove(&oldest);
            }
        }
    }
}

fn one<T>(answer: Vec<T>) -> Result<T> {
    answer.into_iter().next().ok_or_else(|| Error::Sealed("the key service gave none".to_owned()))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use async_trait::async_trait;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// A service that counts, can be away, and whose key has versions.
    #[derive(Debug, Default)]
    pub(in super::super) struct Counting {
        pub(in super::super) calls: AtomicU32,
        pub(in super::super) away: AtomicBool,
        pub(in super::super) version: AtomicU32,
        /// Gives other keys back than it was given.
        pub(in super::super) broken: AtomicBool,
    }

    impl Counting {
        fn called(&self) -> Result<(), KeyServiceError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            if self.away.load(Ordering::SeqCst) {
                return Err(KeyServiceError::Away("it is away".to_owned()));
            }
            Ok(())
        }

        fn put(&self, key: &[u8]) -> String {
            format!("test:v{}:{}", self.version.load(Ordering::SeqCst), STANDARD.encode(key))
        }
    }

    #[async_trait]
    impl KeyService for Counting {
        fn name(&self) -> &'static str {
            "test:key"
        }

        fn version(&self, wrapped: &str) -> Option<String> {
            wrapped.split(':').nth(1).map(ToOwned::to_owned)
        }

        async fn wrap(&self, keys: &[DataKey]) -> Result<Vec<String>, KeyServiceError> {
            self.called()?;
            Ok(keys.iter().map(|key| self.put(&**key)).collect())
        }

        async fn unwrap(&self, wrapped: &[String]) -> Result<Vec<DataKey>, KeyServiceError> {
            self.called()?;
            wrapped
                .iter()
                .map(|text| {
                    let refused = || KeyServiceError::Refused("not mine".to_owned());
                    let key = text.rsplit(':').next().ok_or_else(refused)?;
                    let key = STANDARD.decode(key).map_err(|_| refused())?;
                    Ok(DataKey::new(key.try_into().map_err(|_| refused())?))
                })
                .collect()
        }

        async fn rewrap(&self, wrapped: &[String]) -> Result<Vec<String>, KeyServiceError> {
            if self.broken.load(Ordering::SeqCst) {
                return Ok(wrapped.iter().map(|_| self.put(&[0; 32])).collect());
            }
            let keys = self.unwrap(wrapped).await?;
            Ok(keys.iter().map(|key| self.put(&**key)).collect())
        }
    }

    fn service(options: ServiceOptions) -> (Arc<Counting>, Service) {
        let counting = Arc::new(Counting::default());
        (counting.clone(), Service::new(counting, options))
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_seals_many_and_a_key_is_renewed_by_number_and_by_time() {
        let (counting, service) = service(ServiceOptions { values_per_key: 10, ..<_>::default() });
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..30 {
            seen.insert(service.sealing_key().await.unwrap().1);
        }
        let calls = counting.calls.load(Ordering::SeqCst);
        assert_eq!(seen.len(), calls as usize);
        assert!((3..=6).contains(&calls), "{calls}");
        tokio::time::advance(Duration::from_mins(5)).await;
        assert!(!seen.contains(&service.sealing_key().await.unwrap().1), "its time is over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_away_is_bridged_for_the_time_of_a_key_and_no_longer() {
        let (counting, service) = service(ServiceOptions::default());
        let (_, first) = service.sealing_key().await.unwrap();
        counting.away.store(true, Ordering::SeqCst);
        tokio::time::advance(Duration::from_mins(3)).await;
        for _ in 0..100 {
            assert_eq!(service.sealing_key().await.unwrap().1, first);
        }
        assert_eq!(counting.calls.load(Ordering::SeqCst), 2, "it is not asked for every value");
        tokio::time::advance(Duration::from_mins(2)).await;
        let error = service.sealing_key().await.unwrap_err();
        assert!(matches!(error, Error::KeysAway(_)), "{error}");
        counting.away.store(false, Ordering::SeqCst);
        service.sealing_key().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn opened_keys_are_kept_in_bounds() {
        let (counting, service) = service(ServiceOptions { keep_at_most: 3, ..<_>::default() });
        let wrapped: Vec<_> = (0..5).map(|n| counting.put(&[n; 32])).collect();
        for text in &wrapped {
            service.unwrap(text).await.unwrap();
        }
        let asked = |n: u32| assert_eq!(counting.calls.load(Ordering::SeqCst), n);
        asked(5);
        for text in &wrapped[2..] {
            assert_eq!(*service.unwrap(text).await.unwrap(), *service.unwrap(text).await.unwrap());
        }
        asked(5);
        service.unwrap(&wrapped[0]).await.unwrap();
        asked(6);
        tokio::time::advance(Duration::from_mins(5)).await;
        service.unwrap(&wrapped[0]).await.unwrap();
        asked(7);
        assert_eq!(service.opened().keys.len(), 1, "what is past its time is let go");
    }
}
