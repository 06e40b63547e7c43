//! Server-sent events: a deployment's events and its log, with numbers to resume from.
//!
//! A stream ends with `event: end` when the deployment has ended and everything was sent. Without
//! it (shutdown, longest duration, a fault, a reader who may not read it any more) the reader comes
//! back with `Last-Event-ID` and misses nothing.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use slipway_domain::access::Principal;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::DeploymentId;
use slipway_services::auth::authenticate;
use slipway_services::{deployment, event};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument as _;
use utoipa::ToSchema;

use crate::state::ApiState;

/// The content type.
pub(crate) const CONTENT_TYPE: &str = "text/event-stream";
/// A comment is sent when nothing else was for this long, so that nobody in between hangs up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader waits until it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// One message of a stream, as a reader of server-sent events takes it apart.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is there for the document: axum writes the messages")]
pub(crate) struct SentEvent {
    /// The number of the event or line; what `Last-Event-ID` takes. The last message has none.
    id: Option<String>,
    /// What it is: `line`, `end`, or the `type` of the event.
    event: String,
    /// The event, the line, or the deployment at the end, as JSON.
    data: String,
}

/// What is followed.
pub(crate) enum Followed {
    /// Events.
    Events(Box<event::Follow>),
    /// Log lines.
    Log(Box<event::FollowLog>),
}

impl Followed {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Result<Option<Message>, Fault> {
        let next = match self {
            Self::Events(follow) => {
                follow.next().await?.map(|event| message(event.body.kind(), event.seq, &event))
            }
            Self::Log(follow) => follow.next().await?.map(|line| message("line", line.seq, &line)),
        };
        next.transpose()
    }
}

fn message<T: serde::Serialize>(name: &str, seq: i64, data: &T) -> Result<Message, Fault> {
    Message::default().event(name).id(seq.to_string()).json_data(data).map_err(Fault::internal)
}

/// Where a stream is.
enum At {
    Begin,
    Middle,
    Over,
}

struct Stream {
    state: ApiState,
    who: Principal,
    of: DeploymentId,
    followed: Followed,
    until: Instant,
    /// When it is looked again whether its reader may read it, and who looks.
    look_at: Instant,
    looking: Option<JoinHandle<bool>>,
    at: At,
    /// Held as long as the stream is open.
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    async fn next(&mut self) -> Option<Message> {
        match self.at {
            At::Over => None,
            At::Begin => {
                // Says that we are here, before there is anything to say.
                self.at = At::Middle;
                Some(Message::default().retry(RETRY).comment("following"))
            }
            At::Middle => self.go_on().await,
        }
    }

    async fn go_on(&mut self) -> Option<Message> {
        match self.followed_next().await? {
            Ok(Some(message)) => {
                self.state.metrics.events_published(1);
                Some(message)
            }
            Ok(None) => {
                self.at = At::Over;
                self.end().await
            }
            Err(fault) => {
                tracing::warn!(deployment_id = %self.of, %fault, cause = fault.causes(),
                    "a stream broke off; its reader will come back");
                None
            }
        }
    }

    /// What comes next; `None` when there is no more to be told, whatever comes.
    async fn followed_next(&mut self) -> Option<Result<Option<Message>, Fault>> {
        let next = self.followed.next();
        tokio::pin!(next);
        loop {
            tokio::select! {
                biased;
                () = self.state.shutdown.cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                () = tokio::time::sleep_until(self.look_at), if self.looking.is_none() => {
                    // By itself: what comes next may have taken the last connection to the
                    // database, and would never give it back to somebody who waits here.
                    let looking = may_follow(self.state.clone(), self.who.clone(), self.of);
                    self.looking = Some(tokio::spawn(looking.in_current_span()));
                }
                may = async { self.looking.as_mut()?.await.ok() }, if self.looking.is_some() => {
                    self.looking = None;
                    if may != Some(true) {
                        tracing::info!(deployment_id = %self.of, by = self.who.actor.id,
                            "a stream was closed: its reader may not read it any more");
                        return None;
                    }
                    self.look_at = Instant::now() + self.state.options.stream_check;
                }
                next = &mut next => return Some(next),
            }
        }
    }

    async fn end(&self) -> Option<Message> {
        let deployment = deployment::get(&self.state.cx, &self.who, self.of).await.ok()?;
        let data = serde_json::json!({"deployment_id": self.of, "state": deployment.state});
        Message::default().event("end").json_data(data).ok()
    }
}

/// Whether the reader may still read it, as far as can be found out now.
async fn may_follow(state: ApiState, who: Principal, of: DeploymentId) -> bool {
    let looked = async {
        let who = authenticate::again(&state.cx, &who).await?;
        deployment::get(&state.cx, &who, of).await
    };
    match looked.await {
        Ok(_) => true,
        Err(fault) => {
            !matches!(fault.code, Code::Unauthenticated | Code::Forbidden | Code::NotFound)
        }
    }
}

/// The stream as an answer. `open` begins to follow; it is called when there is room for one more.
pub(crate) async fn answer(
    state: ApiState,
    who: Principal,
    of: DeploymentId,
    open: impl Future<Output = Result<Followed, Fault>>,
) -> Result<Response, Fault> {
    let permit = state.open_stream()?;
    let followed = open.await?;
    let now = Instant::now();
    let (until, look_at) = (now + state.options.stream_max, now + state.options.stream_check);
    let at = At::Begin;
    let begun =
        Stream { state, who, of, followed, until, look_at, looking: None, at, _permit: permit };
    let messages = stream::unfold(begun, |mut stream| async move {
        let message = stream.next().await?;
        Some((Ok::<_, Infallible>(message), stream))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    let mut response = Sse::new(messages).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    // Reverse proxies must not collect what is to be seen at once.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// Whether the caller asks for a stream.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    accepts(headers, CONTENT_TYPE)
}

/// Whether `Accept` names this very type.
pub(crate) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|item| {
            item.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind)
        })
    })
}

/// Where to go on: `Last-Event-ID`, else `after`, else the beginning.
pub(crate) fn resume_from(headers: &HeaderMap, after: Option<i64>) -> Result<i64, Fault> {
    let Some(last) = headers.get("last-event-id") else { return Ok(after.unwrap_or(0)) };
    last.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|seq| *seq >= 0).ok_or_else(
        || {
            Fault::field(
                "/last_event_id",
                "Last-Event-ID is not a number that this stream gave out",
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_and_last_event_id_are_read() {
        let mut headers = HeaderMap::new();
        assert!(!is_wanted(&headers));
        assert_eq!(resume_from(&headers, Some(3)).unwrap(), 3);
        let accept = HeaderValue::from_static("application/json;q=0.5, Text/Event-Stream;q=1");
        headers.insert(header::ACCEPT, accept);
        assert!(is_wanted(&headers) && accepts(&headers, "application/json"));
        headers.insert("last-event-id", HeaderValue::from_static("7"));
        assert_eq!(resume_from(&headers, Some(3)).unwrap(), 7);
        for bad in ["-1", "x", ""] {
            headers.insert("last-event-id", HeaderValue::from_static(bad));
            assert!(resume_from(&headers, None).is_err(), "{bad}");
        }
    }
}
