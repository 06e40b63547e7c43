//! Gives everything that is sealed the key that seals now. Values stay as they are: only their
//! data keys are wrapped anew, a few rows a unit of work.
//!
//! Nothing is written down about how far it is: an envelope says itself which key it is under. So
//! it can be cut off anywhere and begun again, several may do it at once, and whoever reads
//! meanwhile finds either the old envelope or the new one.

use slipway_domain::artifact::ArtifactKind;
use slipway_domain::id::{ArtifactId, DeploymentId, SettingId};
use uuid::Uuid;

use crate::artifact;
use crate::auth::signing_key;
use crate::crypto::{HEAD_BYTES, KeysInUse, Rewrap};
use crate::db::{Store, sql};
use crate::deployment::{outputs_place, variables_place};
use crate::dialect::fill;
use crate::error::{Error, Result};
use crate::{house, setting};

/// Rows that are looked at in one go, and written in one unit of work.
const PAGE: usize = 100;

/// Where something sealed is kept. A test compares this with the columns of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    HouseKeys,
    Variables,
    Outputs,
    Artifacts,
    Settings,
    SigningKeys,
}

impl Kept {
    const ALL: [Self; 6] = [
        Self::HouseKeys,
        Self::Variables,
        Self::Outputs,
        Self::Artifacts,
        Self::Settings,
        Self::SigningKeys,
    ];

    /// Table and column.
    const fn column(self) -> (&'static str, &'static str) {
        match self {
            Self::HouseKeys => ("house_keys", "sealed"),
            Self::Variables => ("deployments", "variables_sealed"),
            Self::Outputs => ("deployments", "outputs_sealed"),
            Self::Artifacts => ("artifacts", "body"),
            Self::Settings => ("setting_versions", "sealed"),
            Self::SigningKeys => ("signing_keys", "sealed"),
        }
    }

    const fn next(self) -> Option<Self> {
        match self {
            Self::HouseKeys => Some(Self::Variables),
            Self::Variables => Some(Self::Outputs),
            Self::Outputs => Some(Self::Artifacts),
            Self::Artifacts => Some(Self::Settings),
            Self::Settings => Some(Self::SigningKeys),
            Self::SigningKeys => None,
        }
    }
}

/// How far a walk over everything that is sealed is.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    kept: Kept,
    after: Uuid,
}

impl Default for Walk {
    fn default() -> Self {
        Self { kept: Kept::HouseKeys, after: Uuid::nil() }
    }
}

/// What a few steps of a rotation did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Step {
    /// Where it goes on; `None` at the end.
    pub next: Option<Walk>,
    /// Envelopes that were looked at.
    pub looked: u64,
    /// Envelopes that have the current key now.
    pub rewrapped: u64,
}

/// What is sealed, by key.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Envelopes under each key.
    pub under: KeysInUse,
    /// Artifacts whose object is not there.
    pub objects_missing: u64,
}

/// A row with something sealed in it.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: Uuid,
    /// The beginning of the envelope, or all of it; an artifact may have it elsewhere.
    sealed: Option<Vec<u8>>,
    kind: String,
    digest: String,
    location: Option<String>,
}

#[derive(sqlx::FromRow)]
struct SettingRow {
    id: Uuid,
    setting_id: Uuid,
    version: i32,
    sealed: Vec<u8>,
}

impl From<SettingRow> for Row {
    fn from(row: SettingRow) -> Self {
        Self {
            id: row.id,
            sealed: Some(row.sealed),
            // The rest of its place.
            kind: setting::place(row.setting_id, row.version),
            digest: String::new(),
            location: None,
        }
    }
}

#[derive(sqlx::FromRow)]
struct HouseRow {
    name: String,
    sealed: Vec<u8>,
}

impl Row {
    fn place(&self, kept: Kept) -> Result<String> {
        Ok(match kept {
            Kept::HouseKeys => house::place(&self.kind),
            Kept::Variables => variables_place(DeploymentId(self.id)),
            Kept::Outputs => outputs_place(DeploymentId(self.id)),
            Kept::SigningKeys => signing_key::place(self.id),
            Kept::Artifacts => {
                let kind = ArtifactKind::parse(&self.kind)
                    .ok_or_else(|| Error::corrupt("artifacts", format!("kind {:?}", self.kind)))?;
                artifact::place(ArtifactId(self.id), kind, &self.digest)
            }
            Kept::Settings => self.kind.clone(),
        })
    }
}

