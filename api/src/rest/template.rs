//! `/api/v1/templates`.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use slipway_domain::page::Page;
use slipway_domain::template::Template;
use slipway_services::template;

use super::{page, tagged};
use crate::extract::{Caller, NoQuery, Path};
use crate::openapi::{Always, OfOne};
use crate::problem::Refused;
use crate::state::ApiState;

/// List the template library
///
/// Every template with its typed inputs, by name.
#[utoipa::path(get, path = "/api/v1/templates", operation_id = "list_templates", tag = "templates",
    responses((status = 200, description = "All of them.", body = Page<Template>), Always))]
pub(crate) async fn list_templates(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    uri: Uri,
) -> Result<Response, Refused> {
    let items = template::list(&state.cx, &who).await?;
    Ok(page::answer(&uri, Page { items, next_cursor: None }))
}

/// One template
#[utoipa::path(get, path = "/api/v1/templates/{name}", operation_id = "get_template",
    tag = "templates",
    params(("name" = String, Path, description = "Its name.",
        pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")),
    responses(
        (status = 200, description = "The template.", body = Template,
            headers(("ETag" = Option<String>, description = "For `If-None-Match`."))),
        (status = 304, description = "The caller has it already."),
        Always, OfOne,
    ))]
pub(crate) async fn get_template(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    Ok(tagged::answer(&headers, &template::get(&state.cx, &who, &name).await?)?)
}
