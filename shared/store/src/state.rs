//! Versions of a stack's state, its lock, and the states that were refused. Versions only grow: a
//! restore is a new version.

use chrono::{DateTime, Utc};
use slipway_domain::access::Actor;
use slipway_domain::id::{ArtifactId, DeploymentId, JobId, OrphanId, StackId, WorkerId};
use slipway_domain::job::Lease;
use slipway_domain::plan::StateMark;
use slipway_domain::state_version::{
    OrphanState, StateLock, StateOrigin, StateRefusal, StateVersion,
};

use crate::db::{Tx, sql};
use crate::dialect::fill;
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
    /// Who wrote it.
    pub origin: StateOrigin,
    /// Which deployment wrote it, if one did.
    pub deployment_id: Option<DeploymentId>,
    /// Under which epoch of its job's lease.
    pub epoch: Option<i64>,
    /// Who wrote it, if nobody's run did.
    pub written_by: Option<Actor>,
    /// Which version was put back.
    pub restored_from: Option<i64>,
}

/// A state that is refused; its bytes are an artifact.
#[derive(Debug, Clone)]
pub struct NewOrphan {
    /// What is known of it.
    pub orphan: OrphanState,
    /// The bytes.
    pub artifact: ArtifactId,
    /// The lock that its writer named.
    pub lock_id: Option<String>,
    /// The lease that its writer had.
    pub lease: Option<Lease>,
}

/// A row and where its bytes are.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<T> {
    /// What is known of it.
    pub row: T,
    /// The bytes.
    pub artifact: ArtifactId,
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    stack_id: StackId,
    version: i64,
    lineage: String,
    serial: i64,
    resources: i64,
    artifact: ArtifactId,
    size_bytes: i64,
    digest: String,
    origin: String,
    deployment_id: Option<DeploymentId>,
    written_by: Option<String>,
    restored_from: Option<i64>,
    created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct LockRow {
    stack_id: StackId,
    lock_id: String,
    info: String,
    job_id: Option<JobId>,
    worker_id: Option<WorkerId>,
    epoch: Option<i64>,
    held_by: String,
    acquired_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct OrphanRow {
    id: OrphanId,
    stack_id: StackId,
    lineage: String,
    serial: i64,
    resources: i64,
    artifact: ArtifactId,
    digest: String,
    reason: String,
    written_by: String,
    created_at: DateTime<Utc>,
}

fn read<T: serde::de::DeserializeOwned>(table: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::corrupt(table, e))
}

fn written<T: serde::Serialize>(table: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::corrupt(table, e))
}

impl TryFrom<VersionRow> for Kept<StateVersion> {
    type Error = Error;
    fn try_from(row: VersionRow) -> Result<Self> {
        const TABLE: &str = "state_versions";
        let written_by = row.written_by.as_deref().map(|text| read(TABLE, text)).transpose()?;
        Ok(Self {
            artifact: row.artifact,
            row: StateVersion {
                stack_id: row.stack_id,
                version: row.version,
                mark: StateMark { lineage: row.lineage, serial: row.serial },
                resource_count: row.resources,
                size_bytes: u64::try_from(row.size_bytes).unwrap_or_default(),
                digest: row.digest,
                origin: StateOrigin::parse(&row.origin)
                    .ok_or_else(|| Error::corrupt(TABLE, format!("origin {:?}", row.origin)))?,
                deployment_id: row.deployment_id,
                written_by,
                restored_from: row.restored_from,
                created_at: row.created_at,
            },
        })
    }
}

impl TryFrom<LockRow> for StateLock {
    type Error = Error;
    fn try_from(row: LockRow) -> Result<Self> {
        const TABLE: &str = "state_locks";
        let lease = match (row.job_id, row.worker_id, row.epoch) {
            (Some(job_id), Some(worker_id), Some(epoch)) => {
                Some(Lease { job_id, worker_id, epoch })
            }
            (None, None, None) => None,
            _ => return Err(Error::corrupt(TABLE, "half a lease")),
        };
        Ok(Self {
            stack_id: row.stack_id,
            lock_id: row.lock_id,
            info: read(TABLE, &row.info)?,
            lease,
            held_by: read(TABLE, &row.held_by)?,
            acquired_at: row.acquired_at,
        })
    }
}