impl Store {
    /// Counts everything that is sealed, by the key that it is under.
    pub async fn keys_in_use(&self) -> Result<Found> {
        let mut found = Found::default();
        let mut walk = Some(Walk::default());
        while let Some(at) = walk {
            let (rows, next) = self.page(at).await?;
            for row in rows {
                match self.head(&row).await? {
                    Some(head) => *found.under.entry(self.keys.key_of(&head)?).or_default() += 1,
                    None => found.objects_missing += 1,
                }
            }
            walk = next;
        }
        Ok(found)
    }

    /// Gives the current key to what comes next, where it has another one. `current` is
    /// [`Keys::current`](crate::crypto::Keys::current).
    pub async fn rewrap_some(&self, at: Walk, current: &str) -> Result<Step> {
        let (rows, next) = self.page(at).await?;
        let mut step = Step { next, looked: rows.len() as u64, rewrapped: 0 };
        let mut inside = Vec::new();
        for row in rows {
            let Some(head) = self.head(&row).await? else { continue };
            if self.keys.key_of(&head)? == current {
                continue;
            }
            match &row.location {
                Some(location) if row.sealed.is_none() => {
                    let place = row.place(at.kept)?;
                    step.rewrapped += u64::from(self.rewrap_object(row.id, place, location).await?);
                }
                _ => inside.push(row),
            }
        }
        step.rewrapped += self.rewrap_rows(at.kept, inside).await?;
        Ok(step)
    }

