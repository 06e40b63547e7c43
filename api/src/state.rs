//! What every handler of the doors shares. No rules here: those are in services.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::port::buckets::Buckets;
use slipway_services::Ctx;
use slipway_telemetry::metrics::Metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Whether callers must say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// They must.
    Required,
    /// Nobody is asked: everybody is the operator of a loopback installation.
    None,
}
use crate::edge::limit::{Limiter, Limits};
pub use crate::edge::peer::ForwardedHeader;
use crate::edge::tls::Tls;

/// What the operator chose of the doors.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Whether callers must say who they are.
    pub auth: AuthMode,
    /// Hosts that this server may be called by, beside `localhost`, `127.0.0.1` and `[::1]`:
    /// `name` for any port, or `name:port`. Anything else is answered with 421, so that a foreign
    /// name that resolves to this address (DNS rebinding) gets nothing.
    pub allowed_hosts: BTreeSet<String>,
    /// Largest JSON body, in bytes.
    pub max_body_bytes: usize,
    /// Largest uploaded archive, in bytes.
    pub max_archive_bytes: usize,
    /// Largest Terraform state, in bytes.
    pub max_state_bytes: usize,
    /// How long a request may take until its answer begins. Uploads get [`UPLOAD_FACTOR`] times as
    /// much, and a long poll what it asked for on top.
    pub request_timeout: Duration,
    /// How long one event stream may last; its reader comes back with `Last-Event-ID`.
    pub stream_max: Duration,
    /// How often it is looked again whether the reader of a stream may read it.
    pub stream_check: Duration,
    /// How many event streams may be open at once.
    pub max_streams: usize,
    /// How long requests may go on after the shutdown began.
    pub drain_timeout: Duration,
    /// Networks whose forwarding header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which these say for whom they ask.
    pub forwarded_header: ForwardedHeader,
    /// Origins of pages elsewhere that may call the API from a browser.
    pub cors_origins: Vec<String>,
    /// TLS of the listener, if it speaks it.
    pub tls: Option<Tls>,
    /// How many requests a caller may send.
    pub limits: Limits,
    /// The port of the listener, for links that are shown to people; 0 when unknown.
    pub port: u16,
}

/// Uploads may take this many times the request timeout.
pub const UPLOAD_FACTOR: u32 = 10;

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            auth: AuthMode::None,
            allowed_hosts: BTreeSet::new(),
            max_body_bytes: 1 << 20,
            max_archive_bytes: 64 << 20,
            max_state_bytes: 64 << 20,
            request_timeout: Duration::from_secs(30),
            stream_max: Duration::from_hours(1),
            stream_check: Duration::from_secs(10),
            max_streams: 1024,
            drain_timeout: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            cors_origins: Vec::new(),
            tls: None,
            limits: Limits::default(),
            port: 0,
        }
    }
}

/// What every handler shares. Every layer and most extractors of a request clone it, so a clone is one
/// count.
#[derive(Clone)]
pub struct ApiState(Arc<Doors>);

/// What is in an [`ApiState`].
#[derive(Clone)]
pub struct Doors {
    /// The house.
    pub cx: Ctx,
    /// Counters.
    pub metrics: Metrics,
    /// What the operator chose.
    pub options: Arc<ApiOptions>,
    /// Cancelled when the process is to end: streams close, readiness goes.
    pub shutdown: CancellationToken,
    /// Set by whoever starts the process, when everything is wired and migrated.
    pub ready: Arc<AtomicBool>,
    /// Counts requests. By itself, until it is given what counts for all processes.
    pub limiter: Limiter,
    /// One permit for every open stream.
    streams: Arc<Semaphore>,
}

impl Deref for ApiState {
    type Target = Doors;

    fn deref(&self) -> &Doors {
        &self.0
    }
}

impl ApiState {
    /// The state of a server that is not ready yet.
    pub fn new(
        cx: Ctx,
        metrics: Metrics,
        options: ApiOptions,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Doors {
            cx,
            metrics,
            limiter: Limiter::new(options.limits, None),
            streams: Arc::new(Semaphore::new(options.max_streams.min(Semaphore::MAX_PERMITS))),
            options: Arc::new(options),
            shutdown,
            ready: Arc::new(AtomicBool::new(false)),
        }))
    }

    /// Counts requests in `shared`, for all processes together.
    #[must_use]
    pub fn counting_in(self, shared: Arc<dyn Buckets>) -> Self {
        let mut doors = Arc::unwrap_or_clone(self.0);
        doors.limiter = Limiter::new(doors.options.limits, Some(shared));
        Self(Arc::new(doors))
    }

    /// Says that everything is wired.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether requests may be sent here.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.shutdown.is_cancelled()
    }

    /// The right to hold one stream open; `rate_limited` when there are too many.
    pub(crate) fn open_stream(&self) -> Result<OwnedSemaphorePermit, Fault> {
        self.streams.clone().try_acquire_owned().map_err(|_| Fault {
            retry_after_s: Some(5),
            ..Fault::new(
                Code::RateLimited,
                format!(
                    "{} streams are open already, which is the most here. Try again soon, or read \
                     pages instead.",
                    self.options.max_streams
                ),
            )
        })
    }
}
