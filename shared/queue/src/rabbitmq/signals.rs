//! Signals: out to the exchange, and in from this process's own queue behind it.
//!
//! Neither stored nor confirmed. Whoever may have missed one is told that ([`Signal::Missed`]) and
//! reads rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::House;
use super::backoff::Backoff;
use super::keeper::{Line, over, pause, up};
use super::link::{Link, Lost};
use super::topology::Topology;
use crate::Signal;

/// How often the way from the exchange to this process is made sure of.
const BIND_AGAIN: Duration = Duration::from_secs(5);

pub(super) const OUT: &str = "signals out";
pub(super) const IN: &str = "signals in";

/// A signal on its way.
#[derive(Serialize, Deserialize)]
struct Said {
    /// The process that says it; it has heard itself already.
    #[serde(default)]
    from: String,
    /// What it says.
    #[serde(flatten)]
    signal: Signal,
}

/// Sends until there are no more senders.
pub(super) async fn send(
    mut told: mpsc::Receiver<Signal>,
    mut line: watch::Receiver<Line>,
    mut closing: watch::Receiver<bool>,
    house: Arc<House>,
) {
    let mut backoff = Backoff::default();
    // After a failure, in case the exchange was deleted.
    let mut again = false;
    loop {
        let link = tokio::select! {
            biased;
            link = up(&mut line) => link,
            _ = closing.wait_for(|closing| *closing) => None,
        };
        let Some(link) = link else { return };
        match send_over(&link, &mut told, &mut line, &house, again).await {
            Ok(()) => return,
            Err((lost, sent)) => {
                link.failed(OUT, &lost, &house);
                again = link.alive();
                if sent {
                    backoff.reset();
                    // What was sent last may not have gone through.
                    house.signals_lost.store(true, Ordering::Relaxed);
                }
                pause(&mut line, &link, &mut backoff).await;
            }
        }
    }
}

/// Sends over one connection. An error comes with whether something was sent before.
async fn send_over(
    link: &Arc<Link>,
    told: &mut mpsc::Receiver<Signal>,
    line: &mut watch::Receiver<Line>,
    house: &House,
    again: bool,
) -> Result<(), (Lost, bool)> {
    let mut sent = false;
    link.declare(house, again).await.map_err(|error| (error.into(), sent))?;
    let channel = link.channel().await.map_err(|error| (error.into(), sent))?;
    house.ward.well(OUT);
    loop {
        let signal = if house.signals_lost.swap(false, Ordering::Relaxed) {
            Some(Signal::Missed)
        } else {
            tokio::select! {
                () = over(line, link) => return Err((Lost("the connection was lost".into()), sent)),
                signal = told.recv() => signal,
            }
        };
        let Some(signal) = signal else {
            link.close_channel(&channel).await;
            return Ok(());
        };
        sent = true;
        say(link, &channel, house, signal).await.map_err(|error| (error, sent))?;
    }
}

async fn say(link: &Link, channel: &Channel, house: &House, signal: Signal) -> Result<(), Lost> {
    let said = Said { from: house.instance.clone(), signal };
    let body = serde_json::to_vec(&said).map_err(|error| Lost(error.to_string()))?;
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_type("signal".into())
        .with_app_id("slipway".into());
    let sent = channel.basic_publish(
        house.topology.signals(),
        ShortString::default(),
        BasicPublishOptions::default(),
        &body,
        properties,
    );
    // Written, not confirmed: the second answer is there already.
    link.answer("publish", async { sent.await?.await }).await?;
    Ok(())
}

/// Hears for ever: subscribes on every connection.
pub(super) async fn hear(mut line: watch::Receiver<Line>, house: Arc<House>) {
    let mut backoff = Backoff::default();
    let mut again = false;
    while let Some(link) = up(&mut line).await {
        let lost = match subscribe(&link, &house, again).await {
            Ok((channel, queue, mut consumer)) => {
                backoff.reset();
                // Nobody knows what was said before.
                let _ = house.signals.send(Signal::Missed);
                house.ward.well(IN);
                let lost = tokio::select! {
                    lost = pass_on(&mut consumer, &house) => lost,
                    lost = keep_bound(&link, &channel, &queue, &house) => lost,
                    () = over(&mut line, &link) => Lost("the connection was lost".into()),
                };
                if link.alive() {
                    link.close_channel(&channel).await;
                }
                lost
            }
            Err(lost) => lost,
        };
        link.failed(IN, &lost, &house);
        again = link.alive();
        pause(&mut line, &link, &mut backoff).await;
    }
}

async fn subscribe(
    link: &Link,
    house: &House,
    again: bool,
) -> Result<(Channel, ShortString, Consumer), Lost> {
    link.declare(house, again).await?;
    let channel = link.channel().await?;
    // The broker names it, and removes it with the connection.
    let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let arguments = Topology::signal_arguments();
    let queue = channel.queue_declare(ShortString::default(), own, arguments);
    let queue = link.answer("declare", queue).await?.name().clone();
    bind(link, &channel, &queue, house).await?;
    let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
    let heard = channel.basic_consume(
        queue.clone(),
        ShortString::default(),
        options,
        FieldTable::default(),
    );
    let consumer = link.answer("consume", heard).await?;
    Ok((channel, queue, consumer))
}

async fn bind(
    link: &Link,
    channel: &Channel,
    queue: &ShortString,
    house: &House,
) -> Result<(), Lost> {
    let bound = channel.queue_bind(
        queue.clone(),
        house.topology.signals(),
        ShortString::default(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    Ok(link.answer("bind", bound).await?)
}

/// A queue is not told when somebody deletes the exchange before it: asks again and again for what
/// is there already. Returns when that fails.
async fn keep_bound(link: &Link, channel: &Channel, queue: &ShortString, house: &House) -> Lost {
    loop {
        tokio::time::sleep(BIND_AGAIN).await;
        if let Err(lost) = bind(link, channel, queue, house).await {
            return lost;
        }
    }
}

/// Gives what comes to this process's receivers, until nothing comes any more.
async fn pass_on(consumer: &mut Consumer, house: &House) -> Lost {
    while let Some(delivery) = consumer.next().await {
        let delivery = match delivery {
            Ok(delivery) => delivery,
            Err(error) => return error.into(),
        };
        match serde_json::from_slice::<Said>(&delivery.data) {
            Ok(said) if said.from == house.instance => {}
            // No receiver is no fault.
            Ok(said) => drop(house.signals.send(said.signal)),
            Err(_) => {
                tracing::debug!(
                    bytes = delivery.data.len(),
                    "a signal of another version, or of somebody else, was left alone"
                );
            }
        }
    }
    Lost("the broker ended the subscription".into())
}
