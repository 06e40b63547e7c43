//! Waiting for a deployment, with its events as progress.

use std::pin::pin;
use std::time::Duration;

use futures::FutureExt as _;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::Scope;
use slipway_domain::event::{Event, EventBody, ResourceStatus};
use slipway_domain::fault::Fault;
use slipway_domain::id::DeploymentId;
use slipway_services::{deployment, event as verb};
use tokio_util::sync::CancellationToken;

use super::deployment::{View, waits_for_person};
use super::{Call, Entry, WAIT, entry, reads};
use crate::mcp::answer::{Outcome, answer, line};

/// How long to wait when nobody says, and at most, in seconds.
const TIMEOUT_S: u64 = 60;
const MAX_TIMEOUT_S: u64 = 300;
/// Events read in one go.
const BATCH: u32 = 1000;
/// How long a client may take for the progress that is told last.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WaitArguments {
    /// The deployment's id.
    deployment_id: DeploymentId,
    /// How long to wait at most, in seconds, 0 to 300; 60 when absent.
    #[serde(default)]
    #[schemars(range(min = 0, max = 300))]
    timeout_s: Option<u64>,
}

/// Why the wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Reached {
    /// The deployment has ended.
    Ended,
    /// It stands still until a person does something.
    Person,
    /// Neither yet: call again.
    Timeout,
}

#[derive(Serialize, JsonSchema)]
struct Waited {
    reached: Reached,
    #[serde(flatten)]
    view: View,
}

pub(super) fn wait() -> Entry {
    entry::<WaitArguments, Waited>(
        WAIT,
        "Wait for a deployment",
        "Waits until a deployment has ended or needs a person (approval, say), with progress \
         notifications; call it after submit_deployment and after approve_deployment instead of \
         asking again and again.",
        reads(),
        Scope::DeploymentsRead,
        |call| wait_for_deployment(call).boxed(),
    )
}

/// Tells the client what happens, as long as it listens. The number of an event is its progress,
/// so it grows from call to call as well.
struct Progress<'a> {
    call: &'a Call<'a>,
    token: ProgressToken,
    last: i64,
}

impl Progress<'_> {
    async fn tell(&self, at: i64, message: String) {
        // Event numbers are far below 2^52.
        #[expect(clippy::cast_precision_loss, reason = "an event number is small")]
        let progress =
            ProgressNotificationParam::new(self.token.clone(), at as f64).with_message(message);
        if let Err(error) = self.call.context.peer.notify_progress(progress).await {
            tracing::debug!(%error, "progress was not delivered");
        }
    }

    async fn event(&mut self, event: &Event) {
        self.last = event.seq;
        if let Some(message) = said(&event.body) {
            self.tell(event.seq, message).await;
        }
    }
}

async fn wait_for_deployment(call: Call<'_>) -> Outcome {
    let given: WaitArguments = call.arguments()?;
    let timeout_s = given.timeout_s.unwrap_or(TIMEOUT_S);
    if timeout_s > MAX_TIMEOUT_S {
        let why = format!("timeout_s must be from 0 to {MAX_TIMEOUT_S}");
        return Err(Fault::field("/timeout_s", why).into());
    }
    let id = given.deployment_id;
    // One more open answer; there is a most.
    let _permit = call.state.open_stream()?;
    let done =
        |d: &slipway_domain::deployment::Deployment| d.state.is_terminal() || waits_for_person(d);
    let progress = match call.context.meta.get_progress_token() {
        Some(token) => {
            let last = last_event(&call, id).await?;
            Some(Progress { call: &call, token, last })
        }
        None => None,
    };
    let over = CancellationToken::new();
    let mut telling = pin!(tell(&call, id, progress, &over).fuse());
    // Both go on all the time: one that is left alone may hold what the other waits for, and a
    // client that takes no progress must not keep the wait from its end.
    let waited = tokio::select! {
        biased;
        waited = verb::wait(call.cx, call.who, id, Duration::from_secs(timeout_s), done) => {
            Some(waited?)
        }
        told = &mut telling => {
            told?;
            None
        }
        () = call.shutdown.cancelled() => None,
        // Nobody reads the answer, but the call has to end.
        () = call.context.ct.cancelled() => None,
    };
    over.cancel();
    if let Ok(told) = tokio::time::timeout(LAST_WORDS, telling).await {
        told?;
    }
    let (deployment, reached) = match waited {
        Some(waited) => waited,
        None => (deployment::get(call.cx, call.who, id).await?, false),
    };
    let view = View::of(&deployment);
    let reached = match (deployment.state.is_terminal(), reached) {
        (true, _) => Reached::Ended,
        (false, true) => Reached::Person,
        (false, false) => Reached::Timeout,
    };
    let mut text = view.text(&call);
    if reached == Reached::Timeout {
        text = format!("Still going on after {timeout_s} s. {text}");
    }
    answer(&Waited { reached, view }, text)
}

