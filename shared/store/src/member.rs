//! Members of projects and of the house. In the table an empty name stands for the house.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use slipway_domain::access::Role;
use slipway_domain::id::AccountId;
use slipway_domain::member::Member;
use slipway_domain::page::PageRequest;

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::{fill, only};
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    account_id: AccountId,
    project: String,
    roles: String,
    changed_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

impl TryFrom<Row> for Member {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let wrong = |e: serde_json::Error| Error::corrupt("members", e);
        Ok(Self {
            account_id: row.account_id,
            project: (!row.project.is_empty()).then_some(row.project),
            roles: serde_json::from_str(&row.roles).map_err(wrong)?,
            changed_by: serde_json::from_str(&row.changed_by).map_err(wrong)?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select account_id, project, roles, changed_by, created_at, updated_at, version ",
            "from members ",
            $rest
        )
    };
}

/// A project's name and roles there.
type Membership = (String, String);

impl Tx {
    /// What an account is where; nothing as project stands for the house.
    pub async fn memberships(
        &mut self,
        of: AccountId,
    ) -> Result<Vec<(Option<String>, BTreeSet<Role>)>> {
        let rows = sql!(all Membership, self,
            "select project, roles from members where account_id = $1", of)?;
        rows.into_iter()
            .map(|(project, roles)| {
                let roles =
                    serde_json::from_str(&roles).map_err(|e| Error::corrupt("members", e))?;
                Ok(((!project.is_empty()).then_some(project), roles))
            })
            .collect()
    }

    /// What an account is in a project, or in the house.
    pub async fn member(&mut self, project: Option<&str>, of: AccountId) -> Result<Option<Member>> {
        sql!(maybe Row, self, select!("where project = $1 and account_id = $2"),
            project.unwrap_or_default(), of)?
        .map(Member::try_from)
        .transpose()
    }

    /// Up to `limit + 1` members of a project, or of the house, newest accounts first.
    pub async fn members(
        &mut self,
        project: Option<&str>,
        page: PageRequest,
    ) -> Result<Vec<Member>> {
        let text = only(
            select!("where project = $1 and {account_id < $2} order by account_id desc limit $3"),
            &[("account_id < $2", page.after.is_some())],
        );
        sql!(all Row, self, text, project.unwrap_or_default(), page.after.unwrap_or_default(),
            i64::from(page.limit) + 1)?
        .into_iter()
        .map(Member::try_from)
        .collect()
    }

    /// Everybody who is something in the house, locked until the unit of work ends.
    pub async fn lock_house_members(&mut self) -> Result<Vec<Member>> {
        let text = fill(self, select!("where project = '' order by account_id {for_update}"));
        sql!(all Row, self, text)?.into_iter().map(Member::try_from).collect()
    }

    /// Keeps what an account is, in place of what it was in version `before`; 0: it was nothing.
    /// `false` when it was something else.
    pub async fn set_member(&mut self, member: &Member, before: i64) -> Result<bool> {
        let project = member.project.as_deref().unwrap_or_default();
        let (roles, by) = (to_json(&member.roles)?, to_json(&member.changed_by)?);
        let changed = if before == 0 {
            sql!(execute self,
                "insert into members
                     (account_id, project, roles, changed_by, created_at, updated_at, version)
                 values ($1, $2, $3, $4, $5, $6, $7) on conflict (account_id, project) do nothing",
                member.account_id, project, roles, by, member.created_at, member.updated_at,
                member.version)?
        } else {
            sql!(execute self,
                "update members set roles = $3, changed_by = $4, updated_at = $5, version = $6
                 where account_id = $1 and project = $2 and version = $7",
                member.account_id, project, roles, by, member.updated_at, member.version, before)?
        };
        Ok(changed == 1)
    }

    /// Has an account of version `before` be nothing any more. `false` when it was something else.
    pub async fn delete_member(
        &mut self,
        project: Option<&str>,
        of: AccountId,
        before: i64,
    ) -> Result<bool> {
        let changed = sql!(execute self,
            "delete from members where account_id = $1 and project = $2 and version = $3",
            of, project.unwrap_or_default(), before)?;
        Ok(changed == 1)
    }
}
