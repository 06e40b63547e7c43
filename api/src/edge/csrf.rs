//! Cross-site requests with a session in a cookie. A browser sends the cookie along with whatever a
//! page of somebody else makes it send; so a cookie alone may read, and to change something the
//! browser must say that the page is ours.

use axum::http::{HeaderMap, Method, header};
use slipway_domain::fault::{Code, Fault};

use crate::middleware::is_same_origin;
use crate::state::ApiOptions;

/// Checks a request that is authenticated by a cookie and by nothing else. Whoever authenticates by
/// cookie calls this before anything is done; a token in `Authorization` needs no such check, because
/// no browser sends it by itself.
pub(crate) fn check_cookie_session(
    options: &ApiOptions,
    method: &Method,
    host: &str,
    headers: &HeaderMap,
) -> Result<(), Fault> {
    if method.is_safe() {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // `none` is a person's own doing (the address bar), which never sends such a request.
    let site = text("sec-fetch-site").map(|site| site == "same-origin");
    let origin = text(header::ORIGIN.as_str()).map(|origin| is_same_origin(options, origin, host));
    match (site, origin) {
        (Some(true), Some(true) | None) | (None, Some(true)) => Ok(()),
        _ => Err(Fault::new(
            Code::Forbidden,
            "A session in a cookie may change something only from a page of this server: neither \
             Sec-Fetch-Site nor Origin says so. Programs use a token in Authorization.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_ours_may_change_something() {
        let options = ApiOptions::default();
        let check = |method: Method, site: Option<&str>, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            check_cookie_session(&options, &method, "localhost:8000", &headers).is_ok()
        };
        let ours = Some("http://localhost:8000");
        assert!(check(Method::GET, None, None));
        assert!(check(Method::GET, Some("cross-site"), Some("https://evil.example")));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(check(method.clone(), Some("same-origin"), ours));
            assert!(check(method.clone(), Some("same-origin"), None));
            assert!(check(method.clone(), None, ours), "an older browser");
            for (site, origin) in [
                (None, None),
                (Some("same-site"), None),
                (Some("cross-site"), ours),
                (Some("none"), ours),
                (Some("same-origin"), Some("https://evil.example")),
                (None, Some("null")),
                (None, Some("http://localhost:3000")),
                (Some("cross-site"), Some("https://evil.example")),
            ] {
                assert!(!check(method.clone(), site, origin), "{method} {site:?} {origin:?}");
            }
        }
    }
}
