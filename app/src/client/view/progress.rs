//! Events of a deployment as lines that a person follows: one for each phase, resource, gate and
//! complaint.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use chrono::{DateTime, Utc};
use slipway_domain::access::Actor;
use slipway_domain::approval::Verb;
use slipway_domain::event::{Event, EventBody, ResourceStatus};
use slipway_domain::gate::GateVerdict;
use slipway_domain::plan::Action;
use slipway_domain::source::Source;
use slipway_domain::state::DeploymentState;

use super::{Ink, Paint, between, diagnostic, duration, plain, plain_lines};

/// Turns events into lines. Keeps what it needs for "after 3s" and "still creating".
#[derive(Debug)]
pub struct Progress {
    paint: Paint,
    began: Option<DateTime<Utc>>,
    phase_began: Option<DateTime<Utc>>,
    running: BTreeMap<String, (Action, Instant)>,
}

impl Progress {
    /// At the beginning of a deployment.
    pub fn new(paint: Paint) -> Self {
        Self { paint, began: None, phase_began: None, running: BTreeMap::new() }
    }

    /// The text for an event, each line ended; empty when there is nothing to say.
    pub fn show(&mut self, event: &Event) -> String {
        let line = match &event.body {
            EventBody::Submitted { stack, source, by } => {
                self.began = Some(event.at);
                self.phase_began = Some(event.at);
                let phase = self.paint.ink(Ink::Bold, "submitted");
                format!("{phase} {stack} from {} by {}", from(source), who(by))
            }
            EventBody::StateChanged { from, to, reason, by } => {
                self.phase(event.at, *from, *to, reason.as_deref(), by.as_ref())
            }
            EventBody::Step { step, detail } => {
                let detail = detail.as_deref().map(|d| format!(": {}", plain(d)));
                let step = format!("  {}{}", plain(step), detail.unwrap_or_default());
                self.paint.ink(Ink::Dim, &step)
            }
            EventBody::PlanReady { plan } => {
                format!("  plan {}: {}", plan.number, plan.counts)
            }
            EventBody::Gate { result } => {
                let (ink, verdict) = match result.verdict {
                    GateVerdict::Pass => (Ink::Good, "passes"),
                    GateVerdict::Warn => (Ink::Care, "warns"),
                    GateVerdict::Pending => (Ink::Dim, "has not answered yet"),
                    GateVerdict::NeedsApproval => (Ink::Care, "needs approval"),
                    GateVerdict::Deny => (Ink::Bad, "denies"),
                };
                let gate = name_of(&result.gate);
                let verdict = self.paint.ink(ink, verdict);
                format!("  gate {gate} {verdict}: {}", plain(&result.detail))
            }
            EventBody::Approval { decision, by, comment, standing, .. } => {
                let (ink, did) = match decision {
                    Verb::Approve => (Ink::Good, "approved"),
                    Verb::Reject => (Ink::Bad, "rejected"),
                    Verb::Revoke => (Ink::Care, "approval taken back"),
                };
                let comment = comment.as_deref().map(|c| format!(": {}", plain(c)));
                let missing = standing.as_ref().filter(|standing| !standing.complete);
                let missing = missing
                    .map(|s| format!("; still missing: {}", plain(&s.missing.join(", and "))));
                let did = self.paint.ink(ink, did);
                let (comment, missing) = (comment.unwrap_or_default(), missing.unwrap_or_default());
                format!("  {did} by {}{comment}{missing}", who(by))
            }
            EventBody::Resource { address, action, status, elapsed_s, resource_id, .. } => {
                return self.resource(
                    address,
                    *action,
                    *status,
                    *elapsed_s,
                    resource_id.as_deref(),
                );
            }
            EventBody::Diagnostic { diagnostic: it } => {
                return indented(&diagnostic(it, self.paint));
            }
            EventBody::CancelProgress { cancel } => {
                let stopping = self.paint.ink(Ink::Care, "stopping");
                format!("  {stopping}, {}", plain(&cancel.to_text()))
            }
            EventBody::CancelRequested { by, reason, forced } => {
                let reason = reason.as_deref().map(|r| format!(": {}", plain(r)));
                let asked = if *forced { "asked to kill it" } else { "asked to stop" };
                let asked = self.paint.ink(Ink::Care, asked);
                format!("  {asked} by {}{}", who(by), reason.unwrap_or_default())
            }
            EventBody::JobRetried { attempt, error, run_at } => {
                let error = plain_lines(error);
                let first = error.lines().next().unwrap_or_default();
                let again = self.paint.ink(Ink::Care, "will try again");
                let pause = between(event.at, *run_at);
                format!("  {again} in {pause}: attempt {attempt} failed: {first}")
            }
            EventBody::Recovery { summary, .. } => {
                let found = self.paint.ink(Ink::Care, "recovery");
                format!("  {found}: {}", plain(summary))
            }
            EventBody::Tests { status, summary, .. } => {
                format!("  tests {}: {}", super::test::status(*status, self.paint), plain(summary))
            }
            EventBody::Drift { turn, summary, .. } => {
                let drift = self.paint.ink(Ink::Care, &format!("drift {}", turn.as_str()));
                format!("  {drift}: {}", plain(summary))
            }
            EventBody::PlanStale { stale } => {
                format!("  {}: {stale}", self.paint.ink(Ink::Care, "out of date"))
            }
            EventBody::Outputs { names } => {
                format!("  outputs: {}", plain(&names.join(", ")))
            }
        };
        line + "\n"
    }