impl TryFrom<OrphanRow> for Kept<OrphanState> {
    type Error = Error;
    fn try_from(row: OrphanRow) -> Result<Self> {
        const TABLE: &str = "state_orphans";
        Ok(Self {
            artifact: row.artifact,
            row: OrphanState {
                id: row.id,
                stack_id: row.stack_id,
                mark: StateMark { lineage: row.lineage, serial: row.serial },
                resource_count: row.resources,
                digest: row.digest,
                reason: StateRefusal::parse(&row.reason)
                    .ok_or_else(|| Error::corrupt(TABLE, format!("reason {:?}", row.reason)))?,
                written_by: read(TABLE, &row.written_by)?,
                created_at: row.created_at,
            },
        })
    }
}

macro_rules! select_version {
    ($rest:literal) => {
        concat!(
            "select v.stack_id, v.version, v.lineage, v.serial, v.resources, v.artifact, ",
            "a.size_bytes, a.digest, v.origin, v.deployment_id, v.written_by, v.restored_from, ",
            "v.created_at from state_versions v join artifacts a on a.id = v.artifact ",
            $rest
        )
    };
}

macro_rules! select_orphan {
    ($rest:literal) => {
        concat!(
            "select id, stack_id, lineage, serial, resources, artifact, digest, reason, ",
            "written_by, created_at from state_orphans ",
            $rest
        )
    };
}

impl Tx {
    /// Adds a version, makes it the stack's current one and returns its number. The stack must be
    /// locked. Refused ([`Error::Changed`]) when the lineage is another one or the serial does not
    /// grow.
    pub async fn add_state_version(
        &mut self,
        new: &NewStateVersion,
        now: DateTime<Utc>,
    ) -> Result<i64> {
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
        let written_by =
            new.written_by.as_ref().map(|actor| written("state_versions", actor)).transpose()?;
        sql!(execute self,
            "insert into state_versions (stack_id, version, lineage, serial, resources, artifact,
                 deployment_id, epoch, origin, written_by, restored_from, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            new.stack_id, version, new.mark.lineage.as_str(), new.mark.serial,
            new.resource_count, new.artifact, new.deployment_id, new.epoch, new.origin.as_str(),
            written_by.as_deref(), new.restored_from, now)?;
        Ok(version)
    }

