//! Plans, counts first: a plan of 500 changes must not fill a model's memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_domain::access::Scope;
use slipway_domain::fault::Fault;
use slipway_domain::gate::GateResult;
use slipway_domain::id::DeploymentId;
use slipway_domain::plan::{Action, Counts, Plan, ResourceChange};
use slipway_domain::secret::MASK;
use slipway_domain::setting::SettingUse;
use slipway_services::plan as verb;

use super::{Call, Entry, entry, reads};
use crate::mcp::answer::{Outcome, answer, fenced, line};

/// Changes of one page when nobody says how many, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;
/// Bytes of JSON for the changes of one page.
const MAX_PAGE_BYTES: usize = 14_000;
/// Rows of the tables of a summary.
const MAX_ROWS: usize = 20;
/// Attributes of one change.
const MAX_ATTRIBUTES: usize = 30;
/// Characters of one value.
const MAX_VALUE: usize = 160;

/// How much of a plan to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Detail {
    /// Totals, and what is deleted or replaced.
    #[default]
    Summary,
    /// Also a page of changes, with the names of the attributes that change.
    Changes,
    /// Also the values of those attributes before and after.
    Full,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetArguments {
    /// The deployment's id.
    deployment_id: DeploymentId,
    /// summary (default): totals and what is deleted or replaced; changes: also a page of changes;
    /// full: also attribute values before and after.
    #[serde(default)]
    detail: Detail,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// Changes a page, 1 to 200; 50 when absent. A page may hold fewer.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
struct View {
    untrusted: bool,
    deployment_id: DeploymentId,
    /// What `approve_deployment` and `reject_deployment` must name.
    plan_digest: String,
    number: i32,
    created_at: DateTime<Utc>,
    tool: String,
    counts: Counts,
    gates: Vec<GateResult>,
    changes_total: usize,
    outputs_total: usize,
    drift_total: usize,
    destructive_total: usize,
    destructive: Vec<String>,
    by_type: Vec<Row>,
    warnings: Vec<String>,
    /// In what it differs from the plan that was approved before it, if its approval did not go on
    /// to this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    difference: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    difference_total: usize,
    /// The items of the central configuration that it was made with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Change>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

fn used(used: &SettingUse) -> String {
    let kind = if used.secret { "secret" } else { "config" };
    line(&format!("{kind}.{} version {} ({})", used.key, used.version, used.scope), 300)
}

#[derive(Serialize, JsonSchema)]
struct Row {
    r#type: String,
    action: Action,
    count: usize,
}

#[derive(Serialize, JsonSchema)]
struct Change {
    address: String,
    action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How many attributes change.
    attributes_total: usize,
    attributes: Vec<Attribute>,
}

#[derive(Serialize, JsonSchema)]
struct Attribute {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(default)]
    forces_replacement: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Addresses of what the plan deletes or replaces.
pub(in crate::mcp) fn destructive(plan: &Plan) -> Vec<&str> {
    let gone = |change: &&ResourceChange| {
        matches!(
            change.action,
            Action::Delete | Action::DeleteThenCreate | Action::CreateThenDelete
        )
    };
    plan.changes.iter().filter(gone).map(|change| change.address.as_str()).collect()
}

pub(super) fn get() -> Entry {
    entry::<GetArguments, View>(
        "get_plan",
        "Get a plan",
        "Shows what a deployment would change, totals and destructive changes first, single \
         changes on request; call it before approve_deployment.",
        reads(),
        Scope::DeploymentsRead,
        |call| get_plan(call).boxed(),
    )
}

async fn get_plan(call: Call<'_>) -> Outcome {
    let given: GetArguments = call.arguments()?;
    let limit = given.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Fault::field("/limit", format!("limit must be from 1 to {MAX_PAGE}")).into());
    }
    let plan = verb::get(call.cx, call.who, given.deployment_id).await?;
    let start = match &given.cursor {
        None => 0,
        Some(cursor) => start(cursor, &plan)?,
    };
    let gone = destructive(&plan);
    let mut view = View {
        untrusted: true,
        deployment_id: given.deployment_id,
        plan_digest: plan.digest.clone(),
        number: plan.number,
        created_at: plan.created_at,
        tool: plan.tool.to_string(),
        counts: plan.counts,
        gates: plan.gates.clone(),
        changes_total: plan.changes.len(),
        outputs_total: plan.outputs.len(),
        drift_total: plan.drift.len(),
        destructive_total: gone.len(),
        destructive: gone.iter().take(MAX_ROWS).map(|address| line(address, 200)).collect(),
        by_type: by_type(&plan.changes),
        warnings: plan.warnings.iter().take(5).map(|w| line(&w.summary, 300)).collect(),
        difference: plan.difference.iter().take(MAX_ROWS).map(|why| line(why, 300)).collect(),
        difference_total: plan.difference.len(),
        settings: plan.settings.iter().take(MAX_ROWS).map(used).collect(),
        changes: None,
        next_cursor: None,
    };
    if given.detail != Detail::Summary {
        let page = page(&plan.changes[start..], limit, given.detail)?;
        let end = start + page.len();
        view.next_cursor = (end < plan.changes.len()).then(|| cursor(end, &plan));
        view.changes = Some(page);
    }
    let text = text(&call, &view, start);
    answer(&view, text)
}

