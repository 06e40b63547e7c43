//! The keys of an installation: a ring, a key service, or both, and which of them seals now.

use std::collections::BTreeMap;
use std::sync::Arc;

use slipway_domain::port::key_service::{DataKey, KeyService};

use super::aead;
use super::envelope::{Envelope, Wrapped};
use super::ring::{Keyring, missing, value_of};
use super::service::{Service, ServiceOptions};
use crate::error::{Error, Result};

/// Seals and opens. Everything that is there opens; one of the two seals.
#[derive(Debug)]
pub struct Keys {
    ring: Keyring,
    service: Option<Service>,
    service_seals: bool,
}

/// How many envelopes are under which key.
pub type KeysInUse = BTreeMap<String, u64>;

/// An envelope that gets another key.
#[derive(Debug)]
pub struct Rewrap {
    /// What it is sealed for.
    pub place: String,
    /// The envelope.
    pub sealed: Vec<u8>,
}

impl From<Keyring> for Keys {
    fn from(ring: Keyring) -> Self {
        Self { ring, service: None, service_seals: false }
    }
}

impl Keys {
    /// The ring's keys open too what the service did not seal.
    pub fn with_service(
        ring: Keyring,
        service: Arc<dyn KeyService>,
        options: ServiceOptions,
    ) -> Self {
        Self { ring, service: Some(Service::new(service, options)), service_seals: true }
    }

    /// The ring seals, and the service opens what it sealed before.
    #[must_use]
    pub fn sealing_with_ring(self) -> Self {
        Self { service_seals: false, ..self }
    }

    /// The ring.
    pub fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// The service that seals, if one does.
    fn sealing_service(&self) -> Option<&Service> {
        self.service.as_ref().filter(|_| self.service_seals)
    }

    /// Seals `value` for `place`.
    pub(crate) async fn seal(&self, place: &str, value: &[u8]) -> Result<Vec<u8>> {
        let Some(service) = self.sealing_service() else { return self.ring.seal(place, value) };
        let (data_key, wrapped) = service.sealing_key().await?;
        let mut out = Envelope::head(service.inner.name(), Wrapped::Service(&wrapped))?;
        out.reserve(value.len() + aead::OVERHEAD);
        aead::seal(&data_key, &value_of(place), value, &mut out)?;
        Ok(out)
    }

