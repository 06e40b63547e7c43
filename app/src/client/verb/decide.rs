//! `approve`, `approvals`, `revoke`, `reject`, `apply` and `cancel`: a person's word about a deployment.

use slipway_domain::approval::Decision;
use slipway_domain::deployment::Deployment;
use slipway_domain::id::{ApprovalId, DeploymentId};
use slipway_domain::recovery::{Resolution, ResolutionOutcome};

use super::{Desk, approval};
use crate::cli::{
    ApplyArgs, ApproveArgs, CancelArgs, ReconsiderArgs, RecoveryArgs, RejectArgs, RevokeArgs,
};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::prompt::{Answer, Prompt};
use crate::client::reference::DeploymentRef;
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
    if let Some(standing) = deployment.approvals.as_ref().filter(|s| !s.complete) {
        desk.screen.result(&deployment, |_| {
            format!("Your approval of {id} is on record.\n{}", view::missing(standing))
        })?;
        return Ok(Exit::Waiting);
    }
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

/// `slipway approvals`.
pub(super) async fn approvals(desk: &Desk<'_>, of: &DeploymentRef) -> Result<Exit, ClientError> {
    let id = desk.resolve(of).await?;
    let all = desk.client.approvals(id).await?;
    desk.screen.result(&all, |paint| view::approvals(&all, Desk::now(), paint))?;
    Ok(Exit::Success)
}

/// `slipway revoke`.
pub(super) async fn revoke(desk: &Desk<'_>, args: RevokeArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let approval = match args.approval {
        Some(approval) => approval,
        None => only_one(desk, id).await?,
    };
    let deployment = desk.client.revoke(id, approval, args.reason.as_deref()).await?;
    desk.screen.result(&deployment, |_| {
        let missing = deployment.approvals.as_ref().map(view::missing).unwrap_or_default();
        format!("The approval is taken back; the deployment is {}.\n{missing}", deployment.state)
    })?;
    Ok(Exit::Success)
}

/// The one approval of the current plan that can be taken back.
async fn only_one(desk: &Desk<'_>, id: DeploymentId) -> Result<ApprovalId, ClientError> {
    let current = desk.client.deployment(id).await?.plan.map(|plan| plan.id);
    let all = desk.client.approvals(id).await?;
    let counts = |d: &&Decision| current.is_some_and(|plan| d.is_yes_to(plan));
    let standing: Vec<_> = all.items.iter().filter(counts).collect();
    match standing.as_slice() {
        [one] => Ok(one.id),
        [] => Err(ClientError::Input(format!(
            "the current plan of {id} has no approval that could be taken back."
        ))),
        _ => Err(ClientError::Input(format!(
            "the plan of {id} has several approvals; name one (slipway approvals {id} lists them)."
        ))),
    }
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
