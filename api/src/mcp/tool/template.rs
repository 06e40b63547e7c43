//! The template library, for those who choose one.

use std::fmt::Write as _;

use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_domain::access::Scope;
use slipway_domain::template::{Constraint, Template, TemplateState};
use slipway_services::template as verb;

use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, answer, block, line};

/// Templates at most in one answer.
const MAX_TEMPLATES: usize = 50;
/// Constraints of one input at most.
const MAX_CONSTRAINTS: usize = 10;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArguments {
    /// Only this template.
    #[serde(default)]
    name: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Templates {
    total: usize,
    templates: Vec<Shown>,
}

#[derive(Serialize, JsonSchema)]
struct Shown {
    name: String,
    title: String,
    description: String,
    version: i32,
    inputs: Vec<Input>,
}

#[derive(Serialize, JsonSchema)]
struct Input {
    name: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
    sensitive: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    constraints: Vec<String>,
}

pub(super) fn list() -> Entry {
    entry::<ListArguments, Templates>(
        "list_templates",
        "List templates",
        "Lists ready-made configurations with their inputs; call it before submit_deployment to \
         choose one and learn its variables.",
        reads(),
        Scope::TemplatesRead,
        |call| list_templates(call).boxed(),
    )
}

async fn list_templates(call: Call<'_>) -> Outcome {
    let ListArguments { name } = call.arguments()?;
    let found = match name {
        Some(name) => vec![verb::get(call.cx, call.who, &name).await?],
        None => verb::list(call.cx, call.who).await?,
    };
    let total = found.len();
    let templates: Vec<_> = found.into_iter().take(MAX_TEMPLATES).map(shown).collect();
    let mut text = match total {
        1 => "1 template:".to_owned(),
        n => format!("{n} templates:"),
    };
    for template in &templates {
        let _ = write!(text, "\n{}: {}. Inputs:", template.name, template.title);
        for input in &template.inputs {
            let need = if input.required { ", required" } else { "" };
            let _ = write!(text, " {} ({}{need});", input.name, line(&input.r#type, 60));
        }
        if template.inputs.is_empty() {
            text.push_str(" none");
        }
    }
    answer(&Templates { total, templates }, text)
}

/// A constraint in the words of the template, or as it is written.
fn constraint(constraint: &Constraint) -> String {
    line(constraint.message.as_deref().unwrap_or(&constraint.expression), 300)
}

fn shown(template: Template) -> Shown {
    let inputs = template.inputs.into_iter().map(|input| Input {
        r#type: line(&input.kind, 300),
        description: input.description.map(|text| line(&text, 300)),
        required: input.required,
        default: input.default.filter(|_| !input.sensitive),
        constraints: input.constraints.iter().take(MAX_CONSTRAINTS).map(constraint).collect(),
        sensitive: input.sensitive,
        name: input.name,
    });
    Shown {
        title: match template.state {
            TemplateState::Active => line(&template.title, 200),
            TemplateState::Deprecated => format!("(deprecated) {}", line(&template.title, 200)),
        },
        description: block(&template.description, 600),
        version: template.version,
        inputs: inputs.collect(),
        name: template.name,
    }
}
