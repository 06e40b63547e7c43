//! Projects and members as tables.

use chrono::{DateTime, Utc};
use slipway_domain::access::Role;
use slipway_domain::member::Member;
use slipway_domain::project::Project;

use super::{between, plain, table};

/// Projects, one a line.
pub fn projects(items: &[Project], now: DateTime<Utc>) -> String {
    let rows = items.iter().map(|project| {
        let by = project.created_by.as_ref().map_or("-", |by| by.id.as_str());
        vec![
            plain(&project.name).into_owned(),
            project.version.to_string(),
            between(project.created_at, now),
            plain(by).into_owned(),
            plain(project.description.as_deref().unwrap_or("-")).into_owned(),
        ]
    });
    table(&["PROJECT", "VERSION", "AGE", "BY", "FOR"], rows)
}

/// Members, one a line.
pub fn members(items: &[Member], now: DateTime<Utc>) -> String {
    let rows = items.iter().map(|member| {
        let roles: Vec<_> = member.roles.iter().copied().map(Role::as_str).collect();
        vec![
            member.account_id.to_string(),
            plain(member.project.as_deref().unwrap_or("(house)")).into_owned(),
            roles.join(", "),
            member.version.to_string(),
            between(member.created_at, now),
            plain(&member.changed_by.id).into_owned(),
        ]
    });
    table(&["ACCOUNT", "PROJECT", "ROLES", "VERSION", "AGE", "BY"], rows)
}
