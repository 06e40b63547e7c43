//! Plans: the document everybody sees, and the artifacts only a worker opens.

use chrono::{DateTime, Utc};
use slipway_domain::id::{ArtifactId, DeploymentId, ExemptionId, PlanId};
use slipway_domain::plan::{Binding, Plan};
use slipway_domain::report::Judgement;

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::error::{Error, Result};

/// A plan with what only the house needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The document.
    pub plan: Plan,
    /// What the gates said and found; absent in plans that were made before it was kept.
    pub judgement: Option<Judgement>,
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
    judgement: Option<String>,
    binding: String,
    plan_file: ArtifactId,
    context: ArtifactId,
}

impl TryFrom<Row> for Record {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            plan: serde_json::from_str(&row.document).map_err(|e| Error::corrupt("plans", e))?,
            judgement: row
                .judgement
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|e| Error::corrupt("plans", e))?,
            binding: serde_json::from_str(&row.binding).map_err(|e| Error::corrupt("plans", e))?,
            plan_file: row.plan_file,
            context: row.context,
        })
    }
}

/// What is known of a deployment's newest plan without its document, which may be large.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// First, second … plan of the deployment.
    pub number: i32,
    /// What its digest covers.
    pub binding: Binding,
    /// Until when what the gates said holds.
    pub holds_until: Option<DateTime<Utc>>,
}

type LatestRow = (i32, String, Option<DateTime<Utc>>);

impl Tx {
    /// Adds a plan.
    pub async fn insert_plan(&mut self, record: &Record) -> Result<()> {
        let plan = &record.plan;
        sql!(execute self,
            "insert into plans (id, deployment_id, number, digest, binding, document, plan_file,
                 context, created_at, judgement, holds_until)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            plan.id, plan.deployment_id, plan.number, plan.digest.as_str(),
            to_json(&record.binding)?, to_json(plan)?, record.plan_file, record.context,
            plan.created_at, record.judgement.as_ref().map(to_json).transpose()?,
            plan.holds_until)?;
        Ok(())
    }

    /// Notes the exemptions that what was said about a plan rests on.
    pub async fn note_exemptions(&mut self, plan: PlanId, all: &[ExemptionId]) -> Result<()> {
        for exemption in all {
            sql!(execute self,
                "insert into plan_exemptions (plan_id, exemption_id) values ($1, $2)
                 on conflict (plan_id, exemption_id) do nothing",
                plan, *exemption)?;
        }
        Ok(())
    }

    /// What was said about plans under an exemption does not hold any more.
    pub async fn end_judgements(&mut self, under: ExemptionId, now: DateTime<Utc>) -> Result<()> {
        sql!(execute self,
            "update plans set holds_until = $2
             where id in (select plan_id from plan_exemptions where exemption_id = $1)
               and (holds_until is null or holds_until > $2)",
            under, now)?;
        Ok(())
    }

    /// Keeps what the gates say of a plan now, another answer than the first.
    pub async fn set_judgement(&mut self, plan: &Plan, judgement: &Judgement) -> Result<()> {
        let rows = sql!(execute self,
            "update plans set document = $2, judgement = $3, holds_until = $4 where id = $1",
            plan.id, to_json(plan)?, to_json(judgement)?, plan.holds_until)?;
        if rows == 1 { Ok(()) } else { Err(Error::corrupt("plans", format!("no row {}", plan.id))) }
    }

    /// A plan.
    pub async fn plan(&mut self, id: PlanId) -> Result<Option<Record>> {
        sql!(maybe Row, self,
            "select document, judgement, binding, plan_file, context from plans where id = $1", id)?
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
            "select document, judgement, binding, plan_file, context from plans
             where deployment_id = $1 and digest = $2 order by number desc limit 1", of, digest)?
        .map(Record::try_from)
        .transpose()
    }

    /// What is known of the newest plan of a deployment without its document.
    pub async fn latest(&mut self, of: DeploymentId) -> Result<Option<Latest>> {
        let row = sql!(
            maybe LatestRow,
            self,
            "select number, binding, holds_until from plans where deployment_id = $1
             order by number desc limit 1",
            of
        )?;
        row.map(|(number, binding, holds_until)| {
            let binding = serde_json::from_str(&binding).map_err(|e| Error::corrupt("plans", e))?;
            Ok(Latest { number, binding, holds_until })
        })
        .transpose()
    }

    /// The newest plan of a deployment.
    pub async fn latest_plan(&mut self, of: DeploymentId) -> Result<Option<Record>> {
        sql!(maybe Row, self,
            "select document, judgement, binding, plan_file, context from plans
             where deployment_id = $1 order by number desc limit 1", of)?
        .map(Record::try_from)
        .transpose()
    }
}
