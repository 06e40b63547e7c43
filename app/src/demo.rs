//! `slipway demo`: the main job on the sample stack, through the same doors as everybody's.

use std::io::Write as _;

use anyhow::Context as _;
use include_dir::{Dir, include_dir};
use slipway_app::client::http::Client;
use slipway_app::client::view::{self, Paint, Progress};
use slipway_config::Config;
use slipway_domain::deployment::{Deployment, Operation, Options, Variables};
use slipway_domain::event::EventBody;
use slipway_domain::id::DeploymentId;
use slipway_domain::source::Source;
use slipway_domain::stack::StackKey;
use slipway_domain::state::DeploymentState;
use slipway_domain::tree::Tree;
use slipway_services::deployment::Submit;

use crate::lifecycle::{self, Roles};

static SAMPLE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../examples/stacks/demo");

/// Starts everything, deploys the sample, and goes on serving unless `exit`.
pub(crate) async fn run(config: &Config, exit: bool) -> anyhow::Result<()> {
    let mut running = lifecycle::start(config, Roles { api: true, worker: true }).await?;
    let address = running.address.context("the API has no address")?;
    let url = format!("http://{address}");
    say(&format!(
        "Slipway {} is up on {url}, with its data in {}.",
        env!("CARGO_PKG_VERSION"),
        config.data_dir.display()
    ))?;
    let shown = match running.beside(sample(&url)).await {
        Ok(shown) => shown,
        Err(why) => {
            // In order: a tool that is at work is waited for, and what it does is recorded.
            say("\nEnding; running jobs may finish. Once more stops them now.")?;
            running.end(why).await?;
            anyhow::bail!("it was ended before the sample was done");
        }
    };
    if exit || shown.is_err() {
        let stopped = running.stop().await;
        return shown.and(stopped);
    }
    say("\nIt goes on serving; Ctrl-C ends it.")?;
    running.until_signal().await
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

async fn sample(url: &str) -> anyhow::Result<()> {
    let client = Client::new(url)?;
    let mut tree = Tree::new();
    add(&SAMPLE, &mut tree)?;
    let archive = client.upload_archive(tree.to_tar_gz()?, None).await?;
    let request = Submit {
        stack: StackKey {
            project: "demo".to_owned(),
            name: "sample".to_owned(),
            environment: "dev".to_owned(),
        },
        source: Some(Source::Archive { artifact_id: archive.id, path: None }),
        variables: Variables::new(),
        operation: Operation::Deploy,
        options: Options::default(),
    };
    let accepted = client.submit(&request, None).await?;
    let ended = follow(&client, accepted.id).await?;
    let outputs = client.outputs(ended.id, false).await?;
    say(&format!("\n{}", view::outputs(&outputs)))?;
    say(&format!(
        "The deployment: {url}/api/v1/deployments/{id}\n\nTry next:\n  \
         slipway plan {id}             the plan that was approved\n  \
         slipway logs {id}             what Terraform printed\n  \
         slipway deploy DIR --wait                             your own configuration\n  \
         slipway destroy demo/sample/dev --wait                everything away again\n  \
         {url}/docs                            the API\n  \
         {url}/mcp                             the same for an AI agent",
        id = ended.id
    ))
}

/// Shows every event, approves the plan when it is there, and returns the ended deployment.
async fn follow(client: &Client, id: DeploymentId) -> anyhow::Result<Deployment> {
    let mut progress = Progress::new(Paint::PLAIN);
    let mut events = client.events(id, 0);
    while let Some(event) = events.next().await? {
        let text = progress.show(&event);
        if !text.is_empty() {
            say(text.trim_end())?;
        }
        if let EventBody::StateChanged { to: DeploymentState::AwaitingApproval, .. } = event.body {
            let plan = client.plan(id).await?;
            say(&format!("\n{}", view::plan(&plan, Paint::PLAIN)))?;
            say("The sample approves itself; your own stacks wait for you here.")?;
            client.approve(id, &plan.digest, Some("the sample approves itself")).await?;
        }
    }
    let ended = client.deployment(id).await?;
    match ended.state {
        DeploymentState::Succeeded | DeploymentState::NoChanges => Ok(ended),
        other => {
            let why = ended.reason.as_deref().unwrap_or("no reason was given");
            anyhow::bail!("the sample ended as {other}: {why}")
        }
    }
}

fn add(dir: &Dir<'_>, tree: &mut Tree) -> anyhow::Result<()> {
    for file in dir.files() {
        tree.add_file(&file.path().to_string_lossy(), file.contents().to_vec(), false)?;
    }
    for dir in dir.dirs() {
        add(dir, tree)?;
    }
    Ok(())
}
