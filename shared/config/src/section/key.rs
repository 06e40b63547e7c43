//! `[keys]`: keys that seal secrets at rest.

use std::path::PathBuf;

use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;

use super::masked;
use crate::problem::Problem;

/// Keys that seal secrets at rest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// File of the key ring, used when `ring` is empty; `keyring` in the data directory when
    /// nothing is said.
    pub file: PathBuf,
    /// The key ring itself, `name:base64,name:base64`: each key is 32 bytes, the first one seals,
    /// all of them open.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "String", extend("x-kind" = "secret"))]
    pub ring: Secret<String>,
}

impl Keys {
    /// The store reads the ring for good; here it is only looked over, so that a bad one is
    /// reported with everything else. Keys are never part of a message.
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        let ring = self.ring.reveal();
        let mut names = Vec::new();
        let entries = ring.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        for (number, entry) in entries.enumerate() {
            let nth = number + 1;
            let what = match entry.split_once(':') {
                None => format!("entry {nth} is not `name:base64`"),
                Some((name, _))
                    if name.is_empty()
                        || name.len() > 64
                        || !name.bytes().all(|b| b.is_ascii_graphic()) =>
                {
                    format!("the name of entry {nth} must be 1 to 64 visible ASCII characters")
                }
                Some((name, _)) if names.contains(&name) => {
                    format!("entry {nth} has the name of another one")
                }
                Some((name, key)) => {
                    names.push(name);
                    match base64::engine::general_purpose::STANDARD.decode(key) {
                        Ok(key) if key.len() == 32 => continue,
                        Ok(key) => format!("entry {nth} has {} bytes, not 32", key.len()),
                        Err(_) => format!("the key of entry {nth} is not base64"),
                    }
                }
            };
            problems.push(Problem::at("keys.ring", what));
        }
        if !ring.is_empty() && ring.split([',', '\n']).all(|entry| entry.trim().is_empty()) {
            problems.push(Problem::at("keys.ring", "there is no key in it"));
        }
    }
}
