//! JSON with an entity tag: a reader that polls gets 304 as long as nothing is new.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;
use slipway_domain::artifact::digest;
use slipway_domain::fault::Fault;

/// `value` as JSON with the digest of its bytes as its tag, or 304 when the caller has just that.
pub(crate) fn answer<T: Serialize>(headers: &HeaderMap, value: &T) -> Result<Response, Fault> {
    let body = serde_json::to_vec(value).map_err(Fault::internal)?;
    // Over the bytes, because what waits in front of a deployment changes without its row.
    let tag = digest(&body)["sha256:".len()..][..32].to_owned();
    Ok(ready(headers, &tag, || body.into()))
}

/// A body of JSON that is there already, with its tag (without quotes), or 304 when the caller has
/// just that.
pub(crate) fn ready(headers: &HeaderMap, tag: &str, body: impl FnOnce() -> Bytes) -> Response {
    let tag = format!("\"{tag}\"");
    let has_it = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| holds(value, &tag));
    let mut response = if has_it {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], body()).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// Whether an `If-None-Match` names `tag`; weak comparison, as RFC 9110 wants it here.
fn holds(value: &HeaderValue, tag: &str) -> bool {
    value.to_str().is_ok_and(|list| {
        list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_not_sent_twice() {
        let first = answer(&HeaderMap::new(), &"a").unwrap();
        assert_eq!(first.status(), 200);
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        for sent in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&sent).unwrap());
            let again = answer(&headers, &"a").unwrap();
            assert_eq!(again.status(), 304, "{sent}");
            assert_eq!(again.headers()[header::ETAG].to_str().unwrap(), tag);
            if sent != "*" {
                assert_eq!(answer(&headers, &"b").unwrap().status(), 200, "{sent}");
            }
        }
    }
}
