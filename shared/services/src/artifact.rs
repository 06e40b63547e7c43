//! Uploaded archives.

use bytes::Bytes;
use slipway_domain::access::{Principal, Reach, Scope};
use slipway_domain::artifact::{Artifact, ArtifactKind, digest};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::ArtifactId;

use crate::idempotency::Guard;
use crate::{Ctx, change, source};

/// What an uploader gets.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// The artifact.
    pub artifact: Artifact,
    /// Whether this is the stored answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Keeps an uploaded `tar.gz` as a source. It is unpacked and checked first, and what is kept is
/// the checked tree packed anew: what was refused leaves nothing behind.
pub async fn upload(
    cx: &Ctx,
    who: &Principal,
    archive: Bytes,
    idempotency_key: Option<&str>,
) -> Result<Uploaded, Fault> {
    who.need_somewhere(Scope::DeploymentsWrite)?;
    let guard = match idempotency_key {
        None => None,
        key => Guard::new(who, "artifact.upload", key, &digest(&archive))?,
    };
    if let Some(guard) = &guard {
        let mut tx = cx.store.read().await?;
        if let Some(artifact) = guard.answer(cx, &mut tx).await? {
            return Ok(Uploaded { artifact, replayed: true });
        }
    }
    let tree = source::unpack_some(cx, archive).await?;
    let packed = source::blocking(move || source::pack(&tree)).await??;
    let id = ArtifactId::new(&*cx.mint);
    let sealed = cx.store.seal_artifact(id, ArtifactKind::Source, &packed, cx.now()).await?;
    let mut tx = cx.store.begin().await?;
    tx.insert_upload(&sealed, &who.actor.id).await?;
    let detail = serde_json::json!({"digest": sealed.artifact.digest});
    change::audit(cx, &mut tx, who, "artifact.upload", id.to_string(), detail).await?;
    if let Some(guard) = &guard
        && !guard.keep(cx, &mut tx, &sealed.artifact).await?
    {
        // Somebody sent the same request at the same time and was first.
        tx.rollback().await?;
        let mut tx = cx.store.read().await?;
        return match guard.answer(cx, &mut tx).await? {
            Some(artifact) => Ok(Uploaded { artifact, replayed: true }),
            None => Err(Fault::new(
                Code::IdempotencyInFlight,
                "A request with this idempotency key is being answered. Try again in a moment.",
            )),
        };
    }
    tx.commit().await?;
    Ok(Uploaded { artifact: sealed.artifact, replayed: false })
}

/// What is known of an uploaded source archive. Other artifacts are the house's own and are not
/// shown.
pub async fn get(cx: &Ctx, who: &Principal, id: ArtifactId) -> Result<Artifact, Fault> {
    who.need_somewhere(Scope::DeploymentsRead)?;
    let missing = || Fault::not_found("artifact", id);
    if !may_use(cx, who, id).await? {
        return Err(missing());
    }
    let found = cx.store.read().await?.artifact(id).await?;
    found.filter(|artifact| artifact.kind == ArtifactKind::Source).ok_or_else(missing)
}

/// Whether an archive is one that the caller may look at and deploy: it is their own upload, or the
/// source of a deployment that they may see.
pub(crate) async fn may_use(cx: &Ctx, who: &Principal, id: ArtifactId) -> Result<bool, Fault> {
    let reach = who.grants.reach(Scope::DeploymentsRead);
    if reach == Reach::Everywhere {
        return Ok(true);
    }
    Ok(cx.store.read().await?.is_source_within(id, &who.actor.id, &reach).await?)
}
