//! `/api/v1/stacks/{id}/state`: the backend that Terraform's and OpenTofu's `http` backend speaks to.
//!
//! The same URL takes their methods LOCK and UNLOCK; `…/state/lock` takes PUT and DELETE for them,
//! because some proxies let no other methods through. A run of Slipway has no HTTP form: it writes
//! through its worker, under its lease.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::StackId;
use slipway_domain::state_version::{LockInfo, LockStatus, MAX_LOCK_INFO_BYTES, StateRefusal};
use slipway_services::state::{self, Locked, Unlocked, Written};
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Caller, MaybeJson, NoQuery, Path, Query, need_json, read};
use crate::openapi::{Always, Locking, Moving, OfOne, WithBody};
use crate::problem::{Held, Refused};
use crate::state::ApiState;

/// The methods of the state's URL.
const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,POST,DELETE,LOCK,UNLOCK");

/// A Terraform state, raw.
#[derive(ToSchema)]
#[schema(value_type = Object)]
#[expect(dead_code, reason = "read as bytes; this is its description")]
pub(crate) struct StateFile(Value);

/// A state as it was sent: not larger than it may be, and whole when the sender said its MD5.
pub(crate) struct SentState(pub Bytes);

impl FromRequest<ApiState> for SentState {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refused> {
        need_json(request.headers())?;
        let md5 = request.headers().get("content-md5").cloned();
        let content = read(request.into_body(), state.options.max_state_bytes).await?;
        if let Some(said) = md5 {
            let is = base64::engine::general_purpose::STANDARD.encode(Md5::digest(&content));
            if said.as_bytes() != is.as_bytes() {
                return Err(Refused(Fault::new(
                    Code::Malformed,
                    "The body has another MD5 than the header Content-MD5 says: it was damaged on \
                     its way. Send it again.",
                )));
            }
        }
        Ok(Self(content))
    }
}

/// The lock information that a tool sends.
pub(crate) struct SentLock(Bytes);

impl FromRequest<ApiState> for SentLock {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let body = read(body, MAX_LOCK_INFO_BYTES).await?;
        // `force-unlock` sends nothing.
        if !body.is_empty() {
            need_json(&parts.headers)?;
        }
        Ok(Self(body))
    }
}

impl SentLock {
    /// The id in it; `None` when there is nothing at all.
    fn id(&self) -> Result<Option<String>, Fault> {
        if self.0.is_empty() {
            return Ok(None);
        }
        slipway_domain::state_version::lock_info(&self.0).map(|(id, _)| Some(id))
    }
}

/// A state as a tool reads it, byte for byte.
pub(crate) fn raw_state(content: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], content).into_response()
}

/// A refusal because somebody else holds the lock.
fn held_by(holder: &Value, more: &str) -> Response {
    let holder = LockInfo::of(holder);
    let words: Vec<_> =
        [&holder.operation, &holder.info].into_iter().filter(|w| !w.is_empty()).cloned().collect();
    let who = if holder.who.is_empty() { "somebody" } else { &holder.who };
    let what = if words.is_empty() { String::new() } else { format!("{}, ", words.join(", ")) };
    let detail = format!("The state is locked by {who} ({what}lock {}).{more}", holder.id);
    Held { fault: Fault::new(Code::StateLocked, detail), holder }.into_response()
}

/// Read the current state
///
/// For Terraform's `http` backend: the bytes as they were written, or 204 when there is no state
/// yet. The state holds every secret of its resources in clear; reading it goes on record.
#[utoipa::path(get, path = "/api/v1/stacks/{id}/state", operation_id = "get_state", tag = "states",
    params(("id" = StackId, Path, description = "The stack.")),
    responses(
        (status = 200, description = "The state.", content_type = "application/json",
            body = StateFile),
        (status = 204, description = "The stack has no state yet."),
        Always, OfOne,
    ))]
