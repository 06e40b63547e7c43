//! What goes to the broker: bells, through apalis, and signals. Both wait here for a short time
//! when it is away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{Task, TaskBuilder, TaskId, TaskSink as _};
use apalis_redis::RedisStorage;
use slipway_domain::id::{Mint as _, RandomMint};
use slipway_domain::job::{Doorbell, Queue};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::link::{Link, Live, Said};
use super::{Shared, scripts};
use crate::Signal;

/// What is sent in one go.
const BATCH: usize = 256;
/// A bell that could not be sent for so long is dropped: the relay has rung again since.
const FRESH: Duration = Duration::from_secs(5);

/// A bell on its way.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    bell: Doorbell,
    /// Names this ring of the bell in Redis, so that sending it again does not make two of it.
    id: String,
    since: Instant,
}

impl Outgoing {
    pub(super) fn new(bell: Doorbell) -> Self {
        let id = RandomMint.uuid().simple().to_string();
        Self { bell, id, since: Instant::now() }
    }

    fn task(&self) -> Task<Doorbell> {
        // The bell is all there is to try: whoever takes it has it.
        TaskBuilder::new(self.bell.clone())
            .task_id(TaskId::from_string(&self.id))
            .max_attempts(1)
            .build()
    }
}

/// Sends bells.
pub(super) struct Ringer {
    shared: Arc<Shared>,
    link: Arc<Link>,
    from: mpsc::Receiver<Outgoing>,
    waiting: Vec<Outgoing>,
}

impl Ringer {
    pub(super) fn new(
        shared: Arc<Shared>,
        link: Arc<Link>,
        from: mpsc::Receiver<Outgoing>,
    ) -> Self {
        Self { shared, link, from, waiting: Vec::with_capacity(BATCH) }
    }

    pub(super) async fn run(mut self, end: CancellationToken) {
        loop {
            if self.waiting.is_empty() {
                let more = tokio::select! {
                    biased;
                    more = self.from.recv_many(&mut self.waiting, BATCH) => more,
                    () = end.cancelled() => {
                        // What was handed over is still sent; nothing is added.
                        self.from.close();
                        continue_after_close(&mut self.from, &mut self.waiting).await
                    }
                };
                if more == 0 {
                    return;
                }
                // The same bell twice is one.
                let mut seen = HashSet::new();
                self.waiting.retain(|o| seen.insert((o.bell.queue, o.bell.job_id, o.bell.others)));
            }
            self.waiting.retain(|outgoing| outgoing.since.elapsed() < FRESH);
            let Some(oldest) = self.waiting.first() else { continue };
            let stale = oldest.since + FRESH;
            let live = match self.link.now() {
                Some(live) => live,
                // Closing waits for nobody.
                None if end.is_cancelled() => return,
                None => tokio::select! {
                    live = self.link.up() => live,
                    () = tokio::time::sleep_until(stale) => continue,
                    () = end.cancelled() => continue,
                },
            };
            self.send(&live).await;
        }
    }

    async fn send(&mut self, live: &Live) {
        for queue in Queue::ALL {
            let (bells, rest): (Vec<_>, Vec<_>) =
                self.waiting.drain(..).partition(|outgoing| outgoing.bell.queue == *queue);
            self.waiting = rest;
            if bells.is_empty() {
                continue;
            }
            if let Err(why) = self.push(live, *queue, &bells).await {
                // Once more, under the same names, until they are no longer fresh.
                self.waiting.extend(bells);
                if !live.is_lost().await {
                    self.link.complain(live, why);
                }
                return;
            }
            self.link.is_well();
        }
        self.waiting.clear();
    }

    async fn push(&self, live: &Live, queue: Queue, bells: &[Outgoing]) -> Result<(), String> {
        let keys = &self.shared.keys;
        let mut storage = RedisStorage::<Doorbell, _>::new(live.connection.clone())
            .with_config(keys.config(queue));
        let tasks: Vec<_> = bells.iter().map(Outgoing::task).collect();
        let mut connection = live.connection.clone();
        // The second goes out behind the first, before that is answered: whoever waits for a bell
        // waits for one round trip less. (`join` begins with its first.)
        let (pushed, promoted) = futures::future::join(
            storage.push_all(futures::stream::iter(tasks)),
            scripts::promote(keys, queue, &mut connection),
        )
        .await;
        pushed.map_err(|error| self.link.say(error))?;
        let promoted = promoted.map_err(|error| self.link.say(error))?;
        if promoted >= bells.len() {
            return Ok(());
        }
        // It came first after all: Redis did not know the library's script yet.
        scripts::promote(keys, queue, &mut connection)
            .await
            .map(drop)
            .map_err(|error| self.link.say(error))
    }
}

/// What is left in a channel that takes no more.
async fn continue_after_close<T>(from: &mut mpsc::Receiver<T>, into: &mut Vec<T>) -> usize {
    from.recv_many(into, BATCH).await
}

/// Sends signals to the other processes.
pub(super) struct Announcer {
    shared: Arc<Shared>,
    link: Arc<Link>,
    from: mpsc::Receiver<Signal>,
    /// Something could not be sent, and everybody should know.
    owed: bool,
}

impl Announcer {
    pub(super) fn new(shared: Arc<Shared>, link: Arc<Link>, from: mpsc::Receiver<Signal>) -> Self {
        Self { shared, link, from, owed: false }
    }

    pub(super) async fn run(mut self, end: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            let more = tokio::select! {
                biased;
                // Owing something, it says so as soon as it can.
                live = self.link.up(), if self.owed => {
                    self.say(&live, &[]).await;
                    continue;
                }
                more = self.from.recv_many(&mut batch, BATCH) => more,
                () = end.cancelled() => {
                    self.from.close();
                    continue_after_close(&mut self.from, &mut batch).await
                }
            };
            if more == 0 {
                return;
            }
            self.owed |= self.shared.take_overflow();
            match self.link.now() {
                Some(live) => self.say(&live, &batch).await,
                None => self.owed = true,
            }
        }
    }

    async fn say(&mut self, live: &Live, signals: &[Signal]) {
        let channel = self.shared.keys.signals();
        let mut pipe = redis::pipe();
        let mut seen = HashSet::new();
        let missed = self.owed.then_some(Signal::Missed);
        for signal in missed.iter().chain(signals).filter(|signal| seen.insert(**signal)) {
            let said = Said { from: self.shared.instance.clone(), signal: *signal };
            match serde_json::to_string(&said) {
                Ok(text) => pipe.cmd("PUBLISH").arg(&channel).arg(text).ignore(),
                Err(error) => {
                    tracing::error!(%error, "a signal cannot be written down");
                    continue;
                }
            };
        }
        let mut connection = live.connection.clone();
        match pipe.query_async::<()>(&mut connection).await {
            Ok(()) => self.owed = false,
            Err(error) => {
                self.owed = true;
                if !live.is_lost().await {
                    self.link.complain(live, self.link.say(error));
                }
            }
        }
    }
}
