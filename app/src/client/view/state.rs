//! States of stacks: versions, the lock, differences, refused states.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::Value;
use slipway_domain::state_diff::{AttributeDiff, Difference, StateDiff};
use slipway_domain::state_version::{LockStatus, OrphanState, StateVersion};

use super::{Ink, Paint, between, moment, plain, table};

/// Versions, one a line.
pub fn state_versions(items: &[StateVersion], now: DateTime<Utc>) -> String {
    if items.is_empty() {
        return "The stack has no state yet.\n".to_owned();
    }
    let header = ["VERSION", "SERIAL", "RESOURCES", "BYTES", "FROM", "BY", "AGE"];
    let rows = items.iter().map(|version| {
        vec![
            version.version.to_string(),
            version.mark.serial.to_string(),
            version.resource_count.to_string(),
            version.size_bytes.to_string(),
            origin(version),
            by(version),
            between(version.created_at, now),
        ]
    });
    table(&header, rows)
}

fn origin(version: &StateVersion) -> String {
    match version.restored_from {
        Some(from) => format!("{} of {from}", version.origin.as_str()),
        None => version.origin.as_str().to_owned(),
    }
}

fn by(version: &StateVersion) -> String {
    match (&version.written_by, version.deployment_id) {
        (Some(actor), _) => plain(&actor.id).into_owned(),
        (None, Some(deployment)) => deployment.to_string(),
        (None, None) => "-".to_owned(),
    }
}

/// One version, and who holds the lock if that is asked for.
pub fn state_version(
    version: Option<&StateVersion>,
    lock: Option<&LockStatus>,
    now: DateTime<Utc>,
) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {}", plain(value));
    };
    match version {
        None => line("version", "the stack has no state yet"),
        Some(version) => {
            line("version", &version.version.to_string());
            line("serial", &version.mark.serial.to_string());
            line("lineage", &version.mark.lineage);
            line("resources", &version.resource_count.to_string());
            line("bytes", &version.size_bytes.to_string());
            line("digest", &version.digest);
            line("from", &format!("{} by {}", origin(version), by(version)));
            let age = between(version.created_at, now);
            line("written", &format!("{} ({age} ago)", moment(version.created_at)));
        }
    }
    let Some(status) = lock else { return text };
    match (&status.lock, status.acquired_at) {
        (Some(lock), Some(at)) => {
            let who = if lock.who.is_empty() { "somebody" } else { &lock.who };
            line("lock", &format!("{} by {who}, {}", lock.id, lock.operation));
            line("", &format!("since {} ({} ago)", moment(at), between(at, now)));
        }
        _ => line("lock", "free"),
    }
    if let Some(deployment) = status.applying {
        line("applying", &deployment.to_string());
    }
    text
}

/// Refused states, one a line.
pub fn orphans(items: &[OrphanState], now: DateTime<Utc>) -> String {
    if items.is_empty() {
        return "No state was refused.\n".to_owned();
    }
    let header = ["ORPHAN", "SERIAL", "LINEAGE", "RESOURCES", "REFUSED BECAUSE", "BY", "AGE"];
    let rows = items.iter().map(|orphan| {
        vec![
            orphan.id.to_string(),
            orphan.mark.serial.to_string(),
            plain(&orphan.mark.lineage).into_owned(),
            orphan.resource_count.to_string(),
            orphan.reason.words().to_owned(),
            plain(&orphan.written_by.id).into_owned(),
            between(orphan.created_at, now),
        ]
    });
    table(&header, rows)
}

/// What differs between two versions.
pub fn state_diff(diff: &StateDiff, paint: Paint) -> String {
    let mut text = String::new();
    for resource in &diff.resources {
        let tainted = match resource.tainted {
            Some(true) => " (tainted)",
            Some(false) => " (no longer tainted)",
            None => "",
        };
        let line = format!("{} {}{tainted}", sign(resource.difference), plain(&resource.address));
        let _ = writeln!(text, "{}", paint.ink(ink(resource.difference), &line));
        for attribute in &resource.attributes {
            let _ = writeln!(text, "    {}", change(attribute));
        }
        if resource.truncated {
            text.push_str("    …\n");
        }
    }
    if diff.truncated {
        text.push_str("…\n");
    }
    for output in &diff.outputs {
        let line = format!("{} output {}", sign(output.difference), change(output));
        let _ = writeln!(text, "{}", paint.ink(ink(output.difference), &line));
    }
    let counts = diff.counts;
    let _ = writeln!(
        text,
        "Version {} to {}: {} added, {} changed, {} removed.",
        diff.from, diff.to, counts.added, counts.changed, counts.removed
    );
    text
}

