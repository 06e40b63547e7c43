//! `/api/v1/artifacts`: uploading a source.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use slipway_domain::artifact::Artifact;
use slipway_domain::id::ArtifactId;
use slipway_services::artifact;

use super::deployment::{idempotency_key, mark_replayed};
use super::tagged;
use super::upload::{Archive, TarGz, UploadForm};
use crate::extract::{Caller, NoQuery, Path};
use crate::openapi::{Always, Creating, OfOne};
use crate::problem::Refused;
use crate::state::ApiState;

/// Upload a source archive
///
/// A `tar.gz`, raw or as the part `archive` of a multipart form. It is unpacked and checked first:
/// entries that leave the tree, links out of it, devices, and more than the limits allow are
/// refused, and nothing of a refused archive is kept. Name it in a deployment's source as
/// `{"type": "archive", "artifact_id": …}`; one that no deployment names is removed after a day.
#[utoipa::path(post, path = "/api/v1/artifacts", operation_id = "upload_artifact", tag = "artifacts",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and the same \
            archive give the same answer.", min_length = 1, max_length = 255, pattern = "^[ -~]+$"),
    ),
    request_body(
        description = "The archive.",
        content(
            (inline(TarGz) = "application/gzip"),
            (inline(TarGz) = "application/x-gzip"),
            (inline(TarGz) = "application/x-tar"),
            (inline(TarGz) = "application/octet-stream"),
            (UploadForm = "multipart/form-data"),
        ),
    ),
    responses(
        (status = 201, description = "It is kept. It can be named right away.", body = Artifact,
            headers(
                ("Location" = String, description = "Path of the artifact."),
                ("Idempotency-Replayed" = Option<String>, description = "`true` when this is the answer to an earlier request with the same key."),
            )),
        Always, Creating,
    ))]
pub(crate) async fn upload_artifact(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    headers: HeaderMap,
    Archive(archive): Archive,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let uploaded = artifact::upload(&state.cx, &who, archive, key).await?;
    let location = [(header::LOCATION, format!("/api/v1/artifacts/{}", uploaded.artifact.id))];
    let mut response = (StatusCode::CREATED, location, Json(uploaded.artifact)).into_response();
    mark_replayed(&mut response, uploaded.replayed);
    Ok(response)
}

/// What is known of an uploaded archive
#[utoipa::path(get, path = "/api/v1/artifacts/{id}", operation_id = "get_artifact",
    tag = "artifacts",
    params(("id" = ArtifactId, Path, description = "The artifact.")),
    responses(
        (status = 200, description = "The artifact.", body = Artifact,
            headers(("ETag" = Option<String>, description = "For `If-None-Match`."))),
        (status = 304, description = "The caller has it already."),
        Always, OfOne,
    ))]
pub(crate) async fn get_artifact(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<ArtifactId>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    Ok(tagged::answer(&headers, &artifact::get(&state.cx, &who, id).await?)?)
}
