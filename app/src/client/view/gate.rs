//! Settings of the gates, for a person.

use std::fmt::Write as _;

use slipway_domain::gate_settings::{GateSettings, ResolvedSettings, ScopedSettings};

use super::plain;

/// For whom something was said, and about what.
pub fn gate_settings(all: &[ScopedSettings]) -> String {
    if all.is_empty() {
        return "Nothing was said about the gates; what is built in or configured holds. See: \
                slipway gates resolve PROJECT ENVIRONMENT\n"
            .to_owned();
    }
    let mut out = String::new();
    for one in all {
        let _ = writeln!(
            out,
            "{} (version {}, by {}): {}",
            one.scope,
            one.version,
            plain(&one.updated_by.id),
            sections(&one.settings).join(", ")
        );
    }
    out
}

fn sections(settings: &GateSettings) -> Vec<&'static str> {
    [
        ("scan", settings.scan.is_some()),
        ("policy", settings.policy.is_some()),
        ("cost", settings.cost.is_some()),
        ("test", settings.test.is_some()),
        ("approval", settings.approval.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, said)| said.then_some(name))
    .collect()
}

/// What holds, section by section.
pub fn resolved_gates(found: &ResolvedSettings) -> String {
    let value = serde_json::to_value(found).unwrap_or_default();
    let mut out = String::new();
    for (section, origin) in &found.origin {
        let _ = writeln!(out, "{section}: {}", plain(&origin.text));
        let said = value.get(section).filter(|said| !said.is_null());
        let text = said.map_or_else(|| "none".to_owned(), |said| format!("{said:#}"));
        for line in text.lines() {
            let _ = writeln!(out, "  {}", plain(line));
        }
    }
    out
}
