//! Projects.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use slipway_domain::access::{Actor, Reach};
use slipway_domain::page::NamedPageRequest;
use slipway_domain::project::Project;

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::{fill, only, reached, within};
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    description: Option<String>,
    created_by: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

impl TryFrom<Row> for Project {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let actor = |text: &str| {
            serde_json::from_str::<Actor>(text).map_err(|e| Error::corrupt("projects", e))
        };
        Ok(Self {
            created_by: row.created_by.as_deref().map(actor).transpose()?,
            name: row.name,
            description: row.description,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select name, description, created_by, created_at, updated_at, version from projects ",
            $rest
        )
    };
}

/// What belongs to a project and keeps it from being removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Belongings {
    /// How many stacks.
    pub stacks: i64,
    /// For how many scopes there are settings of gates.
    pub gate_settings: i64,
    /// How many exemptions that hold.
    pub exemptions: i64,
}

impl Tx {
    /// A project.
    pub async fn project(&mut self, name: &str) -> Result<Option<Project>> {
        sql!(maybe Row, self, select!("where name = $1"), name)?.map(Project::try_from).transpose()
    }

    /// A project, locked until the unit of work ends: no stack is made in it meanwhile.
    pub async fn lock_project(&mut self, name: &str) -> Result<Option<Project>> {
        let text = fill(self, select!("where name = $1 {for_update}"));
        sql!(maybe Row, self, text, name)?.map(Project::try_from).transpose()
    }

    /// Up to `limit + 1` projects within `reach`, by name.
    pub async fn projects(
        &mut self,
        reach: &Reach,
        page: &NamedPageRequest,
    ) -> Result<Vec<Project>> {
        let text = only(
            select!("where {name > $1} and {within name $2} order by name limit $3"),
            &[("name > $1", page.after.is_some())],
        );
        let text = within(self, text, reach);
        sql!(all Row, self, text, page.after.as_deref(), reached(reach),
            i64::from(page.limit) + 1)?
        .into_iter()
        .map(Project::try_from)
        .collect()
    }

    /// Adds a project. `false` when there is one of that name.
    pub async fn insert_project(&mut self, project: &Project) -> Result<bool> {
        let by = project.created_by.as_ref().map(to_json).transpose()?;
        let added = sql!(execute self,
            "insert into projects (name, description, created_by, created_at, updated_at, version)
             values ($1, $2, $3, $4, $5, $6) on conflict (name) do nothing",
            project.name.as_str(), project.description.as_deref(), by, project.created_at,
            project.updated_at, project.version)?;
        Ok(added == 1)
    }

    /// Which of `names` are projects. They stay until the unit of work ends.
    pub async fn hold_projects(&mut self, names: &BTreeSet<&str>) -> Result<BTreeSet<String>> {
        let reach = Reach::Projects(names.iter().map(|name| (*name).to_owned()).collect());
        let text = fill(self, "select name from projects where {within name $1} {for_share}");
        let text = within(self, text, &reach);
        let rows = sql!(all(String,), self, text, reached(&reach))?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Changes the description of a project of version `before`. `false` when it is of another.
    pub async fn describe_project(
        &mut self,
        name: &str,
        description: Option<&str>,
        before: i64,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let changed = sql!(execute self,
            "update projects set description = $2, updated_at = $3, version = version + 1
             where name = $1 and version = $4", name, description, now, before)?;
        Ok(changed == 1)
    }

    /// What belongs to a project.
    pub async fn belongings(&mut self, project: &str, now: DateTime<Utc>) -> Result<Belongings> {
        let found = sql!(maybe Belongings, self,
            "select (select count(*) from stacks where project = $1) as stacks,
                 (select count(*) from gate_settings where project = $1) as gate_settings,
                 (select count(*) from exemptions
                  where project = $1 and revoked_at is null and expires_at > $2) as exemptions",
            project, now)?;
        found.ok_or_else(|| Error::corrupt("projects", "a row without a table is missing"))
    }

    /// Removes a project and its memberships.
    pub async fn delete_project(&mut self, name: &str) -> Result<()> {
        sql!(execute self, "delete from members where project = $1", name)?;
        sql!(execute self, "delete from projects where name = $1", name)?;
        Ok(())
    }
}
