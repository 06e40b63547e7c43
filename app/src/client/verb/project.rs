//! `slipway projects` and `slipway members`.

use slipway_domain::member::MemberRoles;
use slipway_domain::project::{NewProject, ProjectChange};

use super::Desk;
use super::show::more;
use crate::cli::{MemberVerb, ProjectVerb};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::http::mint_idempotency_key;
use crate::client::view;

/// `slipway projects`.
pub(super) async fn projects(
    desk: &Desk<'_>,
    verb: Option<ProjectVerb>,
) -> Result<Exit, ClientError> {
    let one = match verb.unwrap_or(ProjectVerb::List { limit: 50 }) {
        ProjectVerb::List { limit } => {
            let page = desk.client.projects(limit).await?;
            desk.screen.result(&page, |_| {
                view::projects(&page.items, Desk::now()) + more(page.next_cursor.is_some())
            })?;
            return Ok(Exit::Success);
        }
        ProjectVerb::Remove { project, if_version } => {
            desk.client.remove_project(&project, if_version).await?;
            desk.screen.tell(&format!("The project {project} is gone.\n"))?;
            return Ok(Exit::Success);
        }
        ProjectVerb::Show { project } => desk.client.project(&project).await?,
        ProjectVerb::Create { project: name, description } => {
            let request = NewProject { name, description };
            desk.client.create_project(&request, &mint_idempotency_key()).await?
        }
        ProjectVerb::Describe { project, description, if_version } => {
            let change = ProjectChange { description: Some(description) };
            desk.client.change_project(&project, &change, if_version).await?
        }
    };
    desk.screen.result(&one, |_| view::projects(std::slice::from_ref(&one), Desk::now()))?;
    Ok(Exit::Success)
}

/// `slipway members`.
pub(super) async fn members(desk: &Desk<'_>, verb: MemberVerb) -> Result<Exit, ClientError> {
    match verb {
        MemberVerb::List { project, limit } => {
            let page = desk.client.members(project.as_deref(), limit).await?;
            desk.screen.result(&page, |_| {
                view::members(&page.items, Desk::now()) + more(page.next_cursor.is_some())
            })?;
        }
        MemberVerb::Set { account, project, roles, if_version } => {
            let roles = MemberRoles { roles: roles.into_iter().collect() };
            let project = project.as_deref();
            let one = desk.client.set_member(project, account, &roles, if_version).await?;
            desk.screen.result(&one, |_| view::members(std::slice::from_ref(&one), Desk::now()))?;
        }
        MemberVerb::Remove { account, project, if_version } => {
            desk.client.remove_member(project.as_deref(), account, if_version).await?;
            let of =
                project.map_or_else(|| "the house".to_owned(), |name| format!("project {name}"));
            desk.screen.tell(&format!("{account} is no member of {of} any more.\n"))?;
        }
    }
    Ok(Exit::Success)
}
