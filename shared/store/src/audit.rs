//! The audit log: records are added, never changed; `chain.rs` gives them their place and lets go of
//! the oldest ones.
//!
//! Each record carries a mark, a keyed digest of it under the house key, from the moment it is
//! written: what somebody puts into the table by other means, or changes before it is sealed, has
//! none that fits.

mod chain;

use chrono::{DateTime, Utc};
use slipway_domain::audit::{
    AuditEntry, AuditRecord, AuditResult, ChainHash, Filter, Mark, Seal, canonical,
};
use slipway_domain::id::{AuditId, DeploymentId};
use slipway_domain::page::PageRequest;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::QueryAs;

use crate::crypto::Keyring;
use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::only;
use crate::error::{Error, Result};
use crate::rows::insert_rows;

pub use chain::{Head, SealedRun};

/// What was done and how it ended.
type ActionAndResult = (String, String);

/// A record as it is written.
pub(crate) struct Prepared {
    pub(crate) record: AuditRecord,
    pub(crate) actor: String,
    pub(crate) detail: String,
    pub(crate) mark: String,
}

impl Prepared {
    /// Gives a statement of PostgreSQL the columns of records, each with the deployment that it tells
    /// of: that one's id, and the record's id, moment, actor, address, action, target, result, detail,
    /// trace, token, user agent, reason, digests and mark.
    pub(crate) fn bind_all<'q, O>(
        query: QueryAs<'q, Postgres, O, PgArguments>,
        all: &'q [(DeploymentId, Self)],
    ) -> QueryAs<'q, Postgres, O, PgArguments> {
        fn column<'q, T>(
            all: &'q [(DeploymentId, Prepared)],
            value: impl Fn(&'q Prepared) -> T,
        ) -> Vec<T> {
            all.iter().map(|(_, one)| value(one)).collect()
        }
        query
            .bind(all.iter().map(|(of, _)| of.0).collect::<Vec<_>>())
            .bind(column(all, |a| a.record.id.0))
            .bind(column(all, |a| a.record.at))
            .bind(column(all, |a| a.actor.as_str()))
            .bind(column(all, |a| a.record.address.as_deref()))
            .bind(column(all, |a| a.record.action.as_str()))
            .bind(column(all, |a| a.record.target.as_str()))
            .bind(column(all, |a| a.record.result.as_str()))
            .bind(column(all, |a| a.detail.as_str()))
            .bind(column(all, |a| a.record.trace_id.as_deref()))
            .bind(column(all, |a| a.record.token.as_deref()))
            .bind(column(all, |a| a.record.user_agent.as_deref()))
            .bind(column(all, |a| a.record.reason.as_deref()))
            .bind(column(all, |a| a.record.before_digest.as_deref()))
            .bind(column(all, |a| a.record.after_digest.as_deref()))
            .bind(column(all, |a| a.mark.as_str()))
    }
}

/// The keyed digest of a record.
fn mark_of(house: &Keyring, record: &AuditRecord) -> String {
    ChainHash(house.derived("audit record", canonical(record, None).as_bytes())).to_string()
}

#[derive(sqlx::FromRow)]
struct Row {
    id: AuditId,
    at: DateTime<Utc>,
    actor: String,
    token: Option<String>,
    address: Option<String>,
    user_agent: Option<String>,
    action: String,
    target: String,
    result: String,
    reason: Option<String>,
    detail: String,
    trace_id: Option<String>,
    before_digest: Option<String>,
    after_digest: Option<String>,
    mark: Option<String>,
    seq: Option<i64>,
    prev_hash: Option<String>,
    hash: Option<String>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, at, actor, token, address, user_agent, action, target, result, reason, ",
            "detail, trace_id, before_digest, after_digest, mark, seq, prev_hash, hash from audit ",
            $rest
        )
    };
}
use select;

impl Row {
    /// What was recorded; `None` when it is not what this house writes, to the letter.
    fn record(&self) -> Option<AuditRecord> {
        let record = AuditRecord {
            id: self.id,
            at: self.at,
            actor: serde_json::from_str(&self.actor).ok()?,
            token: self.token.clone(),
            address: self.address.clone(),
            user_agent: self.user_agent.clone(),
            action: self.action.clone(),
            target: self.target.clone(),
            result: AuditResult::parse(&self.result)?,
            reason: self.reason.clone(),
            detail: serde_json::from_str(&self.detail).ok()?,
            trace_id: self.trace_id.clone(),
            before_digest: self.before_digest.clone(),
            after_digest: self.after_digest.clone(),
        };
        let same = to_json(&record.detail).is_ok_and(|detail| detail == self.detail)
            && to_json(&record.actor).is_ok_and(|actor| actor == self.actor);
        same.then_some(record)
    }

