//! The central configuration, for a person.

use std::fmt::Write as _;

use serde_json::Value;
use slipway_domain::setting::difference::SettingDifference;
use slipway_domain::setting::effective::EffectiveSettings;
use slipway_domain::setting::{Setting, SettingAction, SettingAudit, SettingVersion};

use super::{plain, plain_lines, table};

/// Characters of a value in a table.
const IN_TABLE: usize = 60;

/// A value in a table: text as it is, the rest as JSON, cut.
fn cell(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut letters = text.chars();
    let mut shown: String = letters.by_ref().take(IN_TABLE).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    plain(&shown).into_owned()
}

/// Items, one a line.
pub fn settings(items: &[Setting]) -> String {
    if items.is_empty() {
        return "There are no settings.\n".to_owned();
    }
    let rows = items.iter().map(|one| {
        vec![
            plain(&one.key).into_owned(),
            plain(&one.scope.to_string()).into_owned(),
            one.kind.to_string(),
            cell(&one.value),
            one.version.to_string(),
            one.id.to_string(),
        ]
    });
    table(&["KEY", "SCOPE", "TYPE", "VALUE", "VERSION", "ID"], rows)
}

/// One item.
pub fn setting(one: &Setting) -> String {
    let mut out = format!("{} ({})\n", plain(&one.key), plain(&one.scope.to_string()));
    let value = match &one.value {
        Value::String(text) => text.clone(),
        other => format!("{other:#}"),
    };
    let _ = writeln!(out, "{}", plain_lines(&value));
    let _ = writeln!(
        out,
        "type {}, version {} of {}, by {}, {}",
        one.kind,
        one.version,
        one.updated_at.format("%Y-%m-%d %H:%M:%SZ"),
        plain(&one.updated_by.id),
        one.id
    );
    if let Some(text) = &one.description {
        let _ = writeln!(out, "{}", plain_lines(text));
    }
    if let Some(schema) = &one.schema {
        let _ = writeln!(out, "must fit {}", plain(&schema.to_string()));
    }
    out
}

const fn action(action: SettingAction) -> &'static str {
    match action {
        SettingAction::Created => "created",
        SettingAction::Updated => "updated",
        SettingAction::RolledBack => "rolled back",
        SettingAction::Deleted => "deleted",
    }
}

/// Versions, one a line.
pub fn setting_versions(items: &[SettingVersion]) -> String {
    let rows = items.iter().map(|one| {
        let from = one.from_version.map(|from| format!(" to {from}")).unwrap_or_default();
        vec![
            one.version.to_string(),
            one.at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
            plain(&one.by.id).into_owned(),
            format!("{}{from}", action(one.action)),
            one.value.as_ref().map(cell).unwrap_or_default(),
            plain(one.comment.as_deref().unwrap_or_default()).into_owned(),
        ]
    });
    table(&["VERSION", "AT", "BY", "HOW", "VALUE", "COMMENT"], rows)
}

/// What the audit log says, one row a line.
pub fn setting_audit(items: &[SettingAudit]) -> String {
    let rows = items.iter().map(|row| {
        vec![
            row.at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
            plain(&row.actor.id).into_owned(),
            plain(&row.action).into_owned(),
            plain(&row.result).into_owned(),
            cell(&row.detail),
        ]
    });
    table(&["AT", "BY", "ACTION", "RESULT", "DETAIL"], rows)
}

/// What is different between two versions.
pub fn setting_diff(diff: &SettingDifference) -> String {
    if diff.changes.is_empty() {
        return format!("Versions {} and {} are the same.\n", diff.from, diff.to);
    }
    let mut out = format!("From version {} to {}:\n", diff.from, diff.to);
    for change in &diff.changes {
        let at = plain(&change.pointer);
        if change.secret {
            let _ = writeln!(out, "  ~ {at} (a secret; changed)");
            continue;
        }
        let shown = |value: &Value| plain(&value.to_string()).into_owned();
        let line = match (&change.before, &change.after) {
            (Some(before), Some(after)) => format!("~ {at}: {} -> {}", shown(before), shown(after)),
            (None, Some(after)) => format!("+ {at}: {}", shown(after)),
            (Some(before), None) => format!("- {at}: {}", shown(before)),
            (None, None) => format!("~ {at}"),
        };
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// What holds for a place, and where it comes from.
pub fn effective_settings(found: &EffectiveSettings) -> String {
    if found.settings.is_empty() {
        return format!("No settings hold for {}.\n", plain(&found.place.to_string()));
    }
    let rows = found.settings.iter().map(|one| {
        let over: Vec<_> = one.shadows.iter().map(|other| other.scope.to_string()).collect();
        vec![
            plain(&one.key).into_owned(),
            cell(&one.value),
            plain(&one.scope.to_string()).into_owned(),
            one.version.to_string(),
            plain(&over.join(", ")).into_owned(),
        ]
    });
    table(&["KEY", "VALUE", "FROM", "VERSION", "OVER"], rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slipway_domain::setting::difference::SettingChange;

    use super::*;

    #[test]
    fn a_secret_that_changed_is_told_and_not_shown() {
        let change = |pointer: &str, after: Option<Value>, secret| SettingChange {
            pointer: pointer.to_owned(),
            before: None,
            after,
            secret,
        };
        let changes = vec![
            change("/value", None, true),
            change("/description", Some(json!("a\u{1b}[2J")), false),
        ];
        let text = setting_diff(&SettingDifference { from: 1, to: 2, changes });
        assert!(text.contains("/value (a secret; changed)"), "{text}");
        assert!(text.contains("+ /description") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn long_values_are_cut_and_cannot_steer_a_terminal() {
        let shown = cell(&json!("x".repeat(500)));
        assert_eq!(shown.chars().count(), IN_TABLE + 1);
        assert!(!cell(&json!("a\u{1b}[2Jb")).contains('\u{1b}'));
    }
}
