//! Approvals, for a person.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use slipway_domain::approval::{Approvals, Decision, Standing, Verb};

use super::{Ink, Paint, between, moment, plain, table};

/// How far a plan is, and who is missing: one line each. Empty when nobody is.
pub fn missing(standing: &Standing) -> String {
    if standing.complete {
        return String::new();
    }
    let Standing { given, required, missing, .. } = standing;
    let mut text = format!("{given} of {required} approvals are given; still missing:\n");
    for who in missing {
        let _ = writeln!(text, "  {}", plain(who));
    }
    text
}

/// What a plan needs, how far it is, and every decision.
pub fn approvals(all: &Approvals, now: DateTime<Utc>, paint: Paint) -> String {
    let mut text = String::new();
    if let (Some(need), Some(standing)) = (&all.need, &all.standing) {
        let _ = writeln!(text, "{} {}", paint.ink(Ink::Bold, "Needed:"), plain(&need.to_text()));
        for reason in need.requirements.iter().flat_map(|r| &r.reasons) {
            let _ = writeln!(text, "  {}", plain(reason));
        }
        for barred in &need.barred {
            let _ = writeln!(text, "  not {}, who {}", plain(&barred.actor_id), plain(&barred.why));
        }
        if standing.complete {
            let _ = writeln!(text, "{}", paint.ink(Ink::Good, "It has all that it needs."));
        } else {
            text.push_str(&missing(standing));
        }
    }
    if let Some(frozen) = &all.frozen {
        let (until, reason) = (moment(frozen.until), plain(&frozen.reason));
        let _ = writeln!(text, "Nothing is applied until {until}: {reason}");
    }
    if all.items.is_empty() {
        text.push_str("Nobody has decided yet.\n");
        return text;
    }
    text.push('\n');
    let header = ["APPROVAL", "DECISION", "BY", "AGE", "PLAN", "COMMENT"];
    let rows = all.items.iter().map(|d| {
        vec![
            d.id.to_string(),
            decision(d, now),
            plain(&d.by.id).into_owned(),
            between(d.at, now),
            plain(&d.plan_digest.chars().take(19).collect::<String>()).into_owned(),
            d.comment.as_deref().map(|c| plain(c).into_owned()).unwrap_or_default(),
        ]
    });
    text.push_str(&table(&header, rows));
    text
}

fn decision(d: &Decision, now: DateTime<Utc>) -> String {
    let mut text = match d.decision {
        Verb::Reject => "no".to_owned(),
        _ => "yes".to_owned(),
    };
    if let Some(revoked) = &d.revoked {
        let _ = write!(text, ", taken back by {}", plain(&revoked.by.id));
    } else if d.is_expired(now) {
        text.push_str(", too old");
    }
    if d.carried_from.is_some() {
        text.push_str(" (carried)");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all() -> Approvals {
        let actor = |id: &str| json!({"id": id, "kind": "person", "via": "rest"});
        let item = |n: u8, by: &str, more: serde_json::Value| {
            let mut item = json!({
                "id": format!("apr_{n:032x}"), "deployment_id": format!("dep_{:032x}", 1),
                "plan_id": format!("pln_{:032x}", 1),
                "plan_digest": "sha256:0123456789abcdef0123456789abcdef", "decision": "approve",
                "by": actor(by), "roles": [], "at": "2025-11-21T07:00:00Z",
            });
            item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            item
        };
        serde_json::from_value(json!({
            "need": {
                "verdict": "needs_approval", "approvals": 2, "agents_may_approve": true,
                "requirements": [
                    {"approvals": 2, "roles": [], "reasons": ["it deletes a database"]},
                    {"approvals": 1, "roles": ["admin"], "reasons": ["a rule wants it"]},
                ],
                "barred": [{"actor_id": "eve", "as_agent": false,
                    "why": "submitted this deployment"}],
            },
            "standing": {"required": 2, "given": 1, "complete": false,
                "missing": ["an admin (a rule wants it)"]},
            "frozen": {"until": "2025-11-22T00:00:00Z", "reason": "the sale\u{1b}[2J"},
            "items": [
                item(1, "ann", json!({"comment": "fine", "revoked": {"at": "2025-11-21T07:00:30Z",
                    "by": actor("bob")}})),
                item(2, "bob", json!({"expires_at": "2025-11-21T07:00:30Z"})),
                item(3, "cat", json!({"decision": "reject"})),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_person_sees_who_is_missing_and_what_was_said() {
        let text = approvals(&all(), "2025-11-21T07:01:00Z".parse().unwrap(), Paint::PLAIN);
        for part in [
            "Needed: 2 approvals, 1 of them by an admin\n  it deletes a database\n",
            "  not eve, who submitted this deployment\n",
            "1 of 2 approvals are given; still missing:\n  an admin (a rule wants it)\n",
            "Nothing is applied until 2025-11-22",
            "yes, taken back by bob",
            "yes, too old",
            "no",
            "sha256:0123456789ab",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "a reason cannot move the cursor: {text}");
    }

    #[test]
    fn nobody_has_decided_before_there_is_a_plan() {
        let none = Approvals { need: None, standing: None, frozen: None, items: Vec::new() };
        let text = approvals(&none, DateTime::UNIX_EPOCH, Paint::PLAIN);
        assert_eq!(text, "Nobody has decided yet.\n");
    }
}
