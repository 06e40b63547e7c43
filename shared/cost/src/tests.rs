//! What a plan costs, against prices that were reckoned by hand.

mod bad;
mod docs;
mod property;
mod shapes;
mod table;

use chrono::NaiveDate;
use serde_json::{Value, json};
use slipway_domain::cost::{Amount, CostReport, CostSettings};

use crate::{Book, CostError, Limits};

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

fn today() -> NaiveDate {
    "2025-01-01".parse().unwrap()
}

/// Providers in one region each.
fn providers() -> Value {
    json!({
        "aws": {"name": "aws", "expressions": {"region": {"constant_value": "us-east-1"}}},
        "google": {"name": "google", "expressions": {"region": {"constant_value": "us-central1"}}},
        "ncloud": {"name": "ncloud", "expressions": {"region": {"references": ["var.region"]}}},
    })
}

/// A change as Terraform lists it.
fn change(address: &str, kind: &str, before: &Value, after: &Value) -> Value {
    let actions = match (before.is_null(), after.is_null()) {
        (true, false) => json!(["create"]),
        (false, true) => json!(["delete"]),
        _ if before == after => json!(["no-op"]),
        _ => json!(["update"]),
    };
    json!({
        "address": address, "mode": "managed", "type": kind, "name": "x",
        "change": {"actions": actions, "before": before, "after": after, "after_unknown": {}},
    })
}

fn create(address: &str, after: &Value) -> Value {
    change(address, address.split('.').next().unwrap(), &Value::Null, after)
}

fn plan_of(changes: &[Value], configuration: &[Value]) -> Value {
    json!({
        "format_version": "1.2",
        "variables": {"region": {"value": "KR"}},
        "resource_changes": changes,
        "configuration": {
            "provider_config": providers(),
            "root_module": {"resources": configuration},
        },
    })
}

fn try_estimate(plan: &Value, settings: &CostSettings) -> Result<CostReport, CostError> {
    let document = serde_json::to_vec(plan).unwrap();
    Book::shipped().unwrap().estimate(&document, settings, today(), Limits::default())
}

fn estimate(plan: &Value) -> CostReport {
    try_estimate(plan, &CostSettings::default()).unwrap()
}

fn settings(value: Value) -> CostSettings {
    serde_json::from_value(value).unwrap()
}
