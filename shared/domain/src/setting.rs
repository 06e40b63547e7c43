//! Central configuration: items with a key, for everybody or for some, typed, with every version
//! kept.
//!
//! An item holds in its [`SettingScope`]; where several have the same key the narrowest one counts
//! ([`scope`] says how, once). What deployments write to use them (`${config.KEY}`,
//! `${secret.KEY}`) is in [`reference`].

pub mod difference;
pub mod effective;
pub mod reference;
pub mod scope;
#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::Actor;
use crate::fault::FieldError;
use crate::id::{AuditId, SettingId};
use crate::redact::MIN_SECRET_BYTES;
use crate::secret::MASK;
pub use scope::SettingScope;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 128;
/// Most bytes of a value: of a string or a secret, or of JSON as it is written.
pub const MAX_VALUE_BYTES: usize = 32 << 10;
/// Most levels of lists and objects in a JSON value.
pub const MAX_DEPTH: usize = 32;
/// Longest description, in characters.
pub const MAX_DESCRIPTION: usize = 500;
/// Longest comment or reason, in characters.
pub const MAX_COMMENT: usize = 500;
/// Items that one scope may have.
pub const MAX_PER_SCOPE: i64 = 2_000;

/// What an item's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingKind {
    /// Text.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// Any JSON but `null`.
    Json,
    /// Text that nobody sees: it is sealed, and shown as `***`.
    Secret,
}

impl SettingKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::String, Self::Number, Self::Bool, Self::Json, Self::Secret];

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Json => "json",
            Self::Secret => "secret",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// What is wrong with a value of this kind; it never quotes the value.
    pub fn problem(self, value: &Value) -> Option<String> {
        let (fits, wanted) = match self {
            Self::String => (value.is_string(), "a string"),
            Self::Number => (value.is_number(), "a number"),
            Self::Bool => (value.is_boolean(), "true or false"),
            Self::Json => (!value.is_null(), "JSON other than null"),
            Self::Secret => (value.is_string(), "a string"),
        };
        if !fits {
            return Some(format!("the value of a {self} item must be {wanted}"));
        }
        let bytes = value.as_str().map_or_else(|| value.to_string().len(), str::len);
        if bytes > MAX_VALUE_BYTES {
            return Some(format!("the value has more than {MAX_VALUE_BYTES} bytes"));
        }
        if value.as_str().is_some_and(|text| text.contains('\0')) {
            return Some("the value holds a NUL character".to_owned());
        }
        if self == Self::Secret && bytes < MIN_SECRET_BYTES {
            return Some(format!(
                "a secret must have {MIN_SECRET_BYTES} bytes or more: shorter ones cannot be taken \
                 out of logs and plans"
            ));
        }
        (depth(value) > MAX_DEPTH).then(|| format!("the value has more than {MAX_DEPTH} levels"))
    }
}

impl fmt::Display for SettingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Levels of lists and objects in a value. What was parsed is never so deep that this could run out
/// of stack.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether `text` is a key: parts of letters, digits, `-` and `_`, joined by dots, beginning with a
/// letter, at most [`MAX_KEY_BYTES`] long.
pub fn is_key(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    text.len() <= MAX_KEY_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.split('.').all(part)
}

/// What a key must be, for people.
pub const KEY_RULE: &str = "a key is 1 to 128 letters, digits, '-' and '_', with single dots \
                            between its parts, and begins with a letter";

