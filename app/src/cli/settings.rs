//! `slipway settings`: what its command line looks like.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use slipway_domain::id::SettingId;
use slipway_domain::setting::{SettingKind, is_key};

/// `slipway settings`.
#[derive(Debug, Clone, Args)]
pub struct SettingsArgs {
    /// What to do
    #[command(subcommand)]
    pub verb: SettingsVerb,
}

/// For whom; for everything when nothing is said.
#[derive(Debug, Clone, Default, Args)]
pub struct PlaceArgs {
    /// In this project
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
    /// In this environment
    #[arg(long, alias = "environment", value_name = "ENV")]
    pub env: Option<String>,
    /// For this service of the project (for deployments: the stack's name)
    #[arg(long, value_name = "SERVICE", requires = "project")]
    pub service: Option<String>,
}

/// An item: by its id, or by its key and just this scope.
#[derive(Debug, Clone, Args)]
pub struct ItemArgs {
    /// The key, or the item's id (set_…)
    #[arg(value_name = "KEY", value_parser = ItemRef::parse)]
    pub item: ItemRef,
    /// The scope of the item
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// How an item is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemRef {
    /// By its id.
    Id(SettingId),
    /// By its key, in a scope.
    Key(String),
}

impl ItemRef {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        if is_key(text) {
            return Ok(Self::Key(text.to_owned()));
        }
        Err(slipway_domain::setting::KEY_RULE.to_owned())
    }
}

/// What can be done with settings.
#[derive(Debug, Clone, Subcommand)]
pub enum SettingsVerb {
    /// List settings of every scope, newest first
    List {
        /// Only those of this scope's names
        #[command(flatten)]
        place: PlaceArgs,
        /// Only those with this key
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one setting; a secret is masked
    Get(ItemArgs),
    /// Set a value: make the setting, or change it
    Set(SetArgs),
    /// Delete a setting; its history stays
    Unset {
        /// Which one
        #[command(flatten)]
        of: ItemArgs,
        /// Only if this version is current
        #[arg(long, value_name = "VERSION")]
        if_version: Option<i32>,
    },
    /// Show the versions of a setting, or with --audit what the audit log says about it
    History {
        /// Which one (by its id when it was deleted)
        #[command(flatten)]
        of: ItemArgs,
        /// Show the audit log instead
        #[arg(long)]
        audit: bool,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show what is different between two versions; the last two when none is named
    Diff {
        /// Which one
        #[command(flatten)]
        of: ItemArgs,
        /// The older version
        #[arg(long, value_name = "VERSION")]
        from: Option<i32>,
        /// The newer version
        #[arg(long, value_name = "VERSION")]
        to: Option<i32>,
    },
    /// Give a setting what an older version had; one that was deleted comes back
    Rollback {
        /// Which one (by its id when it was deleted)
        #[command(flatten)]
        of: ItemArgs,
        /// The version to go back to
        #[arg(long, value_name = "VERSION")]
        to: i32,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// Only if this version is current
        #[arg(long, value_name = "VERSION")]
        if_version: Option<i32>,
    },
    /// Show what holds for a place, and where each value comes from
    Resolve {
        /// The place
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Show a secret in clear; it goes on record
    Reveal {
        /// Which one
        #[command(flatten)]
        of: ItemArgs,
        /// What it is needed for
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Which version; the current one when absent
        #[arg(long, value_name = "VERSION")]
        setting_version: Option<i32>,
    },
    /// Give the secrets of a setting the key that seals now
    Rotate(ItemArgs),
}

/// `slipway settings set`.
#[derive(Debug, Clone, Args)]
pub struct SetArgs {
    /// Which one
    #[command(flatten)]
    pub of: ItemArgs,
    /// The value: text for a string, else JSON. It shows in this machine's process list, so a secret
    /// is never given here
    #[arg(value_name = "VALUE", conflicts_with = "file", required_unless_present = "file")]
    pub value: Option<String>,
    /// Read the value from a file; `-` reads from standard input
    ///
    /// One line end at its end is not part of it.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// string, number, bool, json or secret; an item that is there has its own
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    pub kind: Option<SettingKind>,
    /// A file with the JSON Schema that the value must fit
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Only if this version is current; 0: only if there is none yet
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<i32>,
}

fn kind(text: &str) -> Result<SettingKind, String> {
    SettingKind::parse(text).ok_or_else(|| "string, number, bool, json or secret".to_owned())
}
