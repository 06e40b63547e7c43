//! Exemptions from rules.

use chrono::{DateTime, Utc};
use slipway_domain::access::{Actor, Reach};
use slipway_domain::exemption::{Exemption, ExemptionState};
use slipway_domain::id::ExemptionId;
use slipway_domain::page::PageRequest;

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::{only, reached, within};
use crate::error::{Error, Result};

/// Exemptions that one plan is held against; the newest are taken. Far more than anybody reads, and
/// one that is not taken lets nothing through.
const MOST: i64 = 5_000;

#[derive(sqlx::FromRow)]
struct Row {
    id: ExemptionId,
    rule: String,
    address: String,
    project: Option<String>,
    environment: Option<String>,
    reason: String,
    owner: String,
    created_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_by: Option<String>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Exemption {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let actor = |text: &str| {
            serde_json::from_str::<Actor>(text).map_err(|e| Error::corrupt("exemptions", e))
        };
        Ok(Self {
            created_by: actor(&row.created_by)?,
            revoked_by: row.revoked_by.as_deref().map(actor).transpose()?,
            id: row.id,
            rule: row.rule,
            address: row.address,
            project: row.project,
            environment: row.environment,
            reason: row.reason,
            owner: row.owner,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, rule, address, project, environment, reason, owner, created_by, ",
            "created_at, expires_at, revoked_by, revoked_at from exemptions ",
            $rest
        )
    };
}

/// Which exemptions a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those for this very project.
    pub project: Option<String>,
    /// Only those for this very environment.
    pub environment: Option<String>,
    /// Only from this rule, as it was named.
    pub rule: Option<String>,
    /// Only those that somebody with this name answers for.
    pub owner: Option<String>,
    /// Only those of which this has become.
    pub state: Option<ExemptionState>,
}

impl Tx {
    /// Adds an exemption.
    pub async fn insert_exemption(&mut self, one: &Exemption) -> Result<()> {
        sql!(execute self,
            "insert into exemptions (id, rule, address, project, environment, reason, owner,
                 created_by, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            one.id, one.rule.as_str(), one.address.as_str(), one.project.as_deref(),
            one.environment.as_deref(), one.reason.as_str(), one.owner.as_str(),
            to_json(&one.created_by)?, one.created_at, one.expires_at)?;
        Ok(())
    }

    /// An exemption.
    pub async fn exemption(&mut self, id: ExemptionId) -> Result<Option<Exemption>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(Exemption::try_from).transpose()
    }

    /// Up to `limit + 1` exemptions, newest first: those for a project within `reach`, and those for
    /// every project.
    pub async fn exemptions(
        &mut self,
        filter: &Filter,
        reach: &Reach,
        page: PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Vec<Exemption>> {
        let state = |wanted| filter.state == Some(wanted);
        let text = only(
            select!(
                "where {project = $1} and {environment = $2} and {rule = $3} and {owner = $4}
                   and {revoked_at is null and expires_at > $5}
                   and {revoked_at is null and expires_at <= $5}
                   and {revoked_at <= $5} and {id < $6}
                   and (project is null or {within project $7})
                 order by id desc limit $8"
            ),
            &[
                ("project = $1", filter.project.is_some()),
                ("environment = $2", filter.environment.is_some()),
                ("rule = $3", filter.rule.is_some()),
                ("owner = $4", filter.owner.is_some()),
                ("revoked_at is null and expires_at > $5", state(ExemptionState::Active)),
                ("revoked_at is null and expires_at <= $5", state(ExemptionState::Expired)),
                ("revoked_at <= $5", state(ExemptionState::Revoked)),
                ("id < $6", page.after.is_some()),
            ],
        );
        let text = within(self, text, reach);
        sql!(all Row, self, text, filter.project.as_deref(), filter.environment.as_deref(),
            filter.rule.as_deref(), filter.owner.as_deref(), now,
            page.after.unwrap_or_default(), reached(reach), i64::from(page.limit) + 1)?
        .into_iter()
        .map(Exemption::try_from)
        .collect()
    }

    /// The exemptions that hold now for plans of a project and environment, broad ones too.
    pub async fn active_exemptions(
        &mut self,
        project: &str,
        environment: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Exemption>> {
        sql!(all Row, self,
            select!("where expires_at > $3 and revoked_at is null
                   and (project is null or project = $1)
                   and (environment is null or environment = $2)
                 order by id desc limit $4"),
            project, environment, now, MOST)?
        .into_iter()
        .map(Exemption::try_from)
        .collect()
    }

    /// Takes an exemption back. `false` when somebody did already, or there is none.
    pub async fn revoke_exemption(
        &mut self,
        id: ExemptionId,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let changed = sql!(execute self,
            "update exemptions set revoked_by = $2, revoked_at = $3
             where id = $1 and revoked_at is null", id, to_json(by)?, now)?;
        Ok(changed == 1)
    }
}