/// A cursor says where to go on, and of which plan.
fn cursor(at: usize, plan: &Plan) -> String {
    format!("{}.{at}", plan.id)
}

fn start(cursor: &str, plan: &Plan) -> Result<usize, Fault> {
    let refused = |why: &str| Fault::field("/cursor", why);
    let (of, at) = cursor
        .split_once('.')
        .and_then(|(of, at)| Some((of, at.parse::<usize>().ok()?)))
        .ok_or_else(|| refused("cursor is not one that get_plan gave out"))?;
    if of != plan.id.to_string() {
        return Err(refused("the plan was made anew since; leave cursor out and begin again"));
    }
    if at > plan.changes.len() {
        return Err(refused("cursor is behind the last change"));
    }
    Ok(at)
}

fn by_type(changes: &[ResourceChange]) -> Vec<Row> {
    let mut counts: BTreeMap<(&str, Action), usize> = BTreeMap::new();
    for change in changes {
        *counts.entry((&change.kind, change.action)).or_default() += 1;
    }
    let mut rows: Vec<_> = counts
        .into_iter()
        .map(|((kind, action), count)| Row { r#type: line(kind, 100), action, count })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows.truncate(MAX_ROWS);
    rows
}

/// As many changes as fit, but at least one.
fn page(changes: &[ResourceChange], limit: usize, detail: Detail) -> Result<Vec<Change>, Fault> {
    let mut page = Vec::new();
    let mut bytes = 0;
    for change in changes.iter().take(limit) {
        let shown = shown(change, detail);
        bytes += serde_json::to_vec(&shown).map_err(Fault::internal)?.len();
        if bytes > MAX_PAGE_BYTES && !page.is_empty() {
            break;
        }
        page.push(shown);
    }
    Ok(page)
}

fn shown(change: &ResourceChange, detail: Detail) -> Change {
    let names = changed(change);
    let attributes = names.iter().take(MAX_ATTRIBUTES).map(|name| {
        let pointer = format!("/{}", escape(name));
        let under = |list: &[String]| {
            list.iter().any(|p| *p == pointer || p.starts_with(&format!("{pointer}/")))
        };
        let value = |side: &Value| {
            let value = side.get(name).filter(|value| !value.is_null())?;
            Some(line(&value.to_string(), MAX_VALUE))
        };
        let mut attribute = Attribute {
            name: line(name, 100),
            before: None,
            after: None,
            forces_replacement: under(&change.replace_paths),
        };
        if detail == Detail::Full {
            attribute.before = value(&change.before);
            attribute.after = match value(&change.after) {
                None if under(&change.unknown) => Some("(known after apply)".to_owned()),
                after => after,
            };
        }
        attribute
    });
    Change {
        address: line(&change.address, 300),
        action: change.action,
        reason: change.reason.as_deref().map(|reason| line(reason, 100)),
        attributes_total: names.len(),
        attributes: attributes.collect(),
    }
}

/// Names of the attributes that differ, or may differ.
fn changed(change: &ResourceChange) -> Vec<String> {
    let empty = serde_json::Map::new();
    let before = change.before.as_object().unwrap_or(&empty);
    let after = change.after.as_object().unwrap_or(&empty);
    let mut names: Vec<String> = change
        .unknown
        .iter()
        .filter_map(|pointer| pointer.strip_prefix('/')?.split('/').next())
        .map(|name| name.replace("~1", "/").replace("~0", "~"))
        .collect();
    let nothing = |value: Option<&Value>| value.is_none_or(Value::is_null);
    for name in before.keys().chain(after.keys()) {
        let (old, new) = (before.get(name), after.get(name));
        let same = old == new || nothing(old) && nothing(new);
        // Two masks are equal whatever is behind them.
        let masked = new.is_some_and(|value| value.as_str() == Some(MASK))
            && change.action == Action::Update;
        if !same || masked {
            names.push(name.clone());
        }
    }
    names.sort();
    names.dedup();
    names
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn text(call: &Call<'_>, view: &View, start: usize) -> String {
    let mut text = format!(
        "Plan {} of {}: {}. plan_digest {}",
        view.number, view.deployment_id, view.counts, view.plan_digest
    );
    if view.drift_total > 0 {
        let _ = write!(
            text,
            "\n{} resources were changed outside Slipway since the last apply.",
            view.drift_total
        );
    }
    let mut said = String::new();
    let mut list = |title: String, rows: &mut dyn Iterator<Item = String>| {
        let mut rows = rows.peekable();
        if rows.peek().is_some() {
            let _ = writeln!(said, "{title}");
            rows.for_each(|row| {
                let _ = writeln!(said, "  {row}");
            });
        }
    };
    list(
        format!("Deletes or replaces ({}):", view.destructive_total),
        &mut view.destructive.iter().cloned(),
    );
    match &view.changes {
        None => list(
            "By type:".to_owned(),
            &mut view
                .by_type
                .iter()
                .map(|row| format!("{} {} × {}", row.action.sign(), row.count, row.r#type)),
        ),
        Some(changes) => list(
            format!(
                "Changes {} to {} of {}:",
                (start + 1).min(view.changes_total),
                start + changes.len(),
                view.changes_total
            ),
            &mut changes.iter().map(change_text),
        ),
    }
    list("Warnings:".to_owned(), &mut view.warnings.iter().cloned());
    list(
        format!("Not the same as the plan that was approved before ({}):", view.difference_total),
        &mut view.difference.iter().cloned(),
    );
    if !said.is_empty() {
        text.push('\n');
        text.push_str(&fenced(call.cx, "the plan", &said));
    }
    match (&view.changes, &view.next_cursor) {
        (None, _) if view.changes_total > 0 => {
            text.push_str("\nFor single changes call again with detail=changes or detail=full.");
        }
        (_, Some(cursor)) => {
            let _ = write!(text, "\nThere are more: call again with cursor={cursor}.");
        }
        _ => {}
    }
    text
}

fn change_text(change: &Change) -> String {
    let mut text = format!("{} {}", change.action.sign(), change.address);
    let mut words = Vec::new();
    for attribute in &change.attributes {
        let mark = if attribute.forces_replacement { "!" } else { "" };
        words.push(match (&attribute.before, &attribute.after) {
            (None, None) => format!("{}{mark}", attribute.name),
            (None, Some(after)) => format!("{}{mark}={}", attribute.name, line(after, 60)),
            (Some(before), None) => format!("{}{mark}: {} gone", attribute.name, line(before, 60)),
            (Some(before), Some(after)) => {
                format!("{}{mark}: {} -> {}", attribute.name, line(before, 60), line(after, 60))
            }
        });
    }
    // For a create every attribute is new; their names alone say little.
    let bare = change.attributes.iter().all(|a| a.before.is_none() && a.after.is_none());
    let says_little = bare && change.action == Action::Create;
    if !words.is_empty() && !says_little {
        let _ = write!(text, " [{}]", words.join(", "));
    }
    text
}
