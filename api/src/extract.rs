//! Extractors whose refusals are problems: JSON, path, query, caller. What axum's own would answer
//! in plain text is said here with a code, and with the place of the fault.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipway_domain::access::{Door, Principal};
use slipway_domain::fault::{Code, Fault, FieldError};

use crate::credentials;
use crate::edge::peer;
use crate::problem::Refused;
use crate::state::{ApiState, AuthMode};

/// The one who asks.
///
/// Whoever authenticates ([`auth::identify`](crate::auth::identify)) puts a [`Principal`] into the
/// request's extensions; without one it is the operator of a loopback installation, where nobody is
/// asked, and nobody at all elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub Principal);

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refused> {
        let mut who = if let Some(who) = parts.extensions.get::<Principal>() {
            who.clone()
        } else if state.options.auth == AuthMode::None {
            // Nobody is asked; but who sends nonsense learns it now.
            credentials::presented(&parts.headers)?;
            Principal::local(Door::Rest)
        } else {
            return Err(Fault::new(Code::Unauthenticated, "Sign in first.").into());
        };
        peer::complete(&mut who, &parts.headers, &parts.extensions);
        if who.traceparent.is_none() {
            who.traceparent = slipway_telemetry::carrier::current_traceparent();
        }
        Ok(Self(who))
    }
}

/// The one parameter of a path, read with its own `FromStr`. What cannot be such a thing is a
/// thing that does not exist: 404.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<T>(pub T);

impl<T> FromRequestParts<ApiState> for Path<T>
where
    T: FromStr<Err: Display> + Send,
{
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refused> {
        let nothing = |why: String| Refused(Fault::new(Code::NotFound, why));
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| nothing("The path holds bytes that are not UTF-8.".to_owned()))?;
        let text = params.iter().next().map(|(_, value)| value).unwrap_or_default();
        text.parse().map(Self).map_err(|why: T::Err| nothing(sentence(&why.to_string())))
    }
}

/// The two parameters of a path, in order; see [`Path`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathPair<A, B>(pub A, pub B);

impl<A, B> FromRequestParts<ApiState> for PathPair<A, B>
where
    A: FromStr<Err: Display> + Send,
    B: FromStr<Err: Display> + Send,
{
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refused> {
        let nothing = |why: String| Refused(Fault::new(Code::NotFound, why));
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| nothing("The path holds bytes that are not UTF-8.".to_owned()))?;
        let mut texts = params.iter().map(|(_, value)| value);
        let mut next = || texts.next().unwrap_or_default();
        let first = next().parse().map_err(|why: A::Err| nothing(sentence(&why.to_string())))?;
        let second = next().parse().map_err(|why: B::Err| nothing(sentence(&why.to_string())))?;
        Ok(Self(first, second))
    }
}

/// Query parameters. Unknown, repeated and ill-typed ones are refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Refused> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        let reader = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(reader).map(Self).map_err(|error| {
            let pointer = pointer(error.path());
            Refused(Fault::field(pointer, format!("query: {}", error.inner())))
        })
    }
}

/// A route without query parameters: any is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoQuery;

impl FromRequestParts<ApiState> for NoQuery {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Refused> {
        let query = parts.uri.query().unwrap_or_default();
        match form_urlencoded::parse(query.as_bytes()).next() {
            None => Ok(Self),
            Some((name, _)) => {
                let name: String = name.chars().take(80).collect();
                Err(Refused(Fault::field(
                    format!("/{}", escape(&name)),
                    format!("query: unknown parameter {name:?}; this route takes none"),
                )))
            }
        }
    }
}

/// A JSON body.
#[derive(Debug, Clone)]
pub(crate) struct Json<T>(pub T);

impl<T: DeserializeOwned + Serialize> FromRequest<ApiState> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refused> {
        need_json(request.headers())?;
        let body = read(request.into_body(), state.options.max_body_bytes).await?;
        Ok(Self(from_json(&body)?))
    }
}

/// A JSON body that may be left out.
#[derive(Debug, Clone)]
pub(crate) struct MaybeJson<T>(pub T);

impl<T: DeserializeOwned + Serialize + Default> FromRequest<ApiState> for MaybeJson<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let body = read(body, state.options.max_body_bytes).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        need_json(&parts.headers)?;
        Ok(Self(from_json(&body)?))
    }
}

/// The essence of the content type: lower case, without parameters; empty when there is none.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

pub(crate) fn need_json(headers: &HeaderMap) -> Result<(), Fault> {
    let given = content_type(headers);
    if given == "application/json" { Ok(()) } else { Err(unsupported(&given, "application/json")) }
}

/// The refusal of a content type.
pub(crate) fn unsupported(given: &str, wanted: &str) -> Fault {
    let given: String = match given {
        "" => "none".to_owned(),
        given => given.chars().take(100).collect(),
    };
    Fault::new(
        Code::UnsupportedMediaType,
        format!("The content type must be {wanted}; the request has {given}."),
    )
}

/// The refusal of a body or part that is larger than `limit` bytes.
pub(crate) fn too_large(what: &str, limit: usize) -> Fault {
    Fault::new(Code::TooLarge, format!("{what} is larger than {limit} bytes, the most here."))
}

/// Reads a body of at most `limit` bytes. One that says itself that it is larger is not read.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Fault> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large("The body", limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large("The body", limit)),
        Err(_) => Err(Fault::new(Code::Malformed, "The body ended too early.")),
    }
}

