//! A process's life: start in order, serve, and end in order.
//!
//! The first SIGTERM or SIGINT drains (no new requests, no new jobs; running ones may finish), the
//! second asks running jobs to stop and record what they did. Nothing is left in `running`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use slipway_config::Config;
use slipway_domain::port::driver::Driver;
use slipway_worker::Shutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::wire::{self, House};

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    /// The doors.
    pub(crate) api: bool,
    /// The workers.
    pub(crate) worker: bool,
}

/// A running process.
pub(crate) struct Running {
    /// Where the doors listen.
    pub(crate) address: Option<SocketAddr>,
    /// How to end it.
    pub(crate) shutdown: Shutdown,
    parts: JoinSet<anyhow::Result<()>>,
    end_loops: CancellationToken,
    house: House,
}

/// Binds the listener. Comes first: a port that is taken is said before anything is written.
pub(crate) async fn bind(config: &Config, roles: Roles) -> anyhow::Result<Option<TcpListener>> {
    let (listen, variable) = if roles.api {
        (Some(config.api.listen), "SLIPWAY_API_LISTEN")
    } else {
        (config.worker.listen, "SLIPWAY_WORKER_LISTEN")
    };
    let Some(listen) = listen else { return Ok(None) };
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!(
            "cannot listen on {listen}; is another Slipway running? Choose another address with \
             --listen or {variable}"
        )
    })?;
    Ok(Some(listener))
}

/// Starts what `roles` says. Whatever it needs is opened and migrated when this returns.
pub(crate) async fn start(config: &Config, roles: Roles) -> anyhow::Result<Running> {
    let listener = bind(config, roles).await?;
    let driver: Option<Arc<dyn Driver>> =
        if roles.worker { Some(wire::driver(config).await?) } else { None };
    let house = wire::house(config).await?;
    let shutdown = Shutdown::default();
    let end_loops = CancellationToken::new();
    let mut parts = JoinSet::new();
    let loops = Box::pin(wire::loops(config).run(house.cx.clone(), end_loops.clone()));
    parts.spawn(async move {
        loops.await;
        Ok(())
    });
    let mut address = None;
    if let Some(listener) = listener {
        let local = listener.local_addr()?;
        address = Some(local);
        let state = wire::api(config, &house, local.port(), shutdown.drain.clone());
        state.set_ready();
        let drain = shutdown.drain.clone();
        parts.spawn(async move {
            let served = if roles.api {
                slipway_api::serve(listener, state, drain).await
            } else {
                slipway_api::serve_operations(listener, state, drain).await
            };
            served.context("the listener failed")
        });
    }
    if let Some(driver) = driver {
        let options = wire::worker(config);
        let (cx, metrics, shutdown) = (house.cx.clone(), house.metrics.clone(), shutdown.clone());
        let end_loops = end_loops.clone();
        parts.spawn(async move {
            let worked = slipway_worker::work(cx, driver, options, metrics, shutdown).await;
            // The loops go on while jobs end: they may be what a job waits for.
            end_loops.cancel();
            worked.context("the worker failed")
        });
    } else {
        let (drain, end_loops) = (shutdown.drain.clone(), end_loops.clone());
        parts.spawn(async move {
            drain.cancelled().await;
            end_loops.cancel();
            Ok(())
        });
    }
    Ok(Running { address, shutdown, parts, end_loops, house })
}

impl Running {
    /// Ends everything in order and waits for it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.drain.cancel();
        let mut result = Ok(());
        while let Some(part) = self.parts.join_next().await {
            let part = part.context("a part of the process panicked").and_then(|r| r);
            if let Err(error) = part {
                self.shutdown.stop.cancel();
                self.end_loops.cancel();
                result = Err(error);
            }
        }
        self.house.cx.store.close().await;
        result
    }

    /// Serves until a signal ends it, or a part of it fails.
    pub(crate) async fn until_signal(mut self) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let failed = tokio::select! {
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            part = self.parts.join_next() => part,
        };
        if let Some(part) = failed {
            let why = part.context("a part of the process panicked").and_then(|r| r);
            tracing::error!(?why, "a part of the process ended; stopping the rest");
            self.shutdown.stop.cancel();
            let stopped = self.stop().await;
            return why.and(stopped);
        }
        tracing::info!("draining; a second signal stops running jobs");
        let stop = self.shutdown.stop.clone();
        let second = tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::warn!("second signal: asking running jobs to stop now");
            stop.cancel();
        });
        let stopped = self.stop().await;
        second.abort();
        stopped
    }
}
