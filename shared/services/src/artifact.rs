//! Uploaded archives.

use bytes::Bytes;
use slipway_domain::access::{Principal, Scope};
use slipway_domain::artifact::{Artifact, ArtifactKind};
use slipway_domain::fault::Fault;
use slipway_domain::id::ArtifactId;

use crate::{Ctx, change, source};

/// Keeps an uploaded `tar.gz` as a source. It is unpacked and checked first, and what is kept is
/// the checked tree packed anew: what was refused leaves nothing behind.
pub async fn upload(cx: &Ctx, who: &Principal, archive: Bytes) -> Result<Artifact, Fault> {
    who.need(Scope::DeploymentsWrite)?;
    let tree = source::unpack(cx, archive).await?;
    if tree.is_empty() {
        return Err(Fault::field("", "the archive holds no files"));
    }
    let packed = source::blocking(move || tree.to_tar_gz()).await?.map_err(Fault::internal)?;
    let id = ArtifactId::new(&*cx.mint);
    let sealed = cx.store.seal_artifact(id, ArtifactKind::Source, &packed, cx.now()).await?;
    let mut tx = cx.store.begin().await?;
    tx.insert_artifact(&sealed).await?;
    let detail = serde_json::json!({"digest": sealed.artifact.digest});
    change::audit(cx, &mut tx, who, "artifact.upload", id.to_string(), detail).await?;
    tx.commit().await?;
    Ok(sealed.artifact)
}
