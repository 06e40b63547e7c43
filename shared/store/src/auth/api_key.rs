//! API keys.

use chrono::{DateTime, Utc};
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::api_key::ApiKey;
use slipway_domain::id::{AccountId, ApiKeyId};
use slipway_domain::page::PageRequest;

use super::{Digest, from_json, kept};
use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::only;
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    id: ApiKeyId,
    public: String,
    hash: String,
    account_id: AccountId,
    name: String,
    scopes: String,
    project: Option<String>,
    addresses: String,
    created_at: DateTime<Utc>,
    created_by: String,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for ApiKey {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        const TABLE: &str = "api_keys";
        Ok(Self {
            id: row.id,
            public: row.public,
            account_id: row.account_id,
            name: row.name,
            narrowing: Narrowing {
                scopes: Some(from_json(TABLE, &row.scopes)?),
                project: row.project,
            },
            addresses: from_json(TABLE, &row.addresses)?,
            created_at: row.created_at,
            created_by: from_json(TABLE, &row.created_by)?,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, public, hash, account_id, name, scopes, project, addresses, created_at, ",
            "created_by, expires_at, last_used_at, revoked_at from api_keys ",
            $rest
        )
    };
}

impl Tx {
    /// Adds a key; `hash` is the digest of its secret.
    pub async fn insert_api_key(&mut self, one: &ApiKey, hash: &Digest) -> Result<()> {
        let none = std::collections::BTreeSet::new();
        let scopes = one.narrowing.scopes.as_ref().unwrap_or(&none);
        sql!(execute self,
            "insert into api_keys (id, public, hash, account_id, name, scopes, project, addresses,
                 created_at, created_by, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            one.id, one.public.as_str(), kept(hash), one.account_id, one.name.as_str(),
            to_json(scopes)?, one.narrowing.project.as_deref(), to_json(&one.addresses)?,
            one.created_at, to_json(&one.created_by)?, one.expires_at)?;
        Ok(())
    }

    /// A key.
    pub async fn api_key(&mut self, id: ApiKeyId) -> Result<Option<ApiKey>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(ApiKey::try_from).transpose()
    }

    /// The key that is named by its public part, and the digest of its secret.
    pub async fn api_key_to_check(&mut self, public: &str) -> Result<Option<(ApiKey, Vec<u8>)>> {
        let found = sql!(maybe Row, self, select!("where public = $1"), public)?;
        let Some(row) = found else { return Ok(None) };
        let hash = hex::decode(&row.hash).map_err(|why| Error::corrupt("api_keys", why))?;
        Ok(Some((row.try_into()?, hash)))
    }

    /// Up to `limit + 1` keys of an account, newest first.
    pub async fn api_keys(&mut self, of: AccountId, page: PageRequest) -> Result<Vec<ApiKey>> {
        let text = only(
            select!("where account_id = $1 and {id < $2} order by id desc limit $3"),
            &[("id < $2", page.after.is_some())],
        );
        sql!(all Row, self, text, of, page.after.unwrap_or_default(), i64::from(page.limit) + 1)?
            .into_iter()
            .map(ApiKey::try_from)
            .collect()
    }

    /// How many keys of an account are good at `now`.
    pub async fn count_api_keys(&mut self, of: AccountId, now: DateTime<Utc>) -> Result<i64> {
        sql!(scalar i64, self,
            "select count(*) from api_keys where account_id = $1 and revoked_at is null
               and (expires_at is null or expires_at > $2)", of, now)
    }

    /// Takes a key back. `false` when somebody did already, or there is none.
    pub async fn revoke_api_key(&mut self, id: ApiKeyId, now: DateTime<Utc>) -> Result<bool> {
        let changed = sql!(execute self,
            "update api_keys set revoked_at = $2 where id = $1 and revoked_at is null", id, now)?;
        Ok(changed == 1)
    }

    /// Notes that a key is in use.
    pub async fn touch_api_key(&mut self, id: ApiKeyId, now: DateTime<Utc>) -> Result<()> {
        sql!(execute self,
            "update api_keys set last_used_at = $2
             where id = $1 and (last_used_at is null or last_used_at < $2)", id, now)?;
        Ok(())
    }
}
