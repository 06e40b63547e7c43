//! Asking the client's person for a yes to one plan, in the way of the revision that the client
//! speaks. Nothing is kept here between the question and its answer.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rmcp::ErrorData;
use rmcp::model::{
    ClientCapabilities, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationSchema, InputRequest, InputRequests, InputRequiredResult, ProtocolVersion,
};
use rmcp::service::{RequestContext, RoleServer, ServiceError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slipway_domain::artifact::digest;
use slipway_domain::deployment::Deployment;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::DeploymentId;
use slipway_domain::plan::Plan;

use super::answer::{Refusal, line};
use super::tool::Call;
use super::tool::plan::destructive;

/// How long a person has for an answer while the call stays open (older revisions).
const PATIENCE: Duration = Duration::from_mins(5);
/// How long an answer is taken after the question (2026-07-28).
const VALID_MINUTES: i64 = 15;
/// What a sealed `requestState` is for.
const PURPOSE: &str = "consent";
/// The name of the question, and of the field that says yes.
const QUESTION: &str = "approve";

/// Whether a client with these capabilities can put a form before its person.
pub(super) fn can_ask(client: &ClientCapabilities) -> bool {
    // An empty capability means forms: the older revisions knew nothing else.
    client.elicitation.as_ref().is_some_and(|e| e.form.is_some() || e.url.is_none())
}

/// What came of it.
pub(super) enum Consent {
    /// The person said yes.
    Given,
    /// The client has to put the question to its person and call again.
    Ask(InputRequiredResult),
}

/// What a question was about. The answer must be about the same.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Question {
    caller: String,
    deployment_id: DeploymentId,
    plan_digest: String,
    arguments: String,
    expires_at: DateTime<Utc>,
}

/// Asks for a yes to `plan`, or takes the answer that came with this call.
pub(super) async fn ask(
    call: &Call<'_>,
    deployment: &Deployment,
    plan: &Plan,
) -> Result<Consent, Refusal> {
    let form = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message(deployment, plan),
        requested_schema: schema()?,
    };
    if is_stateless(call.context) {
        again(call, deployment, plan, form)
    } else {
        now(call, form).await
    }
}

fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Older revisions: the question goes out while the call is open.
async fn now(call: &Call<'_>, form: ElicitRequestParams) -> Result<Consent, Refusal> {
    let asked = call.context.peer.create_elicitation_with_timeout(form, Some(PATIENCE));
    let result = tokio::select! {
        result = asked => result,
        () = call.context.ct.cancelled() => return Err(unanswered("the call was cancelled").into()),
        () = call.shutdown.cancelled() => return Err(unanswered("Slipway is shutting down").into()),
    };
    match result {
        Ok(result) => decided(&result),
        Err(ServiceError::Timeout { .. }) => {
            Err(unanswered("nobody answered within 5 minutes").into())
        }
        Err(error) => {
            tracing::warn!(%error, "a client that can ask its person did not");
            Err(unanswered("the client did not put the question to its person").into())
        }
    }
}

/// 2026-07-28: the question is the answer to this call; the client calls again with the reply.
fn again(
    call: &Call<'_>,
    deployment: &Deployment,
    plan: &Plan,
    form: ElicitRequestParams,
) -> Result<Consent, Refusal> {
    let mut question = Question {
        caller: call.who.actor.id.clone(),
        deployment_id: deployment.id,
        plan_digest: plan.digest.clone(),
        arguments: digest(Value::Object(call.arguments.clone()).to_string().as_bytes()),
        expires_at: call.cx.now() + chrono::Duration::minutes(VALID_MINUTES),
    };
    if let Some(state) = &call.request_state {
        let asked: Question = call.seal.open(PURPOSE, state).ok_or_else(forged)?;
        let expires_at = asked.expires_at;
        question.expires_at = expires_at;
        if asked != question {
            return Err(forged());
        }
        let reply = call.input_responses.as_ref().and_then(|replies| replies.get(QUESTION));
        if let Some(reply) = reply.filter(|_| call.cx.now() <= expires_at) {
            let result: ElicitResult = serde_json::from_value(reply.clone()).map_err(|error| {
                Refusal::Protocol(ErrorData::invalid_params(
                    format!("inputResponses.{QUESTION} is not an elicitation result: {error}"),
                    None,
                ))
            })?;
            return decided(&result);
        }
        // Unanswered, or too late: the same question again.
        question.expires_at = call.cx.now() + chrono::Duration::minutes(VALID_MINUTES);
    }
    let state = call.seal.seal(PURPOSE, &question)?;
    let request = InputRequest::Elicitation(ElicitRequest::new(form));
    let requests = InputRequests::from([(QUESTION.to_owned(), request)]);
    Ok(Consent::Ask(InputRequiredResult::new(Some(requests), Some(state))))
}

fn forged() -> Refusal {
    Refusal::Protocol(ErrorData::invalid_params(
        "requestState is not one that was given out for this request",
        None,
    ))
}

fn decided(result: &ElicitResult) -> Result<Consent, Refusal> {
    let yes = result.content.as_ref().and_then(|content| content.get(QUESTION));
    if result.action == ElicitationAction::Accept && yes == Some(&Value::Bool(true)) {
        return Ok(Consent::Given);
    }
    let how = match result.action {
        ElicitationAction::Accept => "did not tick it",
        ElicitationAction::Decline => "declined",
        _ => "dismissed the question",
    };
    Err(Fault::new(
        Code::Forbidden,
        format!("The person was asked to approve this plan and {how}. Nothing was changed."),
    )
    .into())
}

fn unanswered(why: &str) -> Fault {
    Fault::new(
        Code::Forbidden,
        format!("The person had to be asked to approve this plan, but {why}. Nothing was changed."),
    )
}

fn schema() -> Result<ElicitationSchema, Fault> {
    let schema = json!({
        "type": "object",
        "properties": {QUESTION: {
            "type": "boolean",
            "title": "Approve this plan",
            "description": "The plan is applied as soon as a worker is free.",
            "default": false,
        }},
        "required": [QUESTION],
    });
    match schema {
        Value::Object(schema) => {
            ElicitationSchema::from_json_schema(schema).map_err(Fault::internal)
        }
        _ => Err(Fault::internal("a JSON object is an object")),
    }
}

/// The question, made of what Slipway knows: nothing in it comes from the model.
fn message(deployment: &Deployment, plan: &Plan) -> String {
    let mut text = format!(
        "Approve plan {} of {} ({})?\n{}.",
        plan.number,
        deployment.stack,
        deployment.operation.as_str(),
        plan.counts
    );
    let gone = destructive(plan);
    if !gone.is_empty() {
        let shown: Vec<_> = gone.iter().take(10).map(|address| line(address, 120)).collect();
        let _ = write!(text, "\nDeletes or replaces: {}", shown.join(", "));
        if gone.len() > shown.len() {
            let _ = write!(text, " and {} more", gone.len() - shown.len());
        }
        text.push('.');
    }
    let _ = write!(text, "\nDeployment {}\nPlan {}", deployment.id, plan.digest);
    text
}
