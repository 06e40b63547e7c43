//! `slipway settings`: the central configuration.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use slipway_domain::Code;
use slipway_domain::id::SettingId;
use slipway_domain::setting::{
    ChangeSetting, MAX_VALUE_BYTES, NewSetting, Setting, SettingKind, SettingScope,
};
use slipway_services::setting::{Reveal, RollBack};

use super::show::more;
use super::{Desk, refused};
use crate::cli::settings::{ItemArgs, ItemRef, PlaceArgs, SetArgs, SettingsVerb};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::http::mint_idempotency_key;
use crate::client::view;

/// Items with one key that are looked through for the one of a scope.
const MOST: u32 = 10_000;

fn scope_of(PlaceArgs { project, env, service }: PlaceArgs) -> SettingScope {
    SettingScope { project, environment: env, service }
}

/// `slipway settings`.
pub(super) async fn settings(desk: &Desk<'_>, verb: SettingsVerb) -> Result<Exit, ClientError> {
    match verb {
        SettingsVerb::List { place, key, limit } => {
            let page = desk.client.settings(&scope_of(place), key.as_deref(), limit).await?;
            desk.screen.result(&page, |_| {
                view::settings(&page.items) + more(page.next_cursor.is_some())
            })?;
        }
        SettingsVerb::Get(of) => {
            let one = find(desk, of).await?;
            desk.screen.result(&one, |_| view::setting(&one))?;
        }
        SettingsVerb::Set(args) => set(desk, args).await?,
        SettingsVerb::Unset { of, if_version } => {
            let one = find(desk, of).await?;
            let from = if_version.unwrap_or(one.version);
            desk.client.delete_setting(one.id, from).await?;
            desk.screen.tell(&format!(
                "{} of {} is deleted; slipway settings rollback {} --to {} brings it back.\n",
                one.key, one.scope, one.id, one.version
            ))?;
        }
        SettingsVerb::History { of, audit: true, limit } => {
            let page = desk.client.setting_audit(id(desk, of).await?, limit).await?;
            desk.screen.result(&page, |_| {
                view::setting_audit(&page.items) + more(page.next_cursor.is_some())
            })?;
        }
        SettingsVerb::History { of, audit: false, limit } => {
            let page = desk.client.setting_versions(id(desk, of).await?, limit).await?;
            desk.screen.result(&page, |_| {
                view::setting_versions(&page.items) + more(page.next_cursor.is_some())
            })?;
        }
        SettingsVerb::Diff { of, from, to } => {
            let diff = desk.client.diff_setting(id(desk, of).await?, from, to).await?;
            desk.screen.result(&diff, |_| view::setting_diff(&diff))?;
        }
        SettingsVerb::Rollback { of, to, comment, if_version } => {
            let request = RollBack { to_version: to, comment };
            let of = id(desk, of).await?;
            let one = desk.client.roll_back_setting(of, &request, if_version).await?;
            desk.screen.result(&one, |_| view::setting(&one))?;
        }
        SettingsVerb::Resolve { place } => {
            let found = desk.client.resolve_settings(&scope_of(place)).await?;
            desk.screen.result(&found, |_| view::effective_settings(&found))?;
        }
        SettingsVerb::Reveal { of, reason, setting_version } => {
            let request = Reveal { reason, version: setting_version };
            let shown = desk.client.reveal_setting(id(desk, of).await?, &request).await?;
            // As it is: whoever asks for it puts it somewhere.
            desk.screen.result(&shown, |_| format!("{}\n", shown.value))?;
        }
        SettingsVerb::Rotate(of) => {
            let done = desk.client.rotate_setting(id(desk, of).await?).await?;
            desk.screen.result(&done, |_| {
                format!(
                    "{} of {} secrets got the key {}.\n",
                    done.rewrapped,
                    done.versions,
                    view::plain(&done.key)
                )
            })?;
        }
    }
    Ok(Exit::Success)
}

