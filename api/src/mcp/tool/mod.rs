//! The tools: their names, schemas, annotations and scopes, and the verbs that they call. One file
//! a feature, named like the file of the verbs.

pub(super) mod deployment;
mod drift;
pub(super) mod follow;
pub(super) mod log;
pub(super) mod output;
pub(super) mod plan;
mod recovery;
mod report;
pub(super) mod schema;
mod setting;
pub(super) mod stack;
pub(super) mod template;

use futures::future::BoxFuture;
use rmcp::model::{InputResponses, JsonObject, Tool, ToolAnnotations};
use rmcp::service::{RequestContext, RoleServer};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipway_domain::access::{Principal, Scope};
use slipway_domain::fault::Fault;
use slipway_services::Ctx;
use tokio_util::sync::CancellationToken;

use super::answer::Outcome;
use super::seal::Seal;
use crate::ApiState;
use crate::extract::from_part;

/// The tool that may stay silent for minutes.
pub(super) const WAIT: &str = "wait_for_deployment";

/// One call of a tool.
pub(super) struct Call<'a> {
    /// The door's state.
    pub state: &'a ApiState,
    /// The house.
    pub cx: &'a Ctx,
    /// Who calls.
    pub who: &'a Principal,
    /// What was given.
    pub arguments: JsonObject,
    /// The request: its id, metadata, cancel token and peer.
    pub context: &'a RequestContext<RoleServer>,
    /// Replies to the questions of an earlier round (2026-07-28).
    pub input_responses: Option<InputResponses>,
    /// What was handed out in an earlier round (2026-07-28).
    pub request_state: Option<String>,
    /// Seals what clients keep for this door.
    pub seal: &'a Seal,
    /// Cancelled when the process is to end.
    pub shutdown: &'a CancellationToken,
}

impl Call<'_> {
    /// The arguments as their type; what does not fit is named with its place.
    fn arguments<T: DeserializeOwned + Serialize>(&self) -> Result<T, Fault> {
        from_part(&Value::Object(self.arguments.clone()))
    }
}

/// How a tool is run.
type Run = for<'a> fn(Call<'a>) -> BoxFuture<'a, Outcome>;

/// One tool.
#[derive(Clone)]
pub(super) struct Entry {
    /// What clients see.
    pub tool: Tool,
    /// What the caller must hold.
    pub scope: Scope,
    /// How it is run.
    pub run: Run,
}

/// Makes an entry with arguments of type `A` and answers of type `O`.
fn entry<A: JsonSchema + 'static, O: JsonSchema + 'static>(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    annotations: ToolAnnotations,
    scope: Scope,
    run: Run,
) -> Entry {
    let tool = Tool::new(name, description, schema::input::<A>())
        .with_title(title)
        .with_raw_output_schema(schema::output::<O>())
        .with_annotations(annotations);
    Entry { tool, scope, run }
}

/// Changes nothing, and looks only at what Slipway itself keeps.
fn reads() -> ToolAnnotations {
    ToolAnnotations::new().read_only(true).destructive(false).idempotent(true).open_world(false)
}

/// Every tool, in the order of the journey.
pub(super) fn all() -> Vec<Entry> {
    vec![
        template::list(),
        deployment::submit(),
        follow::wait(),
        deployment::get(),
        plan::get(),
        deployment::approve(),
        deployment::reject(),
        deployment::apply(),
        deployment::cancel(),
        output::get(),
        recovery::get(),
        report::get(),
        log::read(),
        deployment::list(),
        stack::list(),
        setting::list(),
        setting::resolve(),
        drift::get(),
        drift::reconcile(),
    ]
}
