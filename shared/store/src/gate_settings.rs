//! Settings of the gates, by scope. In the table an empty name stands for all.

use chrono::{DateTime, Utc};
use slipway_domain::access::{Actor, Reach};
use slipway_domain::gate_settings::{GateScope, GateSettings, ScopedSettings};

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::{fill, reached, within};
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    project: String,
    environment: String,
    document: String,
    version: i64,
    updated_at: DateTime<Utc>,
    updated_by: String,
}

impl TryFrom<Row> for ScopedSettings {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let wrong = |e: serde_json::Error| Error::corrupt("gate_settings", e);
        let named = |name: String| (!name.is_empty()).then_some(name);
        Ok(Self {
            scope: GateScope { project: named(row.project), environment: named(row.environment) },
            settings: serde_json::from_str(&row.document).map_err(wrong)?,
            version: row.version,
            updated_at: row.updated_at,
            updated_by: serde_json::from_str(&row.updated_by).map_err(wrong)?,
        })
    }
}

fn names(scope: &GateScope) -> (&str, &str) {
    (scope.project.as_deref().unwrap_or_default(), scope.environment.as_deref().unwrap_or_default())
}

impl Tx {
    /// All that was said for projects within `reach`, and for every project; widest scopes first.
    pub async fn all_gate_settings(&mut self, reach: &Reach) -> Result<Vec<ScopedSettings>> {
        let text = fill(
            self,
            "select project, environment, document, version, updated_at, updated_by
             from gate_settings where project = '' or {within project $1}
             order by project, environment",
        );
        let text = within(self, text, reach);
        sql!(all Row, self, text, reached(reach))?
            .into_iter()
            .map(ScopedSettings::try_from)
            .collect()
    }

    /// What was said that holds for a project and environment.
    pub async fn gate_settings_for(
        &mut self,
        project: &str,
        environment: &str,
    ) -> Result<Vec<ScopedSettings>> {
        sql!(all Row, self,
            "select project, environment, document, version, updated_at, updated_by
             from gate_settings
             where (project = '' or project = $1) and (environment = '' or environment = $2)",
            project, environment)?
        .into_iter()
        .map(ScopedSettings::try_from)
        .collect()
    }

    /// What was said for just this scope.
    pub async fn gate_settings(&mut self, scope: &GateScope) -> Result<Option<ScopedSettings>> {
        let (project, environment) = names(scope);
        sql!(maybe Row, self,
            "select project, environment, document, version, updated_at, updated_by
             from gate_settings where project = $1 and environment = $2", project, environment)?
        .map(ScopedSettings::try_from)
        .transpose()
    }

    /// Keeps settings in place of those of version `before`; 0: there were none. `false` when there
    /// were others.
    pub async fn set_gate_settings(
        &mut self,
        scope: &GateScope,
        settings: &GateSettings,
        before: i64,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let (project, environment) = names(scope);
        let (document, by) = (to_json(settings)?, to_json(by)?);
        let changed = if before == 0 {
            sql!(execute self,
                "insert into gate_settings
                     (project, environment, document, version, updated_at, updated_by)
                 values ($1, $2, $3, 1, $4, $5)
                 on conflict (project, environment) do nothing",
                project, environment, document, now, by)?
        } else {
            sql!(execute self,
                "update gate_settings set document = $3, version = version + 1, updated_at = $4,
                     updated_by = $5
                 where project = $1 and environment = $2 and version = $6",
                project, environment, document, now, by, before)?
        };
        Ok(changed == 1)
    }

    /// Forgets settings of version `before`. `false` when there were others.
    pub async fn delete_gate_settings(&mut self, scope: &GateScope, before: i64) -> Result<bool> {
        let (project, environment) = names(scope);
        let changed = sql!(execute self,
            "delete from gate_settings where project = $1 and environment = $2 and version = $3",
            project, environment, before)?;
        Ok(changed == 1)
    }
}
