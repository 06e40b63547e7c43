//! Rules of trust in tokens of other issuers.

use chrono::{DateTime, Utc};
use slipway_domain::auth::trust::{NewTrustRule, TrustRule};
use slipway_domain::id::{AccountId, TrustRuleId};

use super::from_json;
use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::error::{Error, Result};

/// Rules that are looked at; far more than anybody keeps in order.
const MOST: i64 = 1_000;

#[derive(sqlx::FromRow)]
struct Row {
    id: TrustRuleId,
    name: String,
    issuer: String,
    audience: String,
    conditions: String,
    account_id: AccountId,
    scopes: String,
    project: Option<String>,
    created_at: DateTime<Utc>,
    created_by: String,
}

impl TryFrom<Row> for TrustRule {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        const TABLE: &str = "trust_rules";
        Ok(Self {
            id: row.id,
            rule: NewTrustRule {
                name: row.name,
                issuer: row.issuer,
                audience: row.audience,
                conditions: from_json(TABLE, &row.conditions)?,
                account_id: row.account_id,
                scopes: from_json(TABLE, &row.scopes)?,
                project: row.project,
            },
            created_at: row.created_at,
            created_by: from_json(TABLE, &row.created_by)?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, name, issuer, audience, conditions, account_id, scopes, project, ",
            "created_at, created_by from trust_rules ",
            $rest
        )
    };
}

impl Tx {
    /// Adds a rule. `false` when its name is taken.
    pub async fn insert_trust_rule(&mut self, one: &TrustRule) -> Result<bool> {
        let rule = &one.rule;
        let written = sql!(execute self,
            "insert into trust_rules (id, name, issuer, audience, conditions, account_id, scopes,
                 project, created_at, created_by)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (name) do nothing",
            one.id, rule.name.as_str(), rule.issuer.as_str(), rule.audience.as_str(),
            to_json(&rule.conditions)?, rule.account_id, to_json(&rule.scopes)?,
            rule.project.as_deref(), one.created_at, to_json(&one.created_by)?)?;
        Ok(written == 1)
    }

    /// Every rule, by name.
    pub async fn trust_rules(&mut self) -> Result<Vec<TrustRule>> {
        sql!(all Row, self, select!("order by name limit $1"), MOST)?
            .into_iter()
            .map(TrustRule::try_from)
            .collect()
    }

    /// The rules about an issuer, the oldest first.
    pub async fn trust_rules_of(&mut self, issuer: &str) -> Result<Vec<TrustRule>> {
        sql!(all Row, self, select!("where issuer = $1 order by id limit $2"), issuer, MOST)?
            .into_iter()
            .map(TrustRule::try_from)
            .collect()
    }

    /// A rule.
    pub async fn trust_rule(&mut self, id: TrustRuleId) -> Result<Option<TrustRule>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(TrustRule::try_from).transpose()
    }

    /// Removes a rule. `false` when there is none.
    pub async fn delete_trust_rule(&mut self, id: TrustRuleId) -> Result<bool> {
        Ok(sql!(execute self, "delete from trust_rules where id = $1", id)? == 1)
    }
}
