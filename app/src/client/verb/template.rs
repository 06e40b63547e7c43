//! `slipway templates`: seeing, publishing, rendering and retiring templates.

use slipway_services::template::{Deprecate, Publish, Render, Restore};

use super::{Desk, Items};
use crate::cli::{PushArgs, TemplateVerb, TemplatesArgs};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::http::mint_idempotency_key;
use crate::client::input::{self, last_part, make_name};
use crate::client::view;

/// `slipway templates`.
pub(super) async fn templates(desk: &Desk<'_>, args: TemplatesArgs) -> Result<Exit, ClientError> {
    match args.verb {
        None => match &args.name {
            Some(name) => show(desk, name).await,
            None => list(desk).await,
        },
        Some(TemplateVerb::List) => list(desk).await,
        Some(TemplateVerb::Show { name }) => show(desk, &name).await,
        Some(TemplateVerb::Push(args)) => push(desk, args).await,
        Some(TemplateVerb::Render { name, template_version: version, vars }) => {
            let variables = input::variables(&vars.var_files, &vars.vars)?;
            let rendered = desk.client.render(&name, &Render { version, variables }).await?;
            desk.screen.result(&rendered, |_| view::rendered(&rendered))?;
            Ok(Exit::Success)
        }
        Some(TemplateVerb::Deprecate { name, template_version: version, undo: true, .. }) => {
            let template = desk.client.restore_template(&name, &Restore { version }).await?;
            desk.screen.result(&template, |_| view::template_state(&template))?;
            Ok(Exit::Success)
        }
        Some(TemplateVerb::Deprecate { name, template_version: version, reason, .. }) => {
            let request = Deprecate { version, reason };
            let template = desk.client.deprecate_template(&name, &request).await?;
            desk.screen.result(&template, |_| view::template_state(&template))?;
            Ok(Exit::Success)
        }
        Some(TemplateVerb::Delete { name, number: version }) => {
            desk.client.delete_template_version(&name, version).await?;
            let gone = serde_json::json!({ "name": name, "version": version, "deleted": true });
            desk.screen.result(&gone, |_| format!("deleted version {version} of {name}\n"))?;
            Ok(Exit::Success)
        }
    }
}

async fn list(desk: &Desk<'_>) -> Result<Exit, ClientError> {
    let templates = desk.client.templates().await?;
    desk.screen.result(&Items { items: &templates }, |_| view::templates(&templates))?;
    Ok(Exit::Success)
}

async fn show(desk: &Desk<'_>, name: &str) -> Result<Exit, ClientError> {
    let template = desk.client.template(name).await?;
    desk.screen.result(&template, |_| view::template(&template))?;
    Ok(Exit::Success)
}

async fn push(desk: &Desk<'_>, args: PushArgs) -> Result<Exit, ClientError> {
    let name = if let Some(name) = args.name {
        name
    } else {
        // `.` and `..` are called something, too.
        let whole = args.dir.canonicalize().map_err(|why| {
            ClientError::Input(format!("{} cannot be used: {why}", args.dir.display()))
        })?;
        let whole = whole.to_string_lossy();
        make_name(last_part(&whole)).ok_or_else(|| {
            ClientError::Input(format!("no name can be made of {whole:?}; give --name"))
        })?
    };
    let request = Publish {
        name,
        title: args.title,
        description: args.description,
        category: args.category,
        labels: (!args.labels.is_empty()).then(|| args.labels.into_iter().collect()),
        expected_version: args.expected_version,
    };
    let key = args.idempotency_key.unwrap_or_else(mint_idempotency_key);
    let (template, created) = desk.client.publish(&request, &args.dir, &key).await?;
    desk.screen.result(&template, |_| view::published(&template, created))?;
    Ok(Exit::Success)
}
