//! `/api/v1/audit`: reading, exporting and verifying the audit log.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream;
use serde::Deserialize;
use slipway_domain::audit::{AuditEntry, AuditResult, ExportLine, Filter, SignedCheckpoint};
use slipway_domain::fault::Fault;
use slipway_domain::page::{Page, PageRequest};
use slipway_services::Ctx;
use slipway_services::audit::{self, Export, Verified};
use utoipa::IntoParams;

use super::page;
use crate::extract::{Caller, NoQuery, Query};
use crate::openapi::Always;
use crate::problem::Refused;
use crate::state::ApiState;

/// The content type of an export.
const JSON_LINES: &str = "application/x-ndjson";

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only what this actor did: its id.
    #[param(max_length = 200)]
    actor: Option<String>,
    /// Only this action, or with a dot at its end all that begin with it: `deployment.`.
    #[param(max_length = 200)]
    action: Option<String>,
    /// Only what was done to this: an id or a name.
    #[param(max_length = 500)]
    target: Option<String>,
    /// Only what ended so.
    #[param(inline)]
    result: Option<AuditResult>,
    /// Not before this.
    since: Option<DateTime<Utc>>,
    /// Before this.
    until: Option<DateTime<Utc>>,
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which part of the chain.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RangeQuery {
    /// Number of the first record; the first one that is kept when absent.
    #[param(minimum = 1)]
    from_seq: Option<i64>,
    /// Number of the last record; the last one when absent.
    #[param(minimum = 0)]
    to_seq: Option<i64>,
}

/// Read the audit log, newest first
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "list_audit", tag = "audit",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page.", body = Page<AuditEntry>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_audit(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<AuditQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    let within = |name: &str, text: Option<String>, most: usize| match text {
        Some(text) if text.chars().count() > most || text.contains('\0') => {
            Err(Fault::field(format!("/{name}"), format!("{name} has at most {most} characters")))
        }
        text => Ok(text),
    };
    let filter = Filter {
        actor: within("actor", query.actor, 200)?,
        action: within("action", query.action, 200)?,
        target: within("target", query.target, 500)?,
        result: query.result,
        since: query.since,
        until: query.until,
    };
    Ok(page::answer(&uri, audit::list(&state.cx, &who, &filter, ask).await?))
}

/// Export the audit log
///
/// JSON lines, in the order of the chain: an `anchor` (the record that the first one follows), the
/// records, and at the end a signed `checkpoint`; an export without it was cut off. It can be verified
/// without this server: `slipway audit verify --file`.
#[utoipa::path(get, path = "/api/v1/audit/export", operation_id = "export_audit", tag = "audit",
    params(RangeQuery),
    responses(
        (status = 200, description = "A line for each record.", body = ExportLine,
            content_type = "application/x-ndjson"),
        Always,
    ))]
pub(crate) async fn export_audit(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<RangeQuery>,
) -> Result<Response, Refused> {
    let export = audit::export(&state.cx, &who, query.from_seq, query.to_seq).await?;
    let first = lines([ExportLine::Anchor(export.from)])?;
    let walk = Walk {
        cx: state.cx.clone(),
        after: export.from.seq,
        export,
        first: Some(first),
        done: false,
    };
    let body = Body::from_stream(stream::try_unfold(walk, Walk::next));
    Ok(([(header::CONTENT_TYPE, JSON_LINES)], body).into_response())
}

/// An export under way.
struct Walk {
    cx: Ctx,
    export: Export,
    after: i64,
    first: Option<Bytes>,
    done: bool,
}

impl Walk {
    /// The next lines. What fails ends the answer before its last line, so that nobody takes it for
    /// the whole.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Fault> {
        if let Some(first) = self.first.take() {
            return Ok(Some((first, self)));
        }
        if self.done {
            return Ok(None);
        }
        let records = audit::export_some(&self.cx, &self.export, self.after).await;
        let records = records.inspect_err(|fault| {
            tracing::error!(%fault, cause = fault.causes(), "an export of the audit log broke off");
        })?;
        let Some(last) = records.last() else {
            self.done = true;
            let end = ExportLine::Checkpoint(self.export.checkpoint.clone());
            return Ok(Some((lines([end])?, self)));
        };
        self.after = last.seal.seq;
        let text = lines(records.into_iter().map(|record| ExportLine::Record(Box::new(record))))?;
        Ok(Some((text, self)))
    }
}

fn lines(items: impl IntoIterator<Item = ExportLine>) -> Result<Bytes, Fault> {
    let mut text = Vec::new();
    for item in items {
        serde_json::to_writer(&mut text, &item).map_err(Fault::internal)?;
        text.push(b'\n');
    }
    Ok(text.into())
}

/// Verify a part of the audit log
///
/// Walks the chain from `from_seq`, at most 10000 records in one call; `next_seq` says where to go
/// on. What somebody changed, dropped, put in or moved is named in `findings`.
#[utoipa::path(get, path = "/api/v1/audit/verify", operation_id = "verify_audit", tag = "audit",
    params(RangeQuery),
    responses((status = 200, description = "What was found.", body = Verified), Always))]
pub(crate) async fn verify_audit(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<RangeQuery>,
) -> Result<Json<Verified>, Refused> {
    Ok(Json(audit::verify(&state.cx, &who, query.from_seq, query.to_seq).await?))
}

/// A signed checkpoint of the audit log
///
/// What the chain is now, signed with the installation's key (Ed25519). Kept elsewhere, it shows later
/// when the end of the log was cut off or the chain was made anew.
#[utoipa::path(get, path = "/api/v1/audit/checkpoint", operation_id = "get_audit_checkpoint",
    tag = "audit",
    responses((status = 200, description = "The checkpoint.", body = SignedCheckpoint), Always))]
pub(crate) async fn get_audit_checkpoint(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<SignedCheckpoint>, Refused> {
    Ok(Json(audit::checkpoint(&state.cx, &who).await?))
}
