//! `/api/v1/deployments/{id}/logs` and `…/events`: pages of JSON, or streams.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::event::Event;
use slipway_domain::fault::Fault;
use slipway_domain::id::DeploymentId;
use slipway_domain::page::{DEFAULT_LIMIT, MAX_LIMIT};
use slipway_services::log::{self, LogPage, MAX_LINES, Part};
use slipway_services::{deployment, event};
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Caller, Path, Query};
use crate::live::sse::{self, Followed, SentEvent};
use crate::openapi::{Always, OfOne};
use crate::problem::Refused;
use crate::state::ApiState;

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Lines with numbers above this one.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// The last so many lines; not together with `after`.
    #[param(minimum = 1, maximum = 1000)]
    tail: Option<u32>,
    /// At most this many lines; 1000 when absent. Not for a stream.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Stream the lines as they come; the same as `Accept: text/event-stream`.
    follow: Option<bool>,
}

/// The log
///
/// A page of lines as JSON; read on with `after=<next_after>` until `complete`. With
/// `follow=true` or `Accept: text/event-stream` it is a stream: each line is an event `line` with
/// its number as `id`, the last event is `end`, and `Last-Event-ID` resumes.
#[utoipa::path(get, path = "/api/v1/deployments/{id}/logs", operation_id = "get_deployment_logs",
    tag = "deployments",
    params(
        ("id" = DeploymentId, Path, description = "The deployment."),
        LogQuery,
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0,
            description = "Number of the last line that was seen; for a stream."),
    ),
    responses(
        (status = 200, description = "A page, or the stream.", content(
            (LogPage = "application/json"),
            (SentEvent = "text/event-stream"),
        )),
        Always, OfOne,
    ))]
pub(crate) async fn get_deployment_logs(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    check_after(query.after)?;
    if query.tail.is_some() && query.after.is_some() {
        return Err(Fault::field("/tail", "tail and after exclude each other").into());
    }
    if query.tail.is_some_and(|lines| !(1..=MAX_LINES).contains(&lines)) {
        return Err(Fault::field("/tail", format!("tail must be from 1 to {MAX_LINES}")).into());
    }
    let limit = query.limit.unwrap_or(MAX_LINES);
    let resumes = headers.contains_key("last-event-id");
    if !query.follow.unwrap_or_else(|| sse::is_wanted(&headers)) {
        let part = query.tail.map_or(Part::After(query.after.unwrap_or(0)), Part::Tail);
        return Ok(Json(log::page(&state.cx, &who, id, part, limit).await?).into_response());
    }
    let cx = state.cx.clone();
    let reader = who.clone();
    let open = async move {
        let after = match query.tail {
            Some(lines) if !resumes => {
                let last = log::page(&cx, &reader, id, Part::Tail(lines), lines).await?;
                last.items.first().map_or(last.next_after, |line| line.seq - 1)
            }
            _ => sse::resume_from(&headers, query.after)?,
        };
        event::follow_log(&cx, &reader, id, after)
            .await
            .map(|follow| Followed::Log(Box::new(follow)))
    };
    Ok(sse::answer(state, who, id, open).await?)
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventFormat {
    /// A page.
    Json,
    /// A stream.
    Sse,
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Events with numbers above this one.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// At most this many; 50 when absent. Not for a stream.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Keep the stream open when the deployment has ended, for what comes after: that its stack drifts,
    /// or that its plan is out of date. Not for a page.
    stay: Option<bool>,
    /// A stream, or a page. When absent it is a stream, unless `Accept` names only
    /// `application/json`.
    #[param(inline)]
    format: Option<EventFormat>,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventPage {
    /// The events, in order.
    items: Vec<Event>,
    /// Pass it as `after` for what follows, now or later.
    next_after: i64,
    /// Whether the deployment has ended and nothing follows any more.
    complete: bool,
}

/// What happens
///
/// A stream of server-sent events: `event` is the type, `id` the number, `data` the event as JSON.
/// All events so far come first, then new ones as they happen. The last one is `end`; a stream
/// that closes without it is resumed with `Last-Event-ID`. With `stay=true` there is no `end`: what
/// becomes known after it, such as `drift` of the stack, comes too. `format=json` gives a page instead.
#[utoipa::path(get, path = "/api/v1/deployments/{id}/events",
    operation_id = "get_deployment_events", tag = "deployments",
    params(
        ("id" = DeploymentId, Path, description = "The deployment."),
        EventQuery,
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0,
            description = "Number of the last event that was seen."),
    ),
    responses(
        (status = 200, description = "The stream, or a page.", content(
            (SentEvent = "text/event-stream"),
            (EventPage = "application/json"),
        )),
        Always, OfOne,
    ))]
pub(crate) async fn get_deployment_events(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    check_after(query.after)?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Fault::field("/limit", format!("limit must be from 1 to {MAX_LIMIT}")).into());
    }
    let after = sse::resume_from(&headers, query.after)?;
    let only_json = sse::accepts(&headers, "application/json") && !sse::is_wanted(&headers);
    let format =
        query.format.unwrap_or(if only_json { EventFormat::Json } else { EventFormat::Sse });
    if format == EventFormat::Json {
        // The state first: an end that is seen here has all its events behind it.
        let ended = deployment::get(&state.cx, &who, id).await?.state.is_terminal();
        let items = event::page(&state.cx, &who, id, after, limit).await?;
        let page = EventPage {
            next_after: items.last().map_or(after, |event| event.seq),
            complete: ended && items.len() < limit as usize,
            items,
        };
        return Ok(Json(page).into_response());
    }
    let (cx, reader, stay) = (state.cx.clone(), who.clone(), query.stay.unwrap_or_default());
    let open = async move {
        event::follow(&cx, &reader, id, after, stay)
            .await
            .map(|follow| Followed::Events(Box::new(follow)))
    };
    Ok(sse::answer(state, who, id, open).await?)
}

fn check_after(after: Option<i64>) -> Result<(), Fault> {
    match after {
        Some(after) if after < 0 => Err(Fault::field("/after", "after must not be negative")),
        _ => Ok(()),
    }
}
