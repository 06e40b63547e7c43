//! Staying with a deployment: telling its events until it ends or stands still, and getting its
//! plan approved on the way.

use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::Code;
use slipway_domain::deployment::{Deployment, Operation, Waiting};
use slipway_domain::event::EventBody;
use slipway_domain::gate::GateVerdict;
use slipway_domain::id::DeploymentId;
use slipway_domain::plan::Plan;
use slipway_domain::state::DeploymentState;

use super::error::{ClientError, Problem};
use super::exit::Exit;
use super::http::Client;
use super::prompt::{Answer, Prompt};
use super::screen::Screen;
use super::view::{self, Ink, Progress};

/// When nothing was said for this long, what is being made is named.
const QUIET: Duration = Duration::from_secs(10);
/// Between two looks at an approved plan that nobody seems to have started.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// Who presses Ctrl-C does not wait longer than this for a last look.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Who approves the plan.
#[derive(Debug)]
pub enum Approval {
    /// The plan that was shown is approved without asking.
    Auto,
    /// This person is asked, if there is one.
    Ask(Prompt),
}

/// How it was when the waiting was over.
#[derive(Debug)]
pub struct Outcome {
    /// The deployment as it is then; `None` when Ctrl-C was pressed and the server was slow.
    pub deployment: Option<Deployment>,
    /// The exit code that says so.
    pub exit: Exit,
}

/// How to stay with a deployment.
#[derive(Debug)]
pub struct Terms {
    /// Who approves its plan.
    pub approval: Approval,
    /// Events up to this moment are not told; all are when absent.
    pub since: Option<DateTime<Utc>>,
    /// Whether the apply was asked for, so that an approved plan is not what it stops at.
    pub apply_started: bool,
}

impl Terms {
    /// From the first event on.
    pub fn from_the_start(approval: Approval) -> Self {
        Self { approval, since: None, apply_started: false }
    }
}

/// Follows a deployment until it ends or waits for somebody who is not here. Ctrl-C detaches and
/// leaves the deployment alone.
pub async fn follow(
    client: &Client,
    screen: &Screen,
    id: DeploymentId,
    terms: Terms,
) -> Result<Outcome, ClientError> {
    let progress = Progress::new(screen.paint());
    Wait { client, screen, id, terms, progress }.run().await
}

struct Wait<'a> {
    client: &'a Client,
    screen: &'a Screen,
    id: DeploymentId,
    terms: Terms,
    progress: Progress,
}

/// What to do after something happened.
enum Next {
    /// Go on following.
    Follow,
    /// Wait for the answer about the plan with this digest, and go on following.
    Ask(String),
    /// Nobody here can help it on.
    Stop(Box<Deployment>),
}