    fn seal(&self) -> Option<Seal> {
        let hash = |text: &Option<String>| text.as_deref()?.parse().ok();
        Some(Seal { seq: self.seq?, prev_hash: hash(&self.prev_hash)?, hash: hash(&self.hash)? })
    }

    fn mark(&self, house: &Keyring, record: Option<&AuditRecord>) -> Mark {
        match (&self.mark, record) {
            (None, _) => Mark::None,
            (Some(mark), Some(record)) if *mark == mark_of(house, record) => Mark::Right,
            (Some(_), Some(_)) => Mark::Wrong,
            (Some(_), None) => Mark::Unknown,
        }
    }
}

impl Tx {
    /// Adds records, in the unit of work that they tell of.
    pub async fn insert_audit(&mut self, records: &[AuditRecord]) -> Result<()> {
        let prepared = self.prepare_audit(records)?;
        self.insert_prepared(&prepared).await
    }

    /// Bounds and marks records.
    pub(crate) fn prepare_audit(&self, records: &[AuditRecord]) -> Result<Vec<Prepared>> {
        records.iter().map(|record| self.prepare_one(record)).collect()
    }

    /// Bounds and marks a record.
    pub(crate) fn prepare_one(&self, record: &AuditRecord) -> Result<Prepared> {
        if self.house.is_empty() {
            return Err(Error::Sealed("the house key is not open".to_owned()));
        }
        let record = record.clone().bounded();
        let mark = mark_of(&self.house, &record);
        let (actor, detail) = (to_json(&record.actor)?, record.detail.to_string());
        Ok(Prepared { record, actor, detail, mark })
    }

    pub(crate) async fn insert_prepared(&mut self, rows: &[Prepared]) -> Result<()> {
        insert_rows!(self,
            "audit (id, at, actor, token, address, user_agent, action, target, result, reason, \
             detail, trace_id, before_digest, after_digest, mark)", "",
            rows, |row|
            "uuid": row.record.id.0, "timestamptz": row.record.at, "text": row.actor.as_str(),
            "text": row.record.token.as_deref(), "text": row.record.address.as_deref(),
            "text": row.record.user_agent.as_deref(), "text": row.record.action.as_str(),
            "text": row.record.target.as_str(), "text": row.record.result.as_str(),
            "text": row.record.reason.as_deref(), "text": row.detail.as_str(),
            "text": row.record.trace_id.as_deref(), "text": row.record.before_digest.as_deref(),
            "text": row.record.after_digest.as_deref(), "text": row.mark.as_str());
        Ok(())
    }

    /// Actions and results on one target, oldest first.
    pub async fn audit_of(&mut self, target: &str) -> Result<Vec<(String, String)>> {
        sql!(
            all ActionAndResult,
            self,
            "select action, result from audit where target = $1 order by id",
            target
        )
    }

    /// Up to `limit + 1` records, newest first. `actor` is compared with the id of the actor.
    pub async fn audit_page(
        &mut self,
        filter: &Filter,
        page: PageRequest,
    ) -> Result<Vec<AuditEntry>> {
        // An actor's JSON begins with its id, which is written without spaces.
        let actor = filter.actor.as_ref().map(|actor| {
            let id = serde_json::Value::from(actor.as_str());
            format!("{{\"id\":{id},")
        });
        let front = filter.action.as_deref().filter(|action| action.ends_with('.'));
        let action = filter.action.as_deref().filter(|action| !action.ends_with('.'));
        let text = only(
            select!(
                "where {substr(actor, 1, length(cast($1 as text))) = $1} and {action = $2}
               and {substr(action, 1, length(cast($3 as text))) = $3} and {target = $4}
               and {result = $5} and {at >= $6} and {at < $7} and {id < $8}
             order by id desc limit $9"
            ),
            &[
                ("substr(actor, 1, length(cast($1 as text))) = $1", actor.is_some()),
                ("action = $2", action.is_some()),
                ("substr(action, 1, length(cast($3 as text))) = $3", front.is_some()),
                ("target = $4", filter.target.is_some()),
                ("result = $5", filter.result.is_some()),
                ("at >= $6", filter.since.is_some()),
                ("at < $7", filter.until.is_some()),
                ("id < $8", page.after.is_some()),
            ],
        );
        let rows = sql!(all Row, self, text, actor, action, front, filter.target.as_deref(), filter.result.map(AuditResult::as_str),
            filter.since.unwrap_or_default(), filter.until.unwrap_or_default(),
            page.after.unwrap_or_default(), i64::from(page.limit) + 1)?;
        rows.iter()
            .map(|row| {
                let record = row.record().ok_or_else(|| {
                    let what = format!("record {} is not what was written", row.id);
                    Error::corrupt("audit", what)
                })?;
                Ok(AuditEntry { record, seal: row.seal() })
            })
            .collect()
    }
}
