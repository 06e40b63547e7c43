//! What a caller shows of itself: `Authorization`, as Basic (which is all that Terraform's `http`
//! backend can send) or Bearer. Both carry one token, which whoever authenticates looks up; the
//! user name of Basic says nothing.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use slipway_domain::Secret;
use slipway_domain::fault::{Code, Fault};

/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// The token that a request carries, if it carries one. The refusal quotes nothing of it.
pub(crate) fn presented(headers: &HeaderMap) -> Result<Option<Secret<String>>, Fault> {
    let bad = |why: &str| Fault::new(Code::Unauthenticated, format!("Authorization {why}."));
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("is there more than once"));
    }
    let value = value.to_str().map_err(|_| bad("holds bytes that are not ASCII"))?;
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let token = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => rest.trim().to_owned(),
        "basic" => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim());
            let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = Secret::new(decoded.ok_or_else(|| bad("holds no Basic credentials"))?);
            let (_, password) = decoded
                .reveal()
                .split_once(':')
                .ok_or_else(|| bad("holds Basic credentials without a password"))?;
            password.to_owned()
        }
        _ => return Err(bad("must be Basic or Bearer")),
    };
    if token.is_empty() {
        return Err(bad("holds an empty token; with Basic the token is the password"));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(bad("holds a token of more than 4096 bytes"));
    }
    Ok(Some(Secret::new(token)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(values: &[&str]) -> Result<Option<Secret<String>>, Fault> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        presented(&headers)
    }

    #[test]
    fn basic_and_bearer_carry_the_same_token() {
        assert!(of(&[]).unwrap().is_none());
        // `ann:s3cret:too`
        for value in ["Bearer s3cret:too", "bearer  s3cret:too", "Basic YW5uOnMzY3JldDp0b28="] {
            assert_eq!(of(&[value]).unwrap().unwrap().reveal(), "s3cret:too", "{value}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_not_quoted() {
        // `ann:` and `hunter2`
        let long = format!("Bearer {}", "x".repeat(5000));
        for values in [
            &["Bearer"][..],
            &["Bearer "],
            &["Basic hunter2"],
            &["Basic YW5uOg=="],
            &["Basic aHVudGVyMg=="],
            &["Digest hunter2"],
            &["Bearer hunter2", "Bearer hunter2"],
            &[&long],
        ] {
            let fault = of(values).unwrap_err();
            assert_eq!(fault.code, Code::Unauthenticated, "{values:?}");
            assert!(!fault.detail.contains("hunter2"), "{fault}");
        }
    }
}
