//! Serving a listener until it is told to stop: plain or TLS, HTTP/1.1 and HTTP/2, with bounds on
//! connections, heads and time. Draining is bounded.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::edge::tls::Tls;
use crate::state::ApiState;

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 8192;
/// A connection must have spoken TLS by then.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The head of a request must be there by then; it also ends connections that nobody uses. Longer than
/// clients keep those (90 s is usual), so that none is closed under a request.
const HEAD: Duration = Duration::from_secs(100);
/// Header fields of a request.
const FIELDS: usize = 100;
/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// How often an HTTP/2 connection is asked whether it is still there.
const ASK: Duration = Duration::from_secs(30);
/// A pause after the machine had no connection to give.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is cancelled; then no connection is accepted any more, streams end, and
/// requests may finish for `options.drain_timeout`.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let router = crate::router(state.clone());
    serve_router(listener, state, shutdown, router).await
}

/// Like [`serve`], of [`crate::operations_router`] only.
pub async fn serve_operations(
    listener: TcpListener,
    state: ApiState,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let router = crate::operations_router(state.clone());
    serve_router(listener, state, shutdown, router).await
}

async fn serve_router(
    listener: TcpListener,
    state: ApiState,
    shutdown: CancellationToken,
    router: Router,
) -> io::Result<()> {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let builder = builder();
    loop {
        let room = tokio::select! {
            () = shutdown.cancelled() => break,
            room = connections.clone().acquire_owned() => room,
        };
        // Nobody closes the semaphore.
        let Ok(room) = room else { break };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // One that went away before it was accepted says nothing about the listener.
                if !is_of_one(&error) {
                    tracing::error!(%error, "no connection could be accepted; trying on");
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            }
        };
        let (router, builder, watcher) = (router.clone(), builder.clone(), graceful.watcher());
        let tls = state.options.tls.clone();
        tokio::spawn(async move {
            connection(stream, peer, tls, router, builder, watcher).await;
            drop(room);
        });
    }
    drop(listener);
    // Streams and readiness look at the state's token, whichever way the shutdown came.
    state.shutdown.cancel();
    let drain = state.options.drain_timeout;
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(drain_ms = drain.as_millis(), "requests were cut off at shutdown");
    }
    Ok(())
}

fn is_of_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(FIELDS)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(ASK)
        .keep_alive_timeout(ASK);
    builder
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    router: Router,
    builder: Builder<TokioExecutor>,
    watcher: Watcher,
) {
    // An event is small and must not wait for a full packet.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let Some(tls) = tls else { return talk(stream, peer, router, builder, watcher).await };
    match tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, peer, router, builder, watcher).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a connection did not speak TLS"),
        Err(_) => tracing::debug!(%peer, "a connection did not speak TLS in time"),
    }
}

async fn talk<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    builder: Builder<TokioExecutor>,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.clone().oneshot(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served.into_owned()).await {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}
