//! Artifacts: sealed blobs, small ones in a row, larger ones in the object store.
//!
//! A small artifact commits together with what refers to it. A large one is written and synced
//! before its row is, so a row never names an object that is not there; an object without a row
//! (the process died in between) is rubbish that nothing points to.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt as _};
use slipway_domain::access::Reach;
use slipway_domain::artifact::{Artifact, ArtifactKind, digest};
use slipway_domain::id::ArtifactId;

use crate::crypto::HEAD_BYTES;
use crate::db::{Conn, Store, Tx, sql};
use crate::dialect::{fill, reached, within};
use crate::error::{Error, Result};

/// The object store and the size from which it is used.
#[derive(Clone)]
pub(crate) struct Blobs {
    objects: Arc<dyn ObjectStore>,
    inline_max_bytes: usize,
}

impl Blobs {
    /// The first bytes of an object; `None` when it is not there.
    pub(crate) async fn head(&self, location: &str) -> Result<Option<Vec<u8>>> {
        let got = self.objects.get_range(&location.into(), 0..u64::from(HEAD_BYTES)).await;
        found(got)
    }

    /// An object; `None` when it is not there.
    pub(crate) async fn whole(&self, location: &str) -> Result<Option<Vec<u8>>> {
        let got = match self.objects.get(&location.into()).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        found(got)
    }

    /// Writes an object in the place of another one: whole or not at all.
    pub(crate) async fn replace(&self, location: &str, content: Vec<u8>) -> Result<()> {
        let put = self.objects.put(&location.into(), content.into()).await;
        put.map(|_| ()).map_err(Error::Objects)
    }

    pub(crate) fn open(dir: &Path, inline_max_bytes: usize) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| {
            Error::Config(format!("cannot make the artifacts directory {}: {e}", dir.display()))
        })?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(|e| {
                Error::Config(format!("cannot restrict the mode of {}: {e}", dir.display()))
            })?;
        }
        let local = LocalFileSystem::new_with_prefix(dir).map_err(Error::Objects)?;
        Ok(Self { objects: Arc::new(local.with_fsync(true)), inline_max_bytes })
    }
}

fn found(got: object_store::Result<Bytes>) -> Result<Option<Vec<u8>>> {
    match got {
        Ok(bytes) => Ok(Some(bytes.to_vec())),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(Error::Objects(error)),
    }
}

/// A sealed artifact that has no row yet: give it to [`Tx::insert_artifact`].
#[derive(Debug)]
pub struct Sealed {
    /// What its row will say.
    pub artifact: Artifact,
    body: Option<Vec<u8>>,
    location: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: ArtifactId,
    kind: String,
    digest: String,
    size_bytes: i64,
    body: Option<Vec<u8>>,
    location: Option<String>,
    created_at: chrono::DateTime<chrono::Utc>,
}

impl Row {
    fn artifact(&self) -> Result<Artifact> {
        Ok(Artifact {
            id: self.id,
            kind: ArtifactKind::parse(&self.kind)
                .ok_or_else(|| Error::corrupt("artifacts", format!("kind {:?}", self.kind)))?,
            digest: self.digest.clone(),
            size_bytes: u64::try_from(self.size_bytes).unwrap_or_default(),
            created_at: self.created_at,
        })
    }
}

/// What an artifact is sealed for.
pub(crate) fn place(id: ArtifactId, kind: ArtifactKind, digest: &str) -> String {
    format!("artifact|{id}|{}|{digest}", kind.as_str())
}

