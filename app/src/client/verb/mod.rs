//! One function a subcommand: reads the arguments, calls the server, shows the answer.

mod audit;
mod auth;
mod decide;
mod deploy;
mod drift;
mod gate;
mod operate;
mod policy;
mod price;
mod project;
mod setting;
mod show;
mod state;
mod template;
mod test;

use serde::Serialize;
use slipway_domain::Code;
use slipway_domain::clock::{Clock as _, SystemClock};
use slipway_domain::id::{DeploymentId, StackId};

use super::error::{ClientError, Problem};
use super::exit::Exit;
use super::http::Client;
use super::prompt::Prompt;
use super::reference::{DeploymentRef, StackRef};
use super::screen::Screen;
use super::wait::{self, Approval, Terms};
use crate::cli::{ClientCommand, WaitCommandArgs};

pub use audit::read_checkpoints;

/// A list without pages, as `--json` prints it.
#[derive(Serialize)]
struct Items<'a, T> {
    items: &'a [T],
}

/// What every verb works with.
struct Desk<'a> {
    client: &'a Client,
    screen: &'a Screen,
}

/// Does what `command` says.
pub(super) async fn perform(
    client: &Client,
    screen: &Screen,
    command: ClientCommand,
) -> Result<Exit, ClientError> {
    let desk = Desk { client, screen };
    match command {
        ClientCommand::Deploy(args) => deploy::deploy(&desk, *args).await,
        ClientCommand::Destroy(args) => deploy::destroy(&desk, *args).await,
        ClientCommand::Wait(args) => wait_for(&desk, args).await,
        ClientCommand::Plan(args) => show::plan(&desk, &args.deployment).await,
        ClientCommand::Report(args) => show::report(&desk, args).await,
        ClientCommand::Reconsider(args) => decide::reconsider(&desk, args).await,
        ClientCommand::Approve(args) => decide::approve(&desk, args).await,
        ClientCommand::Approvals(args) => decide::approvals(&desk, &args.deployment).await,
        ClientCommand::Revoke(args) => decide::revoke(&desk, args).await,
        ClientCommand::Reject(args) => decide::reject(&desk, args).await,
        ClientCommand::Apply(args) => decide::apply(&desk, args).await,
        ClientCommand::Status(args) => show::status(&desk, &args.deployment).await,
        ClientCommand::Logs(args) => show::logs(&desk, args).await,
        ClientCommand::Events(args) => show::events(&desk, args).await,
        ClientCommand::Cancel(args) => decide::cancel(&desk, args).await,
        ClientCommand::Recovery(args) => decide::recovery(&desk, args).await,
        ClientCommand::Test(args) => test::test(&desk, args).await,
        ClientCommand::Outputs(args) => show::outputs(&desk, args).await,
        ClientCommand::Stacks(args) => show::stacks(&desk, args).await,
        ClientCommand::State(args) => state::state(&desk, args.verb).await,
        ClientCommand::Drift(args) => drift::drift(&desk, args).await,
        ClientCommand::Deployments(args) => show::deployments(&desk, args).await,
        ClientCommand::Templates(args) => template::templates(&desk, args).await,
        ClientCommand::Policies(args) => policy::policies(&desk, args.verb).await,
        ClientCommand::Exemptions(args) => policy::exemptions(&desk, args.verb).await,
        ClientCommand::Projects(args) => project::projects(&desk, args.verb).await,
        ClientCommand::Members(args) => project::members(&desk, args.verb).await,
        ClientCommand::Queues(args) => operate::queues(&desk, args).await,
        ClientCommand::Prices(args) => price::prices(&desk, args).await,
        ClientCommand::Gates(args) => gate::gates(&desk, args).await,
        ClientCommand::Settings(args) => setting::settings(&desk, args.verb).await,
        ClientCommand::Jobs(args) => operate::jobs(&desk, args).await,
        ClientCommand::Audit(args) => audit::audit(&desk, args).await,
        ClientCommand::Workers => operate::workers(&desk).await,
        ClientCommand::Login(args) => auth::login(&desk, args).await,
        ClientCommand::Logout => auth::logout(&desk).await,
        ClientCommand::Whoami => auth::whoami(&desk).await,
        ClientCommand::Register(args) => auth::register(&desk, args).await,
        ClientCommand::ApiKeys(args) => auth::api_keys(&desk, args.verb).await,
        ClientCommand::Sessions(args) => auth::sessions(&desk, args.verb).await,
        ClientCommand::Accounts(args) => auth::accounts(&desk, args.verb).await,
    }
}

async fn wait_for(desk: &Desk<'_>, args: WaitCommandArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    desk.stay(id, Terms::from_the_start(approval(args.auto_approve))).await
}

/// Who approves: nobody is asked with `--auto-approve`.
fn approval(auto: bool) -> Approval {
    if auto { Approval::Auto } else { Approval::Ask(Prompt::terminal()) }
}

/// A refusal of our own, as the server would have said it.
fn refused(status: u16, code: Code, detail: String) -> ClientError {
    ClientError::Refused(Box::new(Problem {
        status,
        code: code.as_str().to_owned(),
        title: code.title().to_owned(),
        detail,
        ..Problem::default()
    }))
}

impl Desk<'_> {
    /// The id of a stack.
    async fn stack_id(&self, stack: &StackRef) -> Result<StackId, ClientError> {
        match stack {
            StackRef::Id(id) => Ok(*id),
            StackRef::Key(key) => match self.client.stack_by_key(key).await? {
                Some(stack) => Ok(stack.id),
                None => Err(refused(404, Code::NotFound, format!("There is no stack {key}."))),
            },
        }
    }

    /// The id of a deployment.
    async fn resolve(&self, deployment: &DeploymentRef) -> Result<DeploymentId, ClientError> {
        match deployment {
            DeploymentRef::Id(id) => Ok(*id),
            DeploymentRef::LatestOf(stack) => {
                let id = self.stack_id(stack).await?;
                let latest = self.client.stack_deployments(id, 1).await?.items.into_iter().next();
                latest.map(|deployment| deployment.id).ok_or_else(|| {
                    let detail = format!("The stack {stack} has no deployments.");
                    refused(404, Code::NotFound, detail)
                })
            }
        }
    }

    /// Follows a deployment, and prints it at the end when results are JSON.
    async fn stay(&self, id: DeploymentId, terms: Terms) -> Result<Exit, ClientError> {
        let outcome = wait::follow(self.client, self.screen, id, terms).await?;
        if let Some(deployment) = &outcome.deployment {
            // For a person everything was told on the way.
            self.screen.result(deployment, |_| String::new())?;
        }
        Ok(outcome.exit)
    }

    /// The present moment, for ages in tables.
    fn now() -> chrono::DateTime<chrono::Utc> {
        SystemClock.now()
    }
}

#[cfg(test)]
mod tests;
