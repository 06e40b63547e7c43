//! Policy packs that users uploaded: their versions, and who uses them.

use chrono::{DateTime, Utc};
use slipway_domain::policy::{PackUse, PolicyModule, PolicyVersion};

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::fill;
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    version: i32,
    digest: String,
    files: String,
    rules: String,
    tests: i32,
    created_by: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for PolicyVersion {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let corrupt = |e: serde_json::Error| Error::corrupt("policy_versions", e);
        Ok(Self {
            files: serde_json::from_str(&row.files).map_err(corrupt)?,
            rules: serde_json::from_str(&row.rules).map_err(corrupt)?,
            created_by: Some(serde_json::from_str(&row.created_by).map_err(corrupt)?),
            name: row.name,
            version: row.version,
            digest: row.digest,
            tests_passed: u32::try_from(row.tests).unwrap_or_default(),
            created_at: Some(row.created_at),
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select name, version, digest, files, rules, tests, created_by, created_at ",
            "from policy_versions ",
            $rest
        )
    };
}

/// A pack as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// How many versions there are.
    pub versions: i64,
    /// The newest one.
    pub latest: PolicyVersion,
}

type NameAndCount = (String, i64);
type Number = (i32,);
type NumberAndDigest = (i32, String);
type Use = (String, Option<i32>);

impl Tx {
    /// Makes a pack if there is none of this name, locks it, and gives the number that its newest
    /// version ever had; 0 when there never was one.
    pub async fn lock_policy(&mut self, name: &str, now: DateTime<Utc>) -> Result<i32> {
        sql!(execute self,
            "insert into policies (name, last_version, created_at) values ($1, 0, $2)
             on conflict (name) do nothing", name, now)?;
        let text = fill(self, "select last_version from policies where name = $1 {for_update}");
        sql!(scalar i32, self, text, name)
    }

    /// Locks packs that are there, in the order of their names. Who names one in settings does so,
    /// so that it is not removed meanwhile.
    pub async fn lock_policies(&mut self, names: &[&str]) -> Result<()> {
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let text = fill(self, "select last_version from policies where name = $1 {for_update}");
            sql!(maybe Number, self, text, name)?;
        }
        Ok(())
    }

    /// How many packs have been made.
    pub async fn policy_count(&mut self) -> Result<i64> {
        sql!(scalar i64, self, "select cast(count(*) as bigint) from policies")
    }

    /// Adds a version of a pack that is locked. Its number must follow the last one.
    pub async fn insert_policy_version(
        &mut self,
        version: &PolicyVersion,
        modules: &[PolicyModule],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let changed = sql!(execute self,
            "update policies set last_version = $2 where name = $1 and last_version = $2 - 1",
            version.name.as_str(), version.version)?;
        if changed != 1 {
            return Err(Error::Changed);
        }
        sql!(execute self,
            "insert into policy_versions (name, version, digest, modules, files, rules, tests,
                 created_by, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            version.name.as_str(), version.version, version.digest.as_str(), to_json(&modules)?,
            to_json(&version.files)?, to_json(&version.rules)?,
            i32::try_from(version.tests_passed).unwrap_or(i32::MAX),
            to_json(&version.created_by)?, now)?;
        Ok(())
    }

    /// The packs that have versions, by name; at most `limit`.
    pub async fn policies(&mut self, limit: i64) -> Result<Vec<Pack>> {
        let counts = sql!(all NameAndCount, self,
            "select name, cast(count(*) as bigint) from policy_versions group by name
             order by name limit $1", limit)?;
        let newest = sql!(all Row, self,
            select!("v where version = (select max(version) from policy_versions o
                 where o.name = v.name) order by name limit $1"), limit)?;
        counts
            .into_iter()
            .zip(newest)
            .map(|((_, versions), row)| Ok(Pack { versions, latest: row.try_into()? }))
            .collect()
    }

    /// One pack, if it has versions.
    pub async fn policy(&mut self, name: &str) -> Result<Option<Pack>> {
        let Some(latest) = self.policy_version(name, None).await? else { return Ok(None) };
        let versions = sql!(scalar i64, self,
            "select cast(count(*) as bigint) from policy_versions where name = $1", name)?;
        Ok(Some(Pack { versions, latest }))
    }

    /// A version of a pack; the newest when none is named.
    pub async fn policy_version(
        &mut self,
        name: &str,
        version: Option<i32>,
    ) -> Result<Option<PolicyVersion>> {
        let row = match version {
            Some(version) => sql!(maybe Row, self,
                select!("where name = $1 and version = $2"), name, version)?,
            None => sql!(maybe Row, self,
                select!("where name = $1 order by version desc limit 1"), name)?,
        };
        row.map(PolicyVersion::try_from).transpose()
    }

    /// Number and digest of a version; of the newest when none is named.
    pub async fn policy_digest(
        &mut self,
        name: &str,
        version: Option<i32>,
    ) -> Result<Option<(i32, String)>> {
        match version {
            Some(version) => sql!(maybe NumberAndDigest, self,
                "select version, digest from policy_versions where name = $1 and version = $2",
                name, version),
            None => sql!(maybe NumberAndDigest, self,
                "select version, digest from policy_versions where name = $1
                 order by version desc limit 1", name),
        }
    }

    /// Versions below a number, newest first; at most `limit`.
    pub async fn policy_versions(
        &mut self,
        name: &str,
        below: Option<i64>,
        limit: i64,
    ) -> Result<Vec<PolicyVersion>> {
        sql!(all Row, self,
            select!("where name = $1 and version < $2 order by version desc limit $3"),
            name, below.unwrap_or(i64::MAX), limit)?
        .into_iter()
        .map(PolicyVersion::try_from)
        .collect()
    }

    /// The files of a version.
    pub async fn policy_modules(
        &mut self,
        name: &str,
        version: i32,
    ) -> Result<Option<Vec<PolicyModule>>> {
        let text = sql!(scalar_maybe String, self,
            "select modules from policy_versions where name = $1 and version = $2", name, version)?;
        text.map(|text| {
            serde_json::from_str(&text).map_err(|e| Error::corrupt("policy_versions", e))
        })
        .transpose()
    }

    /// Removes a version of a pack that is locked. `false` when there is none.
    pub async fn delete_policy_version(&mut self, name: &str, version: i32) -> Result<bool> {
        let gone = sql!(execute self,
            "delete from policy_versions where name = $1 and version = $2", name, version)?;
        Ok(gone == 1)
    }

    /// Notes which packs somebody's settings name, in place of what they named before. `holder`
    /// says whose they are, in words that a person understands.
    pub async fn set_policy_uses(&mut self, holder: &str, packs: &[PackUse]) -> Result<()> {
        sql!(execute self, "delete from policy_uses where holder = $1", holder)?;
        for pack in packs {
            sql!(execute self,
                "insert into policy_uses (holder, name, version) values ($1, $2, $3)",
                holder, pack.name.as_str(), pack.version)?;
        }
        Ok(())
    }

    /// Whose settings name a pack, and in which version (none for the newest).
    pub async fn policy_uses(&mut self, name: &str) -> Result<Vec<(String, Option<i32>)>> {
        sql!(all Use, self,
            "select holder, version from policy_uses where name = $1 order by holder", name)
    }
}
