//! Doorbells in.
//!
//! There are two consumers, one of what comes right now and one of what waits (see
//! [`super::topology`]). The broker gives each one doorbell and no other before that one is answered
//! (prefetch 1). It is answered by the next `wait` or `rest`, so between a bell and the next
//! question at most one more comes here that another worker could have had; the worker asks, or
//! rests, as soon as it has looked at the database, not when the job is done. Whatever else is on
//! its way goes back when the channel is closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Consumer};
use slipway_domain::job::{Doorbell, Queue};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::keeper::{Line, over, up};
use super::link::{Link, Lost, not_found, timed_out};
use super::{House, closed};
use crate::{Bells, TransportError};

/// A consumer that brought nothing for so long is replaced: RabbitMQ does not always tell one that
/// its queue was deleted (and made again by somebody else).
const QUIET: Duration = Duration::from_secs(5);

/// Doorbells of one queue.
pub(super) struct RabbitBells {
    queue: Queue,
    part: String,
    line: watch::Receiver<Line>,
    house: Arc<House>,
    stage: Stage,
    backoff: Backoff,
    /// After a failure: not before this.
    again: Option<Instant>,
    /// The consumer was lost, and perhaps a bell with it.
    missed: bool,
}

/// What waiting came to.
enum Next {
    /// It rings: this bell, if it is known.
    Rung(Option<Doorbell>),
    /// There was nothing for so long that the consumer was given up.
    Quiet,
}

/// How far it is.
enum Stage {
    Resting,
    /// A consumer is being set up, in a task: lapin loses a consumer whose set-up is dropped half
    /// way, and the broker would go on to give it bells.
    Beginning(JoinHandle<Result<Taking, Lost>>),
    Taking(Box<Taking>),
}

/// Of what comes right now, and of what waits.
struct Consumers {
    now: Consumer,
    waiting: Consumer,
}

impl Consumers {
    /// The next delivery, and whether it has waited. May be dropped.
    async fn next(&mut self) -> (Option<lapin::Result<Delivery>>, bool) {
        tokio::select! {
            biased;
            delivery = self.now.next() => (delivery, false),
            delivery = self.waiting.next() => (delivery, true),
        }
    }
}

/// Consumers at work.
struct Taking {
    link: Arc<Link>,
    channel: Channel,
    consumers: Consumers,
    /// The doorbell that was told of and is not answered yet.
    told: Option<Acker>,
    /// When it began, or brought something last.
    heard: Instant,
}

impl RabbitBells {
    pub(super) fn new(queue: Queue, line: watch::Receiver<Line>, house: Arc<House>) -> Self {
        Self {
            queue,
            part: format!("doorbells of {queue}"),
            line,
            house,
            stage: Stage::Resting,
            backoff: Backoff::default(),
            again: None,
            missed: false,
        }
    }

    /// Waits for a doorbell over one connection.
    async fn next(&mut self, link: &Arc<Link>) -> Result<Next, Lost> {
        // Every step is kept, because a caller may drop this at any time.
        if let Stage::Resting = self.stage {
            let beginning = Taking::begin(link.clone(), self.house.clone(), self.queue);
            self.stage = Stage::Beginning(tokio::spawn(beginning));
        }
        if let Stage::Beginning(begun) = &mut self.stage {
            let begun = begun.await;
            self.stage = Stage::Resting;
            let begun = begun.map_err(|error| Lost(error.to_string()))??;
            self.stage = Stage::Taking(Box::new(begun));
            self.house.ward.well(&self.part);
        }
        let Stage::Taking(taking) = &mut self.stage else { return Ok(Next::Quiet) };
        if !Arc::ptr_eq(&taking.link, link) {
            return Err(Lost("the connection is another".into()));
        }
        if std::mem::take(&mut self.missed) {
            // Look, in case a bell was lost with the consumer before.
            return Ok(Next::Rung(None));
        }
        if let Some(told) = taking.told.take() {
            link.answer("ack", told.ack(BasicAckOptions::default())).await?;
        }
        loop {
            let quiet = taking.heard + QUIET;
            let (delivery, waited) = tokio::select! {
                biased;
                next = taking.consumers.next() => next,
                () = tokio::time::sleep_until(quiet) => {
                    tokio::spawn(self.end());
                    return Ok(Next::Quiet);
                }
                () = over(&mut self.line, link) => {
                    return Err(Lost("the connection was lost".into()));
                }
            };
            let delivery =
                delivery.ok_or_else(|| Lost("the broker ended the consumer".into()))??;
            self.backoff.reset();
            taking.heard = Instant::now();
            if let Some(bell) = self.house.reads(self.queue, &delivery) {
                taking.told = Some(delivery.acker);
                return Ok(Next::Rung(Some(bell)));
            }
            if waited {
                self.house.quarantined.fetch_add(1, Ordering::Relaxed);
            }
            // To the quarantine, by the queue's dead letter exchange; or first to where bells wait,
            // and from there.
            let rejected = delivery.acker.reject(BasicRejectOptions { requeue: false });
            link.answer("reject", rejected).await?;
        }
    }