    /// What is being made right now and for how long, when something is; for when nothing else was
    /// said for a while.
    pub fn still_running(&self) -> Option<String> {
        const SHOWN: usize = 3;
        if self.running.is_empty() {
            return None;
        }
        let mut longest: Vec<_> = self.running.iter().collect();
        longest.sort_by_key(|(_, (_, since))| *since);
        let mut parts: Vec<String> = longest
            .iter()
            .take(SHOWN)
            .map(|(address, (action, since))| {
                let length = duration(since.elapsed());
                format!("{} {} for {length}", doing(*action), plain(address))
            })
            .collect();
        if longest.len() > SHOWN {
            parts.push(format!("{} more", longest.len() - SHOWN));
        }
        Some(self.paint.ink(Ink::Dim, &format!("  … still {}", parts.join(", "))) + "\n")
    }

    fn phase(
        &mut self,
        at: DateTime<Utc>,
        from: DeploymentState,
        to: DeploymentState,
        reason: Option<&str>,
        by: Option<&Actor>,
    ) -> String {
        use DeploymentState as S;
        let ink = match to {
            S::Succeeded | S::NoChanges => Ink::Good,
            S::Failed | S::RolledBack | S::NeedsAttention | S::Blocked => Ink::Bad,
            S::Cancelled | S::Superseded | S::Expired | S::Interrupted | S::AwaitingApproval => {
                Ink::Care
            }
            _ => Ink::Bold,
        };
        let mut line = self.paint.ink(ink, &to.as_str().replace('_', " "));
        if to.is_terminal() {
            // It is over: how long all of it took.
            if let Some(began) = self.began {
                let _ = write!(line, " after {}", between(began, at));
            }
        } else if let Some(began) = self.phase_began {
            let took = between(began, at);
            match (from, to) {
                (S::Planning, S::Planned) => {
                    let _ = write!(line, " in {took}");
                }
                (S::Applying, S::Verifying) => {
                    line = format!("{} in {took}, {line}", self.paint.ink(ink, "applied"));
                }
                _ => {}
            }
        }
        if let Some(by) = by {
            let _ = write!(line, " by {}", who(by));
        }
        if let Some(reason) = reason {
            let _ = write!(line, ": {}", plain(reason));
        }
        self.phase_began = Some(at);
        self.running.clear();
        line
    }

    fn resource(
        &mut self,
        address: &str,
        action: Action,
        status: ResourceStatus,
        elapsed_s: Option<u64>,
        resource_id: Option<&str>,
    ) -> String {
        let began = match status {
            ResourceStatus::Started => {
                self.running.insert(address.to_owned(), (action, Instant::now()));
                return String::new();
            }
            ResourceStatus::Completed | ResourceStatus::Errored => self.running.remove(address),
        };
        let length = elapsed_s
            .map(std::time::Duration::from_secs)
            .or_else(|| began.map(|(_, since)| since.elapsed()))
            .map(duration);
        let sign = self.paint.ink(sign_ink(action), action.sign());
        let mut line = format!("  {sign} {} ", plain(address));
        if status == ResourceStatus::Errored {
            line.push_str(&self.paint.ink(Ink::Bad, &format!("{} failed", doing(action))));
            line.push_str(&length.map(|l| format!(" after {l}")).unwrap_or_default());
        } else {
            line.push_str(done(action));
            line.push_str(&length.map(|l| format!(" in {l}")).unwrap_or_default());
        }
        if let Some(id) = resource_id {
            let _ = write!(line, " [id={}]", plain(id));
        }
        line + "\n"
    }
}

