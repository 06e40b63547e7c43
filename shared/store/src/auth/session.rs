//! Sessions and their refresh tokens.

use chrono::{DateTime, Utc};
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::session::Session;
use slipway_domain::id::{AccountId, SessionId};
use slipway_domain::page::PageRequest;

use super::{Digest, from_json, kept};
use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::{fill, only};
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    id: SessionId,
    account_id: AccountId,
    method: String,
    scopes: Option<String>,
    project: Option<String>,
    address: Option<String>,
    user_agent: Option<String>,
    created_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    ended_why: Option<String>,
}

impl TryFrom<Row> for Session {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let scopes = row.scopes.as_deref().map(|text| from_json("sessions", text)).transpose()?;
        Ok(Self {
            id: row.id,
            account_id: row.account_id,
            method: row.method,
            narrowing: Narrowing { scopes, project: row.project },
            address: row.address,
            user_agent: row.user_agent,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            ended_at: row.ended_at,
            ended_why: row.ended_why,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, account_id, method, scopes, project, address, user_agent, created_at, ",
            "last_used_at, expires_at, ended_at, ended_why from sessions ",
            $rest
        )
    };
}

/// A refresh token, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Refresh {
    /// Its session.
    pub session_id: SessionId,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
    /// When it was changed for its successor.
    pub used_at: Option<DateTime<Utc>>,
}

impl Tx {
    /// Adds a session; `cookie` is the digest of what a browser shows for it.
    pub async fn insert_session(&mut self, one: &Session, cookie: Option<&Digest>) -> Result<()> {
        let scopes = one.narrowing.scopes.as_ref().map(to_json).transpose()?;
        sql!(execute self,
            "insert into sessions (id, account_id, method, scopes, project, cookie_hash, address,
                 user_agent, created_at, last_used_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            one.id, one.account_id, one.method.as_str(), scopes.as_deref(),
            one.narrowing.project.as_deref(), cookie.map(kept),
            one.address.as_deref(), one.user_agent.as_deref(), one.created_at, one.last_used_at,
            one.expires_at)?;
        Ok(())
    }

    /// A session.
    pub async fn session(&mut self, id: SessionId) -> Result<Option<Session>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(Session::try_from).transpose()
    }

    /// A session, locked until the unit of work ends.
    pub async fn lock_session(&mut self, id: SessionId) -> Result<Option<Session>> {
        let text = fill(self, select!("where id = $1 {for_update}"));
        sql!(maybe Row, self, text, id)?.map(Session::try_from).transpose()
    }

    /// The session of a cookie.
    pub async fn session_of_cookie(&mut self, cookie: &Digest) -> Result<Option<Session>> {
        sql!(maybe Row, self, select!("where cookie_hash = $1"), kept(cookie))?
            .map(Session::try_from)
            .transpose()
    }

    /// Up to `limit + 1` sessions of an account, newest first; only those that are good at `live`.
    pub async fn sessions(
        &mut self,
        of: AccountId,
        live: Option<DateTime<Utc>>,
        page: PageRequest,
    ) -> Result<Vec<Session>> {
        let text = only(
            select!(
                "where account_id = $1 and {ended_at is null and expires_at > $2} and {id < $3}
                 order by id desc limit $4"
            ),
            &[
                ("ended_at is null and expires_at > $2", live.is_some()),
                ("id < $3", page.after.is_some()),
            ],
        );
        sql!(all Row, self, text, of, live, page.after.unwrap_or_default(),
            i64::from(page.limit) + 1)?
        .into_iter()
        .map(Session::try_from)
        .collect()
    }

    /// Notes that a session is in use.
    pub async fn touch_session(&mut self, id: SessionId, now: DateTime<Utc>) -> Result<()> {
        sql!(execute self,
            "update sessions set last_used_at = $2 where id = $1 and last_used_at < $2", id, now)?;
        Ok(())
    }

    /// Ends a session. `false` when it has ended already, or there is none.
    pub async fn end_session(
        &mut self,
        id: SessionId,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let changed = sql!(execute self,
            "update sessions set ended_at = $2, ended_why = $3
             where id = $1 and ended_at is null", id, now, why)?;
        sql!(execute self, "delete from refresh_tokens where session_id = $1", id)?;
        Ok(changed == 1)
    }

    /// Ends every session of an account but one. Returns how many.
    pub async fn end_sessions(
        &mut self,
        of: AccountId,
        but: Option<SessionId>,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<u64> {
        let but = but.map_or_else(uuid::Uuid::nil, |id| id.0);
        let changed = sql!(execute self,
            "update sessions set ended_at = $3, ended_why = $4
             where account_id = $1 and id <> $2 and ended_at is null", of, but, now, why)?;
        sql!(execute self,
            "delete from refresh_tokens where session_id in (
                 select id from sessions where account_id = $1 and id <> $2)", of, but)?;
        Ok(changed)
    }

    /// Adds a refresh token.
    pub async fn insert_refresh(
        &mut self,
        hash: &Digest,
        of: SessionId,
        expires_at: DateTime<Utc>,
    ) -> Result<()> {
        sql!(execute self,
            "insert into refresh_tokens (hash, session_id, expires_at) values ($1, $2, $3)
             on conflict (hash) do nothing", kept(hash), of, expires_at)?;
        Ok(())
    }

    /// A refresh token, locked until the unit of work ends.
    pub async fn lock_refresh(&mut self, hash: &Digest) -> Result<Option<Refresh>> {
        let text = fill(
            self,
            "select session_id, expires_at, used_at from refresh_tokens where hash = $1 {for_update}",
        );
        sql!(maybe Refresh, self, text, kept(hash))
    }

    /// Notes that a refresh token was changed for its successor.
    pub async fn use_refresh(&mut self, hash: &Digest, now: DateTime<Utc>) -> Result<()> {
        sql!(execute self,
            "update refresh_tokens set used_at = $2 where hash = $1 and used_at is null",
            kept(hash), now)?;
        Ok(())
    }
}