impl Wait<'_> {
    async fn run(mut self) -> Result<Outcome, ClientError> {
        let mut events = self.client.events(self.id, 0);
        let mut asking: Option<String> = None;
        let interrupted = async {
            if tokio::signal::ctrl_c().await.is_err() {
                // Signals cannot be heard here; then they do what they always do.
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(interrupted);
        loop {
            let answers = async {
                match &mut self.terms.approval {
                    Approval::Ask(prompt) => prompt.answer().await,
                    Approval::Auto => None,
                }
            };
            let next = tokio::select! {
                () = &mut interrupted => return self.detach().await,
                answer = answers, if asking.is_some() => {
                    let digest = asking.take().unwrap_or_default();
                    if answer.is_none() {
                        // The question stands at the end of an open line.
                        self.screen.tell("\n")?;
                    }
                    self.answered(&digest, Answer::of(answer.as_deref())).await?
                }
                event = events.next() => {
                    let Some(event) = event? else { break };
                    if let Some(next) = self.happened(&event, &mut asking).await? {
                        next
                    } else {
                        continue;
                    }
                }
                () = tokio::time::sleep(QUIET), if asking.is_none() => {
                    if let Some(text) = self.progress.still_running() {
                        self.screen.tell(&text)?;
                    }
                    continue;
                }
            };
            match next {
                Next::Follow => {}
                Next::Ask(digest) => asking = Some(digest),
                Next::Stop(deployment) => return self.finish(*deployment).await,
            }
        }
        let deployment = self.client.deployment(self.id).await?;
        self.finish(deployment).await
    }

    /// Tells an event; `None` when there is nothing to do about it.
    async fn happened(
        &mut self,
        event: &slipway_domain::event::Event,
        asking: &mut Option<String>,
    ) -> Result<Option<Next>, ClientError> {
        let text = self.progress.show(event);
        let told = !text.is_empty() && self.terms.since.is_none_or(|since| event.at > since);
        if told {
            let close = if asking.is_some() { "\n" } else { "" };
            self.screen.tell(&format!("{close}{text}"))?;
        }
        let EventBody::StateChanged { to, .. } = &event.body else { return Ok(None) };
        if asking.take().is_some() && *to != DeploymentState::AwaitingApproval {
            self.screen.tell("  It was decided elsewhere.\n")?;
        }
        self.standing(*to).await.map(Some)
    }

    /// Looks whether the deployment stands still in `state`, and what can be done about it.
    async fn standing(&mut self, state: DeploymentState) -> Result<Next, ClientError> {
        let may_stand = state == DeploymentState::Approved && !self.terms.apply_started;
        if !(state.waits_for_person() || may_stand) {
            return Ok(Next::Follow);
        }
        let deployment = self.client.deployment(self.id).await?;
        if deployment.state != state {
            // The event is of the past; what came after it is on its way to us.
            return Ok(Next::Follow);
        }
        match state {
            DeploymentState::AwaitingApproval => self.approval(deployment).await,
            DeploymentState::Approved => {
                if !waits_for_apply(&deployment) {
                    return Ok(Next::Follow);
                }
                // Somebody may have started it this very moment: look twice.
                tokio::time::sleep(SECOND_LOOK).await;
                let deployment = self.client.deployment(self.id).await?;
                Ok(if waits_for_apply(&deployment) {
                    Next::Stop(Box::new(deployment))
                } else {
                    Next::Follow
                })
            }
            _ => Ok(Next::Stop(Box::new(deployment))),
        }
    }

    async fn approval(&mut self, deployment: Deployment) -> Result<Next, ClientError> {
        let plan = match self.client.plan(self.id).await {
            Ok(plan) => plan,
            Err(error) if moved_on(&error) => return Ok(Next::Follow),
            Err(error) => return Err(error),
        };
        self.show(&plan)?;
        match &self.terms.approval {
            Approval::Auto => self.answered(&plan.digest, Answer::Approve).await,
            Approval::Ask(prompt) if prompt.can_ask() => {
                self.ask()?;
                Ok(Next::Ask(plan.digest))
            }
            Approval::Ask(_) => Ok(Next::Stop(Box::new(deployment))),
        }
    }

    fn show(&self, plan: &Plan) -> Result<(), ClientError> {
        let text = view::plan(plan, self.screen.paint());
        Ok(self.screen.tell(&format!("\n{text}\n"))?)
    }

    fn ask(&self) -> Result<(), ClientError> {
        let question = self.screen.paint().ink(Ink::Bold, "Apply this plan?");
        let choices = "[y]es, [r]eject, or Enter to leave it waiting:";
        Ok(self.screen.tell(&format!("{question} {choices} "))?)
    }

    async fn answered(&mut self, digest: &str, answer: Answer) -> Result<Next, ClientError> {
        let result = match answer {
            Answer::Approve => self.client.approve(self.id, digest, None).await,
            Answer::Reject => self.client.reject(self.id, digest, None).await,
            Answer::Leave => {
                let deployment = self.client.deployment(self.id).await?;
                return Ok(Next::Stop(Box::new(deployment)));
            }
        };
        match result {
            Ok(_) => Ok(Next::Follow),
            Err(error) if moved_on(&error) => {
                let problem = error.problem().map(Problem::to_string).unwrap_or_default();
                self.screen.tell(&format!("  {}\n", view::plain_lines(&problem)))?;
                Ok(Next::Follow)
            }
            Err(error) => Err(error),
        }
    }

    async fn finish(&self, deployment: Deployment) -> Result<Outcome, ClientError> {
        let planned_only = deployment.options.plan_only;
        let ended_well = deployment.state == DeploymentState::Succeeded;
        let applied = ended_well && !planned_only;
        if applied && deployment.operation == Operation::Deploy {
            // They are an extra here; `slipway outputs` says what is wrong with them.
            if let Ok(outputs) = self.client.outputs(self.id, false).await
                && !outputs.is_empty()
            {
                self.screen.tell(&format!("\n{}\n", view::outputs(&outputs)))?;
            }
        }
        self.screen.tell(&view::ended(&deployment, self.screen.paint()))?;
        let exit = if ended_well && planned_only && self.is_denied().await? {
            // As a deployment that would be applied stands still then.
            Exit::of_state(DeploymentState::Blocked)
        } else {
            Exit::of_state(deployment.state)
        };
        Ok(Outcome { deployment: Some(deployment), exit })
    }

    /// Whether the gates deny the plan.
    async fn is_denied(&self) -> Result<bool, ClientError> {
        Ok(self.client.report(self.id).await?.verdict == GateVerdict::Deny)
    }

    async fn detach(&self) -> Result<Outcome, ClientError> {
        self.screen.note(&format!(
            "\nDetached. The deployment goes on; come back with: slipway wait {id}\nTo stop it: \
             slipway cancel {id}\n",
            id = self.id
        ))?;
        let look = tokio::time::timeout(LAST_LOOK, self.client.deployment(self.id)).await;
        let deployment = look.ok().and_then(Result::ok);
        Ok(Outcome { deployment, exit: Exit::Detached })
    }
}

/// Whether an approved plan stands there until somebody starts its apply.
fn waits_for_apply(deployment: &Deployment) -> bool {
    deployment.state == DeploymentState::Approved
        && matches!(deployment.waiting, Some(Waiting::Apply { .. }))
}

/// Whether the server's refusal only says that things moved on: what follows is told by events.
fn moved_on(error: &ClientError) -> bool {
    let codes =
        [Code::PlanStale, Code::PlanDigestMismatch, Code::IllegalTransition, Code::NotReady];
    error.problem().is_some_and(|problem| codes.iter().any(|code| problem.is(*code)))
}

#[cfg(test)]
mod tests;
