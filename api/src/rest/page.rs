//! Lists in HTTP: limit and cursor as query parameters, `Link` for the next page.

use axum::Json;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use slipway_domain::page::Page;

/// A page with its `Link: <…>; rel="next"`: the same request with another cursor.
pub(crate) fn answer<T: Serialize>(uri: &Uri, page: Page<T>) -> Response {
    let next = page.next_cursor.as_deref().map(|cursor| next_link(uri, cursor));
    let mut response = Json(page).into_response();
    if let Some(link) = next.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn next_link(uri: &Uri, cursor: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if name != "cursor" {
            query.append_pair(&name, &value);
        }
    }
    query.append_pair("cursor", cursor);
    format!("<{}?{}>; rel=\"next\"", uri.path(), query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_keeps_the_filters_and_changes_the_cursor() {
        let uri = Uri::from_static("/api/v1/stacks?project=a%20b&cursor=old&limit=2");
        assert_eq!(
            next_link(&uri, "new"),
            r#"</api/v1/stacks?project=a+b&limit=2&cursor=new>; rel="next""#
        );
        let bare = Uri::from_static("/api/v1/stacks");
        assert_eq!(next_link(&bare, "n"), r#"</api/v1/stacks?cursor=n>; rel="next""#);
    }
}
