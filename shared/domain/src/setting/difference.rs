//! What is different between two versions of an item. Of a secret's value it is said only that it
//! changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::SettingVersion;

/// Most places that a difference names; what is deeper is then shown whole.
const MOST: usize = 200;

/// One place that is different.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct SettingChange {
    /// JSON pointer into the version: `/value`, `/value/pool/size`, `/schema/maximum`,
    /// `/description`.
    pub pointer: String,
    /// What was there; absent when nothing was, and for a secret's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub before: Option<Value>,
    /// What is there; absent when nothing is, and for a secret's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub after: Option<Value>,
    /// Whether it is a secret's value, which is not shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

/// What is different between two versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct SettingDifference {
    /// The older one, or the one that was named first.
    pub from: i32,
    /// The other one.
    pub to: i32,
    /// Place by place; nothing is different when empty.
    pub changes: Vec<SettingChange>,
}

impl SettingDifference {
    /// Compares two versions. `secret_changed` is there for a secret, and says whether its value is
    /// another one.
    pub fn between(
        from: &SettingVersion,
        to: &SettingVersion,
        secret_changed: Option<bool>,
    ) -> Self {
        let mut changes = Vec::new();
        match secret_changed {
            None => walk("/value", from.value.as_ref(), to.value.as_ref(), &mut changes),
            Some(true) => changes.push(SettingChange {
                pointer: "/value".to_owned(),
                before: None,
                after: None,
                secret: true,
            }),
            Some(false) => {}
        }
        walk("/schema", from.schema.as_ref(), to.schema.as_ref(), &mut changes);
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let (before, after) = (text(&from.description), text(&to.description));
        walk("/description", before.as_ref(), after.as_ref(), &mut changes);
        Self { from: from.version, to: to.version, changes }
    }
}

fn walk(at: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<SettingChange>) {
    if before == after {
        return;
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (before, after)
        && changes.len() < MOST
    {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let part = name.replace('~', "~0").replace('/', "~1");
            walk(&format!("{at}/{part}"), old.get(name), new.get(name), changes);
        }
        return;
    }
    changes.push(SettingChange {
        pointer: at.to_owned(),
        before: before.cloned(),
        after: after.cloned(),
        secret: false,
    });
}