/// Reads JSON. What is no JSON is malformed, with line and column; what is JSON of another shape is
/// invalid input, with a pointer.
pub(crate) fn from_json<T: DeserializeOwned + Serialize>(body: &[u8]) -> Result<T, Fault> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader);
    let value = read.map_err(|error| {
        let at = pointer(error.path());
        match error.inner().classify() {
            // What comes after the misfit was not read yet, and may not be JSON at all.
            serde_json::error::Category::Data => {
                match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
                    Ok(_) => misfit(at, error.inner()),
                    Err(error) => not_json(&error),
                }
            }
            _ => not_json(error.inner()),
        }
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    let given = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    need_objects(&given, &value)?;
    Ok(value)
}

/// Reads a JSON value into its type, like [`from_json`].
pub(crate) fn from_part<T: DeserializeOwned + Serialize>(given: &Value) -> Result<T, Fault> {
    let value = serde_path_to_error::deserialize(given)
        .map_err(|error| misfit(pointer(error.path()), error.inner()))?;
    need_objects(given, &value)?;
    Ok(value)
}

/// serde takes a list in the place of a struct, its fields in order. Nobody means that, and the
/// schema does not say so: where the value is an object, an object must have been given.
fn need_objects<T: Serialize>(given: &Value, value: &T) -> Result<(), Fault> {
    fn list_for_object(given: &Value, value: &Value, at: &str) -> Option<String> {
        match (given, value) {
            (Value::Array(_), Value::Object(_)) => Some(at.to_owned()),
            (Value::Object(given), Value::Object(value)) => {
                given.iter().find_map(|(key, given)| {
                    list_for_object(given, value.get(key)?, &format!("{at}/{}", escape(key)))
                })
            }
            (Value::Array(given), Value::Array(value)) => {
                given.iter().zip(value).enumerate().find_map(|(index, (given, value))| {
                    list_for_object(given, value, &format!("{at}/{index}"))
                })
            }
            _ => None,
        }
    }
    let value = serde_json::to_value(value).map_err(Fault::internal)?;
    match list_for_object(given, &value, "") {
        None => Ok(()),
        Some(at) => Err(Fault::field(at, "invalid type: sequence, expected an object")),
    }
}

fn not_json(error: &serde_json::Error) -> Fault {
    let (line, column) = (error.line(), error.column());
    let detail = format!("the body is not JSON: {error}");
    let place = FieldError {
        line: u32::try_from(line).ok().filter(|line| *line > 0),
        column: u32::try_from(column).ok().filter(|column| *column > 0),
        ..FieldError::at("", detail)
    };
    Fault::fields(Code::Malformed, vec![place])
}

fn misfit(pointer: String, error: &serde_json::Error) -> Fault {
    // serde_json says where in the text; the pointer says it better.
    let text = error.to_string();
    let text = match text.rfind(" at line ") {
        Some(end) if error.line() > 0 => &text[..end],
        _ => &text,
    };
    // An unknown name may be as long as the body.
    let text: String = text.chars().take(500).collect();
    Fault::field(pointer, text)
}

/// A serde path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                out.push('/');
                out.push_str(&index.to_string());
            }
            Segment::Map { key } => {
                out.push('/');
                out.extend(escape(key).chars().take(200));
            }
            // The variant is in the value, not in its place; and what has no name has no place.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    out
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Makes a sentence of an error's text.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_services::deployment::Submit;

    fn refusal(body: &str) -> Fault {
        from_json::<Submit>(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_is_no_json_says_where() {
        let fault = refusal("{\n  \"stack\": }");
        assert_eq!(fault.code, Code::Malformed);
        assert_eq!((fault.errors[0].line, fault.errors[0].column), (Some(2), Some(12)));
        for body in ["", "{", "{} x", "\u{0}", &"[".repeat(1000)] {
            assert_eq!(refusal(body).code, Code::Malformed, "{body}");
        }
        assert_eq!(from_json::<Submit>(b"\"\xff\"").unwrap_err().code, Code::Malformed);
    }

    #[test]
    fn what_is_of_another_shape_has_a_pointer() {
        let stack = r#""stack": {"project": "p", "name": "n", "environment": "e"}"#;
        let cases = [
            ("[]".to_owned(), ""),
            (
                r#"[{"project": "p", "name": "n", "environment": "e"}, null, {}, "deploy", {}]"#
                    .to_owned(),
                "",
            ),
            (r#"{"stack": ["p", "n", "e"]}"#.to_owned(), "/stack"),
            (format!(r#"{{{stack}, "options": [true, false, false, 60]}}"#), "/options"),
            (format!(r#"{{{stack}, "source": ["template", "x"]}}"#), "/source"),
            (r#"{"stack": 1}"#.to_owned(), "/stack"),
            (r#"{"stack": {"project": 1}}"#.to_owned(), "/stack/project"),
            (
                format!(r#"{{{stack}, "options": {{"expires_in_s": "x"}}}}"#),
                "/options/expires_in_s",
            ),
            (format!(r#"{{{stack}, "operation": "explode"}}"#), "/operation"),
            (format!(r#"{{{stack}, "source": {{"type": "template"}}}}"#), "/source"),
            (format!(r#"{{{stack}, "state": "succeeded"}}"#), "/state"),
            (format!(r#"{{{stack}, "options": {{"a/b~c": 1}}}}"#), "/options/a~1b~0c"),
        ];
        for (body, pointer) in cases {
            let fault = refusal(&body);
            assert_eq!(fault.code, Code::InvalidInput, "{body}: {fault}");
            assert_eq!(fault.errors[0].pointer, pointer, "{body}: {fault}");
            assert!(!fault.detail.contains(" at line "), "{fault}");
        }
    }
}
