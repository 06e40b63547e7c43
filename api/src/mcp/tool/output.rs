//! Outputs of a deployment. Sensitive ones are always masked here: what a model has read is no
//! secret any more.

use std::fmt::Write as _;

use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_domain::access::Scope;
use slipway_domain::id::DeploymentId;
use slipway_services::output as verb;

use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, answer, fenced, line};

/// Outputs at most in one answer.
const MAX_OUTPUTS: usize = 100;
/// A value whose JSON is longer is cut to this many characters and becomes a string.
const MAX_VALUE: usize = 1000;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetArguments {
    /// The deployment's id.
    deployment_id: DeploymentId,
}

#[derive(Serialize, JsonSchema)]
struct Answer {
    untrusted: bool,
    total: usize,
    outputs: Vec<Item>,
}

#[derive(Serialize, JsonSchema)]
struct Item {
    name: String,
    value: Value,
    sensitive: bool,
    cut: bool,
}

pub(super) fn get() -> Entry {
    entry::<GetArguments, Answer>(
        "get_outputs",
        "Get outputs",
        "Gives the output values of a deployment, sensitive ones masked; call it after it has \
         succeeded.",
        reads(),
        Scope::DeploymentsRead,
        |call| get_outputs(call).boxed(),
    )
}

async fn get_outputs(call: Call<'_>) -> Outcome {
    let GetArguments { deployment_id } = call.arguments()?;
    let found = verb::get(call.cx, call.who, deployment_id, false).await?;
    let total = found.len();
    let mut said = String::new();
    let mut outputs = Vec::new();
    for output in found.into_iter().take(MAX_OUTPUTS) {
        let json = output.value.to_string();
        let short = line(&json, MAX_VALUE);
        let cut = json.chars().count() > MAX_VALUE;
        let name = line(&output.name, 200);
        let _ = writeln!(said, "{name} = {short}");
        let value = if cut { Value::String(short) } else { output.value };
        outputs.push(Item { name, value, sensitive: output.sensitive, cut });
    }
    let text = match total {
        0 => "It has no outputs.".to_owned(),
        n => format!("{n} outputs. {}", fenced(call.cx, "their values", &said)),
    };
    answer(&Answer { untrusted: true, total, outputs }, text)
}
