//! `If-Match` and `If-None-Match` of those who change something: the version that they made the change
//! from.

use axum::http::{HeaderMap, header};
use slipway_domain::fault::{Code, Fault};
use slipway_services::gate::Precondition;

/// Which version the request was made from; `None` when it does not say.
pub(crate) fn precondition(headers: &HeaderMap) -> Result<Option<Precondition>, Fault> {
    let wrong = || {
        Fault::new(
            Code::InvalidInput,
            "If-Match must be the version that was read, e.g. \"3\", and If-None-Match can only be *.",
        )
    };
    if let Some(value) = headers.get(header::IF_MATCH) {
        let text = value.to_str().map_err(|_| wrong())?.trim();
        if text == "*" {
            return Ok(Some(Precondition::Any));
        }
        let version = text.trim_matches('"').parse::<i64>().map_err(|_| wrong())?;
        return Ok(Some(Precondition::Version(version)));
    }
    match headers.get(header::IF_NONE_MATCH) {
        None => Ok(None),
        Some(value) if value == "*" => Ok(Some(Precondition::New)),
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_a_change_is_made_from_is_read() {
        let read = |name, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            precondition(&headers)
        };
        assert_eq!(precondition(&HeaderMap::new()).unwrap(), None);
        let version = Some(Precondition::Version(3));
        assert_eq!(read(header::IF_MATCH, "\"3\"").unwrap(), version);
        assert_eq!(read(header::IF_MATCH, "*").unwrap(), Some(Precondition::Any));
        assert_eq!(read(header::IF_NONE_MATCH, "*").unwrap(), Some(Precondition::New));
        for (name, bad) in
            [(header::IF_MATCH, "W/\"3\""), (header::IF_MATCH, "abc"), (header::IF_NONE_MATCH, "3")]
        {
            assert_eq!(read(name, bad).unwrap_err().code, Code::InvalidInput);
        }
    }
}