async fn set(desk: &Desk<'_>, args: SetArgs) -> Result<(), ClientError> {
    let SetArgs { of, value, file, kind, schema, description, comment, if_version } = args;
    let there = match find(desk, of.clone()).await {
        Ok(there) => Some(there),
        Err(ClientError::Refused(problem)) if problem.code == Code::NotFound.as_str() => None,
        Err(error) => return Err(error),
    };
    let kind = match (&there, kind) {
        (Some(there), Some(kind)) if kind != there.kind => {
            return Err(ClientError::Input(format!(
                "{} is a {}, and stays one; delete it first to make it a {kind}",
                there.key, there.kind
            )));
        }
        (Some(there), _) => there.kind,
        (None, kind) => kind.unwrap_or(SettingKind::String),
    };
    if kind == SettingKind::Secret && value.is_some() {
        return Err(ClientError::Input(
            "a secret is not given on the command line, where others see it: use --file, or \
             `--file -` for standard input"
                .to_owned(),
        ));
    }
    let text = match (value, &file) {
        (Some(text), _) => text,
        (None, Some(file)) => read(file)?,
        (None, None) => return Err(ClientError::Input("no value was given".to_owned())),
    };
    let value = value_of(kind, text)?;
    let schema = match &schema {
        None => None,
        Some(file) => Some(json(&read(file)?, &file.display().to_string())?),
    };
    let one = match (there, of.item) {
        (Some(there), _) => {
            let request = ChangeSetting {
                value: Some(value),
                // What is not said stays.
                schema: schema.or(there.schema),
                description: description.or(there.description),
                comment,
            };
            let from = if_version.unwrap_or(there.version);
            desk.client.change_setting(there.id, &request, from).await?
        }
        (None, ItemRef::Key(key)) if matches!(if_version, None | Some(0)) => {
            let scope = scope_of(of.place);
            let request = NewSetting { key, scope, kind, value, schema, description, comment };
            desk.client.make_setting(&request, &mint_idempotency_key()).await?
        }
        (None, ItemRef::Key(key)) => return Err(none(&key, &scope_of(of.place))),
        (None, ItemRef::Id(id)) => {
            return Err(refused(404, Code::NotFound, format!("There is no setting {id}.")));
        }
    };
    desk.screen.result(&one, |_| view::setting(&one))?;
    Ok(())
}

/// The value that a text stands for. Messages never quote it.
fn value_of(kind: SettingKind, text: String) -> Result<Value, ClientError> {
    match kind {
        SettingKind::String | SettingKind::Secret => Ok(Value::from(text)),
        SettingKind::Number | SettingKind::Bool | SettingKind::Json => json(&text, "the value"),
    }
}

fn json(text: &str, what: &str) -> Result<Value, ClientError> {
    serde_json::from_str(text)
        .map_err(|error| ClientError::Input(format!("{what} is not JSON: {error}")))
}

fn read(file: &Path) -> Result<String, ClientError> {
    let most = 2 * MAX_VALUE_BYTES as u64;
    let name = file.display();
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(most).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(most).read_to_string(&mut text))
    };
    read.map_err(|error| ClientError::Input(format!("{name}: {error}")))?;
    let end = if text.ends_with("\r\n") { 2 } else { usize::from(text.ends_with('\n')) };
    text.truncate(text.len() - end);
    Ok(text)
}

async fn find(desk: &Desk<'_>, ItemArgs { item, place }: ItemArgs) -> Result<Setting, ClientError> {
    let key = match item {
        ItemRef::Id(id) => return desk.client.setting(id).await,
        ItemRef::Key(key) => key,
    };
    let scope = scope_of(place);
    let page = desk.client.settings(&scope, Some(&key), MOST).await?;
    let found = page.items.into_iter().find(|one| one.scope == scope);
    found.ok_or_else(|| none(&key, &scope))
}

fn none(key: &str, scope: &SettingScope) -> ClientError {
    refused(404, Code::NotFound, format!("There is no setting {key} for {scope}."))
}

/// The id of an item, which may have been deleted when it is named by it.
async fn id(desk: &Desk<'_>, of: ItemArgs) -> Result<SettingId, ClientError> {
    match of.item {
        ItemRef::Id(id) => Ok(id),
        ItemRef::Key(_) => Ok(find(desk, of).await?.id),
    }
}