    /// Opens what was sealed for the same `place`.
    pub(crate) async fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let envelope = Envelope::read(sealed)?;
        let data_key = self.data_key(place, &envelope).await?;
        aead::open(&data_key, &value_of(place), envelope.value)
    }

    async fn data_key(&self, place: &str, envelope: &Envelope<'_>) -> Result<DataKey> {
        match envelope.wrapped {
            Wrapped::Ring(_) => self.ring.unwrap(place, envelope),
            Wrapped::Service(wrapped) => self.service_of(envelope.name)?.unwrap(wrapped).await,
        }
    }

    fn service_of(&self, name: &str) -> Result<&Service> {
        self.service.as_ref().filter(|s| s.inner.name() == name).ok_or_else(|| missing(name))
    }

    /// The name of the key that an envelope, of which this is the beginning, is under.
    pub(crate) fn key_of(&self, head: &[u8]) -> Result<String> {
        let envelope = Envelope::read(head)?;
        Ok(match envelope.wrapped {
            Wrapped::Ring(_) => envelope.name.to_owned(),
            Wrapped::Service(wrapped) => {
                let version = self.service_of(envelope.name).ok();
                let version = version.and_then(|service| service.inner.version(wrapped));
                versioned(envelope.name, version)
            }
        })
    }

    /// The name of the key that seals now. A key service is asked for its newest version.
    pub async fn current(&self) -> Result<String> {
        let Some(service) = self.sealing_service() else {
            return Ok(self.ring.current().to_owned());
        };
        let probe = service.inner.wrap(&[aead::new_key()?]).await?;
        let version = probe.first().and_then(|wrapped| service.inner.version(wrapped));
        Ok(versioned(service.inner.name(), version))
    }

    /// Whether what is under a key of this name can be opened.
    pub fn opens(&self, key: &str) -> bool {
        let service = self.service.as_ref().map(|service| service.inner.name());
        self.ring.has(key)
            || service.is_some_and(|name| {
                key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            })
    }

    /// Whether there is another key than the one that seals, or may be.
    pub fn can_rotate(&self) -> bool {
        self.service.is_some() || self.ring.names().count() > 1
    }

    /// The same envelopes with their data keys under the key that seals now. Values stay as they
    /// are. What a service gives back is opened again before anything is thrown away for it.
    pub async fn rewrap(&self, old: &[Rewrap]) -> Result<Vec<Vec<u8>>> {
        let mut parts = Vec::with_capacity(old.len());
        for item in old {
            let envelope = Envelope::read(&item.sealed)?;
            parts.push((item, envelope, self.data_key(&item.place, &envelope).await?));
        }
        let Some(service) = self.sealing_service() else {
            return parts
                .into_iter()
                .map(|(item, envelope, data_key)| {
                    let mut new = self.ring.wrap(&item.place, &data_key)?;
                    new.extend(envelope.value);
                    Ok(new)
                })
                .collect();
        };
        let name = service.inner.name();
        // Values of one data key share its wrapped form, so that they go on sharing a call.
        let mut again: BTreeMap<&str, String> = BTreeMap::new();
        for (_, envelope, _) in &parts {
            if let Wrapped::Service(wrapped) = envelope.wrapped {
                again.insert(wrapped, String::new());
            }
        }
        let asked: Vec<String> = again.keys().map(|wrapped| (*wrapped).to_owned()).collect();
        if !asked.is_empty() {
            let answer = service.inner.rewrap(&asked).await?;
            same_number(asked.len(), answer.len())?;
            again.values_mut().zip(answer).for_each(|(slot, new)| *slot = new);
        }
        let from_ring: Vec<DataKey> = parts
            .iter()
            .filter(|(_, envelope, _)| matches!(envelope.wrapped, Wrapped::Ring(_)))
            .map(|(_, _, data_key)| data_key.clone())
            .collect();
        let mut first_time = Vec::new();
        if !from_ring.is_empty() {
            first_time = service.inner.wrap(&from_ring).await?;
            same_number(from_ring.len(), first_time.len())?;
        }
        let mut first_time = first_time.into_iter();
        let wrapped: Vec<String> = parts
            .iter()
            .map(|(_, envelope, _)| match envelope.wrapped {
                Wrapped::Service(old) => again.get(old).cloned().unwrap_or_default(),
                Wrapped::Ring(_) => first_time.next().unwrap_or_default(),
            })
            .collect();
        let opened = service.inner.unwrap(&wrapped).await?;
        same_number(wrapped.len(), opened.len())?;
        let mut out = Vec::with_capacity(parts.len());
        for (((_, envelope, data_key), wrapped), opened) in parts.iter().zip(&wrapped).zip(&opened)
        {
            if **data_key != **opened {
                return Err(Error::Sealed(format!(
                    "{name} wrapped a data key and gave another one back; nothing was changed"
                )));
            }
            let mut new = Envelope::head(name, Wrapped::Service(wrapped))?;
            new.extend(envelope.value);
            out.push(new);
        }
        Ok(out)
    }
}

fn versioned(name: &str, version: Option<String>) -> String {
    version.map_or_else(|| name.to_owned(), |version| format!("{name}:{version}"))
}