pub(crate) async fn get_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
) -> Result<Response, Refused> {
    Ok(match state::read(&state.cx, &who, id).await? {
        Some((_, content)) => raw_state(content),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// By which lock.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LockQuery {
    /// The id of the lock that the writer holds.
    #[serde(rename = "ID")]
    #[param(rename = "ID", max_length = 200)]
    id: Option<String>,
}

/// What became of a state that was written.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StateWritten {
    /// Its number; absent when it was the current state already.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
}

/// Write a new version of the state
///
/// For Terraform's `http` backend. Only the holder of the lock may, in the lineage of the state that
/// is kept, and with a larger serial. What is refused is kept as an orphan.
#[utoipa::path(post, path = "/api/v1/stacks/{id}/state", operation_id = "write_state",
    tag = "states",
    params(
        ("id" = StackId, Path, description = "The stack."),
        LockQuery,
        ("Content-MD5" = Option<String>, Header, description = "Base64 of the body's MD5; checked \
            when it is there."),
    ),
    request_body(content = StateFile, content_type = "application/json"),
    responses(
        (status = 200, description = "It is kept, or was already.", body = StateWritten),
        Always, OfOne, Moving, WithBody, Locking,
    ))]
pub(crate) async fn write_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    Query(LockQuery { id: lock_id }): Query<LockQuery>,
    SentState(content): SentState,
) -> Result<Response, Refused> {
    let written = state::write(&state.cx, &who, id, lock_id.as_deref(), None, &content).await?;
    let (reason, orphan, held) = match written {
        Written::Kept { version } => {
            return Ok(Json(StateWritten { version: Some(version) }).into_response());
        }
        Written::Unchanged => return Ok(Json(StateWritten { version: None }).into_response()),
        Written::Refused { reason, orphan, held } => (reason, orphan, held),
    };
    let kept = match orphan {
        Some(orphan) => format!(" What was sent is kept as orphan {orphan}."),
        None => " What was sent is kept already, or too many refused states are.".to_owned(),
    };
    Ok(match (reason, held) {
        (StateRefusal::OtherLock, Some(held)) => held_by(&held, &kept),
        (reason, _) => {
            let code = match reason {
                StateRefusal::LeaseLost => Code::LeaseLost,
                _ => Code::StateRefused,
            };
            let detail = format!("The state was not taken: {}.{kept}", reason.words());
            Refused(Fault::new(code, detail)).into_response()
        }
    })
}

/// Refuse to delete the state
///
/// Slipway deletes no state: without one, the next plan would make every resource a second time.
/// Where there is none, there is nothing to do.
#[utoipa::path(delete, path = "/api/v1/stacks/{id}/state", operation_id = "delete_state",
    tag = "states",
    params(("id" = StackId, Path, description = "The stack.")),
    responses(
        (status = 200, description = "The stack has no state."),
        Always, OfOne, Moving,
    ))]
pub(crate) async fn delete_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
) -> Result<StatusCode, Refused> {
    state::remove(&state.cx, &who, id).await?;
    Ok(StatusCode::OK)
}

/// LOCK and UNLOCK, which are no methods that a router knows; and every other one.
pub(crate) async fn other_method(
    State(state): State<ApiState>,
    caller: Caller,
    path: Path<StackId>,
    query: NoQuery,
    request: Request,
) -> Result<Response, Refused> {
    let method = request.method().as_str().to_owned();
    match method.as_str() {
        "LOCK" => {
            let sent = SentLock::from_request(request, &state).await?;
            take_state_lock(State(state), caller, path, query, sent).await
        }
        "UNLOCK" => {
            let sent = SentLock::from_request(request, &state).await?;
            release_state(State(state), caller, path, query, sent).await
        }
        _ => {
            let shown: String = method.chars().take(40).collect();
            let detail = format!(
                "{shown} is not a method of this route; the header Allow lists those that are."
            );
            let refused = Refused(Fault::new(Code::MethodNotAllowed, detail));
            Ok(([(header::ALLOW, METHODS)], refused).into_response())
        }
    }
}