/// An item of the central configuration, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Setting {
    /// Its id.
    pub id: SettingId,
    /// Its key.
    #[schema(example = "db.pool_size")]
    pub key: String,
    /// For whom it holds.
    pub scope: SettingScope,
    /// What its value is.
    #[serde(rename = "type")]
    pub kind: SettingKind,
    /// Its value; `"***"` for a secret.
    #[schema(value_type = Value)]
    pub value: Value,
    /// The JSON Schema that its value must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Grows with every change, from 1.
    pub version: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: Actor,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// By whom.
    pub updated_by: Actor,
    /// When it was deleted; its history stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A new item.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSetting {
    /// Its key: letters, digits, `-`, `_`, and single dots between parts; begins with a letter.
    #[schema(
        example = "db.pool_size",
        max_length = 128,
        pattern = "^[A-Za-z][A-Za-z0-9_-]*(\\.[A-Za-z0-9_-]+)*$"
    )]
    pub key: String,
    /// For whom it holds; for everybody when absent.
    #[serde(default)]
    pub scope: SettingScope,
    /// What its value is. It stays so.
    #[serde(rename = "type")]
    pub kind: SettingKind,
    /// Its value.
    #[schema(value_type = Value)]
    pub value: Value,
    /// A JSON Schema (draft 2020-12) that this value and later ones must fit. A secret has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// Why, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub comment: Option<String>,
}

impl fmt::Debug for NewSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSetting")
            .field("key", &self.key)
            .field("scope", &self.scope)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl NewSetting {
    /// What is wrong with it on its face. Whether the value fits the schema is looked at elsewhere.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = self.scope.problems("/scope");
        if !is_key(&self.key) {
            problems.push(FieldError::at("/key", KEY_RULE));
        }
        problems.extend(self.kind.problem(&self.value).map(|why| FieldError::at("/value", why)));
        if self.kind == SettingKind::Secret && self.schema.is_some() {
            problems.push(FieldError::at("/schema", NO_SCHEMA));
        }
        problems.extend(texts(self.description.as_deref(), self.comment.as_deref()));
        problems
    }
}

/// Why a secret has no schema.
pub const NO_SCHEMA: &str =
    "a secret takes no schema: what a schema says of its value would be seen by everybody";

/// What is wrong with a description and a comment.
pub fn texts(description: Option<&str>, comment: Option<&str>) -> Vec<FieldError> {
    [("description", description, MAX_DESCRIPTION), ("comment", comment, MAX_COMMENT)]
        .into_iter()
        .filter_map(|(field, text, most)| {
            let text = text?;
            let wrong = text.chars().count() > most || text.contains('\0');
            wrong.then(|| {
                FieldError::at(
                    format!("/{field}"),
                    format!("{field} may have {most} characters at most, and none of them NUL"),
                )
            })
        })
        .collect()
}

/// What an item is to be from now on. Key, scope and type stay.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSetting {
    /// Its value; the one that it has when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub value: Option<Value>,
    /// The JSON Schema that its value must fit; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// What it is for; nothing is said when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// Why, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub comment: Option<String>,
}

impl fmt::Debug for ChangeSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeSetting").field("value", &MASK).finish_non_exhaustive()
    }
}

/// How a version came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingAction {
    /// The item was made.
    Created,
    /// It was changed.
    Updated,
    /// It was given what an older version had.
    RolledBack,
    /// It was deleted.
    Deleted,
}

impl SettingAction {
    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::RolledBack => "rolled_back",
            Self::Deleted => "deleted",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Created, Self::Updated, Self::RolledBack, Self::Deleted]
            .into_iter()
            .find(|action| action.as_str() == text)
    }
}

/// A version of an item. It never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct SettingVersion {
    /// Its number.
    pub version: i32,
    /// How it came to be.
    pub action: SettingAction,
    /// The value; `"***"` for a secret, absent where the item was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub value: Option<Value>,
    /// The schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// What it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The version whose value it has, when it was rolled back to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<i32>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// By whom.
    pub by: Actor,
}

/// An item version that a plan was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct SettingUse {
    /// The key.
    pub key: String,
    /// Whether it is a secret.
    pub secret: bool,
    /// The item.
    pub setting_id: SettingId,
    /// Its scope.
    pub scope: SettingScope,
    /// The version whose value was used.
    pub version: i32,
    /// The variables that hold it.
    pub variables: Vec<String>,
}

/// One row of the audit log about an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct SettingAudit {
    /// The row.
    pub id: AuditId,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: Actor,
    /// From where, if over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What, e.g. `setting.update`, `setting.reveal`.
    pub action: String,
    /// `allowed`, `denied` or `failed`.
    pub result: String,
    /// Versions, reasons; never a secret.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// The trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}