fn same_number(asked: usize, given: usize) -> Result<()> {
    if asked == given {
        return Ok(());
    }
    Err(Error::Sealed(format!("the key service was asked for {asked} data keys and gave {given}")))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::service::tests::Counting;
    use super::*;

    fn ring() -> String {
        (*Keyring::generate().unwrap()).clone()
    }

    fn keys(rings: &[&str]) -> Keys {
        Keyring::parse(&rings.join(",")).unwrap().into()
    }

    fn old(place: &str, sealed: &[u8]) -> Rewrap {
        Rewrap { place: place.to_owned(), sealed: sealed.to_vec() }
    }

    #[tokio::test]
    async fn an_envelope_changes_its_key_and_nothing_else() {
        let (first, second) = (ring(), ring());
        let sealed = keys(&[&first]).seal("a", b"value").await.unwrap();
        let both = keys(&[&second, &first]);
        let new = both.rewrap(&[old("a", &sealed)]).await.unwrap().remove(0);
        assert_eq!(both.key_of(&new).unwrap(), both.current().await.unwrap());
        assert_eq!(keys(&[&second]).open("a", &new).await.unwrap(), b"value");
        assert!(keys(&[&first]).open("a", &new).await.is_err());
        assert!(both.open("b", &new).await.is_err(), "it is still bound to its place");
        assert!(both.rewrap(&[old("b", &sealed)]).await.is_err(), "and was before");
    }

    #[tokio::test]
    async fn envelopes_go_from_ring_to_service_from_version_to_version_and_back() {
        let first = ring();
        let counting = Arc::new(Counting::default());
        let with = |text: &str| {
            Keys::with_service(Keyring::parse(text).unwrap(), counting.clone(), <_>::default())
        };
        let places = ["a", "b", "c"];
        let mut sealed = Vec::new();
        for place in places {
            sealed.push(keys(&[&first]).seal(place, place.as_bytes()).await.unwrap());
        }
        let service = with(&first);
        for place in ["d", "e"] {
            sealed.push(service.seal(place, place.as_bytes()).await.unwrap());
        }
        let places = ["a", "b", "c", "d", "e"];
        let all = |sealed: &[Vec<u8>]| -> Vec<Rewrap> {
            places.iter().zip(sealed).map(|(place, sealed)| old(place, sealed)).collect()
        };
        counting.version.store(2, Ordering::SeqCst);
        let sealed = service.rewrap(&all(&sealed)).await.unwrap();
        let alone = Keys::with_service(Keyring::empty(), counting.clone(), <_>::default());
        for (place, sealed) in places.iter().zip(&sealed) {
            assert_eq!(alone.key_of(sealed).unwrap(), "test:key:v2");
            assert!(alone.opens("test:key:v2") && !alone.opens("test:keys"));
            assert_eq!(alone.open(place, sealed).await.unwrap(), place.as_bytes());
        }
        assert_eq!(alone.current().await.unwrap(), "test:key:v2");
        let back = with(&first).sealing_with_ring().rewrap(&all(&sealed)).await.unwrap();
        for (place, sealed) in places.iter().zip(&back) {
            assert_eq!(keys(&[&first]).open(place, sealed).await.unwrap(), place.as_bytes());
        }
        // A service that mixes keys up destroys nothing.
        counting.broken.store(true, Ordering::SeqCst);
        counting.version.store(3, Ordering::SeqCst);
        let error = alone.rewrap(&all(&sealed)).await.unwrap_err().to_string();
        assert!(error.contains("nothing was changed"), "{error}");
    }

    #[tokio::test]
    async fn what_a_service_sealed_is_whole_or_does_not_open() {
        let counting = Arc::new(Counting::default());
        let keys = Keys::with_service(Keyring::empty(), counting, <_>::default());
        let sealed = keys.seal("a", b"hunter2").await.unwrap();
        assert_eq!(keys.open("a", &sealed).await.unwrap(), b"hunter2");
        assert!(keys.open("b", &sealed).await.is_err(), "moved");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            let opened = keys.open("a", &altered).await;
            // What a wrapped key begins with is the service's own business: the stand-in ignores it.
            assert!(opened.is_err() || (12..20).contains(&at), "byte {at} altered");
            assert!(keys.open("a", &sealed[..at]).await.is_err(), "cut at {at}");
        }
    }
}