fn sign(difference: Difference) -> char {
    match difference {
        Difference::Added => '+',
        Difference::Removed => '-',
        Difference::Changed => '~',
    }
}

fn ink(difference: Difference) -> Ink {
    match difference {
        Difference::Added => Ink::Good,
        Difference::Removed => Ink::Bad,
        Difference::Changed => Ink::Care,
    }
}

fn change(attribute: &AttributeDiff) -> String {
    let shown = |value: &Value| match value {
        Value::Null => "(none)".to_owned(),
        value => plain(&value.to_string()).into_owned(),
    };
    let (path, before, after) =
        (plain(&attribute.path), shown(&attribute.before), shown(&attribute.after));
    if attribute.sensitive {
        return format!("{path}: (sensitive) {before} -> {after}");
    }
    format!("{path}: {before} -> {after}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version() -> StateVersion {
        serde_json::from_value(json!({
            "stack_id": crate::client::mock::STACK_ID, "version": 3, "lineage": "l", "serial": 9,
            "resource_count": 2, "size_bytes": 400, "digest": "sha256:1", "origin": "restore",
            "restored_from": 1, "written_by": {"id": "ann", "kind": "person", "via": "rest"},
            "created_at": "2025-11-21T07:00:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn a_version_says_where_it_came_from_and_who_holds_the_lock() {
        let now = "2025-11-21T07:01:00Z".parse().unwrap();
        let text = state_versions(&[version()], now);
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["3", "9", "2", "400", "restore", "of", "1", "ann", "1m00s"]);
        let status: LockStatus = serde_json::from_value(json!({
            "locked": true, "lock": {"ID": "l1", "Who": "bob@host\u{1b}[2J",
            "Operation": "OperationTypeApply"}, "acquired_at": "2025-11-21T07:00:30Z",
            "applying": crate::client::mock::ID,
        }))
        .unwrap();
        let text = state_version(Some(&version()), Some(&status), now);
        assert!(text.contains("restore of 1 by ann"), "{text}");
        assert!(text.contains("l1 by bob@host\u{241b}[2J, OperationTypeApply"), "{text}");
        assert!(text.contains("(30s ago)") && text.contains("applying   dep_"), "{text}");
        let free: LockStatus = serde_json::from_value(json!({"locked": false})).unwrap();
        let text = state_version(None, Some(&free), now);
        assert_eq!(text, "version    the stack has no state yet\nlock       free\n");
        assert!(state_versions(&[], now).contains("no state yet"));
    }

    #[test]
    fn differences_read_like_a_plan() {
        let diff: StateDiff = serde_json::from_value(json!({
            "from": 1, "to": 2, "counts": {"added": 1, "removed": 0, "changed": 1},
            "resources": [
                {"address": "t.a", "difference": "added", "attributes": []},
                {"address": "t.b", "difference": "changed", "tainted": true, "attributes": [
                    {"path": "/x", "difference": "changed", "before": "a", "after": 2},
                    {"path": "/password", "difference": "added", "after": "***", "sensitive": true}]},
            ],
            "outputs": [{"path": "url", "difference": "removed", "before": "u"}],
            "truncated": false,
        }))
        .unwrap();
        assert_eq!(
            state_diff(&diff, Paint::PLAIN),
            "+ t.a\n\
             ~ t.b (tainted)\n    \
                 /x: \"a\" -> 2\n    \
                 /password: (sensitive) (none) -> \"***\"\n\
             - output url: \"u\" -> (none)\n\
             Version 1 to 2: 1 added, 1 changed, 0 removed.\n"
        );
    }

    #[test]
    fn a_refused_state_says_why() {
        let orphan: OrphanState = serde_json::from_value(json!({
            "id": format!("orp_{:032x}", 1), "stack_id": crate::client::mock::STACK_ID,
            "lineage": "m", "serial": 2, "resource_count": 1, "digest": "sha256:1",
            "reason": "other_lineage", "written_by": {"id": "ann", "kind": "person", "via": "rest"},
            "created_at": "2025-11-21T07:00:00Z",
        }))
        .unwrap();
        let text = orphans(&[orphan], "2025-11-21T07:01:00Z".parse().unwrap());
        assert!(text.contains("another lineage") && text.contains("orp_0"), "{text}");
        assert!(orphans(&[], DateTime::UNIX_EPOCH).contains("No state"));
    }
}
