//! Faults as HTTP answers: RFC 9457 problem details. The one table from code to status is here.
//!
//! A handler fails with [`Refused`]. Its answer is complete but for what only the middleware knows
//! (request id, trace, path): `middleware::observe` writes it again with those.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::state_version::LockInfo;
use utoipa::ToSchema;

/// The content type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request failed (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Stable URI of the kind of problem; a page about it is there.
    #[serde(rename = "type")]
    #[schema(example = "/problems/not_found", format = "uri-reference")]
    pub kind: String,
    /// One line, the same for every occurrence.
    #[schema(example = "There is no such thing")]
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 404)]
    pub status: u16,
    /// What failed here, why, and what to do.
    #[schema(example = "There is no deployment dep_01920000000070008000000000000000.")]
    pub detail: String,
    /// The path that was asked for.
    #[schema(example = "/api/v1/deployments/dep_01920000000070008000000000000000")]
    pub instance: String,
    /// The stable name of the fault, for programs.
    #[schema(schema_with = code_schema)]
    pub code: &'static str,
    /// The id of this request, as in `X-Request-Id`.
    pub request_id: String,
    /// The trace of this request, when it is traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub trace_id: Option<String>,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
}

/// A problem with who holds the lock beside it, in Terraform's own form: its `http` backend reads
/// the answer to a refused LOCK as lock information.
#[derive(Debug, Serialize, ToSchema)]
pub struct LockedProblem {
    /// Why the request failed.
    #[serde(flatten)]
    pub problem: Problem,
    /// Who holds the lock.
    #[serde(flatten)]
    pub holder: LockInfo,
}

/// The schema of [`Problem::code`]: every code there is.
fn code_schema() -> utoipa::openapi::schema::Object {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .enum_values(Some(Code::ALL.iter().map(|code| code.as_str())))
        .description(Some("The stable name of the fault, for programs."))
        .build()
}

/// The table: what each code is in HTTP.
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::Malformed => StatusCode::BAD_REQUEST,
        Code::InvalidInput
        | Code::InvalidConfiguration
        | Code::InvalidPolicy
        | Code::UnsafeArchive
        | Code::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::SourceNotAllowed => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::IdempotencyInFlight
        | Code::NotReady
        | Code::IllegalTransition
        | Code::AlreadyDecided
        | Code::JobNotDead
        | Code::Conflict
        | Code::StateRefused
        | Code::TemplateReserved
        | Code::TemplateInUse
        | Code::PolicyInUse
        | Code::ProjectExists
        | Code::ProjectInUse
        | Code::LastAdmin
        | Code::LeaseLost => StatusCode::CONFLICT,
        Code::StateLocked => StatusCode::LOCKED,
        Code::PlanDigestMismatch | Code::PlanStale | Code::PreconditionFailed => {
            StatusCode::PRECONDITION_FAILED
        }
        Code::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The code that stands for a status which some library answered with.
pub(crate) const fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::Timeout,
        StatusCode::CONFLICT => Code::Conflict,
        StatusCode::LOCKED => Code::StateLocked,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidInput,
        StatusCode::MISDIRECTED_REQUEST => Code::Misdirected,
        StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        status if status.as_u16() < 500 => Code::Malformed,
        _ => Code::Internal,
    }
}

/// What a problem says about the request it answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    /// The path.
    pub instance: String,
    /// The id of the request.
    pub request_id: String,
    /// Its trace.
    pub trace_id: Option<String>,
}

/// A handler's refusal.
#[derive(Debug)]
pub struct Refused(pub Fault);

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

/// A refusal because somebody else holds a lock.
#[derive(Debug)]
pub(crate) struct Held {
    /// What was refused.
    pub fault: Fault,
    /// Who holds it.
    pub holder: LockInfo,
}

impl IntoResponse for Held {
    fn into_response(self) -> Response {
        let mut response = Refused(self.fault).into_response();
        // The middleware writes the problem again, and then with the holder in it.
        response.extensions_mut().insert(Holder(Arc::new(self.holder)));
        response
    }
}

/// Who holds the lock, kept beside an answer for the middleware.
#[derive(Clone)]
pub(crate) struct Holder(pub Arc<LockInfo>);

/// The fault of an answer, kept beside it for the middleware.
#[derive(Clone)]
pub(crate) struct Carried(pub Arc<Fault>);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let fault = Arc::new(self.0);
        let mut response = answer(&fault, About::default(), None);
        response.extensions_mut().insert(Carried(fault));
        response
    }
}

/// The answer to a fault.
pub(crate) fn answer(fault: &Fault, about: About, holder: Option<&LockInfo>) -> Response {
    let status = status(fault.code);
    let detail = match fault.code {
        // The cause is nobody's business but the operator's.
        Code::Internal => "The request could not be finished because of a fault on our side. \
                           Its cause is in the server's log, under this request id."
            .to_owned(),
        _ if fault.detail.is_empty() => format!("{}.", fault.code.title()),
        _ => fault.detail.clone(),
    };
    let problem = Problem {
        kind: format!("/problems/{}", fault.code),
        title: fault.code.title().to_owned(),
        status: status.as_u16(),
        detail,
        instance: about.instance,
        code: fault.code.as_str(),
        request_id: about.request_id,
        trace_id: about.trace_id,
        errors: fault.errors.clone(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if let Some(seconds) = retry_after_s(fault) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    let body = match holder {
        None => serde_json::to_vec(&problem),
        Some(holder) => serde_json::to_vec(&LockedProblem { problem, holder: holder.clone() }),
    };
    match body {
        Ok(body) => (status, headers, body).into_response(),
        // A struct of strings and numbers always serialises; the status still tells the truth.
        Err(_) => status.into_response(),
    }
}

/// When to come back: what the fault says, or what is usual for its code.
fn retry_after_s(fault: &Fault) -> Option<u64> {
    fault.retry_after_s.or(match fault.code {
        Code::IdempotencyInFlight => Some(1),
        Code::RateLimited | Code::Unavailable => Some(2),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::fault::Kind;

    #[test]
    fn every_code_has_a_status_of_its_family() {
        for code in Code::ALL {
            let status = status(*code).as_u16();
            let family: &[u16] = match code.kind() {
                Kind::Invalid => &[400, 405, 413, 415, 421, 422],
                Kind::Unauthenticated => &[401],
                Kind::Forbidden => &[403],
                Kind::NotFound => &[404],
                Kind::Conflict => &[409, 423],
                Kind::Precondition => &[412, 428],
                Kind::Gone => &[410],
                Kind::Limited => &[429],
                Kind::Unavailable => &[503],
                Kind::Timeout => &[504],
                Kind::Internal => &[500],
            };
            assert!(family.contains(&status), "{code} is {status}");
        }
    }

    #[test]
    fn a_status_leads_to_a_code_with_that_status() {
        // No library of ours knows plans.
        let ours = |code: &&Code| code.kind() != Kind::Precondition;
        for code in Code::ALL.iter().filter(ours) {
            assert_eq!(status(code_of(status(*code))), status(*code), "{code}");
        }
    }
}