    /// Versions of a stack's state below `before` (all when `None`), newest first, at most `limit`.
    pub async fn state_versions(
        &mut self,
        of: StackId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Kept<StateVersion>>> {
        sql!(all VersionRow, self,
            select_version!("where v.stack_id = $1 and v.version < $2
             order by v.version desc limit $3"),
            of, before.unwrap_or(i64::MAX), limit)?
        .into_iter()
        .map(Kept::try_from)
        .collect()
    }

    /// One version.
    pub async fn state_version(
        &mut self,
        of: StackId,
        version: i64,
    ) -> Result<Option<Kept<StateVersion>>> {
        sql!(maybe VersionRow, self,
            select_version!("where v.stack_id = $1 and v.version = $2"), of, version)?
        .map(Kept::try_from)
        .transpose()
    }

    /// Who holds the lock of a stack's state.
    pub async fn state_lock(&mut self, of: StackId) -> Result<Option<StateLock>> {
        sql!(maybe LockRow, self,
            "select stack_id, lock_id, info, job_id, worker_id, epoch, held_by, acquired_at
             from state_locks where stack_id = $1", of)?
        .map(StateLock::try_from)
        .transpose()
    }

    /// Takes the lock of a stack's state; `false` when it is taken.
    pub async fn take_state_lock(&mut self, lock: &StateLock) -> Result<bool> {
        let (info, held_by) =
            (written("state_locks", &lock.info)?, written("state_locks", &lock.held_by)?);
        let taken = sql!(execute self,
            "insert into state_locks (stack_id, lock_id, info, job_id, worker_id, epoch, held_by,
                 acquired_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (stack_id) do nothing",
            lock.stack_id, lock.lock_id.as_str(), info.as_str(),
            lock.lease.map(|lease| lease.job_id), lock.lease.map(|lease| lease.worker_id),
            lock.lease.map(|lease| lease.epoch), held_by.as_str(), lock.acquired_at)?;
        Ok(taken == 1)
    }

    /// Gives this very lock back; `false` when it is not there any more.
    pub async fn drop_state_lock(&mut self, lock: &StateLock) -> Result<bool> {
        let dropped = sql!(execute self,
            "delete from state_locks where stack_id = $1 and lock_id = $2",
            lock.stack_id, lock.lock_id.as_str())?;
        Ok(dropped == 1)
    }

    /// Whether a lease is the current, living one of its job. Unlike [`Tx::fence`] it keeps
    /// nothing so: it is for those who wait for its end.
    pub async fn is_lease_alive(&mut self, lease: &Lease) -> Result<bool> {
        let text = fill(
            self,
            "select epoch from jobs where id = $1 and worker_id = $2 and epoch = $3
               and state = 'running' and lease_until_ms > {now_ms}",
        );
        let found = sql!(scalar_maybe i64, self, text, lease.job_id, lease.worker_id, lease.epoch)?;
        Ok(found.is_some())
    }

    /// The deployment whose apply job runs for a stack right now, with or without a living lease.
    pub async fn running_apply(&mut self, of: StackId) -> Result<Option<DeploymentId>> {
        sql!(scalar_maybe DeploymentId, self,
            "select deployment_id from jobs
             where stack_id = $1 and kind in ('apply', 'recover') and state = 'running'
             order by id limit 1", of)
    }

    /// Keeps a state that was refused. `false` when the same bytes are kept already, or `max` of
    /// the stack's are. The stack must be locked.
    pub async fn keep_orphan(&mut self, new: &NewOrphan, max: i64) -> Result<bool> {
        let orphan = &new.orphan;
        let kept: i64 = sql!(scalar i64, self,
            "select cast(count(*) as bigint) from state_orphans where stack_id = $1",
            orphan.stack_id)?;
        if kept >= max {
            return Ok(false);
        }
        let written_by = written("state_orphans", &orphan.written_by)?;
        let added = sql!(execute self,
            "insert into state_orphans (id, stack_id, lineage, serial, resources, artifact, digest,
                 reason, lock_id, job_id, epoch, written_by, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             on conflict (stack_id, digest) do nothing",
            orphan.id, orphan.stack_id, orphan.mark.lineage.as_str(), orphan.mark.serial,
            orphan.resource_count, new.artifact, orphan.digest.as_str(), orphan.reason.as_str(),
            new.lock_id.as_deref().map(crate::dialect::without_nul),
            new.lease.map(|lease| lease.job_id), new.lease.map(|lease| lease.epoch),
            written_by.as_str(), orphan.created_at)?;
        Ok(added == 1)
    }

    /// States of a stack that were refused, newest first, at most `limit`.
    pub async fn orphans(&mut self, of: StackId, limit: i64) -> Result<Vec<Kept<OrphanState>>> {
        sql!(all OrphanRow, self,
            select_orphan!("where stack_id = $1 order by id desc limit $2"), of, limit)?
        .into_iter()
        .map(Kept::try_from)
        .collect()
    }

    /// One state of a stack that was refused.
    pub async fn orphan(&mut self, of: StackId, id: OrphanId) -> Result<Option<Kept<OrphanState>>> {
        sql!(maybe OrphanRow, self,
            select_orphan!("where stack_id = $1 and id = $2"), of, id)?
        .map(Kept::try_from)
        .transpose()
    }

    /// Lets go of a state that was refused, and of its bytes. `None` when it is not there; else the
    /// place of its object, if it has one, which [`Store::delete_objects`](crate::Store) takes after
    /// the commit.
    pub async fn remove_orphan(
        &mut self,
        of: StackId,
        id: OrphanId,
    ) -> Result<Option<Vec<String>>> {
        let Some(artifact) = sql!(scalar_maybe ArtifactId, self,
            "delete from state_orphans where stack_id = $1 and id = $2 returning artifact",
            of, id)?
        else {
            return Ok(None);
        };
        let location: Option<String> = sql!(scalar Option<String>, self,
            "delete from artifacts where id = $1 returning location", artifact)?;
        Ok(Some(location.into_iter().collect()))
    }
}
