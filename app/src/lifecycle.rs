//! A process's life: start in order, serve, and end in order.
//!
//! The first SIGTERM or SIGINT drains (no new requests, no new jobs; running ones may finish), the
//! second asks running jobs to stop and record what they did. Nothing is left in `running`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use slipway_api::Tls;
use slipway_config::Config;
use slipway_domain::port::driver::Driver;
use slipway_domain::port::estimator::Estimate;
use slipway_domain::port::scanner::Scan;
use slipway_worker::Shutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gate_tools;
use crate::wire::{self, House};

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    /// The doors.
    pub(crate) api: bool,
    /// The workers.
    pub(crate) worker: bool,
}

/// The signals that end a process. Listened to from the start: a signal that came at its default
/// would leave the tools of running jobs without anybody who records what they do.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Why a process ends.
pub(crate) enum Ending {
    /// A signal asked for it.
    Signal,
    /// A part of it ended by itself.
    Part(anyhow::Result<()>),
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
    signals: Signals,
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
    let signals = Signals::listen()?;
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
        let state = wire::api(config, &house, local.port(), shutdown.drain.clone())?;
        if let Some(tls) = &state.options.tls {
            parts.spawn(reload_on_hangup(tls.clone(), shutdown.drain.clone())?);
        }
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
        let scanners: Option<Arc<dyn Scan>> =
            Some(Arc::new(gate_tools::LateScanners::new(config, &house.cx)));
        let estimator: Option<Arc<dyn Estimate>> =
            Some(Arc::new(gate_tools::LateInfracost::new(config)));
        let (cx, metrics, shutdown) = (house.cx.clone(), house.metrics.clone(), shutdown.clone());
        let end_loops = end_loops.clone();
        parts.spawn(async move {
            let tools = slipway_worker::Tools { driver, scanners, estimator };
            let worked = slipway_worker::work(cx, tools, options, metrics, shutdown).await;
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
    Ok(Running { address, shutdown, parts, end_loops, house, signals })
}

/// Reads certificate and key again whenever SIGHUP comes.
fn reload_on_hangup(
    tls: Tls,
    end: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while tokio::select! { () = end.cancelled() => false, _ = hangup.recv() => true } {
            match tls.reload() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!(%error, "the certificate stays as it was"),
            }
        }
        Ok(())
    })
}

impl Running {
    /// The house that runs.
    pub(crate) fn cx(&self) -> &slipway_services::Ctx {
        &self.house.cx
    }

    /// Ends everything in order and waits for it. A signal meanwhile stops running jobs.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.drain.cancel();
        let stop = self.shutdown.stop.clone();
        let mut result = Ok(());
        loop {
            let part = tokio::select! {
                part = self.parts.join_next() => part,
                () = self.signals.next(), if !stop.is_cancelled() => {
                    tracing::warn!("another signal: asking running jobs to stop now");
                    stop.cancel();
                    continue;
                }
            };
            let Some(part) = part else { break };
            let part = part.context("a part of the process panicked").and_then(|r| r);
            if let Err(error) = part {
                self.shutdown.stop.cancel();
                self.end_loops.cancel();
                result = Err(error);
            }
        }
        // The last bells and signals of what has just ended are still delivered.
        self.house.cx.transport.close().await;
        self.house.cx.store.close().await;
        result
    }

    /// Waits for what ends the process.
    async fn ending(&mut self) -> Ending {
        tokio::select! {
            () = self.signals.next() => Ending::Signal,
            part = self.parts.join_next() => Ending::Part(match part {
                Some(part) => part.context("a part of the process panicked").and_then(|r| r),
                None => Ok(()),
            }),
        }
    }

    /// Ends everything in order, for the reason given.
    pub(crate) async fn end(self, why: Ending) -> anyhow::Result<()> {
        match why {
            Ending::Signal => {
                tracing::info!("draining; a second signal stops running jobs");
                self.stop().await
            }
            Ending::Part(why) => {
                tracing::error!(?why, "a part of the process ended; stopping the rest");
                self.shutdown.stop.cancel();
                let stopped = self.stop().await;
                why.and(stopped)
            }
        }
    }

    /// Serves until a signal ends it, or a part of it fails.
    pub(crate) async fn until_signal(mut self) -> anyhow::Result<()> {
        let why = self.ending().await;
        self.end(why).await
    }

    /// Serves while `work` goes on; says why, when the process is to end before it is done.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ending> {
        tokio::select! {
            done = work => Ok(done),
            why = self.ending() => Err(why),
        }
    }
}
