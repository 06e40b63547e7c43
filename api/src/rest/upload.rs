//! Bodies with an archive in them: raw, or as a part of `multipart/form-data`. Every part has a
//! limit of its own; unknown and repeated parts are refused.

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use slipway_domain::fault::{Code, Fault};
use slipway_services::deployment::Submit;
use slipway_services::template::Publish;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::extract::{content_type, from_json, from_part, read, too_large, unsupported};
use crate::problem::Refused;
use crate::state::{ApiOptions, ApiState};

const MULTIPART: &str = "multipart/form-data";
/// What an archive may come as.
pub(crate) const ARCHIVES: [&str; 4] =
    ["application/gzip", "application/x-gzip", "application/x-tar", "application/octet-stream"];

/// A multipart submission.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read part by part; this is its description")]
pub(crate) struct SubmitForm {
    /// The request as JSON. `source` is left out, or is `{"type": "archive"}` with an optional
    /// `path`, when there is an archive part.
    request: Submit,
    /// The source as `tar.gz`.
    #[schema(value_type = Option<String>, format = Binary)]
    archive: Option<Vec<u8>>,
}

/// A multipart upload.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read part by part; this is its description")]
pub(crate) struct UploadForm {
    /// The `tar.gz`.
    #[schema(value_type = String, format = Binary)]
    archive: Vec<u8>,
}

/// A template as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read part by part; this is its description")]
pub(crate) struct PublishForm {
    /// What is published, as JSON.
    request: Publish,
    /// The template's source as `tar.gz`.
    #[schema(value_type = String, format = Binary)]
    archive: Vec<u8>,
}

/// A template as JSON.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read field by field; this is its description")]
pub(crate) struct PublishJson {
    #[schema(inline)]
    #[serde(flatten)]
    request: Publish,
    /// The template's source as `tar.gz`, in base64.
    #[schema(content_encoding = "base64", content_media_type = "application/gzip")]
    archive: String,
}

/// An archive, raw.
pub(crate) struct TarGz;

impl PartialSchema for TarGz {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
            .description(Some("A `tar.gz`."))
            .into()
    }
}

impl ToSchema for TarGz {}

/// What was submitted.
pub(crate) enum Submission {
    /// The request names its source.
    Named(Submit),
    /// The request brought its source along.
    Sent {
        /// The request, without a source.
        request: Submit,
        /// The `tar.gz`.
        archive: Bytes,
        /// Directory of the root module in it.
        path: Option<String>,
    },
}

impl FromRequest<ApiState> for Submission {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refused> {
        match content_type(request.headers()).as_str() {
            "application/json" => {
                let body = read(request.into_body(), state.options.max_body_bytes).await?;
                Ok(Self::Named(from_json(&body)?))
            }
            MULTIPART => {
                let parts = Parts::read(request, state, &["request", "archive"]).await?;
                let text = parts.request.ok_or_else(|| missing("request"))?;
                Ok(Self::of(&text, parts.archive)?)
            }
            other => Err(unsupported(other, "application/json or multipart/form-data").into()),
        }
    }
}

impl Submission {
    fn of(request: &[u8], archive: Option<Bytes>) -> Result<Self, Fault> {
        let Some(archive) = archive else { return Ok(Self::Named(from_json(request)?)) };
        let mut request: serde_json::Value = from_json(request)?;
        let source = request.as_object_mut().and_then(|fields| fields.remove("source"));
        let path = match source {
            None | Some(serde_json::Value::Null) => None,
            Some(source) => sent_source(&source)?,
        };
        Ok(Self::Sent { request: from_part(&request)?, archive, path })
    }
}

/// The path in a source that stands for the archive part.
fn sent_source(source: &serde_json::Value) -> Result<Option<String>, Fault> {
    #[derive(serde::Deserialize, serde::Serialize)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    enum SentSource {
        Archive {
            #[serde(default)]
            path: Option<String>,
        },
    }
    from_part(source).map(|SentSource::Archive { path }| path).map_err(|mut fault| {
        for error in &mut fault.errors {
            error.pointer.insert_str(0, "/source");
            error.detail.push_str(
                "; with an archive part, source is left out or is {\"type\": \"archive\"} with an \
                 optional path",
            );
        }
        fault
    })
}

/// An uploaded archive.
pub(crate) struct Archive(pub Bytes);

impl FromRequest<ApiState> for Archive {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refused> {
        let kind = content_type(request.headers());
        if kind == MULTIPART {
            let parts = Parts::read(request, state, &["archive"]).await?;
            return Ok(Self(parts.archive.ok_or_else(|| missing("archive"))?));
        }
        if !ARCHIVES.contains(&kind.as_str()) {
            let wanted = format!("one of {}, {MULTIPART}", ARCHIVES.join(", "));
            return Err(unsupported(&kind, &wanted).into());
        }
        Ok(Self(read(request.into_body(), state.options.max_archive_bytes).await?))
    }
}

/// A template that is published.
pub(crate) struct Publication {
    /// What is said about it.
    pub(crate) request: Publish,
    /// Its source.
    pub(crate) archive: Bytes,
}

