//! Published templates and their versions. Those that come with the installation are in no table.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use slipway_domain::access::Actor;
use slipway_domain::id::ArtifactId;
use slipway_domain::template::{InputSpec, TemplateState, TemplateVersion};

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::dialect::fill;
use crate::error::{Error, Result};

/// What is known of a template, whatever its versions.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Its name.
    pub name: String,
    /// One line about it.
    pub title: String,
    /// What it makes and when to use it.
    pub description: String,
    /// What it is about.
    pub category: Option<String>,
    /// Labels by name.
    pub labels: BTreeMap<String, String>,
    /// The last number that was given to a version.
    pub last_version: i32,
    /// When its first version was published.
    pub created_at: DateTime<Utc>,
    /// When anything of it changed last.
    pub updated_at: DateTime<Utc>,
}

/// A version and where its source is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The version.
    pub version: TemplateVersion,
    /// Its source tree, packed.
    pub archive: ArtifactId,
}

/// What became of a version that was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, and so is its archive; its object goes after the commit.
    Gone(Option<String>),
    /// A deployment names its archive.
    InUse,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    name: String,
    title: String,
    description: String,
    category: Option<String>,
    labels: String,
    last_version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<HeadRow> for Head {
    type Error = Error;
    fn try_from(row: HeadRow) -> Result<Self> {
        Ok(Self {
            name: row.name,
            title: row.title,
            description: row.description,
            category: row.category,
            labels: serde_json::from_str(&row.labels)
                .map_err(|e| Error::corrupt("templates", e))?,
            last_version: row.last_version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    name: String,
    version: i32,
    digest: String,
    archive: ArtifactId,
    inputs: String,
    deprecated_at: Option<DateTime<Utc>>,
    deprecated_reason: Option<String>,
    published_by: String,
    published_at: DateTime<Utc>,
}

impl TryFrom<VersionRow> for Record {
    type Error = Error;
    fn try_from(row: VersionRow) -> Result<Self> {
        let corrupt = |e| Error::corrupt("template_versions", e);
        let inputs: Vec<InputSpec> = serde_json::from_str(&row.inputs).map_err(corrupt)?;
        let by: Actor = serde_json::from_str(&row.published_by).map_err(corrupt)?;
        Ok(Self {
            archive: row.archive,
            version: TemplateVersion {
                name: row.name,
                version: row.version,
                state: match row.deprecated_at {
                    None => TemplateState::Active,
                    Some(_) => TemplateState::Deprecated,
                },
                reason: row.deprecated_reason,
                digest: row.digest,
                inputs,
                published_by: Some(by),
                published_at: Some(row.published_at),
            },
        })
    }
}

macro_rules! heads {
    ($rest:literal) => {
        concat!(
            "select name, title, description, category, labels, last_version, created_at, ",
            "updated_at from templates ",
            $rest
        )
    };
}

macro_rules! versions {
    ($rest:literal) => {
        concat!(
            "select v.name, v.version, v.digest, v.archive, v.inputs, v.deprecated_at, ",
            "v.deprecated_reason, v.published_by, v.published_at from template_versions v ",
            $rest
        )
    };
}

type LocationRow = (Option<String>,);

impl Tx {
    /// Every published template, by name.
    pub async fn templates(&mut self) -> Result<Vec<Head>> {
        let rows = sql!(all HeadRow, self, heads!("order by name"))?;
        rows.into_iter().map(Head::try_from).collect()
    }

    /// How many there are.
    pub async fn count_templates(&mut self) -> Result<i64> {
        sql!(scalar i64, self, "select cast(count(*) as bigint) from templates")
    }

    /// A published template.
    pub async fn template(&mut self, name: &str) -> Result<Option<Head>> {
        sql!(maybe HeadRow, self, heads!("where name = $1"), name)?.map(Head::try_from).transpose()
    }

    /// A published template, locked until the unit of work ends.
    pub async fn lock_template(&mut self, name: &str) -> Result<Option<Head>> {
        let text = fill(self, heads!("where name = $1 {for_update}"));
        sql!(maybe HeadRow, self, text, name)?.map(Head::try_from).transpose()
    }

    /// Adds a template without versions, unless there is one of that name.
    pub async fn insert_template(&mut self, head: &Head) -> Result<bool> {
        let added = sql!(execute self,
            "insert into templates (name, title, description, category, labels, last_version,
                 created_at, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (name) do nothing",
            head.name.as_str(), head.title.as_str(), head.description.as_str(),
            head.category.as_deref(), to_json(&head.labels)?, head.last_version,
            head.created_at, head.updated_at)?;
        Ok(added == 1)
    }

    /// Writes what is known of a template, which must be locked.
    pub async fn update_template(&mut self, head: &Head) -> Result<()> {
        sql!(execute self,
            "update templates set title = $2, description = $3, category = $4, labels = $5,
                 last_version = $6, updated_at = $7
             where name = $1",
            head.name.as_str(), head.title.as_str(), head.description.as_str(),
            head.category.as_deref(), to_json(&head.labels)?, head.last_version,
            head.updated_at)?;
        Ok(())
    }

    /// Removes a template that has no versions any more.
    pub async fn delete_template(&mut self, name: &str) -> Result<()> {
        sql!(execute self, "delete from templates where name = $1", name)?;
        Ok(())
    }

    /// Adds a version, whose archive is recorded already.
    pub async fn insert_template_version(&mut self, record: &Record) -> Result<()> {
        let version = &record.version;
        sql!(execute self,
            "insert into template_versions (name, version, digest, archive, inputs, published_by,
                 published_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
            version.name.as_str(), version.version, version.digest.as_str(), record.archive,
            to_json(&version.inputs)?, to_json(&version.published_by)?, version.published_at)?;
        Ok(())
    }

    /// The versions of a template, newest first.
    pub async fn template_versions(&mut self, name: &str) -> Result<Vec<Record>> {
        let rows = sql!(all VersionRow, self, versions!("where v.name = $1 order by v.version desc"), name)?;
        rows.into_iter().map(Record::try_from).collect()
    }

    /// A version of a template.
    pub async fn template_version(&mut self, name: &str, version: i32) -> Result<Option<Record>> {
        sql!(maybe VersionRow, self, versions!("where v.name = $1 and v.version = $2"), name, version)?
            .map(Record::try_from)
            .transpose()
    }

    /// Of each template the version that is offered: the newest active one, or the newest.
    pub async fn offered_versions(&mut self) -> Result<Vec<Record>> {
        let rows = sql!(all VersionRow, self, versions!(
            "where v.version = (
                 select coalesce(max(case when w.deprecated_at is null then w.version end),
                                 max(w.version))
                 from template_versions w where w.name = v.name)
             order by v.name"))?;
        rows.into_iter().map(Record::try_from).collect()
    }

    /// The version of a template that is offered.
    pub async fn offered_version(&mut self, name: &str) -> Result<Option<Record>> {
        sql!(maybe VersionRow, self, versions!(
            "where v.name = $1
             order by case when v.deprecated_at is null then 0 else 1 end, v.version desc limit 1"),
            name)?
        .map(Record::try_from)
        .transpose()
    }

    /// Says of a version, or of all of them, whether it is offered; gives how many that changed.
    pub async fn set_template_state(
        &mut self,
        name: &str,
        version: Option<i32>,
        deprecated: Option<(DateTime<Utc>, Option<&str>)>,
    ) -> Result<u64> {
        let (at, reason) = deprecated.unzip();
        let (from, to) = version.map_or((0, i32::MAX), |version| (version, version));
        match at {
            Some(at) => sql!(execute self,
                "update template_versions set deprecated_at = $4, deprecated_reason = $5
                 where name = $1 and version >= $2 and version <= $3",
                name, from, to, at, reason.flatten()),
            None => sql!(execute self,
                "update template_versions set deprecated_at = null, deprecated_reason = null
                 where name = $1 and version >= $2 and version <= $3 and deprecated_at is not null",
                name, from, to),
        }
    }

    /// Removes a version of a template, which must be locked, and its archive, unless a deployment
    /// names it.
    pub async fn delete_template_version(&mut self, record: &Record) -> Result<Deleted> {
        // Locked first and looked at after: who submits with it has it locked until the deployment
        // that names it is committed.
        let text = fill(self, "select location from artifacts where id = $1 {for_update}");
        let found = sql!(maybe LocationRow, self, text, record.archive)?;
        let uses = sql!(scalar i64, self,
            "select cast(count(*) as bigint)
             from (select id from deployments where source_artifact = $1 limit 1) d",
            record.archive)?;
        if uses > 0 {
            return Ok(Deleted::InUse);
        }
        sql!(execute self, "delete from template_versions where name = $1 and version = $2",
            record.version.name.as_str(), record.version.version)?;
        sql!(execute self, "delete from artifacts where id = $1", record.archive)?;
        Ok(Deleted::Gone(found.and_then(|(location,)| location)))
    }
}
