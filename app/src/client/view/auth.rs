//! Accounts, keys and sessions, for a person.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::Value;
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::account::Account;
use slipway_domain::auth::api_key::ApiKey;
use slipway_domain::auth::session::Session;

use super::{between, plain, table};

/// Who asks, and what they may do.
pub fn whoami(me: &Value) -> String {
    let text = |value: &Value| plain(value.as_str().unwrap_or_default()).into_owned();
    let mut out = match me.get("account") {
        Some(account) => {
            let (name, kind) = (text(&account["name"]), text(&account["kind"]));
            format!("{name} ({kind}), {}\n", text(&me["actor"]))
        }
        None => format!("{}: nobody has to sign in here\n", text(&me["actor"])),
    };
    let list = |value: &Value| {
        let items = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        items.map(|item| plain(item).into_owned()).collect::<Vec<_>>().join(", ")
    };
    let mut held = |place: &str, hold: &Value| {
        let (roles, scopes) = (list(&hold["roles"]), list(&hold["scopes"]));
        if !scopes.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{place}: {roles}\n  {scopes}");
        }
    };
    held("everywhere", &me["house"]);
    for (project, hold) in me["projects"].as_object().into_iter().flatten() {
        held(&plain(project), hold);
    }
    out
}

/// Accounts, one a line.
pub fn accounts(items: &[Account]) -> String {
    let rows = items.iter().map(|account| {
        vec![
            account.id.to_string(),
            plain(&account.name).into_owned(),
            account.kind.as_str().to_owned(),
            plain(account.email.as_deref().unwrap_or("-")).into_owned(),
            if account.disabled_at.is_some() { "stopped" } else { "good" }.to_owned(),
        ]
    });
    table(&["ACCOUNT", "NAME", "KIND", "EMAIL", "STATE"], rows)
}

fn narrowing(of: &Narrowing) -> String {
    let scopes = match &of.scopes {
        None => "everything".to_owned(),
        Some(scopes) => scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(","),
    };
    match &of.project {
        Some(project) => format!("{scopes} in {}", plain(project)),
        None => scopes,
    }
}

fn ago(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| between(at, now))
}

/// Keys, one a line.
pub fn api_keys(items: &[ApiKey], now: DateTime<Utc>) -> String {
    let rows = items.iter().map(|key| {
        let state = match (key.revoked_at, key.is_live(now)) {
            (Some(_), _) => "revoked".to_owned(),
            (None, false) => "expired".to_owned(),
            (None, true) => match key.expires_at {
                Some(end) => format!("{} left", between(now, end)),
                None => "good".to_owned(),
            },
        };
        vec![
            key.id.to_string(),
            format!("slp_{}…", plain(&key.public)),
            plain(&key.name).into_owned(),
            state,
            ago(key.last_used_at, now),
            narrowing(&key.narrowing),
        ]
    });
    table(&["KEY", "BEGINS", "NAME", "STATE", "USED", "GOOD FOR"], rows)
}

/// Sessions, one a line.
pub fn sessions(items: &[Session], now: DateTime<Utc>) -> String {
    let rows = items.iter().map(|session| {
        vec![
            session.id.to_string(),
            plain(&session.method).into_owned(),
            plain(session.address.as_deref().unwrap_or("-")).into_owned(),
            between(session.created_at, now),
            between(session.last_used_at, now),
            plain(session.user_agent.as_deref().unwrap_or("-")).into_owned(),
        ]
    });
    table(&["SESSION", "BY", "FROM", "AGE", "USED", "PROGRAM"], rows)
}
