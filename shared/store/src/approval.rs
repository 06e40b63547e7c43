//! Decisions about plans. Whether they are enough is decided in `domain::approval`.

use chrono::{DateTime, Utc};
use slipway_domain::approval::{Decision, Revocation, Verb};
use slipway_domain::id::{ApprovalId, DeploymentId, PlanId};

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    id: ApprovalId,
    deployment_id: DeploymentId,
    plan_id: PlanId,
    plan_digest: String,
    decision: String,
    actor: String,
    roles: String,
    comment: Option<String>,
    at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
    revoke_reason: Option<String>,
    carried_from: Option<String>,
}

fn json<T: serde::de::DeserializeOwned>(column: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::corrupt("approvals", format!("{column}: {e}")))
}

impl TryFrom<Row> for Decision {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let revoked = match (row.revoked_at, row.revoked_by.as_deref()) {
            (Some(at), Some(by)) => {
                Some(Revocation { at, by: json("revoked_by", by)?, reason: row.revoke_reason })
            }
            (None, None) => None,
            _ => return Err(Error::corrupt("approvals", "half of a revocation")),
        };
        Ok(Self {
            id: row.id,
            deployment_id: row.deployment_id,
            plan_id: row.plan_id,
            plan_digest: row.plan_digest,
            decision: Verb::parse(&row.decision).ok_or_else(|| {
                Error::corrupt("approvals", format!("decision {:?}", row.decision))
            })?,
            by: json("actor", &row.actor)?,
            roles: json("roles", &row.roles)?,
            comment: row.comment,
            at: row.at,
            expires_at: row.expires_at,
            revoked,
            carried_from: row.carried_from,
        })
    }
}

impl Tx {
    /// Adds a decision; it is not revoked.
    pub async fn insert_approval(&mut self, new: &Decision) -> Result<()> {
        sql!(execute self,
            "insert into approvals (id, deployment_id, plan_id, plan_digest, decision, actor, roles,
                 comment, at, expires_at, carried_from)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            new.id, new.deployment_id, new.plan_id, new.plan_digest.as_str(),
            new.decision.as_str(), to_json(&new.by)?, to_json(&new.roles)?,
            new.comment.as_deref(), new.at, new.expires_at, new.carried_from.as_deref())?;
        Ok(())
    }

    /// Every decision about any plan of a deployment, oldest first.
    pub async fn approvals_of(&mut self, of: DeploymentId) -> Result<Vec<Decision>> {
        sql!(all Row, self,
            "select id, deployment_id, plan_id, plan_digest, decision, actor, roles, comment, at,
                 expires_at, revoked_at, revoked_by, revoke_reason, carried_from
             from approvals where deployment_id = $1 order by id", of)?
        .into_iter()
        .map(Decision::try_from)
        .collect()
    }

    /// Takes a decision back; `false` when that was done before.
    pub async fn revoke_approval(&mut self, id: ApprovalId, how: &Revocation) -> Result<bool> {
        let changed = sql!(execute self,
            "update approvals set revoked_at = $2, revoked_by = $3, revoke_reason = $4
             where id = $1 and revoked_at is null",
            id, how.at, to_json(&how.by)?, how.reason.as_deref())?;
        Ok(changed == 1)
    }
}
