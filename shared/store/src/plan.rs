//! Plans: the document everybody sees, and the artifacts only a worker opens.

use slipway_domain::id::{ArtifactId, DeploymentId, PlanId};
use slipway_domain::plan::{Binding, Plan};

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::error::{Error, Result};

/// A plan with what only the house needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The document.
    pub plan: Plan,
    /// What its digest covers.
    pub binding: Binding,
    /// The driver's plan file.
    pub plan_file: ArtifactId,
    /// What the driver needs beside it.
    pub context: ArtifactId,
}

#[derive(sqlx::FromRow)]
struct Row {
    document: String,
    binding: String,
    plan_file: ArtifactId,
    context: ArtifactId,
}

impl TryFrom<Row> for Record {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            plan: serde_json::from_str(&row.document).map_err(|e| Error::corrupt("plans", e))?,
            binding: serde_json::from_str(&row.binding).map_err(|e| Error::corrupt("plans", e))?,
            plan_file: row.plan_file,
            context: row.context,
        })
    }
}

type NumberAndBinding = (i32, String);

impl Tx {
    /// Adds a plan.
    pub async fn insert_plan(&mut self, record: &Record) -> Result<()> {
        let plan = &record.plan;
        sql!(execute self,
            "insert into plans (id, deployment_id, number, digest, binding, document, plan_file,
                 context, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            plan.id, plan.deployment_id, plan.number, plan.digest.as_str(),
            to_json(&record.binding)?, to_json(plan)?, record.plan_file, record.context,
            plan.created_at)?;
        Ok(())
    }

    /// A plan.
    pub async fn plan(&mut self, id: PlanId) -> Result<Option<Record>> {
        sql!(maybe Row, self,
            "select document, binding, plan_file, context from plans where id = $1", id)?
        .map(Record::try_from)
        .transpose()
    }

    /// The plan of a deployment with this digest, the newest if there are several.
    pub async fn plan_by_digest(
        &mut self,
        of: DeploymentId,
        digest: &str,
    ) -> Result<Option<Record>> {
        sql!(maybe Row, self,
            "select document, binding, plan_file, context from plans
             where deployment_id = $1 and digest = $2 order by number desc limit 1", of, digest)?
        .map(Record::try_from)
        .transpose()
    }

    /// What the digest of the newest plan of a deployment covers, and the plan's number; without
    /// the document, which may be large.
    pub async fn latest_binding(&mut self, of: DeploymentId) -> Result<Option<(i32, Binding)>> {
        let row = sql!(
            maybe NumberAndBinding,
            self,
            "select number, binding from plans where deployment_id = $1
             order by number desc limit 1",
            of
        )?;
        row.map(|(number, binding)| {
            let binding = serde_json::from_str(&binding).map_err(|e| Error::corrupt("plans", e))?;
            Ok((number, binding))
        })
        .transpose()
    }

    /// The newest plan of a deployment.
    pub async fn latest_plan(&mut self, of: DeploymentId) -> Result<Option<Record>> {
        sql!(maybe Row, self,
            "select document, binding, plan_file, context from plans
             where deployment_id = $1 order by number desc limit 1", of)?
        .map(Record::try_from)
        .transpose()
    }
}
