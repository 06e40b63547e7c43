//! The keys that sign access tokens.
//!
//! One signs, the next one is known already, and the last ones are known until nothing that they
//! signed is good any more; so a rotation refuses nobody, here or at a replica whose memory is a
//! minute old. They are kept in the store, sealed, and rotated by whoever finds that it is time. An
//! operator may keep keys in a file instead: the first one signs, all of them are known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use jsonwebtoken::{DecodingKey, EncodingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::Principal;
use slipway_domain::fault::{Code, Fault};
use slipway_store::Store;
use slipway_store::auth::signing_key::{SealedKey, Slot};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::digest;
use crate::Ctx;
use crate::change::audit;

/// How long the keys are known before they are read again.
const FRESH: Duration = Duration::seconds(60);
/// Keys that were read so long ago are used when they cannot be read now, and no older ones.
const STALE: Duration = Duration::minutes(15);
/// For a key that is not known they are read again, but not more often than this.
const AGAIN: Duration = Duration::seconds(5);
/// What the last token of a key may live, and clocks may differ, at most.
const AFTERLIFE: Duration = Duration::hours(2);

/// A key that signs.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) private: EncodingKey,
}

struct Public {
    x: String,
    key: DecodingKey,
}

/// The keys as they are right now.
pub(crate) struct KeySet {
    signer: Option<Signer>,
    public: HashMap<String, Public>,
    read_at: DateTime<Utc>,
    due_at: Option<DateTime<Utc>>,
}

impl KeySet {
    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    pub(crate) fn public(&self, kid: &str) -> Option<&DecodingKey> {
        self.public.get(kid).map(|public| &public.key)
    }
}

/// The keys of this process's memory.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Option<Arc<KeySet>>>);

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache")
    }
}

impl Cache {
    fn get(&self) -> Option<Arc<KeySet>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, keys: Arc<KeySet>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Keys that the operator keeps in a file.
#[derive(Clone)]
pub struct FileKeys(Arc<Vec<FileKey>>);

struct FileKey {
    kid: String,
    public: Vec<u8>,
    private: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.0.iter().map(|key| key.kid.as_str()).collect();
        write!(f, "FileKeys({names:?})")
    }
}

impl FileKeys {
    /// Reads one or more Ed25519 keys (PKCS #8, PEM): the first one signs, all of them are known.
    /// The error quotes nothing of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
        const END: &str = "-----END PRIVATE KEY-----";
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some((_, after)) = rest.split_once(BEGIN) {
            let number = keys.len() + 1;
            let (body, after) = after
                .split_once(END)
                .ok_or_else(|| format!("key {number} has no end (`{END}`)"))?;
            rest = after;
            let body: Zeroizing<String> =
                Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
            let der = STANDARD.decode(&*body).map_err(|_| format!("key {number} is not base64"))?;
            let der = Zeroizing::new(der);
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| {
                format!(
                    "key {number} is no Ed25519 key; no other kind is taken. Make one with \
                     `openssl genpkey -algorithm ed25519`"
                )
            })?;
            let public = pair.public_key().as_ref().to_vec();
            keys.push(FileKey { kid: kid_of(&public), public, private: der });
        }
        if keys.is_empty() {
            return Err(format!("there is no key in it (`{BEGIN}`)"));
        }
        Ok(Self(Arc::new(keys)))
    }
}

/// What a key is called: by its public part, so that the same one has the same name everywhere.
fn kid_of(public: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&digest(public)[..12])
}

/// The keys, read within the last minute.
pub(crate) async fn keys(cx: &Ctx) -> Result<Arc<KeySet>, Fault> {
    let now = cx.now();
    let known = cx.gathered.auth.keys().get();
    if let Some(keys) = &known
        && now - keys.read_at < FRESH
        && keys.due_at.is_none_or(|due| now < due)
    {
        return Ok(keys.clone());
    }
    match renewed(cx).await {
        Ok(keys) => Ok(keys),
        // Nobody is put out because the keys cannot be read for a moment.
        Err(fault) => match known.filter(|known| now - known.read_at < STALE) {
            Some(known) => {
                tracing::warn!(%fault, cause = fault.causes(), "the keys that sign were not read; those \
                    of before are used");
                Ok(known)
            }
            None => Err(fault),
        },
    }
}

