//! The central configuration, for those who look. No tool shows a secret or changes anything.

use std::fmt::Write as _;

use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_domain::access::Scope;
use slipway_domain::id::SettingId;
use slipway_domain::page::PageRequest;
use slipway_domain::setting::{SettingKind, SettingScope};
use slipway_services::setting::{self as verb, Filter};

use super::deployment::LIST_LIMIT;
use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, answer, fenced, line};

/// Characters of a value that are shown; whoever wants more reads the item over REST.
const MAX_VALUE: usize = 1_000;
/// Keys of a place in one answer.
const MAX_KEYS: usize = 100;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArguments {
    /// Only for this very project.
    #[serde(default)]
    project: Option<String>,
    /// Only for this very environment.
    #[serde(default)]
    environment: Option<String>,
    /// Only for this very service.
    #[serde(default)]
    service: Option<String>,
    /// Only with this key.
    #[serde(default)]
    key: Option<String>,
    /// How many, 1 to 200; 20 when absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Settings {
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Item {
    setting_id: SettingId,
    key: String,
    scope: String,
    r#type: SettingKind,
    /// As JSON; `"***"` for a secret; cut when it is long.
    value: String,
    version: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

fn shown(value: &Value) -> String {
    line(&value.to_string(), MAX_VALUE)
}

pub(super) fn list() -> Entry {
    entry::<ListArguments, Settings>(
        "list_config",
        "List central configuration",
        "Lists items of the central configuration, newest first, each with its scope; secrets are \
         masked. Call resolve_config to learn what holds for one project and environment.",
        reads(),
        Scope::ConfigRead,
        |call| list_config(call).boxed(),
    )
}

async fn list_config(call: Call<'_>) -> Outcome {
    let given: ListArguments = call.arguments()?;
    let page = PageRequest::parse(given.limit.or(Some(LIST_LIMIT)), given.cursor.as_deref())?;
    let filter = Filter {
        project: given.project,
        environment: given.environment,
        service: given.service,
        key: given.key,
    };
    let page = verb::list(call.cx, call.who, &filter, page).await?;
    let page = page.map(|setting| Item {
        setting_id: setting.id,
        scope: setting.scope.to_string(),
        r#type: setting.kind,
        value: shown(&setting.value),
        version: setting.version,
        description: setting.description.map(|text| line(&text, 300)),
        key: setting.key,
    });
    let mut rows = String::new();
    for item in &page.items {
        let _ = writeln!(rows, "{} ({}) = {}", item.key, item.scope, item.value);
    }
    let mut text =
        format!("{} settings.\n{}", page.items.len(), fenced(call.cx, "settings", &rows));
    if page.next_cursor.is_some() {
        text.push_str("\nThere are more: call again with next_cursor as cursor.");
    }
    answer(&Settings { items: page.items, next_cursor: page.next_cursor }, text)
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResolveArguments {
    /// The project.
    #[serde(default)]
    project: Option<String>,
    /// The environment.
    #[serde(default)]
    environment: Option<String>,
    /// The service of the project; for deployments, the stack's name.
    #[serde(default)]
    service: Option<String>,
    /// Only this key.
    #[serde(default)]
    key: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Held {
    /// How many keys hold there; at most 100 are shown.
    total: usize,
    settings: Vec<HeldItem>,
}

#[derive(Serialize, JsonSchema)]
struct HeldItem {
    key: String,
    r#type: SettingKind,
    /// As JSON; `"***"` for a secret; cut when it is long.
    value: String,
    setting_id: SettingId,
    /// The scope of the item that counts.
    scope: String,
    version: i32,
}

pub(super) fn resolve() -> Entry {
    entry::<ResolveArguments, Held>(
        "resolve_config",
        "Resolve central configuration",
        "Says what the central configuration comes to for a project, environment and service: for \
         each key the item of the narrowest scope; secrets are masked. Call it to learn which \
         ${config.KEY} and ${secret.KEY} a deployment's variables can use.",
        reads(),
        Scope::ConfigRead,
        |call| resolve_config(call).boxed(),
    )
}

async fn resolve_config(call: Call<'_>) -> Outcome {
    let ResolveArguments { project, environment, service, key } = call.arguments()?;
    let place = SettingScope { project, environment, service };
    let effective = verb::resolve(call.cx, call.who, place).await?;
    let all = &effective.settings.settings;
    let wanted = all.iter().filter(|one| key.as_ref().is_none_or(|key| one.key == *key));
    let settings: Vec<_> = wanted
        .take(MAX_KEYS)
        .map(|one| HeldItem {
            key: one.key.clone(),
            r#type: one.kind,
            value: shown(&one.value),
            setting_id: one.setting_id,
            scope: one.scope.to_string(),
            version: one.version,
        })
        .collect();
    let mut rows = String::new();
    for one in &settings {
        let _ = writeln!(rows, "{} = {} (of {})", one.key, one.value, one.scope);
    }
    let head = format!("{} keys hold for {}.\n", all.len(), effective.settings.place);
    let text = head + &fenced(call.cx, "settings", &rows);
    answer(&Held { total: all.len(), settings }, text)
}