    /// Gives the current key to every version of one item of the central configuration.
    pub async fn rewrap_setting(&self, of: SettingId, current: &str) -> Result<Step> {
        let mut step = Step::default();
        let mut after = 0;
        loop {
            let mut tx = self.read().await?;
            let head = i32::try_from(HEAD_BYTES).unwrap_or(i32::MAX);
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let rows = sql!(all SettingRow, &mut tx,
                "select id, setting_id, version, substr(sealed, 1, $4) as sealed
                 from setting_versions
                 where setting_id = $1 and version > $2 and sealed is not null
                 order by version limit $3", of, after, limit, head)?;
            drop(tx);
            let Some(last) = rows.last() else { return Ok(step) };
            after = last.version;
            step.looked += rows.len() as u64;
            let mut old = Vec::new();
            for row in rows {
                if self.keys.key_of(&row.sealed)? != current {
                    old.push(row.into());
                }
            }
            step.rewrapped += self.rewrap_rows(Kept::Settings, old).await?;
        }
    }

    /// The next rows, each with the beginning of its envelope.
    async fn page(&self, at: Walk) -> Result<(Vec<Row>, Option<Walk>)> {
        let mut tx = self.read().await?;
        let head = i32::try_from(HEAD_BYTES).unwrap_or(i32::MAX);
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let rows: Vec<Row> = match at.kept {
            Kept::HouseKeys => sql!(all HouseRow, &mut tx, "select name, sealed from house_keys")?
                .into_iter()
                .map(|row| Row {
                    id: Uuid::nil(),
                    sealed: Some(row.sealed),
                    kind: row.name,
                    digest: String::new(),
                    location: None,
                })
                .collect(),
            Kept::Variables => sql!(all Row, &mut tx,
                "select id, substr(variables_sealed, 1, $3) as sealed, '' as kind, '' as digest,
                     cast(null as text) as location
                 from deployments where id > $1 order by id limit $2", at.after, limit, head)?,
            Kept::Outputs => sql!(all Row, &mut tx,
                "select id, substr(outputs_sealed, 1, $3) as sealed, '' as kind, '' as digest,
                     cast(null as text) as location
                 from deployments where id > $1 and outputs_sealed is not null
                 order by id limit $2", at.after, limit, head)?,
            Kept::Artifacts => sql!(all Row, &mut tx,
                "select id, substr(body, 1, $3) as sealed, kind, digest, location
                 from artifacts where id > $1 order by id limit $2", at.after, limit, head)?,
            Kept::Settings => sql!(all SettingRow, &mut tx,
                "select id, setting_id, version, substr(sealed, 1, $3) as sealed
                 from setting_versions where id > $1 and sealed is not null
                 order by id limit $2", at.after, limit, head)?
            .into_iter()
            .map(Row::from)
            .collect(),
            Kept::SigningKeys => sql!(all Row, &mut tx,
                "select id, substr(sealed, 1, $3) as sealed, '' as kind, '' as digest,
                     cast(null as text) as location
                 from signing_keys where id > $1 order by id limit $2", at.after, limit, head)?,
        };
        let more = at.kept != Kept::HouseKeys && rows.len() == PAGE;
        let next = match rows.last() {
            Some(last) if more => Some(Walk { after: last.id, ..at }),
            _ => at.kept.next().map(|kept| Walk { kept, after: Uuid::nil() }),
        };
        Ok((rows, next))
    }

    /// The beginning of an envelope; `None` when it is in an object that is not there.
    async fn head(&self, row: &Row) -> Result<Option<Vec<u8>>> {
        match (&row.sealed, &row.location) {
            (Some(head), _) => Ok(Some(head.clone())),
            (None, Some(location)) => self.blobs.head(location).await,
            (None, None) => Err(Error::corrupt("artifacts", "neither body nor location")),
        }
    }

    /// Envelopes in rows: read whole, wrapped anew outside any unit of work (a key service may
    /// take its time), and each written only if it still is what was read.
    async fn rewrap_rows(&self, kept: Kept, rows: Vec<Row>) -> Result<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        let mut old = Vec::with_capacity(rows.len());
        let mut of = Vec::with_capacity(rows.len());
        let mut tx = self.read().await?;
        for row in rows {
            let whole = match kept {
                Kept::HouseKeys => row.sealed.clone(),
                Kept::Variables => sql!(scalar_maybe Vec<u8>, &mut tx,
                    "select variables_sealed from deployments where id = $1", row.id)?,
                Kept::Outputs => sql!(scalar_maybe Option<Vec<u8>>, &mut tx,
                    "select outputs_sealed from deployments where id = $1", row.id)?
                .flatten(),
                Kept::Artifacts => sql!(scalar_maybe Option<Vec<u8>>, &mut tx,
                    "select body from artifacts where id = $1", row.id)?
                .flatten(),
                Kept::Settings => sql!(scalar_maybe Option<Vec<u8>>, &mut tx,
                    "select sealed from setting_versions where id = $1", row.id)?
                .flatten(),
                Kept::SigningKeys => sql!(scalar_maybe Vec<u8>, &mut tx,
                    "select sealed from signing_keys where id = $1", row.id)?,
            };
            // Swept meanwhile, it needs no key any more.
            if let Some(sealed) = whole {
                old.push(Rewrap { place: row.place(kept)?, sealed });
                of.push(row);
            }
        }
        drop(tx);
        let new = self.keys.rewrap(&old).await?;
        let mut written = 0;
        let mut tx = self.begin().await?;
        for ((row, old), new) in of.iter().zip(&old).zip(new) {
            let old = old.sealed.as_slice();
            written += match kept {
                Kept::HouseKeys => sql!(execute &mut tx,
                    "update house_keys set sealed = $3 where name = $1 and sealed = $2",
                    row.kind.as_str(), old, new)?,
                Kept::Variables => sql!(execute &mut tx,
                    "update deployments set variables_sealed = $3
                     where id = $1 and variables_sealed = $2", row.id, old, new)?,
                Kept::Outputs => sql!(execute &mut tx,
                    "update deployments set outputs_sealed = $3
                     where id = $1 and outputs_sealed = $2", row.id, old, new)?,
                Kept::Artifacts => sql!(execute &mut tx,
                    "update artifacts set body = $3 where id = $1 and body = $2",
                    row.id, old, new)?,
                Kept::Settings => sql!(execute &mut tx,
                    "update setting_versions set sealed = $3 where id = $1 and sealed = $2",
                    row.id, old, new)?,
                Kept::SigningKeys => sql!(execute &mut tx,
                    "update signing_keys set sealed = $3 where id = $1 and sealed = $2",
                    row.id, old, new)?,
            };
        }
        tx.commit().await?;
        Ok(written)
    }

    /// One envelope in the object store. Its row is held while the object is replaced: an artifact
    /// that is swept meanwhile must not come back.
    async fn rewrap_object(&self, id: Uuid, place: String, location: &str) -> Result<bool> {
        let Some(sealed) = self.blobs.whole(location).await? else { return Ok(false) };
        let mut new = self.keys.rewrap(&[Rewrap { place, sealed }]).await?;
        let Some(new) = new.pop() else { return Ok(false) };
        let mut tx = self.begin().await?;
        let text = fill(&mut tx, "select location from artifacts where id = $1 {for_update}");
        let there = sql!(scalar_maybe Option<String>, &mut tx, text, id)?.flatten();
        let same = there.as_deref() == Some(location);
        if same {
            self.blobs.replace(location, new).await?;
        }
        tx.rollback().await?;
        Ok(same)
    }
}

/// Table and column of everything that is sealed.
pub fn sealed_columns() -> Vec<(&'static str, &'static str)> {
    Kept::ALL.iter().map(|kept| kept.column()).collect()
}
