//! Which account somebody has at a provider.

use chrono::{DateTime, Utc};
use slipway_domain::auth::identity::Identity;
use slipway_domain::id::AccountId;

use crate::db::{Tx, sql};
use crate::error::Result;

#[derive(sqlx::FromRow)]
struct Row {
    provider: String,
    issuer: String,
    subject: String,
    account_id: AccountId,
    email: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<Row> for Identity {
    fn from(row: Row) -> Self {
        let Row { provider, issuer, subject, account_id, email, created_at } = row;
        Self { provider, issuer, subject, account_id, email, created_at }
    }
}

impl Tx {
    /// Links somebody at a provider to an account. `false` when they are linked already.
    pub async fn insert_identity(&mut self, one: &Identity) -> Result<bool> {
        let written = sql!(execute self,
            "insert into identities (provider, issuer, subject, account_id, email, created_at)
             values ($1, $2, $3, $4, $5, $6) on conflict (provider, issuer, subject) do nothing",
            one.provider.as_str(), one.issuer.as_str(), one.subject.as_str(), one.account_id,
            one.email.as_deref(), one.created_at)?;
        Ok(written == 1)
    }

    /// Who somebody at a provider is here.
    pub async fn identity(
        &mut self,
        provider: &str,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<Identity>> {
        let found = sql!(maybe Row, self,
            "select provider, issuer, subject, account_id, email, created_at from identities
             where provider = $1 and issuer = $2 and subject = $3", provider, issuer, subject)?;
        Ok(found.map(Identity::from))
    }

    /// Where an account can sign in.
    pub async fn identities(&mut self, of: AccountId) -> Result<Vec<Identity>> {
        let found = sql!(all Row, self,
            "select provider, issuer, subject, account_id, email, created_at from identities
             where account_id = $1 order by provider, subject limit 100", of)?;
        Ok(found.into_iter().map(Identity::from).collect())
    }

    /// Unlinks an account from a provider. Returns how many links there were.
    pub async fn delete_identities(&mut self, of: AccountId, provider: &str) -> Result<u64> {
        sql!(execute self, "delete from identities where account_id = $1 and provider = $2",
            of, provider)
    }
}
