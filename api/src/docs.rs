//! Pages for people: the index, Swagger UI, the reference, and one page for every kind of problem.
//! Everything is in the executable; no page loads anything from elsewhere.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use axum::extract::{OriginalUri, Path as UrlPath};
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::json;
use slipway_domain::fault::{Code, Fault};
use utoipa_swagger_ui::Config;

use crate::extract::{NoQuery, Path};
use crate::openapi::{OfOne, Operating};
use crate::problem::{Refused, status};
use crate::state::ApiState;

mod reference;

/// What a page without scripts may load.
pub(crate) const PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
);
/// What Swagger UI may load: its own files, and what it draws by itself.
const SWAGGER: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; \
     base-uri 'none'; form-action 'none'",
);

/// The reference, made when somebody asks for it first: it takes several times its size to make, which
/// a process that nobody asks would keep.
static REFERENCE: LazyLock<Bytes> = LazyLock::new(|| reference::render(&crate::openapi()).into());

/// The pages. They are no part of the API and so are not in its document.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/", get(index))
        .route("/docs", get(to_directory))
        .route("/docs/", get(swagger_index))
        .route("/docs/{file}", get(swagger_file))
        .route("/api/docs", get(to_directory))
        .route("/api/docs/", get(swagger_index))
        .route("/api/docs/{file}", get(swagger_file))
        .route("/api/redoc", get(|| async { page(Html(REFERENCE.clone())) }))
}

async fn index() -> Json<serde_json::Value> {
    Json(json!({
        "name": "Slipway",
        "version": env!("CARGO_PKG_VERSION"),
        "links": {
            "api": "/api/v1/deployments",
            "openapi": "/openapi.json",
            "docs": "/docs",
            "reference": "/api/redoc",
            "mcp": "/mcp",
            "health": "/health",
            "metrics": "/metrics",
        },
    }))
}

/// Swagger UI names its files relative to its directory.
async fn to_directory(OriginalUri(uri): OriginalUri) -> Redirect {
    Redirect::temporary(&format!("{}/", uri.path()))
}

async fn swagger_index() -> Result<Response, Refused> {
    swagger("index.html")
}

async fn swagger_file(UrlPath(file): UrlPath<String>) -> Result<Response, Refused> {
    swagger(&file)
}

fn swagger(file: &str) -> Result<Response, Refused> {
    let config = Arc::new(Config::from("/openapi.json").display_operation_id(true));
    let wrong = |why: Box<dyn std::error::Error>| Fault::internal(why.to_string());
    let Some(found) = utoipa_swagger_ui::serve(file, config).map_err(wrong)? else {
        let file: String = file.chars().take(80).collect();
        return Err(Refused(Fault::not_found("page", file)));
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_str(&found.content_type).map_err(Fault::internal)?,
        ),
        (header::CONTENT_SECURITY_POLICY, SWAGGER),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, found.bytes.into_owned()).into_response())
}

fn page(content: Html<impl Into<axum::body::Body>>) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Html(content.0.into())).into_response()
}

/// A code in a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeName(Code);

impl FromStr for CodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Code::ALL
            .iter()
            .find(|code| code.as_str() == text)
            .map(|code| Self(*code))
            .ok_or_else(|| "there is no such kind of problem".to_owned())
    }
}

/// What a kind of problem means
///
/// A short text: what it is, and what to do.
#[utoipa::path(get, path = "/problems/{code}", operation_id = "get_problem_page",
    tag = "operations",
    params(("code" = String, Path, description = "The `code` of a problem.")),
    responses((status = 200, description = "The page.", content_type = "text/plain",
        body = String), Operating, OfOne))]
pub(crate) async fn get_problem_page(Path(CodeName(code)): Path<CodeName>, _: NoQuery) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, problem_page(code)).into_response()
}

fn problem_page(code: Code) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "{title}\n\ncode: {code}\nstatus: {status}\n\n{advice}\n",
        title = code.title(),
        status = status(code),
        advice = advice(code),
    );
    text
}

