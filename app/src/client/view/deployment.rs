//! One deployment, its plan and its complaints as text.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use slipway_domain::deployment::{Deployment, Operation, Waiting};
use slipway_domain::plan::{Diagnostic, Plan, Severity};

use super::progress::from;
use super::{Ink, Paint, between, moment, plain, plain_lines};
use crate::client::error::place;

/// A diagnostic: severity and summary, where it is, and its detail below, indented.
pub fn diagnostic(it: &Diagnostic, paint: Paint) -> String {
    let severity = match it.severity {
        Severity::Error => paint.ink(Ink::Bad, "error"),
        Severity::Warning => paint.ink(Ink::Care, "warning"),
    };
    let mut text = format!("{severity}: {}\n", plain(&it.summary));
    let file = it.file.as_deref().map(|file| place(file, it.line, it.column));
    let places: Vec<_> = file.into_iter().chain(it.address.clone()).collect();
    if !places.is_empty() {
        let _ = writeln!(text, "  {}", plain(&places.join(", ")));
    }
    for line in plain_lines(it.detail.trim()).lines() {
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text
}

/// A plan, with its digest in the last line.
pub fn plan(plan: &Plan, paint: Paint) -> String {
    let text = plan.to_text();
    let mut out = String::new();
    for line in plain_lines(&text).lines() {
        // A resource's line has its sign in the first three places; what belongs to it is further in.
        let ink = match line.get(..3).map(str::trim) {
            Some("+") => Some(Ink::Good),
            Some("-" | "-/+" | "+/-") => Some(Ink::Bad),
            Some("~") => Some(Ink::Care),
            _ if line.starts_with("Plan: ") => Some(Ink::Bold),
            _ => None,
        };
        match ink {
            Some(ink) => out.push_str(&paint.ink(ink, line)),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// What to say when a deployment was accepted and nobody waits for it.
pub fn accepted(d: &Deployment) -> String {
    let what = match d.operation {
        Operation::Deploy => "Deployment",
        Operation::Destroy => "Removal",
    };
    format!(
        "{what} {id} of {stack} was accepted.\n  slipway wait {id}    to follow it and be asked for \
         the approval\n  slipway status {id}  to see where it is\n",
        id = d.id,
        stack = d.stack,
    )
}

/// The last line about a deployment that ended or stands still.
pub fn ended(d: &Deployment, paint: Paint) -> String {
    use slipway_domain::state::DeploymentState as S;
    let id = d.id;
    let stack = &d.stack;
    let bold = |text: &str| paint.ink(Ink::Bold, text);
    let hint = match d.state {
        S::Succeeded if d.options.plan_only => format!(
            "{} Nothing was applied. What the gates think: slipway report {id}",
            bold("Planned.")
        ),
        S::Succeeded if d.operation == Operation::Destroy => {
            format!("{} Everything of {stack} is gone.", bold("Removed."))
        }
        S::Succeeded => format!("{} {stack} is as deployment {id} describes it.", bold("Done.")),
        S::NoChanges => format!("{} {stack} already is as described.", bold("No changes.")),
        S::Failed => format!(
            "{} What the tools printed: slipway logs {id}",
            bold(&format!("Deployment {id} failed."))
        ),
        S::AwaitingApproval => {
            let digest = d.plan.as_ref().map(|plan| format!(" --digest {}", plain(&plan.digest)));
            format!(
                "{}\n  slipway plan {id}\n  slipway approve {id}{}\n  slipway reject {id}",
                bold("The plan waits for approval. See it, then say yes or no:"),
                digest.unwrap_or_default(),
            )
        }
        S::Approved => format!("{} Start it: slipway apply {id}", bold("The plan is approved.")),
        S::Blocked => {
            format!("{} See which and why: slipway status {id}", bold("A gate blocks the plan."))
        }
        S::NeedsAttention => format!(
            "{} See what happened: slipway status {id}",
            bold("The deployment needs attention.")
        ),
        state => bold(&format!("Deployment {id} is {}.", state.as_str().replace('_', " "))),
    };
    hint + "\n"
}

/// All that a status shows. `now` is for the time that the present phase has taken.
pub fn deployment(d: &Deployment, now: DateTime<Utc>, paint: Paint) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    row("deployment", &d.id.to_string());
    row("stack", &d.stack.to_string());
    if d.operation == Operation::Destroy {
        row("operation", "destroy");
    }
    row("state", &paint.ink(Ink::Bold, &d.state.as_str().replace('_', " ")));
    if let Some(reason) = &d.reason {
        row("reason", &plain(reason));
    }
    if let Some(stale) = &d.stale {
        row("out of date", &stale.to_string());
    }
    if let Some(waiting) = &d.waiting {
        row("waits", &waits(waiting));
    }
    if let Some(cancel) = &d.cancel {
        let text = cancel.to_text();
        row("stopping", &format!("asked at {}; {}", moment(cancel.asked_at), plain(&text)));
    } else if let Some(at) = d.cancel_requested_at.filter(|_| !d.state.is_terminal()) {
        row("stopping", &format!("asked at {}", moment(at)));
    }
    row("source", &from(&d.source));
    if let Some(commit) = &d.commit {
        row("commit", &plain(commit));
    }
    if let Some(plan) = &d.plan {
        row("plan", &format!("{} ({})", plan.counts, plain(&plan.digest)));
    }
    if let Some(approval) = &d.approval {
        let comment = approval.comment.as_deref().map(|c| format!(": {}", plain(c)));
        let who = plain(&approval.by.id);
        let at = moment(approval.at);
        row("approved", &format!("by {who} at {at}{}", comment.unwrap_or_default()));
    }
    row("submitted", &format!("by {} at {}", plain(&d.submitted_by.id), moment(d.created_at)));
    if let Some(at) = d.expires_at.filter(|_| !d.state.is_terminal()) {
        row("expires", &moment(at));
    }
    if let Some(trace) = &d.trace_id {
        row("trace", &plain(trace));
    }
    row("phases", &phases(d, now));
    if let Some(failure) = &d.failure {
        let _ = writeln!(text, "\nfailed while {}: {}", failure.during, plain(&failure.summary));
        for it in &failure.diagnostics {
            text.push_str(&diagnostic(it, paint));
        }
    }
    text
}

fn phases(d: &Deployment, now: DateTime<Utc>) -> String {
    let mut parts = Vec::new();
    for (n, phase) in d.phases.iter().enumerate() {
        let name = phase.state.as_str().replace('_', " ");
        let end = d.phases.get(n + 1).map(|next| next.entered_at);
        let end = end.or_else(|| (!phase.state.is_terminal()).then_some(now));
        parts.push(match end {
            Some(end) => format!("{name} {}", between(phase.entered_at, end)),
            None => name,
        });
    }
    parts.join(" → ")
}

fn waits(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Worker { queue, position, .. } => {
            format!("for a worker of the queue {queue}, place {position}")
        }
        Waiting::Stack { held_by, position } => {
            format!("for {held_by}, which holds the stack; place {position}")
        }
        Waiting::Approval { plan_digest } => format!("for approval of {}", plain(plan_digest)),
        Waiting::Freeze { until, reason } => {
            format!("until {}: {}", moment(*until), plain(reason))
        }
        Waiting::Apply { .. } => "for `slipway apply`".to_owned(),
        Waiting::Attention { detail } => format!("for a person: {}", plain(detail)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(change: &serde_json::Value) -> Deployment {
        let mut value = crate::client::mock::deployment_json();
        value.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2025-11-21T07:01:00Z".parse().unwrap()
    }

    #[test]
    fn a_status_says_where_it_is_and_what_it_waits_for() {
        let d = sample(&json!({
            "state": "submitted",
            "phases": [{"state": "submitted", "entered_at": "2025-11-21T07:00:00Z"}],
            "waiting": {"for": "worker", "queue": "plan", "position": 2,
                "job_id": "job_0192f1c0111170008000000000000000"},
        }));
        let text = deployment(&d, now(), Paint::PLAIN);
        assert!(text.contains("state       submitted\n"), "{text}");
        assert!(text.contains("waits       for a worker of the queue plan, place 2\n"), "{text}");
        assert!(text.contains("phases      submitted 1m00s\n"), "{text}");
    }

    #[test]
    fn a_failed_one_shows_its_diagnostics() {
        let d = sample(&json!({
            "state": "failed",
            "phases": [
                {"state": "submitted", "entered_at": "2025-11-21T07:00:00Z"},
                {"state": "planning", "entered_at": "2025-11-21T07:00:02Z"},
                {"state": "failed", "entered_at": "2025-11-21T07:00:07Z"},
            ],
            "failure": {"during": "planning", "summary": "the plan failed", "diagnostics": [
                {"severity": "error", "summary": "No such file", "detail": "Look.\n",
                 "file": "a.tf", "line": 9}]},
        }));
        let text = deployment(&d, now(), Paint::PLAIN);
        assert!(text.contains("submitted 2s → planning 5s → failed\n"), "{text}");
        assert!(
            text.ends_with(
                "\nfailed while planning: the plan failed\nerror: No such file\n  a.tf:9\n  Look.\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_waits_for_approval_names_the_command_with_the_digest() {
        let d = sample(&json!({"state": "awaiting_approval"}));
        let text = ended(&d, Paint::PLAIN);
        assert!(text.contains(&format!("slipway approve {} --digest sha256:", d.id)), "{text}");
    }

    #[test]
    fn a_plan_cannot_move_the_cursor_and_keeps_its_lines() {
        let mut it = crate::client::mock::plan();
        it.changes[0].address = "null_resource.a\u{1b}[1A".to_owned();
        let text = plan(&it, Paint::PLAIN);
        assert!(text.contains("  + null_resource.a\u{241b}[1A\n"), "{text}");
        assert!(text.trim_end().ends_with(&format!("Digest: {}", it.digest)), "{text}");
        let coloured = plan(&it, Paint::COLOURED);
        assert!(coloured.contains("\x1b[32m  + null_resource.a"), "{coloured}");
    }
}
