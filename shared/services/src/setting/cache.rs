//! What holds for a place, remembered.
//!
//! What is remembered is dropped as soon as anybody changes anything: every change is told to every
//! process over the transport. What was said is listened to when something is asked for, so there is
//! no task to keep alive and nothing is answered from memory that was known to be old. Where a
//! message was lost, [`OLDEST`] is how long something may be remembered. No secret is in here: of
//! those there are item and version.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use slipway_domain::artifact::digest;
use slipway_domain::fault::Fault;
use slipway_domain::setting::SettingScope;
use slipway_domain::setting::effective::EffectiveSettings;
use slipway_queue::{SharedTransport, Signal};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::Instant;

use crate::Ctx;

/// Nothing is remembered for longer.
const OLDEST: Duration = Duration::from_secs(10);
/// Bytes of answers that are remembered at most.
const MOST_BYTES: usize = 64 << 20;

/// What holds for a place, and the same as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// What holds.
    pub settings: EffectiveSettings,
    /// The same as JSON.
    pub body: Bytes,
    /// What tells one answer from another.
    pub tag: String,
}

impl Effective {
    fn new(settings: EffectiveSettings) -> Result<Self, Fault> {
        let body = serde_json::to_vec(&settings).map_err(Fault::internal)?;
        let tag = digest(&body)["sha256:".len()..][..32].to_owned();
        Ok(Self { settings, body: body.into(), tag })
    }
}

/// What one process remembers. Clones of it are the same one.
#[derive(Clone, Default)]
pub(crate) struct Cache(Arc<Mutex<Remembered>>);

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

#[derive(Default)]
struct Remembered {
    signals: Option<broadcast::Receiver<Signal>>,
    /// Grows whenever everything is dropped: what was read before that is not kept any more.
    era: u64,
    bytes: usize,
    places: HashMap<SettingScope, (Instant, Arc<Effective>)>,
}

impl Remembered {
    fn forget(&mut self) {
        self.era += 1;
        self.bytes = 0;
        self.places.clear();
    }

    /// Hears what was said since the last time.
    fn listen(&mut self, transport: &SharedTransport) {
        let signals = self.signals.get_or_insert_with(|| transport.signals());
        let mut old = false;
        loop {
            match signals.try_recv() {
                Ok(Signal::Settings | Signal::Missed) | Err(TryRecvError::Lagged(_)) => old = true,
                Ok(_) => {}
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Closed) => {
                    // Nothing would be heard any more.
                    old = true;
                    break;
                }
            }
        }
        if old {
            self.forget();
        }
    }
}

impl Cache {
    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops everything.
    pub(crate) fn forget(&self) {
        self.remembered().forget();
    }

    /// What is remembered of a place, or the era in which it must be read.
    fn get(
        &self,
        transport: &SharedTransport,
        place: &SettingScope,
    ) -> Result<Arc<Effective>, u64> {
        let mut remembered = self.remembered();
        remembered.listen(transport);
        match remembered.places.get(place) {
            Some((read, effective)) if read.elapsed() < OLDEST => Ok(effective.clone()),
            _ => Err(remembered.era),
        }
    }

    fn put(&self, transport: &SharedTransport, era: u64, at: Instant, new: &Arc<Effective>) {
        let mut remembered = self.remembered();
        remembered.listen(transport);
        if remembered.era != era {
            // Somebody changed something while it was read.
            return;
        }
        let size = 2 * new.body.len();
        if remembered.bytes + size > MOST_BYTES {
            remembered.forget();
        }
        let place = new.settings.place.clone();
        if remembered.places.insert(place, (at, new.clone())).is_none() {
            remembered.bytes += size;
        }
    }
}

/// What holds for a place: from memory where that is known to be true, else read.
pub(crate) async fn effective(cx: &Ctx, place: SettingScope) -> Result<Arc<Effective>, Fault> {
    let cache = &cx.gathered.settings;
    let era = match cache.get(&cx.transport, &place) {
        Ok(effective) => return Ok(effective),
        Err(era) => era,
    };
    let at = Instant::now();
    let items = cx.store.read().await?.settings_for(&place).await?;
    let effective = Arc::new(Effective::new(EffectiveSettings::of(place, items))?);
    cache.put(&cx.transport, era, at, &effective);
    Ok(effective)
}

/// What holds for a place now, whatever is remembered.
pub(crate) async fn read_anew(cx: &Ctx, place: SettingScope) -> Result<EffectiveSettings, Fault> {
    let items = cx.store.read().await?.settings_for(&place).await?;
    Ok(EffectiveSettings::of(place, items))
}

#[cfg(test)]
mod tests {
    use slipway_queue::Embedded;

    use super::*;

    fn shop() -> SettingScope {
        SettingScope { project: Some("shop".to_owned()), ..SettingScope::default() }
    }

    fn effective() -> Arc<Effective> {
        Arc::new(Effective::new(EffectiveSettings::of(shop(), [])).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_remembered_until_somebody_changes_something_or_it_is_too_old() {
        let transport: SharedTransport = Arc::new(Embedded::default());
        let cache = Cache::default();
        let fill = || {
            let era = cache.get(&transport, &shop()).unwrap_err();
            cache.put(&transport, era, Instant::now(), &effective());
            assert!(cache.get(&transport, &shop()).is_ok());
        };
        fill();
        // What else is said is nothing to it.
        let id = slipway_domain::id::DeploymentId::new(&slipway_domain::id::RandomMint);
        transport.publish(Signal::Changed(id)).await.unwrap();
        assert!(cache.get(&transport, &shop()).is_ok());
        for news in [Signal::Settings, Signal::Missed] {
            transport.publish(news).await.unwrap();
            assert!(cache.get(&transport, &shop()).is_err(), "{news:?}");
            fill();
        }
        // More was said than is kept for a slow listener: any of it may have been about this.
        for _ in 0..5000 {
            transport.publish(Signal::Changed(id)).await.unwrap();
        }
        assert!(cache.get(&transport, &shop()).is_err());
        fill();
        // A message that was lost.
        tokio::time::advance(OLDEST / 2).await;
        assert!(cache.get(&transport, &shop()).is_ok());
        tokio::time::advance(OLDEST / 2).await;
        assert!(cache.get(&transport, &shop()).is_err());
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let transport: SharedTransport = Arc::new(Embedded::default());
        let cache = Cache::default();
        let era = cache.get(&transport, &shop()).unwrap_err();
        transport.publish(Signal::Settings).await.unwrap();
        cache.put(&transport, era, Instant::now(), &effective());
        assert!(cache.get(&transport, &shop()).is_err());
    }
}