impl Store {
    /// Seals `content` and, when it is large, writes it to the object store. Nothing refers to it
    /// until [`Tx::insert_artifact`] commits.
    pub async fn seal_artifact(
        &self,
        id: ArtifactId,
        kind: ArtifactKind,
        content: &[u8],
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<Sealed> {
        let digest = digest(content);
        let sealed = self.keys.seal(&place(id, kind, &digest), content).await?;
        let artifact =
            Artifact { id, kind, digest, size_bytes: content.len() as u64, created_at: now };
        if sealed.len() <= self.blobs.inline_max_bytes {
            return Ok(Sealed { artifact, body: Some(sealed), location: None });
        }
        let location = format!("{}/{id}", kind.as_str());
        self.blobs
            .objects
            .put(&location.as_str().into(), sealed.into())
            .await
            .map_err(Error::Objects)?;
        Ok(Sealed { artifact, body: None, location: Some(location) })
    }

    /// The record and the bytes of an artifact, in clear. `None` when there is none.
    pub async fn open_artifact(&self, id: ArtifactId) -> Result<Option<(Artifact, Bytes)>> {
        let mut tx = self.read().await?;
        let row = sql!(maybe Row, &mut tx,
            "select id, kind, digest, size_bytes, body, location, created_at
             from artifacts where id = $1", id)?;
        drop(tx);
        let Some(row) = row else { return Ok(None) };
        let artifact = row.artifact()?;
        let sealed = match (row.body, row.location) {
            (Some(body), _) => body,
            (None, Some(location)) => {
                let got = self.blobs.objects.get(&location.as_str().into()).await;
                got.map_err(Error::Objects)?.bytes().await.map_err(Error::Objects)?.to_vec()
            }
            (None, None) => return Err(Error::corrupt("artifacts", "neither body nor location")),
        };
        let content = self.keys.open(&place(id, artifact.kind, &artifact.digest), &sealed).await?;
        if digest(&content) != artifact.digest {
            return Err(Error::corrupt("artifacts", format!("{id} has another digest")));
        }
        Ok(Some((artifact, content.into())))
    }

    /// Lets go of a sealed artifact that was not recorded after all, and never will be.
    pub async fn discard_artifact(&self, sealed: Sealed) {
        self.delete_objects(sealed.location.into_iter().collect()).await;
    }

    /// Removes objects whose rows are gone: to be called after the commit that removed the rows.
    pub async fn delete_objects(&self, locations: Vec<String>) {
        for location in locations {
            if let Err(error) = self.blobs.objects.delete(&location.as_str().into()).await {
                tracing::warn!(location, %error, "an object without a row could not be removed");
            }
        }
    }
}

impl Tx {
    /// Records a sealed artifact.
    pub async fn insert_artifact(&mut self, sealed: &Sealed) -> Result<()> {
        let artifact = &sealed.artifact;
        let size = i64::try_from(artifact.size_bytes).unwrap_or(i64::MAX);
        sql!(execute self,
            "insert into artifacts (id, kind, digest, size_bytes, body, location, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
            artifact.id, artifact.kind.as_str(), artifact.digest.as_str(), size,
            sealed.body.as_deref(), sealed.location.as_deref(), artifact.created_at)?;
        Ok(())
    }

    /// Records a sealed artifact that somebody uploaded.
    pub async fn insert_upload(&mut self, sealed: &Sealed, owner: &str) -> Result<()> {
        self.insert_artifact(sealed).await?;
        sql!(execute self,
            "update artifacts set owner = $2 where id = $1", sealed.artifact.id, owner)?;
        Ok(())
    }

    /// Whether `owner` uploaded an artifact, or it is the source of a deployment within `reach`.
    pub async fn is_source_within(
        &mut self,
        id: ArtifactId,
        owner: &str,
        reach: &Reach,
    ) -> Result<bool> {
        let text = fill(
            self,
            "select cast(count(*) as bigint) from artifacts where id = $1 and (owner = $2
                 or exists (select 1 from deployments
                            where source_artifact = $1 and {within project $3}))",
        );
        let text = within(self, text, reach);
        Ok(sql!(scalar i64, self, text, id, owner, reached(reach))? == 1)
    }

    /// Those of `ids` that are there; they are kept from being swept until the unit of work ends.
    pub async fn keep_artifacts(&mut self, ids: &[ArtifactId]) -> Result<Vec<ArtifactId>> {
        let rows = match self.conn() {
            // One writer: nobody sweeps meanwhile.
            Conn::Sqlite(conn) => {
                let mut query = sqlx::QueryBuilder::new("select id from artifacts where id in (");
                let mut list = query.separated(", ");
                for id in ids {
                    list.push_bind(*id);
                }
                query.push(")");
                query.build_query_as::<(ArtifactId,)>().fetch_all(conn).await?
            }
            Conn::Postgres(conn) => {
                let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
                sqlx::query_as("select id from artifacts where id = any($1) for share")
                    .bind(ids)
                    .fetch_all(conn)
                    .await?
            }
        };
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// The record of an artifact, without its bytes.
    pub async fn artifact(&mut self, id: ArtifactId) -> Result<Option<Artifact>> {
        let row = sql!(maybe Row, self,
            "select id, kind, digest, size_bytes, null as body, location, created_at
             from artifacts where id = $1", id)?;
        row.map(|row| row.artifact()).transpose()
    }
}