/// Tells what happens until it is `over`, and then what happened last. Without `progress` there is
/// nobody to tell.
async fn tell(
    call: &Call<'_>,
    id: DeploymentId,
    progress: Option<Progress<'_>>,
    over: &CancellationToken,
) -> Result<(), Fault> {
    let Some(mut progress) = progress else {
        over.cancelled().await;
        return Ok(());
    };
    let now = deployment::get(call.cx, call.who, id).await?;
    progress.tell(progress.last, format!("{}: {}", now.stack, now.state)).await;
    let mut follow = verb::follow(call.cx, call.who, id, progress.last, false).await?;
    loop {
        let event = tokio::select! {
            biased;
            () = over.cancelled() => break,
            event = follow.next() => event?,
        };
        let Some(event) = event else {
            over.cancelled().await;
            break;
        };
        progress.event(&event).await;
    }
    drop(follow);
    for event in verb::page(call.cx, call.who, id, progress.last, BATCH).await? {
        progress.event(&event).await;
    }
    Ok(())
}

/// The number of the newest event.
async fn last_event(call: &Call<'_>, id: DeploymentId) -> Result<i64, Fault> {
    let mut last = 0;
    loop {
        let events = verb::page(call.cx, call.who, id, last, BATCH).await?;
        let Some(event) = events.last() else { return Ok(last) };
        last = event.seq;
        if events.len() < BATCH as usize {
            return Ok(last);
        }
    }
}

/// An event in one line; `None` for what is told by another.
fn said(event: &EventBody) -> Option<String> {
    let text = match event {
        EventBody::Submitted { stack, .. } => format!("submitted for {stack}"),
        EventBody::StateChanged { to, reason: None, .. } => to.to_string(),
        EventBody::StateChanged { to, reason: Some(reason), .. } => format!("{to}: {reason}"),
        EventBody::Step { step, detail: None } => step.clone(),
        EventBody::Step { step, detail: Some(detail) } => format!("{step}: {detail}"),
        EventBody::PlanReady { plan } => format!("plan {}: {}", plan.number, plan.counts),
        EventBody::Gate { result } => {
            format!("gate: {}", result.detail)
        }
        EventBody::Approval { decision, by, standing, .. } => {
            let missing = standing.as_ref().filter(|standing| !standing.complete);
            let missing = missing.map(|s| format!("; still missing: {}", s.missing.join(", and ")));
            format!("{} by {}{}", decision.as_str(), by.id, missing.unwrap_or_default())
        }
        EventBody::Resource { address, action, status, elapsed_s, .. } => {
            let how = match status {
                ResourceStatus::Started => "started",
                ResourceStatus::Completed => "done",
                ResourceStatus::Errored => "failed",
            };
            let took = elapsed_s.map(|s| format!(" after {s} s")).unwrap_or_default();
            format!("{} {address} {how}{took}", action.sign())
        }
        EventBody::Diagnostic { diagnostic } => diagnostic.summary.clone(),
        EventBody::CancelRequested { by, .. } => format!("{} asked to stop it", by.id),
        EventBody::CancelProgress { cancel } => format!("stopping, {}", cancel.to_text()),
        EventBody::JobRetried { attempt, error, .. } => {
            format!("attempt {attempt} failed and is repeated: {error}")
        }
        EventBody::Recovery { summary, .. } => summary.clone(),
        EventBody::Tests { status, summary, .. } => {
            format!("tests {}: {summary}", status.as_str())
        }
        EventBody::Drift { turn, summary, .. } => format!("drift {}: {summary}", turn.as_str()),
        EventBody::PlanStale { stale } => stale.to_string(),
        EventBody::Outputs { .. } => return None,
    };
    Some(line(&text, 200))
}