fn sign_ink(action: Action) -> Ink {
    match action {
        Action::Create => Ink::Good,
        Action::Delete | Action::DeleteThenCreate | Action::CreateThenDelete => Ink::Bad,
        Action::Update | Action::Forget | Action::Import | Action::Read | Action::Move => Ink::Care,
    }
}

fn doing(action: Action) -> &'static str {
    match action {
        Action::Create => "creating",
        Action::Update => "updating",
        Action::DeleteThenCreate | Action::CreateThenDelete => "replacing",
        Action::Delete => "deleting",
        Action::Forget => "forgetting",
        Action::Import => "importing",
        Action::Read => "reading",
        Action::Move => "moving",
    }
}

fn done(action: Action) -> &'static str {
    match action {
        Action::Create => "created",
        Action::Update => "updated",
        Action::DeleteThenCreate | Action::CreateThenDelete => "replaced",
        Action::Delete => "deleted",
        Action::Forget => "forgotten",
        Action::Import => "imported",
        Action::Read => "read",
        Action::Move => "moved",
    }
}

fn who(actor: &Actor) -> String {
    plain(&actor.id).into_owned()
}

/// Where a source is, in words.
pub(super) fn from(source: &Source) -> String {
    let inside = |path: &Option<String>| {
        path.as_deref().map(|p| format!(", directory {}", plain(p))).unwrap_or_default()
    };
    match source {
        Source::Template { name, version: None } => format!("template {}", plain(name)),
        Source::Template { name, version: Some(version) } => {
            format!("template {} version {version}", plain(name))
        }
        Source::Archive { artifact_id, path } => format!("archive {artifact_id}{}", inside(path)),
        Source::Git { url, reference, path } => {
            let reference = reference.as_deref().map(|r| format!(" at {}", plain(r)));
            format!("{}{}{}", plain(url), reference.unwrap_or_default(), inside(path))
        }
        Source::Directory { path } => format!("directory {}", plain(path)),
    }
}

/// The text form of an enum that serialises to a text.
fn name_of<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