/// Who holds the lock
#[utoipa::path(get, path = "/api/v1/stacks/{id}/state/lock", operation_id = "get_state_lock",
    tag = "states",
    params(("id" = StackId, Path, description = "The stack.")),
    responses(
        (status = 200, description = "The lock, and what is being applied.", body = LockStatus),
        Always, OfOne,
    ))]
pub(crate) async fn get_state_lock(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
) -> Result<Json<LockStatus>, Refused> {
    Ok(Json(state::lock_status(&state.cx, &who, id).await?))
}

/// Take the lock
///
/// What LOCK does on the state's own URL, for tools behind proxies that know no such method:
/// `lock_method = "PUT"`.
#[utoipa::path(put, path = "/api/v1/stacks/{id}/state/lock", operation_id = "take_state_lock",
    tag = "states",
    params(("id" = StackId, Path, description = "The stack.")),
    request_body(content = LockInfo, content_type = "application/json"),
    responses(
        (status = 200, description = "The caller holds it.", body = LockInfo),
        Always, OfOne, WithBody, Locking,
    ))]
pub(crate) async fn take_state_lock(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
    SentLock(body): SentLock,
) -> Result<Response, Refused> {
    Ok(match state::lock(&state.cx, &who, id, &body, None).await? {
        Locked::Taken(lock) => Json(LockInfo::of(&lock.info)).into_response(),
        Locked::Held(holder) => held_by(&holder, ""),
    })
}

/// Give the lock back
///
/// What UNLOCK does on the state's own URL: `unlock_method = "DELETE"`. The body is the lock
/// information of the holder; without a body the lock is broken, whose ever it is, unless a living
/// run has it.
#[utoipa::path(delete, path = "/api/v1/stacks/{id}/state/lock", operation_id = "release_state",
    tag = "states",
    params(("id" = StackId, Path, description = "The stack.")),
    request_body(content = LockInfo, content_type = "application/json"),
    responses(
        (status = 200, description = "Nobody holds it."),
        Always, OfOne, WithBody, Locking,
    ))]
pub(crate) async fn release_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
    sent: SentLock,
) -> Result<Response, Refused> {
    let lock_id = sent.id()?;
    Ok(match state::unlock(&state.cx, &who, id, lock_id.as_deref(), None).await? {
        // An answer may have been lost, and the request repeated.
        Unlocked::Released | Unlocked::NotLocked => StatusCode::OK.into_response(),
        Unlocked::Held(holder) => held_by(&holder, ""),
    })
}

/// Which lock to break, and why.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BreakLock {
    /// Only this lock; whichever it is when absent.
    #[serde(default)]
    #[schema(max_length = 200)]
    lock_id: Option<String>,
    /// For the record.
    #[serde(default)]
    #[schema(max_length = 2000)]
    reason: Option<String>,
}

/// What became of a request to break the lock.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LockBroken {
    /// Whether there was a lock.
    released: bool,
}

/// Break the lock
///
/// For a holder that is gone for good; it goes on record with the reason. The lock of a run that is
/// alive stays: cancel its deployment. The body may be left out.
#[utoipa::path(post, path = "/api/v1/stacks/{id}/state/unlock", operation_id = "unlock_state",
    tag = "states",
    params(("id" = StackId, Path, description = "The stack.")),
    request_body(content = BreakLock),
    responses(
        (status = 200, description = "Nobody holds it.", body = LockBroken),
        Always, OfOne, WithBody, Locking,
    ))]
pub(crate) async fn unlock_state(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<StackId>,
    _: NoQuery,
    MaybeJson(BreakLock { lock_id, reason }): MaybeJson<BreakLock>,
) -> Result<Response, Refused> {
    let done = state::force_unlock(&state.cx, &who, id, lock_id.as_deref(), reason).await?;
    Ok(match done {
        Unlocked::Released => Json(LockBroken { released: true }).into_response(),
        Unlocked::NotLocked => Json(LockBroken { released: false }).into_response(),
        Unlocked::Held(holder) => held_by(&holder, ""),
    })
}
