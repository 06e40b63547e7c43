//! `slipway state`: versions, the lock, refused states.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use slipway_domain::Code;
use slipway_domain::id::{OrphanId, StackId};
use slipway_domain::state_version::{LockStatus, StateVersion};

use super::show::more;
use super::{Desk, Items, refused};
use crate::cli::StateVerb;
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::http::{MAX_STATE_BYTES, Which};
use crate::client::input::read_bounded;
use crate::client::view;

/// A version and the lock, as `--json` prints them.
#[derive(Serialize)]
struct Shown<'a> {
    version: Option<&'a StateVersion>,
    lock: &'a LockStatus,
}

/// `slipway state`.
pub(super) async fn state(desk: &Desk<'_>, verb: StateVerb) -> Result<Exit, ClientError> {
    let client = desk.client;
    match verb {
        StateVerb::List { of, limit } => {
            let of = desk.stack_id(&of.stack).await?;
            let page = client.state_versions(of, limit).await?;
            desk.screen.result(&page, |_| {
                view::state_versions(&page.items, Desk::now()) + more(page.next_cursor.is_some())
            })?;
        }
        StateVerb::Show { of, at } => {
            let of = desk.stack_id(&of.stack).await?;
            let version = match at {
                Some(version) => Some(client.state_version(of, version).await?),
                None => newest(desk, of).await?,
            };
            let lock = client.state_lock(of).await?;
            let shown = Shown { version: version.as_ref(), lock: &lock };
            desk.screen.result(&shown, |_| {
                view::state_version(version.as_ref(), Some(&lock), Desk::now())
            })?;
        }
        StateVerb::Pull { of, at, orphan, output } => {
            let of = desk.stack_id(&of.stack).await?;
            let which = match (at, orphan) {
                (_, Some(orphan)) => Which::Orphan(orphan),
                (Some(version), None) => Which::Version(version),
                (None, None) => Which::Current,
            };
            pull(desk, of, which, output.as_deref()).await?;
        }
        StateVerb::Diff { of, from, to } => {
            let of = desk.stack_id(&of.stack).await?;
            let diff = client.state_diff(of, from, to).await?;
            desk.screen.result(&diff, |paint| view::state_diff(&diff, paint))?;
        }
        StateVerb::Restore { of, number, serial } => {
            let of = desk.stack_id(&of.stack).await?;
            let serial = match serial {
                Some(serial) => serial,
                None => newest(desk, of).await?.map_or(0, |newest| newest.mark.serial),
            };
            became(desk, &client.restore_state(of, number, serial).await?)?;
        }
        StateVerb::Import { of, file, replace } => {
            let of = desk.stack_id(&of.stack).await?;
            let content = read_bounded(&file, MAX_STATE_BYTES as u64)
                .map_err(|why| ClientError::Input(format!("{}: {why}", file.display())))?;
            became(desk, &client.import_state(of, content.into(), replace).await?)?;
        }
        StateVerb::Unlock { of, lock_id, reason } => {
            let of = desk.stack_id(&of.stack).await?;
            let done = client.unlock_state(of, lock_id.as_deref(), reason.as_deref()).await?;
            let text = if done.released { "The lock is broken.\n" } else { "There was no lock.\n" };
            desk.screen.result(&done, |_| text.to_owned())?;
        }
        StateVerb::Orphans { of } => {
            let of = desk.stack_id(&of.stack).await?;
            let orphans = client.orphan_states(of).await?;
            desk.screen
                .result(&Items { items: &orphans }, |_| view::orphans(&orphans, Desk::now()))?;
        }
        StateVerb::Adopt { of, orphan, serial } => {
            let of = desk.stack_id(&of.stack).await?;
            adopt(desk, of, orphan, serial).await?;
        }
        StateVerb::Discard { of, orphan } => {
            let of = desk.stack_id(&of.stack).await?;
            client.discard_state(of, orphan).await?;
            let done = serde_json::json!({"discarded": orphan});
            desk.screen.result(&done, |_| format!("{orphan} is gone.\n"))?;
        }
    }
    Ok(Exit::Success)
}

async fn newest(desk: &Desk<'_>, of: StackId) -> Result<Option<StateVersion>, ClientError> {
    Ok(desk.client.state_versions(of, 1).await?.items.into_iter().next())
}

async fn adopt(
    desk: &Desk<'_>,
    of: StackId,
    orphan: OrphanId,
    serial: Option<i64>,
) -> Result<(), ClientError> {
    let serial = match serial {
        Some(serial) => Some(serial),
        None => newest(desk, of).await?.map(|newest| newest.mark.serial),
    };
    became(desk, &desk.client.adopt_state(of, orphan, serial).await?)
}

/// Says what the current version is now.
fn became(desk: &Desk<'_>, version: &StateVersion) -> Result<(), ClientError> {
    let text = || view::state_version(Some(version), None, Desk::now());
    Ok(desk.screen.result(version, |_| text())?)
}

async fn pull(
    desk: &Desk<'_>,
    of: StackId,
    which: Which,
    output: Option<&Path>,
) -> Result<(), ClientError> {
    let content = desk.client.download_state(of, which).await?;
    let content = content
        .ok_or_else(|| refused(404, Code::NotFound, "The stack has no state yet.".to_owned()))?;
    let Some(path) = output else {
        desk.screen.document(&String::from_utf8_lossy(&content))?;
        return Ok(());
    };
    // It holds secrets, and what is there already may be somebody's only copy.
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(&content)?;
        file.sync_all()
    });
    written.map_err(|why| ClientError::Input(format!("{}: {why}", path.display())))?;
    desk.screen.note(&format!("{} bytes written to {}\n", content.len(), path.display()))?;
    Ok(())
}
