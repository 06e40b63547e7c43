//! The connection to Redis: made, watched and made again, for ever.
//!
//! One connection (RESP3) carries commands and what others publish. It does not come back by
//! itself; a new one with a new number takes its place, and whoever used the old one begins anew.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, ProtocolVersion, PushInfo, PushKind,
    Value,
};
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;
use slipway_domain::job::Queue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::{Shared, failed};
use crate::{Signal, TransportError};

/// A connection that is not there by then is given up.
const CONNECT: Duration = Duration::from_secs(3);
/// A command without an answer by then has failed.
const ANSWER: Duration = Duration::from_secs(2);
/// An idle connection is asked this often whether it is still there.
const ASK: Duration = Duration::from_secs(2);
/// How long `health` waits.
const CHECK: Duration = Duration::from_secs(1);
/// The news that a connection is gone comes by then.
const NEWS: Duration = Duration::from_millis(50);
/// A connection that held this long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// A signal on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said {
    /// The process that says it; it has heard itself already.
    #[serde(default)]
    pub(super) from: String,
    /// What it says.
    #[serde(flatten)]
    pub(super) signal: Signal,
}

/// A connection that was there a moment ago.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    /// Set when it is known to be gone.
    pub(super) lost: CancellationToken,
}

impl Live {
    /// Waits a moment for the news that the connection is gone: what was under way on it fails
    /// first. Returns whether it is.
    pub(super) async fn is_lost(&self) -> bool {
        let _ = tokio::time::timeout(NEWS, self.lost.cancelled()).await;
        self.lost.is_cancelled()
    }
}

enum State {
    Down(String),
    Up(Live),
}

/// Keeps the connection.
pub(super) struct Link {
    client: Client,
    address: String,
    password: Secret<String>,
    shared: Arc<Shared>,
    state: watch::Sender<State>,
    /// Why nothing can be sent although the connection is there.
    trouble: Mutex<Option<String>>,
    /// A counter for each queue, which grows when there may be something in it.
    available: Arc<Vec<(Queue, String, watch::Sender<u64>)>>,
}

impl Link {
    pub(super) fn new(url: &Secret<String>, shared: Arc<Shared>) -> Result<Self, TransportError> {
        // What the library says of a bad URL may show parts of it.
        let info = url.reveal().as_str().into_connection_info().map_err(|_| {
            failed("the URL of the broker is not one of redis://, rediss:// or redis+unix://")
        })?;
        let settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("slipway", env!("CARGO_PKG_VERSION"));
        let password = settings.password().unwrap_or_default().to_owned().into();
        let address = info.addr().to_string();
        let client = Client::open(info.set_redis_settings(settings))
            .map_err(|_| failed("the URL of the broker cannot be used"))?;
        let available = Queue::ALL
            .iter()
            .map(|queue| (*queue, shared.keys.available(*queue), watch::channel(0).0))
            .collect();
        let state = watch::channel(State::Down("it is not connected yet".to_owned())).0;
        let (trouble, available) = (Mutex::default(), Arc::new(available));
        Ok(Self { client, address, password, shared, state, trouble, available })
    }

    /// Host and port, or path.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A text that does not hold the password.
    pub(super) fn say(&self, error: impl std::fmt::Display) -> String {
        let mut text = error.to_string();
        let password = self.password.reveal();
        if !password.is_empty() {
            text = text.replace(password.as_str(), slipway_domain::secret::MASK);
        }
        format!("{}: {text}", self.address)
    }

    /// The connection, as soon as there is one.
    pub(super) async fn up(&self) -> Live {
        let mut state = self.state.subscribe();
        loop {
            if let State::Up(live) = &*state.borrow_and_update() {
                return live.clone();
            }
            // The sender is ours, so it is still there.
            let _ = state.changed().await;
        }
    }

    /// The connection, if there is one now.
    pub(super) fn now(&self) -> Option<Live> {
        match &*self.state.borrow() {
            State::Up(live) => Some(live.clone()),
            State::Down(_) => None,
        }
    }

    /// Grows when there may be something in the queue.
    pub(super) fn available(&self, queue: Queue) -> watch::Receiver<u64> {
        self.available
            .iter()
            .find(|(name, ..)| *name == queue)
            .map_or_else(|| watch::channel(0).1, |(_, _, counter)| counter.subscribe())
    }

