//! Bodies that are refused before they were read to their end.
//!
//! A server that answers and closes while the client still sends resets the connection, and the
//! client sees a broken pipe in the place of the answer that says why. So what a handler leaves
//! unread is read and thrown away for a while, beside the answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

/// Bytes that are thrown away at most; whoever sends more sees the connection close.
const MAX_BYTES: usize = 64 << 20;
/// For how long they are thrown away at most.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Lets every request's body be read to its end, by its handler or after it.
pub(crate) async fn linger(request: Request, next: Next) -> Response {
    // A client that asked first does not send what it was not asked for.
    let asks = request.headers().contains_key(header::EXPECT);
    next.run(request.map(|body| Body::new(Lingering { body: Some(body), begun: !asks }))).await
}

struct Lingering {
    body: Option<Body>,
    /// Whether the client sends (has to be asked for nothing).
    begun: bool,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.begun = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| self.begun && !body.is_end_stream()) else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(MAX_TIME, throw_away(body)));
        }
    }
}

async fn throw_away(mut body: Body) {
    let mut left = MAX_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(size) else { return };
        left = rest;
    }
}
