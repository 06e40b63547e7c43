//! A pack: modules of Rego under one digest, and the pack that is shipped.

use sha2::{Digest as _, Sha256};

/// One file of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its path inside the pack, for messages.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A set of modules that is compiled and judged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    modules: Vec<Module>,
    shipped: bool,
}

/// The helpers that every pack may import as `data.slipway.lib`.
const LIB: (&str, &str) = ("slipway/lib.rego", include_str!("../packs/terraform/lib.rego"));

/// Those of them that the shipped pack calls in Rust.
const PRIMITIVES: (&str, &str) =
    ("slipway/primitives.rego", include_str!("../packs/terraform/primitives.rego"));

/// The modules of the shipped pack.
const SHIPPED: &[(&str, &str)] = &[
    ("slipway/storage.rego", include_str!("../packs/terraform/storage.rego")),
    ("slipway/network.rego", include_str!("../packs/terraform/network.rego")),
    ("slipway/inbound.rego", include_str!("../packs/terraform/inbound.rego")),
    ("slipway/iam.rego", include_str!("../packs/terraform/iam.rego")),
    ("slipway/database.rego", include_str!("../packs/terraform/database.rego")),
    ("slipway/compute.rego", include_str!("../packs/terraform/compute.rego")),
    ("slipway/platform.rego", include_str!("../packs/terraform/platform.rego")),
    ("slipway/change.rego", include_str!("../packs/terraform/change.rego")),
];

fn module((path, text): &(&str, &str)) -> Module {
    Module { path: (*path).to_owned(), text: (*text).to_owned() }
}

impl Pack {
    /// A pack that somebody uploaded. It has to live in packages under `user`; [`crate::lint()`]
    /// says whether it does.
    pub fn user(mut modules: Vec<Module>) -> Self {
        modules.sort_by(|a, b| a.path.cmp(&b.path));
        Self { modules, shipped: false }
    }

    /// The pack for Terraform that comes with the executable.
    pub fn shipped() -> Self {
        Self { modules: SHIPPED.iter().map(module).collect(), shipped: true }
    }

    /// The files, ordered by path.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The helpers that are compiled together with it.
    pub(crate) fn library() -> [Module; 2] {
        [module(&LIB), module(&PRIMITIVES)]
    }

    /// Whether it is the one that comes with the executable.
    pub const fn is_shipped(&self) -> bool {
        self.shipped
    }

    /// The first component of the packages that it may define.
    pub(crate) const fn root(&self) -> &'static str {
        if self.shipped { "slipway" } else { "user" }
    }

    /// The digest of its text and of the helpers that it is compiled with: a version.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for module in self.modules.iter().chain(&Self::library()) {
            for part in [&module.path, &module.text] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
    }
}
