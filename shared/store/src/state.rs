//! Versions of a stack's state. Only grows: a restore is a new version.

use chrono::{DateTime, Utc};
use slipway_domain::id::{ArtifactId, DeploymentId, StackId};
use slipway_domain::plan::StateMark;

use crate::db::{Tx, sql};
use crate::error::{Error, Result};

/// A new version of a stack's state; its bytes are an artifact.
#[derive(Debug, Clone)]
pub struct NewStateVersion {
    /// Whose state.
    pub stack_id: StackId,
    /// Lineage and serial.
    pub mark: StateMark,
    /// How many resource instances it records.
    pub resource_count: i64,
    /// The bytes.
    pub artifact: ArtifactId,
    /// Which deployment wrote it.
    pub deployment_id: DeploymentId,
    /// Under which epoch of its job's lease.
    pub epoch: i64,
}

impl Tx {
    /// Adds a version and makes it the stack's current one. The stack must be locked. Refused
    /// ([`Error::Changed`]) when the lineage is another one or the serial does not grow.
    pub async fn add_state_version(
        &mut self,
        new: &NewStateVersion,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let moved = sql!(execute self,
            "update stacks set state_lineage = $2, state_serial = $3, state_resources = $4,
                 state_artifact = $5, updated_at = $6
             where id = $1
               and (state_lineage is null or (state_lineage = $2 and state_serial < $3))",
            new.stack_id, new.mark.lineage.as_str(), new.mark.serial, new.resource_count,
            new.artifact, now)?;
        if moved != 1 {
            return Err(Error::Changed);
        }
        let version: i64 = sql!(scalar i64, self,
            "select cast(coalesce(max(version), 0) as bigint) + 1 from state_versions
             where stack_id = $1", new.stack_id)?;
        sql!(execute self,
            "insert into state_versions (stack_id, version, lineage, serial, resources, artifact,
                 deployment_id, epoch, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            new.stack_id, version, new.mark.lineage.as_str(), new.mark.serial,
            new.resource_count, new.artifact, new.deployment_id, new.epoch, now)?;
        Ok(())
    }
}
