//! Drift, for a person.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use slipway_domain::drift::{
    DriftGroup, DriftOverview, DriftStatus, StackDrift, StackDriftSettings,
};

use super::{Ink, Paint, between, plain, table};

/// Attributes of a resource that are shown.
const MAX_ATTRIBUTES: usize = 10;

/// Stacks, one a line.
pub fn drifts(items: &[DriftOverview], now: DateTime<Utc>) -> String {
    if items.is_empty() {
        return "There are no stacks like that.\n".to_owned();
    }
    let header = ["STACK", "STATUS", "SINCE", "CHECKED", "WHAT"];
    let rows = items.iter().map(|one| {
        let ago = |at: Option<DateTime<Utc>>| {
            at.map_or_else(|| "-".to_owned(), |at| format!("{} ago", between(at, now)))
        };
        vec![
            one.stack.to_string(),
            one.status.to_string(),
            ago(one.since),
            ago(one.checked_at),
            plain(one.summary.as_deref().unwrap_or("-")).into_owned(),
        ]
    });
    table(&header, rows)
}

/// All that is known of a stack.
pub fn drift(known: &StackDrift, now: DateTime<Utc>, paint: Paint) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    row("stack", &known.stack.to_string());
    let ink = match known.status {
        DriftStatus::InSync => Ink::Good,
        DriftStatus::Drifted => Ink::Care,
        DriftStatus::Failed => Ink::Bad,
        DriftStatus::Unknown => Ink::Dim,
    };
    let old = if known.out_of_date { " (the stack was deployed since)" } else { "" };
    row("status", &format!("{}{old}", paint.ink(ink, known.status.as_str())));
    if let Some(since) = known.since {
        row("since", &format!("{} ago", between(since, now)));
    }
    if known.job_id.is_some() {
        row("now", "a check is queued or runs");
    }
    if let Some(at) = known.checked_at {
        row("checked", &format!("{} ago", between(at, now)));
    }
    if let Some(at) = known.next_check_at {
        row("next check", &format!("in {}", between(now, at)));
    }
    if let Some(failure) = &known.failure {
        row("failed", &plain(&failure.summary));
    }
    if let Some(why) = &known.put_off {
        row("put off", &plain(why));
    }
    if let Some(report) = &known.report {
        row("found", &plain(&report.summary));
        for caveat in &report.caveats {
            row("note", &plain(caveat));
        }
        for group in &report.groups {
            text.push_str(&self::group(group));
        }
    }
    text
}

fn group(group: &DriftGroup) -> String {
    let mut text = format!("\n{}\n", plain(&group.summary));
    for resource in &group.resources {
        let _ = writeln!(text, "  {}", plain(&resource.address));
        for at in resource.attributes.iter().take(MAX_ATTRIBUTES) {
            let (before, after) = (at.before.to_string(), at.after.to_string());
            let _ =
                writeln!(text, "    {}: {} -> {}", plain(&at.path), plain(&before), plain(&after));
        }
        let shown = resource.attributes.len().min(MAX_ATTRIBUTES);
        let more = resource.attributes.len() - shown + resource.attributes_left_off;
        if more > 0 {
            let _ = writeln!(text, "    … and {more} more");
        }
    }
    for output in &group.outputs {
        let (before, after) = (output.before.to_string(), output.after.to_string());
        let _ =
            writeln!(text, "  {}: {} -> {}", plain(&output.name), plain(&before), plain(&after));
    }
    let listed = group.resources.len() + group.outputs.len();
    if group.count > listed {
        let _ = writeln!(text, "  … and {} more", group.count - listed);
    }
    text
}

/// How a stack is checked.
pub fn drift_settings(settings: &StackDriftSettings) -> String {
    let said = |own: bool| if own { "said for this stack" } else { "as the installation has it" };
    let by_itself = if settings.enabled { "yes" } else { "no" };
    format!(
        "checked by itself: {by_itself} ({})\nevery: {} s ({})\nversion: {}\n",
        said(settings.settings.enabled.is_some()),
        settings.interval_s,
        said(settings.settings.interval_s.is_some()),
        settings.version
    )
}