/// The keys, read now; made where there are none, and rotated where that is due.
async fn renewed(cx: &Ctx) -> Result<Arc<KeySet>, Fault> {
    let now = cx.now();
    let mut keys = read(cx).await?;
    if keys.signer.is_none() {
        make_missing(cx).await?;
        keys = read(cx).await?;
    } else if keys.due_at.is_some_and(|due| now >= due) {
        match rotate(cx, &Principal::system("signing keys"), false).await {
            Ok(_) => keys = read(cx).await?,
            // The present key is as good as it was; it is tried again.
            Err(fault) => {
                tracing::warn!(%fault, cause = fault.causes(), "the keys that sign were not rotated");
                keys.due_at = Some(now + FRESH);
            }
        }
    }
    let keys = Arc::new(keys);
    cx.gathered.auth.keys().put(keys.clone());
    Ok(keys)
}

/// The keys, read again when one is asked for that is not known: another process may have rotated.
pub(crate) async fn keys_with(cx: &Ctx, kid: &str) -> Result<Arc<KeySet>, Fault> {
    let known = keys(cx).await?;
    if known.public.contains_key(kid) || cx.now() - known.read_at < AGAIN {
        return Ok(known);
    }
    // What is known stays until more is: whoever makes names up throws nothing away.
    renewed(cx).await.or(Ok(known))
}

async fn read(cx: &Ctx) -> Result<KeySet, Fault> {
    let now = cx.now();
    let mut set = KeySet { signer: None, public: HashMap::new(), read_at: now, due_at: None };
    let know = |set: &mut KeySet, kid: &str, public: &[u8]| {
        let x = URL_SAFE_NO_PAD.encode(public);
        let key = DecodingKey::from_ed_der(public);
        set.public.insert(kid.to_owned(), Public { x, key });
    };
    for key in cx.store.signing_keys().await? {
        know(&mut set, &key.kid, &key.public_key);
        if key.slot == Slot::Current {
            set.due_at = key.signs_from.map(|from| from + cx.settings.auth.key_life);
            let private = EncodingKey::from_ed_der(&key.private_key);
            set.signer = Some(Signer { kid: key.kid, private });
        }
    }
    if let Some(FileKeys(keys)) = &cx.settings.auth.file_keys {
        for key in keys.iter() {
            know(&mut set, &key.kid, &key.public);
        }
        set.due_at = None;
        set.signer = keys.first().map(|key| Signer {
            kid: key.kid.clone(),
            private: EncodingKey::from_ed_der(&key.private),
        });
    }
    Ok(set)
}

/// A new key, sealed.
async fn new_key(store: &Store, mint: &dyn slipway_domain::id::Mint) -> Result<SealedKey, Fault> {
    let broken = |_| Fault::internal("no signing key could be made");
    let pair = Ed25519KeyPair::generate().map_err(broken)?;
    let document = pair.to_pkcs8().map_err(broken)?;
    let private = Zeroizing::new(document.as_ref().to_vec());
    let public = pair.public_key().as_ref();
    Ok(store.seal_signing_key(mint.uuid(), &kid_of(public), public, &private).await?)
}

