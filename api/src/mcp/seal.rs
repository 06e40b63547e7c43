//! What this door hands to clients to keep for it, sealed with the house's keys: nobody can read,
//! change or make one, and any replica can open it. It keeps nothing itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use slipway_domain::fault::Fault;
use slipway_services::Ctx;

/// Longer texts are none of ours.
const MAX_TEXT_BYTES: usize = 8 * 1024;

/// Seals and opens values for one purpose each.
#[derive(Clone)]
pub(super) struct Seal(Ctx);

impl Seal {
    pub(super) fn new(cx: Ctx) -> Self {
        Self(cx)
    }

    /// The house.
    pub(super) fn cx(&self) -> &Ctx {
        &self.0
    }

    /// Seals `value` for `purpose`, as text of visible ASCII.
    pub(super) fn seal<T: Serialize>(&self, purpose: &str, value: &T) -> Result<String, Fault> {
        let bytes = serde_json::to_vec(value).map_err(Fault::internal)?;
        let sealed = self.0.store.house().seal(&place(purpose), &bytes).map_err(Fault::from)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what was sealed for the same `purpose`; `None` for anything else.
    pub(super) fn open<T: DeserializeOwned>(&self, purpose: &str, text: &str) -> Option<T> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let bytes = self.0.store.house().open(&place(purpose), &sealed).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

fn place(purpose: &str) -> String {
    format!("mcp|{purpose}")
}
