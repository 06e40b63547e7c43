//! Serving a listener until it is told to stop. Draining is bounded.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::state::ApiState;

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
    // Streams and readiness look at the state's token, whichever way the shutdown came.
    let streams = state.shutdown.clone();
    let drain = state.options.drain_timeout;
    let asked = shutdown.clone();
    let told = async move {
        asked.cancelled().await;
        streams.cancel();
    };
    let listener = listener.tap_io(|connection| {
        // An event is small and must not wait for a full packet.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(told);
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        result = server => result,
        () = late => {
            tracing::warn!(drain_ms = drain.as_millis(), "requests were cut off at shutdown");
            Ok(())
        }
    }
}