/// What to do about it.
const fn advice(code: Code) -> &'static str {
    match code {
        Code::Malformed => {
            "The bytes are not what they claim to be: the JSON does not parse, the multipart body \
             has no end, a header holds what it may not. `errors` names line and column of JSON."
        }
        Code::InvalidInput => {
            "The request was understood, but one or more fields are wrong. `errors` lists each with \
             a JSON pointer into the body (or `/name` of a query parameter) and what would be \
             right. Nothing was changed."
        }
        Code::InvalidConfiguration => {
            "The Terraform configuration does not parse. `errors` names file, line and column. \
             Nothing was queued or kept."
        }
        Code::InvalidPolicy => {
            "The policy pack was refused whole. Correct what `errors` names, with file, line and \
             column; `slipway policies test DIR` says the same without a server."
        }
        Code::PolicyInUse => {
            "Settings name this version of the pack, or it is the built-in one. Change those \
             settings first; `detail` says whose they are."
        }
        Code::ProjectExists => "Use the project that is there, or another name.",
        Code::ProjectInUse => {
            "Stacks, settings of gates or exemptions that hold belong to the project; `detail` says \
             how many. It can be removed when it has none."
        }
        Code::LastAdmin => {
            "The change would leave the house without an admin, and nobody could let others in any \
             more. Make somebody else an admin of the house first."
        }
        Code::UnsafeArchive => {
            "The archive holds entries that leave its tree, links out of it, devices, no files at \
             all, or more than the limits allow; or it is not a tar.gz. Nothing of it was kept."
        }
        Code::TooLarge => {
            "The body is larger than this route takes. Send less, upload the source as an archive \
             of its own, or have the operator raise the limit."
        }
        Code::UnsupportedMediaType => {
            "The route does not take this content type; the detail names those that it takes."
        }
        Code::MethodNotAllowed => "The route has other methods; they are in the header `Allow`.",
        Code::Misdirected => {
            "The request names a host that this server does not serve. It serves localhost, \
             127.0.0.1, [::1] and the allowed hosts of its configuration; the check keeps pages of \
             other sites from reaching it by a name of their own."
        }
        Code::IdempotencyKeyReused => {
            "The same Idempotency-Key came before with another request. Use a new key for a new \
             request, and the same one only to repeat the very same request."
        }
        Code::IdempotencyInFlight => {
            "The first request with this Idempotency-Key is still being answered. Repeat in a \
             moment; the answer will be that of the first."
        }
        Code::Unauthenticated => "Send credentials; those that were sent are missing or not valid.",
        Code::Forbidden => {
            "The caller is known but may not do this: a scope is missing (the detail names it), or \
             a page of another origin sent the request."
        }
        Code::SourceNotAllowed => {
            "This kind of source is switched off here, or the directory is outside the allowed \
             root. Upload an archive instead, or have the operator allow it."
        }
        Code::NotFound => {
            "There is nothing of that name, or the caller may not know that there is. An id has the \
             prefix of its kind (dep_, stk_, art_) and 32 hexadecimal digits."
        }
        Code::NotReady => {
            "What was asked for does not exist yet: a plan before planning is done, outputs before \
             the apply. Wait for it with GET /api/v1/deployments/{id}?wait_s=30 or its events."
        }
        Code::IllegalTransition => {
            "The deployment is in a state that does not allow this; the detail names the state. \
             One that has ended stays ended: submit a new deployment."
        }
        Code::TemplateReserved => {
            "A template of this name comes with the installation: it is built in, or in the \
             operator's directory. Publish yours under another name."
        }
        Code::TemplateInUse => {
            "Deployments name this version of the template, and their history needs it. Deprecate \
             it instead: nobody gets it by default then."
        }
        Code::PreconditionRequired => {
            "A change must say which version it is made from, so that nobody's change is lost. Read \
             the thing, and send its ETag in If-Match (or `*` for whatever there is)."
        }
        Code::PreconditionFailed => {
            "Somebody changed it since it was read. Read it again, make the change to that, and send \
             it with its version in If-Match."
        }
        Code::AlreadyDecided => {
            "The caller has approved this plan already, with another comment. One person's yes \
             counts once. To say it anew, take the old one back first: \
             DELETE /api/v1/deployments/{id}/approvals/{approval_id}."
        }
        Code::JobNotDead => {
            "Only jobs whose attempts are used up (`dead`) can be requeued. A lost apply may have \
             had effects and is never repeated: look at what it made, then submit a new deployment."
        }
        Code::Conflict => {
            "Somebody else changed the same thing at the same time. Read it again and repeat."
        }
        Code::StateLocked => {
            "Somebody else holds the lock of the stack's state, or its deployment is being applied; \
             the problem says who (`ID`, `Who`, `Operation`). Wait for them, or, when they are gone \
             for good, break the lock with POST /api/v1/stacks/{id}/state/unlock."
        }
        Code::StateRefused => {
            "The state does not follow the one that is kept: nobody holds its lock, it is of another \
             lineage, or it is not newer. What was sent is kept as an orphan, which the detail names; \
             look at it and adopt or discard it."
        }
        Code::PlanDigestMismatch => {
            "The digest named is not that of the current plan. Look at the current plan and decide \
             about that one."
        }
        Code::PlanStale => {
            "The stack's state moved since the plan was made, so it was not approved. A new plan is \
             being made; look at it and approve that one."
        }
        Code::LeaseLost => {
            "A worker that lost its lease tried to write. The work goes on elsewhere; there is \
             nothing to do."
        }
        Code::RateLimited => "Too much at once. Come back after `Retry-After` seconds.",
        Code::Unavailable => {
            "Something that is needed is down or starting. Nothing was changed. Come back after \
             `Retry-After` seconds; /health tells which dependency it is."
        }
        Code::Timeout => {
            "The request took too long and was given up. A write may have been done: look before \
             repeating, or repeat with the same Idempotency-Key."
        }
        Code::Internal => {
            "A fault on our side. The cause is in the server's log under the problem's request_id \
             and trace_id."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_that_names_it() {
        for code in Code::ALL {
            let page = problem_page(*code);
            assert!(page.contains(code.as_str()) && page.contains(code.title()), "{page}");
            assert_eq!(code.as_str().parse::<CodeName>().unwrap().0, *code);
        }
        assert!("nonsense".parse::<CodeName>().is_err());
    }
}
