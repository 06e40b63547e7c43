//! `/api/v1/prices`: price files of vendors that plans are priced by.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chrono::NaiveDate;
use serde::Deserialize;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::PriceFileId;
use slipway_domain::page::Page;
use slipway_domain::price::{PriceFile, PriceFormat};
use slipway_services::price::{self, ImportPrices, ImportedPrices, MAX_BYTES};
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::deployment::{idempotency_key, mark_replayed};
use crate::extract::{Caller, NoQuery, Path, Query, content_type, read, unsupported};
use crate::openapi::{Always, Creating, OfOne, Removing};
use crate::problem::Refused;
use crate::state::ApiState;

/// What price files are sent as.
const KINDS: [&str; 3] = ["application/json", "text/csv", "application/octet-stream"];

/// What is imported.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// The form of the file.
    #[param(inline)]
    format: PriceFormat,
    /// Where it is from, e.g. the vendor's address.
    #[param(min_length = 1, max_length = 1024)]
    source: String,
    /// The day of prices that carry none; today when absent.
    as_of: Option<NaiveDate>,
}

/// The file as it is.
pub(crate) struct SentPrices(Bytes);

impl FromRequest<ApiState> for SentPrices {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, Refused> {
        let kind = content_type(request.headers());
        if !KINDS.contains(&kind.as_str()) {
            return Err(unsupported(&kind, &format!("one of {}", KINDS.join(", "))).into());
        }
        Ok(Self(read(request.into_body(), MAX_BYTES).await?))
    }
}

/// A price file, as it is.
pub(crate) struct PriceText;

impl PartialSchema for PriceText {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
            .description(Some("The price file."))
            .into()
    }
}

impl ToSchema for PriceText {}

/// Import a price file
///
/// A vendor's price file, or one in our own form. The whole of it is checked first; nonsense in it
/// refuses it with 422 and the line and column (counted in fields), and nothing of it is kept. Its
/// prices go before those that come with the product where they are of the same day or later. The
/// very prices of a file that is kept give that file with 200.
#[utoipa::path(post, path = "/api/v1/prices", operation_id = "import_prices", tag = "gates",
    params(
        ImportQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and the same \
            file give the same answer.", min_length = 1, max_length = 255, pattern = "^[ -~]+$"),
    ),
    request_body(
        description = "The file.",
        content(
            (inline(PriceText) = "application/json"),
            (inline(PriceText) = "text/csv"),
            (inline(PriceText) = "application/octet-stream"),
        ),
    ),
    responses(
        (status = 200, description = "A file with these prices is kept already.",
            body = ImportedPrices),
        (status = 201, description = "It counts from now on.", body = ImportedPrices,
            headers(
                ("Location" = String, description = "Path of the file."),
                ("Idempotency-Replayed" = Option<String>, description = "`true` when this is the answer to an earlier request with the same key."),
            )),
        Always, Creating,
    ))]
pub(crate) async fn import_prices(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(ImportQuery { format, source, as_of }): Query<ImportQuery>,
    headers: HeaderMap,
    SentPrices(content): SentPrices,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let given = ImportPrices { format, source, as_of, content };
    let imported = price::import(&state.cx, &who, given, key).await?;
    let location = format!("/api/v1/prices/{}", imported.answer.file.id);
    let status = if imported.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response =
        (status, [(header::LOCATION, location)], Json(imported.answer)).into_response();
    mark_replayed(&mut response, imported.replayed);
    Ok(response)
}

/// List the price files, in the order in which they were imported
#[utoipa::path(get, path = "/api/v1/prices", operation_id = "list_prices", tag = "gates",
    responses((status = 200, description = "All of them.", body = Page<PriceFile>), Always))]
pub(crate) async fn list_prices(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<Page<PriceFile>>, Refused> {
    let items = price::list(&state.cx, &who).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// One price file
#[utoipa::path(get, path = "/api/v1/prices/{id}", operation_id = "get_prices", tag = "gates",
    params(("id" = PriceFileId, Path, description = "The file.")),
    responses(
        (status = 200, description = "The file.", body = PriceFile,
            headers(("ETag" = String, description = "Its digest, for `If-Match`."))),
        Always, OfOne,
    ))]
pub(crate) async fn get_prices(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<PriceFileId>,
    _: NoQuery,
) -> Result<Response, Refused> {
    let file = price::get(&state.cx, &who, id).await?;
    let tag = HeaderValue::from_str(&format!("\"{}\"", file.digest)).map_err(Fault::internal)?;
    let mut response = Json(file).into_response();
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// Remove a price file
///
/// What it was laid over counts again. With `If-Match` and its digest, only if it is that very one.
#[utoipa::path(delete, path = "/api/v1/prices/{id}", operation_id = "remove_prices", tag = "gates",
    params(("id" = PriceFileId, Path, description = "The file.")),
    responses((status = 204, description = "It is gone."), Always, OfOne, Removing))]
pub(crate) async fn remove_prices(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<PriceFileId>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let from = match headers.get(header::IF_MATCH) {
        None => None,
        Some(value) if value == "*" => None,
        Some(value) => {
            let text = value.to_str().map_err(|_| {
                Fault::new(Code::InvalidInput, "If-Match must be the digest that was read.")
            })?;
            Some(text.trim().trim_matches('"'))
        }
    };
    price::remove(&state.cx, &who, id, from).await?;
    Ok(StatusCode::NO_CONTENT)
}