async fn make_missing(cx: &Ctx) -> Result<(), Fault> {
    let (current, next) =
        (new_key(&cx.store, &*cx.mint).await?, new_key(&cx.store, &*cx.mint).await?);
    let now = cx.now();
    let mut tx = cx.store.begin().await?;
    // Of processes that do so at once, one wins.
    tx.insert_signing_key(&current, &Slot::Current, now).await?;
    tx.insert_signing_key(&next, &Slot::Next, now).await?;
    tx.commit().await?;
    Ok(())
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Rotated {
    /// The key that signs now.
    pub current: String,
    /// Whether everything that was signed before is good for nothing any more.
    pub revoked: bool,
}

/// Has the next key sign. With `revoke` every key is thrown away, and with them every access token
/// that is out: for when one has become known.
pub async fn rotate(cx: &Ctx, who: &Principal, revoke: bool) -> Result<Rotated, Fault> {
    if cx.settings.auth.file_keys.is_some() {
        let why = "The keys that sign are in a file (auth.signing_key_path). Put a new one before \
                   the others in it, and start every process again.";
        return Err(Fault::new(Code::Conflict, why));
    }
    let before = read(cx).await?;
    let (first, second) =
        (new_key(&cx.store, &*cx.mint).await?, new_key(&cx.store, &*cx.mint).await?);
    let now = cx.now();
    let mut tx = cx.store.begin().await?;
    if revoke {
        tx.delete_signing_keys().await?;
        tx.insert_signing_key(&first, &Slot::Current, now).await?;
        tx.insert_signing_key(&second, &Slot::Next, now).await?;
    } else if let Some(signer) = &before.signer {
        if !tx.promote_signing_key(&signer.kid, now).await? {
            tx.rollback().await?;
            cx.gathered.auth.keys().clear();
            let current = Box::pin(keys(cx)).await?;
            let current = current.signer.as_ref().map(|s| s.kid.clone()).unwrap_or_default();
            return Ok(Rotated { current, revoked: false });
        }
        // Should there have been no next one, this one signs at once.
        tx.insert_signing_key(&second, &Slot::Current, now).await?;
        tx.insert_signing_key(&first, &Slot::Next, now).await?;
        tx.delete_retired_keys(now - AFTERLIFE).await?;
    } else {
        tx.insert_signing_key(&first, &Slot::Current, now).await?;
        tx.insert_signing_key(&second, &Slot::Next, now).await?;
    }
    let detail = serde_json::json!({"revoked": revoke});
    audit(cx, &mut tx, who, "signing_key.rotate", "signing_keys".to_owned(), detail).await?;
    tx.commit().await?;
    cx.gathered.auth.keys().clear();
    if revoke {
        cx.gathered.auth.forget();
    }
    let after = read(cx).await?;
    let current = after.signer.map(|signer| signer.kid).unwrap_or_default();
    tracing::info!(kid = current, revoke, by = who.actor.id, "another key signs access tokens");
    Ok(Rotated { current, revoked: revoke })
}

/// A public key (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: String,
    /// Always `Ed25519`.
    pub crv: String,
    /// Always EdDSA.
    pub alg: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub usage: String,
    /// What tokens call it.
    pub kid: String,
    /// The key, base64url.
    pub x: String,
}

/// The public keys: what is signed by one of them is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// The public keys, for whoever wants to check our tokens.
pub async fn public(cx: &Ctx) -> Result<Jwks, Fault> {
    let set = keys(cx).await?;
    let mut keys: Vec<_> = set
        .public
        .iter()
        .map(|(kid, public)| Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            usage: "sig".to_owned(),
            kid: kid.clone(),
            x: public.x.clone(),
        })
        .collect();
    keys.sort_by(|a, b| a.kid.cmp(&b.kid));
    Ok(Jwks { keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8]) -> String {
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der)
        )
    }

    #[test]
    fn a_file_holds_ed25519_keys_and_nothing_weaker() {
        let make = || Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap().as_ref().to_vec();
        let two = format!("# the new one\n{}{}", pem(&make()), pem(&make()));
        let keys = FileKeys::parse(&two).unwrap();
        assert_eq!(keys.0.len(), 2);
        assert_ne!(keys.0[0].kid, keys.0[1].kid);
        assert!(!format!("{keys:?}").contains("MC4CAQ"), "{keys:?}");
        let short = &make()[..20];
        for bad in ["", "secret", &pem(b"secret"), &pem(short), &two[..60]] {
            let why = FileKeys::parse(bad).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
