//! `slipway gates`: what the gates look for.

use std::io::Read as _;
use std::path::Path;

use slipway_domain::gate_settings::{GateScope, GateSettings};

use super::{Desk, Items};
use crate::cli::{GatesArgs, GatesVerb, ScopeArgs};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::view;

/// Most bytes of a file of settings.
const MAX_BYTES: u64 = 1 << 20;

/// `slipway gates`.
pub(super) async fn gates(desk: &Desk<'_>, args: GatesArgs) -> Result<Exit, ClientError> {
    match args.verb {
        None => {
            let all = desk.client.gate_settings().await?;
            desk.screen.result(&Items { items: &all }, |_| view::gate_settings(&all))?;
        }
        Some(GatesVerb::Resolve { project, environment }) => {
            let found = desk.client.resolved_gates(&project, &environment).await?;
            desk.screen.result(&found, |_| view::resolved_gates(&found))?;
        }
        Some(GatesVerb::Set { file, scope, if_version }) => {
            let settings = read(&file)?;
            let kept = desk.client.set_gates(&scope_of(scope), &settings, if_version).await?;
            desk.screen.result(&kept, |_| {
                format!("The gate settings for {} are version {}.\n", kept.scope, kept.version)
            })?;
        }
        Some(GatesVerb::Forget { scope }) => {
            let scope = scope_of(scope);
            desk.client.forget_gates(&scope).await?;
            desk.screen.tell(&format!("The gate settings for {scope} are gone.\n"))?;
        }
    }
    Ok(Exit::Success)
}

fn scope_of(ScopeArgs { project, env }: ScopeArgs) -> GateScope {
    GateScope { project, environment: env }
}

fn read(file: &Path) -> Result<GateSettings, ClientError> {
    let name = file.display();
    let wrong = |why: String| ClientError::Input(format!("{name}: {why}"));
    let mut text = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(MAX_BYTES + 1).read_to_end(&mut text))
    };
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(wrong("it has more than 1 MiB".to_owned()));
    }
    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
}
