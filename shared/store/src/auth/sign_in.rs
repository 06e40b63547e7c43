//! What is kept while somebody signs in: who failed and waits, who went to a provider, and the
//! tokens that make the first admin.

use chrono::{DateTime, Utc};
use slipway_domain::id::{AccountId, SessionId};

use super::{Digest, kept};
use crate::db::{Tx, sql};
use crate::dialect::fill;
use crate::error::Result;

/// How often somebody failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Failures {
    /// How often, since the last success or the last long pause.
    pub failures: i32,
    /// When they failed last.
    pub last_at: DateTime<Utc>,
    /// Until when they wait.
    pub wait_until: DateTime<Utc>,
}

/// A sign-in at a provider that has begun.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Visit {
    /// The provider.
    pub provider: String,
    /// The account that is to be linked, when somebody who has signed in began it.
    pub account_id: Option<AccountId>,
    /// The session that began that.
    pub session_id: Option<SessionId>,
    /// Where the browser goes afterwards.
    pub return_to: String,
    /// Until when it may come back.
    pub expires_at: DateTime<Utc>,
}

impl Tx {
    /// How often somebody failed; locked until the unit of work ends.
    pub async fn lock_failures(&mut self, digest: &Digest, now: DateTime<Utc>) -> Result<Failures> {
        // So that there is a row to be locked.
        sql!(execute self,
            "insert into sign_in_failures (digest, failures, last_at, wait_until)
             values ($1, 0, $2, $2) on conflict (digest) do nothing", kept(digest), now)?;
        let text = fill(
            self,
            "select failures, last_at, wait_until from sign_in_failures where digest = $1 \
             {for_update}",
        );
        let found = sql!(maybe Failures, self, text, kept(digest))?;
        Ok(found.unwrap_or(Failures { failures: 0, last_at: now, wait_until: now }))
    }

    /// Notes how often somebody failed.
    pub async fn set_failures(&mut self, digest: &Digest, of: &Failures) -> Result<()> {
        sql!(execute self,
            "update sign_in_failures set failures = $2, last_at = $3, wait_until = $4
             where digest = $1", kept(digest), of.failures, of.last_at, of.wait_until)?;
        Ok(())
    }

    /// Forgets how often somebody failed.
    pub async fn clear_failures(&mut self, digest: &Digest) -> Result<()> {
        sql!(execute self, "delete from sign_in_failures where digest = $1", kept(digest))?;
        Ok(())
    }

    /// Keeps a sign-in at a provider that has begun.
    pub async fn insert_visit(
        &mut self,
        state: &Digest,
        cookie: &Digest,
        one: &Visit,
    ) -> Result<()> {
        sql!(execute self,
            "insert into provider_visits (state_hash, cookie_hash, provider, account_id, session_id,
                 return_to, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
            kept(state), kept(cookie), one.provider.as_str(), one.account_id, one.session_id,
            one.return_to.as_str(), one.expires_at)?;
        Ok(())
    }

    /// Takes a sign-in out that comes back with this state from this browser: nobody else gets it.
    pub async fn take_visit(&mut self, state: &Digest, cookie: &Digest) -> Result<Option<Visit>> {
        let found = sql!(maybe Visit, self,
            "select provider, account_id, session_id, return_to, expires_at from provider_visits
             where state_hash = $1 and cookie_hash = $2", kept(state), kept(cookie))?;
        let gone = sql!(execute self,
            "delete from provider_visits where state_hash = $1 and cookie_hash = $2",
            kept(state), kept(cookie))?;
        Ok(found.filter(|_| gone == 1))
    }

    /// Adds a token that makes the first admin.
    pub async fn insert_first_token(
        &mut self,
        hash: &Digest,
        expires_at: DateTime<Utc>,
    ) -> Result<()> {
        sql!(execute self, "insert into first_tokens (hash, expires_at) values ($1, $2)",
            kept(hash), expires_at)?;
        Ok(())
    }

    /// Takes a token that makes the first admin out, and all others with it. `false` when it is none.
    pub async fn take_first_token(&mut self, hash: &Digest, now: DateTime<Utc>) -> Result<bool> {
        let gone = sql!(execute self,
            "delete from first_tokens where hash = $1 and expires_at > $2", kept(hash), now)?;
        if gone == 1 {
            self.clear_first_tokens().await?;
        }
        Ok(gone == 1)
    }

    /// No token makes the first admin any more: there is one.
    pub async fn clear_first_tokens(&mut self) -> Result<()> {
        sql!(execute self, "delete from first_tokens")?;
        Ok(())
    }
}
