//! `approve`, `reject`, `apply` and `cancel`: a person's word about a deployment.

use slipway_domain::deployment::Deployment;
use slipway_domain::id::DeploymentId;
use slipway_domain::recovery::{Resolution, ResolutionOutcome};

use super::{Desk, approval};
use crate::cli::{ApplyArgs, ApproveArgs, CancelArgs, ReconsiderArgs, RecoveryArgs, RejectArgs};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::prompt::{Answer, Prompt};
use crate::client::view;
use crate::client::wait::Terms;

/// `slipway approve`.
pub(super) async fn approve(desk: &Desk<'_>, args: ApproveArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let digest = match args.digest {
        Some(digest) => digest,
        None => match reviewed(desk, id, args.yes, Prompt::terminal()).await? {
            Some(digest) => digest,
            None => return Ok(Exit::Waiting),
        },
    };
    let deployment = desk.client.approve(id, &digest, args.comment.as_deref()).await?;
    if args.wait {
        let terms = Terms {
            approval: approval(false),
            since: Some(deployment.updated_at),
            apply_started: false,
        };
        return desk.stay(id, terms).await;
    }
    let next = if deployment.options.auto_apply {
        format!("Its apply follows; watch it with: slipway wait {id}\n")
    } else {
        format!("Start its apply with: slipway apply {id}\n")
    };
    desk.screen.result(&deployment, |_| format!("The plan of {id} is approved. {next}"))?;
    Ok(Exit::Success)
}

/// Shows the current plan and gives its digest when the person says yes to it.
async fn reviewed(
    desk: &Desk<'_>,
    id: DeploymentId,
    yes: bool,
    mut prompt: Prompt,
) -> Result<Option<String>, ClientError> {
    if !yes && !prompt.can_ask() {
        return Err(ClientError::Input(format!(
            "there is no terminal to ask at. Name the plan that was reviewed with --digest (slipway \
             plan {id} shows it), or approve whatever the current plan is with --yes."
        )));
    }
    let plan = desk.client.plan(id).await?;
    desk.screen.tell(&view::plan(&plan, desk.screen.paint()))?;
    if yes {
        return Ok(Some(plan.digest));
    }
    desk.screen.tell("\nApprove this plan? [y/N] ")?;
    let answer = prompt.answer().await;
    if Answer::of(answer.as_deref()) == Answer::Approve {
        return Ok(Some(plan.digest));
    }
    desk.screen.tell("Not approved; the plan goes on waiting.\n")?;
    Ok(None)
}

/// `slipway reject`.
pub(super) async fn reject(desk: &Desk<'_>, args: RejectArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let digest = match args.digest {
        Some(digest) => digest,
        None => desk.client.plan(id).await?.digest,
    };
    let deployment = desk.client.reject(id, &digest, args.comment.as_deref()).await?;
    desk.screen.result(&deployment, |_| {
        format!("The plan of {id} is rejected; the deployment is {}.\n", deployment.state)
    })?;
    Ok(Exit::Success)
}

/// `slipway apply`.
pub(super) async fn apply(desk: &Desk<'_>, args: ApplyArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let deployment = desk.client.apply(id).await?;
    if args.wait {
        let terms = Terms {
            approval: approval(false),
            since: Some(deployment.updated_at),
            apply_started: true,
        };
        return desk.stay(id, terms).await;
    }
    desk.screen.result(&deployment, |_| {
        format!("The apply of {id} is queued; watch it with: slipway wait {id}\n")
    })?;
    Ok(Exit::Success)
}

/// `slipway cancel`.
pub(super) async fn cancel(desk: &Desk<'_>, args: CancelArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let reason = args.reason.as_deref();
    let deployment = if args.force {
        desk.client.kill(id, reason).await?
    } else {
        desk.client.cancel(id, reason).await?
    };
    desk.screen.result(&deployment, |_| cancelled(&deployment))?;
    Ok(Exit::Success)
}

/// `slipway reconsider`.
pub(super) async fn reconsider(desk: &Desk<'_>, args: ReconsiderArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let deployment = desk.client.reconsider(id, args.reason.as_deref()).await?;
    if args.wait {
        let terms = Terms {
            approval: approval(false),
            since: Some(deployment.updated_at),
            apply_started: false,
        };
        return desk.stay(id, terms).await;
    }
    desk.screen.result(&deployment, |_| {
        format!("{id} is planned and judged anew; watch it with: slipway wait {id}\n")
    })?;
    Ok(Exit::Success)
}

/// `slipway recovery`.
pub(super) async fn recovery(desk: &Desk<'_>, args: RecoveryArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let absent = args.absent.into_iter().map(|address| Resolution {
        address,
        outcome: ResolutionOutcome::Absent,
        id: None,
    });
    let exists = args.exists.into_iter().map(|there| Resolution {
        address: there.address,
        outcome: ResolutionOutcome::Exists,
        id: there.id,
    });
    let resolutions: Vec<_> = absent.chain(exists).collect();
    if resolutions.is_empty() && !args.again {
        let all = desk.client.recovery(id).await?;
        desk.screen.result(&all, |paint| view::recovery(id, &all, paint))?;
        return Ok(Exit::Success);
    }
    let deployment = desk.client.resolve(id, &resolutions).await?;
    if args.wait {
        let terms = Terms {
            approval: approval(false),
            since: Some(deployment.updated_at),
            apply_started: true,
        };
        return desk.stay(id, terms).await;
    }
    desk.screen.result(&deployment, |_| {
        format!("It is looked at again; watch it with: slipway wait {id}\n")
    })?;
    Ok(Exit::Success)
}

fn cancelled(d: &Deployment) -> String {
    if d.state.is_terminal() {
        format!("Deployment {} is {}.\n", d.id, d.state)
    } else {
        format!(
            "Deployment {id} is asked to stop; it is still {}{}. Watch it with: slipway wait {id}\n",
            d.state,
            d.cancel
                .as_ref()
                .map(|c| format!(", {}", view::plain(&c.to_text())))
                .unwrap_or_default(),
            id = d.id
        )
    }
}
