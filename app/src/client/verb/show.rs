//! The subcommands that only look.

use slipway_services::log::{MAX_LINES, Part};

use super::{Desk, Items};
use crate::cli::{DeploymentsArgs, EventsArgs, LogsArgs, OutputsArgs, ReportArgs, StacksArgs};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::http::{DeploymentQuery, StackQuery};
use crate::client::reference::DeploymentRef;
use crate::client::view::{self, Progress};

/// `slipway plan`.
pub(super) async fn plan(desk: &Desk<'_>, of: &DeploymentRef) -> Result<Exit, ClientError> {
    let id = desk.resolve(of).await?;
    let plan = desk.client.plan(id).await?;
    desk.screen.result(&plan, |paint| view::plan(&plan, paint))?;
    Ok(Exit::Success)
}

/// `slipway report`.
pub(super) async fn report(desk: &Desk<'_>, args: ReportArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.deployment).await?;
    let report = desk.client.report(id).await?;
    if let Some(file) = &args.html {
        let wrong = |why: String| ClientError::Input(format!("{}: {why}", file.display()));
        let page = report.to_html().map_err(|fault| wrong(fault.causes()))?;
        std::fs::write(file, page).map_err(|error| wrong(error.to_string()))?;
    }
    if args.sarif {
        let log = report.to_sarif();
        desk.screen.result(&log, |_| format!("{log:#}\n"))?;
        return Ok(Exit::Success);
    }
    desk.screen.result(&report, |_| view::plain_lines(&report.to_page()).into_owned())?;
    Ok(Exit::Success)
}

/// `slipway status`.
pub(super) async fn status(desk: &Desk<'_>, of: &DeploymentRef) -> Result<Exit, ClientError> {
    let id = desk.resolve(of).await?;
    let deployment = desk.client.deployment(id).await?;
    desk.screen.result(&deployment, |paint| view::deployment(&deployment, Desk::now(), paint))?;
    Ok(Exit::Success)
}

/// `slipway logs`.
pub(super) async fn logs(desk: &Desk<'_>, args: LogsArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let mut after = 0;
    if args.tail.is_some() || !args.follow {
        let mut part = args.tail.map_or(Part::After(0), Part::Tail);
        loop {
            let page = desk.client.log_page(id, part, MAX_LINES).await?;
            for line in &page.items {
                desk.screen.line(line, |_| view::log_line(line) + "\n")?;
            }
            after = page.next_after;
            if page.complete {
                return Ok(Exit::Success);
            }
            if page.items.len() < MAX_LINES as usize {
                break;
            }
            part = Part::After(after);
        }
    }
    if args.follow {
        let mut lines = desk.client.log_lines(id, after);
        while let Some(line) = lines.next().await? {
            desk.screen.line(&line, |_| view::log_line(&line) + "\n")?;
        }
    }
    Ok(Exit::Success)
}

/// `slipway events`.
pub(super) async fn events(desk: &Desk<'_>, args: EventsArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let mut progress = Progress::new(desk.screen.paint());
    if args.follow {
        let mut events =
            if args.stay { desk.client.events_and_after(id, 0) } else { desk.client.events(id, 0) };
        while let Some(event) = events.next().await? {
            desk.screen.line(&event, |_| progress.show(&event))?;
        }
        return Ok(Exit::Success);
    }
    let all = desk.client.event_page(id, 0, u32::MAX).await?;
    desk.screen.result(&Items { items: &all }, |_| {
        all.iter().map(|event| progress.show(event)).collect()
    })?;
    Ok(Exit::Success)
}

/// `slipway outputs`.
pub(super) async fn outputs(desk: &Desk<'_>, args: OutputsArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let outputs = desk.client.outputs(id, args.reveal).await?;
    desk.screen.result(&Items { items: &outputs }, |_| view::outputs(&outputs))?;
    Ok(Exit::Success)
}

/// `slipway stacks`.
pub(super) async fn stacks(desk: &Desk<'_>, args: StacksArgs) -> Result<Exit, ClientError> {
    let query = StackQuery { project: args.project, name: args.name, environment: args.env };
    let page = desk.client.stacks(&query, args.limit).await?;
    desk.screen.result(&page, |_| {
        view::stacks(&page.items, Desk::now()) + more(page.next_cursor.is_some())
    })?;
    Ok(Exit::Success)
}

/// `slipway deployments`.
pub(super) async fn deployments(
    desk: &Desk<'_>,
    args: DeploymentsArgs,
) -> Result<Exit, ClientError> {
    let stack = match &args.stack {
        Some(stack) => Some(desk.stack_id(stack).await?),
        None => None,
    };
    let query =
        DeploymentQuery { stack, project: args.project, environment: args.env, state: args.state };
    let page = desk.client.deployments(&query, args.limit).await?;
    desk.screen.result(&page, |_| {
        view::deployments(&page.items, Desk::now()) + more(page.next_cursor.is_some())
    })?;
    Ok(Exit::Success)
}

pub(super) fn more(there_is: bool) -> &'static str {
    if there_is { "There are more; --limit shows them.\n" } else { "" }
}