fn indented(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn show(bodies: &[serde_json::Value]) -> String {
        let mut progress = Progress::new(Paint::PLAIN);
        let mut text = String::new();
        for (n, body) in bodies.iter().enumerate() {
            let mut event = json!({
                "seq": n + 1,
                "deployment_id": "dep_0192f1c0111170008000000000000000",
                "at": format!("2025-11-21T07:00:{n:02}Z"),
            });
            event.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            text.push_str(&progress.show(&serde_json::from_value(event).unwrap()));
        }
        text
    }

    #[test]
    fn a_deployment_is_told_line_by_line() {
        let by = json!({"id": "local", "kind": "person", "via": "rest"});
        let counts = json!({"create": 1, "update": 0, "replace": 0, "delete": 0, "import": 0,
            "forget": 0, "move": 0, "read": 0});
        let change =
            |from: &str, to: &str| json!({"type": "state_changed", "from": from, "to": to});
        let mut approved = change("awaiting_approval", "approved");
        approved["by"] = by.clone();
        approved["reason"] = json!("looks good");
        let text = show(&[
            json!({"type": "submitted", "by": by, "source": {"type": "template", "name": "net"},
                "stack": {"project": "shop", "name": "net", "environment": "dev"}}),
            change("submitted", "planning"),
            json!({"type": "step", "step": "init"}),
            json!({"type": "step", "step": "fetch", "detail": "commit 1a2b"}),
            change("planning", "planned"),
            json!({"type": "plan_ready", "plan": {"id": "pln_0192f1c0111170008000000000000000",
                "number": 1, "digest": "sha256:00", "counts": counts}}),
            json!({"type": "gate", "gate": "approval", "verdict": "needs_approval",
                "detail": "a person must approve"}),
            change("planned", "awaiting_approval"),
            approved,
            change("approved", "applying"),
            json!({"type": "resource", "address": "null_resource.a", "action": "create",
                "status": "started"}),
            json!({"type": "resource", "address": "null_resource.a", "action": "create",
                "status": "completed", "elapsed_s": 2, "resource_id": "42"}),
            change("applying", "verifying"),
            json!({"type": "outputs", "names": ["a", "b"]}),
            change("verifying", "succeeded"),
        ]);
        assert_eq!(
            text,
            "submitted shop/net/dev from template net by local\n\
             planning\n\
             \x20 init\n\
             \x20 fetch: commit 1a2b\n\
             planned in 3s\n\
             \x20 plan 1: 1 to create, 0 to update, 0 to replace, 0 to delete\n\
             \x20 gate approval needs approval: a person must approve\n\
             awaiting approval\n\
             approved by local: looks good\n\
             applying\n\
             \x20 + null_resource.a created in 2s [id=42]\n\
             applied in 3s, verifying\n\
             \x20 outputs: a, b\n\
             succeeded after 14s\n"
        );
    }

    #[test]
    fn a_failure_shows_place_and_detail() {
        let text = show(&[
            json!({"type": "resource", "address": "null_resource.b", "action": "delete",
                "status": "errored", "elapsed_s": 61}),
            json!({"type": "diagnostic", "severity": "error", "summary": "Invalid index",
                "detail": "The given key\ndoes not exist.", "file": "main.tf", "line": 3,
                "column": 5, "address": "null_resource.b"}),
            json!({"type": "diagnostic", "severity": "warning", "summary": "Old\u{1b}[31m syntax",
                "detail": ""}),
            json!({"type": "job_retried", "attempt": 1, "error": "timed out\nmore",
                "run_at": "2025-11-21T07:00:13Z"}),
            json!({"type": "cancel_requested", "by": {"id": "eve", "kind": "person", "via": "rest"},
                "reason": "wrong region"}),
            json!({"type": "cancel_progress", "phase": "draining", "asked_at": "2025-11-21T07:00:03Z",
                "in_flight": ["a.b"], "done": 2, "left": 1, "left_addresses": ["a.c"]}),
            json!({"type": "state_changed", "from": "applying", "to": "failed",
                "reason": "terraform apply failed"}),
        ]);
        assert_eq!(
            text,
            "  - null_resource.b deleting failed after 1m01s\n\
             \x20 error: Invalid index\n\
             \x20   main.tf:3:5, null_resource.b\n\
             \x20   The given key\n\
             \x20   does not exist.\n\
             \x20 warning: Old\u{241b}[31m syntax\n\
             \x20 will try again in 10s: attempt 1 failed: timed out\n\
             \x20 asked to stop by eve: wrong region\n\
             \x20 stopping, draining: 1 in flight (a.b), 2 done, 1 left (a.c)\n\
             failed: terraform apply failed\n"
        );
    }

    #[test]
    fn what_is_being_made_is_named_until_it_is_done() {
        let resource = |address: &str, status| EventBody::Resource {
            address: address.to_owned(),
            action: Action::Create,
            status,
            elapsed_s: None,
            resource_id: None,
            id_key: None,
        };
        let mut progress = Progress::new(Paint::PLAIN);
        assert_eq!(progress.still_running(), None);
        let tell = |progress: &mut Progress, body| {
            progress.show(&Event {
                seq: 1,
                deployment_id: "dep_0192f1c0111170008000000000000000".parse().unwrap(),
                at: "2025-11-21T07:00:00Z".parse().unwrap(),
                body,
            })
        };
        for n in 0..5 {
            let silent = tell(&mut progress, resource(&format!("a.{n}"), ResourceStatus::Started));
            assert_eq!(silent, "");
        }
        let text = progress.still_running().unwrap();
        assert!(text.contains("creating a.0 for 0s") && text.contains("2 more"), "{text}");
        for n in 0..5 {
            tell(&mut progress, resource(&format!("a.{n}"), ResourceStatus::Completed));
        }
        assert_eq!(progress.still_running(), None);
    }
}
