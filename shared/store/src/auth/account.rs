//! Accounts and their passwords.

use chrono::{DateTime, Utc};
use slipway_domain::auth::account::{Account, AccountKind};
use slipway_domain::id::AccountId;
use slipway_domain::page::PageRequest;

use super::from_json;
use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::{fill, only};
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    id: AccountId,
    kind: String,
    name: String,
    email: Option<String>,
    created_at: DateTime<Utc>,
    created_by: String,
    disabled_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Account {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id,
            kind: AccountKind::parse(&row.kind)
                .ok_or_else(|| Error::corrupt("accounts", format!("kind {:?}", row.kind)))?,
            name: row.name,
            email: row.email,
            created_at: row.created_at,
            created_by: from_json("accounts", &row.created_by)?,
            disabled_at: row.disabled_at,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, kind, name, email, created_at, created_by, disabled_at from accounts ",
            $rest
        )
    };
}

/// Which accounts a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those of this kind.
    pub kind: Option<AccountKind>,
    /// Only the one with this name.
    pub name: Option<String>,
}

impl Tx {
    /// Adds an account. `false` when its name is taken.
    pub async fn insert_account(&mut self, one: &Account) -> Result<bool> {
        let written = sql!(execute self,
            "insert into accounts (id, kind, name, email, created_at, created_by, disabled_at)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict (name) do nothing",
            one.id, one.kind.as_str(), one.name.as_str(), one.email.as_deref(), one.created_at,
            to_json(&one.created_by)?, one.disabled_at)?;
        Ok(written == 1)
    }

    /// An account.
    pub async fn account(&mut self, id: AccountId) -> Result<Option<Account>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(Account::try_from).transpose()
    }

    /// An account, locked against changes until the unit of work ends.
    pub async fn lock_account(&mut self, id: AccountId) -> Result<Option<Account>> {
        let text = fill(self, select!("where id = $1 {for_update}"));
        sql!(maybe Row, self, text, id)?.map(Account::try_from).transpose()
    }

    /// The account that signs in as `name`, with the hash of its password if it has one.
    pub async fn account_to_sign_in(
        &mut self,
        name: &str,
    ) -> Result<Option<(Account, Option<String>)>> {
        let found = sql!(maybe Row, self, select!("where name = $1"), name)?;
        let Some(row) = found else { return Ok(None) };
        let hash = self.password_hash(row.id).await?;
        Ok(Some((row.try_into()?, hash)))
    }

    /// The hash of an account's password.
    pub async fn password_hash(&mut self, id: AccountId) -> Result<Option<String>> {
        sql!(scalar_maybe String, self, "select hash from passwords where account_id = $1", id)
    }

    /// Sets an account's password.
    pub async fn set_password(
        &mut self,
        id: AccountId,
        hash: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        sql!(execute self,
            "insert into passwords (account_id, hash, changed_at) values ($1, $2, $3)
             on conflict (account_id) do update set hash = $2, changed_at = $3", id, hash, now)?;
        Ok(())
    }

    /// Keeps the same password under other parameters, unless it was changed meanwhile.
    pub async fn rehash_password(&mut self, id: AccountId, old: &str, new: &str) -> Result<()> {
        sql!(execute self, "update passwords set hash = $3 where account_id = $1 and hash = $2",
            id, old, new)?;
        Ok(())
    }

    /// Up to `limit + 1` accounts, newest first.
    pub async fn accounts(&mut self, filter: &Filter, page: PageRequest) -> Result<Vec<Account>> {
        let text = only(
            select!("where {kind = $1} and {name = $2} and {id < $3} order by id desc limit $4"),
            &[
                ("kind = $1", filter.kind.is_some()),
                ("name = $2", filter.name.is_some()),
                ("id < $3", page.after.is_some()),
            ],
        );
        sql!(all Row, self, text, filter.kind.map(AccountKind::as_str), filter.name.as_deref(),
            page.after.unwrap_or_default(), i64::from(page.limit) + 1)?
        .into_iter()
        .map(Account::try_from)
        .collect()
    }

    /// Whether there is any account.
    pub async fn has_accounts(&mut self) -> Result<bool> {
        let one = sql!(scalar_maybe AccountId, self, "select id from accounts limit 1")?;
        Ok(one.is_some())
    }

    /// Stops an account, or lets it go on.
    pub async fn set_account_disabled(
        &mut self,
        id: AccountId,
        at: Option<DateTime<Utc>>,
    ) -> Result<()> {
        sql!(execute self, "update accounts set disabled_at = $2 where id = $1", id, at)?;
        Ok(())
    }
}
