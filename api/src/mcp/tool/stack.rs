//! Stacks.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::Scope;
use slipway_domain::id::{DeploymentId, StackId};
use slipway_domain::page::PageRequest;
use slipway_services::stack::{self as verb, Filter};

use super::deployment::LIST_LIMIT;
use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, answer};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArguments {
    /// Only of this project.
    #[serde(default)]
    project: Option<String>,
    /// Only with this name.
    #[serde(default)]
    name: Option<String>,
    /// Only of this environment.
    #[serde(default)]
    environment: Option<String>,
    /// How many, 1 to 200; 20 when absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Stacks {
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Item {
    stack_id: StackId,
    stack: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_deployment: Option<DeploymentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<i64>,
    updated_at: DateTime<Utc>,
}

pub(super) fn list() -> Entry {
    entry::<ListArguments, Stacks>(
        "list_stacks",
        "List stacks",
        "Lists stacks, newest first, with the deployment that each one runs; call it to learn \
         what is deployed.",
        reads(),
        Scope::StacksRead,
        |call| list_stacks(call).boxed(),
    )
}

async fn list_stacks(call: Call<'_>) -> Outcome {
    let given: ListArguments = call.arguments()?;
    let page = PageRequest::parse(given.limit.or(Some(LIST_LIMIT)), given.cursor.as_deref())?;
    let filter =
        Filter { project: given.project, name: given.name, environment: given.environment };
    let page = verb::list(call.cx, call.who, &filter, page).await?;
    let page = page.map(|stack| Item {
        stack_id: stack.id,
        stack: stack.key.to_string(),
        current_deployment: stack.current_deployment,
        resources: stack.state.map(|state| state.resource_count),
        updated_at: stack.updated_at,
    });
    let mut text = match page.items.len() {
        0 => "No stacks.".to_owned(),
        1 => "1 stack:".to_owned(),
        n => format!("{n} stacks:"),
    };
    for item in &page.items {
        let runs = match &item.current_deployment {
            Some(id) => format!("runs {id}"),
            None => "runs nothing yet".to_owned(),
        };
        let _ = write!(text, "\n{} {} {runs}", item.stack_id, item.stack);
    }
    if page.next_cursor.is_some() {
        text.push_str("\nThere are more: call again with next_cursor as cursor.");
    }
    answer(&Stacks { items: page.items, next_cursor: page.next_cursor }, text)
}
