//! Projects and members.

use reqwest::Method;
use slipway_domain::id::AccountId;
use slipway_domain::member::{Member, MemberRoles};
use slipway_domain::page::Page;
use slipway_domain::project::{NewProject, Project, ProjectChange};

use super::transport::Call;
use super::{Client, ClientError};

/// Where the members of a project, or of the house, are.
fn members(project: Option<&str>) -> Vec<&str> {
    project.map_or_else(|| vec!["members"], |name| vec!["projects", name, "members"])
}

/// Only if it is still of a version; 0: only if there is none yet.
fn only_of(call: Call, version: Option<i64>) -> Call {
    match version {
        None => call,
        Some(0) => call.only_if("if-none-match", "*".to_owned()),
        Some(version) => call.only_if("if-match", format!("\"{version}\"")),
    }
}

impl Client {
    /// `GET /projects`: at most `limit` of them, by name, over as many pages as it takes.
    pub async fn projects(&self, limit: u32) -> Result<Page<Project>, ClientError> {
        self.pages(&["projects"], &[], limit).await
    }

    /// `GET /projects/{name}`.
    pub async fn project(&self, name: &str) -> Result<Project, ClientError> {
        self.get(&["projects", name], &[]).await?.json().await
    }

    /// `POST /projects`.
    pub async fn create_project(
        &self,
        request: &NewProject,
        idempotency_key: &str,
    ) -> Result<Project, ClientError> {
        let call = Call::new(Method::POST, &["projects"]).json(request)?;
        self.send(call.idempotent(idempotency_key)).await?.json().await
    }

    /// `PATCH /projects/{name}`: of version `from`, or of whatever it is.
    pub async fn change_project(
        &self,
        name: &str,
        change: &ProjectChange,
        from: Option<i64>,
    ) -> Result<Project, ClientError> {
        let call = Call::new(Method::PATCH, &["projects", name]).json(change)?;
        self.send(only_of(call, from)).await?.json().await
    }

    /// `DELETE /projects/{name}`.
    pub async fn remove_project(&self, name: &str, from: Option<i64>) -> Result<(), ClientError> {
        self.send(only_of(Call::new(Method::DELETE, &["projects", name]), from)).await?;
        Ok(())
    }

    /// `GET /projects/{name}/members`, or `GET /members` for the house.
    pub async fn members(
        &self,
        project: Option<&str>,
        limit: u32,
    ) -> Result<Page<Member>, ClientError> {
        self.pages(&members(project), &[], limit).await
    }

    /// `PUT …/members/{account}`: in place of version `from` (0: there must be none yet), or of
    /// whatever it is.
    pub async fn set_member(
        &self,
        project: Option<&str>,
        account: AccountId,
        roles: &MemberRoles,
        from: Option<i64>,
    ) -> Result<Member, ClientError> {
        let account = account.to_string();
        let mut path = members(project);
        path.push(&account);
        let call = Call::new(Method::PUT, &path).json(roles)?;
        self.send(only_of(call, from)).await?.json().await
    }

    /// `DELETE …/members/{account}`.
    pub async fn remove_member(
        &self,
        project: Option<&str>,
        account: AccountId,
        from: Option<i64>,
    ) -> Result<(), ClientError> {
        let account = account.to_string();
        let mut path = members(project);
        path.push(&account);
        self.send(only_of(Call::new(Method::DELETE, &path), from)).await?;
        Ok(())
    }
}