impl FromRequest<ApiState> for Publication {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refused> {
        match content_type(request.headers()).as_str() {
            "application/json" => {
                let body = read(request.into_body(), state.options.max_body_bytes).await?;
                Ok(Self::of_json(&body)?)
            }
            MULTIPART => {
                let parts = Parts::read(request, state, &["request", "archive"]).await?;
                let text = parts.request.ok_or_else(|| missing("request"))?;
                let archive = parts.archive.ok_or_else(|| missing("archive"))?;
                Ok(Self { request: from_json(&text)?, archive })
            }
            other => Err(unsupported(other, "application/json or multipart/form-data").into()),
        }
    }
}

impl Publication {
    fn of_json(body: &[u8]) -> Result<Self, Fault> {
        let mut request: serde_json::Value = from_json(body)?;
        let archive = request.as_object_mut().and_then(|fields| fields.remove("archive"));
        let request = from_part(&request)?;
        let wrong = |why: &str| Fault::field("/archive", format!("archive {why}"));
        let archive = archive.ok_or_else(|| wrong("is missing: a tar.gz in base64"))?;
        let archive = archive.as_str().ok_or_else(|| wrong("must be a string"))?;
        let archive = base64::engine::general_purpose::STANDARD
            .decode(archive)
            .map_err(|_| wrong("is not base64"))?;
        Ok(Self { request, archive: archive.into() })
    }
}

/// The parts that are known.
#[derive(Default)]
struct Parts {
    request: Option<Bytes>,
    archive: Option<Bytes>,
}

impl Parts {
    async fn read(request: Request, state: &ApiState, known: &[&str]) -> Result<Self, Fault> {
        has_boundary(request.headers())?;
        let mut multipart = Multipart::from_request(request, state)
            .await
            .map_err(|refusal| Fault::new(Code::Malformed, refusal.body_text()))?;
        let mut parts = Self::default();
        while let Some(field) =
            multipart.next_field().await.map_err(|e| broken(&e, &state.options))?
        {
            let name: String = field.name().unwrap_or_default().chars().take(80).collect();
            let (slot, limit) = match name.as_str() {
                name if !known.contains(&name) => {
                    return Err(Fault::field(
                        "",
                        format!("unknown part {name:?}; known are: {}", known.join(", ")),
                    ));
                }
                "request" => (&mut parts.request, state.options.max_body_bytes),
                _ => (&mut parts.archive, state.options.max_archive_bytes),
            };
            if slot.is_some() {
                return Err(Fault::field("", format!("the part {name:?} is there twice")));
            }
            *slot = Some(read_part(field, &name, limit, &state.options).await?);
        }
        Ok(parts)
    }
}

async fn read_part(
    mut field: Field<'_>,
    name: &str,
    limit: usize,
    options: &ApiOptions,
) -> Result<Bytes, Fault> {
    let mut content = BytesMut::new();
    while let Some(chunk) = field.chunk().await.map_err(|e| broken(&e, options))? {
        if content.len() + chunk.len() > limit {
            return Err(too_large(&format!("The part {name:?}"), limit));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content.freeze())
}

fn has_boundary(headers: &HeaderMap) -> Result<(), Fault> {
    let named = headers
        .get(axum::http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("boundary="));
    if named {
        Ok(())
    } else {
        Err(Fault::new(Code::Malformed, "The content type multipart/form-data has no boundary."))
    }
}

fn missing(part: &str) -> Fault {
    Fault::field("", format!("the part {part:?} is missing"))
}

fn broken(error: &MultipartError, options: &ApiOptions) -> Fault {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        too_large("The body", options.max_archive_bytes)
    } else {
        let why: String = error.body_text().chars().take(300).collect();
        Fault::new(Code::Malformed, format!("The multipart body cannot be read: {why}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(source: &str) -> Result<Option<String>, Fault> {
        let request =
            format!(r#"{{"stack": {{"project": "p", "name": "n", "environment": "e"}} {source}}}"#);
        match Submission::of(request.as_bytes(), Some(Bytes::from_static(b"x")))? {
            Submission::Sent { path, request, .. } => {
                assert_eq!(request.source, None);
                Ok(path)
            }
            Submission::Named(_) => panic!("the archive was dropped"),
        }
    }

    #[test]
    fn the_archive_part_is_the_source() {
        assert_eq!(sent("").unwrap(), None);
        assert_eq!(sent(r#", "source": null"#).unwrap(), None);
        assert_eq!(sent(r#", "source": {"type": "archive"}"#).unwrap(), None);
        let path = sent(r#", "source": {"type": "archive", "path": "net"}"#).unwrap();
        assert_eq!(path.as_deref(), Some("net"));
    }

    #[test]
    fn another_source_beside_an_archive_is_refused() {
        for source in [
            r#"{"type": "template", "name": "x"}"#,
            r#"{"type": "archive", "artifact_id": "art_00000000000000000000000000000000"}"#,
            r#""archive""#,
            "[]",
        ] {
            let fault = sent(&format!(r#", "source": {source}"#)).unwrap_err();
            assert_eq!(fault.code, Code::InvalidInput, "{source}");
            assert!(fault.errors[0].pointer.starts_with("/source"), "{source}: {fault}");
        }
        assert_eq!(sent(r#", "surprise": 1"#).unwrap_err().errors[0].pointer, "/surprise");
    }
}
