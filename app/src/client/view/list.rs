//! Lists as tables.

use chrono::{DateTime, Utc};
use serde_json::Value;
use slipway_domain::deployment::{Deployment, Operation, Output};
use slipway_domain::log::LogLine;
use slipway_domain::secret::MASK;
use slipway_domain::stack::Stack;

use super::{between, plain, table};

/// Deployments, one a line.
pub fn deployments(items: &[Deployment], now: DateTime<Utc>) -> String {
    if items.is_empty() {
        return "There are no deployments like that.\n".to_owned();
    }
    let header = ["DEPLOYMENT", "STACK", "STATE", "CHANGES", "AGE", "BY"];
    let rows = items.iter().map(|d| {
        let state = match d.operation {
            Operation::Deploy => d.state.to_string(),
            Operation::Destroy => format!("{} (destroy)", d.state),
        };
        let changes = d.plan.as_ref().map_or_else(String::new, |plan| {
            let c = plan.counts;
            format!("+{} ~{} -/+{} -{}", c.create, c.update, c.replace, c.delete)
        });
        vec![
            d.id.to_string(),
            d.stack.to_string(),
            state,
            changes,
            between(d.created_at, now),
            plain(&d.submitted_by.id).into_owned(),
        ]
    });
    table(&header, rows)
}

/// Stacks, one a line.
pub fn stacks(items: &[Stack], now: DateTime<Utc>) -> String {
    if items.is_empty() {
        return "There are no stacks like that.\n".to_owned();
    }
    let header = ["STACK", "ID", "RESOURCES", "RUNS", "CHANGED"];
    let rows = items.iter().map(|stack| {
        let resources = stack.state.as_ref().map(|state| state.resource_count.to_string());
        let runs = stack.current_deployment.map(|id| id.to_string());
        vec![
            stack.key.to_string(),
            stack.id.to_string(),
            resources.unwrap_or_else(|| "-".to_owned()),
            runs.unwrap_or_else(|| "-".to_owned()),
            format!("{} ago", between(stack.updated_at, now)),
        ]
    });
    table(&header, rows)
}

/// Outputs, one a line.
pub fn outputs(items: &[Output]) -> String {
    if items.is_empty() {
        return "The deployment has no outputs.\n".to_owned();
    }
    let rows = items.iter().map(|output| {
        let value = match &output.value {
            Value::String(text) => plain(text).into_owned(),
            other => plain(&other.to_string()).into_owned(),
        };
        vec![plain(&output.name).into_owned(), value]
    });
    let mut text = table(&["OUTPUT", "VALUE"], rows);
    if items.iter().any(|o| o.sensitive && o.value.as_str() == Some(MASK)) {
        text.push_str("Sensitive values are masked; `slipway outputs --reveal` shows them.\n");
    }
    text
}

/// A line of a log, with its step in front and without a line end.
pub fn log_line(line: &LogLine) -> String {
    format!("[{}] {}", plain(&line.step), plain(&line.text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn outputs_are_a_table_and_masked_ones_say_how_to_see_them() {
        let items: Vec<Output> = serde_json::from_value(json!([
            {"name": "id", "value": "42", "sensitive": false, "type": "string"},
            {"name": "names", "value": ["a", "b"], "sensitive": false, "type": ["list", "string"]},
            {"name": "password", "value": "***", "sensitive": true, "type": "string"},
        ]))
        .unwrap();
        assert_eq!(
            outputs(&items),
            "OUTPUT    VALUE\n\
             id        42\n\
             names     [\"a\",\"b\"]\n\
             password  ***\n\
             Sensitive values are masked; `slipway outputs --reveal` shows them.\n"
        );
        assert_eq!(outputs(&[]), "The deployment has no outputs.\n");
    }

    #[test]
    fn lists_are_tables_and_empty_ones_a_sentence() {
        let now = "2025-11-21T07:01:00Z".parse().unwrap();
        let d = crate::client::mock::deployment();
        let text = deployments(std::slice::from_ref(&d), now);
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("DEPLOYMENT"));
        let row: Vec<_> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(row[..3], [&*d.id.to_string(), "default/net/dev", d.state.as_str()]);
        assert!(stacks(&[], now).contains("no stacks"));
    }
}