    /// Whether Redis answers right now.
    pub(super) async fn check(&self) -> Result<(), String> {
        let mut live = match &*self.state.borrow() {
            State::Up(live) => live.clone(),
            State::Down(why) => return Err(why.clone()),
        };
        match tokio::time::timeout(CHECK, ping(&mut live)).await {
            Ok(Ok(())) => self.trouble().clone().map_or(Ok(()), Err),
            Ok(Err(error)) => Err(self.say(error)),
            Err(_) => Err(self.say("it does not answer")),
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something could be sent again.
    pub(super) fn is_well(&self) {
        if let Some(why) = self.trouble().take() {
            tracing::info!(error = why, "Redis takes what is sent again");
        }
    }

    /// Redis is there, but does not take what is sent. `why` is one of [`Link::say`].
    pub(super) fn complain(&self, live: &Live, why: String) {
        // It became a replica, or waits for its primary: another connection may lead elsewhere.
        if why.contains("READONLY") || why.contains("MASTERDOWN") {
            live.lost.cancel();
        }
        let mut trouble = self.trouble();
        if trouble.is_none() {
            tracing::warn!(error = why, "Redis does not take what is sent");
        }
        *trouble = Some(why);
    }

    /// Connects and connects again until `end`.
    pub(super) async fn keep_up(self: Arc<Self>, end: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut said = false;
        loop {
            let connected = tokio::select! {
                () = end.cancelled() => break,
                connected = tokio::time::timeout(CONNECT, self.connect()) => connected,
            };
            match connected {
                Ok(Ok(live)) => {
                    tracing::info!(address = self.address, "connected to Redis");
                    said = false;
                    let since = Instant::now();
                    *self.trouble() = None;
                    // Before anybody can rely on the connection.
                    let _ = self.shared.signals.send(Signal::Missed);
                    self.state.send_replace(State::Up(live.clone()));
                    let why = tokio::select! {
                        () = end.cancelled() => break,
                        why = self.watch(live.clone()) => why,
                    };
                    live.lost.cancel();
                    tracing::warn!(error = why, "the connection to Redis is lost");
                    self.state.send_replace(State::Down(why));
                    if since.elapsed() > GOOD {
                        backoff.reset();
                    }
                }
                failed => {
                    let why = match failed {
                        Ok(Err(error)) => self.say(error),
                        _ => self.say("it does not answer"),
                    };
                    if !said {
                        tracing::warn!(error = why, "Redis cannot be reached; trying on");
                        said = true;
                    }
                    self.state.send_replace(State::Down(why));
                }
            }
            tokio::select! {
                () = end.cancelled() => break,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
        self.state.send_replace(State::Down("it is closed".to_owned()));
    }

    async fn connect(&self) -> Result<Live, redis::RedisError> {
        let lost = CancellationToken::new();
        let ears = Ears {
            shared: self.shared.clone(),
            available: self.available.clone(),
            signals: self.shared.keys.signals(),
            lost: lost.clone(),
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER))
            .set_push_sender(move |push| {
                ears.hear(&push);
                Ok::<(), redis::aio::SendError>(())
            });
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(self.shared.keys.signals()).await?;
        Ok(Live { connection, lost })
    }

    /// Returns why the connection is gone.
    async fn watch(&self, mut live: Live) -> String {
        loop {
            tokio::select! {
                () = live.lost.cancelled() => return self.say("the connection was closed"),
                () = tokio::time::sleep(ASK) => {}
            }
            if let Err(error) = ping(&mut live).await {
                return self.say(error);
            }
        }
    }
}

async fn ping(live: &mut Live) -> Result<(), redis::RedisError> {
    redis::cmd("PING").query_async::<()>(&mut live.connection).await
}

/// Hears what comes on a connection without being asked for. Called by the connection itself, so
/// it never waits.
struct Ears {
    shared: Arc<Shared>,
    available: Arc<Vec<(Queue, String, watch::Sender<u64>)>>,
    signals: String,
    lost: CancellationToken,
}

impl Ears {
    fn hear(&self, push: &PushInfo) {
        match push.kind {
            PushKind::Disconnection => self.lost.cancel(),
            PushKind::Message => {
                let [Value::BulkString(channel), Value::BulkString(message)] = push.data.as_slice()
                else {
                    return;
                };
                self.message(channel, message);
            }
            _ => {}
        }
    }

    fn message(&self, channel: &[u8], message: &[u8]) {
        if channel == self.signals.as_bytes() {
            match serde_json::from_slice::<Said>(message) {
                Ok(said) if said.from == self.shared.instance => {}
                // No receiver is no fault.
                Ok(said) => drop(self.shared.signals.send(said.signal)),
                // One of a later version, or a stranger's. It is not kept, only heard.
                Err(error) => tracing::debug!(%error, "a signal was not understood"),
            }
            return;
        }
        let heard = self.available.iter().find(|(_, name, _)| name.as_bytes() == channel);
        if let Some((_, _, counter)) = heard {
            counter.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

impl Shared {
    /// Whether signals were dropped since this was last asked.
    pub(super) fn take_overflow(&self) -> bool {
        self.overflowed.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::id::{DeploymentId, RandomMint};

    #[test]
    fn a_signal_is_a_flat_object_and_takes_more_fields() {
        let signal = Signal::Cancel(DeploymentId::new(&RandomMint));
        let mut text = serde_json::to_value(Said { from: "a".to_owned(), signal }).unwrap();
        assert_eq!(text["type"], "cancel");
        text["later"] = true.into();
        let said: Said = serde_json::from_value(text).unwrap();
        assert_eq!((said.from.as_str(), said.signal), ("a", signal));
        let missed: Said = serde_json::from_str(r#"{"type":"missed"}"#).unwrap();
        assert_eq!(missed.signal, Signal::Missed);
    }
}