    /// Gives up the consumer; whatever it has goes back.
    fn end(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let stage = std::mem::replace(&mut self.stage, Stage::Resting);
        async move {
            match stage {
                Stage::Resting => {}
                Stage::Beginning(begun) => {
                    if let Ok(Ok(taking)) = begun.await {
                        taking.end().await;
                    }
                }
                Stage::Taking(taking) => taking.end().await,
            }
        }
    }
}

impl House {
    /// This doorbell, if it is one of this queue.
    fn reads(&self, queue: Queue, delivery: &Delivery) -> Option<Doorbell> {
        let why = match serde_json::from_slice::<Doorbell>(&delivery.data) {
            Ok(bell) if bell.queue == queue => return Some(bell),
            Ok(bell) => format!("it is for the queue {}", bell.queue),
            // Not the error's own text, which may repeat what is in the message.
            Err(error) => format!("it is no doorbell ({:?} error)", error.classify()),
        };
        tracing::warn!(%queue, bytes = delivery.data.len(), why,
            quarantine = %self.topology.quarantine(), "a message was put aside");
        None
    }
}

impl Taking {
    async fn begin(link: Arc<Link>, house: Arc<House>, queue: Queue) -> Result<Self, Lost> {
        if house.mute.given_up(queue) {
            link.delete(&house, queue).await?;
            link.declare(&house, true).await?;
        }
        link.declare(&house, false).await?;
        let (channel, consumers) = match consume(&link, &house, queue).await {
            Err(error) if not_found(&error) => {
                // Deleted since.
                link.declare(&house, true).await?;
                consume(&link, &house, queue).await?
            }
            other => other?,
        };
        Ok(Self { link, channel, consumers, told: None, heard: Instant::now() })
    }

    /// Answers what was told of, and gives back whatever else is on its way.
    async fn end(self) {
        if !self.link.alive() {
            return;
        }
        if let Some(told) = self.told {
            // If it fails the bell rings once more, which does no harm.
            let _ = self.link.answer("ack", told.ack(BasicAckOptions::default())).await;
        }
        self.link.close_channel(&self.channel).await;
    }
}

async fn consume(link: &Link, house: &House, queue: Queue) -> lapin::Result<(Channel, Consumers)> {
    let channel = link.channel().await?;
    // Of each consumer.
    link.answer("prefetch", channel.basic_qos(1, BasicQosOptions::default())).await?;
    let consumer = |name| {
        let options = BasicConsumeOptions::default();
        let none = ShortString::default();
        link.answer("consume", channel.basic_consume(name, none, options, FieldTable::default()))
    };
    let waiting = match consumer(house.topology.bells(queue)).await {
        Ok(waiting) => waiting,
        Err(error) => {
            if timed_out(&error) {
                house.mute.silent(queue);
            }
            return Err(error);
        }
    };
    house.mute.answered(queue);
    let now = consumer(house.topology.now(queue)).await?;
    Ok((channel, Consumers { now, waiting }))
}

#[async_trait]
impl Bells for RabbitBells {
    async fn wait(&mut self) -> Result<Option<Doorbell>, TransportError> {
        loop {
            if let Some(again) = self.again {
                tokio::time::sleep_until(again).await;
                self.again = None;
            }
            let link = up(&mut self.line).await.ok_or_else(closed)?;
            let lost = match self.next(&link).await {
                Ok(Next::Rung(bell)) => return Ok(bell),
                Ok(Next::Quiet) => continue,
                Err(lost) => lost,
            };
            self.missed = true;
            link.failed(&self.part, &lost, &self.house);
            // The next connection is waited for anyway.
            self.again = link.alive().then(|| Instant::now() + self.backoff.next());
            tokio::spawn(self.end());
            if !link.alive() {
                over(&mut self.line, &link).await;
            }
        }
    }

    async fn rest(&mut self) {
        if matches!(self.stage, Stage::Resting) {
            return;
        }
        // Not given up half way if whoever rests does not wait.
        let _ = tokio::spawn(self.end()).await;
    }
}

impl Drop for RabbitBells {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.end());
        }
        // Nobody is left to be ill.
        self.house.ward.well(&self.part);
    }
}
