//! `slipway drift`: what was changed outside, and putting it right.

use std::time::Duration;

use slipway_domain::drift::{DriftSettings, StackDrift};
use slipway_domain::id::StackId;

use super::show::more;
use super::{Desk, approval};
use crate::cli::{DriftArgs, DriftSettingsArgs, DriftVerb, WaitArgs};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::http::{DriftQuery, mint_idempotency_key};
use crate::client::view;
use crate::client::wait::Terms;

/// How often it is asked whether a check has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// `slipway drift`.
pub(super) async fn drift(desk: &Desk<'_>, args: DriftArgs) -> Result<Exit, ClientError> {
    match args.verb {
        DriftVerb::List { status, project, env, limit } => {
            let query = DriftQuery { status, project, environment: env };
            let page = desk.client.drifts(&query, limit).await?;
            desk.screen.result(&page, |_| {
                view::drifts(&page.items, Desk::now()) + more(page.next_cursor.is_some())
            })?;
        }
        DriftVerb::Show { of } => {
            let known = desk.client.drift(desk.stack_id(&of.stack).await?).await?;
            show(desk, &known)?;
        }
        DriftVerb::Check { of, wait } => {
            let id = desk.stack_id(&of.stack).await?;
            let mut known = desk.client.check_drift(id).await?;
            if wait {
                known = ended(desk, id, known).await?;
            }
            show(desk, &known)?;
        }
        DriftVerb::Reconcile { of, wait, idempotency_key } => {
            let id = desk.stack_id(&of.stack).await?;
            return reconcile(desk, id, wait, idempotency_key).await;
        }
        DriftVerb::Settings(args) => settings(desk, args).await?,
    }
    Ok(Exit::Success)
}

fn show(desk: &Desk<'_>, known: &StackDrift) -> Result<(), ClientError> {
    Ok(desk.screen.result(known, |paint| view::drift(known, Desk::now(), paint))?)
}

/// Waits until no check is queued or runs. Checks have limits, so this ends.
async fn ended(
    desk: &Desk<'_>,
    id: StackId,
    mut known: StackDrift,
) -> Result<StackDrift, ClientError> {
    while known.job_id.is_some() {
        tokio::time::sleep(LOOK_AGAIN).await;
        known = desk.client.drift(id).await?;
    }
    Ok(known)
}

async fn reconcile(
    desk: &Desk<'_>,
    id: StackId,
    wait: WaitArgs,
    key: Option<String>,
) -> Result<Exit, ClientError> {
    let key = key.unwrap_or_else(mint_idempotency_key);
    let deployment = desk.client.reconcile_drift(id, &key).await?;
    if wait.wait || wait.auto_approve {
        desk.screen.tell(&format!("deployment {}\n", deployment.id))?;
        return desk.stay(deployment.id, Terms::from_the_start(approval(wait.auto_approve))).await;
    }
    desk.screen.result(&deployment, |_| view::accepted(&deployment))?;
    Ok(Exit::Success)
}

async fn settings(desk: &Desk<'_>, args: DriftSettingsArgs) -> Result<(), ClientError> {
    let id = desk.stack_id(&args.of.stack).await?;
    let before = desk.client.drift_settings(id).await?;
    let mut wanted = before.settings.clone();
    if args.reset {
        wanted = DriftSettings::default();
    }
    if args.enable || args.disable {
        wanted.enabled = Some(args.enable);
    }
    wanted.interval_s = args.every.or(wanted.interval_s);
    let says = args.reset || args.enable || args.disable || args.every.is_some();
    let kept = if says {
        // What is not named stays as it was read, so it must still be that.
        desk.client.set_drift(id, &wanted, args.if_version.unwrap_or(before.version)).await?
    } else {
        before
    };
    Ok(desk.screen.result(&kept, |_| view::drift_settings(&kept))?)
}
