//! How things look to a person: pure functions from words of the domain to text. Nothing here
//! writes anywhere or asks a server.
//!
//! Whatever comes from a server goes through [`plain`] or [`plain_lines`]: a resource's name or a
//! log line must not be able to move the cursor under a person who decides about a plan.

mod approval;
mod audit;
mod auth;
mod deployment;
mod drift;
mod gate;
mod list;
mod operate;
mod policy;
mod price;
mod progress;
mod project;
mod recovery;
mod setting;
mod state;
mod template;
mod test;

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, Utc};
use comfy_table::Table;
use comfy_table::presets::NOTHING;

pub use self::approval::{approvals, missing};
pub use self::audit::{audit, verdict};
pub use self::auth::{accounts, api_keys, sessions, whoami};
pub use self::deployment::{accepted, deployment, diagnostic, ended, plan};
pub use self::drift::{drift, drift_settings, drifts};
pub use self::gate::{gate_settings, resolved_gates};
pub use self::list::{deployments, log_line, outputs, stacks};
pub use self::operate::{bulk, jobs, queues, workers};
pub use self::policy::{dry_run, exemptions, modules, policies, policy_version};
pub use self::price::{imported_prices, price_files};
pub use self::progress::Progress;
pub use self::project::{members, projects};
pub use self::recovery::recovery;
pub use self::setting::{
    effective_settings, setting, setting_audit, setting_diff, setting_versions, settings,
};
pub use self::state::{orphans, state_diff, state_version, state_versions};
pub use self::template::{published, rendered, template, template_state, templates};
pub use self::test::tests;

/// Colours, or none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

/// What a piece of text is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// A heading or a phase.
    Bold,
    /// Something comes to be, or went well.
    Good,
    /// Something changes, or needs a look.
    Care,
    /// Something goes away, or went wrong.
    Bad,
    /// Of less interest.
    Dim,
}

impl Paint {
    /// With colours.
    pub const COLOURED: Self = Self { on: true };
    /// Without.
    pub const PLAIN: Self = Self { on: false };

    /// `text` in a colour, or as it is.
    pub fn ink(self, ink: Ink, text: &str) -> String {
        if !self.on {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => "1",
            Ink::Good => "32",
            Ink::Care => "33",
            Ink::Bad => "31",
            Ink::Dim => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// `text` with nothing in it that a terminal would act on; line ends count as such.
pub fn plain(text: &str) -> Cow<'_, str> {
    replace(text, |c| c == '\t')
}

/// The same for text of several lines, whose line feeds stay.
pub fn plain_lines(text: &str) -> Cow<'_, str> {
    replace(text, |c| c == '\t' || c == '\n')
}

fn replace(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let acts = |c: char| {
        // Controls, and the marks that turn the direction of writing.
        c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.chars().any(|c| acts(c) && !allowed(c)) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| match c {
        c if !acts(c) || allowed(c) => c,
        // Unicode has a picture for each of the old controls.
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        _ => '\u{fffd}',
    });
    Cow::Owned(shown.collect())
}

/// A length of time: `0.4s`, `4s`, `1m05s`, `2h03m`, `3d04h`.
pub fn duration(length: Duration) -> String {
    let s = length.as_secs();
    match s {
        0..10 if length.subsec_millis() >= 100 => {
            format!("{s}.{}s", length.subsec_millis() / 100)
        }
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// The time from `from` to `to`; nothing when the clocks disagree.
pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    duration((to - from).to_std().unwrap_or_default())
}

/// A moment for a person: UTC, to the second.
fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Columns with a heading line and no frame.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_shown_and_not_done() {
        assert_eq!(plain("a\x1b[2Jb\r\n\u{7f}"), "a\u{241b}[2Jb\u{240d}\u{240a}\u{2421}");
        assert_eq!(plain("x\u{9b}31m\u{202e}y"), "x\u{fffd}31m\u{fffd}y");
        assert_eq!(plain_lines("a\tb\nc\x07"), "a\tb\nc\u{2407}");
        assert!(matches!(plain("null_resource.a[\"é\"]"), Cow::Borrowed(_)));
    }

    #[test]
    fn lengths_of_time_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (65, "1m05s"),
            (3 * 3600 + 300, "3h05m"),
            (2 * 86_400 + 3600, "2d01h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        for (millis, text) in [(99, "0s"), (450, "0.4s"), (9_990, "9.9s"), (10_900, "10s")] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn colours_can_be_off() {
        assert_eq!(Paint::PLAIN.ink(Ink::Bad, "x"), "x");
        assert_eq!(Paint::COLOURED.ink(Ink::Bad, "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn a_table_has_no_frame_and_no_trailing_space() {
        let text = table(&["NAME", "AGE"], [vec!["a-long-name".into(), "3s".into()]]);
        assert_eq!(text, "NAME         AGE\na-long-name  3s\n");
    }
}
